//! The steps of a policy and their parameters as text.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::outside::{NETWORKS, Operations, Outside};
use crate::{
    AugMix, ColourJitter, CutOut, Filling, Filter, MixingKind, MixingSet, OpSet, PixMix, RandConv, RandomErasing,
    RandomResizedCrop, Scratch, random_flip,
};

/// One step of a policy. None changes the size of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    AugMix(AugMix),
    RandConv(RandConv),
    PixMix(PixMixStep),
    CutOut(CutOut),
    RandomErasing(RandomErasing),
    Flip,
    Crop(RandomResizedCrop),
    Jitter(ColourJitter),
    Outside(Outside),
}

/// PixMix with the set it mixes in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PixMixStep {
    mix: PixMix,
    kind: MixingKind,
    pictures: u32,
    /// Always of the kind and the number above.
    set: MixingSet,
}

impl Default for PixMixStep {
    fn default() -> Self {
        let (kind, pictures) = (MixingKind::default(), 256);
        Self { mix: PixMix::default(), kind, pictures, set: MixingSet::generated(kind, SET_SEED, pictures) }
    }
}

/// Names of the steps, in the order of their documentation.
const NAMES: [&str; 8] =
    ["augmix", "rand_conv", "pixmix", "cutout", "random_erasing", "flip", "random_resized_crop", "colour_jitter"];

/// Seed of the mixing sets: part of what the name of a policy means, not of a run.
const SET_SEED: u64 = 0;

impl Step {
    /// The step of a name with its defaults.
    fn named(name: &str) -> Option<Self> {
        let step = match name {
            "augmix" => Self::AugMix(AugMix::default()),
            "rand_conv" => Self::RandConv(RandConv::default()),
            "pixmix" => Self::PixMix(PixMixStep::default()),
            "cutout" => Self::CutOut(CutOut::default()),
            "random_erasing" => Self::RandomErasing(RandomErasing::default()),
            "flip" => Self::Flip,
            "random_resized_crop" => Self::Crop(RandomResizedCrop::default()),
            "colour_jitter" => Self::Jitter(ColourJitter::default()),
            _ => return None,
        };
        Some(step)
    }

    fn name(&self) -> &str {
        match self {
            Self::AugMix(_) => "augmix",
            Self::RandConv(_) => "rand_conv",
            Self::PixMix(_) => "pixmix",
            Self::CutOut(_) => "cutout",
            Self::RandomErasing(_) => "random_erasing",
            Self::Flip => "flip",
            Self::Crop(_) => "random_resized_crop",
            Self::Jitter(_) => "colour_jitter",
            Self::Outside(step) => step.0.name(),
        }
    }

    /// One augmented view of the image, of the same size. `key` is that of a step from outside; the others draw from `stream`.
    pub fn apply(&self, image: &RgbImage, stream: &mut Stream, key: Key, scratch: &mut Scratch) -> RgbImage {
        let mut out = RgbImage::new(0, 0);
        match self {
            Self::AugMix(mix) => mix.apply_into(image, stream, scratch, &mut out),
            Self::RandConv(convolve) => return convolve.apply(image, stream),
            Self::PixMix(step) => step.mix.apply_into(image, &step.set, stream, scratch, &mut out),
            Self::CutOut(cut) => {
                out = image.clone();
                cut.apply(&mut out, stream);
            }
            Self::RandomErasing(erase) => {
                out = image.clone();
                erase.apply(&mut out, stream);
            }
            Self::Flip => {
                out = image.clone();
                random_flip(&mut out, stream);
            }
            Self::Crop(crop) => return crop.apply(image, image.width(), image.height(), stream),
            Self::Jitter(jitter) => return jitter.apply(image, stream, scratch),
            Self::Outside(step) => return step.0.apply(image, key),
        }
        out
    }

    /// The names of what the step can do to an image; those of corruptions where it does the same.
    pub fn ops(&self) -> Vec<&str> {
        match self {
            Self::AugMix(mix) => mix.ops.names().collect(),
            Self::PixMix(step) => step.mix.ops.names().chain(["pixmix"]).collect(),
            Self::Jitter(jitter) => {
                let reaches = [
                    (jitter.brightness, "brightness"),
                    (jitter.contrast, "contrast"),
                    (jitter.saturation, "saturate"),
                    (jitter.hue, "hue"),
                ];
                reaches.into_iter().filter(|(reach, _)| *reach > 0.0).map(|(_, name)| name).collect()
            }
            other => vec![other.name()],
        }
    }

    /// The name of the set of pictures that the step mixes in.
    pub fn mixing_set(&self) -> Option<String> {
        match self {
            Self::PixMix(step) => Some(step.set.name()),
            _ => None,
        }
    }

    /// What determines the results of a step from outside.
    pub fn identity(&self) -> Option<String> {
        match self {
            Self::Outside(step) => Some(step.0.identity()),
            _ => None,
        }
    }

    /// The parameters, in the order of their documentation.
    fn parameters(&mut self) -> Vec<(&'static str, &mut dyn Parameter)> {
        match self {
            Self::AugMix(mix) => vec![
                ("severity", &mut mix.severity),
                ("width", &mut mix.width),
                ("depth", &mut mix.depth),
                ("alpha", &mut mix.alpha),
                ("ops", &mut mix.ops),
            ],
            Self::RandConv(convolve) => vec![
                ("hidden", &mut convolve.hidden),
                ("mean_shift", &mut convolve.mean_shift),
                ("low", &mut convolve.residual.0),
                ("high", &mut convolve.residual.1),
            ],
            Self::PixMix(step) => vec![
                ("k", &mut step.mix.k),
                ("beta", &mut step.mix.beta),
                ("severity", &mut step.mix.severity),
                ("ops", &mut step.mix.ops),
                ("set", &mut step.kind),
                ("pictures", &mut step.pictures),
            ],
            Self::CutOut(cut) => vec![("size", &mut cut.size)],
            Self::RandomErasing(erase) => vec![
                ("probability", &mut erase.probability),
                ("low", &mut erase.area.0),
                ("high", &mut erase.area.1),
                ("aspect", &mut erase.aspect),
                ("fill", &mut erase.fill),
            ],
            Self::Flip | Self::Outside(_) => Vec::new(),
            Self::Crop(crop) => vec![
                ("low", &mut crop.scale.0),
                ("high", &mut crop.scale.1),
                ("ratio", &mut crop.ratio.1),
                ("filter", &mut crop.filter),
            ],
            Self::Jitter(jitter) => vec![
                ("brightness", &mut jitter.brightness),
                ("contrast", &mut jitter.contrast),
                ("saturation", &mut jitter.saturation),
                ("hue", &mut jitter.hue),
            ],
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Outside(Outside(step)) = self {
            let arguments = step.arguments();
            return if arguments.is_empty() {
                f.write_str(step.name())
            } else {
                write!(f, "{}({arguments})", step.name())
            };
        }
        let (mut own, mut usual) = (self.clone(), Self::named(self.name()).unwrap_or(Self::Flip));
        let pairs = own.parameters().into_iter().zip(usual.parameters());
        let shown: Vec<_> = pairs
            .map(|((name, own), (_, usual))| (name, own.show(), usual.show()))
            // Results depend on AugMix's severity more than on the rest, so it is always told.
            .filter(|(name, own, usual)| own != usual || (self.name(), *name) == ("augmix", "severity"))
            .map(|(name, own, _)| format!("{name}={own}"))
            .collect();
        if shown.is_empty() { f.write_str(self.name()) } else { write!(f, "{}({})", self.name(), shown.join(",")) }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = name_and_arguments(text)?;
        let mut step = Self::named(name).ok_or_else(|| unknown(name))?;
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| format!("`{pair}` is not of the form name=value"))?;
            step.set(name.trim(), value.trim())?;
        }
        step.check()?;
        step.settle();
        Ok(step)
    }
}

/// The name of a step, and what stands in brackets behind it.
pub(crate) fn name_and_arguments(text: &str) -> Result<(&str, &str), String> {
    let (name, list) = match text.split_once('(') {
        Some((name, rest)) => {
            (name, rest.strip_suffix(')').ok_or_else(|| format!("`{text}` lacks its closing bracket"))?)
        }
        None => (text, ""),
    };
    match name.trim() {
        "" => Err("a step is empty".to_owned()),
        name => Ok((name, list.trim())),
    }
}

/// What is said of a name that nobody knows.
fn unknown(name: &str) -> String {
    let known = NAMES.join(", ");
    if NETWORKS.contains(&name) {
        return format!(
            "the step `{name}` needs a network, from the crate robustify-deepaugment, which `train` has and this does not \
             (`augment` has it as --deep {name}); known here are {known}"
        );
    }
    format!("unknown step `{name}`; known are {known}, and, where there are networks, {}", NETWORKS.join(", "))
}

impl Step {
    /// A step of this crate, or one that `outside` makes.
    pub(crate) fn parse(text: &str, outside: &Operations<'_>) -> Result<Self, String> {
        let (name, arguments) = name_and_arguments(text)?;
        if Self::is_known(name) {
            return text.parse();
        }
        match outside(name, arguments) {
            Some(made) => made.map(|step| Self::Outside(Outside(step))).map_err(|error| error.to_string()),
            None => Err(unknown(name)),
        }
    }

    /// Whether a step of this crate has this name.
    pub(crate) fn is_known(name: &str) -> bool {
        NAMES.contains(&name)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let step = self.name().to_owned();
        let mut parameters = self.parameters();
        let names: Vec<_> = parameters.iter().map(|(name, _)| *name).collect();
        match parameters.iter_mut().find(|(known, _)| *known == name) {
            Some((_, parameter)) => parameter.set(value).map_err(|problem| format!("`{name}={value}`: {problem}")),
            None if names.is_empty() => Err(format!("{step} has no `{name}`; it has no parameters")),
            None => Err(format!("{step} has no `{name}`; it has {}", names.join(", "))),
        }
    }

    /// Brings what follows from the parameters in line with them.
    fn settle(&mut self) {
        match self {
            Self::PixMix(step) => step.set = MixingSet::generated(step.kind, SET_SEED, step.pictures),
            Self::Crop(crop) => crop.ratio.0 = 1.0 / crop.ratio.1,
            _ => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let range = |low: f64, high: f64| 0.0 <= low && low <= high && high <= 1.0;
        let strong = |severity: f64| severity > 0.1 && severity <= 10.0;
        let rules: &[(bool, &str)] = &match self {
            Self::AugMix(mix) => vec![
                (strong(mix.severity), "severity must be above 0.1 and at most 10"),
                ((1..=16).contains(&mix.width), "width must be 1 to 16"),
                (mix.depth.is_none_or(|depth| (1..=16).contains(&depth)), "depth must be random or 1 to 16"),
                (positive(mix.alpha), "alpha must be above 0"),
            ],
            Self::RandConv(convolve) => vec![
                ((1..=256).contains(&convolve.hidden), "hidden must be 1 to 256"),
                ((0.0..=1.0).contains(&convolve.mean_shift), "mean_shift must be 0 to 1"),
                (range(convolve.residual.0, convolve.residual.1), "low and high must be 0 to 1, low first"),
            ],
            Self::PixMix(step) => vec![
                (step.mix.k <= 16, "k must be at most 16"),
                (positive(step.mix.beta), "beta must be above 0"),
                (strong(step.mix.severity), "severity must be above 0.1 and at most 10"),
                ((1..=100_000).contains(&step.pictures), "pictures must be 1 to 100000"),
            ],
            Self::CutOut(cut) => vec![(cut.size > 0, "size must be above 0")],
            Self::RandomErasing(erase) => vec![
                ((0.0..=1.0).contains(&erase.probability), "probability must be 0 to 1"),
                (range(erase.area.0, erase.area.1), "low and high must be 0 to 1, low first"),
                (erase.aspect > 0.0 && erase.aspect <= 1.0, "aspect must be above 0 and at most 1"),
            ],
            Self::Flip | Self::Outside(_) => Vec::new(),
            Self::Crop(crop) => vec![
                (
                    range(crop.scale.0, crop.scale.1) && crop.scale.0 > 0.0,
                    "low and high must be above 0 to 1, low first",
                ),
                (crop.ratio.1 >= 1.0 && crop.ratio.1.is_finite(), "ratio must be at least 1"),
            ],
            Self::Jitter(jitter) => vec![
                (
                    [jitter.brightness, jitter.contrast, jitter.saturation]
                        .into_iter()
                        .all(|reach| (0.0..=10.0).contains(&reach)),
                    "brightness, contrast and saturation must be 0 to 10",
                ),
                ((0.0..=0.5).contains(&jitter.hue), "hue must be 0 to 0.5"),
            ],
        };
        match rules.iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(format!("`{self}`: {rule}")),
            None => Ok(()),
        }
    }
}

/// The value of a parameter, as text.
trait Parameter {
    fn show(&self) -> String;
    fn set(&mut self, text: &str) -> Result<(), String>;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Parameter for $type {
            fn show(&self) -> String {
                self.to_string()
            }

            fn set(&mut self, text: &str) -> Result<(), String> {
                *self = text.parse().map_err(|_| "not a number of the right kind".to_owned())?;
                Ok(())
            }
        }
    )*};
}

numbers!(f64, u32, usize);

impl Parameter for Option<u32> {
    fn show(&self) -> String {
        self.map_or("random".to_owned(), |count| count.to_string())
    }

    fn set(&mut self, text: &str) -> Result<(), String> {
        if text == "random" {
            *self = None;
            return Ok(());
        }
        self.insert(0).set(text)
    }
}

macro_rules! choices {
    ($($type:ty: $($value:path => $name:literal),+;)*) => {$(
        impl Parameter for $type {
            fn show(&self) -> String {
                match self { $($value => $name,)+ }.to_owned()
            }

            fn set(&mut self, text: &str) -> Result<(), String> {
                let known = [$(($name, $value)),+];
                let found = known.iter().find(|(name, _)| *name == text);
                *self = found.ok_or_else(|| format!("expected {}", known.map(|(name, _)| name).join(" or ")))?.1;
                Ok(())
            }
        }
    )*};
}

choices! {
    OpSet: OpSet::Default => "default", OpSet::All => "all";
    MixingKind: MixingKind::Ifs => "ifs", MixingKind::Leaves => "leaves", MixingKind::Plasma => "plasma", MixingKind::Mixed => "mixed";
    Filling: Filling::Noise => "noise", Filling::Mean => "mean";
    Filter: Filter::Nearest => "nearest", Filter::Box => "box", Filter::Bilinear => "bilinear", Filter::Bicubic => "bicubic", Filter::Lanczos => "lanczos";
}
