//! Snow and fog. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use image::RgbImage;

use crate::blur::{Axis, magnify};
use crate::filter::{rebuild, to_level, unit_levels};
use crate::motion::streak;
use crate::profile::PerProfile;

/// The constants of one severity of snow.
#[derive(Clone, Copy)]
pub(crate) struct SnowLevel {
    /// Mean and standard deviation of the flakes before the threshold.
    pub mean: f64,
    pub deviation: f64,
    /// Magnification of the flakes.
    pub zoom: f64,
    /// Flakes below this vanish.
    pub threshold: f64,
    /// Radius in pixels and standard deviation of the streaks.
    pub radius: f64,
    pub sigma: f64,
    /// Weight of the image against its whitened copy.
    pub mix: f32,
}

const fn snow_level(row: (f64, f64, f64, f64, f64, f64, f32)) -> SnowLevel {
    let (mean, deviation, zoom, threshold, radius, sigma, mix) = row;
    SnowLevel { mean, deviation, zoom, threshold, radius, sigma, mix }
}

/// Snow per severity 1-5.
pub(crate) const SNOW: PerProfile<[SnowLevel; 5]> = PerProfile {
    cifar: [
        snow_level((0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95)),
        snow_level((0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9)),
        snow_level((0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9)),
        snow_level((0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85)),
        snow_level((0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8)),
    ],
    imagenet: [
        snow_level((0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8)),
        snow_level((0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7)),
        snow_level((0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7)),
        snow_level((0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65)),
        snow_level((0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55)),
    ],
};

/// Fog: height of the fog in units of white, and the decay of its wobble from octave to octave.
pub(crate) const FOG: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)],
    imagenet: [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)],
};

/// Snow with the given flakes, one for every pixel, falling along `angle` degrees.
pub(crate) fn snow(image: &RgbImage, level: &SnowLevel, flakes: &[f64], angle: f64) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut layer = flakes.to_vec();
    let plan = (Axis::plan(width, level.zoom), Axis::plan(height, level.zoom));
    magnify(flakes, 1, width, plan, &mut layer);
    let kept = layer.iter().map(|&flake| if flake < level.threshold { 0 } else { to_level(flake) });
    let streaks = streak(&kept.collect::<Vec<_>>(), 1, width, level.radius, level.sigma, angle);
    let unit = unit_levels();
    let turned = streaks.iter().rev();
    let fall = streaks.iter().zip(turned).map(|(&a, &b)| (unit[usize::from(a)], unit[usize::from(b)]));
    let mut out = image.clone();
    for (pixel, (streak, turned)) in out.chunks_exact_mut(3).zip(fall) {
        let rgb: [f32; 3] = std::array::from_fn(|channel| f32::from(pixel[channel]) / 255.0);
        let whitened = (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) * 1.5 + 0.5;
        for (sample, value) in pixel.iter_mut().zip(rgb) {
            let mixed = level.mix * value + (1.0 - level.mix) * value.max(whitened);
            *sample = to_level(f64::from(mixed) + streak + turned);
        }
    }
    out
}

/// Fog of the given height map in `[0, 1]`, a square of `side` of which the top left corner is used.
pub(crate) fn fog(image: &RgbImage, amount: f64, map: &[f64], side: usize) -> RgbImage {
    let unit = unit_levels();
    let brightest = image.iter().max().map_or(0.0, |&level| unit[usize::from(level)]);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let heights = (0..height).flat_map(|y| &map[y * side..][..width]);
    let mut out = Vec::with_capacity(image.len());
    for (pixel, fog) in image.as_raw().chunks_exact(3).zip(heights) {
        out.extend(pixel.iter().map(|&level| {
            let fogged = unit[usize::from(level)] + amount * fog;
            to_level(fogged * brightest / (brightest + amount))
        }));
    }
    rebuild(width, height, out)
}

/// The side of the smallest height map that covers the image.
pub(crate) fn fog_side(image: &RgbImage) -> usize {
    (image.width().max(image.height()) as usize).next_power_of_two().max(2)
}

/// A height map in `[0, 1]` by diamond-square on a torus.
///
/// `wobble(scale)` is uniform in `±scale`. It is multiplied by the scale once more, so heights shrink by the square
/// of `decay` from octave to octave; that is the authors' arithmetic.
pub(crate) fn plasma(side: usize, decay: f64, mut wobble: impl FnMut(f64) -> f64) -> Vec<f64> {
    let mut map = vec![0.0; side * side];
    let mut scale = 100.0;
    let mut step = side;
    while step >= 2 {
        let half = step / 2;
        let wrap = |place: usize| place % side;
        let mut displaced = |sum: f64| sum / 4.0 + scale * wobble(scale);
        for (y, x) in grid(side, step) {
            let (low, right) = (wrap(y + step), wrap(x + step));
            let corners = map[y * side + x] + map[low * side + x] + (map[y * side + right] + map[low * side + right]);
            map[(y + half) * side + x + half] = displaced(corners);
        }
        for (y, x) in grid(side, step) {
            let above = wrap(y + side - half);
            let centres = map[(y + half) * side + x + half] + map[above * side + x + half];
            map[y * side + x + half] = displaced(centres + (map[y * side + x] + map[y * side + wrap(x + step)]));
        }
        for (y, x) in grid(side, step) {
            let left = wrap(x + side - half);
            let centres = map[(y + half) * side + x + half] + map[(y + half) * side + left];
            map[(y + half) * side + x] = displaced(centres + (map[y * side + x] + map[wrap(y + step) * side + x]));
        }
        step = half;
        scale /= decay;
    }
    normalise(&mut map);
    map
}

fn grid(side: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..side).step_by(step).flat_map(move |y| (0..side).step_by(step).map(move |x| (y, x)))
}

fn normalise(map: &mut [f64]) {
    let lowest = map.iter().copied().fold(f64::INFINITY, f64::min);
    map.iter_mut().for_each(|height| *height -= lowest);
    let highest = map.iter().copied().fold(0.0, f64::max);
    if highest > 0.0 {
        map.iter_mut().for_each(|height| *height /= highest);
    }
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;

    #[test]
    fn height_maps_have_the_moments_of_the_reference() {
        for (decay, deviation) in [(3.0, 0.167), (1.4, 0.193)] {
            let maps = (0..30).map(|sample| {
                let mut stream = Key::new(sample, "plasma").stream();
                plasma(256, decay, |scale| stream.uniform(-scale, scale))
            });
            let moments = maps.map(|map| {
                let mean = map.iter().sum::<f64>() / map.len() as f64;
                (mean, (map.iter().map(|height| (height - mean).powi(2)).sum::<f64>() / map.len() as f64).sqrt())
            });
            let (mean, spread) = moments.fold((0.0, 0.0), |sum, next| (sum.0 + next.0 / 30.0, sum.1 + next.1 / 30.0));
            assert!((mean - 0.5).abs() < 0.06 && (spread - deviation).abs() < 0.03, "decay {decay}: {mean} ± {spread}");
        }
    }
}
