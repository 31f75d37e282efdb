//! Resizing, cropping and padding of 8-bit RGB images, as Pillow and torchvision do it.

use std::fmt;

use fast_image_resize as fir;
use image::{Rgb, RgbImage, imageops};

use crate::error::{DataError, Result};

/// Largest side of a resized or padded image, in pixels.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// Interpolation of a resize. All but `Nearest` widen their support when shrinking (antialiasing), as Pillow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// The mean over the area.
    Box,
    /// Triangle.
    Bilinear,
    /// Catmull-Rom, a = -0.5: Pillow's bicubic.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

impl Filter {
    pub(crate) const ALLOWED: &str = "nearest, box, bilinear, bicubic, lanczos";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Nearest, Self::Box, Self::Bilinear, Self::Bicubic, Self::Lanczos].into_iter().find(|f| f.name() == text)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    fn algorithm(self) -> fir::ResizeAlg {
        match self {
            Self::Nearest => fir::ResizeAlg::Nearest,
            Self::Box => fir::ResizeAlg::Convolution(fir::FilterType::Box),
            Self::Bilinear => fir::ResizeAlg::Convolution(fir::FilterType::Bilinear),
            Self::Bicubic => fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom),
            Self::Lanczos => fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What fills the border that padding adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Black.
    Zero,
    /// The mirrored image, without repeating its edge.
    Reflect,
}

impl Fill {
    pub(crate) const ALLOWED: &str = "zero, reflect";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "zero" => Some(Self::Zero),
            "reflect" => Some(Self::Reflect),
            _ => None,
        }
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Zero { "zero" } else { "reflect" })
    }
}

/// Resizes to `width` × `height`; within one level of Pillow's `resize`.
///
/// # Errors
/// [`DataError::Shape`] when a side of either image is zero, or a side of the result is over 16,384.
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: Filter) -> Result<RgbImage> {
    check_resize(image.dimensions(), (width, height))?;
    // Columns before rows, each rounded and clipped to 8 bits, as Pillow does: in one call the resizer takes rows first, and
    // where a filter overshoots that differs by up to 17 levels.
    let wide = resize_once(image, width, image.height(), filter)?;
    resize_once(&wide, width, height, filter)
}

/// Sizes here are widths and heights.
pub(crate) fn check_resize(from: (u32, u32), to: (u32, u32)) -> Result<()> {
    let outside = |side: u32| side == 0 || side > MAX_SIDE;
    if outside(to.0) || outside(to.1) || from.0 == 0 || from.1 == 0 {
        return Err(resize_error(to, format!("an image of {}x{}", from.0, from.1)));
    }
    Ok(())
}

fn resize_once(image: &RgbImage, width: u32, height: u32, filter: Filter) -> Result<RgbImage> {
    if image.dimensions() == (width, height) {
        return Ok(image.clone());
    }
    let failed = |found: String| resize_error((width, height), found);
    let kind = fir::PixelType::U8x3;
    let source = fir::images::ImageRef::new(image.width(), image.height(), image.as_raw(), kind);
    let source = source.map_err(|error| failed(error.to_string()))?;
    let mut target = fir::images::Image::new(width, height, kind);
    let options = fir::ResizeOptions::new().resize_alg(filter.algorithm());
    fir::Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(error.to_string()))?;
    RgbImage::from_raw(width, height, target.into_vec()).ok_or_else(|| failed("a short buffer".to_owned()))
}

fn resize_error((width, height): (u32, u32), found: String) -> DataError {
    DataError::Shape {
        op: format!("resize to {width}x{height}"),
        expected: format!("sides from 1 to {MAX_SIDE}"),
        found,
        remedy: "check the sizes asked for; an image this long and thin is best removed",
    }
}

/// Resizes the shorter side to `side`; see [`short_size`].
pub(crate) fn resize_short(image: &RgbImage, side: u32, filter: Filter) -> Result<RgbImage> {
    let (width, height) = short_size(image.dimensions(), side);
    resize(image, width, height, filter)
}

/// The size with the shorter side at `side` and the aspect ratio kept, the longer side rounded down as torchvision does.
pub(crate) fn short_size((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let short = u64::from(width.min(height)).max(1);
    let scaled = |long: u32| u32::try_from(u64::from(side) * u64::from(long) / short).unwrap_or(u32::MAX);
    if width <= height { (side, scaled(height)) } else { (scaled(width), side) }
}

/// Cuts `width` × `height` at (`left`, `top`); the caller has checked that it lies inside.
pub(crate) fn crop(image: &RgbImage, left: u32, top: u32, width: u32, height: u32) -> RgbImage {
    imageops::crop_imm(image, left, top, width, height).to_image()
}

/// Cuts the middle; halves are rounded to even, as Python's `round` in torchvision does.
pub(crate) fn center_crop(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    check_crop(image.dimensions(), (width, height), "center_crop")?;
    let start = |whole: u32, part: u32| (f64::from(whole - part) / 2.0).round_ties_even() as u32;
    Ok(crop(image, start(image.width(), width), start(image.height(), height), width, height))
}

pub(crate) fn check_crop(from: (u32, u32), to: (u32, u32), op: &str) -> Result<()> {
    if from.0 >= to.0 && from.1 >= to.1 {
        return Ok(());
    }
    Err(DataError::Shape {
        op: format!("{op} to {}x{}", to.0, to.1),
        expected: format!("an image of at least {}x{} (width x height)", to.0, to.1),
        found: format!("{}x{}", from.0, from.1),
        remedy: "put resize(n) or pad(n) before the crop, or crop less",
    })
}

/// The size with `border` pixels less on each side.
pub(crate) fn inner_size((width, height): (u32, u32), border: u32) -> Result<(u32, u32)> {
    if width.min(height) > 2 * border {
        return Ok((width - 2 * border, height - 2 * border));
    }
    Err(DataError::Shape {
        op: format!("crop_border({border})"),
        expected: format!("sides above {}", 2 * border),
        found: format!("{width}x{height}"),
        remedy: "crop less, or remove the image",
    })
}

/// Cuts `border` pixels off each side.
pub(crate) fn crop_border(image: &RgbImage, border: u32) -> Result<RgbImage> {
    let (width, height) = inner_size(image.dimensions(), border)?;
    Ok(crop(image, border, border, width, height))
}

/// The size with `border` pixels more on each side.
pub(crate) fn padded_size((width, height): (u32, u32), border: u32, fill: Fill) -> Result<(u32, u32)> {
    let small = fill == Fill::Reflect && width.min(height) <= border;
    if small || width.max(height).saturating_add(2 * border) > MAX_SIDE {
        return Err(DataError::Shape {
            op: format!("pad({border},{fill})"),
            expected: format!("sides up to {MAX_SIDE} with the border, and above {border} for reflect"),
            found: format!("{width}x{height}"),
            remedy: "pad less, or resize first",
        });
    }
    Ok((width + 2 * border, height + 2 * border))
}

/// Adds `border` pixels on each side.
pub(crate) fn pad(image: &RgbImage, border: u32, fill: Fill) -> Result<RgbImage> {
    let (width, height) = image.dimensions();
    let padded = padded_size((width, height), border, fill)?;
    if fill == Fill::Zero {
        let mut padded = RgbImage::new(padded.0, padded.1);
        imageops::replace(&mut padded, image, i64::from(border), i64::from(border));
        return Ok(padded);
    }
    let mirrored = |at: u32, len: u32| {
        let from_start = (i64::from(at) - i64::from(border)).unsigned_abs() as u32;
        if from_start < len { from_start } else { 2 * (len - 1) - from_start }
    };
    Ok(RgbImage::from_fn(padded.0, padded.1, |x, y| -> Rgb<u8> {
        *image.get_pixel(mirrored(x, width), mirrored(y, height))
    }))
}
