//! One picture: its colours, and its transparency kept aside.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, anyhow};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageEncoder, RgbImage};
use robustify_data::{DataError, Preprocess, decode};
use robustify_watch::shown;

/// A decoded picture. Grey is replicated to RGB.
pub struct Picture {
    pub rgb: RgbImage,
    /// Kept through corruptions, which are defined on colours; gone after a preprocessing.
    pub alpha: Option<GrayImage>,
}

impl Picture {
    /// Decodes a JPEG, PNG or WebP file and preprocesses it.
    pub fn decode(bytes: &[u8], path: &Path, preprocess: &Preprocess) -> anyhow::Result<Self> {
        let image = decode::decode_any(bytes, path).map_err(fault)?;
        let alpha = image.color().has_alpha().then(|| alpha_of(&image));
        Self { rgb: image.into_rgb8(), alpha }.preprocessed(preprocess).with_context(|| shown(path))
    }

    /// After the pixel steps of `preprocess`.
    pub fn preprocessed(self, preprocess: &Preprocess) -> anyhow::Result<Self> {
        if preprocess.steps().is_empty() {
            return Ok(self);
        }
        Ok(Self { rgb: preprocess.pixels(&self.rgb)?, alpha: None })
    }
}

/// Why a picture cannot be read or decoded; what to do about it is for the command to say.
pub fn fault(error: DataError) -> anyhow::Error {
    match error {
        DataError::Image { path, reason } => anyhow!("{}: unusable image: {reason}", shown(&path)),
        error => error.into(),
    }
}

fn alpha_of(image: &DynamicImage) -> GrayImage {
    let rgba = image.to_rgba8();
    GrayImage::from_fn(rgba.width(), rgba.height(), |x, y| image::Luma([rgba.get_pixel(x, y).0[3]]))
}

/// A PNG file, with `alpha` if the sizes agree.
pub fn png(rgb: &RgbImage, alpha: Option<&GrayImage>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = rgb.dimensions();
    match alpha.filter(|alpha| alpha.dimensions() == rgb.dimensions()) {
        Some(alpha) => {
            let pixels = rgb.as_raw().chunks_exact(3).zip(alpha.as_raw());
            let rgba: Vec<u8> = pixels.flat_map(|(rgb, &alpha)| [rgb[0], rgb[1], rgb[2], alpha]).collect();
            encoder.write_image(&rgba, width, height, ExtendedColorType::Rgba8)?;
        }
        None => encoder.write_image(rgb.as_raw(), width, height, ExtendedColorType::Rgb8)?,
    }
    Ok(bytes.into_inner())
}
