//! Bilinear samples in single precision, with the doubtful ones computed as Pillow does.
//!
//! Pillow interpolates in double precision and truncates. In single precision, weights are off by up to 2^-25, and each
//! product, difference and sum of numbers up to 255 by up to 2^-17, in all by less than 6e-5 ([`MARGIN`]). That matters
//! only close to a whole number, one sample in some thousand, but where four neighbours are alike: there both are exact.

use super::Line;
use crate::rgbx::{Pixel, Rgbx};
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Samples this close to a whole number are doubtful.
const MARGIN: f32 = 1e-4;

/// What the pixels of a row are interpolated from.
pub(super) struct Taps {
    /// Weight of the right one of two columns.
    u: Vec<f32>,
    /// Weight of the lower one of two rows.
    v: Vec<f32>,
    /// Place of the upper left pixel among all pixels with the margin.
    places: Vec<u32>,
    /// The upper two pixels, and the lower two.
    upper: Vec<u8>,
    lower: Vec<u8>,
    /// Not zero for pixels with a doubtful sample.
    doubts: Vec<u32>,
}

impl Taps {
    /// For rows up to `width`. [`Taps::give`] it back.
    pub fn take(width: usize, scratch: &mut Scratch) -> Self {
        Self {
            u: scratch.take_any(width),
            v: scratch.take_any(width),
            places: scratch.take_any(width),
            upper: scratch.take_any(8 * width),
            lower: scratch.take_any(8 * width),
            doubts: scratch.take_any(width),
        }
    }

    /// Returns the buffers.
    pub fn give(self, scratch: &mut Scratch) {
        scratch.give(self.u);
        scratch.give(self.v);
        scratch.give(self.places);
        scratch.give(self.upper);
        scratch.give(self.lower);
        scratch.give(self.doubts);
    }

    /// Writes the columns from `start` of a row.
    pub fn write(&mut self, from: &Rgbx, line: &Line<'_>, start: usize, row: &mut [Pixel]) {
        let doubtful = vectorised(
            #[inline(always)]
            || {
                self.find(from, line, start, row.len());
                self.collect(from, row.len());
                self.interpolate(row)
            },
        );
        if doubtful {
            for (x, (target, _)) in row.iter_mut().zip(&self.doubts).enumerate().filter(|(_, (_, doubt))| **doubt != 0)
            {
                *target = line.pixel(from, start + x);
            }
        }
    }

    #[inline(always)]
    fn find(&mut self, from: &Rgbx, line: &Line<'_>, start: usize, count: usize) {
        let stride = from.stride() as f64;
        let (across, down) = (&line.across[start..][..count], &line.down[start..][..count]);
        let targets = self.u[..count].iter_mut().zip(&mut self.v[..count]).zip(&mut self.places[..count]);
        for (((u, v), place), (&across, &down)) in targets.zip(across.iter().zip(down)) {
            let (x, y) = line.source(across, down);
            let (x, y) = (x - 0.5, y - 0.5);
            let (left, top) = (x.floor(), y.floor());
            (*u, *v) = ((x - left) as f32, (y - top) as f32);
            /// 2^52: added to a whole number below it, leaves that number in the low bits.
            const WHOLE: f64 = 4_503_599_627_370_496.0;
            *place = ((top + 1.0) * stride + (left + 1.0) + WHOLE).to_bits() as u32;
        }
    }

    #[inline(always)]
    fn collect(&mut self, from: &Rgbx, count: usize) {
        let (pixels, stride) = (from.pixels(), from.stride());
        let (upper, lower) = (pairs_mut(&mut self.upper), pairs_mut(&mut self.lower));
        for ((upper, lower), &place) in upper.iter_mut().zip(lower).zip(&self.places[..count]) {
            let square = &pixels[place as usize..][..stride + 2];
            upper.copy_from_slice(&square[..2]);
            lower.copy_from_slice(&square[stride..]);
        }
    }

    /// Writes a row and tells whether samples of it are doubtful.
    #[inline(always)]
    fn interpolate(&mut self, row: &mut [Pixel]) -> bool {
        let count = row.len();
        let (u, v, doubts) = (&self.u[..count], &self.v[..count], &mut self.doubts[..count]);
        let (upper, lower) = (&pairs(&self.upper)[..count], &pairs(&self.lower)[..count]);
        let mut any = 0;
        for at in 0..count {
            let ([a, b], [c, d]) = (&upper[at], &lower[at]);
            let [a, b, c, d] = [a, b, c, d].map(|pixel| u32::from_le_bytes(*pixel));
            let (mut above, mut below) = (0, 0);
            for shift in [0, 8, 16] {
                let level = |pixel: u32| f32::from((pixel >> shift) as u8);
                let top = between(level(a), level(b), u[at]);
                let bottom = between(level(c), level(d), u[at]);
                let sample = between(top, bottom, v[at]);
                above = add(above, whole(sample, MARGIN), shift);
                below = add(below, whole(sample, -MARGIN), shift);
            }
            row[at] = above.to_le_bytes();
            // The bytes of the difference are ones where the sample is close to a whole number.
            let doubt = (above.wrapping_sub(below) << 7) & differing((a ^ b) | (c ^ d) | (a ^ c));
            doubts[at] = doubt;
            any |= doubt;
        }
        any != 0
    }
}

fn pairs(bytes: &[u8]) -> &[[Pixel; 2]] {
    bytes.as_chunks().0.as_chunks().0
}

fn pairs_mut(bytes: &mut [u8]) -> &mut [[Pixel; 2]] {
    bytes.as_chunks_mut().0.as_chunks_mut().0
}

#[inline(always)]
fn between(from: f32, to: f32, weight: f32) -> f32 {
    from + (to - from) * weight
}

/// The whole part of a sum that is not whole, from -1 to 255, in the low bits.
#[inline(always)]
fn whole(sample: f32, more: f32) -> u32 {
    /// 1.5 * 2^23: added to a small number, leaves the nearest whole one in the low bits.
    const WHOLE: f32 = 12_582_912.0;
    (sample + (more - 0.5) + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits())
}

#[inline(always)]
fn add(pixel: u32, level: u32, shift: u32) -> u32 {
    pixel.wrapping_add(level << shift)
}

/// Sets the highest bit of the bytes that are not zero, at least.
#[inline(always)]
fn differing(bytes: u32) -> u32 {
    const LOW: u32 = 0x7f7f_7f7f;
    ((bytes & LOW) + LOW) | bytes
}
