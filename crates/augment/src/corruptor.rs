//! The corruptions of one profile, ready to be applied.

use std::sync::OnceLock;

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::blur::{self, Disk};
use crate::corruption::{Corruption, Severity};
use crate::frost::{self, FrostSource};
use crate::noise::{self, ShotTable};
use crate::profile::Profile;
use crate::{colour, elastic, jpeg, motion, pixelate, spatter, weather};

/// Applies the corruptions of a profile. Share it by reference between threads: tables are built once, when first
/// needed.
pub struct Corruptor {
    profile: Profile,
    source: FrostSource,
    disks: [Disk; 5],
    shot: [OnceLock<ShotTable>; 5],
    textures: OnceLock<Vec<RgbImage>>,
}

impl Corruptor {
    /// A corruptor with the constants of `profile` and the drawn frost textures.
    pub fn new(profile: Profile) -> Self {
        let disks = blur::DEFOCUS.get(profile).map(|(radius, alias)| Disk::new(radius, alias));
        Self { profile, source: FrostSource::default(), disks, shot: Default::default(), textures: OnceLock::new() }
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Where the frost textures come from; print its name beside results.
    pub fn frost_source(&self) -> FrostSource {
        self.source
    }

    /// The corrupted image, of the same size. Severity 0, and an image without pixels, come back unchanged.
    ///
    /// `key` identifies the seed and the sample. It is extended here by the corruption's name and the severity, so
    /// the cells of a benchmark are independent of one another and of the order in which they are computed.
    pub fn apply(&self, image: &RgbImage, corruption: Corruption, severity: Severity, key: Key) -> RgbImage {
        let Some(index) = severity.index().filter(|_| !image.is_empty()) else {
            return image.clone();
        };
        let stream = key.with_str(corruption.name()).with(u64::from(severity.level())).stream();
        self.corrupt(image, corruption, index, stream)
    }

    fn corrupt(&self, image: &RgbImage, corruption: Corruption, index: usize, mut stream: Stream) -> RgbImage {
        let profile = self.profile;
        match corruption {
            Corruption::GaussianNoise => {
                let sigma = noise::GAUSSIAN.get(profile)[index];
                noise::gaussian(image, || sigma * stream.normal())
            }
            Corruption::ShotNoise => {
                let table = self.shot[index].get_or_init(|| ShotTable::new(noise::SHOT.get(profile)[index]));
                noise::shot(image, table, &mut stream)
            }
            Corruption::ImpulseNoise => {
                noise::impulse(image, noise::strikes(noise::IMPULSE.get(profile)[index], &mut stream))
            }
            Corruption::DefocusBlur => blur::defocus(image, &self.disks[index]),
            Corruption::GlassBlur => {
                let (sigma, reach, rounds) = blur::GLASS.get(profile)[index];
                blur::glass(image, sigma, reach, rounds, blur::jitter(reach, &mut stream))
            }
            Corruption::MotionBlur => {
                let (radius, sigma) = motion::MOTION.get(profile)[index];
                motion::motion(image, radius, sigma, stream.uniform(-45.0, 45.0))
            }
            Corruption::ZoomBlur => {
                let (step, count) = blur::ZOOM.get(profile)[index];
                blur::zoom(image, step, count)
            }
            Corruption::Snow => snow(image, &weather::SNOW.get(profile)[index], &mut stream),
            Corruption::Frost => {
                let textures = self.textures.get_or_init(|| self.source.textures(*frost::TEXTURE_SCALE.get(profile)));
                let (texture, start) = frost::choose(image, textures, &mut stream);
                frost::frost(image, texture, start, frost::FROST.get(profile)[index])
            }
            Corruption::Fog => fog(image, weather::FOG.get(profile)[index], &mut stream),
            Corruption::Brightness => colour::brightness(image, colour::BRIGHTNESS.get(profile)[index]),
            Corruption::Contrast => colour::contrast(image, colour::CONTRAST.get(profile)[index]),
            Corruption::ElasticTransform => warp(image, elastic::ELASTIC.get(profile)[index], &mut stream),
            Corruption::Pixelate => pixelate::pixelate(image, pixelate::PIXELATE.get(profile)[index]),
            Corruption::JpegCompression => jpeg::compress(image, jpeg::QUALITY.get(profile)[index]),
            Corruption::SpeckleNoise => {
                let sigma = noise::SPECKLE.get(profile)[index];
                noise::speckle(image, || sigma * stream.normal())
            }
            Corruption::GaussianBlur => blur::gaussian_blur(image, blur::GAUSSIAN.get(profile)[index]),
            Corruption::Spatter => {
                let level = &spatter::SPATTER.get(profile)[index];
                let liquid = draws(image, || level.mean + level.deviation * stream.normal());
                spatter::spatter(image, level, liquid)
            }
            Corruption::Saturate => {
                let (factor, offset) = colour::SATURATE.get(profile)[index];
                colour::saturate(image, factor, offset)
            }
        }
    }
}

fn snow(image: &RgbImage, level: &weather::SnowLevel, stream: &mut Stream) -> RgbImage {
    let flakes = draws(image, || level.mean + level.deviation * stream.normal());
    weather::snow(image, level, &flakes, stream.uniform(-135.0, -45.0))
}

fn fog(image: &RgbImage, (amount, decay): (f64, f64), stream: &mut Stream) -> RgbImage {
    let side = weather::fog_side(image);
    let map = weather::plasma(side, decay, |scale| stream.uniform(-scale, scale));
    weather::fog(image, amount, &map, side)
}

fn warp(image: &RgbImage, (alpha, sigma, affine): (f64, f64, f64), stream: &mut Stream) -> RgbImage {
    let points = [(); 3].map(|()| [(); 2].map(|()| stream.uniform(-affine, affine)));
    let dx = draws(image, || stream.uniform(-1.0, 1.0));
    let dy = draws(image, || stream.uniform(-1.0, 1.0));
    elastic::elastic(image, alpha, sigma, elastic::Draws { points, dx, dy })
}

/// One draw for every pixel, in reading order.
fn draws(image: &RgbImage, mut draw: impl FnMut() -> f64) -> Vec<f64> {
    (0..image.width() * image.height()).map(|_| draw()).collect()
}
