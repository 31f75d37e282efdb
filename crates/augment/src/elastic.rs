//! Elastic transform: a random affine map, then a smooth random displacement.
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, after Simard et al. 2003; tables from the authors' code.

use image::RgbImage;

use crate::filter::{Border, Field, gaussian, rebuild};
use crate::profile::PerProfile;

/// Displacement, its smoothing and the reach of the affine map's three points, all in pixels, per severity 1-5.
///
/// The set for 224 pixels was made with a factor of 244, a slip of the authors' that every published number contains.
pub(crate) const ELASTIC: PerProfile<[(f64, f64, f64); 5]> = PerProfile {
    cifar: [(0.0, 0.0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)],
    imagenet: [
        (488.0, 170.8, 24.4),
        (488.0, 19.52, 48.8),
        (12.2, 2.44, 4.88),
        (17.08, 2.44, 4.88),
        (29.28, 2.44, 4.88),
    ],
};

/// The random part: where three points move, in pixels, and two fields in ±1 of one number for every pixel.
pub(crate) struct Draws {
    pub points: [[f64; 2]; 3],
    pub dx: Vec<f64>,
    pub dy: Vec<f64>,
}

/// Elastic transform of an image given its draws.
pub(crate) fn elastic(image: &RgbImage, alpha: f64, sigma: f64, draws: Draws) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut pixels: Vec<f32> = image.as_raw().iter().map(|&level| f32::from(level) / 255.0).collect();
    if let Some(map) = source_map(width, height, draws.points) {
        pixels = warp(&pixels, width, height, map);
    }
    let displacement = |data: Vec<f64>| -> Vec<f64> {
        let field = gaussian(Field { width, height, channels: 1, data }, sigma, 3.0, Border::Reflect);
        field.data.into_iter().map(|value| f64::from((value * alpha) as f32)).collect()
    };
    let (dx, dy) = (displacement(draws.dx), displacement(draws.dy));
    let mut out = Vec::with_capacity(pixels.len());
    for (place, (dx, dy)) in dx.iter().zip(&dy).enumerate() {
        let (x, y) = ((place % width) as f64 + dx, (place / width) as f64 + dy);
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (x - left, y - top);
        let column = [0, 1].map(|step| Border::Reflect.resolve(left as i64 + step, width) * 3);
        let row = [0, 1].map(|step| Border::Reflect.resolve(top as i64 + step, height) * width * 3);
        for channel in 0..3 {
            let at = |r: usize, c: usize| f64::from(pixels[row[r] + column[c] + channel]);
            let sum = at(0, 0) * (1.0 - v) * (1.0 - u)
                + at(0, 1) * (1.0 - v) * u
                + at(1, 0) * v * (1.0 - u)
                + at(1, 1) * v * u;
            out.push(((sum as f32).clamp(0.0, 1.0) * 255.0) as u8);
        }
    }
    rebuild(width, height, out)
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
fn warp(pixels: &[f32], width: usize, height: usize, map: [[f64; 3]; 2]) -> Vec<f32> {
    const STEPS: i64 = 32;
    let fixed = |value: f64| (value * 1024.0).round_ties_even() as i64;
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..height {
        let start = map.map(|[_, along_y, offset]| fixed(along_y * y as f64 + offset) + 16);
        for x in 0..width {
            let place: [i64; 2] = std::array::from_fn(|k| (start[k] + fixed(map[k][0] * x as f64)) >> 5);
            let [u, v] = place.map(|place| place.rem_euclid(STEPS) as f32 / STEPS as f32);
            let [left, top] = place.map(|place| place.div_euclid(STEPS));
            let column = [0, 1].map(|step| Border::Reflect101.resolve(left + step, width) * 3);
            let row = [0, 1].map(|step| Border::Reflect101.resolve(top + step, height) * width * 3);
            let weights = [(1.0 - v) * (1.0 - u), (1.0 - v) * u, v * (1.0 - u), v * u];
            out.extend([0, 1, 2].map(|channel| {
                let at = |r: usize, c: usize| pixels[row[r] + column[c] + channel];
                at(0, 0) * weights[0] + at(0, 1) * weights[1] + at(1, 0) * weights[2] + at(1, 1) * weights[3]
            }));
        }
    }
    out
}
