//! Shears: all pixels of a row, or of a column, move by the same way and have the same weights.
//!
//! Between neighbours `p` and `p + d` the sample at the weight `u` is `p + floor(d u)`, which changes only where `u` passes
//! a fraction `k / d`. Fractions with denominators up to 255 lie at least 1 / (255 * 254) apart, which is more than 2^-16.
//! So there is a weight of sixteen bits on the same side of all of them as `u`, and it gives the samples that `u` gives.
//! Only where `u` is such a fraction, but for the rounding of coordinates, samples are computed as Pillow does.

use std::ops::Range;

use super::Line;
use crate::rgbx::{Pixel, Rgbx};
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Longest side of the images that this serves: below it, rounding moves no weight by 2^-26.
pub(super) const LONGEST: usize = 1 << 24;

/// The way that pixels move, in place of one whose rounding decides about no sample.
#[derive(Clone, Copy)]
pub(super) struct Shift {
    whole: isize,
    /// Of the second of two neighbours, out of 2^16.
    weight: u16,
}

impl Shift {
    /// None if rounding may decide about samples.
    pub fn new(way: f64) -> Option<Self> {
        vectorised(
            #[inline(always)]
            || Self::find(way),
        )
    }

    #[inline(always)]
    fn find(way: f64) -> Option<Self> {
        let whole = way.floor();
        let fine = ((way - whole) * f64::from(1 << 24)) as u32;
        let nearest = (fine + 128) >> 8;
        let other = if nearest > fine >> 8 { nearest.saturating_sub(1) } else { nearest + 1 };
        // One more on both sides is room for the rounding.
        let same = |weight: u32| !fraction_within((weight << 8).min(fine.max(1) - 1), (weight << 8).max(fine + 2));
        let weight = if same(nearest) {
            nearest
        } else if same(other) {
            other
        } else {
            return None;
        };
        Some(Self { whole: whole as isize, weight: weight as u16 })
    }

    /// The sample between two levels.
    #[cfg(test)]
    pub fn sample(self, from: u8, to: u8) -> u8 {
        between(from, to, self.weight as i16)
    }

    /// Writes a part of a row that is `place` among the pixels of `from` without the shift.
    pub fn along_row(self, from: &Rgbx, place: usize, row: &mut [Pixel]) {
        let pixels = &from.pixels()[place.wrapping_add_signed(self.whole)..][..row.len() + 1];
        let weight = self.weight as i16;
        let pairs = pixels.as_flattened().iter().zip(pixels[1..].as_flattened());
        vectorised(
            #[inline(always)]
            || {
                for (target, (&left, &right)) in row.as_flattened_mut().iter_mut().zip(pairs.clone()) {
                    *target = between(left, right, weight);
                }
            },
        );
    }
}

/// Whether a fraction with a denominator up to 255 lies between two numbers out of 2^24, both included.
#[inline(always)]
fn fraction_within(low: u32, high: u32) -> bool {
    let mut differing = 0;
    for denominator in 1..256_u32 {
        differing |= (denominator * low).wrapping_sub(1) ^ (denominator * high);
    }
    differing >> 24 != 0
}

/// `from + (to - from) * weight`, rounded down. The weight is out of 2^16; those from a half up are less by one.
#[inline(always)]
fn between(from: u8, to: u8, weight: i16) -> u8 {
    let difference = i16::from(to) - i16::from(from);
    let step = ((i32::from(difference) * i32::from(weight)) >> 16) as i16;
    // Nothing is to clamp; it keeps the compiler at sixteen bits, for which there is an instruction.
    (i16::from(from) + step + (difference & (weight >> 15))).clamp(0, 255) as u8
}

/// The shifts of all columns.
pub(super) struct Columns {
    /// Weights of the lower one of two rows, as [`between`] takes them, for each sample of a row.
    weights: Vec<i16>,
    /// Neighbouring columns that move by as many whole pixels.
    runs: Vec<[usize; 2]>,
    /// Columns where rounding decides.
    doubtful: Vec<usize>,
    /// The two rows that a row is mixed from.
    upper: Vec<u8>,
    lower: Vec<u8>,
}

impl Columns {
    /// For ways down; none if rounding decides in many columns.
    pub fn new(ways: &[f64], scratch: &mut Scratch) -> Option<Self> {
        let mut columns = Self {
            weights: scratch.take_empty(),
            runs: scratch.take_empty(),
            doubtful: scratch.take_empty(),
            upper: scratch.take_any(4 * ways.len()),
            lower: scratch.take_any(4 * ways.len()),
        };
        for (x, &way) in ways.iter().enumerate() {
            let shift = Shift::new(way);
            if shift.is_none() {
                columns.doubtful.push(x);
            }
            columns.weights.extend([shift.map_or(0, |shift| shift.weight as i16); 4]);
            match columns.runs.last_mut() {
                Some([first, end]) if ways[*first].floor() == way.floor() => *end = x + 1,
                _ => columns.runs.push([x, x + 1]),
            }
        }
        if columns.doubtful.len() * 16 <= ways.len() {
            return Some(columns);
        }
        columns.give(scratch);
        None
    }

    /// Returns the buffers.
    pub fn give(self, scratch: &mut Scratch) {
        scratch.give(self.weights);
        scratch.give(self.runs);
        scratch.give(self.doubtful);
        scratch.give(self.upper);
        scratch.give(self.lower);
    }

    /// Writes `columns` of a row.
    pub fn across_row(&mut self, from: &Rgbx, line: &Line<'_>, columns: Range<usize>, row: &mut [Pixel]) {
        let (upper, lower) = (self.upper.as_chunks_mut::<4>().0, self.lower.as_chunks_mut::<4>().0);
        for &[first, end] in &self.runs {
            let part = first.max(columns.start)..end.min(columns.end);
            if part.is_empty() {
                continue;
            }
            let below = line.down[first].floor() as isize * from.stride() as isize;
            let place = from.place(part.start, line.y).wrapping_add_signed(below);
            upper[part.clone()].copy_from_slice(&from.pixels()[place..][..part.len()]);
            lower[part.clone()].copy_from_slice(&from.pixels()[place + from.stride()..][..part.len()]);
        }
        let samples = 4 * columns.start..4 * columns.end;
        let pairs = self.upper[samples.clone()].iter().zip(&self.lower[samples.clone()]);
        let sources = pairs.zip(&self.weights[samples]);
        vectorised(
            #[inline(always)]
            || {
                for (target, ((&upper, &lower), &weight)) in row.as_flattened_mut().iter_mut().zip(sources.clone()) {
                    *target = between(upper, lower, weight);
                }
            },
        );
        for &x in self.doubtful.iter().filter(|x| columns.contains(x)) {
            row[x - columns.start] = line.pixel(from, x);
        }
    }
}
