//! Gaussian, shot, impulse and speckle noise, drawn for every sample: height x width x 3.
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use std::sync::OnceLock;

use robustify_rng::Stream;

use crate::border::{to_level, unit_levels};
use crate::cell::Cell;
use crate::draws::ANY;
use crate::profile::PerProfile;
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Gaussian noise: standard deviation per severity 1-5, for samples in `[0, 1]`.
const GAUSSIAN: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.04, 0.06, 0.08, 0.09, 0.10],
    tiny: [0.04, 0.08, 0.12, 0.15, 0.18],
    imagenet: [0.08, 0.12, 0.18, 0.26, 0.38],
    inception: [0.09, 0.13, 0.19, 0.27, 0.40],
};

/// Shot noise: photons at white.
const SHOT: PerProfile<[f64; 5]> = PerProfile {
    cifar: [500.0, 250.0, 100.0, 75.0, 50.0],
    tiny: [250.0, 100.0, 50.0, 30.0, 15.0],
    imagenet: [60.0, 25.0, 12.0, 5.0, 3.0],
    inception: [50.0, 20.0, 10.0, 5.0, 3.0],
};

/// Impulse noise: share of the samples that are replaced.
const IMPULSE: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.01, 0.02, 0.03, 0.05, 0.07],
    tiny: [0.01, 0.02, 0.05, 0.08, 0.14],
    imagenet: [0.03, 0.06, 0.09, 0.17, 0.27],
    inception: [0.04, 0.07, 0.10, 0.18, 0.28],
};

/// Speckle noise: standard deviation in units of the sample.
const SPECKLE: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.06, 0.10, 0.12, 0.16, 0.20],
    tiny: [0.15, 0.20, 0.25, 0.30, 0.35],
    imagenet: [0.15, 0.20, 0.35, 0.45, 0.60],
    inception: [0.16, 0.21, 0.36, 0.46, 0.61],
};

/// The tables of the noises, made when first needed.
#[derive(Default)]
pub(crate) struct Noise {
    shot: [OnceLock<ShotTable>; 5],
}

/// Random numbers made at a time: they stay in the fastest cache.
const CHUNK: usize = 4096;

impl Noise {
    /// Normal noise of a fixed standard deviation on every sample.
    pub fn gaussian(&self, cell: &mut Cell<'_, '_>) {
        let deviation = GAUSSIAN.get(cell.profile)[cell.index];
        normal_noise(cell, 255.0 * deviation as f32, |sample, noise| sample + noise, |level, noise| level + noise);
    }

    /// Normal noise in proportion to the sample.
    pub fn speckle(&self, cell: &mut Cell<'_, '_>) {
        let deviation = SPECKLE.get(cell.profile)[cell.index];
        let exact = |sample: f64, noise: f64| sample + sample * noise;
        normal_noise(cell, deviation as f32, exact, |level, noise| level + level * noise);
    }

    /// Photons counted at every sample.
    pub fn shot(&self, cell: &mut Cell<'_, '_>) {
        let photons = SHOT.get(cell.profile)[cell.index];
        if let Some(stream) = cell.draws.stream() {
            let table = self.shot[cell.index].get_or_init(|| ShotTable::new(photons));
            in_chunks(cell.image.levels, cell.out, stream, cell.scratch, |levels, out, bits| {
                table.draw(levels, out, bits);
            });
        } else if let Some(counts) = cell.draws.array(cell.out.len(), [0.0, f64::INFINITY]) {
            for (level, &count) in cell.out.iter_mut().zip(counts) {
                *level = to_level(count / photons);
            }
        } else {
            cell.out.fill(0);
        }
    }

    /// Samples set to black or to white.
    pub fn impulse(&self, cell: &mut Cell<'_, '_>) {
        let amount = IMPULSE.get(cell.profile)[cell.index];
        let length = cell.out.len();
        if let Some(stream) = cell.draws.stream() {
            in_chunks(cell.image.levels, cell.out, stream, cell.scratch, |levels, out, bits| {
                strike(levels, out, bits, amount);
            });
            return;
        }
        let struck = cell.draws.array(length, ANY).unwrap_or_default();
        let white = cell.draws.array(length, ANY).unwrap_or_default();
        cell.out.copy_from_slice(cell.image.levels);
        for ((level, &struck), &white) in cell.out.iter_mut().zip(struck).zip(white) {
            if struck <= amount {
                *level = if white <= 0.5 { 255 } else { 0 };
            }
        }
    }
}

/// Noise of normal numbers: recorded ones through `exact`, on samples in `[0, 1]` and in the reference's arithmetic; new
/// ones of the given deviation through `fast`, on levels in single precision.
#[inline(always)]
fn normal_noise(
    cell: &mut Cell<'_, '_>,
    deviation: f32,
    exact: impl Fn(f64, f64) -> f64,
    fast: impl Fn(f32, f32) -> f32,
) {
    let Some(stream) = cell.draws.stream() else {
        let noise = cell.draws.array(cell.out.len(), ANY).unwrap_or_default();
        let unit = unit_levels();
        for ((out, &level), &noise) in cell.out.iter_mut().zip(cell.image.levels).zip(noise) {
            *out = to_level(exact(unit[usize::from(level)], noise));
        }
        return;
    };
    let mut noise = cell.scratch.take::<f32>(CHUNK.min(cell.out.len()));
    for (out, levels) in cell.out.chunks_mut(CHUNK).zip(cell.image.levels.chunks(CHUNK)) {
        let noise = &mut noise[..out.len()];
        stream.normals_f32(0.0, deviation, noise);
        vectorised(
            #[inline(always)]
            || {
                for ((out, &level), &noise) in out.iter_mut().zip(levels).zip(noise.iter()) {
                    *out = truncate(fast(f32::from(level), noise));
                }
            },
        );
    }
    cell.scratch.give(noise);
}

/// Clips to 0-255 and drops the fraction.
#[inline(always)]
fn truncate(value: f32) -> u8 {
    // Almost a half less, and the sum with 2^23 is rounded to a whole number whose last bits are the level: quicker than a
    // conversion, which would clip once more.
    const SHIFT: f32 = 8_388_608.0;
    ((value.clamp(0.0, 255.0) - 0.499_99).max(0.0) + SHIFT).to_bits() as u8
}

/// Makes `out` of `levels` and of one random word for every sample.
#[inline(always)]
fn in_chunks(
    levels: &[u8],
    out: &mut [u8],
    stream: &mut Stream,
    scratch: &mut Scratch,
    work: impl Fn(&[u8], &mut [u8], &[u32]),
) {
    let mut bits = scratch.take::<u32>(CHUNK.min(out.len()));
    for (out, levels) in out.chunks_mut(CHUNK).zip(levels.chunks(CHUNK)) {
        let bits = &mut bits[..out.len()];
        stream.words(bits);
        vectorised(
            #[inline(always)]
            || work(levels, out, bits),
        );
    }
    scratch.give(bits);
}

/// Impulse noise: of the words below `amount` the lower half means white and the upper half black.
#[inline(always)]
fn strike(levels: &[u8], out: &mut [u8], bits: &[u32], amount: f64) {
    let black = (amount * 4_294_967_296.0) as u32;
    let white = black / 2;
    for ((out, &level), &bits) in out.iter_mut().zip(levels).zip(bits) {
        let kept = if bits < black { 0 } else { level };
        *out = if bits < white { 255 } else { kept };
    }
}

/// For every level, the distribution of the level after shot noise, to be drawn from with one random word: 256 equal
/// columns, each of which is shared by two outputs.
///
/// Source: Walker 1977, "An efficient method for generating discrete random variables with general distributions".
pub(crate) struct ShotTable {
    /// `256 * level + column`: the first output in the lowest byte, the second in the next, and above them the share of
    /// the first in 2^16ths.
    columns: Box<[u32; 1 << 16]>,
}

impl ShotTable {
    fn new(photons: f64) -> Self {
        let mut columns: Box<[u32; 1 << 16]> = vec![0; 1 << 16].try_into().expect("the length is that of the array");
        for (row, unit) in columns.chunks_exact_mut(256).zip(unit_levels()) {
            row.copy_from_slice(&share_out(&level_masses(unit * photons, photons)));
        }
        Self { columns }
    }

    /// The column is chosen by the top byte of a word, the output in it by the 16 bits below.
    #[inline(always)]
    fn draw(&self, levels: &[u8], out: &mut [u8], bits: &[u32]) {
        for ((out, &level), &bits) in out.iter_mut().zip(levels).zip(bits) {
            let entry = self.columns[usize::from((u16::from(level) << 8) | (bits >> 24) as u16)];
            let shift = if (bits >> 8) & 0xffff < entry >> 16 { 0 } else { 8 };
            *out = (entry >> shift) as u8;
        }
    }
}

/// Deals the probabilities of 256 outputs into 256 equal columns of at most two outputs each.
fn share_out(masses: &[f64; 256]) -> [u32; 256] {
    let total: f64 = masses.iter().sum();
    let mut left = masses.map(|mass| mass * 256.0 / total);
    let (mut poor, mut rich): (Vec<usize>, Vec<usize>) = (0..256).partition(|&output| left[output] < 1.0);
    // What rounding leaves over at the end is given to itself.
    let mut columns: [u32; 256] = std::array::from_fn(|output| (output as u32 * 257) | (0xffff << 16));
    while let (Some(small), Some(&large)) = (poor.pop(), rich.last()) {
        let share = ((left[small] * 65536.0).round() as u32).min(0xffff);
        columns[small] = (share << 16) | ((large as u32) << 8) | small as u32;
        left[large] -= 1.0 - f64::from(share) / 65536.0;
        if left[large] < 1.0 {
            rich.pop();
            poor.push(large);
        }
    }
    columns
}

/// The probabilities of the output levels for a Poisson variable of the given mean, of whose counts `photons` make white.
fn level_masses(mean: f64, photons: f64) -> [f64; 256] {
    let mut mass = [0.0; 256];
    // Twelve standard deviations: what lies beyond is far below the resolution of the table.
    let reach = 12.0 * (mean + 1.0).sqrt() + 12.0;
    for count in (mean - reach).max(0.0) as u32..=(mean + reach) as u32 {
        let log = if mean > 0.0 { f64::from(count) * libm::log(mean) } else { 0.0 };
        let log = log - mean - libm::lgamma(f64::from(count) + 1.0);
        if mean > 0.0 || count == 0 {
            mass[usize::from(to_level(f64::from(count) / photons))] += libm::exp(log);
        }
    }
    mass
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use robustify_rng::Key;

    use super::*;
    use crate::{Corruption, Corruptor, Profile, Severity};

    /// How often each level comes out, as a share, for a flat image of the given level.
    fn shares(profile: Profile, corruption: Corruption, severity: Severity, level: u8) -> ([f64; 256], f64) {
        let flat = RgbImage::from_pixel(200, 200, image::Rgb([level; 3]));
        let out = Corruptor::new(profile).apply(&flat, corruption, severity, Key::new(u64::from(level), "law"));
        let mut counts = [0.0; 256];
        out.iter().for_each(|&level| counts[usize::from(level)] += 1.0);
        (counts.map(|count| count / out.len() as f64), out.len() as f64)
    }

    /// Asserts that the shares of `n` draws have the probabilities `law`, by the cumulative sums: their deviation is at
    /// most 1 / sqrt(4 n).
    fn assert_law((shares, n): ([f64; 256], f64), law: [f64; 256], what: &str) {
        let (mut got, mut want) = (0.0, 0.0);
        for (level, (share, mass)) in shares.into_iter().zip(law).enumerate() {
            got += share;
            want += mass;
            let room = 4.5 * (want * (1.0 - want) / n).max(0.0).sqrt() + 3.0 / n;
            assert!((got - want).abs() < room, "{what}: up to {level}: {got} instead of {want}");
        }
        assert!((want - 1.0).abs() < 1e-9, "{what}: the law sums to {want}");
    }

    /// The law of the truncated level of a normal variable.
    fn normal_law(mean: f64, deviation: f64) -> [f64; 256] {
        let below = |x: f64| 0.5 * libm::erfc((mean - x) / deviation / std::f64::consts::SQRT_2);
        std::array::from_fn(|level| match level {
            0 => below(1.0),
            255 => 1.0 - below(255.0),
            _ => below(level as f64 + 1.0) - below(level as f64),
        })
    }

    #[test]
    fn gaussian_and_speckle_have_their_laws() {
        for (profile, index) in [(Profile::CifarC, 0), (Profile::ImagenetC, 4)] {
            for level in [1, 60, 128, 250] {
                let (severity, mean) = (Severity::ALL[index], f64::from(level));
                let what = format!("{profile}, level {level}");
                let got = shares(profile, Corruption::GaussianNoise, severity, level);
                assert_law(got, normal_law(mean, 255.0 * GAUSSIAN.get(profile)[index]), &what);
                let got = shares(profile, Corruption::SpeckleNoise, severity, level);
                assert_law(got, normal_law(mean, mean * SPECKLE.get(profile)[index]), &what);
            }
        }
    }

    #[test]
    fn shot_noise_has_its_law() {
        for (profile, index) in [(Profile::CifarC, 0), (Profile::ImagenetC, 0), (Profile::ImagenetC, 4)] {
            let photons = SHOT.get(profile)[index];
            for level in [0, 3, 90, 255] {
                let law = level_masses(f64::from(level) / 255.0 * photons, photons);
                let got = shares(profile, Corruption::ShotNoise, Severity::ALL[index], level);
                assert_law(got, law, &format!("{profile}, level {level}"));
            }
        }
    }

    #[test]
    fn shot_tables_hold_the_probabilities() {
        let law = level_masses(40.0, 60.0);
        let mut dealt = [0.0; 256];
        for entry in share_out(&law) {
            let share = f64::from(entry >> 16) / 65536.0;
            dealt[entry as usize & 255] += share / 256.0;
            dealt[(entry as usize >> 8) & 255] += (1.0 - share) / 256.0;
        }
        assert!(dealt.iter().zip(law).all(|(a, b)| (a - b).abs() < 1e-6), "{dealt:?}");
    }

    #[test]
    fn impulses_strike_their_share_evenly() {
        let mut law = [0.0; 256];
        (law[0], law[100], law[255]) = (0.135, 0.73, 0.135);
        let got = shares(Profile::ImagenetC, Corruption::ImpulseNoise, Severity::ALL[4], 100);
        assert_law(got, law, "impulse");
    }
}
