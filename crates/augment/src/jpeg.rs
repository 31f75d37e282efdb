//! JPEG compression without the bit stream: entropy coding loses nothing, so only the transforms are run.
//!
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, which saves and loads with Pillow; ITU-T T.81; the integer
//! arithmetic is that of libjpeg ("islow" DCT, 4:2:0 chroma, triangle upsampling), so the result equals Pillow's
//! sample by sample.

use image::RgbImage;

use crate::filter::rebuild;
use crate::profile::PerProfile;

/// Quality of libjpeg per severity 1-5.
pub(crate) const QUALITY: PerProfile<[u32; 5]> =
    PerProfile { cifar: [80, 65, 58, 50, 40], imagenet: [25, 18, 15, 10, 7] };

/// Through a baseline JPEG of the given quality (1-100) and back.
pub(crate) fn compress(image: &RgbImage, quality: u32) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let [luma, blue, red] = split(image);
    let luma = luma.code(&scale(&LUMINANCE, quality));
    let chroma = scale(&CHROMINANCE, quality);
    let half = [blue, red].map(|plane| plane.halve().code(&chroma).double(width, height));
    let mut out = Vec::with_capacity(image.len());
    for y in 0..height {
        let rows = (luma.row(y), half[0].row(y), half[1].row(y));
        for ((&y, &cb), &cr) in rows.0.iter().zip(rows.1).zip(rows.2).take(width) {
            out.extend(rgb(i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128));
        }
    }
    rebuild(width, height, out)
}

/// One component. `stride` may exceed `width`: the rest of a row is padding.
struct Plane {
    width: usize,
    height: usize,
    stride: usize,
    samples: Vec<u8>,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.stride]
    }

    /// Halves both sides; 2x2 means are rounded down and up in turn along a row. Edges are extended first.
    fn halve(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let at = |row: &[u8], x: usize| u32::from(row[x.min(self.width - 1)]);
        let stride = width.next_multiple_of(8);
        let mut samples = Vec::with_capacity(stride * height);
        for y in 0..height {
            let (upper, lower) = (self.row(2 * y), self.row((2 * y + 1).min(self.height - 1)));
            samples.extend((0..stride).map(|x| {
                let sum = at(upper, 2 * x) + at(upper, 2 * x + 1) + at(lower, 2 * x) + at(lower, 2 * x + 1);
                ((sum + 1 + (x as u32 & 1)) >> 2) as u8
            }));
        }
        Self { width, height, stride, samples }
    }

    /// Forward transform, quantisation and the way back, in blocks of 8x8 with the edges extended.
    fn code(&self, table: &[i32; 64]) -> Self {
        let stride = self.width.next_multiple_of(8);
        let rows = self.height.next_multiple_of(8);
        let mut samples = vec![0; stride * rows];
        for top in (0..rows).step_by(8) {
            for left in (0..stride).step_by(8) {
                let mut block = [0; 64];
                for (y, line) in block.chunks_exact_mut(8).enumerate() {
                    let row = self.row((top + y).min(self.height - 1));
                    for (x, sample) in line.iter_mut().enumerate() {
                        *sample = i32::from(row[(left + x).min(self.stride - 1)]) - 128;
                    }
                }
                forward(&mut block);
                block.iter_mut().zip(table).for_each(|(value, &step)| *value = quantise(*value, step * 8) * step);
                inverse(&mut block);
                for (y, line) in block.chunks_exact(8).enumerate() {
                    let target = &mut samples[(top + y) * stride + left..][..8];
                    target.iter_mut().zip(line).for_each(|(level, &value)| *level = (value + 128).clamp(0, 255) as u8);
                }
            }
        }
        Self { width: self.width, height: self.height, stride, samples }
    }

    /// Doubles both sides to `width` by `height`: a triangle filter, or plain repetition for planes of one or two
    /// columns.
    fn double(&self, width: usize, height: usize) -> Self {
        let mut samples = Vec::with_capacity(width * height);
        let mut column = vec![0; self.width];
        for y in 0..height {
            let near = &self.row(y / 2)[..self.width];
            if self.width <= 2 {
                samples.extend((0..width).map(|x| near[x / 2]));
                continue;
            }
            let other = if y % 2 == 0 { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(self.height - 1) };
            for ((sum, &near), &far) in column.iter_mut().zip(near).zip(self.row(other)) {
                *sum = 3 * u32::from(near) + u32::from(far);
            }
            samples.extend((0..width).map(|x| {
                let centre = x / 2;
                let (side, bias) = if x % 2 == 0 { (centre.saturating_sub(1), 8) } else { (centre + 1, 7) };
                ((3 * column[centre] + column[side.min(self.width - 1)] + bias) >> 4) as u8
            }));
        }
        Self { width, height, stride: width, samples }
    }
}

/// To Y, Cb and Cr in 16-bit fixed point.
fn split(image: &RgbImage) -> [Plane; 3] {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut planes =
        [(); 3].map(|()| Plane { width, height, stride: width, samples: Vec::with_capacity(width * height) });
    for pixel in image.as_raw().chunks_exact(3) {
        let [r, g, b] = [0, 1, 2].map(|channel| i32::from(pixel[channel]));
        let chroma = (128 << 16) + 32767;
        planes[0].samples.push(((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u8);
        planes[1].samples.push(((-11059 * r - 21709 * g + 32768 * b + chroma) >> 16) as u8);
        planes[2].samples.push(((32768 * r - 27439 * g - 5329 * b + chroma) >> 16) as u8);
    }
    planes
}

fn rgb(y: i32, cb: i32, cr: i32) -> [u8; 3] {
    let red = y + ((91881 * cr + 32768) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + 32768) >> 16);
    let blue = y + ((116_130 * cb + 32768) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// Rounds to the nearest multiple, halves away from zero; the transform's output carries a factor of eight.
fn quantise(value: i32, step: i32) -> i32 {
    let magnitude = (value.abs() + step / 2) / step;
    if value < 0 { -magnitude } else { magnitude }
}

/// The quantisation table of a quality.
fn scale(base: &[i32; 64], quality: u32) -> [i32; 64] {
    let quality = quality.clamp(1, 100) as i32;
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    base.map(|entry| ((entry * percent + 50) / 100).clamp(1, 255))
}

#[rustfmt::skip]
const LUMINANCE: [i32; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
#[rustfmt::skip]
const CHROMINANCE: [i32; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// Fraction bits of the constants, and bits of extra precision kept between the passes.
const CONST_BITS: u32 = 13;
const PASS_BITS: u32 = 2;

fn descale(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

/// The odd half, shared by both directions: the rotations of Loeffler, Ligtenberg & Moschytz 1989.
fn odd_part([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let sum = (a + c + b + d) * 9633;
    let z1 = -(a + d) * 7373;
    let z2 = -(b + c) * 20995;
    let z3 = sum - (a + c) * 16069;
    let z4 = sum - (b + d) * 3196;
    [a * 2446 + z1 + z3, b * 16819 + z2 + z4, c * 25172 + z2 + z3, d * 12299 + z1 + z4]
}

/// Forward DCT in place; the result carries a factor of eight.
fn forward(block: &mut [i32; 64]) {
    for row in 0..8 {
        forward_line(block, row * 8, 1, |even| even << PASS_BITS, CONST_BITS - PASS_BITS);
    }
    for column in 0..8 {
        forward_line(block, column, 8, |even| descale(even, PASS_BITS), CONST_BITS + PASS_BITS);
    }
}

fn forward_line(block: &mut [i32; 64], start: usize, step: usize, even: impl Fn(i32) -> i32, bits: u32) {
    let at = |i: usize| block[start + i * step];
    let sum: [i32; 4] = std::array::from_fn(|i| at(i) + at(7 - i));
    let difference: [i32; 4] = std::array::from_fn(|i| at(i) - at(7 - i));
    let (t10, t13) = (sum[0] + sum[3], sum[0] - sum[3]);
    let (t11, t12) = (sum[1] + sum[2], sum[1] - sum[2]);
    let z1 = (t12 + t13) * 4433;
    let [d7, d5, d3, d1] = odd_part([difference[3], difference[2], difference[1], difference[0]]);
    let rotated = [d1, z1 + t13 * 6270, d3, 0, d5, z1 - t12 * 15137, d7];
    block[start] = even(t10 + t11);
    for (i, value) in rotated.into_iter().enumerate() {
        block[start + (i + 1) * step] = if i == 3 { even(t10 - t11) } else { descale(value, bits) };
    }
}

/// Inverse DCT in place.
fn inverse(block: &mut [i32; 64]) {
    for column in 0..8 {
        inverse_line(block, column, 8, CONST_BITS - PASS_BITS);
    }
    for row in 0..8 {
        inverse_line(block, row * 8, 1, CONST_BITS + PASS_BITS + 3);
    }
}

fn inverse_line(block: &mut [i32; 64], start: usize, step: usize, bits: u32) {
    let at = |i: usize| block[start + i * step];
    let z1 = (at(2) + at(6)) * 4433;
    let (t2, t3) = (z1 - at(6) * 15137, z1 + at(2) * 6270);
    let (t0, t1) = ((at(0) + at(4)) << CONST_BITS, (at(0) - at(4)) << CONST_BITS);
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];
    let mut odd = odd_part([at(7), at(5), at(3), at(1)]);
    odd.reverse();
    for (i, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        block[start + i * step] = descale(even + odd, bits);
        block[start + (7 - i) * step] = descale(even - odd, bits);
    }
}
