//! Spatter of water or mud. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.
//!
//! The water is shaped with OpenCV's Canny detector, distance transform and histogram equalisation, restated here.
//! The detector can disagree with OpenCV's about single edge pixels: of five recorded runs four are equal, in one 3 %
//! of the samples differ.

use image::RgbImage;

use crate::filter::{Border, Field, gaussian, pad_row, to_level};
use crate::profile::PerProfile;

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
pub(crate) const SPATTER: PerProfile<[SpatterLevel; 5]> = PerProfile {
    cifar: [
        water(0.62, 0.1, 0.7, 0.7, 0.5),
        water(0.65, 0.1, 0.8, 0.7, 0.5),
        water(0.65, 0.3, 1.0, 0.69, 0.5),
        mud(0.65, 0.1, 0.7, 0.69, 0.6),
        mud(0.65, 0.1, 0.5, 0.68, 0.6),
    ],
    imagenet: [
        water(0.65, 0.3, 4.0, 0.69, 0.6),
        water(0.65, 0.3, 3.0, 0.68, 0.6),
        water(0.65, 0.3, 2.0, 0.68, 0.5),
        mud(0.65, 0.3, 1.0, 0.65, 1.5),
        mud(0.67, 0.4, 1.0, 0.65, 1.5),
    ],
};

/// The colours of water and mud, in levels.
const WATER: [f32; 3] = [175.0, 238.0, 238.0];
const MUD: [f64; 3] = [63.0, 42.0, 20.0];

/// Spatter from the given liquid, one number for every pixel.
pub(crate) fn spatter(image: &RgbImage, level: &SpatterLevel, liquid: Vec<f64>) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let field = Field { width, height, channels: 1, data: liquid };
    let mut liquid = gaussian(field, level.sigma, 4.0, Border::Nearest);
    liquid.data.iter_mut().filter(|value| **value < level.threshold).for_each(|value| *value = 0.0);
    match level.liquid {
        Liquid::Water(strength) => wet(image, &liquid, strength),
        Liquid::Mud(outline) => soil(image, liquid, level.threshold, outline),
    }
}

fn soil(image: &RgbImage, mut liquid: Field, threshold: f64, outline: f64) -> RgbImage {
    liquid.data.iter_mut().for_each(|value| *value = f64::from(u8::from(*value > threshold)));
    let cover = gaussian(liquid, outline, 4.0, Border::Nearest);
    let mut out = image.clone();
    for (pixel, &cover) in out.chunks_exact_mut(3).zip(&cover.data) {
        let cover = f64::from(if cover < 0.8 { 0.0 } else { cover as f32 });
        for (level, mud) in pixel.iter_mut().zip(MUD) {
            *level = to_level(f64::from(*level) / 255.0 * (1.0 - cover) + mud / 255.0 * cover);
        }
    }
    out
}

fn wet(image: &RgbImage, liquid: &Field, strength: f32) -> RgbImage {
    let (width, height) = (liquid.width, liquid.height);
    let around = |samples: &[f32], taps| correlate(samples, width, height, Border::Reflect101, taps);
    let levels: Vec<f32> = liquid.data.iter().map(|&value| f32::from((value * 255.0) as u8)).collect();
    let near: Vec<f32> =
        distance_to(&edges(&levels, width, height), width, height).iter().map(|far| far.min(20.0)).collect();
    let near: Vec<u8> = around(&near, [1.0; 9]).into_iter().map(|sum| (sum / 9.0) as u8).collect();
    let near: Vec<f32> = equalise(&near).into_iter().map(f32::from).collect();
    let relief = around(&near, [-2.0, -1.0, 0.0, -1.0, 1.0, 1.0, 0.0, 1.0, 2.0]);
    let relief: Vec<f32> = relief.into_iter().map(|sum| sum.clamp(0.0, 255.0)).collect();
    let smooth = around(&relief, [1.0; 9]).into_iter().map(|sum| (sum / 9.0).round_ties_even());
    let depth: Vec<f32> = smooth.zip(&levels).map(|(mean, level)| mean * level).collect();
    let deepest = depth.iter().copied().fold(0.0, f32::max);
    if deepest == 0.0 {
        // The reference divides zero by zero here; without water the image stays.
        return image.clone();
    }
    let mut out = image.clone();
    for (pixel, depth) in out.chunks_exact_mut(3).zip(depth) {
        for (level, water) in pixel.iter_mut().zip(WATER) {
            let value = f32::from(*level) / 255.0 + depth / deepest * strength * (water / 255.0);
            *level = (value.clamp(0.0, 1.0) * 255.0) as u8;
        }
    }
    out
}

/// Correlation with 3x3 taps in reading order.
fn correlate(samples: &[f32], width: usize, height: usize, border: Border, taps: [f32; 9]) -> Vec<f32> {
    let mut padded = vec![0.0; (width + 2) * height];
    for (row, target) in samples.chunks_exact(width).zip(padded.chunks_exact_mut(width + 2)) {
        pad_row(row, 1, 1, border, target);
    }
    let mut out = vec![0.0; samples.len()];
    for (y, target) in out.chunks_exact_mut(width).enumerate() {
        for (line, taps) in taps.chunks_exact(3).enumerate() {
            let source = border.resolve((y + line) as i64 - 1, height);
            let row = &padded[source * (width + 2)..][..width + 2];
            for (sum, samples) in target.iter_mut().zip(row.windows(3)) {
                *sum += taps[0] * samples[0] + taps[1] * samples[1] + taps[2] * samples[2];
            }
        }
    }
    out
}

/// OpenCV's histogram equalisation.
fn equalise(levels: &[u8]) -> Vec<u8> {
    let mut counts = [0_usize; 256];
    levels.iter().for_each(|&level| counts[usize::from(level)] += 1);
    let Some(first) = counts.iter().position(|&count| count > 0).filter(|&first| counts[first] < levels.len()) else {
        return levels.to_vec();
    };
    let scale = 255.0 / (levels.len() - counts[first]) as f32;
    let mut sum = 0;
    let mut table = [0; 256];
    for level in first + 1..256 {
        sum += counts[level];
        table[level] = (sum as f32 * scale).round_ties_even() as u8;
    }
    levels.iter().map(|&level| table[usize::from(level)]).collect()
}

/// Canny's edges with thresholds 50 and 150 on the L1 norm of Sobel gradients.
fn edges(levels: &[f32], width: usize, height: usize) -> Vec<bool> {
    let across = correlate(levels, width, height, Border::Nearest, [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0]);
    let down = correlate(levels, width, height, Border::Nearest, [-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0]);
    // One pixel of zero around the norms, and of false around the ridges, in place of tests for the border.
    let stride = width + 2;
    let inside = |place: usize| (place / width + 1) * stride + place % width + 1;
    let mut norms = vec![0; stride * (height + 2)];
    for (place, (x, y)) in across.iter().zip(&down).enumerate() {
        norms[inside(place)] = (x.abs() + y.abs()) as i32;
    }
    let mut ridge = vec![false; norms.len()];
    for (place, (&x, &y)) in across.iter().zip(&down).enumerate() {
        ridge[inside(place)] = is_ridge(&norms, inside(place), stride, (x as i32, y as i32));
    }
    let mut found = vec![false; norms.len()];
    let mut open: Vec<usize> = (0..norms.len()).filter(|&place| ridge[place] && norms[place] > 150).collect();
    while let Some(place) = open.pop() {
        if std::mem::replace(&mut found[place], true) {
            continue;
        }
        let rows = [place - stride, place, place + stride];
        let neighbours = rows.into_iter().flat_map(|row| [row - 1, row, row + 1]);
        open.extend(neighbours.filter(|&next| ridge[next] && !found[next]));
    }
    (0..width * height).map(|place| found[inside(place)]).collect()
}

/// Whether the gradient is above 50 and no smaller than its neighbours along its direction.
fn is_ridge(norms: &[i32], place: usize, stride: usize, (x, y): (i32, i32)) -> bool {
    let centre = norms[place];
    if centre <= 50 {
        return false;
    }
    // tan(22.5 degrees) in 15-bit fixed point.
    let (ax, ay) = (i64::from(x.abs()), i64::from(y.abs()) << 15);
    let flat = ax * 13573;
    if ay < flat {
        centre > norms[place - 1] && centre >= norms[place + 1]
    } else if ay > flat + (ax << 16) {
        centre > norms[place - stride] && centre >= norms[place + stride]
    } else if (x ^ y) < 0 {
        centre > norms[place - stride + 1] && centre > norms[place + stride - 1]
    } else {
        centre > norms[place - stride - 1] && centre > norms[place + stride + 1]
    }
}

/// Distance in pixels to the nearest set pixel by OpenCV's 5x5 chamfer; far away where none is set.
fn distance_to(set: &[bool], width: usize, height: usize) -> Vec<f32> {
    const KNIGHT: f32 = 2.1969;
    const DIAGONAL: f32 = 1.4;
    const STEPS: [(i64, i64, f32); 8] = [
        (-1, -2, KNIGHT),
        (1, -2, KNIGHT),
        (-2, -1, KNIGHT),
        (-1, -1, DIAGONAL),
        (0, -1, 1.0),
        (1, -1, DIAGONAL),
        (2, -1, KNIGHT),
        (-1, 0, 1.0),
    ];
    let mut distance: Vec<f32> = set.iter().map(|&set| if set { 0.0 } else { 1e6 }).collect();
    let mut relax = |place: usize, sign: i64| {
        let (x, y) = ((place % width) as i64, (place / width) as i64);
        let inside = |x: i64, y: i64| (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
        let reached =
            STEPS.iter().map(|&(dx, dy, cost)| (x + sign * dx, y + sign * dy, cost)).filter(|&(x, y, _)| inside(x, y));
        let paths = reached.map(|(x, y, cost)| distance[y as usize * width + x as usize] + cost);
        distance[place] = paths.fold(distance[place], f32::min);
    };
    (0..width * height).for_each(|place| relax(place, 1));
    (0..width * height).rev().for_each(|place| relax(place, -1));
    distance
}
