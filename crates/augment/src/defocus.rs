//! Defocus blur. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use std::sync::OnceLock;

use crate::border::{Border, to_level, unit_levels};
use crate::cell::{Cell, View};
use crate::profile::PerProfile;
use crate::rows::{Pairs, folded, pad_sides, weighted};
use crate::scratch::Scratch;
use crate::simd::vectorised;
use crate::ties::{Reference, Ties, truncate};

/// Radius of the disk and standard deviation of its anti-aliasing in pixels, per severity 1-5.
const DISK: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)],
    tiny: [(0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)],
    imagenet: [(3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)],
    inception: [(4.0, 0.1), (5.0, 0.5), (7.0, 0.5), (10.0, 0.5), (12.0, 0.5)],
};

/// More than the error of a sum in single precision, in levels.
const MARGIN: f32 = 2e-4;

/// The disks of the severities, made when first needed.
#[derive(Default)]
pub(crate) struct Defocus {
    disks: [OnceLock<Disk>; 5],
}

impl Defocus {
    /// Correlation with the disk, edges mirrored about the border pixel.
    pub fn apply(&self, cell: &mut Cell<'_, '_>) {
        let (radius, alias) = DISK.get(cell.profile)[cell.index];
        let scale = cell.scale();
        if scale == 1.0 {
            let disk = self.disks[cell.index].get_or_init(|| Disk::new(radius, alias));
            defocus(cell.image, disk, cell.scratch, cell.out);
        } else {
            // Sizes are without end, so that these are not kept here; a thread often meets the same size again.
            let radius = radius * scale;
            let last = cell.scratch.disks[cell.index].take().filter(|disk| disk.shape == (radius, alias));
            let disk = last.unwrap_or_else(|| Disk::new(radius, alias));
            defocus(cell.image, &disk, cell.scratch, cell.out);
            cell.scratch.disks[cell.index] = Some(disk);
        }
    }
}

/// Correlation with a disk, edges mirrored about the border pixel.
///
/// The disk is a sum of upright bars, from `-h` to `h` rows at `x` columns to the left and to the right of the centre, of
/// which there are far fewer than taps. The sums over bars of one column are nested, and whole numbers.
fn defocus(image: View<'_>, disk: &Disk, scratch: &mut Scratch, out: &mut [u8]) {
    let (reach, stride) = (disk.reach, image.stride());
    let padded_stride = stride + 6 * reach;
    let mut row = scratch.take::<f32>(stride);
    let mut padded = scratch.take_empty::<f32>();
    vectorised(
        #[inline(always)]
        || pad_sides(image.levels, [image.width, 3], reach, Border::Reflect101, f32::from, &mut padded),
    );
    let mut columns = scratch.take::<f32>(padded_stride * (reach + 1));
    let (mut left, mut right) = (scratch.take_empty::<usize>(), scratch.take_empty::<usize>());
    left.extend(disk.bars.iter().map(|bar| bar.height * padded_stride + 3 * (reach - bar.x)));
    right.extend(disk.bars.iter().map(|bar| bar.height * padded_stride + 3 * (reach + bar.x)));
    let mut ties = Ties::new(image, 3, scratch);
    let mut reference = Doubles::new(image, disk, scratch);
    for (y, target) in out.chunks_exact_mut(stride).enumerate() {
        vectorised(
            #[inline(always)]
            || {
                nested_sums(&padded, padded_stride, y, image.height, &mut columns);
                let pairs = Pairs { left: &left, right: &right, weights: &disk.weights };
                folded(&columns, (0, 0.0), pairs, &mut row);
                truncate(&row, 0.0, MARGIN, target, &mut ties.places);
            },
        );
        ties.settle(y, &mut reference, target);
    }
    reference.give(scratch);
    ties.give(scratch);
    [row, padded, columns].into_iter().for_each(|buffer| scratch.give(buffer));
    [left, right].into_iter().for_each(|buffer| scratch.give(buffer));
}

/// The sums over the rows up to 0, 1, ... rows away from `y`, one after another.
#[inline(always)]
fn nested_sums(padded: &[f32], padded_stride: usize, y: usize, height: usize, columns: &mut [f32]) {
    let row = |offset: i64| {
        let row = Border::Reflect101.resolve(y as i64 + offset, height);
        &padded[row * padded_stride..][..padded_stride]
    };
    columns[..padded_stride].copy_from_slice(row(0));
    for distance in 1..columns.len() / padded_stride {
        let (done, rest) = columns.split_at_mut(distance * padded_stride);
        let within = &done[(distance - 1) * padded_stride..];
        let (above, below) = (row(-(distance as i64)), row(distance as i64));
        for (((sum, w), a), b) in rest[..padded_stride].iter_mut().zip(within).zip(above).zip(below) {
            *sum = w + (a + b);
        }
    }
}

/// Correlation in double precision, tap by tap in reading order.
struct Doubles<'a> {
    image: View<'a>,
    disk: &'a Disk,
    unit: [f64; 256],
    /// The image in `[0, 1]` with a border at its sides, once a whole row is asked for.
    padded: Vec<f64>,
    sums: Vec<f64>,
    /// Where the row that each tap adds starts, and the weights of the taps.
    starts: Vec<usize>,
    weights: Vec<f64>,
}

impl<'a> Doubles<'a> {
    fn new(image: View<'a>, disk: &'a Disk, scratch: &mut Scratch) -> Self {
        Self {
            image,
            disk,
            unit: unit_levels(),
            padded: scratch.take_empty(),
            sums: scratch.take(image.stride()),
            starts: scratch.take_empty(),
            weights: scratch.take_empty(),
        }
    }

    fn give(self, scratch: &mut Scratch) {
        [self.padded, self.sums, self.weights].into_iter().for_each(|buffer| scratch.give(buffer));
        scratch.give(self.starts);
    }
}

impl Reference for Doubles<'_> {
    fn window(&self, x: usize, y: usize) -> [[usize; 2]; 2] {
        let reach = self.disk.reach;
        [(x, self.image.width), (y, self.image.height)]
            // A border that is mirrored about the last pixel shows no others than these, if it is not wider.
            .map(|(place, length)| {
                if reach < length {
                    [place.saturating_sub(reach), (place + reach).min(length - 1)]
                } else {
                    [0, length - 1]
                }
            })
    }

    fn sample(&mut self, y: usize, place: usize) -> u8 {
        let View { width, height, levels } = self.image;
        let (x, channel) = ((place / 3) as i64, place % 3);
        let (y, reach) = (y as i64, self.disk.reach as i64);
        let within = |place: i64, length: usize| place >= reach && place + reach < length as i64;
        let inside = within(x, width) && within(y, height);
        let sum = self.disk.taps.iter().fold(0.0, |sum, &(dy, dx, weight)| {
            let (mut row, mut column) = ((y + dy) as usize, (x + dx) as usize);
            if !inside {
                row = Border::Reflect101.resolve(y + dy, height);
                column = Border::Reflect101.resolve(x + dx, width);
            }
            sum + weight * self.unit[usize::from(levels[(row * width + column) * 3 + channel])]
        });
        to_level(sum)
    }

    fn cost(&self) -> usize {
        self.disk.taps.len()
    }

    fn flat(&mut self) -> [u8; 256] {
        let mut sums = [0.0; 256];
        for tap in &self.disk.taps {
            sums.iter_mut().zip(&self.unit).for_each(|(sum, unit)| *sum += tap.2 * unit);
        }
        sums.map(to_level)
    }

    fn row(&mut self, y: usize, ties: usize, out: &mut [u8]) -> bool {
        // A sample by itself costs about ten in a row.
        if 10 * ties < out.len() {
            return false;
        }
        let Self { image, disk, unit, padded, sums, starts, weights } = self;
        let padded_stride = out.len() + 6 * disk.reach;
        if padded.is_empty() {
            weights.extend(disk.taps.iter().map(|tap| tap.2));
            let unit = |level: u8| unit[usize::from(level)];
            pad_sides(image.levels, [image.width, 3], disk.reach, Border::Reflect101, unit, padded);
        }
        let place = |&(dy, dx, _): &(i64, i64, f64)| {
            let row = Border::Reflect101.resolve(y as i64 + dy, image.height);
            row * padded_stride + (disk.reach as i64 + dx) as usize * 3
        };
        starts.clear();
        starts.extend(disk.taps.iter().map(place));
        vectorised(
            #[inline(always)]
            || weighted(padded, starts, weights, sums),
        );
        out.iter_mut().zip(&*sums).for_each(|(out, &value)| *out = to_level(value));
        true
    }
}

/// The anti-aliased disk of defocus blur.
pub(crate) struct Disk {
    /// Its radius and the standard deviation of its anti-aliasing, in pixels.
    shape: (f64, f64),
    reach: usize,
    /// Its taps, if they matter, in reading order: row, column, weight.
    taps: Vec<(i64, i64, f64)>,
    /// The disk as a sum of bars, and their weights.
    bars: Vec<Bar>,
    weights: Vec<f32>,
}

/// A bar from `-height` to `height` at `x` columns from the centre, and its mirror image.
struct Bar {
    x: usize,
    height: usize,
}

impl Disk {
    /// The disk on a grid of at least 17x17, smoothed by OpenCV's Gaussian with mirrored borders *on that grid*:
    /// where the disk touches the edge of the grid, as for radius 8 and 10, its sum exceeds one. That is part of the
    /// definition.
    pub fn new(radius: f64, alias_sigma: f64) -> Self {
        let (grid_reach, alias_reach) = if radius <= 8.0 { (8, 1) } else { (radius as i64, 2) };
        let side = (2 * grid_reach + 1) as usize;
        let inside = |i: usize| {
            let (y, x) = ((i / side) as f64 - grid_reach as f64, (i % side) as f64 - grid_reach as f64);
            x * x + y * y <= radius * radius
        };
        let mask: Vec<f64> = (0..side * side).map(|i| f64::from(u8::from(inside(i)))).collect();
        let count: f64 = mask.iter().sum();
        let data: Vec<f64> = mask.into_iter().map(|value| f64::from((value / count) as f32)).collect();
        let disk = smooth(&data, side, alias_sigma, alias_reach);
        let taps: Vec<_> = disk
            .iter()
            .enumerate()
            .map(|(i, &weight)| ((i / side) as i64 - grid_reach, (i % side) as i64 - grid_reach, weight))
            // Lighter taps cannot move a sum of about one in double precision.
            .filter(|tap| tap.2 > 1e-18)
            .collect();
        let reach = taps.iter().map(|tap| tap.0.unsigned_abs().max(tap.1.unsigned_abs()) as usize).max().unwrap_or(0);
        let (bars, weights) = bars(&taps, reach);
        Self { shape: (radius, alias_sigma), reach, taps, bars, weights }
    }
}

/// The disk as a sum of bars. It is symmetric but for rounding errors, which this leaves out.
fn bars(taps: &[(i64, i64, f64)], reach: usize) -> (Vec<Bar>, Vec<f32>) {
    // Of the taps that are mirror images of one another, how many there are and what they add up to.
    let mut quarter = vec![(0, 0.0); (reach + 1).pow(2)];
    for &(y, x, weight) in taps {
        let (count, sum) = &mut quarter[y.unsigned_abs() as usize * (reach + 1) + x.unsigned_abs() as usize];
        (*count, *sum) = (*count + 1, *sum + weight);
    }
    let at = |y: usize, x: usize| {
        let (count, sum) = quarter[y * (reach + 1) + x];
        sum / f64::from(count.max(1))
    };
    let heaviest = taps.iter().map(|tap| tap.2).fold(0.0, f64::max);
    let (mut bars, mut weights) = (Vec::new(), Vec::new());
    for x in 0..=reach {
        let mut beyond = 0.0;
        for height in (0..=reach).rev() {
            let weight = at(height, x);
            if (weight - beyond).abs() > 4e-7 * heaviest {
                bars.push(Bar { x, height });
                // The bar in the middle is its own mirror image, and counted twice.
                weights.push(((weight - beyond) * if x == 0 { 0.5 } else { 1.0 }) as f32);
                beyond = weight;
            }
        }
    }
    (bars, weights)
}

/// OpenCV's GaussianBlur of a square of `side` columns with a fixed number of taps, in its single precision: on flat
/// areas that decides about a level.
fn smooth(data: &[f64], side: usize, sigma: f64, reach: i64) -> Vec<f64> {
    let half: Vec<f64> = (0..=reach).map(|i| libm::exp(-0.5 * (i * i) as f64 / (sigma * sigma))).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    let single = |value: f64| f64::from(value as f32);
    let pass = |data: &[f64], step_y: i64, step_x: i64| -> Vec<f64> {
        (0..side * side)
            .map(|i| {
                let (y, x) = ((i / side) as i64, (i % side) as i64);
                let at = |offset: i64| {
                    let y = Border::Reflect101.resolve(y + offset * step_y, side);
                    let x = Border::Reflect101.resolve(x + offset * step_x, side);
                    single(half[offset.unsigned_abs() as usize] / sum) * data[y * side + x]
                };
                single((-reach..=reach).map(at).sum())
            })
            .collect()
    };
    pass(&pass(data, 0, 1), 1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::ties::tests::{assert_decided, awkward};

    #[test]
    fn every_sample_is_that_of_the_sum_in_double_precision() {
        for (radius, alias) in [(0.3, 0.4), (3.0, 0.1), (8.0, 0.5), (10.0, 0.5)] {
            let disk = Disk::new(radius, alias);
            for (width, height) in [(1, 1), (2, 9), (61, 43)] {
                let image = awkward(width, height);
                let (view, mut scratch, mut out) = (View::new(&image), Scratch::new(), vec![0; image.len()]);
                defocus(view, &disk, &mut scratch, &mut out);
                assert_decided(&mut Doubles::new(view, &disk, &mut scratch), view, &out);
            }
        }
    }

    #[test]
    fn disks_have_the_sums_and_sizes_of_the_reference() {
        let disks = DISK.get(Profile::ImagenetC).map(|(radius, alias)| Disk::new(radius, alias));
        let sums = disks.each_ref().map(|disk| disk.taps.iter().map(|tap| tap.2).sum::<f64>());
        for (sum, want) in sums.into_iter().zip([1.0, 1.0, 1.0, 1.012_975, 1.010_786]) {
            assert!((sum - want).abs() < 1e-6, "{sum} against {want}");
        }
        // Of the first, 32 more taps of 1e-45 are left out.
        assert_eq!(disks.map(|disk| disk.taps.len()), [29, 89, 169, 257, 429]);
    }
}
