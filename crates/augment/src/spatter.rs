//! Spatter of water or mud. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.
//!
//! The water is shaped with OpenCV's Canny detector, distance transform and histogram equalisation, restated in
//! [`crate::shape`].

use crate::border::Border;
use crate::cell::Cell;
use crate::filter::{fill_weights, smooth};
use crate::profile::PerProfile;
use crate::scratch::Scratch;
use crate::shape::{Plane, box_sums, distances, edges, equalise, relief};
use crate::simd::vectorised;

/// The constants of one severity of spatter.
#[derive(Clone, Copy)]
pub(crate) struct SpatterLevel {
    /// Mean and standard deviation of the liquid before smoothing.
    pub mean: f64,
    pub deviation: f64,
    /// Standard deviation of the smoothing, in pixels.
    pub sigma: f64,
    /// Liquid below this vanishes.
    pub threshold: f64,
    pub liquid: Liquid,
}

#[derive(Clone, Copy)]
pub(crate) enum Liquid {
    /// Brightens by at most this share of a pale turquoise.
    Water(f32),
    /// Covers with brown, its outline smoothed by this many pixels.
    Mud(f64),
}

const fn water(mean: f64, deviation: f64, sigma: f64, threshold: f64, strength: f32) -> SpatterLevel {
    SpatterLevel { mean, deviation, sigma, threshold, liquid: Liquid::Water(strength) }
}

const fn mud(mean: f64, deviation: f64, sigma: f64, threshold: f64, outline: f64) -> SpatterLevel {
    SpatterLevel { mean, deviation, sigma, threshold, liquid: Liquid::Mud(outline) }
}

/// Spatter per severity 1-5.
const SPATTER: PerProfile<[SpatterLevel; 5]> = PerProfile {
    cifar: [
        water(0.62, 0.1, 0.7, 0.7, 0.5),
        water(0.65, 0.1, 0.8, 0.7, 0.5),
        water(0.65, 0.3, 1.0, 0.69, 0.5),
        mud(0.65, 0.1, 0.7, 0.69, 0.6),
        mud(0.65, 0.1, 0.5, 0.68, 0.6),
    ],
    tiny: [
        water(0.62, 0.1, 0.7, 0.7, 0.6),
        water(0.65, 0.1, 0.8, 0.7, 0.6),
        water(0.65, 0.3, 1.0, 0.69, 0.6),
        mud(0.65, 0.1, 0.7, 0.68, 0.6),
        mud(0.65, 0.1, 0.5, 0.67, 0.6),
    ],
    imagenet: [
        water(0.65, 0.3, 4.0, 0.69, 0.6),
        water(0.65, 0.3, 3.0, 0.68, 0.6),
        water(0.65, 0.3, 2.0, 0.68, 0.5),
        mud(0.65, 0.3, 1.0, 0.65, 1.5),
        mud(0.67, 0.4, 1.0, 0.65, 1.5),
    ],
    inception: [
        water(0.65, 0.3, 4.0, 0.69, 0.9),
        water(0.65, 0.3, 3.5, 0.68, 0.9),
        water(0.65, 0.3, 3.0, 0.68, 0.8),
        mud(0.65, 0.3, 1.2, 0.65, 1.8),
        mud(0.67, 0.4, 1.2, 0.65, 1.8),
    ],
};

/// Spatter of a cell.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let level = level_of(cell);
    let width = cell.image.width;
    let mut liquid = cell.scratch.take::<f64>(cell.image.pixels());
    cell.draws.normals(level.mean, level.deviation, &mut liquid);
    blur(&mut liquid, width, level.sigma, cell.scratch);
    match level.liquid {
        Liquid::Water(strength) => wet(cell, &liquid, level.threshold, strength),
        Liquid::Mud(outline) => soil(cell, &mut liquid, level.threshold, outline),
    }
    cell.scratch.give(liquid);
}

/// The constants of a cell's spatter, lengths in pixels.
fn level_of(cell: &Cell<'_, '_>) -> SpatterLevel {
    let mut level = SPATTER.get(cell.profile)[cell.index];
    let scale = cell.scale();
    level.sigma *= scale;
    // Smoothed over twice the length, noise is half as strong; this keeps the share of the image that is hit.
    level.deviation *= scale;
    if let Liquid::Mud(outline) = &mut level.liquid {
        *outline *= scale;
    }
    level
}

fn blur(samples: &mut [f64], width: usize, sigma: f64, scratch: &mut Scratch) {
    let mut weights = scratch.take_empty();
    fill_weights(sigma, 4.0, &mut weights);
    smooth(samples, [width, 1], [&weights, &weights], Border::Nearest, scratch);
    scratch.give(weights);
}

/// The colours of water and mud, in levels.
const WATER: [f32; 3] = [175.0, 238.0, 238.0];
const MUD: [f64; 3] = [63.0, 42.0, 20.0];

fn soil(cell: &mut Cell<'_, '_>, liquid: &mut [f64], threshold: f64, outline: f64) {
    liquid.iter_mut().for_each(|value| *value = f64::from(u8::from(*value > threshold)));
    blur(liquid, cell.image.width, outline, cell.scratch);
    let pixels = cell.out.as_chunks_mut::<3>().0.iter_mut().zip(cell.image.levels.as_chunks::<3>().0);
    for ((out, pixel), &cover) in pixels.zip(&*liquid) {
        if cover < 0.8 {
            *out = *pixel;
            continue;
        }
        let cover = f64::from(cover as f32);
        *out = std::array::from_fn(|channel| {
            let sample = f64::from(pixel[channel]) / 255.0 * (1.0 - cover) + MUD[channel] / 255.0 * cover;
            (sample.min(1.0) * 255.0) as u8
        });
    }
}

fn wet(cell: &mut Cell<'_, '_>, liquid: &[f64], threshold: f64, strength: f32) {
    let sides = [cell.image.width, cell.image.height];
    let scratch = &mut *cell.scratch;
    let mut levels = Plane::new(sides, scratch);
    levels.fill(liquid.iter().map(|&value| if value < threshold { 0 } else { (value * 255.0) as u32 as u8 }));
    let found = edges(&levels, scratch);
    let mut near = Plane::new(sides, scratch);
    distances(&found, &mut near, scratch);
    found.give(scratch);
    equalise(&mut near);
    let mut shaded = Plane::new(sides, scratch);
    relief(&mut near, &mut shaded);
    let mut depth = scratch.take::<f32>(liquid.len());
    let deepest = depths(&mut shaded, &levels, &mut depth);
    [levels, near, shaded].into_iter().for_each(|plane| plane.give(scratch));
    pour(cell, &depth, deepest, strength);
    cell.scratch.give(depth);
}

/// The smoothed relief times the liquid, and its greatest value.
fn depths(shaded: &mut Plane<u8>, levels: &Plane<u8>, depth: &mut [f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || {
            box_sums(shaded, depth);
            let mut deepest = 0.0_f32;
            for (row, levels) in depth.chunks_exact_mut(levels.width()).zip(levels.rows()) {
                for (depth, &level) in row.iter_mut().zip(levels) {
                    // A ninth of a whole number is never halfway between two.
                    *depth = (*depth * (1.0 / 9.0) + 0.5).floor() * f32::from(level);
                    deepest = deepest.max(*depth);
                }
            }
            deepest
        },
    )
}

fn pour(cell: &mut Cell<'_, '_>, depth: &[f32], deepest: f32, strength: f32) {
    // The reference divides zero by zero where there is no water; here the image stays.
    if deepest == 0.0 {
        cell.out.copy_from_slice(cell.image.levels);
        return;
    }
    let water = WATER.map(|level| level / 255.0);
    vectorised(
        #[inline(always)]
        || {
            let pixels = cell.out.as_chunks_mut::<3>().0.iter_mut().zip(cell.image.levels.as_chunks::<3>().0);
            for ((out, pixel), &depth) in pixels.zip(depth) {
                let share = depth / deepest * strength;
                for channel in 0..3 {
                    let value = f32::from(pixel[channel]) / 255.0 + share * water[channel];
                    out[channel] = (value.min(1.0) * 255.0) as u8;
                }
            }
        },
    );
}
