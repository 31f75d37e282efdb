//! Blocks of 8x8 samples through the transform, the quantiser and back.
//!
//! The arithmetic is that of libjpeg's integer transform ("islow"): Loeffler, Ligtenberg & Moschytz 1989, "Practical fast
//! 1-D DCT algorithms with 11 multiplications". Eight lines of a block are transformed at once, as the lanes of vectors.

use std::ops::{Add, Mul, Neg, Shl, Sub};

/// The divisors of a quantisation table and what they are multiplied by instead.
pub(super) struct Quantiser {
    steps: [[f32; 8]; 8],
    shares: [[f32; 8]; 8],
}

impl Quantiser {
    pub fn new(table: &[i32; 64]) -> Self {
        let steps = std::array::from_fn(|y| std::array::from_fn(|x| table[8 * y + x] as f32));
        // The transform's output carries a factor of eight.
        let shares = std::array::from_fn(|y| std::array::from_fn(|x| 1.0 / (8 * table[8 * y + x]) as f32));
        Self { steps, shares }
    }

    /// Rounds to the nearest multiple of the step, halves away from zero.
    #[inline(always)]
    fn round(&self, row: usize, values: Lanes) -> Lanes {
        // 1.5 * 2^23: a sum with it is rounded to a whole number, which its bits then hold.
        const SHIFT: f32 = 12_582_912.0;
        let mut out = [0; 8];
        for (((out, value), step), share) in out.iter_mut().zip(values.0).zip(self.steps[row]).zip(self.shares[row]) {
            // A quarter decides the halves; no other quotient is as near to a half as a quarter of a unit, by far more
            // than single precision errs.
            let value = value as f32;
            let quotient = (value + 0.25_f32.copysign(value)) * share;
            let multiple = ((quotient + SHIFT) - SHIFT) * step;
            *out = ((multiple + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
        }
        Lanes(out)
    }
}

/// Blocks that go through together. Every stage runs over all of them before the next begins: fused, the stages on rows
/// and those on columns would not both be compiled to vectors.
const GROUP: usize = 8;

/// Eight vectors of eight: the rows of a block, or its columns.
type Block = [Lanes; 8];

/// Codes and decodes a plane in place. Both sides are multiples of eight.
#[inline(always)]
pub(super) fn code(samples: &mut [u8], stride: usize, quantiser: &Quantiser) {
    let (mut columns, mut rows) = ([[Lanes([0; 8]); 8]; GROUP], [[Lanes([0; 8]); 8]; GROUP]);
    for strip in samples.chunks_exact_mut(8 * stride) {
        for left in (0..stride).step_by(8 * GROUP) {
            let count = GROUP.min((stride - left) / 8);
            let (columns, rows) = (&mut columns[..count], &mut rows[..count]);
            for (block, left) in columns.iter_mut().zip((left..).step_by(8)) {
                *block = forward(load(strip, stride, left), |even| even << PASS_BITS, CONST_BITS - PASS_BITS);
            }
            transpose(columns, rows);
            for block in rows.iter_mut() {
                let all = forward(*block, |even| even.descale(PASS_BITS), CONST_BITS + PASS_BITS);
                let mut kept = all;
                for (row, (kept, value)) in kept.iter_mut().zip(all).enumerate() {
                    *kept = quantiser.round(row, value);
                }
                *block = inverse(kept, CONST_BITS - PASS_BITS);
            }
            transpose(rows, columns);
            for (block, left) in columns.iter().zip((left..).step_by(8)) {
                store(inverse(*block, CONST_BITS + PASS_BITS + 3), strip, stride, left);
            }
        }
    }
}

/// The quantised coefficients of a plane, block by block in natural order. Both sides are multiples of eight.
pub(super) fn coefficients(samples: &[u8], stride: usize, table: &[i32; 64]) -> Vec<[i16; 64]> {
    let quantiser = Quantiser::new(table);
    let mut blocks = Vec::with_capacity(samples.len() / 64);
    for strip in samples.chunks_exact(8 * stride) {
        for left in (0..stride).step_by(8) {
            let columns = forward(load(strip, stride, left), |even| even << PASS_BITS, CONST_BITS - PASS_BITS);
            let mut rows = [[Lanes([0; 8]); 8]];
            transpose(&[columns], &mut rows);
            let rows = forward(rows[0], |even| even.descale(PASS_BITS), CONST_BITS + PASS_BITS);
            blocks.push(std::array::from_fn(|i| (quantiser.round(i / 8, rows[i / 8]).0[i % 8] / table[i]) as i16));
        }
    }
    blocks
}

/// The columns of a block of a strip, about zero.
#[inline(always)]
fn load(strip: &[u8], stride: usize, left: usize) -> Block {
    let mut rows = [0; 8];
    for (row, line) in rows.iter_mut().zip(strip.chunks_exact(stride)) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&line[left..left + 8]);
        *row = u64::from_le_bytes(bytes);
    }
    let mut block = [Lanes([0; 8]); 8];
    for (vector, column) in block.iter_mut().zip(transpose_bytes(rows)) {
        for (lane, byte) in vector.0.iter_mut().zip(column.to_le_bytes()) {
            *lane = i32::from(byte) - 128;
        }
    }
    block
}

/// The way back of [`load`], clipped.
#[inline(always)]
fn store(columns: Block, strip: &mut [u8], stride: usize, left: usize) {
    let mut packed = [0; 8];
    for (packed, column) in packed.iter_mut().zip(columns) {
        let mut bytes = [0; 8];
        for (byte, lane) in bytes.iter_mut().zip(column.0) {
            *byte = (lane + 128).clamp(0, 255) as u8;
        }
        *packed = u64::from_le_bytes(bytes);
    }
    let rows = transpose_bytes(packed);
    for (row, line) in rows.iter().zip(strip.chunks_exact_mut(stride)) {
        line[left..left + 8].copy_from_slice(&row.to_le_bytes());
    }
}

/// Fraction bits of the constants, and bits of extra precision kept between the passes.
const CONST_BITS: u32 = 13;
const PASS_BITS: u32 = 2;

/// Forward transform along the vectors; over both passes the result takes a factor of eight.
#[inline(always)]
fn forward([a, b, c, d, e, f, g, h]: [Lanes; 8], even: impl Fn(Lanes) -> Lanes, bits: u32) -> [Lanes; 8] {
    let (s0, s1, s2, s3) = (a + h, b + g, c + f, d + e);
    let (t10, t13, t11, t12) = (s0 + s3, s0 - s3, s1 + s2, s1 - s2);
    let z1 = (t12 + t13) * 4433;
    let [d7, d5, d3, d1] = odd_part([d - e, c - f, b - g, a - h]);
    [
        even(t10 + t11),
        d1.descale(bits),
        (z1 + t13 * 6270).descale(bits),
        d3.descale(bits),
        even(t10 - t11),
        d5.descale(bits),
        (z1 - t12 * 15137).descale(bits),
        d7.descale(bits),
    ]
}

/// Inverse transform along the vectors.
#[inline(always)]
fn inverse([a, b, c, d, e, f, g, h]: [Lanes; 8], bits: u32) -> [Lanes; 8] {
    let z1 = (c + g) * 4433;
    let (t2, t3) = (z1 - g * 15137, z1 + c * 6270);
    let (t0, t1) = ((a + e) << CONST_BITS, (a - e) << CONST_BITS);
    let (e0, e1, e2, e3) = (t0 + t3, t1 + t2, t1 - t2, t0 - t3);
    let [o3, o2, o1, o0] = odd_part([h, f, d, b]);
    let mut out = [e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0];
    for value in &mut out {
        *value = value.descale(bits);
    }
    out
}

/// The odd half, shared by both directions.
#[inline(always)]
fn odd_part([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
    let sum = (a + c + b + d) * 9633;
    let z1 = -((a + d) * 7373);
    let z2 = -((b + c) * 20995);
    let z3 = sum - (a + c) * 16069;
    let z4 = sum - (b + d) * 3196;
    [a * 2446 + z1 + z3, b * 16819 + z2 + z4, c * 25172 + z2 + z3, d * 12299 + z1 + z4]
}

/// Exchanges vectors and lanes.
#[inline(always)]
fn transpose(from: &[Block], to: &mut [Block]) {
    for (from, to) in from.iter().zip(to) {
        for (i, vector) in to.iter_mut().enumerate() {
            for (lane, source) in vector.0.iter_mut().zip(from) {
                *lane = source.0[i];
            }
        }
    }
}

/// Exchanges rows and bytes, by exchanging ever smaller squares.
#[inline(always)]
fn transpose_bytes(mut rows: [u64; 8]) -> [u64; 8] {
    for (distance, mask) in [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)] {
        for upper in 0..8 {
            if upper & distance == 0 {
                let lower = upper + distance;
                let swap = ((rows[upper] >> (8 * distance)) ^ rows[lower]) & mask;
                rows[lower] ^= swap;
                rows[upper] ^= swap << (8 * distance);
            }
        }
    }
    rows
}

/// Eight numbers side by side.
#[derive(Clone, Copy)]
struct Lanes([i32; 8]);

impl Lanes {
    #[inline(always)]
    fn map(mut self, work: impl Fn(i32) -> i32) -> Self {
        for lane in &mut self.0 {
            *lane = work(*lane);
        }
        self
    }

    #[inline(always)]
    fn with(mut self, other: Self, work: impl Fn(i32, i32) -> i32) -> Self {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane = work(*lane, other);
        }
        self
    }

    /// Drops fraction bits, rounding halves up.
    #[inline(always)]
    fn descale(self, bits: u32) -> Self {
        self.map(|lane| (lane + (1 << (bits - 1))) >> bits)
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}

impl Neg for Lanes {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|lane| -lane)
    }
}

impl Mul<i32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: i32) -> Self {
        self.map(|lane| lane * factor)
    }
}

impl Shl<u32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        self.map(|lane| lane << bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_exact() {
        for step in [1, 2, 3, 7, 16, 99, 254, 255] {
            let quantiser = Quantiser::new(&[step; 64]);
            for value in -20_000..20_000 {
                let divisor = 8 * step;
                let magnitude = (i32::abs(value) + divisor / 2) / divisor * step;
                let want = if value < 0 { -magnitude } else { magnitude };
                assert_eq!(quantiser.round(3, Lanes([value; 8])).0, [want; 8], "{value} by {step}");
            }
        }
    }

    #[test]
    fn bytes_are_transposed() {
        let rows = std::array::from_fn(|y| u64::from_le_bytes(std::array::from_fn(|x| (8 * y + x) as u8)));
        for (x, column) in transpose_bytes(rows).into_iter().enumerate() {
            assert_eq!(column.to_le_bytes(), std::array::from_fn(|y| (8 * y + x) as u8));
        }
    }
}
