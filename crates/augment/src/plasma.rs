//! Clouds of colour by midpoint displacement on a square.

use image::{Rgb, RgbImage};
use robustify_rng::Stream;

/// A square picture of clouds of which hue, saturation and value vary.
pub(crate) fn picture(side: u32, stream: &mut Stream) -> RgbImage {
    let roughness = stream.uniform(0.45, 0.75);
    coloured(side, roughness, stream)
}

/// A cloudy background in the ranges of the authors of the fractals: a share of the hues, and moderate saturation and
/// value with some variation.
pub(crate) fn background(side: u32, stream: &mut Stream) -> RgbImage {
    coloured(side, 0.5, stream)
}

fn coloured(side: u32, roughness: f64, stream: &mut Stream) -> RgbImage {
    let (first, spread) = (stream.unit(), stream.uniform(0.25, 1.0));
    let saturation = (stream.uniform(0.4, 0.6), stream.uniform(0.1, 0.3));
    let value = (stream.uniform(0.4, 0.6), stream.uniform(0.3, 0.6));
    let fields = [(); 3].map(|()| field(side as usize, roughness, stream));
    let mut out = RgbImage::new(side, side);
    for (index, pixel) in out.pixels_mut().enumerate() {
        let at = |field: &[f32]| f64::from(field[index]);
        let around = |(centre, reach): (f64, f64), field: &[f32]| centre + reach * (2.0 * at(field) - 1.0);
        *pixel = hsv(first + spread * at(&fields[0]), around(saturation, &fields[1]), around(value, &fields[2]));
    }
    out
}

/// A square of diamond-square noise stretched to `[0, 1]`; every halving of the grid shrinks the displacement by
/// `roughness`.
pub(crate) fn field(side: usize, roughness: f64, stream: &mut Stream) -> Vec<f32> {
    let last = side.next_power_of_two().max(2);
    let stride = last + 1;
    let mut grid = vec![0.0_f64; stride * stride];
    for corner in [0, last, last * stride, last * stride + last] {
        grid[corner] = stream.uniform(-1.0, 1.0);
    }
    let (mut step, mut reach) = (last, 1.0);
    while step > 1 {
        reach *= roughness;
        displace(&mut grid, stride, step, reach, stream);
        step /= 2;
    }
    let kept = || (0..side).flat_map(|y| grid[y * stride..][..side].iter());
    let low = kept().copied().fold(f64::INFINITY, f64::min);
    let high = kept().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale = if high > low { 1.0 / (high - low) } else { 0.0 };
    kept().map(|value| ((value - low) * scale) as f32).collect()
}

/// Fills in the centres of squares of `step`, then the middles of their sides.
fn displace(grid: &mut [f64], stride: usize, step: usize, reach: f64, stream: &mut Stream) {
    let (half, last) = (step / 2, stride - 1);
    for y in (half..stride).step_by(step) {
        for x in (half..stride).step_by(step) {
            let at = |x: usize, y: usize| grid[y * stride + x];
            let sum = at(x - half, y - half) + at(x + half, y - half) + at(x - half, y + half) + at(x + half, y + half);
            grid[y * stride + x] = sum / 4.0 + stream.uniform(-reach, reach);
        }
    }
    for y in (0..stride).step_by(half) {
        let start = if (y / half).is_multiple_of(2) { half } else { 0 };
        for x in (start..stride).step_by(step) {
            let (mut sum, mut count) = (0.0, 0.0);
            let mut take = |x: usize, y: usize| {
                sum += grid[y * stride + x];
                count += 1.0;
            };
            if x >= half {
                take(x - half, y);
            }
            if x + half <= last {
                take(x + half, y);
            }
            if y >= half {
                take(x, y - half);
            }
            if y + half <= last {
                take(x, y + half);
            }
            grid[y * stride + x] = sum / count + stream.uniform(-reach, reach);
        }
    }
}

/// A colour of a hue that wraps at one, and of a saturation and a value that are clipped to `[0, 1]`.
pub(crate) fn hsv(hue: f64, saturation: f64, value: f64) -> Rgb<u8> {
    let (saturation, value) = (saturation.clamp(0.0, 1.0), value.clamp(0.0, 1.0));
    let hue = (hue - hue.floor()) * 6.0;
    let channel = |offset: f64| {
        let place = (hue + offset) % 6.0;
        let share = place.min(4.0 - place).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * share) + 0.5) as u8
    };
    Rgb([channel(5.0), channel(3.0), channel(1.0)])
}
