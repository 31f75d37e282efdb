//! Gaussian smoothing of a field whose edges are mirrors, fast for any width.
//!
//! Between mirrors a symmetric filter is diagonal in the discrete cosine transform (DCT-II): it multiplies each mode by
//! its response. Of a wide Gaussian only the lowest modes of either axis pass; what passes in both axes beyond them is
//! the product of two responses near zero and is left out.

use crate::border::Border;
use crate::filter::{accumulate, smooth};
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Blurs rows of `width` samples with the weights at distance 0, 1, ..., down with `kernels[0]` and across with
/// `kernels[1]`. They must be those of Gaussians cut at three standard deviations.
pub(crate) fn blur_reflected(field: &mut [f32], width: usize, kernels: [&[f32]; 2], scratch: &mut Scratch) {
    let height = field.len() / width;
    let modes = [mode_count(height, kernels[0]), mode_count(width, kernels[1])];
    // Two projections and two sums for every mode, against half a kernel of each axis.
    if 4 * (modes[0] + modes[1]) >= 3 * (kernels[0].len() + kernels[1].len()) {
        smooth(field, [width, 1], kernels, Border::Reflect, scratch);
        return;
    }
    let basis = [cosines(height, modes[0], scratch), cosines(width, modes[1], scratch)];
    let mut across = scratch.take::<f32>(modes[0] * width);
    let mut down = scratch.take::<f32>(modes[1] * height);
    vectorised(
        #[inline(always)]
        || project(field, width, [&basis[0], &basis[1]], &mut across, &mut down),
    );
    // The modes that are low in both axes are in both halves.
    for column in down.chunks_exact_mut(height) {
        for mode in basis[0].chunks_exact(height) {
            let share = dot(column, mode);
            column.iter_mut().zip(mode).for_each(|(sample, mode)| *sample -= share * mode);
        }
    }
    smooth(&mut across, [width, 1], [&[1.0], kernels[1]], Border::Reflect, scratch);
    smooth(&mut down, [height, 1], [&[1.0], kernels[0]], Border::Reflect, scratch);
    respond(&mut across, width, height, kernels[0]);
    respond(&mut down, height, width, kernels[1]);
    vectorised(
        #[inline(always)]
        || combine(field, width, [&basis[0], &basis[1]], &across, &down),
    );
    basis.into_iter().chain([across, down]).for_each(|buffer| scratch.give(buffer));
}

/// How many modes of an axis are not negligible: the response falls to 1e-3 there.
fn mode_count(length: usize, kernel: &[f32]) -> usize {
    let sigma = (kernel.len() - 1) as f64 / 3.0;
    if sigma == 0.0 { length } else { ((1.2 * length as f64 / sigma).ceil() as usize + 1).min(length) }
}

/// The first modes of the orthonormal DCT-II, one after another.
fn cosines(length: usize, modes: usize, scratch: &mut Scratch) -> Vec<f32> {
    let mut basis = scratch.take::<f32>(modes * length);
    for place in 0..length {
        let step = libm::cos(std::f64::consts::PI * (place as f64 + 0.5) / length as f64);
        let (mut before, mut wave) = (step, 1.0);
        for mode in 0..modes {
            let norm = if mode == 0 { 1.0 } else { 2.0 } / length as f64;
            basis[mode * length + place] = (wave * norm.sqrt()) as f32;
            (before, wave) = (wave, 2.0 * step * wave - before);
        }
    }
    basis
}

/// The projections of the field on the modes down (a row for each mode) and across (a column for each mode).
#[inline(always)]
fn project(field: &[f32], width: usize, [rows, columns]: [&[f32]; 2], across: &mut [f32], down: &mut [f32]) {
    let height = field.len() / width;
    for (y, samples) in field.chunks_exact(width).enumerate() {
        for (sums, mode) in across.chunks_exact_mut(width).zip(rows.chunks_exact(height)) {
            sums.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += mode[y] * sample);
        }
        for (column, mode) in down.chunks_exact_mut(height).zip(columns.chunks_exact(width)) {
            column[y] = dot(samples, mode);
        }
    }
}

/// Multiplies the `k`-th line by the response of the kernel to mode `k` of an axis of `modes_of` samples.
fn respond(lines: &mut [f32], line: usize, modes_of: usize, kernel: &[f32]) {
    for (mode, samples) in lines.chunks_exact_mut(line).enumerate() {
        let step = libm::cos(std::f64::consts::PI * mode as f64 / modes_of as f64);
        let (mut before, mut wave, mut response) = (step, 1.0, -f64::from(kernel[0]));
        for &weight in kernel {
            response += 2.0 * f64::from(weight) * wave;
            (before, wave) = (wave, 2.0 * step * wave - before);
        }
        samples.iter_mut().for_each(|sample| *sample *= response as f32);
    }
}

/// The sum of all modes.
#[inline(always)]
fn combine(field: &mut [f32], width: usize, [rows, columns]: [&[f32]; 2], across: &[f32], down: &[f32]) {
    let height = field.len() / width;
    for (y, samples) in field.chunks_exact_mut(width).enumerate() {
        let low_down = across.chunks_exact(width).zip(rows.chunks_exact(height).map(|mode| mode[y]));
        let low_across = columns.chunks_exact(width).zip(down.chunks_exact(height).map(|column| column[y]));
        samples.fill(0.0);
        accumulate(samples, low_down.chain(low_across));
    }
}

/// A dot product in sixteen lanes, so that it vectorises.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut lanes = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;
    use crate::filter::gaussian_weights;

    #[test]
    fn modes_give_what_the_kernel_gives() {
        let (width, height) = (90, 61);
        let mut stream = Key::new(0, "undulation").stream();
        let field: Vec<f32> = (0..width * height).map(|_| stream.uniform(-1.0, 1.0) as f32).collect();
        for (sigma, tolerance) in [(70.0, 2e-7), (11.0, 3e-6)] {
            let kernel: Vec<f32> = gaussian_weights(sigma, 3.0).into_iter().map(|weight| weight as f32).collect();
            assert!(mode_count(width, &kernel) < width / 3);
            let mut scratch = Scratch::new();
            let (mut fast, mut direct) = (field.clone(), field.clone());
            blur_reflected(&mut fast, width, [&kernel, &kernel], &mut scratch);
            smooth(&mut direct, [width, 1], [&kernel, &kernel], Border::Reflect, &mut scratch);
            let furthest = fast.iter().zip(&direct).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < tolerance, "{furthest} at {sigma}");
        }
    }
}
