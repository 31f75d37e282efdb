//! Motion blur as ImageMagick draws it: a one-sided Gaussian of whole-pixel steps.
//!
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, which calls ImageMagick 6's `MotionBlurImage`.

use image::RgbImage;

use crate::filter::{Border, pad_row, rebuild};
use crate::profile::PerProfile;

/// Radius in pixels and standard deviation per severity 1-5; the direction is uniform in ±45 degrees.
pub(crate) const MOTION: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)],
    imagenet: [(10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)],
};

/// Motion blur of an RGB image along `angle` degrees.
pub(crate) fn motion(image: &RgbImage, radius: f64, sigma: f64, angle: f64) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    rebuild(width, height, streak(image.as_raw(), 3, width, radius, sigma, angle))
}

/// Motion blur of interleaved levels, rows of `width` pixels.
pub(crate) fn streak(levels: &[u8], channels: usize, width: usize, radius: f64, sigma: f64, angle: f64) -> Vec<u8> {
    let steps = steps(radius, sigma, angle);
    let margin = steps.iter().map(|step| step.0.unsigned_abs() as usize).max().unwrap_or(0);
    let stride = width * channels;
    let height = levels.len() / stride;
    let padded_stride = stride + 2 * margin * channels;
    let mut padded = vec![0.0; padded_stride * height];
    let mut row = vec![0.0; stride];
    for (levels, target) in levels.chunks_exact(stride).zip(padded.chunks_exact_mut(padded_stride)) {
        row.iter_mut().zip(levels).for_each(|(sample, &level)| *sample = f64::from(level));
        pad_row(&row, channels, margin, Border::Nearest, target);
    }
    let mut out = Vec::with_capacity(levels.len());
    for y in 0..height {
        row.fill(0.0);
        for &(dx, dy, weight) in &steps {
            let source = Border::Nearest.resolve(y as i64 + dy, height);
            let start = source * padded_stride + (margin as i64 + dx) as usize * channels;
            row.iter_mut().zip(&padded[start..][..stride]).for_each(|(sum, sample)| *sum += weight * sample);
        }
        // The 16-bit quantum of ImageMagick, rounded, then its upper byte.
        out.extend(row.iter().map(|sum| ((257.0 * sum + 0.5) as u32 / 257) as u8));
    }
    out
}

/// Offsets in x and y, in pixels, with their weights.
fn steps(radius: f64, sigma: f64, angle: f64) -> Vec<(i64, i64, f64)> {
    let (sin, cos) = libm::sincos(angle.to_radians());
    let count = 2 * radius.ceil() as usize + 1;
    let weights: Vec<f64> = (0..count).map(|i| libm::exp(-((i * i) as f64) / (2.0 * sigma * sigma))).collect();
    let sum: f64 = weights.iter().sum();
    let place = |i: usize, direction: f64| (i as f64 * direction - 0.5).ceil() as i64;
    weights.iter().enumerate().map(|(i, weight)| (place(i, cos), place(i, sin), weight / sum)).collect()
}
