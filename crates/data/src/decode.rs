//! One image file to one RGB buffer: JPEG, PNG and WebP, recognised by content.
//!
//! JPEG files give the pixels that libjpeg-turbo gives, and so Pillow, OpenCV and torchvision: decoders differ by a level or two.
//! Grey is replicated, alpha is dropped (as Pillow's `convert("RGB")` does), 16 bits are scaled to 8, CMYK is converted without
//! a colour profile (by another decoder), and EXIF orientation is applied. torchvision's reader leaves images with an EXIF orientation unturned.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::decode::pipeline::Decoder;
use libjpeg_turbo_rs::{JpegError, PixelFormat};

use crate::error::{DataError, Result, io_error};

/// Most pixels of an image, twice Pillow's `MAX_IMAGE_PIXELS`, above which Pillow too refuses a file.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Decodes the file at `path`.
///
/// # Errors
/// [`DataError::Io`] when it cannot be read; [`DataError::Image`] when it is not a complete JPEG, PNG or WebP image, or has more
/// than [`MAX_PIXELS`].
pub fn decode(path: &Path) -> Result<RgbImage> {
    let bytes = fs::read(path).map_err(io_error(path, "read"))?;
    decode_bytes(&bytes, path)
}

/// Decodes an image in memory; `path` is named in errors.
///
/// # Errors
/// As for [`decode`].
pub fn decode_bytes(bytes: &[u8], path: &Path) -> Result<RgbImage> {
    decode_any(bytes, path).map(DynamicImage::into_rgb8)
}

/// Decodes an image in memory with the channels and depth it has; `path` is named in errors.
///
/// # Errors
/// As for [`decode`].
pub fn decode_any(bytes: &[u8], path: &Path) -> Result<DynamicImage> {
    let (format, mut decoder) = open(bytes, path)?;
    // The decoder fills the missing end of a JPEG with grey and reports success.
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(unusable(path, "truncated: the JPEG ends before its end-of-image marker"));
    }
    let orientation = decoder.orientation().map_err(|error| unusable(path, error))?;
    let jpeg = if format == ImageFormat::Jpeg { decode_jpeg(bytes) } else { Ok(None) };
    let mut image = match jpeg.map_err(|error| unusable(path, error))? {
        Some(image) => image,
        None => DynamicImage::from_decoder(decoder).map_err(|error| unusable(path, error))?,
    };
    image.apply_orientation(orientation);
    Ok(image)
}

/// A JPEG of one or three components; `None` if it has four (CMYK).
fn decode_jpeg(bytes: &[u8]) -> std::result::Result<Option<DynamicImage>, JpegError> {
    let mut decoder = Decoder::new(bytes)?;
    let (width, height) = (decoder.header().width.into(), decoder.header().height.into());
    Ok(match decoder.header().components.len() {
        1 => {
            let mut grey = GrayImage::new(width, height);
            decoder.set_output_format(PixelFormat::Grayscale);
            decoder.decode_image_into(&mut grey)?;
            Some(grey.into())
        }
        3 => {
            let mut rgb = RgbImage::new(width, height);
            decoder.set_output_format(PixelFormat::Rgb);
            decoder.decode_image_into(&mut rgb)?;
            Some(rgb.into())
        }
        _ => None,
    })
}

/// Width and height that [`decode`] gives, from the header alone.
///
/// # Errors
/// As for [`decode`], as far as the header shows.
pub fn dimensions(path: &Path) -> Result<(u32, u32)> {
    let bytes = fs::read(path).map_err(io_error(path, "read"))?;
    let (_, mut decoder) = open(&bytes, path)?;
    let (width, height) = decoder.dimensions();
    let turned =
        [Orientation::Rotate90, Orientation::Rotate270, Orientation::Rotate90FlipH, Orientation::Rotate270FlipH];
    let orientation = decoder.orientation().map_err(|error| unusable(path, error))?;
    Ok(if turned.contains(&orientation) { (height, width) } else { (width, height) })
}

fn open<'a>(bytes: &'a [u8], path: &Path) -> Result<(ImageFormat, impl ImageDecoder + 'a)> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(io_error(path, "read"))?;
    let format = match reader.format() {
        Some(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => format,
        _ => return Err(unusable(path, "not a JPEG, PNG or WebP image")),
    };
    let mut reader = reader;
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| unusable(path, error))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(unusable(path, format!("{width}x{height} pixels in the header, 1 to {MAX_PIXELS} allowed")));
    }
    Ok((format, decoder))
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> DataError {
    DataError::Image { path: path.to_owned(), reason: reason.to_string() }
}

/// Walks the segments of a JPEG to its end-of-image marker.
///
/// Source: ITU-T T.81, annex B. A search for the two bytes of the marker would find the end of an EXIF thumbnail.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let (Some(&prefix), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) {
        match (prefix, marker) {
            (0xff, 0xd9) => return true,
            // Fill bytes, and markers without a segment.
            (0xff, 0xff) => at += 1,
            (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, 0x02..) => {
                let (Some(&high), Some(&low)) = (bytes.get(at + 2), bytes.get(at + 3)) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
            // Entropy-coded data, in which 0xff is followed by 0.
            _ => at += if prefix == 0xff { 2 } else { 1 },
        }
    }
    false
}
