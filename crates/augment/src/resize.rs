//! Enlarging and shrinking of pictures as OpenCV does it, without smoothing first.

use image::RgbImage;

use crate::filter::rebuild;

/// A change of size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resize {
    /// Width and height of the result in pixels.
    pub sides: [usize; 2],
    /// Source pixels per target pixel on either axis.
    steps: [f64; 2],
    curve: Curve,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Curve {
    Linear,
    Cubic,
}

impl Resize {
    /// Both sides times `factor`, rounded; bilinear.
    pub fn scaled(picture: &RgbImage, factor: f64) -> Self {
        let side = |length: u32| ((f64::from(length) * factor).round_ties_even() as usize).max(1);
        let sides = [side(picture.width()), side(picture.height())];
        Self { sides, steps: [1.0 / factor; 2], curve: Curve::Linear }
    }

    /// Both sides times `factor`, rounded up; bicubic.
    pub fn enlarged(picture: &RgbImage, factor: f64) -> Self {
        let side = |length: u32| (f64::from(length) * factor).ceil() as usize;
        let sides = [side(picture.width()), side(picture.height())];
        let step = |length: u32, side: usize| 1.0 / (side as f64 / f64::from(length));
        let steps = [step(picture.width(), sides[0]), step(picture.height(), sides[1])];
        Self { sides, steps, curve: Curve::Cubic }
    }

    /// The resized picture.
    pub fn whole(self, picture: &RgbImage) -> RgbImage {
        if self.steps == [1.0; 2] {
            return picture.clone();
        }
        self.crop(picture, [0, 0], self.sides)
    }

    /// A part of the resized picture, from the column and row of `start` on; it repeats beyond its edges.
    pub fn crop(self, picture: &RgbImage, start: [usize; 2], sides: [usize; 2]) -> RgbImage {
        let lengths = [picture.width() as usize, picture.height() as usize];
        let places = |axis: usize| (start[axis]..start[axis] + sides[axis]).map(move |place| place % self.sides[axis]);
        let taps = |axis: usize| places(axis).map(move |place| self.taps(place, axis, lengths[axis]));
        let columns: Vec<Taps> = taps(0).collect();
        let levels = picture.as_raw().as_chunks::<3>().0;
        let row = |y: usize| &levels[y * lengths[0]..][..lengths[0]];
        let mut out = Vec::with_capacity(sides[0] * sides[1] * 3);
        for line in taps(1) {
            let rows = line.places.map(row);
            out.extend(columns.iter().flat_map(|column| {
                [0, 1, 2].map(|channel| {
                    let across = rows.map(|row| column.places.map(|x| row[x][channel]));
                    match self.curve {
                        Curve::Linear => linear(across, column.weights, line.weights),
                        Curve::Cubic => cubic(across, column.weights, line.weights),
                    }
                })
            }));
        }
        rebuild(sides[0], sides[1], out)
    }

    /// What a target place is made of.
    fn taps(self, target: usize, axis: usize, length: usize) -> Taps {
        let place = (target as f64 + 0.5) * self.steps[axis] - 0.5;
        let place = if self.curve == Curve::Linear { f64::from(place as f32) } else { place };
        let low = place.floor();
        let fraction = place - low;
        let places = std::array::from_fn(|tap| (low as i64 + tap as i64 - 1).clamp(0, length as i64 - 1) as usize);
        let weights = match self.curve {
            Curve::Linear => {
                let fixed = |weight: f64| (f64::from(weight as f32) * 2048.0).round_ties_even();
                [0.0, fixed(1.0 - fraction), fixed(fraction), 0.0]
            }
            Curve::Cubic => {
                let [before, low, high] = [far(1.0 + fraction), near(fraction), near(1.0 - fraction)];
                [before, low, high, 1.0 - before - low - high]
            }
        };
        Taps { places, weights }
    }
}

/// Four neighbouring source places, clamped at the edges, and their weights.
#[derive(Clone, Copy)]
struct Taps {
    places: [usize; 4],
    weights: [f64; 4],
}

/// Keys' cubic with a = -3/4 at a distance of at most one.
fn near(x: f64) -> f64 {
    (1.25 * x - 2.25) * x * x + 1.0
}

/// The same at a distance from one to two.
fn far(x: f64) -> f64 {
    ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0
}

/// In OpenCV's fixed point: weights of 11 bits, and truncated products in the second pass.
fn linear(levels: [[u8; 4]; 4], across: [f64; 4], down: [f64; 4]) -> u8 {
    let part = |tap: usize| {
        let row = levels[tap];
        let sum = i32::from(row[1]) * across[1] as i32 + i32::from(row[2]) * across[2] as i32;
        (down[tap] as i32 * (sum >> 4)) >> 16
    };
    ((part(1) + part(2) + 2) >> 2) as u8
}

fn cubic(levels: [[u8; 4]; 4], across: [f64; 4], down: [f64; 4]) -> u8 {
    let dot = |values: [f64; 4], weights: [f64; 4]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>();
    dot(levels.map(|row| dot(row.map(f64::from), across)), down).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_keeps_its_slope() {
        let ramp = RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 200]));
        for resize in [Resize::scaled(&ramp, 0.5), Resize::enlarged(&ramp, 2.0)] {
            let out = resize.whole(&ramp);
            assert_eq!([out.width() as usize, out.height() as usize], resize.sides);
            for (x, y, pixel) in out.enumerate_pixels() {
                let place = |place: u32, axis: usize| (f64::from(place) + 0.5) * resize.steps[axis] - 0.5;
                let (column, row) = (place(x, 0), place(y, 1));
                if (2.0..37.0).contains(&column) && (2.0..27.0).contains(&row) {
                    assert!((f64::from(pixel[0]) - 6.0 * column).abs() <= 1.0, "{resize:?} at {x}, {y}: {pixel:?}");
                    assert!((f64::from(pixel[1]) - 8.0 * row).abs() <= 1.0, "{resize:?} at {x}, {y}: {pixel:?}");
                }
                assert_eq!(pixel[2], 200);
            }
            let part = resize.crop(&ramp, [3, 5], [4, 2]);
            assert_eq!(part, image::imageops::crop_imm(&out, 3, 5, 4, 2).to_image());
        }
    }
}
