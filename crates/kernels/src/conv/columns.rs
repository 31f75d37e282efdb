//! The columns of a picture: a row for every channel and tap, a column for every pixel of the grid, packed in panels.

use std::ops::Range;

use super::buffer::Buffer;
use super::job::Job;

/// Elements that are copied at a time. A piece of fewer copies more, and what follows overwrites the rest.
pub(super) const CHUNK: usize = 16;

/// Packs the columns of one block of pixels after the other.
///
/// Pixels are counted through the pictures: `(picture * height + y) * width + x` on the grid.
pub(super) struct Columns<'a> {
    job: &'a Job,
    /// Columns of a panel.
    width: usize,
    /// The source around the block's pixels, with zeros around it and its phases apart, so that the taps of neighbours are
    /// neighbours; without content if that holds for the source itself.
    planes: Planes,
    values: Buffer,
    /// What the panels consist of, and where each begins in the list.
    pieces: Vec<Piece>,
    panels: Vec<Range<usize>>,
    /// The rows of the grid, by picture, that the block touches.
    touched: Vec<Touched>,
}

/// Neighbouring columns of a panel that are neighbours in every channel and tap.
#[derive(Clone, Copy)]
struct Piece {
    column: usize,
    /// Position in the source, or in the planes, for channel and tap zero.
    position: usize,
}

struct Touched {
    picture: usize,
    rows: Range<usize>,
}

/// Columns of a panel that are one run in the target.
pub(super) struct Run {
    pub(super) column: usize,
    pub(super) picture: usize,
    /// Position in a channel of the target.
    pub(super) position: usize,
    pub(super) len: usize,
}

impl<'a> Columns<'a> {
    /// For blocks of at most `block` pixels, in panels of `width` columns.
    pub(super) fn new(job: &'a Job, width: usize, block: usize) -> Self {
        let planes = Planes::new(job, block);
        let values = Buffer::new(planes.len);
        Self { job, width, planes, values, pieces: Vec::new(), panels: Vec::new(), touched: Vec::new() }
    }

    /// Turns to the pixels of `block`.
    pub(super) fn seek(&mut self, block: Range<usize>) {
        let ([height, width], pixels) = (self.job.grid, self.job.pixels());
        self.touched.clear();
        for picture in block.start / pixels..block.end.div_ceil(pixels) {
            let first = block.start.saturating_sub(picture * pixels) / width;
            let end = (block.end - picture * pixels).div_ceil(width).min(height);
            self.touched.push(Touched { picture, rows: first..end });
        }
        let first = block.start / pixels;
        (self.pieces, self.panels) = (Vec::new(), Vec::new());
        for panel in block.clone().step_by(self.width) {
            let (begin, end) = (self.pieces.len(), block.end.min(panel + self.width));
            let mut pixel = panel;
            while pixel < end {
                let (picture, y, x) = (pixel / pixels, pixel % pixels / width, pixel % width);
                let position = if self.job.pointwise() {
                    picture * self.job.channels * pixels + pixel % pixels
                } else {
                    let touched = &self.touched[picture - first];
                    self.planes.position(picture - first, y - touched.rows.start) + x
                };
                self.pieces.push(Piece { column: pixel - panel, position });
                let run = if self.job.pointwise() { pixels - pixel % pixels } else { width - x };
                pixel += run.min(CHUNK).min(end - pixel);
            }
            self.panels.push(begin..self.pieces.len());
        }
    }

    /// Writes the rows of `channels` for the block: `[panel][channel, tap][width]`. Columns behind the last pixel hold
    /// anything. `target` has room for [`CHUNK`] elements more.
    ///
    /// # Shapes
    /// - source: `[batch, channels, height, width]`
    #[inline(always)]
    pub(super) fn pack(&mut self, source: &[f32], channels: Range<usize>, target: &mut [f32]) {
        if self.job.pointwise() {
            let pixels = self.job.pixels();
            self.pack_from(&source[channels.start * pixels..], pixels, &[0], channels.len(), target);
        } else {
            self.planes.fill(&mut self.values, self.job, &self.touched, source, channels.clone());
            self.pack_from(&self.values, self.planes.plane, &self.planes.taps, channels.len(), target);
        }
    }

    #[inline(always)]
    fn pack_from(&self, source: &[f32], plane: usize, taps: &[usize], channels: usize, target: &mut [f32]) {
        let len = channels * taps.len() * self.width;
        let rows = Rows { source, plane, taps, channels, width: self.width };
        for (index, panel) in self.panels.iter().enumerate() {
            let target = &mut target[index * len..][..len + CHUNK];
            // Of a known number of pieces, positions stay in registers.
            match &self.pieces[panel.clone()] {
                [a, b] => rows.pack(&[*a, *b], target),
                [a, b, c] => rows.pack(&[*a, *b, *c], target),
                [a, b, c, d] => rows.pack(&[*a, *b, *c, *d], target),
                pieces => rows.pack(pieces, target),
            }
        }
    }

    /// Where the columns of a panel of the block go in the target.
    pub(super) fn runs(&self, block: &Range<usize>, panel: usize) -> impl Iterator<Item = Run> {
        let (job, pixels) = (self.job, self.job.pixels());
        let (first, end) = (block.start + panel * self.width, block.end.min(block.start + (panel + 1) * self.width));
        // Rows of the grid that follow each other in the target are one run.
        let through = job.step == [1; 2] && job.grid[1] == job.target[1];
        let mut pixel = first;
        std::iter::from_fn(move || {
            let (picture, y, x) = (pixel / pixels, pixel % pixels / job.grid[1], pixel % job.grid[1]);
            let rest = if through { pixels - pixel % pixels } else { job.grid[1] - x };
            let position = (job.start[0] + y * job.step[0]) * job.target[1] + job.start[1] + x * job.step[1];
            let run = Run { column: pixel - first, picture, position, len: rest.min(end - pixel) };
            pixel += run.len;
            (run.len > 0).then_some(run)
        })
    }
}

/// The rows of a panel, and where they come from.
struct Rows<'a> {
    source: &'a [f32],
    plane: usize,
    taps: &'a [usize],
    channels: usize,
    width: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn pack(&self, pieces: &(impl AsRef<[Piece]> + ?Sized), target: &mut [f32]) {
        let mut row = 0;
        for channel in 0..self.channels {
            for tap in self.taps {
                let (source, target) = (&self.source[channel * self.plane + tap..], &mut target[row..]);
                for piece in pieces.as_ref() {
                    let target = &mut target[piece.column..][..CHUNK];
                    let source = &source[piece.position..];
                    match source.first_chunk::<CHUNK>() {
                        Some(chunk) => target.copy_from_slice(chunk),
                        None => copy_end(source, target),
                    }
                }
                row += self.width;
            }
        }
    }
}

/// Copies what there is. Not inlined, or the compiler makes one copy of variable length of this and of whole chunks.
#[cold]
#[inline(never)]
fn copy_end(source: &[f32], target: &mut [f32]) {
    target[..source.len()].copy_from_slice(source);
}

/// Part of the source, padded, with the phases of the stride apart: `[picture][channel][phase of y][row][phase of x][column]`.
struct Planes {
    /// Elements of all, of a picture, of a channel and of a row.
    len: usize,
    picture: usize,
    plane: usize,
    pitch: usize,
    /// Rows and columns of a phase.
    phase: [usize; 2],
    /// The phases that a tap meets, along either axis.
    met: [Vec<usize>; 2],
    /// Positions of the taps.
    taps: Vec<usize>,
    /// Rows more than the grid's that taps reach.
    reach: usize,
}

impl Planes {
    fn new(job: &Job, block: usize) -> Self {
        let met = [0, 1].map(|axis| {
            let mut met: Vec<usize> = job.taps.iter().map(|tap| tap[axis] % job.stride[axis]).collect();
            met.sort_unstable();
            met.dedup();
            met
        });
        let reach = [0, 1].map(|axis| job.taps.iter().map(|tap| tap[axis] / job.stride[axis]).max().unwrap_or(0));
        let rows = job.grid[0].min((block - 1) / job.grid[1] + 2);
        let phase = [rows + reach[0], job.grid[1] + reach[1]];
        let pitch = met[1].len() * phase[1];
        let plane = met[0].len() * phase[0] * pitch;
        let slot = |axis: usize, tap: usize| met[axis].partition_point(|phase| *phase < tap % job.stride[axis]);
        let position = |tap: &[usize; 2]| {
            let row = slot(0, tap[0]) * phase[0] + tap[0] / job.stride[0];
            row * pitch + slot(1, tap[1]) * phase[1] + tap[1] / job.stride[1]
        };
        let taps = job.taps.iter().map(position).collect();
        let picture = job.channels_at_once() * plane;
        // A block that begins within a picture touches one more.
        let pictures = ((block - 1) / job.pixels() + 2).min(job.batch);
        let len = if job.pointwise() { 0 } else { pictures * picture + CHUNK };
        Self { len, picture, plane, pitch, phase, met, taps, reach: reach[0] }
    }

    fn position(&self, picture: usize, row: usize) -> usize {
        picture * self.picture + row * self.pitch
    }

    fn fill(&self, values: &mut [f32], job: &Job, touched: &[Touched], source: &[f32], channels: Range<usize>) {
        let [height, width] = job.source;
        for (index, Touched { picture, rows }) in touched.iter().enumerate() {
            for channel in channels.clone() {
                let from = &source[(picture * job.channels + channel) * height * width..][..height * width];
                let plane = &mut values[index * self.picture + (channel - channels.start) * self.plane..][..self.plane];
                for (met, plane) in self.met[0].iter().zip(plane.chunks_exact_mut(self.phase[0] * self.pitch)) {
                    for (row, line) in plane.chunks_exact_mut(self.pitch).take(rows.len() + self.reach).enumerate() {
                        let y = job.origin[0] + ((rows.start + row) * job.stride[0] + met) as isize;
                        match usize::try_from(y).ok().filter(|y| *y < height) {
                            Some(y) => self.fill_row(line, job, &from[y * width..][..width]),
                            None => line.fill(0.0),
                        }
                    }
                }
            }
        }
    }

    fn fill_row(&self, line: &mut [f32], job: &Job, from: &[f32]) {
        for (met, line) in self.met[1].iter().zip(line.chunks_exact_mut(self.phase[1])) {
            let (first, stride) = (job.origin[1] + *met as isize, job.stride[1]);
            // Columns left of the source, and then those within.
            let before = usize::try_from(-first).unwrap_or(0).div_ceil(stride).min(line.len());
            let begin = (first + (before * stride) as isize) as usize;
            let within = from.len().saturating_sub(begin).div_ceil(stride).min(line.len() - before);
            line[..before].fill(0.0);
            line[before + within..].fill(0.0);
            let line = &mut line[before..before + within];
            if within == 0 {
                continue;
            }
            let from = &from[begin..];
            match stride {
                1 => line.copy_from_slice(&from[..within]),
                2 => {
                    // In pairs, which vectors can take apart; the last may lack its second half.
                    let pairs = from.as_chunks::<2>().0;
                    line.iter_mut().zip(pairs).for_each(|(value, pair)| *value = pair[0]);
                    line[within - 1] = from[2 * (within - 1)];
                }
                _ => line.iter_mut().zip(from.iter().step_by(stride)).for_each(|(value, from)| *value = *from),
            }
        }
    }
}
