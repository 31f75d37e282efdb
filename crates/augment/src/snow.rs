//! Snow. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use crate::border::{Border, pad_row, unit_levels, whole_part};
use crate::cell::{Cell, View};
use crate::filter::accumulate;
use crate::magnify::Axis;
use crate::motion::{Engine, Step, Streak, reach, steps};
use crate::profile::PerProfile;
use crate::simd::vectorised;

/// Snow of a cell.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let level = level_of(cell);
    let plan = [Axis::plan(cell.image.width, level.zoom), Axis::plan(cell.image.height, level.zoom)];
    let flakes = flakes(cell, &level, plan);
    let angle = cell.draws.uniform(-135.0, -45.0);
    let blur = Streak { radius: level.radius, sigma: level.sigma, angle, engine: Engine::of(cell.profile) };
    let mut fallen = cell.scratch.take::<f32>(cell.image.pixels());
    fall(cell, &level, plan, &flakes, &blur, &mut fallen);
    settle(cell, level.mix, &fallen);
    cell.scratch.give(flakes);
    cell.scratch.give(fallen);
}

/// The constants of one severity of snow.
#[derive(Clone, Copy)]
pub(crate) struct SnowLevel {
    /// Mean and standard deviation of the flakes before the threshold.
    pub mean: f64,
    pub deviation: f64,
    /// Magnification of the flakes.
    pub zoom: f64,
    /// Flakes below this vanish.
    pub threshold: f64,
    /// Radius in pixels and standard deviation of the streaks.
    pub radius: f64,
    pub sigma: f64,
    /// Weight of the image against its whitened copy.
    pub mix: f64,
}

const fn snow_level(row: (f64, f64, f64, f64, f64, f64, f64)) -> SnowLevel {
    let (mean, deviation, zoom, threshold, radius, sigma, mix) = row;
    SnowLevel { mean, deviation, zoom, threshold, radius, sigma, mix }
}

const TINY: [SnowLevel; 5] = [
    snow_level((0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.8)),
    snow_level((0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.8)),
    snow_level((0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.7)),
    snow_level((0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.65)),
    snow_level((0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.6)),
];

const IMAGENET: [SnowLevel; 5] = [
    snow_level((0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8)),
    snow_level((0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7)),
    snow_level((0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7)),
    snow_level((0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65)),
    snow_level((0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55)),
];

/// Snow per severity 1-5.
const SNOW: PerProfile<[SnowLevel; 5]> = PerProfile {
    cifar: [
        snow_level((0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95)),
        snow_level((0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9)),
        snow_level((0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9)),
        snow_level((0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85)),
        snow_level((0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8)),
    ],
    tiny: TINY,
    imagenet: IMAGENET,
    inception: IMAGENET,
};

/// The constants of a cell's snow, lengths in pixels.
fn level_of(cell: &Cell<'_, '_>) -> SnowLevel {
    let mut level = SNOW.get(cell.profile)[cell.index];
    let scale = cell.scale();
    level.zoom = (level.zoom * scale).max(1.0);
    level.radius *= scale;
    level.sigma *= scale;
    level
}

/// The flakes that will be magnified, those in the middle of the image, in rows. Of a recorded run the others are there
/// as well and not used.
fn flakes(cell: &mut Cell<'_, '_>, level: &SnowLevel, [columns, rows]: [Axis; 2]) -> Vec<f64> {
    let View { width, height, .. } = cell.image;
    let mut flakes = cell.scratch.take::<f64>(columns.crop * rows.crop);
    if cell.draws.stream().is_some() {
        cell.draws.normals(level.mean, level.deviation, &mut flakes);
    } else if let Some(recorded) = cell.draws.array(width * height, [f64::NEG_INFINITY, f64::INFINITY]) {
        let middle = recorded.chunks_exact(width).skip((height - rows.crop) / 2);
        for (target, row) in flakes.chunks_exact_mut(columns.crop).zip(middle) {
            target.copy_from_slice(&row[(width - columns.crop) / 2..][..columns.crop]);
        }
    }
    flakes
}

/// Magnifies the flakes, drops the small ones and streaks the others: levels in `fallen`, whole numbers.
fn fall(
    cell: &mut Cell<'_, '_>,
    level: &SnowLevel,
    plan: [Axis; 2],
    flakes: &[f64],
    blur: &Streak,
    fallen: &mut [f32],
) {
    let View { width, height, .. } = cell.image;
    let numpy = blur.engine == Engine::Numpy;
    let (columns, rows) = (Stretch::new(plan[0], width, blur.engine), Stretch::new(plan[1], height, blur.engine));
    let steps = steps(blur, columns.length, rows.length, cell.scratch);
    let margin = reach(&steps);
    let stride = columns.length + 2 * margin;
    let mut layer = cell.scratch.take::<f32>(stride * rows.length);
    let mut row = cell.scratch.take::<f32>(columns.length);
    let mut blended = cell.scratch.take::<f64>(columns.crop);
    let mut places = cell.scratch.take_empty::<(usize, usize, f64)>();
    places.extend((0..columns.length).map(|x| columns.place(x)));
    vectorised(
        #[inline(always)]
        || {
            for (y, target) in layer.chunks_exact_mut(stride).enumerate() {
                blend(flakes, rows.place(y), &mut blended);
                for (sample, &(low, high, weight)) in row.iter_mut().zip(&places) {
                    let flake = blended[low] * (1.0 - weight) + blended[high] * weight;
                    let kept = if flake < level.threshold { 0.0 } else { flake.min(1.0) * 255.0 };
                    *sample = if numpy { kept } else { kept.floor() } as f32;
                }
                pad_row(&row, 1, margin, Border::Nearest, target);
            }
            for (y, target) in fallen.chunks_exact_mut(width).enumerate() {
                streak_row(&layer, [stride, rows.length, margin], y, &steps, target);
                for sum in target {
                    // ImageMagick rounds to its 16-bit quantum and then cuts that to its upper byte.
                    *sum = if numpy { sum.round_ties_even() } else { (*sum + 0.5 / 257.0).floor() };
                }
            }
        },
    );
    [layer, row].into_iter().for_each(|buffer| cell.scratch.give(buffer));
    cell.scratch.give(blended);
    cell.scratch.give(places);
    cell.scratch.give(steps);
}

/// How one axis of the flakes is stretched linearly.
#[derive(Clone, Copy)]
struct Stretch {
    /// Number of flakes, and the number of pixels that they are stretched to.
    crop: usize,
    stretched: usize,
    /// Pixels that are left out at the low end, and those that are kept.
    skip: usize,
    length: usize,
}

impl Stretch {
    /// For one side of an image. The package streaks the whole magnified layer and then keeps its top left corner; the
    /// benchmark keeps the middle.
    fn new(Axis { crop, stretched, .. }: Axis, side: usize, engine: Engine) -> Self {
        match engine {
            Engine::Numpy => Self { crop, stretched, skip: 0, length: stretched },
            Engine::ImageMagick => Self { crop, stretched, skip: (stretched - side) / 2, length: side },
        }
    }

    /// The lower flake, the higher flake and the weight of the higher.
    #[inline(always)]
    fn place(self, target: usize) -> (usize, usize, f64) {
        let top = self.crop - 1;
        let step = top as f64 / self.stretched.saturating_sub(1).max(1) as f64;
        let place = ((target + self.skip) as f64 * step).min(top as f64);
        let low = place as usize;
        (low, (low + 1).min(top), place - low as f64)
    }
}

#[inline(always)]
fn blend(flakes: &[f64], (low, high, weight): (usize, usize, f64), out: &mut [f64]) {
    let columns = out.len();
    let (low, high) = (&flakes[low * columns..][..columns], &flakes[high * columns..][..columns]);
    for ((target, low), high) in out.iter_mut().zip(low).zip(high) {
        *target = low * (1.0 - weight) + high * weight;
    }
}

/// The weighted sum of the steps for one row of pixels, from a layer of rows of `stride` with a margin on either side.
#[inline(always)]
fn streak_row(layer: &[f32], [stride, height, margin]: [usize; 3], y: usize, steps: &[Step], target: &mut [f32]) {
    target.fill(0.0);
    let length = target.len();
    let lines = steps.iter().map(|&(dx, dy, weight)| {
        let row = Border::Nearest.resolve(y as i64 + dy, height) * stride;
        (&layer[row + (margin as i64 + dx) as usize..][..length], weight as f32)
    });
    accumulate(target, lines);
}

/// Pixels that are computed together, channel by channel, so that the loops vectorise.
const BLOCK: usize = 64;

/// Whitens the image and lays the fallen snow over it, once as it is and once turned by half a circle.
fn settle(cell: &mut Cell<'_, '_>, mix: f64, fallen: &[f32]) {
    let units: [f32; 256] = std::array::from_fn(|level| level as f32 / 255.0);
    let unit = unit_levels();
    let (own, whitened_share) = (mix as f32, (1.0 - mix) as f32);
    vectorised(
        #[inline(always)]
        || {
            let (mut rgb, mut snow) = ([[0.0_f32; BLOCK]; 3], [[0.0_f64; BLOCK]; 2]);
            let mut levels = [[0_u8; BLOCK]; 3];
            let lines = cell.image.levels.chunks(3 * BLOCK).zip(cell.out.chunks_mut(3 * BLOCK));
            let falls = fallen.chunks(BLOCK).zip(fallen.rchunks(BLOCK));
            for ((pixels, out), (upright, turned)) in lines.zip(falls) {
                for (place, pixel) in pixels.as_chunks::<3>().0.iter().enumerate() {
                    (0..3).for_each(|channel| rgb[channel][place] = units[usize::from(pixel[channel])]);
                }
                for (place, (&upright, &turned)) in upright.iter().zip(turned.iter().rev()).enumerate() {
                    snow[0][place] = unit[usize::from(upright as u8)];
                    snow[1][place] = unit[usize::from(turned as u8)];
                }
                for place in 0..BLOCK {
                    let [red, green, blue] = [rgb[0][place], rgb[1][place], rgb[2][place]];
                    let whitened = (0.299 * red + 0.587 * green + 0.114 * blue) * 1.5 + 0.5;
                    for (levels, value) in levels.iter_mut().zip([red, green, blue]) {
                        let mixed = own * value + whitened_share * value.max(whitened);
                        let sum = f64::from(mixed) + snow[0][place] + snow[1][place];
                        levels[place] = whole_part(sum.min(1.0) * 255.0) as u8;
                    }
                }
                for (place, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    *pixel = [levels[0][place], levels[1][place], levels[2][place]];
                }
            }
        },
    );
}
