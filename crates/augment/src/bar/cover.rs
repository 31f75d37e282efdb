//! Grey shapes over the image: squares of a rotated checkerboard, and lines.

use std::f64::consts::PI;

use super::side;
use crate::cell::Cell;
use crate::simd::vectorised;

/// The level of the shapes.
const GREY: u8 = 128;

/// Checkerboard cut-out: of the squares of one colour of a rotated checkerboard, a share is painted grey.
pub(super) fn checkerboard(cell: &mut Cell<'_, '_>, level: f64) {
    let angle = cell.draws.uniform(0.0, 2.0 * PI);
    let scale = (cell.draws.uniform(0.1, 0.25) * side(cell.image)).max(1.0);
    let longer = cell.image.width.max(cell.image.height) as f64;
    let count = ((4.0 * longer / scale).floor() as usize).max(4);
    let mut grid = cell.scratch.take::<f64>(count * count);
    cell.draws.uniforms(0.0, 1.0, &mut grid);
    let (sine, cosine) = libm::sincos(angle);
    let share = level / 10.0;
    let (width, stride) = (cell.image.width, cell.image.stride());
    let (mut us, mut vs) = (cell.scratch.take::<f64>(width), cell.scratch.take::<f64>(width));
    // Negative places count from the end of the grid.
    let wrap = |place: f64| {
        let place = place as i64;
        (if place < 0 { place + count as i64 } else { place }) as usize
    };
    let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
    for (y, (source, target)) in rows.enumerate() {
        vectorised(
            #[inline(always)]
            || {
                for (x, (u, v)) in us.iter_mut().zip(&mut vs).enumerate() {
                    let (y, x) = (y as f64, f64::from(x as u32));
                    *u = (cosine * y + sine * x) / scale;
                    *v = (-sine * y + cosine * x) / scale;
                }
                target.copy_from_slice(source);
                for ((pixel, &u), &v) in target.as_chunks_mut::<3>().0.iter_mut().zip(&us).zip(&vs) {
                    let same = (u.floor() as i32 ^ v.floor() as i32) & 1 == 0;
                    if same && grid[wrap(u) * count + wrap(v)] < share {
                        *pixel = [GREY; 3];
                    }
                }
            },
        );
    }
    [grid, us, vs].into_iter().for_each(|buffer| cell.scratch.give(buffer));
}

/// Lines: smooth grey lines in directions about a common one, as many as the level's share of the side.
pub(super) fn lines(cell: &mut Cell<'_, '_>, level: f64) {
    let side = side(cell.image);
    let count = (level / 10.0 * side) as usize;
    let angle = cell.draws.uniform(0.0, 2.0 * PI);
    let spread = cell.draws.uniform(0.1, 1.0);
    let mut draws = cell.scratch.take::<f64>(3 * count);
    cell.draws.uniforms(0.0, 1.0, &mut draws);
    let mut points = cell.scratch.take_empty::<usize>();
    let mut shades = cell.scratch.take_empty::<f64>();
    cell.out.copy_from_slice(cell.image.levels);
    // The generator's first coordinate counts rows.
    let (width, height) = (cell.image.width, cell.image.height);
    for &[row, column, turn] in draws.as_chunks::<3>().0 {
        let (row, column) = (height as f64 * row, width as f64 * column);
        let (sine, cosine) = libm::sincos(angle + 2.0 * PI * spread * (turn - 0.5));
        let (down, across) = (cosine * side, sine * side);
        let from = [(row - down) as i64, (column - across) as i64];
        let to = [(row + down) as i64, (column + across) as i64];
        points.clear();
        shades.clear();
        trace(from, to, |[row, column], cover| {
            if (0..height as i64).contains(&row) && (0..width as i64).contains(&column) {
                points.push((row as usize * width + column as usize) * 3);
                shades.push(cover);
            }
        });
        paint(cell.out, &points, &mut shades);
    }
    cell.scratch.give(draws);
    cell.scratch.give(points);
    cell.scratch.give(shades);
}

/// Paints the points of a line. One that the line passes twice is covered once, the later time.
fn paint(out: &mut [u8], points: &[usize], shades: &mut Vec<f64>) {
    let count = points.len();
    for index in 0..count {
        let (cover, place) = (shades[index], points[index]);
        shades.extend(
            out[place..place + 3].iter().map(|&level| (1.0 - cover) * f64::from(level) + cover * f64::from(GREY)),
        );
    }
    for (&place, levels) in points.iter().zip(shades[count..].as_chunks::<3>().0) {
        out[place..place + 3].iter_mut().zip(levels).for_each(|(level, &value)| *level = value as u8);
    }
}

/// Calls `plot` with every pixel (row, column) near the line and with the share of it that the line covers.
///
/// Source: Zingl 2012, "A rasterizing algorithm for drawing curves", in the order and precision of scikit-image 0.16.
fn trace(from: [i64; 2], to: [i64; 2], mut plot: impl FnMut([i64; 2], f64)) {
    let [mut row, mut column] = from;
    let (rise, run) = ((to[0] - row).abs(), (to[1] - column).abs());
    let (down, right) = (if row < to[0] { 1 } else { -1 }, if column < to[1] { 1 } else { -1 });
    let length = f64::from((((rise * rise + run * run) as f64).sqrt() as f32).max(1.0));
    let cover = |distance: i64| 1.0 - distance.abs() as f64 / length;
    let mut error = run - rise;
    loop {
        plot([row, column], cover(error - run + rise));
        let (before, start) = (error, column);
        if 2 * before >= -run {
            if column == to[1] {
                break;
            }
            if ((before + rise) as f64) < length {
                plot([row + down, column], cover(before + rise));
            }
            error -= rise;
            column += right;
        }
        if 2 * before <= rise {
            if row == to[0] {
                break;
            }
            if ((run - before) as f64) < length {
                plot([row, start + right], cover(run - before));
            }
            error += run;
            row += down;
        }
    }
}
