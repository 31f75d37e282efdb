//! Caustic refraction: the image seen through the lens that a pattern of light under water would make.

use super::maths::{pow, sin_cos};
use super::side;
use super::warp::{Picture, Sample};
use crate::border::Border;
use crate::cell::Cell;
use crate::simd::vectorised;

/// Two pi to the eleven decimals of the generator.
const TURN: f64 = 628_318_530_718.0 / 1e11;

/// Ratio of the refractive indices.
const ETA: f64 = 4.0;

/// Caustic refraction.
pub(super) fn refraction(cell: &mut Cell<'_, '_>, level: f64) {
    let time = cell.draws.uniform(0.5, 2.0);
    let size = cell.draws.uniform(0.75, 1.25) * side(cell.image);
    let lens = level * (0.5 * side(cell.image)) / 10.0;
    let lighting = level * 2.0 / 10.0;
    let (width, height) = (cell.image.width, cell.image.height);
    let mut light = cell.scratch.take::<f64>(width * height);
    caustics(cell, time, size, &mut light);
    blur(cell, &mut light);
    let picture = Picture { image: cell.image, values: std::array::from_fn(|level| level as f32 / 255.0) };
    vectorised(
        #[inline(always)]
        || {
            for (y, target) in cell.out.chunks_exact_mut(3 * width).enumerate() {
                let row = &light[y * width..][..width];
                let above = if y > 0 { &light[(y - 1) * width..][..width] } else { &[] };
                let below = if y + 1 < height { &light[(y + 1) * width..][..width] } else { &[] };
                for (x, pixel) in target.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    let at = |row: &[f64], x: usize| row.get(x).copied().unwrap_or(0.0);
                    let down = at(below, x) - at(above, x);
                    let [before, after] = [at(row, x.wrapping_sub(1)), at(row, x + 1)];
                    let [dy, dx] = refract([down, after - before], lens);
                    let sample = picture.sample(y as f64 + dy, x as f64 + dx);
                    *pixel = shade(sample, [(before - after) * lighting, down * lighting]);
                }
            }
        },
    );
    cell.scratch.give(light);
}

/// The pattern of light in `[0, 1]`.
fn caustics(cell: &mut Cell<'_, '_>, time: f64, size: f64, light: &mut [f64]) {
    let (width, height) = (cell.image.width, cell.image.height);
    let mut buffers: [Vec<f64>; 7] = std::array::from_fn(|_| cell.scratch.take(width));
    let [across, sines, cosines, su, cu, sv, cv] = &mut buffers;
    let place = |index: usize| (index as f64 / size).fract() * TURN - 250.0;
    for (x, ((across, sine), cosine)) in across.iter_mut().zip(sines.iter_mut()).zip(cosines.iter_mut()).enumerate() {
        *across = place(x);
        (*sine, *cosine) = sin_cos(*across);
    }
    let times: [f64; 5] = std::array::from_fn(|round| time * (1.0 - 3.5 / (round as f64 + 1.0)));
    vectorised(
        #[inline(always)]
        || {
            for (y, row) in light.chunks_exact_mut(width).take(height).enumerate() {
                let down = place(y);
                // The point (u, v) is kept as its sines and cosines.
                let (sine, cosine) = sin_cos(down);
                su.fill(sine);
                cu.fill(cosine);
                sv.copy_from_slice(sines);
                cv.copy_from_slice(cosines);
                row.fill(1.0);
                for time in times {
                    let (sine, cosine) = sin_cos(time);
                    let us = su.iter_mut().zip(cu.iter_mut());
                    let vs = sv.iter_mut().zip(cv.iter_mut());
                    for (((sum, (su, cu)), (sv, cv)), &across) in row.iter_mut().zip(us).zip(vs).zip(across.iter()) {
                        let u = down + ((cosine * *cu + sine * *su) + (sine * *cv + cosine * *sv));
                        let v = across + ((sine * *cv - cosine * *sv) + (cosine * *cu - sine * *su));
                        (*su, *cu) = sin_cos(u);
                        (*sv, *cv) = sin_cos(v);
                        let (s, c) = (*su * cosine + *cu * sine, *cv * cosine - *sv * sine);
                        let square = (down * c) * (down * c) + (across * s) * (across * s);
                        *sum += (s * c).abs() / (0.005 * square.sqrt()).max(1e-300);
                    }
                }
                for value in row.iter_mut() {
                    let bright = (1.17 - pow(*value / 5.0, 1.4)).abs();
                    let fourth = (bright * bright) * (bright * bright);
                    *value = (fourth * fourth).min(1.0);
                }
            }
        },
    );
    buffers.into_iter().for_each(|buffer| cell.scratch.give(buffer));
}

/// A Gaussian blur of one pixel, cut at four and mirrored at the edges.
fn blur(cell: &mut Cell<'_, '_>, light: &mut Vec<f64>) {
    const RADIUS: usize = 4;
    let (width, height) = (cell.image.width, cell.image.height);
    let bell: [f64; RADIUS + 1] = std::array::from_fn(|distance| libm::exp(-0.5 * (distance * distance) as f64));
    let sum = bell[0] + 2.0 * bell[1..].iter().sum::<f64>();
    let weights = bell.map(|weight| weight / sum);
    let mut out = cell.scratch.take::<f64>(width * height);
    let mut padded = cell.scratch.take::<f64>(width + 2 * RADIUS);
    vectorised(
        #[inline(always)]
        || {
            for (y, target) in out.chunks_exact_mut(width).enumerate() {
                let row = |step: i64| &light[Border::Reflect.resolve(y as i64 + step, height) * width..][..width];
                let middle = &mut padded[RADIUS..][..width];
                middle.iter_mut().zip(row(0)).for_each(|(sum, value)| *sum = value * weights[0]);
                for (distance, weight) in weights.iter().enumerate().skip(1).rev() {
                    let (above, below) = (row(-(distance as i64)), row(distance as i64));
                    for ((sum, a), b) in middle.iter_mut().zip(above).zip(below) {
                        *sum += (a + b) * weight;
                    }
                }
                for step in 1..=RADIUS {
                    padded[RADIUS - step] = padded[RADIUS + Border::Reflect.resolve(-(step as i64), width)];
                    padded[RADIUS + width - 1 + step] =
                        padded[RADIUS + Border::Reflect.resolve((width - 1 + step) as i64, width)];
                }
                target.iter_mut().zip(&padded[RADIUS..]).for_each(|(sum, value)| *sum = value * weights[0]);
                for (distance, weight) in weights.iter().enumerate().skip(1).rev() {
                    let (left, right) = (&padded[RADIUS - distance..], &padded[RADIUS + distance..]);
                    for ((sum, a), b) in target.iter_mut().zip(left).zip(right) {
                        *sum += (a + b) * weight;
                    }
                }
            }
        },
    );
    cell.scratch.give(padded);
    cell.scratch.give(std::mem::replace(light, out));
}

/// Where a ray from above meets the image, beside the point under it, in pixels. The lens is as steep as the light
/// changes; where it is almost flat, the generator lets the ray pass.
#[inline(always)]
fn refract(slope: [f64; 2], lens: f64) -> [f64; 2] {
    let length = (slope[0] * slope[0] + slope[1] * slope[1] + 1.0).sqrt();
    let cosine = 1.0 / length;
    if cosine >= 1.0 - 1e-3 {
        return [0.0; 2];
    }
    let sine = (1.0 - cosine * cosine).sqrt() / ETA;
    let factor = (1.0 - sine * sine).sqrt() - cosine / ETA;
    // Rounded to three decimals, ties to even, as in the generator.
    slope.map(|part| (part / length * factor * lens * 1000.0).round_ties_even() / 1000.0)
}

/// Adds the two lights in the precision of the sample.
#[inline(always)]
fn shade(sample: Sample, lights: [f64; 2]) -> [u8; 3] {
    let values = match sample {
        Sample::Inside(pixel) => {
            pixel.map(|value| f64::from(lights.iter().fold(value, |sum, &light| sum + light as f32)))
        }
        Sample::Edge(pixel) => pixel.map(|value| lights.iter().fold(value, |sum, &light| sum + light)),
    };
    values.map(|value| (value.clamp(0.0, 1.0) * 255.0) as u8)
}
