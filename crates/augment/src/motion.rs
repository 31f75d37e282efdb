//! Motion blur: a one-sided Gaussian of whole-pixel steps.
//!
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, which calls ImageMagick 6's `MotionBlurImage`; the package
//! `imagecorruptions` computes the same sum in numpy.

use crate::border::Border;
use crate::cell::{Cell, View};
use crate::profile::{PerProfile, Profile};
use crate::rows::{pad_sides, weighted};
use crate::scratch::Scratch;
use crate::simd::vectorised;
use crate::ties::{Reference, Ties, truncate};

/// Radius in pixels and standard deviation per severity 1-5; the direction is uniform in ±45 degrees.
const MOTION: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)],
    tiny: [(10.0, 1.0), (10.0, 1.5), (10.0, 2.0), (10.0, 2.5), (12.0, 3.0)],
    imagenet: [(10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)],
    inception: [(12.0, 4.0), (17.0, 6.0), (17.0, 9.0), (17.0, 13.0), (22.0, 16.0)],
};

/// Motion blur of a cell.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let (radius, sigma) = MOTION.get(cell.profile)[cell.index];
    let (radius, sigma) = (radius * cell.scale(), sigma * cell.scale());
    let angle = cell.draws.uniform(-45.0, 45.0);
    let blur = Streak { radius, sigma, angle, engine: Engine::of(cell.profile) };
    streak(cell.image.levels, 3, cell.image.width, &blur, cell.scratch, cell.out);
}

/// Whose motion blur it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// ImageMagick: steps beyond the edge read the edge; levels come out of a 16-bit quantum.
    ImageMagick,
    /// `imagecorruptions`: from the first step as long as the image on, steps are left out, so that the sum falls short;
    /// levels are truncated.
    Numpy,
}

impl Engine {
    /// The one that a profile's generator uses.
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::Imagecorruptions => Self::Numpy,
            _ => Self::ImageMagick,
        }
    }

    /// What a sum in levels becomes.
    fn level(self, sum: f64) -> u8 {
        match self {
            // The 16-bit quantum, rounded, then its upper byte.
            Self::ImageMagick => ((257.0 * sum + 0.5) as u32 / 257) as u8,
            Self::Numpy => sum as u8,
        }
    }

    /// So much below a whole number a sum may be and still reach it.
    fn shift(self) -> f64 {
        match self {
            Self::ImageMagick => 0.5 / 257.0,
            Self::Numpy => 0.0,
        }
    }
}

/// A motion blur.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streak {
    /// Reach is about twice the radius, in pixels.
    pub radius: f64,
    /// Standard deviation in pixels.
    pub sigma: f64,
    /// Direction in degrees.
    pub angle: f64,
    pub engine: Engine,
}

/// Motion blur of interleaved levels, rows of `width` pixels, into `out` of the same length.
pub(crate) fn streak(
    levels: &[u8],
    channels: usize,
    width: usize,
    blur: &Streak,
    scratch: &mut Scratch,
    out: &mut [u8],
) {
    let image = View { width, height: levels.len() / (width * channels), levels };
    let steps = steps(blur, width, image.height, scratch);
    let stride = width * channels;
    let margin = reach(&steps);
    let padded_stride = stride + 2 * margin * channels;
    let mut row = scratch.take::<f32>(stride);
    let mut padded = scratch.take_empty::<f32>();
    vectorised(
        #[inline(always)]
        || pad_sides(levels, [width, channels], margin, Border::Nearest, f32::from, &mut padded),
    );
    let mut weights = scratch.take_empty::<f32>();
    weights.extend(steps.iter().map(|step| step.2 as f32));
    let mut starts = scratch.take::<usize>(steps.len());
    let mut ties = Ties::new(image, channels, scratch);
    let mut reference = Doubles { image, channels, steps: &steps, engine: blur.engine };
    for (y, target) in out.chunks_exact_mut(stride).enumerate() {
        starts_of(&steps, y, image.height, padded_stride, channels, &mut starts);
        vectorised(
            #[inline(always)]
            || {
                weighted(&padded, &starts, &weights, &mut row);
                truncate(&row, blur.engine.shift() as f32, MARGIN, target, &mut ties.places);
            },
        );
        ties.settle(y, &mut reference, target);
    }
    ties.give(scratch);
    scratch.give(steps);
    scratch.give(starts);
    [row, padded, weights].into_iter().for_each(|buffer| scratch.give(buffer));
}

/// More than the error of a sum in single precision, in levels.
const MARGIN: f32 = 1.5e-4;

/// How far the steps go to either side, in pixels.
pub(crate) fn reach(steps: &[Step]) -> usize {
    steps.iter().map(|step| step.0.unsigned_abs() as usize).max().unwrap_or(0)
}

/// Where in an image with a border at its sides the row starts that each step adds to row `y`.
fn starts_of(steps: &[Step], y: usize, height: usize, padded_stride: usize, channels: usize, starts: &mut [usize]) {
    let margin = reach(steps) as i64;
    for (start, &(dx, dy, _)) in starts.iter_mut().zip(steps) {
        let row = Border::Nearest.resolve(y as i64 + dy, height);
        *start = row * padded_stride + (margin + dx) as usize * channels;
    }
}

/// The blur in double precision, step by step.
struct Doubles<'a> {
    image: View<'a>,
    channels: usize,
    steps: &'a [Step],
    engine: Engine,
}

impl Reference for Doubles<'_> {
    fn window(&self, x: usize, y: usize) -> [[usize; 2]; 2] {
        let range = |offsets: fn(&Step) -> i64, place: usize, length: usize| {
            let offset = self.steps.iter().map(offsets);
            let (low, high) = offset.fold((0, 0), |(low, high), offset| (offset.min(low), offset.max(high)));
            [low, high].map(|offset| Border::Nearest.resolve(place as i64 + offset, length))
        };
        [range(|step| step.0, x, self.image.width), range(|step| step.1, y, self.image.height)]
    }

    fn sample(&mut self, y: usize, place: usize) -> u8 {
        let (x, channel) = ((place / self.channels) as i64, place % self.channels);
        let (right, bottom) = (self.image.width as i64 - 1, self.image.height as i64 - 1);
        let sum = self.steps.iter().fold(0.0, |sum, &(dx, dy, weight)| {
            let column = (x + dx).clamp(0, right) as usize;
            let row = (y as i64 + dy).clamp(0, bottom) as usize;
            let level = self.image.levels[(row * self.image.width + column) * self.channels + channel];
            sum + weight * f64::from(level)
        });
        self.engine.level(sum)
    }

    fn cost(&self) -> usize {
        self.steps.len()
    }

    fn flat(&mut self) -> [u8; 256] {
        let sum = |level: usize| self.steps.iter().fold(0.0, |sum, step| sum + step.2 * level as f64);
        std::array::from_fn(|level| self.engine.level(sum(level)))
    }
}

/// Offsets in x and y, in pixels, and a weight.
pub(crate) type Step = (i64, i64, f64);

/// The steps for an image of `width` by `height` pixels, in a buffer of `scratch`.
pub(crate) fn steps(blur: &Streak, width: usize, height: usize, scratch: &mut Scratch) -> Vec<Step> {
    let (mut steps, mut weights) = (scratch.take_empty::<Step>(), scratch.take_empty::<f64>());
    let count = 2 * blur.radius.ceil() as usize + 1;
    let (sin, cos) = libm::sincos(blur.angle.to_radians());
    match blur.engine {
        Engine::ImageMagick => {
            weights.extend((0..count).map(|i| falloff(i, blur.sigma)));
            let sum: f64 = weights.iter().sum();
            let place = |i: usize, direction: f64| (i as f64 * direction - 0.5).ceil() as i64;
            let all = weights.iter().enumerate();
            steps.extend(all.map(|(i, weight)| (place(i, cos), place(i, sin), weight / sum)));
        }
        Engine::Numpy => {
            let height_of_one = (2.0 * std::f64::consts::PI).sqrt() * blur.sigma;
            weights.extend((0..count).map(|i| falloff(i, blur.sigma) / height_of_one));
            let sum = numpy_sum(&weights);
            let (down, right) = (count as f64 * sin, count as f64 * cos);
            let length = libm::hypot(down, right);
            let place = |i: usize, side: f64| (i as f64 * side / length - 0.5).ceil() as i64;
            let all = weights.iter().enumerate();
            let all = all.map(|(i, weight)| (place(i, right), place(i, down), weight / sum));
            let within = |step: &Step| step.0.unsigned_abs() < width as u64 && step.1.unsigned_abs() < height as u64;
            steps.extend(all.take_while(within));
        }
    }
    scratch.give(weights);
    steps
}

fn falloff(i: usize, sigma: f64) -> f64 {
    libm::exp(-((i * i) as f64) / (2.0 * sigma * sigma))
}

/// The sum in the order of numpy, for fewer than 129 numbers.
fn numpy_sum(values: &[f64]) -> f64 {
    if values.len() < 8 {
        return values.iter().sum();
    }
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ties::tests::{assert_decided, awkward};

    #[test]
    fn every_sample_is_that_of_the_sum_in_double_precision() {
        for (engine, angle) in [(Engine::ImageMagick, 30.0), (Engine::Numpy, -45.0), (Engine::Numpy, 0.0)] {
            let blur = Streak { radius: 6.0, sigma: 3.0, angle, engine };
            for (width, height) in [(1, 1), (3, 2), (2, 70), (61, 43)] {
                let image = awkward(width, height);
                let view = View::new(&image);
                let mut out = vec![0; image.len()];
                streak(&image, 3, view.width, &blur, &mut Scratch::new(), &mut out);
                let steps = steps(&blur, view.width, view.height, &mut Scratch::new());
                assert_decided(&mut Doubles { image: view, channels: 3, steps: &steps, engine }, view, &out);
            }
        }
    }

    #[test]
    fn steps_beyond_the_image_are_left_out_by_numpy_alone() {
        let white = |engine: Engine| {
            let mut out = [0; 9];
            let blur = Streak { radius: 2.0, sigma: 1e6, angle: 0.0, engine };
            streak(&[255; 9], 1, 3, &blur, &mut Scratch::new(), &mut out);
            out
        };
        assert_eq!(white(Engine::ImageMagick), [255; 9]);
        // Three of five equal steps are shorter than the three columns.
        assert_eq!(white(Engine::Numpy), [153; 9]);
    }
}
