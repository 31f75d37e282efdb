//! A training policy as a line of text: alternatives of which one is drawn for every image.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::step::Step;
use crate::{AugMix, AugmentError, RandConv, Scratch};

/// What augmentation does to training images.
///
/// Alternatives are separated by `|`, and one of them is drawn for every image with equal odds. Steps within an
/// alternative are separated by `+` and run from left to right: `rand_conv+augmix` is AugMix of RandConv. Steps take
/// parameters in brackets:
///
/// | step | parameters, with their defaults |
/// |---|---|
/// | `augmix` | `severity=3`, `width=3`, `depth=random` (or a count), `alpha=1`, `ops=default` (or `all`) |
/// | `rand_conv` | `hidden=8`, `mean_shift=0.15`, `low=0.25`, `high=0.75` (range of the image's weight) |
/// | `pixmix` | `k=4`, `beta=3`, `severity=3`, `ops=default` (or `all`), `set=ifs` (or `leaves`, `plasma`, `mixed`), `pictures=256` |
/// | `cutout` | `size=16` (pixels) |
/// | `random_erasing` | `probability=0.25`, `low=0.02`, `high=0.333...` (range of the area), `aspect=0.3`, `fill=noise` (or `mean`) |
/// | `flip` | none: half of the images are mirrored left to right |
/// | `random_resized_crop` | `low=0.08`, `high=1` (range of the area), `ratio=1.333...`, `filter=bilinear` (or `nearest`, `box`, `bicubic`, `lanczos`); the size stays that of the image |
/// | `colour_jitter` | `brightness=0.4`, `contrast=0.4`, `saturation=0.4`, `hue=0` |
///
/// `ops=all` and `colour_jitter` contain corruptions of the benchmark; [`Policy::ops`] tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    alternatives: Vec<Vec<Step>>,
}

impl Default for Policy {
    /// AugMix, RandConv, or AugMix of RandConv. None of its operations is a corruption of the benchmark.
    fn default() -> Self {
        let mix = Step::AugMix(AugMix::default());
        let convolve = Step::RandConv(RandConv::default());
        Self { alternatives: vec![vec![mix.clone()], vec![convolve.clone()], vec![convolve, mix]] }
    }
}

impl Policy {
    /// One augmented view of the image, of the same size. `key` identifies the seed, the sample and the view.
    pub fn apply(&self, image: &RgbImage, key: Key) -> RgbImage {
        self.apply_with(image, key, &mut Scratch::new())
    }

    /// As [`Policy::apply`], with buffers that the caller keeps from image to image.
    pub fn apply_with(&self, image: &RgbImage, key: Key, scratch: &mut Scratch) -> RgbImage {
        let mut stream: Stream = key.with_str("policy").stream();
        let alternative = &self.alternatives[stream.below(self.alternatives.len() as u32) as usize];
        let mut steps = alternative.iter();
        let first = steps.next().map_or_else(|| image.clone(), |step| step.apply(image, &mut stream, scratch));
        steps.fold(first, |view, step| step.apply(&view, &mut stream, scratch))
    }

    /// The names of all operations the policy can use, sorted, each once. For comparison with the names of corruptions.
    pub fn ops(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.alternatives.iter().flatten().flat_map(|step| step.ops()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names of the sets of pictures that are mixed in, sorted, each once. To be shown with results.
    pub fn mixing_sets(&self) -> Vec<String> {
        let mut names: Vec<_> = self.alternatives.iter().flatten().filter_map(|step| step.mixing_set()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl fmt::Display for Policy {
    /// Text that parses to the same policy; parameters at their defaults are left out, except AugMix's severity.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, alternative) in self.alternatives.iter().enumerate() {
            let steps: Vec<_> = alternative.iter().map(Step::to_string).collect();
            write!(f, "{}{}", if index > 0 { "|" } else { "" }, steps.join("+"))?;
        }
        Ok(())
    }
}

impl FromStr for Policy {
    type Err = AugmentError;

    fn from_str(text: &str) -> Result<Self, AugmentError> {
        let step = |part: &str| {
            part.trim().parse().map_err(|problem| AugmentError::Policy { policy: text.to_owned(), problem })
        };
        let alternative = |part: &str| part.split('+').map(step).collect::<Result<Vec<_>, _>>();
        Ok(Self { alternatives: text.split('|').map(alternative).collect::<Result<_, _>>()? })
    }
}
