//! A training policy as a line of text: alternatives of which one is drawn for every image.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::outside::Operations;
use crate::recipes::written_out;
use crate::step::{Step, name_and_arguments};
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
/// `recipe(NAME)` as a whole policy is a ready-made one of [`RECIPES`](crate::RECIPES): `augmix`, `pixmix`, `deepaugment`, or a
/// pair of them, as in `recipe(augmix+deepaugment)`.
///
/// `ops=all` and `colour_jitter` contain corruptions of the benchmark; [`Policy::ops`] tells.
///
/// Steps that need a network, such as `noise2net` of the crate `robustify-deepaugment`, come from outside, as an
/// [`Augmentation`](crate::Augmentation): [`Policy::parse_with`] asks the caller for steps that this crate does not know, and
/// `str::parse` knows none but those above.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    alternatives: Vec<Vec<Step>>,
}

/// Whether a name is one of the steps from outside, and whether the arguments behind it are right; none for an unknown name.
pub type Checks<'a> = dyn Fn(&str, &str) -> Option<Result<(), AugmentError>> + 'a;

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
        let mut steps = alternative.iter().zip(0..);
        let mut apply = |(step, index): (&Step, u64), image: &RgbImage| {
            // A step from outside draws from a key of its own, so that it cannot shift what the others draw.
            step.apply(image, &mut stream, key.with_str("policy step").with(index), scratch)
        };
        let first = steps.next().map_or_else(|| image.clone(), |step| apply(step, image));
        steps.fold(first, |view, step| apply(step, &view))
    }

    /// Reads a policy whose steps may come from outside: `outside` is asked for every name that this crate does not know.
    ///
    /// # Errors
    /// What [`Policy`] says of its text, and what `outside` says of its own steps.
    pub fn parse_with(text: &str, outside: &Operations<'_>) -> Result<Self, AugmentError> {
        Ok(Self { alternatives: each_step(text, |part| Step::parse(part, outside))? })
    }

    /// Whether a text is a policy, without making the steps that come from outside: `outside` says whether it knows a name and
    /// whether the arguments behind it are right, and need not open the files that they name.
    ///
    /// # Errors
    /// As [`Policy::parse_with`].
    pub fn check(text: &str, outside: &Checks<'_>) -> Result<(), AugmentError> {
        each_step(text, |part| {
            let (name, arguments) = name_and_arguments(part)?;
            match outside(name, arguments).filter(|_| !Step::is_known(name)) {
                Some(checked) => checked.map_err(|error| error.to_string()),
                None => part.parse::<Step>().map(drop),
            }
        })
        .map(drop)
    }

    /// What determines the results of the steps from outside, in their order; see [`Augmentation::identity`]. Whatever is
    /// cached should depend on it: the text of a policy names files, and not what is in them.
    ///
    /// [`Augmentation::identity`]: crate::Augmentation::identity
    pub fn identities(&self) -> Vec<String> {
        self.alternatives.iter().flatten().filter_map(Step::identity).collect()
    }

    /// The names of all operations the policy can use, sorted, each once. For comparison with the names of corruptions.
    pub fn ops(&self) -> Vec<&str> {
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

    /// A policy without steps from outside.
    fn from_str(text: &str) -> Result<Self, AugmentError> {
        Self::parse_with(text, &|_, _| None)
    }
}

/// Reads the steps of every alternative, and says in errors which policy it was.
fn each_step<T>(text: &str, step: impl Fn(&str) -> Result<T, String>) -> Result<Vec<Vec<T>>, AugmentError> {
    let fault = |problem| AugmentError::Policy { policy: text.to_owned(), problem };
    let step = |part: &str| step(part.trim()).map_err(fault);
    let text = written_out(text).map_err(fault)?;
    let alternative = |part: &str| split(part, '+').into_iter().map(step).collect::<Result<Vec<_>, _>>();
    split(text, '|').into_iter().map(alternative).collect()
}

/// The parts between separators outside brackets: the name of a file inside them may have a `+`.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0_usize;
    let outside = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == separator && depth == 0
    };
    text.split(outside).collect()
}
