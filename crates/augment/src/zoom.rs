//! Zoom blur. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use crate::border::unit_levels;
use crate::cell::{Cell, View};
use crate::magnify::Axis;
use crate::profile::PerProfile;
use crate::scratch::Scratch;
use crate::simd::vectorised;
use crate::ties::{Reference, Ties, truncate};

/// Step between magnifications, and how many of them, from 1 on; per severity 1-5.
///
/// The authors wrote ranges whose end is excluded but for rounding; these are the counts that come out of them.
const ZOOM: PerProfile<[(f64, usize); 5]> = PerProfile {
    cifar: [(0.01, 7), (0.01, 12), (0.01, 16), (0.01, 21), (0.01, 26)],
    tiny: [(0.01, 7), (0.01, 12), (0.01, 16), (0.01, 21), (0.01, 26)],
    imagenet: [(0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11)],
    inception: [(0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11)],
};

/// More than the error of a mean, the reference's own included, in levels.
const MARGIN: f32 = 4e-4;

/// Zoom blur of a cell.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let (step, count) = ZOOM.get(cell.profile)[cell.index];
    zoom(cell.image, step, count, cell.scratch, cell.out);
}

/// Zoom blur: the mean of the image (twice) and its magnifications about the centre.
///
/// Sums run in single precision, layer by layer, as in the reference. Four numbers are summed for every pixel, of which the
/// last is its neighbour's and of no use, because four are as quick as three and quicker than one.
fn zoom(image: View<'_>, step: f64, count: usize, scratch: &mut Scratch, out: &mut [u8]) {
    let View { width, .. } = image;
    let layers = layers(image, step, count, scratch);
    let unit = unit_singles();
    let mut pixels = scratch.take_empty::<f32>();
    pixels.extend(image.levels.iter().map(|&level| unit[usize::from(level)]));
    let (mut places, mut shares) = (scratch.take_empty::<usize>(), scratch.take_empty::<f32>());
    for layer in &layers {
        // The last place stands for its right neighbour too, which has no weight.
        places.extend((0..width).map(|x| 3 * layer.across.sample(x).0));
        shares.extend((0..width).map(|x| layer.across.sample(x).2 as f32));
    }
    let mut blended = scratch.take::<f32>(3 * width + 4);
    let mut sums = scratch.take::<f32>(4 * width);
    let mut means = scratch.take::<f32>(3 * width);
    let mut ties = Ties::new(image, 3, scratch);
    let divisor = (count + 1) as f32;
    let mut reference = Doubles::new(image, &layers, divisor, scratch);
    for (y, target) in out.chunks_exact_mut(3 * width).enumerate() {
        vectorised(
            #[inline(always)]
            || {
                sums.fill(0.0);
                for ((layer, places), shares) in layers.iter().zip(places.chunks(width)).zip(shares.chunks(width)) {
                    blend_down(&pixels, 3 * width, layer.down.sample(y), &mut blended);
                    add_across(&blended, places, shares, layer.times, &mut sums);
                }
                let row = pixels[3 * width * y..].as_chunks::<3>().0.iter().zip(sums.as_chunks::<4>().0);
                for (mean, (pixel, sum)) in means.as_chunks_mut::<3>().0.iter_mut().zip(row) {
                    *mean = std::array::from_fn(|channel| (pixel[channel] + sum[channel]) / divisor * 255.0);
                }
                truncate(&means, 0.0, MARGIN, target, &mut ties.places);
            },
        );
        ties.settle(y, &mut reference, target);
    }
    reference.give(scratch);
    ties.give(scratch);
    scratch.give(layers);
    scratch.give(places);
    [pixels, shares, blended, sums, means].into_iter().for_each(|buffer| scratch.give(buffer));
}

/// Level / 255 for every level, as the reference rounds it.
fn unit_singles() -> [f32; 256] {
    unit_levels().map(|level| level as f32)
}

/// A magnification, and how many times in a row it is added.
#[derive(Clone, Copy, Default)]
pub(crate) struct Layer {
    across: Axis,
    down: Axis,
    times: usize,
}

/// The magnifications of an image. Neighbouring ones often crop and stretch alike.
fn layers(image: View<'_>, step: f64, count: usize, scratch: &mut Scratch) -> Vec<Layer> {
    let mut layers = scratch.take_empty::<Layer>();
    for index in 0..count {
        // As numpy's arange counts: the step is what its addition to one leaves of it.
        let factor = 1.0 + index as f64 * ((1.0 + step) - 1.0);
        let (across, down) = (Axis::plan(image.width, factor), Axis::plan(image.height, factor));
        match layers.last_mut() {
            Some(last) if (last.across, last.down) == (across, down) => last.times += 1,
            _ => layers.push(Layer { across, down, times: 1 }),
        }
    }
    layers
}

/// Blends two rows. Where they are the same, nothing is rounded.
#[inline(always)]
fn blend_down(pixels: &[f32], stride: usize, (low, high, share): (usize, usize, f64), blended: &mut [f32]) {
    let (low, high) = (&pixels[low * stride..][..stride], &pixels[high * stride..][..stride]);
    let share = share as f32;
    for ((b, &l), &h) in blended[..stride].iter_mut().zip(low).zip(high) {
        *b = l + (h - l) * share;
    }
}

/// Adds blends of two neighbouring pixels to the sums.
#[inline(always)]
fn add_across(blended: &[f32], places: &[usize], shares: &[f32], times: usize, sums: &mut [f32]) {
    for ((sum, &place), &share) in sums.as_chunks_mut::<4>().0.iter_mut().zip(places).zip(shares) {
        let Some(two) = blended[place..].first_chunk::<7>() else { return };
        let (mut blend, right) = ([two[0], two[1], two[2], two[3]], [two[3], two[4], two[5], two[6]]);
        for (left, right) in blend.iter_mut().zip(right) {
            *left += (right - *left) * share;
        }
        sum.iter_mut().zip(blend).for_each(|(sum, blend)| *sum += blend);
        for _ in 1..times {
            sum.iter_mut().zip(blend).for_each(|(sum, blend)| *sum += blend);
        }
    }
}

/// The reference, which blends in double precision.
struct Doubles<'a> {
    image: View<'a>,
    layers: &'a [Layer],
    unit: [f32; 256],
    divisor: f32,
    /// The first and the last column and row that each is computed from, once flat areas are looked for.
    columns: Vec<[usize; 2]>,
    rows: Vec<[usize; 2]>,
}

impl<'a> Doubles<'a> {
    fn new(image: View<'a>, layers: &'a [Layer], divisor: f32, scratch: &mut Scratch) -> Self {
        let (columns, rows) = (scratch.take_empty(), scratch.take_empty());
        Self { image, layers, unit: unit_singles(), divisor, columns, rows }
    }

    fn give(self, scratch: &mut Scratch) {
        [self.columns, self.rows].into_iter().for_each(|buffer| scratch.give(buffer));
    }

    /// The level of the mean, and of the pixel itself.
    fn level(&self, pixel: f32, sum: f32) -> u8 {
        (((pixel + sum) / self.divisor).clamp(0.0, 1.0) * 255.0) as u8
    }
}

impl Reference for Doubles<'_> {
    fn window(&self, x: usize, y: usize) -> [[usize; 2]; 2] {
        [self.columns[x], self.rows[y]]
    }

    fn sample(&mut self, y: usize, place: usize) -> u8 {
        let (stride, x, channel) = (self.image.stride(), place / 3, place % 3);
        let at = |y: usize, x: usize| self.unit[usize::from(self.image.levels[y * stride + 3 * x + channel])];
        let sum = self.layers.iter().fold(0.0, |sum, layer| {
            let (left, right, share) = layer.across.sample(x);
            let (top, bottom, low) = layer.down.sample(y);
            let down = |x: usize| f64::from(at(top, x)) * (1.0 - low) + f64::from(at(bottom, x)) * low;
            let blend = (down(left) * (1.0 - share) + down(right) * share) as f32;
            (0..layer.times).fold(sum, |sum, _| sum + blend)
        });
        self.level(at(y, x), sum)
    }

    fn cost(&self) -> usize {
        16 * self.layers.len()
    }

    fn flat(&mut self) -> [u8; 256] {
        let layers = self.layers;
        let range = |place: usize, axis: fn(&Layer) -> Axis| {
            layers.iter().fold([place; 2], |[low, high], layer| {
                let (first, second, _) = axis(layer).sample(place);
                [low.min(first), high.max(second)]
            })
        };
        self.columns.extend((0..self.image.width).map(|x| range(x, |layer| layer.across)));
        self.rows.extend((0..self.image.height).map(|y| range(y, |layer| layer.down)));
        let times: usize = self.layers.iter().map(|layer| layer.times).sum();
        self.unit.map(|value| self.level(value, (0..times).fold(0.0, |sum, _| sum + value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::ties::tests::{assert_decided, awkward};

    #[test]
    fn every_sample_is_that_of_the_sum_in_double_precision() {
        for (step, count) in [(0.01, 12), (0.03, 11)] {
            for (width, height) in [(1, 1), (2, 9), (61, 43)] {
                let image = awkward(width, height);
                let (view, mut scratch, mut out) = (View::new(&image), Scratch::new(), vec![0; image.len()]);
                zoom(view, step, count, &mut scratch, &mut out);
                let layers = layers(view, step, count, &mut scratch);
                assert_decided(&mut Doubles::new(view, &layers, (count + 1) as f32, &mut scratch), view, &out);
            }
        }
    }

    #[test]
    fn magnifications_are_those_of_arange() {
        // 1.25 is reached as 1.2500000000000002, which crops 26 samples of 32 and stretches them to 33, not 32.
        let (step, count) = ZOOM.get(Profile::CifarC)[4];
        let plan = Axis::plan(32, 1.0 + (count - 1) as f64 * ((1.0 + step) - 1.0));
        assert_eq!((plan.crop, plan.stretched), (26, 33));
    }
}
