//! The pixels of generated shifts: landscapes, patterns, outlines and halftones. Everything is drawn from a stream of random numbers
//! that belongs to one picture; sizes are in proportion to it.

use image::{Rgb, RgbImage};
use robustify_rng::Stream;

/// Levels up to which a picture's ground is black.
const BLACK: u8 = 16;

/// What a picture shows, before a background: whatever black ground can be reached from the border is replaced.
pub(super) fn before(image: &RgbImage, background: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let is_black = |x: u32, y: u32| image.get_pixel(x, y).0.iter().all(|&level| level <= BLACK);
    let mut out = image.clone();
    let mut is_ground = vec![false; (width * height) as usize];
    let border =
        (0..width).flat_map(|x| [(x, 0), (x, height - 1)]).chain((0..height).flat_map(|y| [(0, y), (width - 1, y)]));
    let mut open: Vec<(u32, u32)> = border.collect();
    while let Some((x, y)) = open.pop() {
        let place = (y * width + x) as usize;
        if is_ground[place] || !is_black(x, y) {
            continue;
        }
        is_ground[place] = true;
        out.put_pixel(x, y, *background.get_pixel(x, y));
        let near = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
        open.extend(near.into_iter().filter(|&(x, y)| x < width && y < height));
    }
    out
}

/// Sky, two ranges of hills, and ground, each with a colour of its own and grain.
pub(super) fn landscape((width, height): (u32, u32), stream: &mut Stream) -> RgbImage {
    let sky = [stream.uniform(90.0, 170.0), stream.uniform(140.0, 200.0), stream.uniform(190.0, 250.0)];
    let ground = [stream.uniform(60.0, 150.0), stream.uniform(90.0, 160.0), stream.uniform(30.0, 90.0)];
    let hills = [stream.uniform(40.0, 110.0), stream.uniform(70.0, 120.0), stream.uniform(60.0, 120.0)];
    let horizon = stream.uniform(0.45, 0.7);
    let waves: Vec<[f64; 3]> = (1..=3)
        .map(|wave| [0.12 / f64::from(wave), stream.uniform(0.0, 6.3), f64::from(wave) * stream.uniform(3.0, 6.0)])
        .collect();
    let grain = Noise::new(stream, 12);
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let ridge =
            horizon - 0.15 - waves.iter().map(|[size, phase, rate]| size * (rate * x + phase).sin()).sum::<f64>() / 2.0;
        let (colour, rough) = match y {
            y if y >= horizon => (ground, 45.0),
            y if y >= ridge => (hills, 25.0),
            // Paler towards the horizon.
            y => (sky.map(|level| level + 60.0 * y), 8.0),
        };
        let shade = rough * (grain.at(x, y) - 0.5);
        Rgb(colour.map(|level| (level + shade).clamp(0.0, 255.0) as u8))
    })
}

/// Stripes, checks or blotches in two colours.
pub(super) fn pattern((width, height): (u32, u32), stream: &mut Stream) -> RgbImage {
    let mut colour = || [(); 3].map(|()| stream.uniform(30.0, 240.0));
    let colours = [colour(), colour()];
    let (kind, angle, rate) = (stream.below(3), stream.uniform(0.0, 3.15), stream.uniform(12.0, 30.0));
    let noise = Noise::new(stream, 7);
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let [along, across] =
            [x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()].map(|at| (rate * at).sin());
        let is_first = match kind {
            0 => along > 0.0,
            1 => along * across > 0.0,
            _ => noise.at(x, y) > 0.5,
        };
        Rgb(colours[usize::from(is_first)].map(|level| level as u8))
    })
}

/// Outlines, dark on paper: one less the length of the gradient by Sobel's filters.
pub(super) fn edges(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let at = |x: i64, y: i64| {
        light(image, x.clamp(0, i64::from(width) - 1) as u32, y.clamp(0, i64::from(height) - 1) as u32)
    };
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (i64::from(x), i64::from(y));
        let along = |side: i64| at(x + side, y - 1) + 2.0 * at(x + side, y) + at(x + side, y + 1);
        let down = |side: i64| at(x - 1, y + side) + 2.0 * at(x, y + side) + at(x + 1, y + side);
        let slope = (along(1) - along(-1)).hypot(down(1) - down(-1)) / 2.0;
        Rgb([(255.0 - slope).clamp(0.0, 255.0) as u8; 3])
    })
}

/// Dots of one ink on paper, on a screen at 45 degrees, ten across a picture; where the picture is brighter they are larger.
pub(super) fn halftone(image: &RgbImage, stream: &mut Stream) -> RgbImage {
    let ink = [(); 3].map(|()| stream.uniform(0.0, 110.0) as u8);
    let paper = [(); 3].map(|()| stream.uniform(200.0, 255.0) as u8);
    let rate = std::f64::consts::TAU * 10.0 / f64::from(image.width().max(1)) / std::f64::consts::SQRT_2;
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (along, across) = (rate * (f64::from(x) + f64::from(y)), rate * (f64::from(x) - f64::from(y)));
        let screen = 127.5 * (1.0 + 0.95 * along.cos() * across.cos());
        Rgb(if light(image, x, y) > screen { ink } else { paper })
    })
}

/// Luma of a pixel, 0 to 255 (ITU-R BT.601).
fn light(image: &RgbImage, x: u32, y: u32) -> f64 {
    let [red, green, blue] = image.get_pixel(x, y).0.map(f64::from);
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Random values on a grid, and what lies between them.
struct Noise {
    side: usize,
    values: Vec<f64>,
}

impl Noise {
    fn new(stream: &mut Stream, side: usize) -> Self {
        Self { side, values: (0..side * side).map(|_| stream.unit()).collect() }
    }

    /// The value at a place, both coordinates from 0 to 1, between 0 and 1.
    fn at(&self, x: f64, y: f64) -> f64 {
        let last = (self.side - 1) as f64;
        let (x, y) = (x.clamp(0.0, 1.0) * last, y.clamp(0.0, 1.0) * last);
        let (left, top) = ((x as usize).min(self.side - 2), (y as usize).min(self.side - 2));
        let (right, down) = (x - left as f64, y - top as f64);
        let of = |column: usize, row: usize| self.values[row * self.side + column];
        let above = of(left, top) * (1.0 - right) + of(left + 1, top) * right;
        let below = of(left, top + 1) * (1.0 - right) + of(left + 1, top + 1) * right;
        above * (1.0 - down) + below * down
    }
}
