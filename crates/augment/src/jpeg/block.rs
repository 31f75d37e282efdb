//! Blocks of 8x8 samples through the transform, the quantiser and back.
//!
//! The arithmetic is that of libjpeg's integer transform ("islow"): Loeffler, Ligtenberg & Moschytz 1989, "Practical fast
//! 1-D DCT algorithms with 11 multiplications". Neighbouring blocks go through together, as the lanes of vectors, so that
//! lines and columns are transformed alike and nothing is transposed but bytes.

/// The divisors of a quantisation table and what they are multiplied by instead, in natural order.
pub(super) struct Quantiser {
    steps: [f32; 64],
    shares: [f32; 64],
}

impl Quantiser {
    pub fn new(table: &[i32; 64]) -> Self {
        // The transform's output carries a factor of eight.
        Self { steps: table.map(|step| step as f32), shares: table.map(|step| 1.0 / (8 * step) as f32) }
    }

    /// Rounds the coefficient of a place to the nearest multiple of its step, halves away from zero.
    #[inline(always)]
    fn round(&self, place: usize, value: i32) -> i32 {
        // 1.5 * 2^23: a sum with it is rounded to a whole number, which its bits then hold.
        const SHIFT: f32 = 12_582_912.0;
        // A quarter decides the halves; no other quotient is as near to a half as a quarter of a unit, by far more than
        // single precision errs.
        let value = value as f32;
        let quotient = (value + 0.25_f32.copysign(value)) * self.shares[place];
        let multiple = ((quotient + SHIFT) - SHIFT) * self.steps[place];
        ((multiple + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
    }
}

/// Blocks that go through together, one to a lane.
const LANES: usize = 16;

/// The samples or coefficients of blocks, by place in natural order and lane.
type Group = [[i32; LANES]; 64];

/// Codes and decodes a plane in place. Both sides are multiples of eight.
#[inline(always)]
pub(super) fn code(samples: &mut [u8], stride: usize, quantiser: &Quantiser) {
    let mut group = [[0; LANES]; 64];
    for strip in samples.chunks_exact_mut(8 * stride) {
        for left in (0..stride).step_by(8 * LANES) {
            let count = LANES.min((stride - left) / 8);
            load(strip, stride, left, count, &mut group);
            transform(&mut group);
            for (place, lanes) in group.iter_mut().enumerate() {
                for lane in lanes {
                    *lane = quantiser.round(place, *lane);
                }
            }
            for x in 0..8 {
                pass(
                    &mut group,
                    x,
                    8,
                    #[inline(always)]
                    |column| inverse(column, CONST_BITS - PASS_BITS),
                );
            }
            for y in 0..8 {
                pass(
                    &mut group,
                    8 * y,
                    1,
                    #[inline(always)]
                    |line| inverse(line, CONST_BITS + PASS_BITS + 3),
                );
            }
            store(&group, strip, stride, left, count);
        }
    }
}

/// The quantised coefficients of a plane, block by block in natural order. Both sides are multiples of eight.
pub(super) fn coefficients(samples: &[u8], stride: usize, table: &[i32; 64]) -> Vec<[i16; 64]> {
    let quantiser = Quantiser::new(table);
    let mut blocks = Vec::with_capacity(samples.len() / 64);
    let mut group = [[0; LANES]; 64];
    for strip in samples.chunks_exact(8 * stride) {
        for left in (0..stride).step_by(8 * LANES) {
            let count = LANES.min((stride - left) / 8);
            load(strip, stride, left, count, &mut group);
            transform(&mut group);
            let coefficient = |place: usize, lane: usize| quantiser.round(place, group[place][lane]) / table[place];
            blocks.extend(
                (0..count).map(|lane| -> [i16; 64] { std::array::from_fn(|place| coefficient(place, lane) as i16) }),
            );
        }
    }
    blocks
}

/// The forward transform; the result carries a factor of eight.
#[inline(always)]
fn transform(group: &mut Group) {
    for y in 0..8 {
        pass(
            group,
            8 * y,
            1,
            #[inline(always)]
            |line| {
                forward(
                    line,
                    #[inline(always)]
                    |even| even << PASS_BITS,
                    CONST_BITS - PASS_BITS,
                )
            },
        );
    }
    for x in 0..8 {
        pass(
            group,
            x,
            8,
            #[inline(always)]
            |column| {
                forward(
                    column,
                    #[inline(always)]
                    |even| descale(even, PASS_BITS),
                    CONST_BITS + PASS_BITS,
                )
            },
        );
    }
}

/// Transforms the eight places from `start` on, `step` apart, in every block.
#[inline(always)]
fn pass(group: &mut Group, start: usize, step: usize, work: impl Fn([i32; 8]) -> [i32; 8]) {
    // One loop over the lanes, with plain numbers inside: this is what the compiler makes vectors of.
    #[allow(clippy::needless_range_loop, reason = "eight rows are read and written at each lane")]
    for lane in 0..LANES {
        let values = work([
            group[start][lane],
            group[start + step][lane],
            group[start + 2 * step][lane],
            group[start + 3 * step][lane],
            group[start + 4 * step][lane],
            group[start + 5 * step][lane],
            group[start + 6 * step][lane],
            group[start + 7 * step][lane],
        ]);
        group[start][lane] = values[0];
        group[start + step][lane] = values[1];
        group[start + 2 * step][lane] = values[2];
        group[start + 3 * step][lane] = values[3];
        group[start + 4 * step][lane] = values[4];
        group[start + 5 * step][lane] = values[5];
        group[start + 6 * step][lane] = values[6];
        group[start + 7 * step][lane] = values[7];
    }
}

/// The samples of `count` blocks of a strip, about zero. The other lanes are zero.
#[inline(always)]
fn load(strip: &[u8], stride: usize, left: usize, count: usize, group: &mut Group) {
    if count < LANES {
        *group = [[0; LANES]; 64];
    }
    for (line, source) in group.chunks_exact_mut(8).zip(strip.chunks_exact(stride)) {
        let source = &source[left..left + 8 * count];
        for (half, source) in source.chunks(64).enumerate() {
            let mut blocks = [0; 8];
            for (block, source) in blocks.iter_mut().zip(source.chunks_exact(8)) {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(source);
                *block = u64::from_le_bytes(bytes);
            }
            for (lanes, place) in line.iter_mut().zip(transpose_bytes(blocks)) {
                for (lane, byte) in lanes[8 * half..8 * half + 8].iter_mut().zip(place.to_le_bytes()) {
                    *lane = i32::from(byte) - 128;
                }
            }
        }
    }
}

/// The way back of [`load`], clipped.
#[inline(always)]
fn store(group: &Group, strip: &mut [u8], stride: usize, left: usize, count: usize) {
    for (line, target) in group.chunks_exact(8).zip(strip.chunks_exact_mut(stride)) {
        let target = &mut target[left..left + 8 * count];
        for (half, target) in target.chunks_mut(64).enumerate() {
            let mut places = [0; 8];
            for (place, lanes) in places.iter_mut().zip(line) {
                let mut bytes = [0; 8];
                for (byte, lane) in bytes.iter_mut().zip(&lanes[8 * half..8 * half + 8]) {
                    *byte = (lane + 128).clamp(0, 255) as u8;
                }
                *place = u64::from_le_bytes(bytes);
            }
            for (target, block) in target.chunks_exact_mut(8).zip(transpose_bytes(places)) {
                target.copy_from_slice(&block.to_le_bytes());
            }
        }
    }
}

/// Fraction bits of the constants, and bits of extra precision kept between the passes.
const CONST_BITS: u32 = 13;
const PASS_BITS: u32 = 2;

/// Drops fraction bits, rounding halves up.
#[inline(always)]
fn descale(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

/// Forward transform of a line or column; over both passes the result takes a factor of eight.
#[inline(always)]
fn forward([a, b, c, d, e, f, g, h]: [i32; 8], even: impl Fn(i32) -> i32, bits: u32) -> [i32; 8] {
    let (s0, s1, s2, s3) = (a + h, b + g, c + f, d + e);
    let (t10, t13, t11, t12) = (s0 + s3, s0 - s3, s1 + s2, s1 - s2);
    let z1 = (t12 + t13) * 4433;
    let [d7, d5, d3, d1] = odd_part([d - e, c - f, b - g, a - h]);
    [
        even(t10 + t11),
        descale(d1, bits),
        descale(z1 + t13 * 6270, bits),
        descale(d3, bits),
        even(t10 - t11),
        descale(d5, bits),
        descale(z1 - t12 * 15137, bits),
        descale(d7, bits),
    ]
}

/// Inverse transform of a line or column.
#[inline(always)]
fn inverse([a, b, c, d, e, f, g, h]: [i32; 8], bits: u32) -> [i32; 8] {
    let z1 = (c + g) * 4433;
    let (t2, t3) = (z1 - g * 15137, z1 + c * 6270);
    let (t0, t1) = ((a + e) << CONST_BITS, (a - e) << CONST_BITS);
    let (e0, e1, e2, e3) = (t0 + t3, t1 + t2, t1 - t2, t0 - t3);
    let [o3, o2, o1, o0] = odd_part([h, f, d, b]);
    [
        descale(e0 + o0, bits),
        descale(e1 + o1, bits),
        descale(e2 + o2, bits),
        descale(e3 + o3, bits),
        descale(e3 - o3, bits),
        descale(e2 - o2, bits),
        descale(e1 - o1, bits),
        descale(e0 - o0, bits),
    ]
}

/// The odd half, shared by both directions.
#[inline(always)]
fn odd_part([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let sum = (a + c + b + d) * 9633;
    let z1 = -((a + d) * 7373);
    let z2 = -((b + c) * 20995);
    let z3 = sum - (a + c) * 16069;
    let z4 = sum - (b + d) * 3196;
    [a * 2446 + z1 + z3, b * 16819 + z2 + z4, c * 25172 + z2 + z3, d * 12299 + z1 + z4]
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
                assert_eq!(quantiser.round(24, value), want, "{value} by {step}");
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
