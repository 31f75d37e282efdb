//! Convolutions over few pixels. A column is a picture and not a pixel, so all columns of a panel meet the same taps, and those
//! that meet padding are left out: of a 3x3 kernel over 2x2 pixels, 4 of 9 taps remain.
//!
//! Weights are read where they lie, since each meets too few pixels to repay its packing. Terms are added in the order of
//! [`super::forward`], to whose sums the padding adds zeros, so that both ways give the same bits.

use pulp::Simd;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::forward::Weights;
use super::job::Job;
use super::tile::{self, Kernel, Step};

/// Pixels of a map that count as few.
const PIXELS: usize = 64;

/// Pictures in a vector, about.
const LANES: usize = 8;

/// Columns that could be multiplied by weights in the time in which these are packed, about.
const PACKING: usize = 8;

/// Rows of columns whose products are added at a time: with a panel of pictures, half of the nearest cache.
const ROWS: usize = 256;

/// Channels whose products are added at a time, at most: more weights would fill that cache.
const CHANNELS: usize = 32;

/// Sums of an output that are held at a time, in panels.
const SUMS: usize = 32;

/// Whether padding and packing take more time than what pictures leave empty of a vector.
///
/// May depend on the batch, since the other way gives the same bits.
pub(super) fn pays(job: &Job) -> bool {
    serves(job) && {
        let met = |pixel: usize| job.taps.iter().filter(|tap| job.met(pixel, **tap).is_some()).count();
        let met: usize = (0..job.pixels()).map(met).sum();
        met * job.batch.next_multiple_of(LANES) < job.taps.len() * (job.batch * job.pixels() + PACKING)
    }
}

/// Whether there are few pixels, and more to do than to multiply the source as it is.
pub(super) fn serves(job: &Job) -> bool {
    !job.pointwise() && [job.grid, job.source].iter().all(|[height, width]| height * width <= PIXELS)
}

/// Computes `job` into `target`, as [`super::forward::run`] does.
pub(super) fn run(job: &Job, source: &[f32], weights: &Weights, bias: Option<&[f32]>, target: &mut [f32]) {
    if target.is_empty() {
        return;
    }
    let [from, to] = [job.channels * job.source[0] * job.source[1], job.outputs * job.target[0] * job.target[1]];
    let terms = Terms::new(job, weights);
    let pictures = job.batch.div_ceil(rayon::current_num_threads()).next_multiple_of(16).min(job.batch);
    let work = |(index, target): (usize, &mut [f32])| {
        let source = &source[index * pictures * from..][..target.len() / to * from];
        tile::dispatch(Task { job, terms: &terms, source, weights, bias, target });
    };
    if pictures == job.batch {
        work((0, target));
    } else {
        target.par_chunks_mut(pictures * to).enumerate().for_each(work);
    }
}

/// The terms of some channels.
struct Terms {
    channels: usize,
    /// For every pixel of the grid, channel by channel.
    steps: Vec<Vec<Step>>,
}

impl Terms {
    fn new(job: &Job, weights: &Weights) -> Self {
        let pixels = job.source[0] * job.source[1];
        let channels = (ROWS / pixels).clamp(1, CHANNELS);
        let of_pixel = |pixel: usize| {
            let met = |(tap, place): (&[usize; 2], &usize)| job.met(pixel, *tap).map(|met| (met, *place));
            let met: Vec<_> = job.taps.iter().zip(&weights.taps).filter_map(met).collect();
            let all = (0..channels).flat_map(|channel| met.iter().map(move |(met, place)| (channel, met, place)));
            all.map(|(channel, met, place)| Step::new(channel * pixels + met, channel * weights.channel + place))
                .collect()
        };
        Self { channels, steps: (0..job.pixels()).map(of_pixel).collect() }
    }
}

struct Task<'a> {
    job: &'a Job,
    terms: &'a Terms,
    source: &'a [f32],
    weights: &'a Weights<'a>,
    bias: Option<&'a [f32]>,
    target: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) {
        let Self { job, terms, .. } = self;
        let width = MV * S::F32_LANES;
        let pixels = job.source[0] * job.source[1];
        let [from, to] = [job.channels * pixels, job.outputs * job.target[0] * job.target[1]];
        let group = (SUMS / job.pixels()).max(1) * width;
        let panels = group.min(self.target.len() / to).div_ceil(width);
        let mut columns = Buffer::new(panels * from * width);
        let mut sums = Buffer::new(panels * job.pixels() * NR * width);
        for (source, target) in self.source.chunks(group * from).zip(self.target.chunks_mut(group * to)) {
            let pictures = target.len() / to;
            pack(source, from, width, &mut columns);
            for output in (0..job.outputs).step_by(NR) {
                for channel in (0..job.channels).step_by(terms.channels) {
                    let channels = terms.channels.min(job.channels - channel);
                    let weights = rows::<NR>(job, self.weights, output, channel, channels);
                    let part = Part { terms, weights, channels, fresh: channel == 0 };
                    let panels =
                        columns.chunks_exact(from * width).zip(sums.chunks_exact_mut(job.pixels() * NR * width));
                    for (panel, (columns, sums)) in panels.take(pictures.div_ceil(width)).enumerate() {
                        let columns = &columns[channel * pixels * width..][..channels * pixels * width];
                        if pictures - panel * width > S::F32_LANES {
                            part.add::<S, MV, MV>(simd, columns, sums);
                        } else {
                            part.add::<S, MV, 1>(simd, columns, sums);
                        }
                    }
                }
                write::<NR>(job, width, output, &sums, self.bias, target);
            }
        }
    }
}

/// Pictures of `len` elements with their number innermost: `[panel][element][width]`. Columns behind the last picture hold
/// anything.
#[inline(always)]
fn pack(source: &[f32], len: usize, width: usize, target: &mut [f32]) {
    let pictures = source.len() / len;
    let row = |picture: usize| &source[picture * len..][..len];
    let mut picture = 0;
    while picture < pictures {
        let target = &mut target[picture / width * len * width + picture % width..];
        // Widths are multiples of four, so that no four pictures are on two panels.
        if picture + 4 <= pictures {
            let rows = [row(picture), row(picture + 1), row(picture + 2), row(picture + 3)];
            tile::transpose(rows, target, width);
            picture += 4;
        } else {
            tile::transpose([row(picture)], target, width);
            picture += 1;
        }
    }
}

/// The weights of `NR` outputs in some channels; behind the last output, its own once more.
#[inline(always)]
fn rows<'a, const NR: usize>(
    job: &Job,
    weights: &Weights<'a>,
    output: usize,
    channel: usize,
    channels: usize,
) -> [&'a [f32]; NR] {
    let taps = weights.taps.iter().max().map_or(0, |last| last + 1);
    let mut rows = [weights.values; NR];
    for (index, row) in rows.iter_mut().enumerate() {
        let first = (output + index).min(job.outputs - 1) * weights.output + channel * weights.channel;
        *row = &weights.values[first..][..(channels - 1) * weights.channel + taps];
    }
    rows
}

/// Some terms of the sums of `NR` outputs.
struct Part<'a, const NR: usize> {
    terms: &'a Terms,
    weights: [&'a [f32]; NR],
    /// How many of the terms' channels there are.
    channels: usize,
    /// Whether these are the first terms.
    fresh: bool,
}

impl<const NR: usize> Part<'_, NR> {
    /// Adds them to the sums of a panel of pictures: `[pixel][NR][width]`.
    #[inline(always)]
    fn add<S: Simd, const MV: usize, const USED: usize>(&self, simd: S, columns: &[f32], sums: &mut [f32]) {
        let sums = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<MV>().0.as_chunks_mut::<NR>().0;
        for (sums, steps) in sums.iter_mut().zip(&self.terms.steps) {
            let steps = &steps[..steps.len() / self.terms.channels * self.channels];
            let mut tile = [[simd.splat_f32s(0.0); USED]; NR];
            if !self.fresh {
                for (tile, sums) in tile.iter_mut().zip(&*sums) {
                    tile.copy_from_slice(&sums[..USED]);
                }
            }
            tile::product_of_steps::<S, MV, USED, NR>(simd, columns, self.weights, steps, &mut tile);
            for (tile, sums) in tile.iter().zip(sums) {
                sums[..USED].copy_from_slice(tile);
            }
        }
    }
}

/// Writes the sums of `NR` outputs from `output` on, plus the bias, to where they belong.
#[inline(always)]
fn write<const NR: usize>(
    job: &Job,
    width: usize,
    output: usize,
    sums: &[f32],
    bias: Option<&[f32]>,
    target: &mut [f32],
) {
    let (channel, panel) = (job.target[0] * job.target[1], job.pixels() * NR * width);
    for (picture, target) in target.chunks_exact_mut(job.outputs * channel).enumerate() {
        let sums = &sums[picture / width * panel..][..panel];
        for (index, target) in target[output * channel..].chunks_exact_mut(channel).take(NR).enumerate() {
            let bias = bias.map_or(0.0, |bias| bias[output + index]);
            for y in 0..job.grid[0] {
                let row = (job.start[0] + y * job.step[0]) * job.target[1] + job.start[1];
                for x in 0..job.grid[1] {
                    let place = ((y * job.grid[1] + x) * NR + index) * width + picture % width;
                    target[row + x * job.step[1]] = sums[place] + bias;
                }
            }
        }
    }
}
