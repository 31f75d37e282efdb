//! One image file to one RGB buffer: JPEG, PNG and WebP, recognised by content.
//!
//! JPEG files give the pixels that libjpeg-turbo gives, and so Pillow, OpenCV and torchvision: decoders differ by a level or two.
//! Grey is replicated, alpha is dropped (as Pillow's `convert("RGB")` does), 16 bits are scaled to 8, CMYK is converted without
//! a colour profile (by another decoder), and EXIF orientation is applied. torchvision's reader leaves images with an EXIF orientation unturned.

use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::decode::pipeline::Decoder;
use libjpeg_turbo_rs::{JpegError, PixelFormat};

use crate::error::{DataError, Result, io_error};
use crate::{place, webp};

/// Most pixels of an image, twice Pillow's `MAX_IMAGE_PIXELS`, above which Pillow too refuses a file.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Most bytes of a file: those of [`MAX_PIXELS`] in RGB with 16 bits, 1 GiB.
pub const MAX_BYTES: u64 = 6 * MAX_PIXELS;

/// How many bytes tell what a file is.
const MAGIC: u64 = 16;

/// Reads the file of a picture. Of a file that begins as no picture, only the beginning is read and given, at which
/// [`decode_bytes`] says so: however long it is, nothing in it is of use.
///
/// # Errors
/// [`DataError::Io`] when it cannot be read or is no file; [`DataError::Image`] for more than [`MAX_BYTES`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = place::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(MAGIC).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    if format_of(&bytes).is_none() {
        return Ok(bytes);
    }
    let length = file.metadata().map_err(io_error(path, "read"))?.len();
    if length > MAX_BYTES {
        return Err(unusable(path, format!("{length} bytes, at most {MAX_BYTES} are read")));
    }
    bytes.reserve_exact((length as usize).saturating_sub(bytes.len()) + 1);
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    Ok(bytes)
}

/// The format that a file begins as, of those that are read.
fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(bytes).ok()?;
    matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP).then_some(format)
}

/// Decodes the file at `path`.
///
/// # Errors
/// [`DataError::Io`] when it cannot be read; [`DataError::Image`] when it is not a complete JPEG, PNG or WebP image, or has more
/// than [`MAX_PIXELS`].
pub fn decode(path: &Path) -> Result<RgbImage> {
    decode_bytes(&read(path)?, path)
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
    dimensions_of(&read(path)?, path)
}

/// The same of an image in memory; `path` is named in errors.
///
/// # Errors
/// As for [`dimensions`].
pub fn dimensions_of(bytes: &[u8], path: &Path) -> Result<(u32, u32)> {
    let (_, mut decoder) = open(bytes, path)?;
    let (width, height) = decoder.dimensions();
    let turned =
        [Orientation::Rotate90, Orientation::Rotate270, Orientation::Rotate90FlipH, Orientation::Rotate270FlipH];
    let orientation = decoder.orientation().map_err(|error| unusable(path, error))?;
    Ok(if turned.contains(&orientation) { (height, width) } else { (width, height) })
}

fn open<'a>(bytes: &'a [u8], path: &Path) -> Result<(ImageFormat, impl ImageDecoder + 'a)> {
    let format = format_of(bytes).ok_or_else(|| unusable(path, "not a JPEG, PNG or WebP image"))?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| unusable(path, error))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(unusable(path, format!("{width}x{height} pixels in the header, 1 to {MAX_PIXELS} allowed")));
    }
    if pixels > most_pixels(format, decoder.original_color_type().bits_per_pixel(), bytes.len() as u64) {
        let length = bytes.len();
        return Err(unusable(path, format!("{width}x{height} pixels in the header, which {length} bytes cannot hold")));
    }
    if format == ImageFormat::WebP {
        webp::check(bytes, (width, height)).map_err(|reason| unusable(path, reason))?;
    }
    Ok((format, decoder))
}

/// How many pixels so many bytes can hold at most: memory is taken for no more.
fn most_pixels(format: ImageFormat, bits: u16, length: u64) -> u64 {
    match format {
        // Deflate makes at most 1032 bytes of one. Source: RFC 1951; zlib's technical details.
        ImageFormat::Png => length.saturating_mul(8 * 1032) / u64::from(bits.max(1)),
        // A block of 8x8 pixels takes a bit at least, the code of its first coefficient. Source: ITU-T T.81, annex F.
        ImageFormat::Jpeg => length.saturating_mul(8 * 64),
        // A WebP of one colour takes no bits a pixel.
        _ => MAX_PIXELS,
    }
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
