//! Elastic transform: a random affine map, then a smooth random displacement.
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, after Simard et al. 2003; tables from the authors' code. The
//! package `imagecorruptions` (Michaelis et al. 2019) has a transform of its own, without the affine map.

use crate::border::Border;
use crate::cell::{Cell, View};
use crate::draws::Draws;
use crate::filter::fill_weights;
use crate::profile::{PerProfile, Profile};
use crate::scratch::Scratch;
use crate::simd::vectorised;
use crate::undulation::blur_reflected;

/// Displacement, its smoothing and the reach of the affine map's three points, all in pixels, per severity 1-5.
///
/// The set for 224 pixels was made with a factor of 244, a slip of the authors' that every published number contains.
const ELASTIC: PerProfile<[(f64, f64, f64); 5]> = PerProfile {
    cifar: [(0.0, 0.0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)],
    tiny: [(0.0, 0.0, 5.12), (3.2, 19.2, 3.84), (6.4, 5.12, 3.84), (6.4, 1.92, 1.92), (10.24, 1.92, 1.28)],
    imagenet: [
        (488.0, 170.8, 24.4),
        (488.0, 19.52, 48.8),
        (12.2, 2.44, 4.88),
        (17.08, 2.44, 4.88),
        (29.28, 2.44, 4.88),
    ],
    inception: [(720.0, 252.0, 36.0), (720.0, 28.8, 72.0), (18.0, 3.6, 7.2), (25.2, 3.6, 7.2), (43.2, 3.6, 7.2)],
};

/// The displacement of `imagecorruptions` as a multiple of the smoothed field.
const ELASTIC_OF_PACKAGE: [f64; 5] = [12.5, 16.25, 21.25, 25.0, 30.0];

/// One elastic transform. Lengths are in pixels.
struct Level {
    /// Reach of the three points of the affine map, if there is one.
    affine: Option<f64>,
    /// Reach of the displacement before it is smoothed.
    reach: f64,
    /// Standard deviation of the smoothing, down and across.
    sigma: [f64; 2],
    /// What the smoothed field is multiplied by.
    alpha: f64,
}

impl Level {
    fn of(cell: &Cell<'_, '_>) -> Self {
        let View { width, height, .. } = cell.image;
        if cell.profile == Profile::Imagecorruptions {
            let [width, height] = [width as f64, height as f64];
            let alpha = ELASTIC_OF_PACKAGE[cell.index];
            return Self { affine: None, reach: height * 0.005, sigma: [height * 0.01, width * 0.01], alpha };
        }
        let (alpha, sigma, affine) = ELASTIC.get(cell.profile)[cell.index];
        let scale = cell.scale();
        // A field smoothed over twice the length is half as strong, so that its factor grows by the square.
        Self { affine: Some(affine * scale), reach: 1.0, sigma: [sigma * scale; 2], alpha: alpha * scale * scale }
    }
}

/// Elastic transform of a cell.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let level = Level::of(cell);
    let View { width, height, levels } = cell.image;
    let mut map = None;
    if let Some(affine) = level.affine {
        let mut points = [0.0; 6];
        cell.draws.uniforms(-affine, affine, &mut points);
        let [a, b, c, d, e, f] = points;
        map = source_map(width, height, [[a, b], [c, d], [e, f]]);
    }
    let dx = displacement(&level, width, height, cell.draws, cell.scratch);
    let dy = displacement(&level, width, height, cell.draws, cell.scratch);
    // Four channels, the last idle, so that a pixel is a vector.
    let mut pixels = cell.scratch.take::<f32>(width * height * 4);
    let unit: [f32; 256] = std::array::from_fn(|level| level as f32 / 255.0);
    for (target, pixel) in pixels.as_chunks_mut::<4>().0.iter_mut().zip(levels.as_chunks::<3>().0) {
        let [red, green, blue] = pixel.map(|level| unit[usize::from(level)]);
        *target = [red, green, blue, 0.0];
    }
    if let Some(map) = map {
        let mut warped = cell.scratch.take::<f32>(pixels.len());
        vectorised(
            #[inline(always)]
            || warp(pixels.as_chunks().0, [width, height], map, warped.as_chunks_mut().0),
        );
        cell.scratch.give(std::mem::replace(&mut pixels, warped));
    }
    vectorised(
        #[inline(always)]
        || displace(pixels.as_chunks().0, [width, height], [&dx, &dy], cell.out.as_chunks_mut().0),
    );
    cell.scratch.give(pixels);
    cell.scratch.give(dx);
    cell.scratch.give(dy);
}

/// How far every pixel moves along one axis, in pixels.
fn displacement(level: &Level, width: usize, height: usize, draws: &mut Draws<'_>, scratch: &mut Scratch) -> Vec<f32> {
    let mut field = scratch.take::<f32>(width * height);
    draws.uniforms_f32(-level.reach as f32, level.reach as f32, &mut field);
    let mut weights = scratch.take_empty();
    let mut kernel = |sigma: f64| {
        fill_weights(sigma, 3.0, &mut weights);
        let mut kernel = scratch.take_empty::<f32>();
        kernel.extend(weights.iter().map(|&weight| weight as f32));
        kernel
    };
    let kernels = level.sigma.map(&mut kernel);
    scratch.give(weights);
    blur_reflected(&mut field, width, [&kernels[0], &kernels[1]], scratch);
    field.iter_mut().for_each(|value| *value *= level.alpha as f32);
    kernels.into_iter().for_each(|kernel| scratch.give(kernel));
    field
}

/// Takes every pixel from where it was before it moved: bilinear, mirrored about the outer edge of the border pixel.
#[inline(always)]
fn displace(pixels: &[[f32; 4]], [width, height]: [usize; 2], [dx, dy]: [&[f32]; 2], out: &mut [[u8; 3]]) {
    let rows = out.chunks_exact_mut(width).zip(dx.chunks_exact(width)).zip(dy.chunks_exact(width));
    let (mut columns, mut lines) = ([(0, 0.0_f32); BLOCK], [(0, 0.0_f32); BLOCK]);
    for (y, ((out, dx), dy)) in rows.enumerate() {
        let parts = out.chunks_mut(BLOCK).zip(dx.chunks(BLOCK)).zip(dy.chunks(BLOCK));
        for (part, ((out, dx), dy)) in parts.enumerate() {
            for (place, &dx) in columns.iter_mut().zip(dx) {
                *place = split(dx);
            }
            for (place, &dy) in lines.iter_mut().zip(dy) {
                *place = split(dy);
            }
            for (x, (out, (&(right, u), &(down, v)))) in out.iter_mut().zip(columns.iter().zip(&lines)).enumerate() {
                let place = [(part * BLOCK + x) as i64 + i64::from(right), y as i64 + i64::from(down)];
                let [a, b, c, d] = corners(pixels, [width, height], place, Border::Reflect);
                let uv = u * v;
                // Written as a change of the first corner, which is exact where the picture is flat.
                let levels: [u32; 4] = std::array::from_fn(|channel| {
                    let (right, below) = (b[channel] - a[channel], c[channel] - a[channel]);
                    let across = d[channel] - c[channel] - right;
                    let sample = a[channel] + (u * right + v * below + uv * across);
                    // The lowest byte of this sum is the level.
                    ((sample.clamp(0.0, 1.0) * 255.0).floor() + (1 << 23) as f32).to_bits()
                });
                *out = [levels[0] as u8, levels[1] as u8, levels[2] as u8];
            }
        }
    }
}

/// Pixels whose places are computed together.
const BLOCK: usize = 64;

/// A distance in whole pixels, and what is left.
#[inline(always)]
fn split(distance: f32) -> (i32, f32) {
    let whole = distance.floor();
    (whole as i32, distance - whole)
}

/// The four pixels around a place: this one, the right one, and the two below.
#[inline(always)]
fn corners(pixels: &[[f32; 4]], [width, height]: [usize; 2], [x, y]: [i64; 2], border: Border) -> [&[f32; 4]; 4] {
    if x >= 0 && y >= 0 && x + 1 < width as i64 && y + 1 < height as i64 {
        let place = y as usize * width + x as usize;
        let (upper, lower) = (&pixels[place..][..2], &pixels[place + width..][..2]);
        return [&upper[0], &upper[1], &lower[0], &lower[1]];
    }
    let [left, right] = [x, x + 1].map(|x| border.resolve(x, width));
    let [above, below] = [y, y + 1].map(|y| border.resolve(y, height) * width);
    [&pixels[above + left], &pixels[above + right], &pixels[below + left], &pixels[below + right]]
}

/// The map from target to source pixels, rows `[xx, xy, x0]` and `[yx, yy, y0]`, that takes three points about the
/// centre to where they moved. None for images too small to hold three points that are apart.
fn source_map(width: usize, height: usize, moves: [[f64; 2]; 3]) -> Option<[[f64; 3]; 2]> {
    let reach = (width.min(height) / 3) as f64;
    if reach == 0.0 {
        return None;
    }
    // The authors take rows for x here; it matters for images that are not square.
    let (cx, cy) = ((height / 2) as f64, (width / 2) as f64);
    let from = [[cx + reach, cy + reach], [cx + reach, cy - reach], [cx - reach, cy - reach]];
    let to: [[f64; 2]; 3] =
        std::array::from_fn(|i| std::array::from_fn(|k| f64::from(from[i][k] as f32 + moves[i][k] as f32)));
    // Points 1 and 2 differ in x alone, points 0 and 1 in y alone.
    let forward: [[f64; 3]; 2] = std::array::from_fn(|k| {
        let along_x = (to[1][k] - to[2][k]) / (2.0 * reach);
        let along_y = (to[0][k] - to[1][k]) / (2.0 * reach);
        [along_x, along_y, to[1][k] - along_x * from[1][0] - along_y * from[1][1]]
    });
    let [[a, b, x0], [c, d, y0]] = forward;
    let determinant = a * d - b * c;
    let scale = if determinant == 0.0 { 0.0 } else { 1.0 / determinant };
    let (xx, xy, yx, yy) = (d * scale, -b * scale, -c * scale, a * scale);
    Some([[xx, xy, -xx * x0 - xy * y0], [yx, yy, -yx * x0 - yy * y0]])
}

/// Bilinear, mirrored about the border pixel, with source places in steps of 1/32 pixel as OpenCV 4 takes them.
#[inline(always)]
fn warp(pixels: &[[f32; 4]], [width, height]: [usize; 2], map: [[f64; 3]; 2], out: &mut [[f32; 4]]) {
    let fixed = |value: f64| (value * 1024.0).round_ties_even() as i64;
    let mut along_x = [[0; BLOCK]; 2];
    for first in (0..width).step_by(BLOCK) {
        for (steps, [factor, ..]) in along_x.iter_mut().zip(map) {
            for (x, step) in (first..).zip(steps) {
                *step = fixed(factor * x as f64);
            }
        }
        let last = (first + BLOCK).min(width);
        for (y, row) in out.chunks_exact_mut(width).enumerate() {
            let start = map.map(|[_, along_y, offset]| fixed(along_y * y as f64 + offset) + 16);
            for (target, (&x, &y)) in row[first..last].iter_mut().zip(along_x[0].iter().zip(&along_x[1])) {
                let place = [(start[0] + x) >> 5, (start[1] + y) >> 5];
                let [u, v] = place.map(|place| (place & 31) as i32 as f32 / 32.0);
                let [a, b, c, d] = corners(pixels, [width, height], place.map(|place| place >> 5), Border::Reflect101);
                let weights = [(1.0 - v) * (1.0 - u), (1.0 - v) * u, v * (1.0 - u), v * u];
                *target = std::array::from_fn(|channel| {
                    a[channel] * weights[0]
                        + b[channel] * weights[1]
                        + c[channel] * weights[2]
                        + d[channel] * weights[3]
                });
            }
        }
    }
}
