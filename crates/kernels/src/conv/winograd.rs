//! 3x3 kernels of stride 1 in 16 products for every 2x2 pixels and pair of channels, where the definition takes 36.
//! Source: Lavin & Gray 2016, arXiv:1509.09308, F(2x2, 3x3).
//!
//! Picture and kernel are transformed by additions and halves alone, so that errors stay those of single precision; the
//! larger tiles of the paper save more and lose digits.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::columns::{CHUNK, Columns};
use super::forward::{self, Packed};
use super::job::Job;
use super::tile::{self, Kernel};

/// Points at which the transforms of picture and kernel are multiplied.
pub(super) const POINTS: usize = 16;

/// Tiles of 2x2 pixels in a block.
const BLOCK: usize = 64;

/// Outputs whose products with a block are held at a time: a quarter of a megabyte.
const OUTPUTS: usize = 64;

/// Elements between the values of one point and the next: two cache lines, or all points would share the same few places of
/// the nearest cache, whose address bits repeat every 4096 bytes.
pub(super) const GAP: usize = 32;

/// Whether the products saved are worth the transforms. Does not depend on the batch, so that no picture's sums do.
pub(super) fn pays(job: &Job) -> bool {
    // Transformed kernels take more time than what they save where few tiles meet them.
    serves(job) && 32 * tiles(job).pixels() > job.channels.min(job.outputs)
}

/// Whether this is a convolution of the kind.
pub(super) fn serves(job: &Job) -> bool {
    let kernel = job.taps.len() == 9 && job.taps.iter().all(|tap| tap[0] < 3 && tap[1] < 3);
    let plain = job.stride == [1; 2] && job.step == [1; 2];
    kernel && plain && job.channels >= 16 && job.outputs >= 16 && job.grid.iter().all(|side| *side > 2)
}

/// Computes `job` into `target`, as [`forward::run`] does.
pub(super) fn run(job: &Job, source: &[f32], weights: &Packed, bias: Option<&[f32]>, target: &mut [f32]) {
    if target.is_empty() {
        return;
    }
    let tiles = tiles(job);
    let weights = tile::dispatch(TransformWeights { job, weights });
    let pictures = forward::pictures_of_a_task(&tiles, BLOCK);
    let [from, to] = [job.channels * job.source[0] * job.source[1], job.outputs * job.target[0] * job.target[1]];
    let work = |(index, target): (usize, &mut [f32])| {
        let source = &source[index * pictures * from..][..target.len() / to * from];
        tile::dispatch(Task { job, tiles: &tiles, source, weights: &weights, bias, target });
    };
    if pictures == job.batch {
        work((0, target));
    } else {
        target.par_chunks_mut(pictures * to).enumerate().for_each(work);
    }
}

/// The job whose columns are the 4x4 pixels that a tile depends on.
pub(super) fn tiles(job: &Job) -> Job {
    let grid = job.grid.map(|side| side.div_ceil(2));
    Job {
        batch: job.batch,
        channels: job.channels,
        outputs: job.outputs,
        source: job.source,
        origin: job.origin,
        stride: [2; 2],
        taps: (0..POINTS).map(|tap| [tap / 4, tap % 4]).collect(),
        grid,
        target: grid,
        start: [0; 2],
        step: [1; 2],
    }
}

/// Transforms kernels: `[point][panel][channel][NR]`.
struct TransformWeights<'a> {
    job: &'a Job,
    weights: &'a Packed,
}

impl Kernel for TransformWeights<'_> {
    type Output = Buffer;

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, _: S) -> Buffer {
        let size = self.job.outputs.next_multiple_of(NR) * self.job.channels + GAP;
        let mut transformed = Buffer::new(POINTS * size);
        // Where in a row of taps the tap at a place of the kernel is.
        let mut places = [0; 9];
        for (index, tap) in self.job.taps.iter().enumerate() {
            places[tap[0] * 3 + tap[1]] = index;
        }
        for (index, kernels) in self.weights.as_chunks::<NR>().0.chunks_exact(9).enumerate() {
            let mut columns = [[[0.0; NR]; 4]; 3];
            for (x, column) in columns.iter_mut().enumerate() {
                *column = kernel_line([kernels[places[x]], kernels[places[3 + x]], kernels[places[6 + x]]]);
            }
            for y in 0..4 {
                let row = kernel_line([columns[0][y], columns[1][y], columns[2][y]]);
                for (x, value) in row.iter().enumerate() {
                    transformed[(y * 4 + x) * size + index * NR..][..NR].copy_from_slice(value);
                }
            }
        }
        transformed
    }
}

/// The transform of three taps, for `NR` kernels.
#[inline(always)]
fn kernel_line<const NR: usize>([a, b, c]: [[f32; NR]; 3]) -> [[f32; NR]; 4] {
    let (mut sum, mut difference) = ([0.0; NR], [0.0; NR]);
    for lane in 0..NR {
        let half = 0.5 * (a[lane] + c[lane]);
        sum[lane] = half + 0.5 * b[lane];
        difference[lane] = half - 0.5 * b[lane];
    }
    [a, sum, difference, c]
}

/// The transform of four pixels, for the vectors of a panel.
#[inline(always)]
fn picture_line<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
}

/// The two sums that four points give.
#[inline(always)]
fn sum_line<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    [simd.add_f32s(simd.add_f32s(a, b), c), simd.sub_f32s(simd.sub_f32s(b, c), d)]
}

struct Task<'a> {
    job: &'a Job,
    tiles: &'a Job,
    source: &'a [f32],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    target: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) {
        let Self { job, tiles, .. } = self;
        let width = MV * S::F32_LANES;
        let block = BLOCK.next_multiple_of(width);
        let at_once = tiles.channels_at_once();
        let count = self.target.len() / (job.outputs * job.target[0] * job.target[1]) * tiles.pixels();
        let group = OUTPUTS.next_multiple_of(NR);
        let mut columns = Columns::new(tiles, width, block);
        let mut packed = Buffer::new(block * at_once * POINTS + CHUNK);
        let mut points = Buffer::new(POINTS * (block * job.channels + GAP));
        let mut products = Buffer::new(POINTS * (block * group + GAP));
        let weights_len = job.outputs.next_multiple_of(NR) * job.channels + GAP;
        let mut writer = Writer { job, tiles, bias: self.bias, target: self.target };
        for first in (0..count).step_by(block) {
            let range = first..count.min(first + block);
            let panels = range.len().div_ceil(width);
            let points_len = panels * job.channels * width + GAP;
            let points = &mut points[..POINTS * points_len];
            columns.seek(range.clone());
            for channel in (0..job.channels).step_by(at_once) {
                let channels = channel..job.channels.min(channel + at_once);
                columns.pack(self.source, channels.clone(), &mut packed);
                transform::<S, MV>(simd, &packed, panels, channels, job.channels, points);
            }
            for output in (0..job.outputs).step_by(group) {
                let outputs = output..job.outputs.min(output + group);
                let len = panels * width * outputs.len().next_multiple_of(NR) + GAP;
                let products = &mut products[..POINTS * len];
                let from = output * job.channels;
                let parts = self.weights.chunks_exact(weights_len).zip(points.chunks_exact(points_len));
                for ((weights, points), products) in parts.zip(products.chunks_exact_mut(len)) {
                    let weights = &weights[from..][..outputs.len().next_multiple_of(NR) * job.channels];
                    multiply::<S, MV, NR>(simd, weights, points, job.channels, panels, products);
                }
                writer.write::<S, MV, NR>(simd, &range, panels, outputs, products);
            }
        }
    }
}

/// Transforms packed columns of some channels: `[point][panel][channel][width]` of `all` channels.
#[inline(always)]
pub(super) fn transform<S: Simd, const MV: usize>(
    simd: S,
    packed: &[f32],
    panels: usize,
    channels: Range<usize>,
    all: usize,
    points: &mut [f32],
) {
    let packed = S::as_simd_f32s(packed).0.as_chunks::<MV>().0;
    let points = S::as_mut_simd_f32s(points).0.as_chunks_mut::<MV>().0;
    let point_len = points.len() / POINTS;
    for (panel, packed) in packed.chunks_exact(channels.len() * POINTS).take(panels).enumerate() {
        for (channel, pixels) in channels.clone().zip(packed.as_chunks::<POINTS>().0) {
            for vector in 0..MV {
                let mut columns = [[simd.splat_f32s(0.0); 4]; 4];
                for (x, column) in columns.iter_mut().enumerate() {
                    let [a, b, c, d] = [&pixels[x], &pixels[4 + x], &pixels[8 + x], &pixels[12 + x]];
                    *column = picture_line(simd, [a[vector], b[vector], c[vector], d[vector]]);
                }
                for y in 0..4 {
                    let row = picture_line(simd, [columns[0][y], columns[1][y], columns[2][y], columns[3][y]]);
                    for (x, value) in row.into_iter().enumerate() {
                        points[(4 * y + x) * point_len + panel * all + channel][vector] = value;
                    }
                }
            }
        }
    }
}

/// The products at one point, summed over the channels: `[panel of outputs][panel of tiles][NR][width]`.
#[inline(always)]
fn multiply<S: Simd, const MV: usize, const NR: usize>(
    simd: S,
    weights: &[f32],
    points: &[f32],
    channels: usize,
    panels: usize,
    products: &mut [f32],
) {
    let width = MV * S::F32_LANES;
    let products = S::as_mut_simd_f32s(products).0.as_chunks_mut::<MV>().0.as_chunks_mut::<NR>().0;
    for (weights, products) in weights.chunks_exact(channels * NR).zip(products.chunks_exact_mut(panels)) {
        for (points, product) in points.chunks_exact(channels * width).zip(products) {
            let mut tile = [[simd.splat_f32s(0.0); MV]; NR];
            tile::product::<S, MV, MV, NR>(simd, points, weights, &mut tile);
            *product = tile;
        }
    }
}

/// Turns products into pixels.
struct Writer<'a> {
    job: &'a Job,
    tiles: &'a Job,
    bias: Option<&'a [f32]>,
    target: &'a mut [f32],
}

impl Writer<'_> {
    /// Writes the pixels of some tiles for some outputs.
    #[inline(always)]
    fn write<S: Simd, const MV: usize, const NR: usize>(
        &mut self,
        simd: S,
        block: &Range<usize>,
        panels: usize,
        outputs: Range<usize>,
        products: &[f32],
    ) {
        let width = MV * S::F32_LANES;
        let products = S::as_simd_f32s(products).0.as_chunks::<MV>().0;
        let point_len = products.len() / POINTS;
        // Upper left, upper right, lower left and lower right pixels of a panel's tiles.
        let mut pixels = Buffer::new(4 * width);
        for (index, output) in outputs.enumerate() {
            let bias = simd.splat_f32s(self.bias.map_or(0.0, |bias| bias[output]));
            for panel in 0..panels {
                let vectors = S::as_mut_simd_f32s(&mut pixels).0.as_chunks_mut::<MV>().0;
                let place = (index / NR * panels + panel) * NR + index % NR;
                for vector in 0..MV {
                    let mut columns = [[simd.splat_f32s(0.0); 2]; 4];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let at = x * point_len + place;
                        let [a, b, c, d] = [at, at + 4 * point_len, at + 8 * point_len, at + 12 * point_len];
                        let [a, b, c, d] = [&products[a], &products[b], &products[c], &products[d]];
                        *column = sum_line(simd, [a[vector], b[vector], c[vector], d[vector]]);
                    }
                    for y in 0..2 {
                        let row = sum_line(simd, [columns[0][y], columns[1][y], columns[2][y], columns[3][y]]);
                        for x in 0..2 {
                            vectors[2 * y + x][vector] = simd.add_f32s(row[x], bias);
                        }
                    }
                }
                let first = block.start + panel * width;
                self.write_panel(first..block.end.min(first + width), output, width, &pixels);
            }
        }
    }

    /// Writes the pixels of a panel's tiles: upper left ones, upper right ones, lower left ones, lower right ones.
    #[inline(always)]
    fn write_panel(&mut self, range: Range<usize>, output: usize, panel: usize, pixels: &[f32]) {
        let ([height, width], tiles) = (self.job.target, self.tiles.pixels());
        let mut tile = range.start;
        while tile < range.end {
            let (picture, row, column) = (tile / tiles, tile % tiles / self.tiles.grid[1], tile % self.tiles.grid[1]);
            let len = (self.tiles.grid[1] - column).min(range.end - tile);
            let channel = &mut self.target[(picture * self.job.outputs + output) * height * width..][..height * width];
            let rows = channel[2 * row * width..].chunks_exact_mut(width).take(2);
            for (target, pixels) in rows.zip(pixels.chunks_exact(2 * panel)) {
                let from = tile - range.start;
                let (left, right) = (&pixels[from..][..len], &pixels[panel + from..][..len]);
                let (pairs, last) = target[2 * column..width.min(2 * (column + len))].as_chunks_mut::<2>();
                for ((pair, left), right) in pairs.iter_mut().zip(left).zip(right) {
                    *pair = [*left, *right];
                }
                if let ([value], Some(left)) = (last, left.last()) {
                    *value = *left;
                }
            }
            tile += len;
        }
    }
}
