//! The corruptions of one profile, ready to be applied.

use image::RgbImage;
use robustify_rng::Key;

use crate::cell::{Cell, View};
use crate::corruption::{Corruption, Severity};
use crate::defocus::Defocus;
use crate::draws::{Draws, Trace};
use crate::frost::{Frost, FrostSource};
use crate::noise::Noise;
use crate::profile::Profile;
use crate::scratch::Scratch;
use crate::{
    AugmentError, bar, colour, elastic, fog, gaussian_blur, glass, jpeg, motion, pixelate, snow, spatter, zoom,
};

/// Applies the corruptions of a profile. Share it by reference between threads: tables are built once, when first
/// needed.
pub struct Corruptor {
    profile: Profile,
    noise: Noise,
    defocus: Defocus,
    frost: Frost,
}

impl Corruptor {
    /// A corruptor with the constants of `profile` and the drawn frost textures.
    pub fn new(profile: Profile) -> Self {
        Self::with_frost(profile, FrostSource::procedural())
    }

    /// A corruptor with the constants of `profile` and frost from `source`.
    pub fn with_frost(profile: Profile, source: FrostSource) -> Self {
        Self { profile, noise: Noise::default(), defocus: Defocus::default(), frost: Frost::new(source) }
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Where the frost textures come from; print its name beside results.
    pub fn frost_source(&self) -> &FrostSource {
        &self.frost.source
    }

    /// The corrupted image, of the same size. Severity 0, and an image without pixels, come back unchanged.
    ///
    /// `key` identifies the seed and the sample. It is extended here by the corruption's name and the severity, so
    /// the cells of a benchmark are independent of one another and of the order in which they are computed.
    pub fn apply(&self, image: &RgbImage, corruption: Corruption, severity: Severity, key: Key) -> RgbImage {
        let mut out = RgbImage::new(image.width(), image.height());
        self.apply_into(image, corruption, severity, key, &mut Scratch::new(), &mut out);
        out
    }

    /// As [`Corruptor::apply`], into an image and with buffers that the caller keeps: nothing is allocated once they have
    /// grown. `out` takes the size of `image`; what it held is lost.
    pub fn apply_into(
        &self,
        image: &RgbImage,
        corruption: Corruption,
        severity: Severity,
        key: Key,
        scratch: &mut Scratch,
        out: &mut RgbImage,
    ) {
        let stream = key.with_str(corruption.name()).with(u64::from(severity.level())).stream();
        self.run(image, corruption, severity, &mut Draws::Fresh(stream), scratch, out);
    }

    /// The corrupted image that comes of recorded random draws, to compare implementations exactly.
    ///
    /// # Errors
    /// If the arrays are not as many, or not as long, as the corruption draws, or a number is out of its range.
    pub fn replay(
        &self,
        image: &RgbImage,
        corruption: Corruption,
        severity: Severity,
        trace: &Trace,
    ) -> Result<RgbImage, AugmentError> {
        let mut out = RgbImage::new(image.width(), image.height());
        let mut draws = Draws::recorded(trace);
        self.run(image, corruption, severity, &mut draws, &mut Scratch::new(), &mut out);
        draws.finish().map(|()| out)
    }

    fn run(
        &self,
        image: &RgbImage,
        corruption: Corruption,
        severity: Severity,
        draws: &mut Draws<'_>,
        scratch: &mut Scratch,
        out: &mut RgbImage,
    ) {
        if out.dimensions() != image.dimensions() {
            *out = RgbImage::new(image.width(), image.height());
        }
        let Some(index) = severity.index().filter(|_| !image.is_empty()) else {
            out.copy_from_slice(image.as_raw());
            return;
        };
        let profile = self.profile;
        self.corrupt(corruption, &mut Cell { image: View::new(image), out, profile, index, draws, scratch });
    }

    fn corrupt(&self, corruption: Corruption, cell: &mut Cell<'_, '_>) {
        match corruption {
            Corruption::GaussianNoise => self.noise.gaussian(cell),
            Corruption::ShotNoise => self.noise.shot(cell),
            Corruption::ImpulseNoise => self.noise.impulse(cell),
            Corruption::SpeckleNoise => self.noise.speckle(cell),
            Corruption::DefocusBlur => self.defocus.apply(cell),
            Corruption::GlassBlur => glass::apply(cell),
            Corruption::MotionBlur => motion::apply(cell),
            Corruption::ZoomBlur => zoom::apply(cell),
            Corruption::GaussianBlur => gaussian_blur::apply(cell),
            Corruption::Snow => snow::apply(cell),
            Corruption::Frost => self.frost.apply(cell),
            Corruption::Fog => fog::apply(cell),
            Corruption::Brightness => colour::apply_brightness(cell),
            Corruption::Contrast => colour::apply_contrast(cell),
            Corruption::Saturate => colour::apply_saturate(cell),
            Corruption::ElasticTransform => elastic::apply(cell),
            Corruption::Pixelate => pixelate::apply(cell),
            Corruption::JpegCompression => jpeg::apply(cell),
            Corruption::Spatter => spatter::apply(cell),
            _ => bar::apply(cell, corruption),
        }
    }
}
