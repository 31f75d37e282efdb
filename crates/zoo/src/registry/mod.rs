//! Pre-trained models by name, `architecture.tag` as timm writes them: `vit_small_patch16_224.augreg_in21k_ft_in1k`.
//!
//! An [`Entry`] says which network the weights of that name belong to, how its images are prepared, and under which
//! licence they come. The weights themselves stay where the user has them.

mod clip;
mod resnet;
mod swin;
mod vit;

use serde::Serialize;

use crate::clip::{ClipConfig, TextConfig};
use crate::{ModelConfig, ZooError};

/// One pre-trained model.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name of the architecture, without the tag.
    pub architecture: &'static str,
    /// How and on what it was trained.
    pub tag: &'static str,
    /// The network; of a whole CLIP its image tower.
    pub config: fn() -> ModelConfig,
    /// The text tower, of a whole CLIP.
    pub text: Option<fn() -> TextConfig>,
    /// How images are prepared.
    pub preprocessing: Preprocessing,
    /// SPDX identifier of the licence of the weights.
    pub licence: &'static str,
    /// Authors, year and arXiv number.
    pub paper: &'static str,
    /// Repository on the Hugging Face hub that holds the weights.
    pub hub: Option<&'static str>,
}

/// How a model's images are prepared: resized, cut to the centre, normalised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Preprocessing {
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Side of the centre cut over the side that the image is resized to.
    pub crop_fraction: f64,
    /// Which side that is.
    pub crop_mode: CropMode,
    /// Filter of the resizing, by Pillow's name.
    pub interpolation: &'static str,
    /// Mean by channel, of values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation by channel.
    pub std: [f32; 3],
}

/// Which side of an image is resized to `image_size / crop_fraction` before the centre is cut out, by timm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMode {
    /// The shorter one; the image keeps its aspect ratio.
    Center,
    /// Both; the image becomes a square.
    Squash,
}

const FAMILIES: &[&[Entry]] = &[resnet::ENTRIES, vit::ENTRIES, swin::ENTRIES, clip::ENTRIES];

/// All models, by family.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().copied().flatten()
}

/// The model of a name: `architecture.tag`, or `architecture` alone for the first tag of it.
///
/// # Errors
/// No such model; the error lists names that resemble it.
pub fn find(name: &str) -> Result<&'static Entry, ZooError> {
    let matches =
        |entry: &&Entry| entry.name().eq_ignore_ascii_case(name) || entry.architecture.eq_ignore_ascii_case(name);
    entries().find(matches).ok_or_else(|| ZooError::UnknownModel { name: name.to_owned(), near: near(name) })
}

/// The model of a name, or else of its architecture: weights with a tag of somebody's own have the network of the architecture.
///
/// # Errors
/// As [`find`].
pub fn find_architecture(name: &str) -> Result<&'static Entry, ZooError> {
    let plain = name.split_once('.').map_or(name, |(architecture, _)| architecture);
    find(name).or_else(|error| find(plain).map_err(|_| error))
}

/// The names that are spelled most alike: of architectures, or with their tags when the name has one.
fn near(name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    let known = |entry: &Entry| if name.contains('.') { entry.name() } else { entry.architecture.to_owned() };
    let mut ranked: Vec<(f64, String)> =
        entries().map(known).map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranked.dedup();
    ranked.into_iter().take(5).map(|(_, name)| name).collect()
}

impl Entry {
    /// `architecture.tag`.
    pub fn name(&self) -> String {
        match self.tag {
            "" => self.architecture.to_owned(),
            tag => format!("{}.{tag}", self.architecture),
        }
    }

    /// Both towers, when the weights are those of a whole CLIP.
    pub fn clip(&self) -> Option<ClipConfig> {
        let text = self.text?;
        Some(ClipConfig { image: (self.config)(), text: text() })
    }
}

impl Preprocessing {
    /// ImageNet's mean and standard deviation, bicubic.
    const fn imagenet(image_size: usize, crop_fraction: f64) -> Self {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        Self { image_size, crop_fraction, crop_mode: CropMode::Center, interpolation: "bicubic", mean, std }
    }

    /// CLIP's mean and standard deviation, bicubic.
    const fn clip(image_size: usize, crop_fraction: f64) -> Self {
        let (mean, std) = ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);
        Self { image_size, crop_fraction, crop_mode: CropMode::Center, interpolation: "bicubic", mean, std }
    }

    /// Mean and standard deviation one half, bicubic (Google's ViTs).
    const fn half(image_size: usize, crop_fraction: f64) -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3], ..Self::imagenet(image_size, crop_fraction) }
    }

    /// CLIP's mean and standard deviation, bicubic, of the whole image as a square.
    const fn clip_squashed(image_size: usize, crop_fraction: f64) -> Self {
        Self { crop_mode: CropMode::Squash, ..Self::clip(image_size, crop_fraction) }
    }

    /// Mean and standard deviation one half, bicubic, of the whole image as a square.
    const fn half_squashed(image_size: usize, crop_fraction: f64) -> Self {
        Self { crop_mode: CropMode::Squash, ..Self::half(image_size, crop_fraction) }
    }
}
