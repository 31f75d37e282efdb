//! Average maps as pictures.

use std::io::Cursor;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use robustify_report::chart::ramp;

use crate::attention::Map;

/// The longest side of a picture in pixels: a larger map is shown by the means of squares of it.
const SIDE: usize = 256;

/// A map as a PNG in a `data:` URI. Its colours are the logarithm of the weight in units of the uniform one, from a tenth to a hundred
/// times as much, so that maps of unlike size can be compared.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn picture(map: &Map) -> Result<String> {
    let patches = map.window[0] * map.window[1];
    let step = patches.div_ceil(SIDE).max(1);
    let side = patches.div_ceil(step);
    let mut pixels = RgbImage::new(side as u32, side as u32);
    for (x, y, pixel) in pixels.enumerate_pixels_mut() {
        let range = |at: u32| at as usize * step..((at as usize + 1) * step).min(patches);
        let cells = range(y).flat_map(|query| range(x).map(move |key| query * patches + key));
        let (sum, count) = cells.fold((0.0, 0), |(sum, count), cell| (sum + map.values[cell], count + 1));
        let share = sum / f64::from(count.max(1)) * patches as f64;
        *pixel = Rgb(ramp((share.max(1e-9).log10() + 1.0) / 3.0));
    }
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes.into_inner())))
}
