//! The gradient of the weights of a convolution over few pixels: a tap is summed over the pixels from which it meets the
//! picture, and not over those from which it meets padding. Terms are added in the order of [`super::weights`], to whose sums
//! the padding adds zeros, so that both ways give the same bits.

use pulp::Simd;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::job::Job;
use super::small;
use super::tile::{self, Kernel, Step};
use super::weights;

/// Pixels, of several pictures, whose terms are listed.
const PIXELS: usize = 128;

/// Pixels of a batch whose gradient, for a panel of outputs, stays in a cache: a quarter of a megabyte.
const BATCH: usize = 4096;

/// Whether there are few pixels, of a picture and in all.
pub(super) fn pays(job: &Job) -> bool {
    small::serves(job) && job.batch * job.pixels() <= BATCH
}

/// Computes the gradient of the weights of a forward job, as [`weights::run`] does.
pub(super) fn run(job: &Job, source: &[f32], gradient: &[f32], target: &mut [f32]) {
    if job.batch == 0 {
        return;
    }
    let terms = Terms::new(job);
    let outputs = job.outputs.div_ceil(rayon::current_num_threads()).next_multiple_of(16).min(job.outputs);
    let work = |(index, target): (usize, &mut [f32])| {
        tile::dispatch(Task { terms: &terms, source, gradient, first: index * outputs, target });
    };
    if outputs == job.outputs {
        work((0, target));
    } else {
        target.par_chunks_mut(outputs * job.terms()).enumerate().for_each(work);
    }
}

/// The terms of some pictures.
struct Terms<'a> {
    job: &'a Job,
    pictures: usize,
    /// For every tap, picture by picture.
    steps: Vec<Vec<Step>>,
}

impl<'a> Terms<'a> {
    fn new(job: &'a Job) -> Self {
        let pictures = (PIXELS / job.pixels()).max(1);
        let [from, to] = [job.source[0] * job.source[1], job.pixels()];
        let of_tap = |tap: &[usize; 2]| {
            let met: Vec<_> = (0..to).filter_map(|pixel| Some((pixel, job.met(pixel, *tap)?))).collect();
            let all = (0..pictures).flat_map(|picture| met.iter().map(move |(pixel, met)| (picture, pixel, met)));
            all.map(|(picture, pixel, met)| Step::new(picture * to + pixel, picture * from + met)).collect()
        };
        Self { job, pictures, steps: job.taps.iter().map(of_tap).collect() }
    }

    /// Sums them over all pictures, for a panel of outputs and `NR` channels: `[channel][tap][width]`.
    #[inline(always)]
    fn sum<S: Simd, const MV: usize, const NR: usize>(
        &self,
        simd: S,
        gradient: &[f32],
        source: &[f32],
        sums: &mut [f32],
    ) {
        let width = MV * S::F32_LANES;
        let sums = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<MV>().0;
        let to = self.pictures * self.job.pixels() * width;
        let from = self.pictures * self.job.source[0] * self.job.source[1] * NR;
        for (tap, steps) in self.steps.iter().enumerate() {
            let mut tile = [[simd.splat_f32s(0.0); MV]; NR];
            for (gradient, source) in gradient.chunks(to).zip(source.chunks(from)) {
                // The last are fewer pictures.
                let steps = &steps[..steps.len() * gradient.len() / to];
                tile::product_of_packed_steps::<S, MV, NR>(simd, gradient, source, steps, &mut tile);
            }
            for (channel, tile) in tile.into_iter().enumerate() {
                sums[channel * self.steps.len() + tap] = tile;
            }
        }
    }
}

struct Task<'a> {
    terms: &'a Terms<'a>,
    source: &'a [f32],
    gradient: &'a [f32],
    /// The output that `target` begins with.
    first: usize,
    target: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) {
        let job = self.terms.job;
        let width = MV * S::F32_LANES;
        let (pitch, taps, pixels) = (job.terms(), job.taps.len(), job.batch * job.pixels());
        let source = pack::<NR>(job, self.source);
        let mut gradient = Buffer::zeros(pixels * width);
        let mut sums = Buffer::new(NR * taps * width);
        for (panel, target) in self.target.chunks_mut(width * pitch).enumerate() {
            let first = self.first + panel * width;
            let outputs = first..first + target.len() / pitch;
            weights::transpose(job, self.gradient, outputs, &(0..pixels), width, pixels, &mut gradient);
            let panels = source.chunks_exact(job.batch * job.source[0] * job.source[1] * NR);
            for (source, term) in panels.zip((0..pitch).step_by(NR * taps)) {
                self.terms.sum::<S, MV, NR>(simd, &gradient, source, &mut sums);
                write(&sums, width, pitch.min(term + NR * taps) - term, &mut target[term..], pitch);
            }
        }
    }
}

/// Pictures with `NR` channels innermost: `[panel of channels][picture][pixel][NR]`, with zeros behind the last channel.
#[inline(always)]
fn pack<const NR: usize>(job: &Job, source: &[f32]) -> Buffer {
    let pixels = job.source[0] * job.source[1];
    let panel = job.batch * pixels * NR;
    let mut packed = Buffer::zeros(job.channels.div_ceil(NR) * panel);
    for (index, row) in source.chunks_exact(pixels).enumerate() {
        let (picture, channel) = (index / job.channels, index % job.channels);
        let target = &mut packed[channel / NR * panel + picture * pixels * NR + channel % NR..];
        tile::transpose([row], target, NR);
    }
    packed
}

/// Writes `count` sums of every output of a panel into its row of the target.
#[inline(always)]
fn write(sums: &[f32], width: usize, count: usize, target: &mut [f32], pitch: usize) {
    let outputs = target.len().div_ceil(pitch).min(width);
    let row = |term: usize| &sums[term * width..][..outputs];
    let mut term = 0;
    while term < count {
        let target = &mut target[term..];
        if term + 8 <= count {
            let mut rows = [sums; 8];
            for (index, place) in rows.iter_mut().enumerate() {
                *place = row(term + index);
            }
            tile::transpose(rows, target, pitch);
            term += 8;
        } else {
            tile::transpose([row(term)], target, pitch);
            term += 1;
        }
    }
}
