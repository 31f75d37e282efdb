//! Gaussian blur. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use crate::border::{Border, pad_row, to_level, unit_levels};
use crate::cell::{Cell, View};
use crate::filter::{fill_weights, smooth};
use crate::profile::PerProfile;
use crate::rows::{Pairs, folded};
use crate::scratch::Scratch;
use crate::simd::vectorised;
use crate::ties::{Reference, Ties, truncate};

/// Standard deviation in pixels per severity 1-5.
const SIGMA: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.4, 0.6, 0.7, 0.8, 1.0],
    tiny: [0.5, 0.75, 1.0, 1.25, 1.5],
    imagenet: [1.0, 2.0, 3.0, 4.0, 6.0],
    inception: [1.5, 2.5, 3.5, 4.5, 6.5],
};

/// Cut of the kernel in standard deviations.
const TRUNCATE: f64 = 4.0;

/// More than the error of a sum in single precision, in levels.
const MARGIN: f32 = 1.5e-4;

/// Gaussian blur, edges extended.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let sigma = SIGMA.get(cell.profile)[cell.index] * cell.scale();
    gaussian_blur(cell.image, sigma, cell.scratch, cell.out);
}

/// Gaussian blur with `sigma` in pixels, edges extended, truncated to levels.
pub(crate) fn gaussian_blur(image: View<'_>, sigma: f64, scratch: &mut Scratch, out: &mut [u8]) {
    let mut weights = scratch.take_empty::<f64>();
    fill_weights(sigma, TRUNCATE, &mut weights);
    let radius = weights.len() - 1;
    if radius == 0 {
        let level = unit_levels().map(to_level);
        out.iter_mut().zip(image.levels).for_each(|(out, &old)| *out = level[usize::from(old)]);
    } else if radius >= image.width.min(image.height) {
        blur_wide(image, &weights, scratch, out);
    } else {
        blur_rows(image, &weights, scratch, out);
    }
    scratch.give(weights);
}

/// As [`gaussian_blur`], for any kernel, in double precision throughout.
fn blur_wide(image: View<'_>, weights: &[f64], scratch: &mut Scratch, out: &mut [u8]) {
    let unit = unit_levels();
    let mut samples = scratch.take_empty::<f64>();
    samples.extend(image.levels.iter().map(|&level| unit[usize::from(level)]));
    smooth(&mut samples, [image.width, 3], [weights; 2], Border::Nearest, scratch);
    out.iter_mut().zip(&samples).for_each(|(out, &value)| *out = to_level(value));
    scratch.give(samples);
}

/// As [`gaussian_blur`], for a kernel that is narrower than the image.
fn blur_rows(image: View<'_>, weights: &[f64], scratch: &mut Scratch, out: &mut [u8]) {
    let (stride, radius) = (image.stride(), weights.len() - 1);
    let mut samples = scratch.take_empty::<f32>();
    vectorised(
        #[inline(always)]
        || samples.extend(image.levels.iter().map(|&level| f32::from(level))),
    );
    let mut singles = scratch.take_empty::<f32>();
    singles.extend(weights.iter().rev().map(|&weight| weight as f32));
    let (mut left, mut right) = (scratch.take::<usize>(radius), scratch.take::<usize>(radius));
    let mut down = scratch.take::<f32>(stride);
    let mut padded = scratch.take::<f32>(stride + 6 * radius);
    let mut ties = Ties::new(image, 3, scratch);
    let mut reference = Doubles::new(image, weights, scratch);
    for (y, target) in out.chunks_exact_mut(stride).enumerate() {
        reference.rows_about(y, &mut left, &mut right);
        vectorised(
            #[inline(always)]
            || {
                let (weights, centre) = (&singles[..radius], singles[radius]);
                let pairs = Pairs { left: &left, right: &right, weights };
                folded(&samples, (y * stride, centre), pairs, &mut down);
                pad_row(&down, 3, radius, Border::Nearest, &mut padded);
                columns_about(radius, &mut left, &mut right);
                folded(&padded, (3 * radius, centre), Pairs { left: &left, right: &right, weights }, &mut down);
                truncate(&down, 0.0, MARGIN, target, &mut ties.places);
            },
        );
        ties.settle(y, &mut reference, target);
    }
    reference.give(scratch);
    ties.give(scratch);
    [samples, singles, down, padded].into_iter().for_each(|buffer| scratch.give(buffer));
    [left, right].into_iter().for_each(|buffer| scratch.give(buffer));
}

/// Where a row with `radius` pixels of border starts, moved by the distances `radius`, ..., 1.
#[inline(always)]
fn columns_about(radius: usize, left: &mut [usize], right: &mut [usize]) {
    for (index, (left, right)) in left.iter_mut().zip(right).enumerate() {
        (*left, *right) = (3 * index, 3 * (2 * radius - index));
    }
}

/// The blur in double precision: down first, then across, the farthest pair of samples first.
struct Doubles<'a> {
    image: View<'a>,
    /// At the distances `radius`, ..., 0.
    weights: Vec<f64>,
    unit: [f64; 256],
    /// The image in `[0, 1]`, once a whole row is asked for.
    samples: Vec<f64>,
    down: Vec<f64>,
    padded: Vec<f64>,
    left: Vec<usize>,
    right: Vec<usize>,
}

impl<'a> Doubles<'a> {
    fn new(image: View<'a>, weights: &[f64], scratch: &mut Scratch) -> Self {
        let radius = weights.len() - 1;
        let mut reversed = scratch.take_empty();
        reversed.extend(weights.iter().rev());
        Self {
            image,
            weights: reversed,
            unit: unit_levels(),
            samples: scratch.take_empty(),
            down: scratch.take(image.stride()),
            padded: scratch.take(image.stride() + 6 * radius),
            left: scratch.take(radius),
            right: scratch.take(radius),
        }
    }

    fn give(self, scratch: &mut Scratch) {
        [self.weights, self.samples, self.down, self.padded].into_iter().for_each(|buffer| scratch.give(buffer));
        [self.left, self.right].into_iter().for_each(|buffer| scratch.give(buffer));
    }

    fn radius(&self) -> usize {
        self.weights.len() - 1
    }

    /// Where the rows at the distances `radius`, ..., 1 from `y` start.
    fn rows_about(&self, y: usize, above: &mut [usize], below: &mut [usize]) {
        let (stride, last) = (self.image.stride(), self.image.height - 1);
        for (index, (above, below)) in above.iter_mut().zip(below).enumerate() {
            let distance = self.radius() - index;
            *above = y.saturating_sub(distance) * stride;
            *below = (y + distance).min(last) * stride;
        }
    }

    /// The folded sum of the weights with what `at` gives at a distance before and behind.
    #[inline(always)]
    fn fold(&self, at: impl Fn(isize) -> f64) -> f64 {
        let radius = self.radius();
        let centre = at(0) * self.weights[radius];
        self.weights[..radius].iter().enumerate().fold(centre, |sum, (index, weight)| {
            let distance = (radius - index) as isize;
            sum + (at(-distance) + at(distance)) * weight
        })
    }
}

impl Reference for Doubles<'_> {
    fn window(&self, x: usize, y: usize) -> [[usize; 2]; 2] {
        [(x, self.image.width), (y, self.image.height)]
            .map(|(place, length)| [place.saturating_sub(self.radius()), (place + self.radius()).min(length - 1)])
    }

    fn sample(&mut self, y: usize, place: usize) -> u8 {
        let (stride, last) = (self.image.stride(), self.image.height - 1);
        let (x, channel) = (place / 3, place % 3);
        let across = |step: isize| {
            let column = 3 * x.saturating_add_signed(step).min(self.image.width - 1) + channel;
            self.fold(|step| {
                let row = y.saturating_add_signed(step).min(last);
                self.unit[usize::from(self.image.levels[row * stride + column])]
            })
        };
        to_level(self.fold(across))
    }

    fn cost(&self) -> usize {
        (2 * self.radius() + 1).pow(2)
    }

    fn flat(&mut self) -> [u8; 256] {
        let down = self.unit.map(|value| self.fold(|_| value));
        down.map(|value| to_level(self.fold(|_| value)))
    }

    fn row(&mut self, y: usize, ties: usize, out: &mut [u8]) -> bool {
        // A row takes as long as the columns of so many samples, each of a kernel's width.
        if ties * (2 * self.radius() + 1) < 2 * out.len() {
            return false;
        }
        if self.samples.is_empty() {
            self.samples.extend(self.image.levels.iter().map(|&level| self.unit[usize::from(level)]));
        }
        let radius = self.radius();
        let (mut left, mut right) = (std::mem::take(&mut self.left), std::mem::take(&mut self.right));
        self.rows_about(y, &mut left, &mut right);
        let (weights, centre) = (&self.weights[..radius], self.weights[radius]);
        vectorised(
            #[inline(always)]
            || {
                let pairs = Pairs { left: &left, right: &right, weights };
                folded(&self.samples, (y * out.len(), centre), pairs, &mut self.down);
                pad_row(&self.down, 3, radius, Border::Nearest, &mut self.padded);
                columns_about(radius, &mut left, &mut right);
                let pairs = Pairs { left: &left, right: &right, weights };
                folded(&self.padded, (3 * radius, centre), pairs, &mut self.down);
            },
        );
        out.iter_mut().zip(&self.down).for_each(|(out, &value)| *out = to_level(value));
        (self.left, self.right) = (left, right);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::gaussian_weights;
    use crate::ties::tests::{assert_decided, awkward};

    #[test]
    fn every_sample_is_that_of_the_sum_in_double_precision() {
        for (sigma, width, height) in [(1.0, 61, 43), (2.5, 11, 90), (2.5, 70, 11), (6.0, 100, 60)] {
            let image = awkward(width, height);
            let (view, mut scratch, mut out) = (View::new(&image), Scratch::new(), vec![0; image.len()]);
            gaussian_blur(view, sigma, &mut scratch, &mut out);
            let weights = gaussian_weights(sigma, TRUNCATE);
            assert_decided(&mut Doubles::new(view, &weights, &mut scratch), view, &out);
        }
    }

    #[test]
    fn kernels_wider_than_the_image_keep_flat_areas() {
        let image = image::RgbImage::from_pixel(2, 3, image::Rgb([10, 100, 200]));
        let mut out = vec![0; image.len()];
        gaussian_blur(View::new(&image), 40.0, &mut Scratch::new(), &mut out);
        assert!(out.iter().zip(image.iter()).all(|(blurred, level)| level - blurred <= 1), "{out:?}");
    }
}
