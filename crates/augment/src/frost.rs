//! Frost over the image. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.
//!
//! The authors' five photographs of frost carry no licence, so they are not part of this crate. In their place stand
//! five drawn textures of ice crystals; results made with them must say so, and [`FrostSource::name`] is what to
//! print.

use std::sync::LazyLock;

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::filter::rebuild;
use crate::profile::PerProfile;

/// Weights of the image and of the frost per severity 1-5.
pub(crate) const FROST: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    imagenet: [(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
};

/// What the sides of a texture are multiplied by before it is cropped.
pub(crate) const TEXTURE_SCALE: PerProfile<f64> = PerProfile { cifar: 0.2, imagenet: 1.0 };

/// Where the textures of the frost come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrostSource {
    /// Drawn ice crystals: not the official benchmark.
    #[default]
    Procedural,
}

impl FrostSource {
    /// The name to print beside results, `frost-procedural`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Procedural => "frost-procedural",
        }
    }

    /// The textures with their sides multiplied by `scale`.
    pub(crate) fn textures(self, scale: f64) -> Vec<RgbImage> {
        TEXTURES.iter().map(|texture| shrink(texture, scale)).collect()
    }
}

/// Bilinear between pixel centres and without smoothing first, which keeps the contrast of the frost; as in the
/// reference.
fn shrink(texture: &RgbImage, scale: f64) -> RgbImage {
    if scale == 1.0 {
        return texture.clone();
    }
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let place = |target: u32, length: u32| {
        let place = ((f64::from(target) + 0.5) / scale - 0.5).clamp(0.0, f64::from(length - 1));
        (place as u32, (place as u32 + 1).min(length - 1), place.fract())
    };
    RgbImage::from_fn(side(texture.width()), side(texture.height()), |x, y| {
        let (left, right, u) = place(x, texture.width());
        let (top, bottom, v) = place(y, texture.height());
        image::Rgb([0, 1, 2].map(|channel| {
            let at = |x: u32, y: u32| f64::from(texture.get_pixel(x, y).0[channel]);
            let upper = at(left, top) * (1.0 - u) + at(right, top) * u;
            let lower = at(left, bottom) * (1.0 - u) + at(right, bottom) * u;
            (upper * (1.0 - v) + lower * v).round() as u8
        }))
    })
}

/// Frost from the part of `texture` whose top left corner is `start` (x, y). The texture repeats beyond its edges.
pub(crate) fn frost(image: &RgbImage, texture: &RgbImage, start: (u32, u32), weights: (f64, f64)) -> RgbImage {
    let tables =
        [weights.0, weights.1].map(|weight| -> [f64; 256] { std::array::from_fn(|level| weight * level as f64) });
    let (width, height) = texture.dimensions();
    let mut out = image.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let frost = texture.get_pixel((start.0 + x) % width, (start.1 + y) % height);
        for (level, &frost) in pixel.0.iter_mut().zip(&frost.0) {
            *level = (tables[0][usize::from(*level)] + tables[1][usize::from(frost)]) as u8;
        }
    }
    out
}

/// Which texture, and from where: anywhere that keeps the crop inside, if it fits.
pub(crate) fn choose<'a>(
    image: &RgbImage,
    textures: &'a [RgbImage],
    stream: &mut Stream,
) -> (&'a RgbImage, (u32, u32)) {
    let texture = &textures[stream.below(textures.len() as u32) as usize];
    let mut start = |texture: u32, image: u32| stream.below(if texture > image { texture - image } else { texture });
    let x = start(texture.width(), image.width());
    (texture, (x, start(texture.height(), image.height())))
}

/// Side of a drawn texture in pixels.
const SIDE: usize = 512;

static TEXTURES: LazyLock<Vec<RgbImage>> = LazyLock::new(|| (0..THICKNESS.len()).map(draw).collect());

/// How thick the ice of each texture is on average; photographs of frost differ as much.
const THICKNESS: [f32; 5] = [0.10, 0.20, 0.30, 0.41, 0.53];

/// Feathers of ice over a ground of warped ridges, thick in some places and thin in others, coloured from deep blue
/// to white.
fn draw(index: usize) -> RgbImage {
    let mut stream = Key::new(0, "frost-procedural").with(index as u64).stream();
    let mut ice = ground(THICKNESS[index], &mut stream);
    for _ in 0..60 + stream.below(40) {
        grow(&mut ice, &mut stream);
    }
    let colours = [[32.0, 242.0], [58.0, 248.0], [82.0, 252.0]];
    let level = |amount: f32, [deep, bright]: [f32; 2]| (deep + (bright - deep) * amount.clamp(0.0, 1.0)) as u8;
    rebuild(SIDE, SIDE, ice.into_iter().flat_map(|amount| colours.map(|colour| level(amount, colour))).collect())
}

/// Four octaves of ridged noise, warped, on patches of varying thickness.
fn ground(thickness: f32, stream: &mut Stream) -> Vec<f32> {
    let patches = [Lattice::new(2, 3, stream), Lattice::new(6, 5, stream)];
    let warp = [Lattice::new(9, 8, stream), Lattice::new(8, 9, stream)];
    let octaves = [1, 2, 4, 8].map(|scale| Lattice::new(9 * scale, 14 * scale, stream));
    let unit = |place: usize| place as f32 / SIDE as f32;
    let mut ice = Vec::with_capacity(SIDE * SIDE);
    for place in 0..SIDE * SIDE {
        let (x, y) = (unit(place % SIDE), unit(place / SIDE));
        let patch = 0.65 * patches[0].at(x, y) + 0.35 * patches[1].at(x, y) - 0.5;
        let [dx, dy] = warp.each_ref().map(|warp| 0.08 * (warp.at(x, y) - 0.5));
        let mut ridges = 0.0;
        let mut weight = 0.42;
        for octave in &octaves {
            ridges += weight * (0.5 - (2.0 * octave.at(x + dx, y + dy) - 1.0).abs());
            weight *= 0.75;
        }
        ice.push(thickness + 0.6 * patch + ridges);
    }
    ice
}

/// Random values on a torus, interpolated smoothly.
struct Lattice {
    columns: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Lattice {
    fn new(columns: usize, rows: usize, stream: &mut Stream) -> Self {
        Self { columns, rows, values: (0..columns * rows).map(|_| stream.unit() as f32).collect() }
    }

    /// The value at a place of the unit square, which repeats.
    fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = ((x + 1.0) * self.columns as f32, (y + 1.0) * self.rows as f32);
        let (left, top) = (x as usize, y as usize);
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (u, v) = (smooth(x - left as f32), smooth(y - top as f32));
        let columns = [left % self.columns, (left + 1) % self.columns];
        let rows = [top % self.rows * self.columns, (top + 1) % self.rows * self.columns];
        let row = |row: usize| self.values[row + columns[0]] * (1.0 - u) + self.values[row + columns[1]] * u;
        row(rows[0]) * (1.0 - v) + row(rows[1]) * v
    }
}

/// A fern of ice: a stem with side branches at sixty degrees, which branch once more.
fn grow(ice: &mut [f32], stream: &mut Stream) {
    let root = [stream.uniform(0.0, SIDE as f64), stream.uniform(0.0, SIDE as f64)];
    let arms = 1 + stream.below(3);
    let heading = stream.uniform(0.0, std::f64::consts::TAU);
    let length = stream.uniform(40.0, 130.0);
    for arm in 0..arms {
        let turn = f64::from(arm) * std::f64::consts::FRAC_PI_3 * 2.0;
        branch(ice, stream, root, heading + turn, length, 0);
    }
}

fn branch(ice: &mut [f32], stream: &mut Stream, root: [f64; 2], heading: f64, length: f64, depth: u32) {
    let bend = stream.uniform(-0.012, 0.012);
    let gap = [5.0, 4.0, f64::INFINITY][depth as usize];
    let (mut place, mut angle, mut walked, mut next) = (root, heading, 0.0, gap);
    while walked < length {
        let taper = 1.0 - walked / length;
        dab(ice, place, (0.7 + 1.2 * taper) / f64::from(depth + 1), 0.15 - 0.03 * f64::from(depth));
        if walked >= next {
            let side = 0.45 * taper * length.min(90.0) * stream.uniform(0.5, 1.1);
            for turn in [-std::f64::consts::FRAC_PI_3, std::f64::consts::FRAC_PI_3] {
                branch(ice, stream, place, angle + turn, side, depth + 1);
            }
            next += gap * stream.uniform(0.8, 1.4);
        }
        let (sin, cos) = libm::sincos(angle);
        place = [place[0] + cos, place[1] + sin];
        angle += bend;
        walked += 1.0;
    }
}

/// A soft spot of the given radius in pixels; spots fill up towards one.
fn dab(ice: &mut [f32], place: [f64; 2], radius: f64, strength: f64) {
    let reach = (radius + 1.0).ceil() as i64;
    let centre = place.map(|value| value.floor() as i64);
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let offset = [(centre[0] + dx) as f64 - place[0], (centre[1] + dy) as f64 - place[1]];
            let cover = (radius + 0.5 - (offset[0] * offset[0] + offset[1] * offset[1]).sqrt()).clamp(0.0, 1.0);
            let [x, y] = [centre[0] + dx, centre[1] + dy].map(|value| value.rem_euclid(SIDE as i64) as usize);
            let amount = &mut ice[y * SIDE + x];
            *amount += (1.0 - *amount).max(0.0) * (strength * cover) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frost_is_a_clipped_weighted_sum_of_the_crop() {
        let image = RgbImage::from_pixel(2, 1, image::Rgb([100, 200, 250]));
        let texture = RgbImage::from_fn(3, 1, |x, _| image::Rgb([x as u8 * 100; 3]));
        let out = frost(&image, &texture, (2, 0), (0.75, 0.45));
        // From column 2 (200), then around to column 0 (0).
        assert_eq!(out.into_raw(), [165, 240, 255, 75, 150, 187]);
    }

    #[test]
    fn textures_are_five_bluish_pictures_of_varying_brightness() {
        let textures = FrostSource::Procedural.textures(0.2);
        let mean = |texture: &RgbImage, channel: usize| {
            let sum: u32 = texture.iter().skip(channel).step_by(3).map(|&level| u32::from(level)).sum();
            f64::from(sum) * 3.0 / texture.len() as f64
        };
        assert!(textures.len() >= 5 && textures.iter().all(|texture| texture.width() == 102));
        assert!(
            textures.iter().all(|texture| mean(texture, 0) < mean(texture, 1) && mean(texture, 1) < mean(texture, 2))
        );
        // The photographs of the benchmark average about (150, 165, 176).
        let overall = textures.iter().map(|texture| mean(texture, 1)).sum::<f64>() / textures.len() as f64;
        assert!((overall - 165.0).abs() < 15.0, "{overall}");
    }
}
