//! Gaussian, shot, impulse and speckle noise, drawn for every sample: height x width x 3.
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use image::RgbImage;
use robustify_rng::Stream;

use crate::filter::{to_level, unit_levels};
use crate::profile::PerProfile;

/// Gaussian noise: standard deviation per severity 1-5, for samples in `[0, 1]`.
pub(crate) const GAUSSIAN: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.04, 0.06, 0.08, 0.09, 0.10], imagenet: [0.08, 0.12, 0.18, 0.26, 0.38] };

/// Shot noise: photons at white.
pub(crate) const SHOT: PerProfile<[f64; 5]> =
    PerProfile { cifar: [500.0, 250.0, 100.0, 75.0, 50.0], imagenet: [60.0, 25.0, 12.0, 5.0, 3.0] };

/// Impulse noise: share of the samples that are replaced.
pub(crate) const IMPULSE: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.01, 0.02, 0.03, 0.05, 0.07], imagenet: [0.03, 0.06, 0.09, 0.17, 0.27] };

/// Speckle noise: standard deviation in units of the sample.
pub(crate) const SPECKLE: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.06, 0.10, 0.12, 0.16, 0.20], imagenet: [0.15, 0.20, 0.35, 0.45, 0.60] };

/// Adds `noise()` to every sample in `[0, 1]`.
pub(crate) fn gaussian(image: &RgbImage, mut noise: impl FnMut() -> f64) -> RgbImage {
    let unit = unit_levels();
    map_samples(image, |level| to_level(unit[usize::from(level)] + noise()))
}

/// Adds `noise()` times the sample to every sample in `[0, 1]`.
pub(crate) fn speckle(image: &RgbImage, mut noise: impl FnMut() -> f64) -> RgbImage {
    let unit = unit_levels();
    map_samples(image, |level| {
        let sample = unit[usize::from(level)];
        to_level(sample + sample * noise())
    })
}

/// Replaces the samples for which `strike()` answers: by white if true, by black if false.
pub(crate) fn impulse(image: &RgbImage, mut strike: impl FnMut() -> Option<bool>) -> RgbImage {
    map_samples(image, |level| strike().map_or(level, |salt| if salt { 255 } else { 0 }))
}

/// Shot noise through the table of its profile and severity.
pub(crate) fn shot(image: &RgbImage, table: &ShotTable, stream: &mut Stream) -> RgbImage {
    map_samples(image, |level| table.draw(level, stream.bits32()))
}

/// The draws of [`impulse`]: struck with probability `amount`, then white or black at even odds.
pub(crate) fn strikes(amount: f64, stream: &mut Stream) -> impl FnMut() -> Option<bool> {
    let threshold = (amount * 4_294_967_296.0) as u32;
    move || (stream.bits32() < threshold).then(|| stream.bits32() & 1 == 1)
}

/// The level shown for `count` photons of the `photons` that make white.
pub(crate) fn shot_level(count: u32, photons: f64) -> u8 {
    to_level(f64::from(count) / photons)
}

fn map_samples(image: &RgbImage, mut map: impl FnMut(u8) -> u8) -> RgbImage {
    let mut out = image.clone();
    out.iter_mut().for_each(|sample| *sample = map(*sample));
    out
}

/// For every level, the distribution of the level after shot noise, to be drawn from with 32 random bits.
pub(crate) struct ShotTable {
    /// Cumulative probabilities times 2^31, `256 * level + output`.
    cumulative: Vec<u32>,
    /// The first output that the top byte of the random bits can mean, `256 * level + byte`.
    guide: Vec<u8>,
}

impl ShotTable {
    pub fn new(photons: f64) -> Self {
        let mut cumulative = Vec::with_capacity(256 * 256);
        let mut guide = Vec::with_capacity(256 * 256);
        for unit in unit_levels() {
            let row = cumulative_levels(unit * photons, photons);
            let mut first = 0;
            for byte in 0..256_u32 {
                while first < 255 && row[first] <= byte << 23 {
                    first += 1;
                }
                guide.push(first as u8);
            }
            cumulative.extend(row);
        }
        Self { cumulative, guide }
    }

    fn draw(&self, level: u8, bits: u32) -> u8 {
        let row = usize::from(level) * 256;
        let mut output = usize::from(self.guide[row + (bits >> 24) as usize]);
        while output < 255 && self.cumulative[row + output] <= bits >> 1 {
            output += 1;
        }
        output as u8
    }
}

/// The cumulative distribution of the output level for a Poisson variable of the given mean.
fn cumulative_levels(mean: f64, photons: f64) -> [u32; 256] {
    let mut mass = [0.0; 256];
    // Twelve standard deviations: what lies beyond is far below the resolution of 2^-31.
    let reach = 12.0 * (mean + 1.0).sqrt() + 12.0;
    for count in (mean - reach).max(0.0) as u32..=(mean + reach) as u32 {
        let log = if mean > 0.0 { f64::from(count) * libm::log(mean) } else { 0.0 };
        let log = log - mean - libm::lgamma(f64::from(count) + 1.0);
        if mean > 0.0 || count == 0 {
            mass[usize::from(shot_level(count, photons))] += libm::exp(log);
        }
    }
    let mut sum = 0.0;
    mass.map(|part| {
        sum += part;
        (sum * 2_147_483_648.0).round() as u32
    })
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;

    fn flat(level: u8) -> RgbImage {
        RgbImage::from_pixel(64, 64, image::Rgb([level; 3]))
    }

    #[test]
    fn shot_noise_has_the_moments_of_poisson() {
        for photons in [3.0, 60.0, 500.0] {
            let table = ShotTable::new(photons);
            let mut stream = Key::new(1, "shot").stream();
            for level in [0, 20, 90] {
                let out = shot(&flat(level), &table, &mut stream);
                let count = out.len() as f64;
                let mean = out.iter().map(|&level| f64::from(level)).sum::<f64>() / count;
                let variance = out.iter().map(|&level| (f64::from(level) - mean).powi(2)).sum::<f64>() / count;
                let (want, spread) = (f64::from(level), f64::from(level) * 255.0 / photons);
                // Half a level is lost by truncation; few photons also lose what lies above white.
                let room = 0.6 + 4.0 * (spread / count).sqrt() + if photons == 3.0 { 0.12 * want } else { 0.0 };
                assert!((mean - want).abs() < room, "{photons} photons, level {level}: mean {mean}");
                if photons > 3.0 {
                    assert!((variance - spread).abs() < 0.1 * spread + 0.2, "{photons}, {level}: variance {variance}");
                }
            }
        }
    }

    #[test]
    fn shot_tables_end_at_certainty() {
        let table = ShotTable::new(500.0);
        assert_eq!([0, u32::MAX].map(|bits| table.draw(0, bits)), [0, 0]);
        assert!(table.draw(128, 0) < 128 && table.draw(128, u32::MAX) > 128);
    }

    #[test]
    fn impulses_strike_their_share_evenly() {
        let mut stream = Key::new(2, "impulse").stream();
        let out = impulse(&flat(100), strikes(0.27, &mut stream));
        let share = |wanted: u8| out.iter().filter(|&&level| level == wanted).count() as f64 / out.len() as f64;
        assert!((share(0) - 0.135).abs() < 0.012 && (share(255) - 0.135).abs() < 0.012);
        assert!((share(0) + share(255) + share(100) - 1.0).abs() < 1e-9);
    }
}
