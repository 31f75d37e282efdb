//! The gradient of 3x3 weights of stride 1 by the transforms of [`super::winograd`], transposed: what multiplied there is summed here.

use std::ops::Range;

use pulp::Simd;

use super::buffer::Buffer;
use super::columns::{CHUNK, Columns};
use super::job::Job;
use super::tile::{self, Kernel};
use super::weights::{self, Part};
use super::winograd::{self, GAP, POINTS};

/// Whether the products saved are worth the transforms, that of the sums above all.
pub(super) fn pays(job: &Job) -> bool {
    winograd::serves(job) && 8 * job.batch * winograd::tiles(job).pixels() > job.channels.min(job.outputs)
}

/// Computes the gradient of some channels' weights.
pub(super) struct Task<'a> {
    pub(super) job: &'a Job,
    pub(super) source: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) channels: Range<usize>,
}

impl Task<'_> {
    /// Tiles of a block: more where the sums are too many for a cache, and go to memory after every block.
    fn block(&self) -> usize {
        if self.job.outputs * self.job.channels < 1 << 16 { 64 } else { 128 }
    }
}

impl Kernel for Task<'_> {
    type Output = Part;

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) -> Part {
        let job = self.job;
        let (tiles, gradients) = (winograd::tiles(job), gradient_tiles(job));
        let width = MV * S::F32_LANES;
        let block = self.block().next_multiple_of(width);
        let outputs = job.outputs.next_multiple_of(width);
        let at_once = tiles.channels_at_once();
        let count = self.channels.len();
        let mut columns = Columns::new(&tiles, width, block);
        let mut gradient = Gradient::new(&gradients, width, block);
        let mut packed = Buffer::new(block * at_once * POINTS + CHUNK);
        let mut points = Buffer::new(POINTS * (block * count + GAP));
        let mut sums = Buffer::zeros(POINTS * (outputs * count + GAP));
        let all = job.batch * tiles.pixels();
        for first in (0..all).step_by(block) {
            let range = first..all.min(first + block);
            let panels = range.len().div_ceil(width);
            let points = &mut points[..POINTS * (panels * count * width + GAP)];
            columns.seek(range.clone());
            for channel in self.channels.clone().step_by(at_once) {
                let channels = channel..self.channels.end.min(channel + at_once);
                columns.pack(self.source, channels.clone(), &mut packed);
                let places = channels.start - self.channels.start..channels.end - self.channels.start;
                winograd::transform::<S, MV>(simd, &packed, panels, places, count, points);
            }
            gradient.transform::<S, MV>(simd, self.gradient, &range);
            let points = points.chunks_exact(panels * count * width + GAP);
            let sums = sums.chunks_exact_mut(outputs * count + GAP);
            for ((points, sums), gradient) in points.zip(sums).zip(gradient.points()) {
                let sums = sums.chunks_exact_mut(count * width);
                for (gradient, sums) in gradient.chunks_exact(block * width).zip(sums) {
                    let gradient = &gradient[..range.len() * width];
                    weights::add::<S, MV, NR>(simd, gradient, &points[..panels * count * width], count, sums);
                }
            }
        }
        let terms = self.channels.start * 9..self.channels.end * 9;
        Part { sums: kernels::<S, MV>(simd, &sums, outputs * count), width, terms }
    }
}

/// The job whose columns are the 2x2 pixels of a tile of the output's gradient.
fn gradient_tiles(job: &Job) -> Job {
    Job {
        channels: job.outputs,
        source: job.grid,
        origin: [0; 2],
        taps: vec![[0, 0], [0, 1], [1, 0], [1, 1]],
        ..winograd::tiles(job)
    }
}

/// The output's gradient over a block of tiles, transformed: `[point][panel of outputs][tile][width]`.
struct Gradient<'a> {
    job: &'a Job,
    columns: Columns<'a>,
    width: usize,
    block: usize,
    packed: Buffer,
    /// One panel of outputs before the transform: `[tap][tile][width]`.
    transposed: Buffer,
    points: Buffer,
}

impl<'a> Gradient<'a> {
    fn new(job: &'a Job, width: usize, block: usize) -> Self {
        let columns = Columns::new(job, width, block);
        let packed = Buffer::new(block * job.channels_at_once() * 4 + CHUNK);
        let points = Buffer::zeros(POINTS * (job.outputs.next_multiple_of(width) * block + GAP));
        Self { job, columns, width, block, packed, transposed: Buffer::zeros(4 * block * width), points }
    }

    fn points(&self) -> impl Iterator<Item = &[f32]> {
        self.points.chunks_exact(self.points.len() / POINTS)
    }

    #[inline(always)]
    fn transform<S: Simd, const MV: usize>(&mut self, simd: S, gradient: &[f32], range: &Range<usize>) {
        self.columns.seek(range.clone());
        for (index, first) in (0..self.job.outputs).step_by(self.width).enumerate() {
            let outputs = first..self.job.outputs.min(first + self.width);
            self.columns.pack(gradient, outputs.clone(), &mut self.packed);
            self.transpose(outputs.len(), range.len());
            let taps = S::as_simd_f32s(&self.transposed).0.as_chunks::<MV>().0;
            let points = S::as_mut_simd_f32s(&mut self.points).0.as_chunks_mut::<MV>().0;
            let point_len = points.len() / POINTS;
            for tile in 0..range.len() {
                for vector in 0..MV {
                    let mut columns = [[simd.splat_f32s(0.0); 4]; 2];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let [upper, lower] = [x * self.block + tile, (2 + x) * self.block + tile];
                        *column = gradient_line(simd, [taps[upper][vector], taps[lower][vector]]);
                    }
                    for y in 0..4 {
                        let row = gradient_line(simd, [columns[0][y], columns[1][y]]);
                        for (x, value) in row.into_iter().enumerate() {
                            points[(4 * y + x) * point_len + index * self.block + tile][vector] = value;
                        }
                    }
                }
            }
        }
    }

    /// Turns packed columns of a panel of outputs so that outputs are innermost.
    #[inline(always)]
    fn transpose(&mut self, outputs: usize, tiles: usize) {
        let width = self.width;
        for (panel, packed) in self.packed.chunks_exact(outputs * 4 * width).take(tiles.div_ceil(width)).enumerate() {
            for tap in 0..4 {
                let target = &mut self.transposed[(tap * self.block + panel * width) * width..];
                let mut output = 0;
                while output < outputs {
                    let row = |output: usize| &packed[(output * 4 + tap) * width..][..width];
                    if output + 16 <= outputs {
                        let mut rows = [packed; 16];
                        for (index, place) in rows.iter_mut().enumerate() {
                            *place = row(output + index);
                        }
                        tile::transpose(rows, &mut target[output..], width);
                        output += 16;
                    } else {
                        tile::transpose([row(output)], &mut target[output..], width);
                        output += 1;
                    }
                }
            }
        }
    }
}

/// The transposed transform of two sums: what they give to each of four points.
#[inline(always)]
fn gradient_line<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
    [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.neg_f32s(b)]
}

/// The transposed transform of a kernel's taps: what four points give to each of three.
#[inline(always)]
fn tap_line<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let sum = simd.mul_f32s(half, simd.add_f32s(b, c));
    [simd.add_f32s(a, sum), simd.mul_f32s(half, simd.sub_f32s(b, c)), simd.add_f32s(sum, d)]
}

/// The taps' gradients from those at the points: `[panel][channel][tap][width]`, from `len` values a point.
#[inline(always)]
fn kernels<S: Simd, const MV: usize>(simd: S, sums: &[f32], len: usize) -> Buffer {
    let mut kernels = Buffer::new(9 * len);
    let sums = S::as_simd_f32s(sums).0;
    let point_len = sums.len() / POINTS;
    let taps = S::as_mut_simd_f32s(&mut kernels).0;
    for (index, taps) in taps.chunks_exact_mut(9 * MV).enumerate() {
        for vector in 0..MV {
            let at = index * MV + vector;
            let mut columns = [[simd.splat_f32s(0.0); 3]; 4];
            for (x, column) in columns.iter_mut().enumerate() {
                let [a, b, c, d] = [x, x + 4, x + 8, x + 12];
                let [a, b, c, d] = [a * point_len, b * point_len, c * point_len, d * point_len];
                *column = tap_line(simd, [sums[a + at], sums[b + at], sums[c + at], sums[d + at]]);
            }
            for y in 0..3 {
                let row = tap_line(simd, [columns[0][y], columns[1][y], columns[2][y], columns[3][y]]);
                for (x, value) in row.into_iter().enumerate() {
                    taps[(3 * y + x) * MV + vector] = value;
                }
            }
        }
    }
    kernels
}
