//! Pixelate: down and up again with Pillow's box filter. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261.

use image::RgbImage;

use crate::filter::rebuild;
use crate::profile::PerProfile;

/// The smaller side as a share of the side, per severity 1-5.
pub(crate) const PIXELATE: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.95, 0.9, 0.85, 0.75, 0.65], imagenet: [0.6, 0.5, 0.4, 0.3, 0.25] };

/// Fraction bits of the weights.
const PRECISION: u32 = 22;

/// Box filter to `factor` of both sides, truncated to whole pixels, and back.
pub(crate) fn pixelate(image: &RgbImage, factor: f64) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let small = |side: usize| ((side as f64 * factor) as usize).max(1);
    let reduced = resize(image.as_raw(), (width, height), (small(width), small(height)));
    rebuild(width, height, resize(&reduced, (small(width), small(height)), (width, height)))
}

/// Two passes, across and then down, rounded to levels in between.
fn resize(levels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let across = Taps::new(from.0, to.0);
    let mut narrow = vec![0; to.0 * from.1 * 3];
    for (source, target) in levels.chunks_exact(from.0 * 3).zip(narrow.chunks_exact_mut(to.0 * 3)) {
        for (pixel, (start, weights)) in target.chunks_exact_mut(3).zip(across.iter()) {
            for (channel, sample) in pixel.iter_mut().enumerate() {
                let sum = weights.iter().zip(start..).map(|(w, x)| w * u32::from(source[x * 3 + channel])).sum();
                *sample = round(sum);
            }
        }
    }
    let down = Taps::new(from.1, to.1);
    let stride = to.0 * 3;
    let mut out = vec![0; stride * to.1];
    let mut sums = vec![0; stride];
    for (target, (start, weights)) in out.chunks_exact_mut(stride).zip(down.iter()) {
        sums.fill(0);
        for (weight, source) in weights.iter().zip(narrow[start * stride..].chunks_exact(stride)) {
            sums.iter_mut().zip(source).for_each(|(sum, &level)| *sum += weight * u32::from(level));
        }
        target.iter_mut().zip(&sums).for_each(|(level, &sum)| *level = round(sum));
    }
    out
}

fn round(sum: u32) -> u8 {
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).min(255) as u8
}

/// The sources of every target sample: those whose centre lies in its box, in equal parts.
struct Taps {
    starts: Vec<(usize, usize)>,
    weights: Vec<u32>,
}

impl Taps {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = 0.5 * stretch;
        let mut taps = Self { starts: Vec::with_capacity(to), weights: Vec::new() };
        for target in 0..to {
            let centre = (target as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let inside = |source: usize| {
                let offset = (source as f64 - centre + 0.5) / stretch;
                f64::from(u8::from(offset > -0.5 && offset <= 0.5))
            };
            let total: f64 = (first..end).map(inside).sum();
            let fixed = |source| (inside(source) / total * f64::from(1 << PRECISION) + 0.5) as u32;
            taps.starts.push((first, end - first));
            taps.weights.extend((first..end).map(fixed));
        }
        taps
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let mut rest = self.weights.as_slice();
        self.starts.iter().map(move |&(start, count)| {
            let (weights, tail) = rest.split_at(count);
            rest = tail;
            (start, weights)
        })
    }
}
