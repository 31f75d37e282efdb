//! Any bytes: decoded as an image where they are one, then corrupted. Nothing may panic, and the size is kept.
//!
//! The first eleven bytes choose the corruption, the severity, the profile and the seed; the rest is the file.
#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use image::{ImageFormat, ImageReader, Limits, RgbImage};
use libfuzzer_sys::fuzz_target;
use libjpeg_turbo_rs::PixelFormat;
use libjpeg_turbo_rs::decode::pipeline::Decoder;
use robustify_augment::{Corruption, Corruptor, Profile, Scratch, Severity};
use robustify_rng::Key;

/// Longer sides make runs slow and find nothing else.
const LONGEST_SIDE: u32 = 256;

static CORRUPTORS: LazyLock<[Corruptor; 6]> = LazyLock::new(|| Profile::ALL.map(Corruptor::new));
static CORRUPTIONS: LazyLock<Vec<Corruption>> = LazyLock::new(|| Corruption::every().collect());

fuzz_target!(|bytes: &[u8]| {
    let Some(([corruption, severity, profile, seed @ ..], file)) = bytes.split_first_chunk::<11>() else { return };
    let Some(image) = decode(file) else { return };
    let corruption = CORRUPTIONS[usize::from(*corruption) % CORRUPTIONS.len()];
    let severity = Severity::try_from(severity % 6).expect("at most 5");
    let corruptor = &CORRUPTORS[usize::from(*profile) % CORRUPTORS.len()];
    let key = Key::new(u64::from_le_bytes(*seed), "fuzz");
    let mut out = RgbImage::new(3, 2);
    corruptor.apply_into(&image, corruption, severity, key, &mut Scratch::new(), &mut out);
    assert_eq!(out.dimensions(), image.dimensions());
});

/// The image, if the bytes are one of moderate size. Decoders of other crates may refuse it, but not fall.
fn decode(file: &[u8]) -> Option<RgbImage> {
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(64 << 20);
    reader.limits(limits);
    if reader.format() == Some(ImageFormat::Jpeg) {
        return decode_jpeg(file);
    }
    Some(reader.decode().ok()?.into_rgb8())
}

/// A JPEG of any number of components, by the decoder that the program uses for most of them.
fn decode_jpeg(file: &[u8]) -> Option<RgbImage> {
    let mut decoder = Decoder::new(file).ok()?;
    let [width, height] = [decoder.header().width, decoder.header().height].map(u32::from);
    if width.max(height) > LONGEST_SIDE {
        return None;
    }
    let mut image = RgbImage::new(width, height);
    decoder.set_output_format(PixelFormat::Rgb);
    decoder.decode_image_into(&mut image).ok()?;
    Some(image)
}
