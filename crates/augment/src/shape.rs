//! Edges, distances and histograms of a plane of levels, as OpenCV 4 computes them.

use crate::border::Border;
use crate::scratch::{Sample, Scratch};
use crate::simd::vectorised;

/// A plane with a margin of [`MARGIN`] samples on every side, which stands in for tests at the border.
pub(crate) struct Plane<T> {
    sides: [usize; 2],
    samples: Vec<T>,
}

/// The reach of the widest neighbourhood used here.
const MARGIN: usize = 2;

impl<T: Sample> Plane<T> {
    /// Zeros, `sides[0]` samples wide and `sides[1]` high.
    pub fn new(sides: [usize; 2], scratch: &mut Scratch) -> Self {
        Self { sides, samples: scratch.take((sides[0] + 2 * MARGIN) * (sides[1] + 2 * MARGIN)) }
    }

    /// Returns the memory.
    pub fn give(self, scratch: &mut Scratch) {
        scratch.give(self.samples);
    }

    pub fn width(&self) -> usize {
        self.sides[0]
    }

    fn stride(&self) -> usize {
        self.sides[0] + 2 * MARGIN
    }

    /// Where a row begins, its margin left out; the first one of the margin above is `-MARGIN`.
    fn start(&self, row: isize) -> usize {
        row.wrapping_add_unsigned(MARGIN) as usize * self.stride() + MARGIN
    }

    /// The rows without their margins.
    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        (0..self.sides[1] as isize).map(|row| &self.samples[self.start(row)..][..self.sides[0]])
    }

    /// Sets the samples, given in rows.
    pub fn fill(&mut self, mut samples: impl Iterator<Item = T>) {
        for row in 0..self.sides[1] as isize {
            let start = self.start(row);
            self.samples[start..][..self.sides[0]].iter_mut().zip(&mut samples).for_each(|(own, sample)| *own = sample);
        }
    }

    /// Fills one sample of the margin on every side.
    fn extend(&mut self, border: Border) {
        let [width, height] = self.sides;
        for row in 0..height as isize {
            let start = self.start(row);
            self.samples[start - 1] = self.samples[start + border.resolve(-1, width)];
            self.samples[start + width] = self.samples[start + border.resolve(width as i64, width)];
        }
        for row in [-1, height as isize] {
            let source = self.start(border.resolve(row as i64, height) as isize) - 1;
            let target = self.start(row) - 1;
            self.samples.copy_within(source..source + width + 2, target);
        }
    }

    /// The rows above, at and below `row`, with one sample of the margin on either side.
    #[inline(always)]
    fn around(&self, row: usize) -> [&[T]; 3] {
        [-1, 0, 1].map(|step| &self.samples[self.start(row as isize + step) - 1..][..self.sides[0] + 2])
    }
}

/// Canny's edges with thresholds 50 and 150 on the L1 norm of Sobel gradients: one on an edge, zero elsewhere.
pub(crate) fn edges(levels: &Plane<u8>, scratch: &mut Scratch) -> Plane<u8> {
    const WEAK: u8 = 1;
    const STRONG: u8 = 2;
    let sides = levels.sides;
    let mut extended = Plane::new(sides, scratch);
    extended.samples.copy_from_slice(&levels.samples);
    extended.extend(Border::Nearest);
    let mut gradients = [(); 2].map(|()| Plane::<i16>::new(sides, scratch));
    let mut norms = Plane::<i16>::new(sides, scratch);
    vectorised(
        #[inline(always)]
        || sobel(&extended, &mut gradients, &mut norms),
    );
    let mut marks = extended;
    marks.samples.fill(0);
    let mut open = scratch.take_empty::<usize>();
    for row in 0..sides[1] as isize {
        let start = marks.start(row);
        for place in start..start + sides[0] {
            if norms.samples[place] > 50 {
                let gradient = gradients.each_ref().map(|plane| i64::from(plane.samples[place]));
                if is_ridge(&norms.samples, place, norms.stride(), gradient) {
                    let strong = norms.samples[place] > 150;
                    marks.samples[place] = if strong { STRONG } else { WEAK };
                    if strong {
                        open.push(place);
                    }
                }
            }
        }
    }
    // Weak ridges are edges where they touch an edge.
    let stride = marks.stride();
    while let Some(place) = open.pop() {
        for row in [place - stride, place, place + stride] {
            for next in row - 1..=row + 1 {
                if marks.samples[next] == WEAK {
                    marks.samples[next] = STRONG;
                    open.push(next);
                }
            }
        }
    }
    marks.samples.iter_mut().for_each(|mark| *mark /= STRONG);
    scratch.give(open);
    gradients.into_iter().chain([norms]).for_each(|plane| plane.give(scratch));
    marks
}

#[inline(always)]
fn sobel(levels: &Plane<u8>, [across, down]: &mut [Plane<i16>; 2], norms: &mut Plane<i16>) {
    let width = levels.width();
    for y in 0..levels.sides[1] {
        let start = levels.start(y as isize);
        let [above, at, below] = levels.around(y);
        let targets = across.samples[start..][..width].iter_mut().zip(&mut down.samples[start..][..width]);
        let targets = targets.zip(&mut norms.samples[start..][..width]);
        for (x, ((across, down), norm)) in targets.enumerate() {
            let level = |row: &[u8], step: usize| i16::from(row[x + step]);
            *across = level(above, 2) - level(above, 0) + 2 * (level(at, 2) - level(at, 0)) + level(below, 2)
                - level(below, 0);
            *down = level(below, 0) - level(above, 0) + 2 * (level(below, 1) - level(above, 1)) + level(below, 2)
                - level(above, 2);
            *norm = across.abs() + down.abs();
        }
    }
}

/// Whether a norm is no smaller than its neighbours along its gradient.
fn is_ridge(norms: &[i16], place: usize, stride: usize, [x, y]: [i64; 2]) -> bool {
    let centre = norms[place];
    // The tangent of 22.5 degrees in 15-bit fixed point.
    let (ax, ay) = (x.abs(), y.abs() << 15);
    let flat = ax * 13573;
    if ay < flat {
        centre > norms[place - 1] && centre >= norms[place + 1]
    } else if ay > flat + (ax << 16) {
        centre > norms[place - stride] && centre >= norms[place + stride]
    } else if (x ^ y) < 0 {
        centre > norms[place - stride + 1] && centre > norms[place + stride - 1]
    } else {
        centre > norms[place - stride - 1] && centre > norms[place + stride + 1]
    }
}

/// The distance in pixels to the nearest edge, at most 20, averaged over 3x3 samples and truncated.
///
/// Distances are those of a 5x5 chamfer in single precision, as OpenCV has them on x86; its portable code has a fixed
/// point of 16 bits, which is up to 1e-4 pixels off.
pub(crate) fn distances(edges: &Plane<u8>, near: &mut Plane<u8>, scratch: &mut Scratch) {
    const FAR: f32 = 1e6;
    let mut plane = Plane::<f32>::new(edges.sides, scratch);
    plane.samples.iter_mut().zip(&edges.samples).for_each(|(far, &edge)| *far = if edge > 0 { 0.0 } else { FAR });
    let [width, height] = plane.sides;
    vectorised(
        #[inline(always)]
        || {
            for y in 0..height {
                sweep(&mut plane, y, 1);
            }
            for y in (0..height).rev() {
                sweep(&mut plane, y, -1);
            }
            for far in &mut plane.samples {
                *far = lesser(*far, 20.0);
            }
            plane.extend(Border::Reflect101);
            for y in 0..height {
                let start = near.start(y as isize);
                let rows = plane.around(y);
                for (x, mean) in near.samples[start..][..width].iter_mut().enumerate() {
                    // In double precision these sums are exact.
                    let sum = |row: &[f32]| f64::from(row[x]) + f64::from(row[x + 1]) + f64::from(row[x + 2]);
                    *mean = ((sum(rows[0]) + sum(rows[1]) + sum(rows[2])) * (1.0 / 9.0)) as f32 as i32 as u8;
                }
            }
        },
    );
    plane.give(scratch);
}

/// One row of the chamfer, down (`step` one) or up (minus one).
#[inline(always)]
fn sweep(plane: &mut Plane<f32>, y: usize, step: isize) {
    const DIAGONAL: f32 = 1.4;
    const KNIGHT: f32 = 2.1969;
    let (width, stride, own) = (plane.width(), plane.stride(), plane.start(y as isize) - MARGIN);
    let (before, further, row) = if step > 0 {
        let (done, rest) = plane.samples.split_at_mut(own);
        let (further, before) = done[own - 2 * stride..].split_at(stride);
        (before, further, &mut rest[MARGIN..][..width])
    } else {
        let (rest, done) = plane.samples.split_at_mut(own + stride);
        let (before, further) = done[..2 * stride].split_at(stride);
        (before, further, &mut rest[own + MARGIN..][..width])
    };
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|shift| &before[shift..][..width]);
    let [f, g] = [1, 3].map(|shift| &further[shift..][..width]);
    for x in 0..width {
        let diagonal = lesser(b[x], d[x]) + DIAGONAL;
        let knight = lesser(lesser(a[x], e[x]), lesser(f[x], g[x])) + KNIGHT;
        row[x] = lesser(lesser(row[x], c[x] + 1.0), lesser(diagonal, knight));
    }
    if step > 0 { relax(row.iter_mut()) } else { relax(row.iter_mut().rev()) }
}

/// As `f32::min`, without its care for what is not a number.
#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Steps along a row. Written as a branch that is seldom taken, so that a sample need not wait for the one before.
#[inline(always)]
fn relax<'a>(row: impl Iterator<Item = &'a mut f32>) {
    let mut last = f32::INFINITY;
    for sample in row {
        if last + 1.0 < *sample {
            last += 1.0;
            *sample = last;
        } else {
            last = *sample;
        }
    }
}

/// Spreads the histogram over all levels.
pub(crate) fn equalise(levels: &mut Plane<u8>) {
    let total = levels.sides[0] * levels.sides[1];
    let mut counts = [0_usize; 256];
    levels.rows().flatten().for_each(|&level| counts[usize::from(level)] += 1);
    let Some(first) = counts.iter().position(|&count| count > 0).filter(|&first| counts[first] < total) else {
        return;
    };
    let scale = 255.0 / (total - counts[first]) as f32;
    let mut sum = 0;
    let mut table = [0; 256];
    for level in first + 1..256 {
        sum += counts[level];
        table[level] = (sum as f32 * scale).round_ties_even() as u8;
    }
    levels.samples.iter_mut().for_each(|level| *level = table[usize::from(*level)]);
}

/// Light from the upper left: the 3x3 correlation with (-2 -1 0, -1 1 1, 0 1 2), clipped to levels.
pub(crate) fn relief(levels: &mut Plane<u8>, out: &mut Plane<u8>) {
    levels.extend(Border::Reflect101);
    let width = levels.width();
    vectorised(
        #[inline(always)]
        || {
            for y in 0..levels.sides[1] {
                let start = out.start(y as isize);
                let [above, at, below] = levels.around(y);
                for (x, target) in out.samples[start..][..width].iter_mut().enumerate() {
                    let level = |row: &[u8], step: usize| i16::from(row[x + step]);
                    let dark = 2 * level(above, 0) + level(above, 1) + level(at, 0);
                    let bright = level(at, 1) + level(at, 2) + level(below, 1) + 2 * level(below, 2);
                    *target = (bright - dark).clamp(0, 255) as u8;
                }
            }
        },
    );
}

/// The sums of 3x3 levels, mirrored about the border.
#[inline(always)]
pub(crate) fn box_sums(levels: &mut Plane<u8>, out: &mut [f32]) {
    levels.extend(Border::Reflect101);
    for (y, row) in out.chunks_exact_mut(levels.width()).enumerate() {
        let rows = levels.around(y);
        for (x, sum) in row.iter_mut().enumerate() {
            let part = |row: &[u8]| i16::from(row[x]) + i16::from(row[x + 1]) + i16::from(row[x + 2]);
            *sum = f32::from(part(rows[0]) + part(rows[1]) + part(rows[2]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_and_distances_of_a_bright_square() {
        let scratch = &mut Scratch::new();
        let mut levels = Plane::new([12, 9], scratch);
        levels.fill((0..9 * 12).map(|place| if (4..8).contains(&(place % 12)) && place / 12 < 5 { 200 } else { 0 }));
        let found = edges(&levels, scratch);
        // Of two equal norms the one on the far side of the first in reading order is kept.
        let row: Vec<u8> = found.rows().nth(2).unwrap().to_vec();
        assert_eq!(row, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
        let mut near = Plane::new([12, 9], scratch);
        distances(&found, &mut near, scratch);
        // Distances to the edge at column 7 are 1 to 4; the mean of three of them is the middle one.
        assert_eq!(near.rows().nth(2).unwrap()[9..], [2, 3, 3]);
    }

    #[test]
    fn equalised_levels_fill_the_range() {
        let mut levels = Plane::new([4, 1], &mut Scratch::new());
        levels.fill([7_u8, 7, 9, 9].into_iter());
        equalise(&mut levels);
        assert_eq!(levels.rows().next().unwrap(), [0, 0, 255, 255]);
    }
}
