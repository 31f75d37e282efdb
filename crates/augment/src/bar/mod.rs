//! The fifteen corruptions of ImageNet-C-bar and CIFAR-10-C-bar, which look like no usual augmentation.
//!
//! Source: Mintun, Kirillov & Xie 2021, "On Interaction Between Augmentations and Corruptions in Natural Corruption
//! Robustness", arXiv:2102.11273; levels and formulas from the authors' generator. A strength is level * maximum / 10.
//!
//! The generator knows square images only, and measures everything in their side. Here a place on an axis is measured
//! in that axis, and a length in the [`side`]; images of any size follow, and square ones are as in the generator.
//! The lengths grow with the image in every profile, so `scaled` equals `imagenet-c`.

mod caustic;
mod cover;
mod fourier;
mod maths;
#[cfg(test)]
mod parity;
mod perlin;
mod sparkles;
mod spline;
mod warp;
mod waves;

use crate::cell::{Cell, View};
use crate::corruption::Corruption;
use crate::draws::Draws;
use crate::profile::Profile;

/// A corruption of C-bar. One of another group leaves the image alone.
pub(crate) fn apply(cell: &mut Cell<'_, '_>, corruption: Corruption) {
    let Some(level) = level(cell.profile, corruption, cell.index) else {
        cell.out.copy_from_slice(cell.image.levels);
        return;
    };
    match corruption {
        Corruption::CausticRefraction => caustic::refraction(cell, level),
        Corruption::InverseSparkles => sparkles::inverse(cell, level),
        Corruption::Sparkles => sparkles::bright(cell, level),
        Corruption::PerlinNoise => perlin::apply(cell, level),
        Corruption::BlueNoiseSample => fourier::blue_sample(cell, level),
        Corruption::PlasmaNoise => waves::plasma(cell, level),
        Corruption::CheckerboardCutout => cover::checkerboard(cell, level),
        Corruption::CocentricSineWaves => waves::concentric(cell, level),
        Corruption::SingleFrequencyGreyscale => waves::plane(cell, level),
        Corruption::BrownishNoise => fourier::brownish(cell, level),
        Corruption::PinchAndTwirl => warp::pinch_and_twirl(cell, level),
        Corruption::Ripple => warp::ripple(cell, level),
        Corruption::CircularMotionBlur => spline::circular_motion(cell, level),
        Corruption::Lines => cover::lines(cell, level),
        Corruption::TransverseChromaticAbberation => spline::chromatic(cell, level),
        _ => cell.out.copy_from_slice(cell.image.levels),
    }
}

/// The level on the authors' scale of 0 to 10. A corruption that only one of the two sets has takes that set's levels
/// in every profile, which is no official benchmark.
fn level(profile: Profile, corruption: Corruption, index: usize) -> Option<f64> {
    let [own, other] = match profile {
        Profile::CifarC => [cifar(corruption), imagenet(corruption)],
        _ => [imagenet(corruption), cifar(corruption)],
    };
    own.or(other).map(|levels| levels[index])
}

/// The levels of ImageNet-C-bar per severity 1-5.
fn imagenet(corruption: Corruption) -> Option<[f64; 5]> {
    Some(match corruption {
        Corruption::CausticRefraction => [2.35, 3.2, 4.9, 6.6, 9.15],
        Corruption::InverseSparkles => [1.0, 2.0, 4.0, 9.0, 10.0],
        Corruption::Sparkles => [1.0, 2.0, 3.0, 5.0, 6.0],
        Corruption::PerlinNoise => [4.6, 5.2, 5.8, 7.6, 8.8],
        Corruption::BlueNoiseSample => [0.8, 1.6, 2.4, 4.0, 5.6],
        Corruption::PlasmaNoise => [4.75, 7.0, 8.5, 9.25, 10.0],
        Corruption::CheckerboardCutout => [2.0, 3.0, 4.0, 5.0, 6.0],
        Corruption::CocentricSineWaves => [3.0, 5.0, 8.0, 9.0, 10.0],
        Corruption::SingleFrequencyGreyscale => [1.0, 1.5, 2.0, 4.5, 5.0],
        Corruption::BrownishNoise => [1.0, 2.0, 3.0, 4.0, 5.0],
        _ => return None,
    })
}

/// The levels of CIFAR-10-C-bar per severity 1-5.
fn cifar(corruption: Corruption) -> Option<[f64; 5]> {
    Some(match corruption {
        Corruption::BlueNoiseSample => [0.7, 1.4, 2.1, 3.5, 4.2],
        Corruption::CheckerboardCutout => [1.0, 2.0, 3.0, 4.0, 5.0],
        Corruption::InverseSparkles => [1.0, 1.5, 2.5, 4.5, 5.0],
        Corruption::PinchAndTwirl => [5.5, 6.0, 6.5, 8.5, 10.0],
        Corruption::Ripple => [5.5, 6.0, 6.5, 7.5, 8.0],
        Corruption::BrownishNoise => [2.5, 4.0, 5.5, 6.5, 7.0],
        Corruption::CircularMotionBlur => [2.8, 3.6, 4.4, 5.2, 6.0],
        Corruption::Lines => [0.5, 1.0, 1.5, 2.0, 2.5],
        Corruption::Sparkles => [0.7, 3.5, 5.6, 6.3, 7.0],
        Corruption::TransverseChromaticAbberation => [1.0, 2.0, 5.0, 9.0, 10.0],
        _ => return None,
    })
}

/// What lengths are measured in: the shorter side in pixels, but no less than a sixteenth of the longer one, so that a
/// very long image does not get a pattern of more cells than pixels.
fn side(image: View<'_>) -> f64 {
    let (shorter, longer) = (image.width.min(image.height), image.width.max(image.height));
    (shorter as f64).max(longer as f64 / 16.0)
}

/// Clips to `[0, 255]` and truncates.
#[inline(always)]
fn clip(value: f64) -> u8 {
    value.clamp(0.0, 255.0) as u8
}

/// Clips to `[0, 255]` and truncates.
#[inline(always)]
fn clip32(value: f32) -> u8 {
    value.clamp(0.0, 255.0) as u8
}

/// A random order of `0..N`.
fn permutation<const N: usize>(draws: &mut Draws<'_>) -> [usize; N] {
    let mut order = std::array::from_fn(|place| place);
    if let Some(stream) = draws.stream() {
        stream.shuffle(&mut order);
    } else if let Some(recorded) = draws.array(N, [0.0, (N - 1) as f64]) {
        order.iter_mut().zip(recorded).for_each(|(place, &value)| *place = value as usize);
    }
    order
}
