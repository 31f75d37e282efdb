//! What the generator does with cubic splines of scipy: circular motion blur and transverse chromatic aberration.

use super::{clip32, permutation};
use crate::border::Border;
use crate::cell::{Cell, View};
use crate::simd::vectorised;

/// Rotations that a circular motion is made of.
const ROTATIONS: usize = 21;

/// Circular motion blur: the weighted mean of the image turned about its centre.
///
/// Computed in single precision; a pixel that comes out next to a whole level is computed again in the precisions of
/// the generator, so that no level is lost on flat areas.
pub(super) fn circular_motion(cell: &mut Cell<'_, '_>, level: f64) {
    let amount = level * 15.0 / 10.0;
    let View { width, height, .. } = cell.image;
    let pitch = width + 2 * MARGIN;
    let mut knots = cell.scratch.take::<f64>(pitch * (height + 2 * MARGIN) * 4);
    prepare(cell.image, &mut knots);
    let mut singles = cell.scratch.take_empty::<f32>();
    singles.extend(knots.iter().map(|&knot| knot as f32));
    let turns: [Turn; ROTATIONS] = std::array::from_fn(|index| {
        let part = 2.0 * index as f64 / (ROTATIONS as f64 - 1.0) - 1.0;
        Turn::new((part * amount).to_radians(), [height, width], libm::exp(-2.0 * part * part))
    });
    let total = turns.iter().map(|turn| turn.weight).sum::<f64>() as f32;
    let mut sums = cell.scratch.take::<f32>(16 * width);
    let mut starts = cell.scratch.take::<u32>(width);
    let mut taps = cell.scratch.take::<f32>(8 * width);
    vectorised(
        #[inline(always)]
        || {
            for (y, target) in cell.out.chunks_exact_mut(3 * width).enumerate() {
                sums.fill(0.0);
                for turn in &turns {
                    turn.prepare(y, pitch, &mut starts, &mut taps);
                    gather(&singles, pitch, &starts, &taps, &mut sums);
                }
                let pixels = target.as_chunks_mut::<3>().0.iter_mut().zip(sums.as_chunks::<16>().0);
                for (x, (pixel, sum)) in pixels.enumerate() {
                    let value: [f32; 3] = std::array::from_fn(|channel| {
                        (sum[channel] + sum[channel + 4] + sum[channel + 8] + sum[channel + 12]) / total * 255.0
                    });
                    let close = value.iter().any(|value| (value - value.round_ties_even()).abs() < 2e-3);
                    *pixel = if close { exactly(&turns, &knots, pitch, [y, x], total) } else { value.map(clip32) };
                }
            }
        },
    );
    [singles, sums, taps].into_iter().for_each(|buffer| cell.scratch.give(buffer));
    cell.scratch.give(starts);
    cell.scratch.give(knots);
}

/// Adds a turned row, still spread over four columns of knots.
#[inline(always)]
fn gather(knots: &[f32], pitch: usize, starts: &[u32], taps: &[f32], sums: &mut [f32]) {
    let width = starts.len();
    let taps: [&[f32]; 8] = std::array::from_fn(|tap| &taps[tap * width..][..width]);
    for (x, (sum, &start)) in sums.as_chunks_mut::<16>().0.iter_mut().zip(starts).enumerate() {
        let mut column = [0.0_f32; 16];
        for (line, weights) in taps[..4].iter().enumerate() {
            let place = 4 * (start as usize + line * pitch);
            let weight = weights[x];
            let Some(values) = knots.get(place..place + 16) else { return };
            column.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * weight);
        }
        for tap in 0..4 {
            let weight = taps[4 + tap][x];
            for channel in 4 * tap..4 * tap + 4 {
                sum[channel] += column[channel] * weight;
            }
        }
    }
}

/// A pixel in the generator's precisions.
#[cold]
fn exactly(turns: &[Turn], knots: &[f64], pitch: usize, [y, x]: [usize; 2], total: f32) -> [u8; 3] {
    let mut sum = [0.0_f32; 4];
    for turn in turns {
        let place = turn.source(y as f64, x as f64);
        if turn.inside(place) {
            let value = read(knots, pitch, place);
            sum.iter_mut().zip(value).for_each(|(sum, value)| *sum += turn.weight as f32 * value as f32);
        }
    }
    std::array::from_fn(|channel| clip32(sum[channel] / total * 255.0))
}

/// Knots beyond each edge, so that the four about any place inside the image are there.
const MARGIN: usize = 2;

/// A rotation about the centre, from the result to the source.
struct Turn {
    cosine: f64,
    sine: f64,
    offset: [f64; 2],
    /// The last row and the last column.
    last: [f64; 2],
    weight: f64,
}

impl Turn {
    fn new(angle: f64, size: [usize; 2], weight: f64) -> Self {
        let (sine, cosine) = libm::sincos(angle);
        let last = size.map(|axis| axis as f64 - 1.0);
        let [row, column] = last.map(|last| last / 2.0);
        let offset = [row - (cosine * row + sine * column), column - (-sine * row + cosine * column)];
        Self { cosine, sine, offset, last, weight }
    }

    #[inline(always)]
    fn source(&self, y: f64, x: f64) -> [f64; 2] {
        [self.offset[0] + y * self.cosine + x * self.sine, self.offset[1] + y * -self.sine + x * self.cosine]
    }

    #[inline(always)]
    fn inside(&self, [row, column]: [f64; 2]) -> bool {
        row >= 0.0 && row <= self.last[0] && column >= 0.0 && column <= self.last[1]
    }

    /// For a row of the result, the first of the knots about every source, and the weights of four rows and four
    /// columns.
    #[inline(always)]
    fn prepare(&self, y: usize, pitch: usize, starts: &mut [u32], taps: &mut [f32]) {
        let width = starts.len();
        let (rows, columns) = taps.split_at_mut(4 * width);
        let mut rows = rows.chunks_exact_mut(width);
        let mut columns = columns.chunks_exact_mut(width);
        let mut next = || (rows.next().unwrap_or_default(), columns.next().unwrap_or_default());
        let ((r0, c0), (r1, c1), (r2, c2), (r3, c3)) = (next(), next(), next(), next());
        for x in 0..width {
            let place = self.source(y as f64, f64::from(x as u32));
            let weight = if self.inside(place) { self.weight as f32 } else { 0.0 };
            let row = place[0].clamp(0.0, self.last[0]);
            let column = place[1].clamp(0.0, self.last[1]);
            let (top, left) = (row.floor(), column.floor());
            let start = (top + (MARGIN - 1) as f64) * pitch as f64 + left + (MARGIN - 1) as f64;
            // With 2^52 added, the integer ends the mantissa.
            starts[x] = (start + 4_503_599_627_370_496.0).to_bits() as u32;
            [r0[x], r1[x], r2[x], r3[x]] = weights32((row - top) as f32, 1.0);
            [c0[x], c1[x], c2[x], c3[x]] = weights32((column - left) as f32, weight);
        }
    }
}

/// The spline at a place inside the image: four channels, the last of them zero.
#[inline(always)]
fn read(knots: &[f64], pitch: usize, [row, column]: [f64; 2]) -> [f64; 4] {
    let (down, across) = (weights(row), weights(column));
    let start = (row as usize + MARGIN - 1) * pitch + column as usize + MARGIN - 1;
    let mut sum = [0.0; 16];
    for (line, weight) in down.iter().enumerate() {
        let Some(taps) = knots.get(4 * (start + line * pitch)..).and_then(|rest| rest.first_chunk::<16>()) else {
            return [0.0; 4];
        };
        sum.iter_mut().zip(taps).for_each(|(sum, tap)| *sum += tap * weight);
    }
    std::array::from_fn(|channel| (0..4).map(|tap| sum[4 * tap + channel] * across[tap]).sum())
}

/// [`weights`] of a fraction, times a factor.
#[inline(always)]
fn weights32(y: f32, factor: f32) -> [f32; 4] {
    let z = 1.0 - y;
    let sixth = factor * (1.0 / 6.0);
    let first = z * z * z;
    let second = y * y * (y - 2.0) * 3.0 + 4.0;
    let third = z * z * (z - 2.0) * 3.0 + 4.0;
    [first * sixth, second * sixth, third * sixth, y * y * y * sixth]
}

/// The weights of the four knots about a place of a cubic B-spline.
#[inline(always)]
fn weights(place: f64) -> [f64; 4] {
    let y = place - place.floor();
    let z = 1.0 - y;
    let first = z * z * z / 6.0;
    let second = (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0;
    let third = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0;
    [first, second, third, 1.0 - first - second - third]
}

/// The knots of the spline through the image in `[0, 1]`, mirrored at the edges.
///
/// Source: Unser, Aldroubi & Eden 1991, "Fast B-spline transforms for continuous image representation and
/// interpolation".
fn prepare(image: View<'_>, knots: &mut [f64]) {
    let View { width, height, .. } = image;
    let pitch = 4 * (width + 2 * MARGIN);
    let rows = image.levels.chunks_exact(image.stride()).zip(knots.chunks_exact_mut(pitch).skip(MARGIN));
    for (from, to) in rows {
        let pixels = from.as_chunks::<3>().0.iter().zip(to.as_chunks_mut::<4>().0.iter_mut().skip(MARGIN));
        pixels.for_each(|(from, to)| (0..3).for_each(|c| to[c] = f64::from(f32::from(from[c]) / 255.0)));
    }
    vectorised(
        #[inline(always)]
        || {
            filter(knots, [MARGIN * pitch, pitch, height], pitch);
            for row in knots.chunks_exact_mut(pitch).skip(MARGIN).take(height) {
                filter(row, [MARGIN * 4, 4, width], 4);
            }
        },
    );
    for row in knots.chunks_exact_mut(pitch).skip(MARGIN).take(height) {
        for place in (0..MARGIN).chain(MARGIN + width..2 * MARGIN + width) {
            let source = MARGIN + Border::Reflect101.resolve(place as i64 - MARGIN as i64, width);
            row.copy_within(4 * source..4 * source + 4, 4 * place);
        }
    }
    for place in (0..MARGIN).chain(MARGIN + height..2 * MARGIN + height) {
        let source = MARGIN + Border::Reflect101.resolve(place as i64 - MARGIN as i64, height);
        knots.copy_within(pitch * source..pitch * (source + 1), pitch * place);
    }
}

/// Turns `count` samples (each `lane` numbers, `step` apart from `start`) into knots, by a recursive filter forth and
/// back.
#[inline(always)]
fn filter(data: &mut [f64], [start, step, count]: [usize; 3], lane: usize) {
    const POLE: f64 = -0.267_949_192_431_122_7;
    const GAIN: f64 = (1.0 - POLE) * (1.0 - 1.0 / POLE);
    if count < 2 {
        return;
    }
    let at = |index: usize| start + index * step;
    for index in 0..count {
        data[at(index)..][..lane].iter_mut().for_each(|value| *value *= GAIN);
    }
    // The first value of the forward pass is a sum over the whole mirrored axis, whose terms soon vanish.
    let last = libm::pow(POLE, (count - 1) as f64);
    let mut power = POLE;
    add(data, at(0), at(count - 1), lane, last);
    for index in 1..count - 1 {
        add(data, at(0), at(index), lane, power);
        add(data, at(0), at(count - 1 - index), lane, power * last);
        power *= POLE;
        if power.abs() < 1e-20 {
            break;
        }
    }
    data[at(0)..][..lane].iter_mut().for_each(|value| *value /= 1.0 - last * last);
    for index in 1..count {
        add(data, at(index), at(index - 1), lane, POLE);
    }
    add(data, at(count - 1), at(count - 2), lane, POLE);
    data[at(count - 1)..][..lane].iter_mut().for_each(|value| *value *= POLE / (POLE * POLE - 1.0));
    for index in (0..count - 1).rev() {
        let (head, tail) = data.split_at_mut(at(index + 1));
        let values = head[at(index)..][..lane].iter_mut().zip(&tail[..lane]);
        values.for_each(|(value, next)| *value = POLE * (next - *value));
    }
}

/// Adds `factor` times one sample to another.
#[inline(always)]
fn add(data: &mut [f64], to: usize, from: usize, lane: usize, factor: f64) {
    if from > to {
        let (head, tail) = data.split_at_mut(from);
        head[to..][..lane].iter_mut().zip(&tail[..lane]).for_each(|(value, other)| *value += factor * other);
    } else {
        let (head, tail) = data.split_at_mut(to);
        tail[..lane].iter_mut().zip(&head[from..][..lane]).for_each(|(value, other)| *value += factor * other);
    }
}

/// Transverse chromatic aberration: the channels magnified by different amounts about the centre, by splines whose
/// knots are the pixels, so that the channel of magnification one is slightly smoothed.
pub(super) fn chromatic(cell: &mut Cell<'_, '_>, level: f64) {
    let step = level * 0.5 / 10.0;
    let order: [usize; 3] = permutation(cell.draws);
    let scales = order.map(|place| [1.0, 1.0 + step / 2.0, 1.0 + step][place]);
    let View { width, height, levels } = cell.image;
    let padded = width + 2 * MARGIN;
    let mut plane = cell.scratch.take::<f64>(height * padded);
    let mut columns = cell.scratch.take::<f64>(4 * width);
    let (mut sums, mut mixed) = (cell.scratch.take::<f64>(width), cell.scratch.take::<f64>(padded));
    for (channel, scale) in scales.into_iter().enumerate() {
        for (row, from) in plane.chunks_exact_mut(padded).zip(levels.chunks_exact(3 * width)) {
            for (x, value) in row.iter_mut().enumerate() {
                *value = f64::from(from[3 * Border::Reflect101.resolve(x as i64 - MARGIN as i64, width) + channel]);
            }
        }
        let (down, across) = (Zoom::new(height, scale), Zoom::new(width, scale));
        for (x, column) in columns.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *column = weights(across.source(x));
        }
        for (y, target) in cell.out.chunks_exact_mut(3 * width).enumerate() {
            let place = down.source(y);
            let lines: [&[f64]; 4] = std::array::from_fn(|line| {
                let row = Border::Reflect101.resolve(place.floor() as i64 + line as i64 - 1, height);
                &plane[row * padded..][..padded]
            });
            let columns = columns.as_chunks::<4>().0;
            if across.step == 1.0 {
                vectorised(
                    #[inline(always)]
                    || smooth(lines, weights(place), columns[0], &mut sums),
                );
            } else {
                vectorised(
                    #[inline(always)]
                    || mix(lines, weights(place), &mut mixed),
                );
                for (x, (sum, column)) in sums.iter_mut().zip(columns).enumerate() {
                    let start = across.source(x) as usize + MARGIN - 1;
                    *sum = mixed[start..][..4].iter().zip(column).map(|(tap, weight)| tap * weight).sum();
                }
            }
            for (pixel, sum) in target.as_chunks_mut::<3>().0.iter_mut().zip(&sums) {
                pixel[channel] = (sum + 0.5) as u8;
            }
        }
    }
    [plane, columns, sums, mixed].into_iter().for_each(|buffer| cell.scratch.give(buffer));
}

/// The weighted sum of four lines.
#[inline(always)]
fn mix(lines: [&[f64]; 4], weights: [f64; 4], out: &mut [f64]) {
    let [a, b, c, d] = lines.map(|line| &line[..out.len()]);
    for (x, out) in out.iter_mut().enumerate() {
        *out = a[x] * weights[0] + b[x] * weights[1] + c[x] * weights[2] + d[x] * weights[3];
    }
}

/// A row of the channel that is not magnified. Its values are whole thirty-sixths, often half-way between two levels;
/// the order of the sum, scipy's, decides.
#[inline(always)]
fn smooth(lines: [&[f64]; 4], down: [f64; 4], across: [f64; 4], out: &mut [f64]) {
    out.fill(0.0);
    for (line, down) in lines.iter().zip(down) {
        for (tap, across) in across.iter().enumerate() {
            let values = line[MARGIN - 1 + tap..].iter();
            out.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * down * across);
        }
    }
}

/// An axis magnified about its centre and cut to its length.
struct Zoom {
    /// Pixels cut off at the beginning.
    cut: usize,
    /// Pixels of the source per pixel of the result.
    step: f64,
    last: f64,
}

impl Zoom {
    fn new(length: usize, scale: f64) -> Self {
        let zoomed = ((length as f64 * scale).round_ties_even() as usize).max(length);
        let step = if zoomed > 1 { (length as f64 - 1.0) / (zoomed as f64 - 1.0) } else { 1.0 };
        Self { cut: (zoomed - length) / 2, step, last: length as f64 - 1.0 }
    }

    fn source(&self, place: usize) -> f64 {
        ((place + self.cut) as f64 * self.step).min(self.last)
    }
}
