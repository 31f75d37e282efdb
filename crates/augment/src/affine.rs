//! Rotation, shear and translation with the arithmetic of Pillow: pixels are tested for being inside the image before
//! they are interpolated, and interpolated samples are truncated.

use crate::rgbx::{Pixel, Rgbx};
use crate::scratch::Scratch;
use crate::simd::vectorised;

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
    let mut taps =
        Taps { u: scratch.take_any(from.width), v: scratch.take_any(from.width), places: scratch.take_any(from.width) };
    for y in 0..from.height {
        let middle = y as f64 + 0.5;
        let line = Line { across: &across, down: &down, by: b * middle, ey: e * middle, matrix };
        // Both coordinates are monotone along a row, so what lies inside is one run.
        let inside = |&x: &usize| line.inside(x, from.width, from.height);
        let start = (0..from.width).find(inside).unwrap_or(from.width);
        let end = (start..from.width).rfind(inside).map_or(start, |last| last + 1);
        let row = to.row_mut(y);
        row[..start].fill([0; 4]);
        row[end..].fill([0; 4]);
        vectorised(
            #[inline(always)]
            || {
                taps.find(&line, start..end, from.stride());
                taps.sample(from, matrix, &mut row[start..end]);
            },
        );
    }
    to.extend();
    scratch.give(across);
    scratch.give(down);
    scratch.give(taps.u);
    scratch.give(taps.v);
    scratch.give(taps.places);
}

/// Moves `from` by whole pixels: the target (x, y) is the source (x + right, y + below); what comes in is black.
pub(crate) fn translate(from: &Rgbx, right: i64, below: i64, to: &mut Rgbx) {
    let (width, height) = (from.width as i64, from.height as i64);
    let start = (-right).clamp(0, width) as usize;
    let end = (width - right).clamp(0, width) as usize;
    for y in 0..from.height {
        let row = to.row_mut(y);
        let source = y as i64 + below;
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
    across: &'a [f64],
    down: &'a [f64],
    by: f64,
    ey: f64,
    matrix: Matrix,
}

impl Line<'_> {
    #[inline(always)]
    fn source(&self, across: f64, down: f64) -> (f64, f64) {
        (across + self.by + self.matrix[2], down + self.ey + self.matrix[5])
    }

    fn inside(&self, x: usize, width: usize, height: usize) -> bool {
        let (x, y) = self.source(self.across[x], self.down[x]);
        (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y)
    }
}

/// Where the pixels of a row take their samples from.
struct Taps {
    /// Weight of the right one of two columns.
    u: Vec<f64>,
    /// Weight of the lower one of two rows.
    v: Vec<f64>,
    /// Place of the upper left pixel among all pixels with the margin.
    places: Vec<u32>,
}

/// 2^52: added to a whole number below it, leaves that number in the low bits.
const WHOLE: f64 = 4_503_599_627_370_496.0;

impl Taps {
    #[inline(always)]
    fn find(&mut self, line: &Line<'_>, columns: std::ops::Range<usize>, stride: usize) {
        let count = columns.len();
        let (across, down) = (&line.across[columns.clone()], &line.down[columns]);
        let targets = self.u[..count].iter_mut().zip(&mut self.v[..count]).zip(&mut self.places[..count]);
        for (((u, v), place), (&across, &down)) in targets.zip(across.iter().zip(down)) {
            let (x, y) = line.source(across, down);
            let (x, y) = (x - 0.5, y - 0.5);
            let (left, top) = (x.floor(), y.floor());
            (*u, *v) = (x - left, y - top);
            *place = ((top + 1.0) * stride as f64 + (left + 1.0) + WHOLE).to_bits() as u32;
        }
    }

    /// Writes the interpolated pixels of a row.
    #[inline(always)]
    fn sample(&self, from: &Rgbx, matrix: Matrix, row: &mut [Pixel]) {
        let (pixels, stride) = (from.pixels(), from.stride());
        let (u, v, places) = (&self.u[..row.len()], &self.v[..row.len()], &self.places[..row.len()]);
        let wide = |pixel: Pixel| -> [f64; 4] { std::array::from_fn(|channel| f64::from(pixel[channel])) };
        match matrix {
            // Shears leave one coordinate alone, and a weight of zero drops out without a rounding.
            [_, _, _, 0.0, 1.0, 0.0] => {
                for ((target, &place), &u) in row.iter_mut().zip(places).zip(u) {
                    let pair = &pixels[place as usize..][..2];
                    *target = truncated(between(wide(pair[0]), wide(pair[1]), u));
                }
            }
            [1.0, 0.0, 0.0, ..] => {
                for ((target, &place), &v) in row.iter_mut().zip(places).zip(v) {
                    let pixels = &pixels[place as usize..][..stride + 1];
                    *target = truncated(between(wide(pixels[0]), wide(pixels[stride]), v));
                }
            }
            _ => {
                for (((target, &place), &u), &v) in row.iter_mut().zip(places).zip(u).zip(v) {
                    let pixels = &pixels[place as usize..][..stride + 2];
                    let upper = between(wide(pixels[0]), wide(pixels[1]), u);
                    let lower = between(wide(pixels[stride]), wide(pixels[stride + 1]), u);
                    *target = truncated(between(upper, lower, v));
                }
            }
        }
    }
}

#[inline(always)]
fn between(from: [f64; 4], to: [f64; 4], weight: f64) -> [f64; 4] {
    let mut out = [0.0; 4];
    for channel in 0..4 {
        out[channel] = from[channel] + (to[channel] - from[channel]) * weight;
    }
    out
}

/// Levels without their fractions; they are 0 to 255.
#[inline(always)]
fn truncated(levels: [f64; 4]) -> Pixel {
    let mut out = [0; 4];
    for channel in 0..4 {
        out[channel] = (levels[channel].floor() + WHOLE).to_bits() as u8;
    }
    out
}
