//! A contact sheet: pictures in rows and columns with their names.

use font8x8::UnicodeFonts;
use image::{Rgb, RgbImage, imageops};
use robustify_data::{Filter, resize};

/// Sides of a cell in pixels, space around it, and height of a line of text.
const CELL: u32 = 128;
const GAP: u32 = 4;
const LINE: u32 = 14;

/// Width of a letter in pixels.
const LETTER: u32 = 8;

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([32; 3]);

/// Draws the sheet: names of columns on top, and each row's name above its pictures.
pub fn draw(columns: &[String], rows: &[(String, Vec<RgbImage>)]) -> anyhow::Result<RgbImage> {
    let width = columns.len() as u32 * (CELL + GAP) + GAP;
    let widest = rows.iter().map(|(name, _)| name.chars().count() as u32 * LETTER + 2 * GAP).max().unwrap_or(0);
    let row_height = CELL + LINE + GAP;
    let mut sheet = RgbImage::from_pixel(width.max(widest), LINE + GAP + rows.len() as u32 * row_height, PAPER);
    for (column, name) in columns.iter().enumerate() {
        write(&mut sheet, name, GAP + column as u32 * (CELL + GAP), GAP / 2);
    }
    for (row, (name, pictures)) in rows.iter().enumerate() {
        let top = LINE + row as u32 * row_height;
        write(&mut sheet, name, GAP, top + GAP);
        for (column, picture) in pictures.iter().enumerate() {
            let picture = fit(picture)?;
            let left = GAP + column as u32 * (CELL + GAP);
            imageops::replace(&mut sheet, &picture, i64::from(left), i64::from(top + LINE));
        }
    }
    Ok(sheet)
}

/// The picture within a cell: small ones in whole steps, so that their pixels can be seen.
fn fit(picture: &RgbImage) -> anyhow::Result<RgbImage> {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= CELL {
        let times = CELL / longest;
        return Ok(resize(picture, width * times, height * times, Filter::Nearest)?);
    }
    let side = |length: u32| (length * CELL / longest).max(1);
    Ok(resize(picture, side(width), side(height), Filter::Bilinear)?)
}

fn write(sheet: &mut RgbImage, text: &str, left: u32, top: u32) {
    for (index, letter) in text.chars().enumerate() {
        let Some(glyph) = font8x8::BASIC_FONTS.get(letter) else { continue };
        for (y, line) in glyph.iter().enumerate() {
            for x in (0..LETTER).filter(|x| line >> x & 1 == 1) {
                let (x, y) = (left + index as u32 * LETTER + x, top + y as u32);
                if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
                    *pixel = INK;
                }
            }
        }
    }
}
