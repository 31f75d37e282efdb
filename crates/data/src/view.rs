//! Random views of clean training images as one string: `random_crop(32,2)+hflip`.

use std::fmt;
use std::str::FromStr;

use image::{RgbImage, imageops};
use robustify_rng::{Key, Stream};
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::geometry::{self, Fill, Filter, MAX_SIDE};
use crate::parse::{Source, Step as Parsed};

/// Label-preserving geometry for the clean branch of training; pixels in, pixels out. Steps, joined by `+`:
///
/// | step | meaning |
/// |---|---|
/// | `identity` | nothing |
/// | `hflip[(p)]` | mirrored left to right with probability `p`, 0.5 by default |
/// | `random_crop(n[,border[,fill]])` | `n` × `n` from anywhere in the image padded by `border`; fill `zero` (default), `reflect` |
/// | `random_resized_crop(n,min,max[,filter])` | a part of the area from `min` to `max`, aspect 3/4 to 4/3, resized to `n` × `n` |
///
/// ```
/// use robustify_data::CleanView;
/// use robustify_rng::Key;
///
/// let view: CleanView = "random_crop(32,2)+hflip".parse()?;
/// let image = image::RgbImage::new(32, 32);
/// assert_eq!(view.apply(&image, Key::new(1, "view").with(5))?.dimensions(), (32, 32));
/// # Ok::<(), robustify_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CleanView(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Identity,
    Flip { probability: f64 },
    Crop { side: u32, border: u32, fill: Fill },
    ResizedCrop { side: u32, min: f64, max: f64, filter: Filter },
}

impl CleanView {
    /// Whether nothing is left to chance, so that an image's view is always the same.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|step| matches!(step, Step::Identity))
    }

    /// The view of `image` under `key`, which should hold the seed, the epoch and the sample's identity.
    ///
    /// # Errors
    /// [`DataError::Shape`] when the image is smaller than a crop.
    pub fn apply(&self, image: &RgbImage, key: Key) -> Result<RgbImage> {
        let mut view = image.clone();
        for (index, step) in self.0.iter().enumerate() {
            view = step.apply(view, &mut key.with_str("clean view").with(index as u64).stream())?;
        }
        Ok(view)
    }
}

impl Step {
    fn apply(&self, image: RgbImage, stream: &mut Stream) -> Result<RgbImage> {
        match *self {
            Self::Identity => Ok(image),
            Self::Flip { probability } => {
                Ok(if stream.chance(probability) { imageops::flip_horizontal(&image) } else { image })
            }
            Self::Crop { side, border, fill } => {
                let padded = if border == 0 { image } else { geometry::pad(&image, border, fill)? };
                geometry::check_crop(padded.dimensions(), (side, side), "random_crop")?;
                let left = stream.below(padded.width() - side + 1);
                let top = stream.below(padded.height() - side + 1);
                Ok(geometry::crop(&padded, left, top, side, side))
            }
            Self::ResizedCrop { side, min, max, filter } => {
                let [left, top, width, height] = random_region(image.width(), image.height(), min, max, stream);
                geometry::resize(&geometry::crop(&image, left, top, width, height), side, side, filter)
            }
        }
    }
}

/// `[left, top, width, height]` of a part of the image with a random area and aspect ratio.
///
/// Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, with torchvision's ten tries and central fallback.
fn random_region(width: u32, height: u32, min: f64, max: f64, stream: &mut Stream) -> [u32; 4] {
    const ASPECT: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
    let area = f64::from(width) * f64::from(height);
    let log_aspect = ASPECT.map(libm::log);
    for _ in 0..10 {
        let part = area * stream.uniform(min, max);
        let aspect = libm::exp(stream.uniform(log_aspect[0], log_aspect[1]));
        let (w, h) = ((part * aspect).sqrt().round() as u32, (part / aspect).sqrt().round() as u32);
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return [stream.below(width - w + 1), stream.below(height - h + 1), w, h];
        }
    }
    let ratio = f64::from(width) / f64::from(height);
    let w = if ratio > ASPECT[1] { (f64::from(height) * ASPECT[1]).round() as u32 } else { width };
    let h = if ratio < ASPECT[0] { (f64::from(width) / ASPECT[0]).round() as u32 } else { height };
    let (w, h) = (w.clamp(1, width), h.clamp(1, height));
    [(width - w) / 2, (height - h) / 2, w, h]
}

const ALLOWED: &str = "identity, hflip, hflip(p), random_crop(n[,border[,zero|reflect]]), \
                       random_resized_crop(n,min,max[,filter])";

impl FromStr for CleanView {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let source = Source { what: "view", text, allowed: ALLOWED };
        let steps = source.steps('+')?;
        steps.iter().map(parse_step).collect::<Result<_>>().map(Self)
    }
}

fn parse_step(step: &Parsed<'_>) -> Result<Step> {
    match step.name {
        "identity" => step.expect(0..=0).map(|()| Step::Identity),
        "hflip" => {
            step.expect(0..=1)?;
            let given = !step.arguments.is_empty();
            let probability = if given { step.number(0, "a probability", |p| (0.0..=1.0).contains(p))? } else { 0.5 };
            Ok(Step::Flip { probability })
        }
        "random_crop" => {
            step.expect(1..=3)?;
            let border = if step.arguments.len() > 1 { step.whole(1, 0..=MAX_SIDE / 4)? } else { 0 };
            let fill = step.word(2, Fill::Zero, Fill::ALLOWED, Fill::parse)?;
            Ok(Step::Crop { side: step.whole(0, 1..=MAX_SIDE)?, border, fill })
        }
        "random_resized_crop" => {
            step.expect(3..=4)?;
            let side = step.whole(0, 1..=MAX_SIDE)?;
            let min = step.number(1, "a part of the area above 0, up to 1", |part| *part > 0.0 && *part <= 1.0)?;
            let max = step.number(2, "a part of the area from the smallest to 1", |part| (min..=1.0).contains(part))?;
            let filter = step.word(3, Filter::Bilinear, Filter::ALLOWED, Filter::parse)?;
            Ok(Step::ResizedCrop { side, min, max, filter })
        }
        name => Err(step.error(format!("`{name}` is not a step"))),
    }
}

impl fmt::Display for CleanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Flip { probability: 0.5 } => f.write_str("hflip"),
            Self::Flip { probability } => write!(f, "hflip({probability})"),
            Self::Crop { side, border, fill: Fill::Zero } => write!(f, "random_crop({side},{border})"),
            Self::Crop { side, border, fill } => write!(f, "random_crop({side},{border},{fill})"),
            Self::ResizedCrop { side, min, max, filter: Filter::Bilinear } => {
                write!(f, "random_resized_crop({side},{min},{max})")
            }
            Self::ResizedCrop { side, min, max, filter } => {
                write!(f, "random_resized_crop({side},{min},{max},{filter})")
            }
        }
    }
}

impl TryFrom<String> for CleanView {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<CleanView> for String {
    fn from(view: CleanView) -> Self {
        view.to_string()
    }
}
