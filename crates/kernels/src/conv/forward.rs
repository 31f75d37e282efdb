//! Weights times columns, a block of pixels at a time.

use std::ops::{Deref, Range};

use pulp::Simd;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::columns::{CHUNK, Columns};
use super::job::Job;
use super::tile::{self, Kernel};

/// Pixels of a block: with 256 rows of columns, a quarter of a megabyte.
const BLOCK: usize = 256;

/// Weights as the caller has them.
pub(super) struct Weights<'a> {
    pub(super) values: &'a [f32],
    /// Elements from one output's to the next one's, and from one channel's to the next one's.
    pub(super) output: usize,
    pub(super) channel: usize,
    /// Where the weight of each of the job's taps is.
    pub(super) taps: Vec<usize>,
}

impl<'a> Weights<'a> {
    /// Those of a forward job, with the terms of a sum in a row.
    ///
    /// # Shapes
    /// - values: `[job.outputs, job.channels, taps]`
    pub(super) fn rows(job: &Job, values: &'a [f32]) -> Self {
        Self { values, output: job.terms(), channel: job.taps.len(), taps: (0..job.taps.len()).collect() }
    }

    /// Those of the opposite direction, whose outputs come after the channels.
    ///
    /// # Shapes
    /// - values: `[job.channels, job.outputs, all_taps]`, of which `taps` are wanted
    pub(super) fn columns(job: &Job, values: &'a [f32], taps: Vec<usize>, all_taps: usize) -> Self {
        Self { values, output: all_taps, channel: job.outputs * all_taps, taps }
    }
}

/// Weights in panels as the tile wants them: `[panel][term][NR]`, with zeros for the outputs behind the last.
pub(super) struct Packed(Buffer);

impl Deref for Packed {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl Packed {
    /// Packs them in the order in which they lie, if the terms of a sum are a row, and else across it.
    pub(super) fn new(job: &Job, weights: &Weights) -> Self {
        let Weights { values, output, channel, taps } = weights;
        if *channel == taps.len() {
            tile::dispatch(PackRows { job, weights: values })
        } else {
            tile::dispatch(PackColumns { job, weights: values, taps, all_taps: *output })
        }
    }
}

/// Packs weights with the terms of a sum in a row: `[job.outputs, job.terms()]`.
struct PackRows<'a> {
    job: &'a Job,
    weights: &'a [f32],
}

impl Kernel for PackRows<'_> {
    type Output = Packed;

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, _: S) -> Packed {
        let (outputs, terms) = (self.job.outputs, self.job.terms());
        let mut packed = Buffer::zeros(outputs.next_multiple_of(NR) * terms);
        for (panel, target) in packed.chunks_exact_mut(NR * terms.max(1)).enumerate() {
            let row = |output: usize| &self.weights[output * terms..][..terms];
            if (panel + 1) * NR <= outputs {
                tile::transpose::<NR>(std::array::from_fn(|index| row(panel * NR + index)), target, NR);
            } else {
                for index in 0..outputs - panel * NR {
                    tile::transpose([row(panel * NR + index)], &mut target[index..], NR);
                }
            }
        }
        Packed(packed)
    }
}

/// Packs weights with the outputs before the taps, `[job.channels, job.outputs, all_taps]`, of which `taps` are wanted.
struct PackColumns<'a> {
    job: &'a Job,
    weights: &'a [f32],
    taps: &'a [usize],
    all_taps: usize,
}

impl Kernel for PackColumns<'_> {
    type Output = Packed;

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, _: S) -> Packed {
        let Self { job: &Job { channels, outputs, .. }, weights, taps, all_taps } = self;
        let len = outputs.next_multiple_of(NR) * channels * taps.len();
        let mut packed = Buffer::zeros(len);
        for (panel, target) in packed.chunks_exact_mut((NR * channels * taps.len()).max(1)).enumerate() {
            let present = NR.min(outputs - panel * NR);
            for (channel, target) in target.chunks_exact_mut(NR * taps.len()).enumerate() {
                let from = &weights[(channel * outputs + panel * NR) * all_taps..][..present * all_taps];
                for (tap, target) in taps.iter().zip(target.chunks_exact_mut(NR)) {
                    for (value, from) in target.iter_mut().zip(from.chunks_exact(all_taps)) {
                        *value = from[*tap];
                    }
                }
            }
        }
        Packed(packed)
    }
}

/// Computes `job` into `target`, leaving the pixels alone that are not its grid's.
///
/// # Shapes
/// - source: `[batch, channels, height, width]`
/// - bias: `[outputs]`
/// - target: `[batch, outputs, height', width']`
pub(super) fn run(job: &Job, source: &[f32], weights: &Packed, bias: Option<&[f32]>, target: &mut [f32]) {
    let pictures = pictures_of_a_task(job, BLOCK);
    let [from, to] = [job.channels * job.source[0] * job.source[1], job.outputs * job.target[0] * job.target[1]];
    if target.is_empty() {
        return;
    }
    let work = |(index, target): (usize, &mut [f32])| {
        let source = &source[index * pictures * from..][..target.len() / to * from];
        tile::dispatch(Task { job, source, weights, bias, target });
    };
    if pictures == job.batch {
        work((0, target));
    } else {
        target.par_chunks_mut(pictures * to).enumerate().for_each(work);
    }
}

/// All for one thread; else few enough that threads find work, and a full block if possible.
pub(super) fn pictures_of_a_task(job: &Job, block: usize) -> usize {
    match rayon::current_num_threads() {
        1 => job.batch,
        threads => job.batch.div_ceil(4 * threads).max(block.div_ceil(job.pixels())).min(job.batch),
    }
}

struct Task<'a> {
    job: &'a Job,
    source: &'a [f32],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    target: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) {
        let job = self.job;
        let width = MV * S::F32_LANES;
        let block = BLOCK.next_multiple_of(width);
        let (at_once, taps, terms) = (job.channels_at_once(), job.taps.len(), job.terms());
        let pixels = self.target.len() / (job.outputs * job.target[0] * job.target[1]) * job.pixels();
        let mut columns = Columns::new(job, width, block);
        let mut packed = Buffer::new(block * at_once * taps + CHUNK);
        let mut sums = Buffer::new(job.outputs.next_multiple_of(NR) * block);
        for first in (0..pixels).step_by(block) {
            let range = first..pixels.min(first + block);
            columns.seek(range.clone());
            for channel in (0..job.channels).step_by(at_once) {
                let channels = channel..job.channels.min(channel + at_once);
                let rows = channels.start * taps..channels.end * taps;
                columns.pack(self.source, channels, &mut packed);
                let weights = self.weights.chunks(NR * terms).map(|panel| &panel[rows.start * NR..rows.end * NR]);
                let part = Part { columns: &packed, rows: rows.len(), pixels: range.len(), fresh: channel == 0 };
                for (weights, sums) in weights.take(job.outputs.div_ceil(NR)).zip(sums.chunks_exact_mut(NR * block)) {
                    part.add::<S, MV, NR>(simd, weights, sums);
                }
            }
            write::<NR>(job, &columns, &range, width, &sums, self.bias, self.target);
        }
    }
}

/// Some terms of the sums of a block.
struct Part<'a> {
    columns: &'a [f32],
    rows: usize,
    pixels: usize,
    /// Whether these are the first terms.
    fresh: bool,
}

impl Part<'_> {
    /// Adds them to the sums of one panel of outputs: `[panel of pixels][NR][width]`.
    #[inline(always)]
    fn add<S: Simd, const MV: usize, const NR: usize>(&self, simd: S, weights: &[f32], sums: &mut [f32]) {
        let width = MV * S::F32_LANES;
        let panels = self.columns.chunks_exact(self.rows * width).zip(sums.chunks_exact_mut(NR * width));
        for (panel, (columns, sums)) in panels.take(self.pixels.div_ceil(width)).enumerate() {
            if self.pixels - panel * width > S::F32_LANES {
                self.add_panel::<S, MV, MV, NR>(simd, columns, weights, sums);
            } else {
                self.add_panel::<S, MV, 1, NR>(simd, columns, weights, sums);
            }
        }
    }

    #[inline(always)]
    fn add_panel<S: Simd, const MV: usize, const USED: usize, const NR: usize>(
        &self,
        simd: S,
        columns: &[f32],
        weights: &[f32],
        sums: &mut [f32],
    ) {
        let sums = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<MV>().0;
        let mut tile = [[simd.splat_f32s(0.0); USED]; NR];
        if !self.fresh {
            for (tile, sums) in tile.iter_mut().zip(&*sums) {
                tile.copy_from_slice(&sums[..USED]);
            }
        }
        tile::product::<S, MV, USED, NR>(simd, columns, weights, &mut tile);
        for (tile, sums) in tile.iter().zip(sums) {
            sums[..USED].copy_from_slice(tile);
        }
    }
}

/// Writes the sums of a block, plus the bias, to where they belong.
#[inline(always)]
fn write<const NR: usize>(
    job: &Job,
    columns: &Columns,
    block: &Range<usize>,
    width: usize,
    sums: &[f32],
    bias: Option<&[f32]>,
    target: &mut [f32],
) {
    let channel = job.target[0] * job.target[1];
    let stride = BLOCK.next_multiple_of(width);
    for panel in 0..block.len().div_ceil(width) {
        for run in columns.runs(block, panel) {
            for output in 0..job.outputs {
                let sums =
                    &sums[output / NR * NR * stride + (panel * NR + output % NR) * width + run.column..][..run.len];
                let target = &mut target[(run.picture * job.outputs + output) * channel + run.position..];
                let bias = bias.map_or(0.0, |bias| bias[output]);
                if job.step[1] == 1 {
                    for (value, sum) in target[..run.len].iter_mut().zip(sums) {
                        *value = sum + bias;
                    }
                } else {
                    for (value, sum) in target.iter_mut().step_by(job.step[1]).zip(sums) {
                        *value = sum + bias;
                    }
                }
            }
        }
    }
}

/// The sum of every channel over pictures and pixels.
pub(super) fn sums_of_channels(gradient: &[f32], outputs: usize, pixels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; outputs];
    for picture in gradient.chunks_exact((outputs * pixels).max(1)) {
        for (sum, channel) in sums.iter_mut().zip(picture.chunks_exact(pixels)) {
            *sum += sum_of(channel);
        }
    }
    sums
}

/// A sum in sixteen strands, which vectors can add side by side.
fn sum_of(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut strands = [0.0f32; 16];
    for chunk in chunks {
        for (strand, value) in strands.iter_mut().zip(chunk) {
            *strand += value;
        }
    }
    strands.iter().sum::<f32>() + rest.iter().sum::<f32>()
}
