//! Separable Gaussian filters with the borders and the order of summation of scipy.
//!
//! The order is kept because results are truncated to eight bits: on flat areas a sum that falls one unit in the last
//! place short costs a whole level.

use std::ops::{Add, Mul};

use image::RgbImage;

use crate::border::{Border, pad_row};
use crate::scratch::{Sample, Scratch};
use crate::simd::vectorised;

/// An image from samples whose number is right by construction.
pub(crate) fn rebuild(width: usize, height: usize, samples: Vec<u8>) -> RgbImage {
    RgbImage::from_raw(width as u32, height as u32, samples).expect("the buffer was sized by the same width and height")
}

/// Sets `weights` to those at distance 0, 1, ... of a normalised Gaussian, cut at `truncate` standard deviations.
pub(crate) fn fill_weights(sigma: f64, truncate: f64, weights: &mut Vec<f64>) {
    weights.clear();
    let radius = (truncate * sigma + 0.5) as usize;
    if radius == 0 {
        weights.push(1.0);
        return;
    }
    weights.extend((0..=radius).map(|i| libm::exp(-0.5 / (sigma * sigma) * (i * i) as f64)));
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    weights.iter_mut().for_each(|weight| *weight /= sum);
}

/// As [`fill_weights`], for tests.
#[cfg(test)]
pub(crate) fn gaussian_weights(sigma: f64, truncate: f64) -> Vec<f64> {
    let mut weights = Vec::new();
    fill_weights(sigma, truncate, &mut weights);
    weights
}

/// What is filtered: single or double precision.
pub(crate) trait Real: Sample + Add<Output = Self> + Mul<Output = Self> {}

impl Real for f32 {}
impl Real for f64 {}

/// Symmetric filter of rows of `shape[0]` pixels of `shape[1]` channels: down with the weights `kernels[0]` at distance
/// 0, 1, ..., then across with `kernels[1]`.
pub(crate) fn smooth<T: Real>(
    samples: &mut [T],
    shape: [usize; 2],
    kernels: [&[T]; 2],
    border: Border,
    scratch: &mut Scratch,
) {
    if samples.is_empty() {
        return;
    }
    if kernels[0].len() > 1 {
        smooth_down(samples, shape[0] * shape[1], kernels[0], border, scratch);
    }
    if kernels[1].len() > 1 {
        smooth_across(samples, shape, kernels[1], border, scratch);
    }
}

fn smooth_down<T: Real>(samples: &mut [T], stride: usize, weights: &[T], border: Border, scratch: &mut Scratch) {
    let (height, radius) = (samples.len() / stride, weights.len() - 1);
    let mut source = scratch.take_empty();
    source.extend_from_slice(samples);
    // Where the row `radius` above the first begins, and so on to `radius` below the last.
    let mut rows = scratch.take_empty();
    rows.extend((0..height + 2 * radius).map(|row| border.resolve(row as i64 - radius as i64, height) * stride));
    vectorised(
        #[inline(always)]
        || {
            for (y, target) in samples.chunks_exact_mut(stride).enumerate() {
                let centre = y + radius;
                fold(target, &source, weights, rows[centre], |distance| {
                    (rows[centre - distance], rows[centre + distance])
                });
            }
        },
    );
    scratch.give(source);
    scratch.give(rows);
}

fn smooth_across<T: Real>(
    samples: &mut [T],
    [width, channels]: [usize; 2],
    weights: &[T],
    border: Border,
    scratch: &mut Scratch,
) {
    let radius = weights.len() - 1;
    let mut padded = scratch.take((width + 2 * radius) * channels);
    vectorised(
        #[inline(always)]
        || {
            for row in samples.chunks_exact_mut(width * channels) {
                pad_row(row, channels, radius, border, &mut padded);
                fold(row, &padded, weights, radius * channels, |distance| {
                    ((radius - distance) * channels, (radius + distance) * channels)
                });
            }
        },
    );
    scratch.give(padded);
}

/// Writes the weighted sum of the samples from `centre` on and of those from both places of `around(distance)` on, the
/// furthest first.
#[inline(always)]
fn fold<T: Real>(
    target: &mut [T],
    source: &[T],
    weights: &[T],
    centre: usize,
    around: impl Fn(usize) -> (usize, usize),
) {
    let length = target.len();
    let at = |place: usize| &source[place..][..length];
    target.iter_mut().zip(at(centre)).for_each(|(sum, &sample)| *sum = sample * weights[0]);
    let pair = |distance: usize| {
        let (before, after) = around(distance);
        (at(before), at(after), weights[distance])
    };
    // Four distances at a time: the sums are read and written less often, and are the same.
    let mut distance = weights.len() - 1;
    while distance >= 4 {
        let [p, q, r, s] = [0, 1, 2, 3].map(|step| pair(distance - step));
        for (x, sum) in target.iter_mut().enumerate() {
            let sums = *sum + (p.0[x] + p.1[x]) * p.2 + (q.0[x] + q.1[x]) * q.2;
            *sum = sums + (r.0[x] + r.1[x]) * r.2 + (s.0[x] + s.1[x]) * s.2;
        }
        distance -= 4;
    }
    for distance in (1..=distance).rev() {
        let p = pair(distance);
        for (x, sum) in target.iter_mut().enumerate() {
            *sum = *sum + (p.0[x] + p.1[x]) * p.2;
        }
    }
}

/// Adds lines times their weights to `target`, one after another. Lines are at least as long as the target.
#[inline(always)]
pub(crate) fn accumulate<'a, T: Real + 'a>(target: &mut [T], mut lines: impl Iterator<Item = (&'a [T], T)>) {
    let length = target.len();
    while let Some(first) = lines.next() {
        let (p, others) = ((&first.0[..length], first.1), [lines.next(), lines.next(), lines.next()]);
        if let [Some(q), Some(r), Some(s)] = others {
            let [q, r, s] = [q, r, s].map(|(line, weight)| (&line[..length], weight));
            for (x, sum) in target.iter_mut().enumerate() {
                *sum = *sum + p.0[x] * p.1 + q.0[x] * q.1 + r.0[x] * r.1 + s.0[x] * s.1;
            }
        } else {
            for (line, weight) in [Some(p)].into_iter().chain(others).flatten() {
                target.iter_mut().zip(line).for_each(|(sum, &sample)| *sum = *sum + sample * weight);
            }
        }
    }
}
