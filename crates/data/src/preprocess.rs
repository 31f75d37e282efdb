//! Preprocessing as one string: `resize(36,bicubic)|center_crop(32)|normalize(imagenet)`.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::geometry::{self, Fill, Filter, MAX_SIDE};
use crate::parse::{Source, Step as Parsed};

/// What is done to every image between reading and the model: pixel steps, then normalisation.
///
/// The two parts are separate since corruptions and augmentations work on the pixels between them. Steps, joined by `|`:
///
/// | step | meaning |
/// |---|---|
/// | `resize(n[,filter])` | shorter side to `n` pixels; filter `bilinear` (default), `bicubic`, `lanczos`, `nearest`, `box` |
/// | `resize(h,w[,filter])` | to `h` × `w` |
/// | `center_crop(n)`, `center_crop(h,w)` | the middle |
/// | `crop_border(n)` | `n` pixels less on each side |
/// | `pad(n[,fill])` | `n` pixels on each side; fill `zero` (default), `reflect` |
/// | `normalize(name)`, `normalize(r,g,b;r,g,b)` | last; name `imagenet`, `clip`, `half`, `none`; or means and deviations |
///
/// Without `normalize`, as with `none`, values are in `[0, 1]`. An empty string does nothing.
///
/// ```
/// use robustify_data::Preprocess;
///
/// let preprocess: Preprocess = "resize(36,bicubic)|center_crop(32)|normalize(half)".parse()?;
/// let pixels = preprocess.pixels(&image::RgbImage::new(72, 48))?;
/// assert_eq!(pixels.dimensions(), (32, 32));
/// let mut row = vec![0.0; 3 * 32 * 32];
/// preprocess.write_chw(&pixels, &mut row)?;
/// assert_eq!(row[0], -1.0);
/// # Ok::<(), robustify_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Preprocess {
    steps: Vec<Step>,
    normalize: Option<Normalize>,
}

/// One pixel step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Shorter side to so many pixels.
    ResizeShort(u32, Filter),
    /// To a height and a width.
    ResizeTo(u32, u32, Filter),
    /// Crop the middle to a height and a width.
    CenterCrop(u32, u32),
    /// Pixels cut off each side.
    CropBorder(u32),
    /// Pixels added on each side.
    Pad(u32, Fill),
}

/// Mean and standard deviation by channel, for values in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Mean of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
}

impl Normalize {
    /// ImageNet's, as torchvision and timm use them.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// OpenAI CLIP's. Source: Radford et al. 2021, arXiv:2103.00020, and its code.
    pub const CLIP: Self =
        Self { mean: [0.481_454_66, 0.457_827_5, 0.408_210_73], std: [0.268_629_54, 0.261_302_6, 0.275_777_1] };
    /// To `[-1, 1]`, for timm's augreg ViT and others.
    pub const HALF: Self = Self { mean: [0.5; 3], std: [0.5; 3] };
    /// Values stay in `[0, 1]`.
    pub const NONE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };

    const NAMED: [(&str, Self); 4] =
        [("imagenet", Self::IMAGENET), ("clip", Self::CLIP), ("half", Self::HALF), ("none", Self::NONE)];
}

impl Preprocess {
    /// Applies the pixel steps.
    ///
    /// # Errors
    /// [`DataError::Shape`] when a step does not fit the image: a crop larger than it, a reflection wider than it.
    pub fn pixels(&self, image: &RgbImage) -> Result<RgbImage> {
        let Some((first, rest)) = self.steps.split_first() else { return Ok(image.clone()) };
        rest.iter().try_fold(first.apply(image)?, |image, step| step.apply(&image))
    }

    /// Width and height that [`Self::pixels`] gives an image of a width and a height.
    ///
    /// # Errors
    /// As for [`Self::pixels`].
    pub fn size(&self, size: (u32, u32)) -> Result<(u32, u32)> {
        self.steps.iter().try_fold(size, |size, step| step.size(size))
    }

    /// Writes the normalised image as planes of red, green and blue: `(value / 255 - mean) / std`.
    ///
    /// # Shapes
    /// - out: `[3, height, width]`, flattened
    ///
    /// # Errors
    /// [`DataError::Shape`] when `out` has another length.
    pub fn write_chw(&self, image: &RgbImage, out: &mut [f32]) -> Result<()> {
        let plane = image.width() as usize * image.height() as usize;
        if out.len() != 3 * plane || plane == 0 {
            return Err(DataError::Shape {
                op: "write_chw".to_owned(),
                expected: format!("a buffer of {} values for {}x{} pixels", 3 * plane, image.width(), image.height()),
                found: format!("{} values", out.len()),
                remedy: "end the preprocessing in one size, with center_crop(n) or resize(h,w)",
            });
        }
        let Normalize { mean, std } = self.normalization();
        for (channel, values) in out.chunks_exact_mut(plane).enumerate() {
            let table: [f32; 256] = std::array::from_fn(|level| (level as f32 / 255.0 - mean[channel]) / std[channel]);
            for (value, pixel) in values.iter_mut().zip(image.as_raw().chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
        Ok(())
    }

    /// The pixel steps alone.
    ///
    /// ```
    /// # use robustify_data::Preprocess;
    /// let large: Preprocess = "resize(36)|center_crop(32)|normalize(imagenet)".parse()?;
    /// assert_eq!(large.geometry(), "resize(36)|center_crop(32)".parse()?);
    /// assert_eq!(large.normalisation_only(), "normalize(imagenet)".parse()?);
    /// assert_eq!(large.geometry().then(&large.normalisation_only()), large);
    /// # Ok::<(), robustify_data::DataError>(())
    /// ```
    #[must_use]
    pub fn geometry(&self) -> Self {
        Self { steps: self.steps.clone(), normalize: None }
    }

    /// The first so many pixel steps alone.
    #[must_use]
    pub fn first_steps(&self, count: usize) -> Self {
        Self { steps: self.steps.iter().take(count).copied().collect(), normalize: None }
    }

    /// The normalisation alone.
    #[must_use]
    pub fn normalisation_only(&self) -> Self {
        Self { steps: Vec::new(), normalize: self.normalize }
    }

    /// These pixel steps, then those of `other` and its normalisation: what a model with a preprocessing of its own sees of the
    /// pixels that were made for another one. The normalisation of `self` is not applied.
    #[must_use]
    pub fn then(&self, other: &Self) -> Self {
        Self { steps: self.steps.iter().chain(&other.steps).copied().collect(), normalize: other.normalize }
    }

    /// The pixel steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether it says a normalisation, `normalize(none)` included.
    pub fn is_normalized(&self) -> bool {
        self.normalize.is_some()
    }

    /// The normalisation; [`Normalize::NONE`] when none is given.
    pub fn normalization(&self) -> Normalize {
        self.normalize.unwrap_or(Normalize::NONE)
    }
}

impl Step {
    fn size(&self, from: (u32, u32)) -> Result<(u32, u32)> {
        let to = match *self {
            Self::ResizeShort(side, _) => geometry::short_size(from, side),
            Self::ResizeTo(height, width, _) | Self::CenterCrop(height, width) => (width, height),
            Self::CropBorder(border) => return geometry::inner_size(from, border),
            Self::Pad(border, fill) => return geometry::padded_size(from, border, fill),
        };
        match self {
            Self::CenterCrop(..) => geometry::check_crop(from, to, "center_crop")?,
            _ => geometry::check_resize(from, to)?,
        }
        Ok(to)
    }

    fn apply(&self, image: &RgbImage) -> Result<RgbImage> {
        match *self {
            Self::ResizeShort(side, filter) => geometry::resize_short(image, side, filter),
            Self::ResizeTo(height, width, filter) => geometry::resize(image, width, height, filter),
            Self::CenterCrop(height, width) => geometry::center_crop(image, width, height),
            Self::CropBorder(border) => geometry::crop_border(image, border),
            Self::Pad(border, fill) => geometry::pad(image, border, fill),
        }
    }
}

const ALLOWED: &str = "resize(n[,filter]), resize(h,w[,filter]), center_crop(n), center_crop(h,w), crop_border(n), \
                       pad(n[,zero|reflect]), \
                       and last normalize(imagenet|clip|half|none) or normalize(r,g,b;r,g,b)";

impl FromStr for Preprocess {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let mut preprocess = Self { steps: Vec::new(), normalize: None };
        if text.trim().is_empty() {
            return Ok(preprocess);
        }
        let source = Source { what: "preprocessing", text, allowed: ALLOWED };
        for step in source.steps('|')? {
            if preprocess.normalize.is_some() {
                return Err(step.error("normalize must be the last step".to_owned()));
            }
            match step.name {
                "resize" => preprocess.steps.push(parse_resize(&step)?),
                "center_crop" => preprocess.steps.push(parse_center_crop(&step)?),
                "crop_border" => {
                    step.expect(1..=1)?;
                    preprocess.steps.push(Step::CropBorder(step.whole(0, 1..=MAX_SIDE / 4)?));
                }
                "pad" => {
                    step.expect(1..=2)?;
                    let fill = step.word(1, Fill::Zero, Fill::ALLOWED, Fill::parse)?;
                    preprocess.steps.push(Step::Pad(step.whole(0, 1..=MAX_SIDE / 4)?, fill));
                }
                "normalize" => preprocess.normalize = Some(parse_normalize(&step)?),
                name => return Err(step.error(format!("`{name}` is not a step"))),
            }
        }
        Ok(preprocess)
    }
}

fn parse_resize(step: &Parsed<'_>) -> Result<Step> {
    let filter = |index| step.word(index, Filter::Bilinear, Filter::ALLOWED, Filter::parse);
    if step.is_whole(1) {
        step.expect(2..=3)?;
        return Ok(Step::ResizeTo(step.whole(0, 1..=MAX_SIDE)?, step.whole(1, 1..=MAX_SIDE)?, filter(2)?));
    }
    step.expect(1..=2)?;
    Ok(Step::ResizeShort(step.whole(0, 1..=MAX_SIDE)?, filter(1)?))
}

fn parse_center_crop(step: &Parsed<'_>) -> Result<Step> {
    step.expect(1..=2)?;
    let height = step.whole(0, 1..=MAX_SIDE)?;
    let width = if step.arguments.len() == 2 { step.whole(1, 1..=MAX_SIDE)? } else { height };
    Ok(Step::CenterCrop(height, width))
}

fn parse_normalize(step: &Parsed<'_>) -> Result<Normalize> {
    if step.arguments.len() != 6 {
        step.expect(1..=1)?;
        let named = |text: &str| Normalize::NAMED.into_iter().find(|(name, _)| *name == text).map(|(_, value)| value);
        return step.word(0, Normalize::NONE, "imagenet, clip, half, none, or six numbers r,g,b;r,g,b", named);
    }
    let mean = |index| step.number(index, "a mean from -10 to 10", |value: &f32| (-10.0..=10.0).contains(value));
    let std = |index| step.number(index, "a deviation from 0.0001 to 1000", |value: &f32| (1e-4..=1e3).contains(value));
    Ok(Normalize { mean: [mean(0)?, mean(1)?, mean(2)?], std: [std(3)?, std(4)?, std(5)?] })
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "|" })?;
        }
        match self.normalize {
            Some(normalize) if self.steps.is_empty() => write!(f, "{normalize}"),
            Some(normalize) => write!(f, "|{normalize}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResizeShort(side, filter) => write!(f, "resize({side},{filter})"),
            Self::ResizeTo(height, width, filter) => write!(f, "resize({height},{width},{filter})"),
            Self::CenterCrop(height, width) if height == width => write!(f, "center_crop({height})"),
            Self::CenterCrop(height, width) => write!(f, "center_crop({height},{width})"),
            Self::CropBorder(border) => write!(f, "crop_border({border})"),
            Self::Pad(border, fill) => write!(f, "pad({border},{fill})"),
        }
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = Self::NAMED.iter().find(|(_, value)| value == self) {
            return write!(f, "normalize({name})");
        }
        let ([a, b, c], [d, e, g]) = (self.mean, self.std);
        write!(f, "normalize({a},{b},{c};{d},{e},{g})")
    }
}

impl TryFrom<String> for Preprocess {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Preprocess> for String {
    fn from(preprocess: Preprocess) -> Self {
        preprocess.to_string()
    }
}
