//! A training policy as a line of text: alternatives of which one is drawn for every image.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::{AugMix, AugmentError, OpSet, RandConv};

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
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    alternatives: Vec<Vec<Step>>,
}

impl Default for Policy {
    /// AugMix, RandConv, or AugMix of RandConv. None of its operations is a corruption of the benchmark.
    fn default() -> Self {
        let mix = Step::AugMix(AugMix::default());
        let convolve = Step::RandConv(RandConv::default());
        Self { alternatives: vec![vec![mix], vec![convolve], vec![convolve, mix]] }
    }
}

impl Policy {
    /// One augmented view of the image, of the same size. `key` identifies the seed, the sample and the view.
    pub fn apply(&self, image: &RgbImage, key: Key) -> RgbImage {
        let mut stream = key.with_str("policy").stream();
        let alternative = &self.alternatives[stream.below(self.alternatives.len() as u32) as usize];
        let mut steps = alternative.iter();
        let first = steps.next().map_or_else(|| image.clone(), |step| step.apply(image, &mut stream));
        steps.fold(first, |view, step| step.apply(&view, &mut stream))
    }

    /// The names of all operations the policy can use, sorted, each once. For comparison with the names of corruptions.
    pub fn ops(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.alternatives.iter().flatten().flat_map(|step| step.ops()).collect();
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    AugMix(AugMix),
    RandConv(RandConv),
}

impl Step {
    fn apply(&self, image: &RgbImage, stream: &mut Stream) -> RgbImage {
        match self {
            Self::AugMix(mix) => mix.apply(image, stream),
            Self::RandConv(convolve) => convolve.apply(image, stream),
        }
    }

    fn ops(&self) -> Vec<&'static str> {
        match self {
            Self::AugMix(mix) => mix.ops.names().collect(),
            Self::RandConv(_) => vec!["rand_conv"],
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Vec::new();
        let mut show = |name: &str, value: String, usual: String| {
            if value != usual {
                shown.push(format!("{name}={value}"));
            }
        };
        let name = match self {
            Self::AugMix(mix) => {
                let usual = AugMix::default();
                let depth = |depth: Option<u32>| depth.map_or("random".to_owned(), |depth| depth.to_string());
                show("severity", mix.severity.to_string(), String::new());
                show("width", mix.width.to_string(), usual.width.to_string());
                show("depth", depth(mix.depth), depth(usual.depth));
                show("alpha", mix.alpha.to_string(), usual.alpha.to_string());
                let ops = |ops| if ops == OpSet::All { "all".to_owned() } else { "default".to_owned() };
                show("ops", ops(mix.ops), ops(usual.ops));
                "augmix"
            }
            Self::RandConv(convolve) => {
                let usual = RandConv::default();
                show("hidden", convolve.hidden.to_string(), usual.hidden.to_string());
                show("mean_shift", convolve.mean_shift.to_string(), usual.mean_shift.to_string());
                show("low", convolve.residual.0.to_string(), usual.residual.0.to_string());
                show("high", convolve.residual.1.to_string(), usual.residual.1.to_string());
                "rand_conv"
            }
        };
        if shown.is_empty() { f.write_str(name) } else { write!(f, "{name}({})", shown.join(",")) }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = match text.split_once('(') {
            Some((name, rest)) => {
                (name, rest.strip_suffix(')').ok_or_else(|| format!("`{text}` lacks its closing bracket"))?)
            }
            None => (text, ""),
        };
        let mut step = match name.trim() {
            "augmix" => Self::AugMix(AugMix::default()),
            "rand_conv" => Self::RandConv(RandConv::default()),
            "" => return Err("a step is empty".to_owned()),
            other => return Err(format!("unknown step `{other}`; known are augmix, rand_conv")),
        };
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| format!("`{pair}` is not of the form name=value"))?;
            step.set(name.trim(), value.trim())?;
        }
        step.check()?;
        Ok(step)
    }
}

impl Step {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (self, name) {
            (Self::AugMix(mix), "severity") => mix.severity = number(name, value)?,
            (Self::AugMix(mix), "width") => mix.width = number(name, value)?,
            (Self::AugMix(mix), "depth") => {
                mix.depth = if value == "random" { None } else { Some(number(name, value)?) }
            }
            (Self::AugMix(mix), "alpha") => mix.alpha = number(name, value)?,
            (Self::AugMix(mix), "ops") => {
                mix.ops = match value {
                    "default" => OpSet::Default,
                    "all" => OpSet::All,
                    _ => return Err(format!("`ops={value}`: expected default or all")),
                }
            }
            (Self::RandConv(convolve), "hidden") => convolve.hidden = number(name, value)?,
            (Self::RandConv(convolve), "mean_shift") => convolve.mean_shift = number(name, value)?,
            (Self::RandConv(convolve), "low") => convolve.residual.0 = number(name, value)?,
            (Self::RandConv(convolve), "high") => convolve.residual.1 = number(name, value)?,
            (Self::AugMix(_), _) => {
                return Err(format!("augmix has no `{name}`; it has severity, width, depth, alpha, ops"));
            }
            (Self::RandConv(_), _) => {
                return Err(format!("rand_conv has no `{name}`; it has hidden, mean_shift, low, high"));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let fault = match self {
            Self::AugMix(mix) if !(mix.severity > 0.1 && mix.severity <= 10.0) => {
                "severity must be above 0.1 and at most 10"
            }
            Self::AugMix(mix) if !(1..=16).contains(&mix.width) => "width must be 1 to 16",
            Self::AugMix(mix) if mix.depth.is_some_and(|depth| !(1..=16).contains(&depth)) => {
                "depth must be random or 1 to 16"
            }
            Self::AugMix(mix) if !(mix.alpha > 0.0 && mix.alpha.is_finite()) => "alpha must be above 0",
            Self::RandConv(convolve) if !(1..=256).contains(&convolve.hidden) => "hidden must be 1 to 256",
            Self::RandConv(convolve) if !(0.0..=1.0).contains(&convolve.mean_shift) => "mean_shift must be 0 to 1",
            Self::RandConv(RandConv { residual: (low, high), .. }) if !(0.0 <= *low && low <= high && *high <= 1.0) => {
                "low and high must be 0 to 1, low first"
            }
            _ => return Ok(()),
        };
        Err(format!("`{self}`: {fault}"))
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{name}={value}`: not a number of the right kind"))
}
