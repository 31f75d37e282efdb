//! What can be done to an image: the corruptions by name, their groups, and how severe they are.

use std::fmt;
use std::str::FromStr;

use crate::{AugmentError, Profile};

/// A corruption: one of the nineteen of ImageNet-C (Hendrycks & Dietterich 2019, arXiv:1903.12261) or one of the fifteen of
/// ImageNet-C-bar and CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273), which resemble no usual augmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Corruption {
    /// Normal noise of a fixed standard deviation on every sample.
    GaussianNoise,
    /// Poisson noise: photons counted at every sample.
    ShotNoise,
    /// Samples set to black or to white.
    ImpulseNoise,
    /// Correlation with an anti-aliased disk.
    DefocusBlur,
    /// Pixels copied from near neighbours, between two Gaussian blurs.
    GlassBlur,
    /// A one-sided Gaussian streak in a random direction, as drawn by ImageMagick.
    MotionBlur,
    /// The mean of the image at growing magnifications.
    ZoomBlur,
    /// Streaked flakes over a whitened image.
    Snow,
    /// A frost texture over the dimmed image.
    Frost,
    /// A diamond-square height map added to the image.
    Fog,
    /// The value of HSV raised.
    Brightness,
    /// Distances to the channel means reduced.
    Contrast,
    /// A random affine map, then a smooth random displacement.
    ElasticTransform,
    /// Down and up again with box filters.
    Pixelate,
    /// Through a baseline JPEG with 4:2:0 chroma and back.
    JpegCompression,
    /// Normal noise in proportion to the sample (validation).
    SpeckleNoise,
    /// A Gaussian blur (validation).
    GaussianBlur,
    /// Drops of water or mud (validation).
    Spatter,
    /// The saturation of HSV scaled and shifted (validation).
    Saturate,
    /// Light bent by a wavy water surface (C-bar).
    CausticRefraction,
    /// White rays around an untouched centre (C-bar).
    InverseSparkles,
    /// Bright stars with rays (C-bar).
    Sparkles,
    /// Turbulence of Perlin noise (C-bar).
    PerlinNoise,
    /// Blue noise, with the pixels below a threshold black (C-bar).
    BlueNoiseSample,
    /// A plasma fractal (C-bar).
    PlasmaNoise,
    /// A rotated checkerboard of grey squares (C-bar).
    CheckerboardCutout,
    /// Concentric sine waves (C-bar).
    CocentricSineWaves,
    /// A plane wave of one frequency, grey (C-bar).
    SingleFrequencyGreyscale,
    /// Noise that falls with the square of the frequency (C-bar).
    BrownishNoise,
    /// Pinched and twirled discs (C-bar).
    PinchAndTwirl,
    /// Rows and columns displaced by sine waves (C-bar).
    Ripple,
    /// Blurred along circles about the centre (C-bar).
    CircularMotionBlur,
    /// Grey lines (C-bar).
    Lines,
    /// Colour channels magnified by different amounts (C-bar).
    TransverseChromaticAbberation,
}

impl Corruption {
    /// The fifteen corruptions of the benchmark, in the order of its papers.
    pub const TEST: [Self; 15] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::DefocusBlur,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Brightness,
        Self::Contrast,
        Self::ElasticTransform,
        Self::Pixelate,
        Self::JpegCompression,
    ];

    /// The four corruptions meant for choosing hyper-parameters; they never enter a benchmark's mean.
    pub const VALIDATION: [Self; 4] = [Self::SpeckleNoise, Self::GaussianBlur, Self::Spatter, Self::Saturate];

    /// The nineteen of ImageNet-C, the benchmark's fifteen first.
    pub const ALL: [Self; 19] = {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = Self::TEST;
        let [p, q, r, s] = Self::VALIDATION;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s]
    };

    /// The ten of ImageNet-C-bar.
    pub const IMAGENET_BAR: [Self; 10] = [
        Self::CausticRefraction,
        Self::InverseSparkles,
        Self::Sparkles,
        Self::PerlinNoise,
        Self::BlueNoiseSample,
        Self::PlasmaNoise,
        Self::CheckerboardCutout,
        Self::CocentricSineWaves,
        Self::SingleFrequencyGreyscale,
        Self::BrownishNoise,
    ];

    /// The ten of CIFAR-10-C-bar.
    pub const CIFAR_BAR: [Self; 10] = [
        Self::BlueNoiseSample,
        Self::CheckerboardCutout,
        Self::InverseSparkles,
        Self::PinchAndTwirl,
        Self::Ripple,
        Self::BrownishNoise,
        Self::CircularMotionBlur,
        Self::Lines,
        Self::Sparkles,
        Self::TransverseChromaticAbberation,
    ];

    /// The name used by the benchmark's files, for example `gaussian_noise`.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::DefocusBlur => "defocus_blur",
            Self::GlassBlur => "glass_blur",
            Self::MotionBlur => "motion_blur",
            Self::ZoomBlur => "zoom_blur",
            Self::Snow => "snow",
            Self::Frost => "frost",
            Self::Fog => "fog",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::ElasticTransform => "elastic_transform",
            Self::Pixelate => "pixelate",
            Self::JpegCompression => "jpeg_compression",
            Self::SpeckleNoise => "speckle_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::Spatter => "spatter",
            Self::Saturate => "saturate",
            Self::CausticRefraction => "caustic_refraction",
            Self::InverseSparkles => "inverse_sparkles",
            Self::Sparkles => "sparkles",
            Self::PerlinNoise => "perlin_noise",
            Self::BlueNoiseSample => "blue_noise_sample",
            Self::PlasmaNoise => "plasma_noise",
            Self::CheckerboardCutout => "checkerboard_cutout",
            Self::CocentricSineWaves => "cocentric_sine_waves",
            Self::SingleFrequencyGreyscale => "single_frequency_greyscale",
            Self::BrownishNoise => "brownish_noise",
            Self::PinchAndTwirl => "pinch_and_twirl",
            Self::Ripple => "ripple",
            Self::CircularMotionBlur => "circular_motion_blur",
            Self::Lines => "lines",
            Self::TransverseChromaticAbberation => "transverse_chromatic_abberation",
        }
    }

    /// The group under which results are averaged.
    pub fn group(self) -> Group {
        match self {
            Self::GaussianNoise | Self::ShotNoise | Self::ImpulseNoise => Group::Noise,
            Self::DefocusBlur | Self::GlassBlur | Self::MotionBlur | Self::ZoomBlur => Group::Blur,
            Self::Snow | Self::Frost | Self::Fog | Self::Brightness => Group::Weather,
            Self::Contrast | Self::ElasticTransform | Self::Pixelate | Self::JpegCompression => Group::Digital,
            Self::SpeckleNoise | Self::GaussianBlur | Self::Spatter | Self::Saturate => Group::Validation,
            _ => Group::Bar,
        }
    }

    /// The ten of C-bar that go with a profile: CIFAR-10-C-bar's for `cifar-c`, else ImageNet-C-bar's.
    pub fn bar(profile: Profile) -> [Self; 10] {
        if profile == Profile::CifarC { Self::CIFAR_BAR } else { Self::IMAGENET_BAR }
    }

    /// Every corruption there is, each once.
    pub fn every() -> impl Iterator<Item = Self> {
        let more = Self::CIFAR_BAR.into_iter().filter(|corruption| !Self::IMAGENET_BAR.contains(corruption));
        Self::ALL.into_iter().chain(Self::IMAGENET_BAR).chain(more)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Corruption {
    type Err = AugmentError;

    fn from_str(name: &str) -> Result<Self, AugmentError> {
        Self::every().find(|corruption| corruption.name() == name).ok_or_else(|| AugmentError::UnknownCorruption {
            name: name.to_owned(),
            known: Self::every().map(Self::name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The kind of a corruption, as the benchmark groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Gaussian, shot and impulse noise.
    Noise,
    /// Defocus, glass, motion and zoom blur.
    Blur,
    /// Snow, frost, fog and brightness.
    Weather,
    /// Contrast, elastic transform, pixelate and JPEG compression.
    Digital,
    /// The four corruptions outside the benchmark.
    Validation,
    /// The corruptions of C-bar.
    Bar,
}

impl Group {
    /// The four groups of the benchmark.
    pub const TEST: [Self; 4] = [Self::Noise, Self::Blur, Self::Weather, Self::Digital];

    /// The name in lower case, for example `noise`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Weather => "weather",
            Self::Digital => "digital",
            Self::Validation => "validation",
            Self::Bar => "bar",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How strong a corruption is: 1 to 5, or 0 for the untouched image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Severity(u8);

impl Severity {
    /// The untouched image.
    pub const CLEAN: Self = Self(0);

    /// The five severities of the benchmark, weakest first.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The number, 0 to 5.
    pub fn level(self) -> u8 {
        self.0
    }

    /// The place in a table of five, or none for the untouched image.
    pub(crate) fn index(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}

impl TryFrom<u8> for Severity {
    type Error = AugmentError;

    /// # Errors
    /// For a level above 5.
    fn try_from(level: u8) -> Result<Self, AugmentError> {
        if level <= 5 { Ok(Self(level)) } else { Err(AugmentError::SeverityOutOfRange { level }) }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_an_unknown_one_lists_them() {
        for corruption in Corruption::every() {
            assert_eq!(corruption.to_string().parse::<Corruption>().unwrap(), corruption);
        }
        let message = "gausian_noise".parse::<Corruption>().unwrap_err().to_string();
        assert!(
            message.contains("gausian_noise") && message.contains("gaussian_noise") && message.contains("saturate")
        );
    }

    #[test]
    fn groups_have_the_sizes_of_the_paper() {
        let size = |group| Corruption::TEST.iter().filter(|corruption| corruption.group() == group).count();
        assert_eq!(Group::TEST.map(size), [3, 4, 4, 4]);
        assert!(Corruption::IMAGENET_BAR.iter().all(|corruption| corruption.group() == Group::Bar));
        assert_eq!(Corruption::every().count(), 34);
        assert!(Corruption::VALIDATION.iter().all(|corruption| corruption.group() == Group::Validation));
    }

    #[test]
    fn severity_six_is_an_error() {
        assert_eq!(Severity::try_from(0).unwrap(), Severity::CLEAN);
        assert_eq!(Severity::try_from(5).unwrap().index(), Some(4));
        assert!(Severity::try_from(6).unwrap_err().to_string().contains('6'));
    }
}
