//! The gradient of the weights: the output's gradient times columns, summed over the pixels.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::columns::{CHUNK, Columns};
use super::job::Job;
use super::small_weights;
use super::tile::{self, Kernel};
use super::winograd_weights;

/// Pixels of a block.
const BLOCK: usize = 256;

/// Computes the gradient of the weights of a forward job.
///
/// # Shapes
/// - source: `[batch, channels, height, width]`
/// - gradient: `[batch, outputs, height', width']`
/// - target: `[outputs, job.terms()]`
pub(super) fn run(job: &Job, source: &[f32], gradient: &[f32], target: &mut [f32]) {
    let pays = winograd_weights::pays(job);
    if !pays && small_weights::pays(job) {
        return small_weights::run(job, source, gradient, target);
    }
    // Threads share the channels, each with all pixels, so no sum is split.
    let tasks = rayon::current_num_threads().min(job.channels.div_ceil(job.channels_at_once())).max(1);
    let channels = job.channels.div_ceil(tasks).max(1);
    let starts: Vec<usize> = (0..job.channels).step_by(channels).collect();
    let task = |start: &usize| {
        let channels = *start..job.channels.min(start + channels);
        if pays {
            return tile::dispatch(winograd_weights::Task { job, source, gradient, channels });
        }
        tile::dispatch(Task { job, source, gradient, channels })
    };
    let parts: Vec<Part> = match starts.len() {
        0 | 1 => starts.iter().map(task).collect(),
        _ => starts.par_iter().map(task).collect(),
    };
    for part in parts {
        part.write(job, target);
    }
}

/// The gradient of some channels' weights: `[panel of outputs][term][width]`.
pub(super) struct Part {
    pub(super) sums: Buffer,
    pub(super) width: usize,
    pub(super) terms: Range<usize>,
}

impl Part {
    fn write(&self, job: &Job, target: &mut [f32]) {
        if self.terms.is_empty() {
            return;
        }
        let terms = job.terms();
        for (output, row) in target.chunks_exact_mut(terms).enumerate() {
            let from = &self.sums[output / self.width * self.width * self.terms.len() + output % self.width..];
            for (value, sum) in row[self.terms.clone()].iter_mut().zip(from.iter().step_by(self.width)) {
                *value = *sum;
            }
        }
    }
}

struct Task<'a> {
    job: &'a Job,
    source: &'a [f32],
    gradient: &'a [f32],
    channels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = Part;

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) -> Part {
        let job = self.job;
        let width = MV * S::F32_LANES;
        let block = BLOCK.next_multiple_of(width);
        let (at_once, taps) = (job.channels_at_once(), job.taps.len());
        let terms = self.channels.start * taps..self.channels.end * taps;
        let mut columns = Columns::new(job, width, block);
        let mut packed = Buffer::new(block * at_once * taps + CHUNK);
        let panels = job.outputs.div_ceil(width);
        let mut transposed = Buffer::zeros(panels * width * block);
        let mut sums = Buffer::zeros(panels * width * terms.len());
        for first in (0..job.batch * job.pixels()).step_by(block) {
            let range = first..(job.batch * job.pixels()).min(first + block);
            columns.seek(range.clone());
            transpose(job, self.gradient, 0..job.outputs, &range, width, block, &mut transposed);
            for channel in self.channels.clone().step_by(at_once) {
                let channels = channel..self.channels.end.min(channel + at_once);
                let rows = channels.len() * taps;
                let offset = (channel - self.channels.start) * taps * width;
                columns.pack(self.source, channels, &mut packed);
                let sums = sums.chunks_mut(terms.len() * width).take(panels);
                for (gradient, sums) in transposed.chunks_exact(width * block).zip(sums) {
                    let sums = &mut sums[offset..][..rows * width];
                    add::<S, MV, NR>(simd, &gradient[..range.len() * width], &packed, rows, sums);
                }
            }
        }
        Part { sums, width, terms }
    }
}

/// Adds the products of one panel of outputs with all rows of the columns.
///
/// # Shapes
/// - gradient: `[pixels, width]`
/// - columns: `[panel of pixels][rows][width]`
/// - sums: `[rows, width]`
#[inline(always)]
pub(super) fn add<S: Simd, const MV: usize, const NR: usize>(
    simd: S,
    gradient: &[f32],
    columns: &[f32],
    rows: usize,
    sums: &mut [f32],
) {
    let sums = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<MV>().0;
    let (tiles, rest) = sums.as_chunks_mut::<NR>();
    let whole = tiles.len() * NR;
    for (index, tile) in tiles.iter_mut().enumerate() {
        add_rows::<S, MV, NR>(simd, gradient, columns, rows, index * NR, tile);
    }
    for (index, tile) in rest.iter_mut().enumerate() {
        add_rows::<S, MV, 1>(simd, gradient, columns, rows, whole + index, std::array::from_mut(tile));
    }
}

#[inline(always)]
fn add_rows<S: Simd, const MV: usize, const NR: usize>(
    simd: S,
    gradient: &[f32],
    columns: &[f32],
    rows: usize,
    first: usize,
    tile: &mut [[S::f32s; MV]; NR],
) {
    let width = MV * S::F32_LANES;
    for (gradient, columns) in gradient.chunks(width * width).zip(columns.chunks_exact(rows * width)) {
        let mut rows = [columns; NR];
        for (index, row) in rows.iter_mut().enumerate() {
            *row = &columns[(first + index) * width..][..width];
        }
        tile::product_of_rows::<S, MV, NR>(simd, gradient, rows, tile);
    }
}

/// The gradient of some outputs over a block of pixels, with the outputs innermost: `[panel of outputs][pixel][width]`.
#[inline(always)]
pub(super) fn transpose(
    job: &Job,
    gradient: &[f32],
    outputs: Range<usize>,
    block: &Range<usize>,
    width: usize,
    pitch: usize,
    target: &mut [f32],
) {
    let pixels = job.pixels();
    let mut pixel = block.start;
    while pixel < block.end {
        let (picture, within) = (pixel / pixels, pixel % pixels);
        let len = (pixels - within).min(block.end - pixel);
        let row = |output: usize| &gradient[(picture * job.outputs + output) * pixels + within..][..len];
        let mut output = outputs.start;
        while output < outputs.end {
            let place = output - outputs.start;
            let place = place / width * width * pitch + (pixel - block.start) * width + place % width;
            let target = &mut target[place..];
            if output + 16 <= outputs.end && (output - outputs.start) % width + 16 <= width {
                let mut rows = [gradient; 16];
                for (index, place) in rows.iter_mut().enumerate() {
                    *place = row(output + index);
                }
                tile::transpose(rows, target, width);
                output += 16;
            } else {
                tile::transpose([row(output)], target, width);
                output += 1;
            }
        }
        pixel += len;
    }
}
