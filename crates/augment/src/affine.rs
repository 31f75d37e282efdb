//! Rotation, shear and translation with the arithmetic of Pillow: pixels are tested for being inside the image before
//! they are interpolated, and interpolated samples are truncated.

mod shear;
mod single;

use std::ops::Range;

use crate::rgbx::{Pixel, Rgbx};
use crate::scratch::Scratch;
use shear::{Columns, Shift};
use single::Taps;

/// `[a, b, c, d, e, f]` takes the centre (x, y) of a target pixel to the source (ax + by + c, dx + ey + f).
pub(crate) type Matrix = [f64; 6];

/// The matrix that rotates counter-clockwise about the centre of an image.
pub(crate) fn rotation(degrees: f64, width: usize, height: usize) -> Matrix {
    let (sin, cos) = libm::sincos(-degrees.rem_euclid(360.0).to_radians());
    let round = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let (sin, cos) = (round(sin), round(cos));
    let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
    let x0 = cos * -cx + sin * -cy + cx;
    let y0 = -sin * -cx + cos * -cy + cy;
    [cos, sin, x0, -sin, cos, y0]
}

/// Bilinear affine transform of `from` into `to`, of the same size; what comes in is black.
pub(crate) fn affine(from: &Rgbx, matrix: Matrix, to: &mut Rgbx, scratch: &mut Scratch) {
    let [a, b, _, d, e, _] = matrix;
    let columns = || (0..from.width).map(|x| x as f64 + 0.5);
    let (mut across, mut down) = (scratch.take_empty::<f64>(), scratch.take_empty::<f64>());
    across.extend(columns().map(|x| a * x));
    down.extend(columns().map(|x| d * x));
    let mut way = Way::new(from, matrix, &down, scratch);
    let mut taps = Taps::take(from.width, scratch);
    for y in 0..from.height {
        let middle = y as f64 + 0.5;
        let line = Line { y, across: &across, down: &down, by: b * middle, ey: e * middle, matrix };
        let inside = line.inside(from);
        let row = to.row_mut(y);
        row[..inside.start].fill([0; 4]);
        row[inside.end..].fill([0; 4]);
        if !inside.is_empty() {
            way.write(from, &line, inside.clone(), &mut taps, &mut row[inside]);
        }
    }
    to.extend();
    if let Way::Columns(columns) = way {
        columns.give(scratch);
    }
    taps.give(scratch);
    scratch.give(across);
    scratch.give(down);
}

/// How the pixels of a transform are computed. Only the speed differs.
enum Way {
    /// A shear along the rows.
    Rows,
    /// A shear along the columns.
    Columns(Columns),
    Any,
}

impl Way {
    fn new(from: &Rgbx, matrix: Matrix, down: &[f64], scratch: &mut Scratch) -> Self {
        match matrix {
            _ if from.width.max(from.height) > shear::LONGEST => Self::Any,
            [1.0, _, 0.0, 0.0, 1.0, 0.0] => Self::Rows,
            [1.0, 0.0, 0.0, _, 1.0, 0.0] => Columns::new(down, scratch).map_or(Self::Any, Self::Columns),
            _ => Self::Any,
        }
    }

    /// Writes `columns` of a row, all of which have their sources inside.
    fn write(&mut self, from: &Rgbx, line: &Line<'_>, columns: Range<usize>, taps: &mut Taps, row: &mut [Pixel]) {
        match self {
            Self::Rows => match Shift::new(line.by) {
                Some(shift) => shift.along_row(from, from.place(columns.start, line.y), row),
                None => taps.write(from, line, columns.start, row),
            },
            Self::Columns(shifts) => shifts.across_row(from, line, columns, row),
            Self::Any => taps.write(from, line, columns.start, row),
        }
    }
}

/// Moves `from` by whole pixels: the target (x, y) is the source (x + right, y + below); what comes in is black.
pub(crate) fn translate(from: &Rgbx, right: i64, below: i64, to: &mut Rgbx) {
    let (width, height) = (from.width as i64, from.height as i64);
    let start = right.saturating_neg().clamp(0, width) as usize;
    let end = width.saturating_sub(right).clamp(0, width) as usize;
    for y in 0..from.height {
        let row = to.row_mut(y);
        let source = (y as i64).saturating_add(below);
        if !(0..height).contains(&source) || start >= end {
            row.fill([0; 4]);
            continue;
        }
        row[..start].fill([0; 4]);
        row[end..].fill([0; 4]);
        let first = (start as i64 + right) as usize;
        row[start..end].copy_from_slice(&from.row(source as usize)[first..][..end - start]);
    }
    to.extend();
}

/// A row of the target: the products of the matrix with its columns, and with itself.
struct Line<'a> {
    y: usize,
    across: &'a [f64],
    down: &'a [f64],
    by: f64,
    ey: f64,
    matrix: Matrix,
}

impl Line<'_> {
    /// The source of a pixel, rounded in the steps of Pillow.
    #[inline(always)]
    fn source(&self, across: f64, down: f64) -> (f64, f64) {
        (across + self.by + self.matrix[2], down + self.ey + self.matrix[5])
    }

    /// The columns whose sources lie inside. Both coordinates are monotone along a row, so they are one run.
    fn inside(&self, from: &Rgbx) -> Range<usize> {
        let inside = |&x: &usize| {
            let (x, y) = self.source(self.across[x], self.down[x]);
            (0.0..from.width as f64).contains(&x) && (0.0..from.height as f64).contains(&y)
        };
        let start = (0..from.width).find(inside).unwrap_or(from.width);
        start..(start..from.width).rfind(inside).map_or(start, |last| last + 1)
    }

    /// The pixel of a column that lies inside, computed as Pillow does.
    fn pixel(&self, from: &Rgbx, column: usize) -> Pixel {
        let (x, y) = self.source(self.across[column], self.down[column]);
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let place = (top + 1.0) as usize * from.stride() + (left + 1.0) as usize;
        let (upper, lower) = (&from.pixels()[place..][..2], &from.pixels()[place + from.stride()..][..2]);
        let between = |from: f64, to: f64, weight: f64| from + (to - from) * weight;
        let mut pixel = [0; 4];
        for channel in 0..3 {
            let across = |row: &[Pixel]| between(f64::from(row[0][channel]), f64::from(row[1][channel]), x - left);
            pixel[channel] = between(across(upper), across(lower), y - top) as u8;
        }
        pixel
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use robustify_rng::{Key, Stream};

    use super::*;
    use crate::ties::tests::awkward;

    /// Pillow's bilinear transform, in double precision from pixel to pixel.
    fn naive(image: &RgbImage, [a, b, c, d, e, f]: Matrix) -> RgbImage {
        let (width, height) = image.dimensions();
        let pixel = |x: f64, y: f64| {
            let clamped = |place: f64, side: u32| place.clamp(0.0, f64::from(side - 1)) as u32;
            image.get_pixel(clamped(x, width), clamped(y, height)).0.map(f64::from)
        };
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
            let (x, y) = (a * x + b * y + c, d * x + e * y + f);
            if !(0.0..f64::from(width)).contains(&x) || !(0.0..f64::from(height)).contains(&y) {
                return image::Rgb([0; 3]);
            }
            let (x, y) = (x - 0.5, y - 0.5);
            let (left, top) = (x.floor(), y.floor());
            let between = |from: f64, to: f64, weight: f64| from + (to - from) * weight;
            let across =
                |y: f64, channel: usize| between(pixel(left, y)[channel], pixel(left + 1.0, y)[channel], x - left);
            image::Rgb(
                [0, 1, 2].map(|channel| between(across(top, channel), across(top + 1.0, channel), y - top) as u8),
            )
        })
    }

    fn assert_exact(image: &RgbImage, matrix: Matrix) {
        let mut scratch = Scratch::new();
        let from = Rgbx::load(image, &mut scratch);
        let mut to = Rgbx::take(from.width, from.height, &mut scratch);
        // Whatever is not written stays visible.
        to.pixels_mut().fill([7; 4]);
        affine(&from, matrix, &mut to, &mut scratch);
        let mut out = RgbImage::new(image.width(), image.height());
        to.store(&mut out);
        let want = naive(image, matrix);
        let differing = out.enumerate_pixels().zip(want.pixels()).find(|((_, _, got), want)| got != want);
        assert_eq!(differing, None, "{:?} {matrix:?}", image.dimensions());
    }

    fn pictures(width: u32, height: u32, stream: &mut Stream) -> [RgbImage; 4] {
        let noise = RgbImage::from_fn(width, height, |_, _| image::Rgb([0; 3].map(|_| stream.below(256) as u8)));
        let two_levels = RgbImage::from_fn(width, height, |_, _| {
            image::Rgb([[0, 255], [254, 255], [100, 228]].map(|levels| levels[usize::from(stream.chance(0.3))]))
        });
        let slope =
            RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, (y / 3) as u8, (16 * x + 8 * y) as u8]));
        [awkward(width, height), noise, two_levels, slope]
    }

    const SIZES: [(u32, u32); 9] = [(1, 1), (1, 9), (8, 1), (2, 3), (5, 4), (17, 16), (33, 41), (64, 20), (300, 200)];

    fn shears(slope: f64) -> [Matrix; 2] {
        [[1.0, slope, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, slope, 1.0, 0.0]]
    }

    #[test]
    fn transforms_are_those_in_double_precision() {
        let mut stream = Key::new(3, "affine").stream();
        for (width, height) in SIZES {
            for image in pictures(width, height, &mut stream) {
                let [gentle, steep] = [0.3, 3.0].map(|most| stream.uniform(-most, most));
                for slope in
                    [gentle, steep, 0.0, 0.05, -0.25, 0.01, 1.0 / 255.0, 1e-9, -1e-17, 0.3 - 1e-16, 2.3571, -9.1]
                {
                    shears(slope).into_iter().for_each(|matrix| assert_exact(&image, matrix));
                }
                let drawn = stream.uniform(-30.0, 30.0);
                for degrees in [drawn, 0.0, 1e-12, 1e-5, 1.0, -9.0, 30.0, 45.0, 89.999, 90.0, 180.0, 270.0, 359.0] {
                    assert_exact(&image, rotation(degrees, width as usize, height as usize));
                }
                assert_exact(&image, [0.7, 0.2, 1.3, -0.1, 1.4, -2.0]);
            }
        }
    }

    #[test]
    fn weights_of_sixteen_bits_give_all_samples() {
        let mut stream = Key::new(4, "weights").stream();
        let mut found = 0;
        for round in 0..4000 {
            // Half of them next to a fraction, where there may be no such weight.
            let way = if round % 2 == 0 {
                stream.uniform(-3.0, 3.0)
            } else {
                let denominator = 1 + stream.below(255);
                let fraction = f64::from(stream.below(denominator)) / f64::from(denominator);
                fraction + stream.uniform(-1.0, 1.0) * 0.1_f64.powi(stream.below(12) as i32)
            };
            let Some(shift) = Shift::new(way) else { continue };
            found += 1;
            for error in [-1e-8, 0.0, 1e-8] {
                let weight = way - way.floor() + error;
                for level in 0..=255_u8 {
                    for (from, to) in [(0, level), (level, 0)] {
                        let sample = f64::from(from) + (f64::from(to) - f64::from(from)) * weight;
                        assert_eq!(shift.sample(from, to), sample as u8, "{way} {from} {to}");
                    }
                }
            }
        }
        assert!(found > 2500, "{found}");
        for way in [0.0, 0.5, -2.0, 7.0 / 200.0, 254.0 / 255.0, 1.0 - 1e-16, 1.0 / 3.0 + 1e-9] {
            assert!(Shift::new(way).is_none(), "{way}");
        }
    }
}
