//! Pixels moved about: pinch and twirl, and ripple. Beyond its edges the image is black.

use std::f64::consts::{FRAC_PI_2, PI};

use super::maths::{pow, sin, sin_cos};
use super::{clip, clip32, side};
use crate::cell::{Cell, View};
use crate::draws::Draws;
use crate::simd::vectorised;

/// An image to be read between its pixels.
pub(super) struct Picture<'a> {
    pub image: View<'a>,
    /// What each of the levels stands for.
    pub values: [f32; 256],
}

/// A pixel between the pixels of an image, in the precision in which the generator computes it.
pub(super) enum Sample {
    /// From four pixels.
    Inside([f32; 3]),
    /// From less than four.
    Edge([f64; 3]),
}

impl Picture<'_> {
    /// Bilinear between the four pixels about row `y` and column `x`.
    #[inline(always)]
    pub fn sample(&self, y: f64, x: f64) -> Sample {
        let (top, left) = (y.floor(), x.floor());
        let (down, up) = (1.0 - (top + 1.0) + y, 1.0 - y + top);
        let (after, before) = (1.0 - (left + 1.0) + x, 1.0 - x + left);
        let (row, column) = (top as i64, left as i64);
        let stride = self.image.stride();
        let inside =
            row >= 0 && column >= 0 && row + 1 < self.image.height as i64 && column + 1 < self.image.width as i64;
        if !inside {
            return Sample::Edge(self.edge([row, column], [up, down], [before, after]));
        }
        let start = row as usize * stride + 3 * column as usize;
        let (above, below) = (&self.image.levels[start..][..6], &self.image.levels[start + stride..][..6]);
        let [up, down, before, after] = [up, down, before, after].map(|weight| weight as f32);
        Sample::Inside(std::array::from_fn(|channel| {
            let value = |row: &[u8], place: usize| self.values[usize::from(row[place])];
            let first = value(above, channel) * before + value(above, channel + 3) * after;
            let second = value(below, channel) * before + value(below, channel + 3) * after;
            first * up + second * down
        }))
    }

    /// The products of pixels are in single precision, those of sums only if both pixels are there.
    #[cold]
    fn edge(&self, [row, column]: [i64; 2], rows: [f64; 2], columns: [f64; 2]) -> [f64; 3] {
        let View { width, height, levels } = self.image;
        std::array::from_fn(|channel| {
            let value = |row: i64, column: i64| {
                let there = (0..height as i64).contains(&row) && (0..width as i64).contains(&column);
                let place = || (row as usize * width + column as usize) * 3 + channel;
                there.then(|| self.values[usize::from(levels[place()])])
            };
            let line = |row: i64, weight: f64| {
                let [first, second] = [0, 1].map(|step| value(row, column + step));
                let product = |value: f32, weight: f64| value * weight as f32;
                match (first, second) {
                    (Some(a), Some(b)) => f64::from((product(a, columns[0]) + product(b, columns[1])) * weight as f32),
                    (Some(a), None) => f64::from(product(a, columns[0])) * weight,
                    (None, Some(b)) => f64::from(product(b, columns[1])) * weight,
                    (None, None) => 0.0,
                }
            };
            line(row, rows[0]) + line(row + 1, rows[1])
        })
    }
}

/// Pinch and twirl: in each square of a grid, the disk is pulled towards its centre and turned one way or the other.
pub(super) fn pinch_and_twirl(cell: &mut Cell<'_, '_>, level: f64) {
    let (width, height) = (cell.image.width, cell.image.height);
    // The generator has five squares on an axis for 224 pixels and three for 32.
    let side = side(cell.image);
    let squares = if side < 128.0 { 3 } else { 5 };
    let grid = side as usize / squares;
    let [columns, rows] =
        [width, height].map(|axis| if grid > 0 { (axis * squares) / side.ceil() as usize } else { 0 });
    let angle = level * FRAC_PI_2 / 10.0;
    let amount = level * 0.4 / 10.0 + 0.1;
    let mut turns = cell.scratch.take::<f64>(columns * rows);
    draw_signs(cell.draws, if grid > 0 { columns * rows } else { squares * squares }, &mut turns);
    let (mut xs, mut ys) = (cell.scratch.take::<f64>(width), cell.scratch.take::<f64>(width));
    let picture = Picture { image: cell.image, values: std::array::from_fn(|level| level as f32) };
    for (y, target) in cell.out.chunks_exact_mut(3 * width).enumerate() {
        ys.fill(y as f64);
        xs.iter_mut().enumerate().for_each(|(x, place)| *place = x as f64);
        if grid > 0 && y / grid < rows {
            vectorised(
                #[inline(always)]
                || {
                    let squares = xs.chunks_exact_mut(grid).zip(ys.chunks_exact_mut(grid)).take(columns);
                    for (column, (xs, ys)) in squares.enumerate() {
                        let half = grid as f64 / 2.0;
                        let centre = [(y / grid * grid) as f64 + half, (column * grid) as f64 + half];
                        let turn = turns[column * rows + y / grid] * angle;
                        Disk { centre, radius: half, amount, turn }.warp(xs, ys);
                    }
                },
            );
        }
        vectorised(
            #[inline(always)]
            || {
                let source = &cell.image.levels[3 * width * y..][..3 * width];
                let places = xs.iter().zip(&ys).enumerate();
                for (((x, (&px, &py)), to), from) in
                    places.zip(target.as_chunks_mut::<3>().0).zip(source.as_chunks::<3>().0)
                {
                    let still = px == x as f64 && py == y as f64;
                    *to = if still { *from } else { picture.sample(py, px).levels() };
                }
            },
        );
    }
    cell.scratch.give(turns);
    cell.scratch.give(xs);
    cell.scratch.give(ys);
}

impl Sample {
    #[inline(always)]
    fn levels(self) -> [u8; 3] {
        match self {
            Self::Inside(pixel) => pixel.map(clip32),
            Self::Edge(pixel) => pixel.map(|value| clip32(value as f32)),
        }
    }
}

/// Signs, one or minus one.
fn draw_signs(draws: &mut Draws<'_>, count: usize, signs: &mut [f64]) {
    match draws.stream() {
        Some(stream) => signs.iter_mut().for_each(|sign| *sign = if stream.bits32() & 1 == 0 { 1.0 } else { -1.0 }),
        None => {
            let recorded = draws.array(count, [-1.0, 1.0]).unwrap_or(&[]);
            signs.iter_mut().zip(recorded).for_each(|(sign, &value)| *sign = value);
        }
    }
}

/// A disk that is pinched and twirled.
struct Disk {
    centre: [f64; 2],
    radius: f64,
    amount: f64,
    turn: f64,
}

impl Disk {
    /// Where the pixels of a row come from.
    #[inline(always)]
    fn warp(&self, xs: &mut [f64], ys: &mut [f64]) {
        for (x, y) in xs.iter_mut().zip(ys) {
            let (dy, dx) = (*y - self.centre[0], *x - self.centre[1]);
            let distance = (dy * dy + dx * dx).sqrt();
            let still = distance > self.radius || distance < 0.0005;
            let part = if still { 1.0 } else { distance / self.radius };
            let pull = pow(sin(PI * 0.5 * part), -self.amount);
            let (dy, dx) = (dy * pull, dx * pull);
            let (sine, cosine) = sin_cos(self.turn * ((1.0 - part) * (1.0 - part)));
            *y = if still { *y } else { self.centre[0] + (dy * cosine - dx * sine) };
            *x = if still { *x } else { self.centre[1] + (dy * sine + dx * cosine) };
        }
    }
}

/// Ripple: rows and columns displaced by a sine wave each.
pub(super) fn ripple(cell: &mut Cell<'_, '_>, level: f64) {
    let side = side(cell.image);
    let amplitude = level * 0.025 / 10.0 * side;
    let (mut lengths, mut phases) = ([0.0; 2], [0.0; 2]);
    cell.draws.uniforms(0.1, 0.3, &mut lengths);
    cell.draws.uniforms(0.0, 2.0 * PI, &mut phases);
    let wave = |place: usize, axis: usize| {
        let place = place as f64;
        place + amplitude * libm::sin(2.0 * PI * place / (lengths[axis] * side) + phases[axis])
    };
    let (height, stride) = (cell.image.height as i64, cell.image.stride());
    let mut places = cell.scratch.take::<f64>(cell.image.width);
    places.iter_mut().enumerate().for_each(|(x, place)| *place = wave(x, 1));
    let mut lines = [i64::MIN, i64::MIN].map(|row| (row, cell.scratch.take::<f64>(stride)));
    for (y, target) in cell.out.chunks_exact_mut(stride).enumerate() {
        let place = wave(y, 0);
        let top = place.floor();
        // Most rows lie between the same lines as the row before, or one further.
        if lines[1].0 == top as i64 {
            lines.swap(0, 1);
        }
        for (step, (row, line)) in lines.iter_mut().enumerate() {
            let wanted = top as i64 + step as i64;
            if *row != wanted {
                *row = wanted;
                let there = (0..height).contains(&wanted);
                let source = if there { &cell.image.levels[wanted as usize * stride..][..stride] } else { &[] };
                vectorised(
                    #[inline(always)]
                    || stretch(source, &places, line),
                );
            }
        }
        let (up, down) = (1.0 - place + top, 1.0 - (top + 1.0) + place);
        vectorised(
            #[inline(always)]
            || {
                for ((level, above), below) in target.iter_mut().zip(&lines[0].1).zip(&lines[1].1) {
                    *level = clip(above * up + below * down);
                }
            },
        );
    }
    cell.scratch.give(places);
    lines.into_iter().for_each(|(_, line)| cell.scratch.give(line));
}

/// A row (none: black) read at `places`.
#[inline(always)]
fn stretch(source: &[u8], places: &[f64], line: &mut [f64]) {
    let pixels = source.as_chunks::<3>().0;
    for (&place, out) in places.iter().zip(line.as_chunks_mut::<3>().0) {
        let left = place.floor();
        let (before, after) = (1.0 - place + left, 1.0 - (left + 1.0) + place);
        let pixel = |index: i64| usize::try_from(index).ok().and_then(|index| pixels.get(index)).unwrap_or(&[0; 3]);
        let (first, second) = (pixel(left as i64), pixel(left as i64 + 1));
        for ((out, &a), &b) in out.iter_mut().zip(first).zip(second) {
            *out = f64::from(a) * before + f64::from(b) * after;
        }
    }
}
