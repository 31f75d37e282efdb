//! Frost over the image. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.
//!
//! The authors' five photographs of frost carry no licence, so they are not part of this crate. In their place stand
//! five drawn textures of ice crystals; results made with them must say so, and [`FrostSource::name`] is what to
//! print.

use std::sync::{LazyLock, OnceLock};

use image::RgbImage;
use robustify_rng::{Key, Stream};

use crate::AugmentError;
use crate::border::whole_part;
use crate::cell::Cell;
use crate::draws::Draws;
use crate::filter::rebuild;
use crate::profile::{PerProfile, Profile};
use crate::resize::Resize;
use crate::simd::vectorised;

/// Weights of the image and of the frost per severity 1-5.
const FROST: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    tiny: [(1.0, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)],
    imagenet: [(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    inception: [(1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
};

/// What the sides of a picture are multiplied by before it is cropped.
const PICTURE_SCALE: PerProfile<f64> = PerProfile { cifar: 0.2, tiny: 0.3, imagenet: 1.0, inception: 1.0 };

/// Frost of the pictures of a source, which are scaled when first needed.
#[derive(Default)]
pub(crate) struct Frost {
    pub source: FrostSource,
    scaled: OnceLock<Vec<RgbImage>>,
}

impl Frost {
    pub fn new(source: FrostSource) -> Self {
        Self { source, scaled: OnceLock::new() }
    }

    /// Frost of a cell.
    pub fn apply(&self, cell: &mut Cell<'_, '_>) {
        let weights = FROST.get(cell.profile)[cell.index];
        let pictures = self.source.pictures();
        let index = cell.draws.integer(0, pictures.len() as i64) as usize;
        let sides = [cell.image.width, cell.image.height];
        let usual = usual_resize(cell.profile, &pictures[index]);
        let resize = fitting_resize(cell, &pictures[index]).unwrap_or(usual);
        let start = choose(resize.sides, sides, cell.draws);
        if resize == usual {
            let scaled = self.scaled.get_or_init(|| {
                pictures.iter().map(|picture| usual_resize(cell.profile, picture).whole(picture)).collect()
            });
            cover(cell, &scaled[index], start, weights);
        } else {
            let crop = resize.crop(&pictures[index], start, sides);
            cover(cell, &crop, [0, 0], weights);
        }
    }
}

/// How a picture of this profile is resized if the size of the image does not matter.
fn usual_resize(profile: Profile, picture: &RgbImage) -> Resize {
    match profile {
        Profile::Imagecorruptions => Resize::enlarged(picture, 1.1),
        _ => Resize::scaled(picture, *PICTURE_SCALE.get(profile)),
    }
}

/// How a picture is resized because of the size of the image, if it is.
fn fitting_resize(cell: &Cell<'_, '_>, picture: &RgbImage) -> Option<Resize> {
    let short = |image: usize, picture: u32| (image as f64 / f64::from(picture)).max(1.0);
    let excess = short(cell.image.width, picture.width()).max(short(cell.image.height, picture.height()));
    match cell.profile {
        Profile::Imagecorruptions if excess > 1.0 => Some(Resize::enlarged(picture, excess * 1.1)),
        Profile::Scaled if cell.scale() != 1.0 => Some(Resize::scaled(picture, cell.scale())),
        _ => None,
    }
}

/// Where the pictures of the frost come from: five of them, each as likely as the others.
#[derive(Clone, Debug, Default)]
pub struct FrostSource {
    /// None for the drawn textures.
    pictures: Option<Vec<RgbImage>>,
}

impl FrostSource {
    /// Drawn ice crystals, which is the default: not the official benchmark.
    pub fn procedural() -> Self {
        Self::default()
    }

    /// The benchmark's own photographs, in the order `frost1.png`, `frost2.png`, `frost3.png`, `frost4.jpg`,
    /// `frost5.jpg` (the authors' sixth is never drawn). They are resized here as the profile wants it.
    ///
    /// # Errors
    /// If there are not five pictures, or one has no pixels.
    pub fn from_pictures(pictures: Vec<RgbImage>) -> Result<Self, AugmentError> {
        let empty = pictures.iter().position(|picture| picture.is_empty());
        let problem = match (pictures.len(), empty) {
            (5, None) => return Ok(Self { pictures: Some(pictures) }),
            (5, Some(index)) => format!("picture {} of 5 has no pixels", index + 1),
            (count, _) => format!("there are {count} pictures instead of 5"),
        };
        Err(AugmentError::Frost { problem })
    }

    /// The name to print beside results: `frost-procedural` or `frost-original`.
    pub fn name(&self) -> &'static str {
        if self.pictures.is_some() { "frost-original" } else { "frost-procedural" }
    }

    fn pictures(&self) -> &[RgbImage] {
        self.pictures.as_deref().unwrap_or_else(|| &TEXTURES)
    }
}

/// The first column and row of the crop: anywhere that keeps it inside, if it fits, else anywhere in the picture.
fn choose(picture: [usize; 2], image: [usize; 2], draws: &mut Draws<'_>) -> [usize; 2] {
    let mut start = |axis: usize| {
        let room = if picture[axis] > image[axis] { picture[axis] - image[axis] } else { picture[axis] };
        draws.integer(0, room as i64) as usize
    };
    let row = start(1);
    [start(0), row]
}

/// Covers the image with the part of a picture whose top left corner is `start` (column, row). The picture repeats beyond
/// its edges.
fn cover(cell: &mut Cell<'_, '_>, picture: &RgbImage, start: [usize; 2], weights: (f64, f64)) {
    let [columns, rows] = [picture.width() as usize, picture.height() as usize];
    let stride = cell.image.stride();
    let mut frost = cell.scratch.take::<u8>(stride);
    let lines = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
    for (y, (levels, out)) in lines.enumerate() {
        let line = &picture.as_raw()[(start[1] + y) % rows * columns * 3..][..columns * 3];
        let frost = match line.get(start[0] * 3..start[0] * 3 + stride) {
            Some(frost) => frost,
            None => {
                let repeated = line.iter().cycle().skip(start[0] * 3);
                frost.iter_mut().zip(repeated).for_each(|(target, &level)| *target = level);
                &frost
            }
        };
        vectorised(
            #[inline(always)]
            || {
                for ((out, &level), &frost) in out.iter_mut().zip(levels).zip(frost) {
                    let sum = weights.0 * f64::from(level) + weights.1 * f64::from(frost);
                    *out = whole_part(sum.min(255.0)) as u8;
                }
            },
        );
    }
    cell.scratch.give(frost);
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
    use crate::{Corruption, Corruptor, Severity, Trace};

    fn flat(width: u32, height: u32, level: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, image::Rgb([level; 3]))
    }

    #[test]
    fn frost_is_a_clipped_weighted_sum_of_the_crop() {
        let mut pictures = vec![flat(9, 9, 0); 5];
        pictures[3] = RgbImage::from_fn(3, 1, |x, _| image::Rgb([x as u8 * 100; 3]));
        let source = FrostSource::from_pictures(pictures).unwrap();
        assert_eq!(source.name(), "frost-original");
        let image = RgbImage::from_pixel(2, 1, image::Rgb([100, 200, 250]));
        let draws = [3.0, 0.0, 2.0].map(|value| (String::new(), vec![value]));
        let severity = Severity::try_from(5).unwrap();
        let corruptor = Corruptor::with_frost(Profile::ImagenetC, source);
        // A picture as high as the image is drawn from anywhere, and repeats: here from column 2 (200) on to column 0.
        let taller = RgbImage::from_fn(4, 1, |x, _| *image.get_pixel(x % 2, 0));
        let out = corruptor.replay(&taller, Corruption::Frost, severity, &Trace::new(draws.to_vec())).unwrap();
        assert_eq!(out.into_raw()[..6], [210, 255, 255, 60, 120, 150]);
    }

    #[test]
    fn pictures_are_five_and_not_empty() {
        let refuse = |pictures| FrostSource::from_pictures(pictures).unwrap_err().to_string();
        assert!(refuse(vec![flat(4, 4, 9); 6]).contains("6 pictures"));
        assert!(
            refuse(vec![flat(4, 4, 9), flat(0, 1, 0), flat(4, 4, 9), flat(4, 4, 9), flat(4, 4, 9)])
                .contains("picture 2")
        );
    }

    #[test]
    fn textures_are_five_bluish_from_pictures_varying_brightness() {
        let source = FrostSource::procedural();
        let textures = source.pictures();
        let mean = |texture: &RgbImage, channel: usize| {
            let sum: u32 = texture.iter().skip(channel).step_by(3).map(|&level| u32::from(level)).sum();
            f64::from(sum) * 3.0 / texture.len() as f64
        };
        assert!(textures.len() == 5 && textures.iter().all(|texture| texture.width() == 512));
        assert!(
            textures.iter().all(|texture| mean(texture, 0) < mean(texture, 1) && mean(texture, 1) < mean(texture, 2))
        );
        // The photographs of the benchmark average about (150, 165, 176).
        let overall = textures.iter().map(|texture| mean(texture, 1)).sum::<f64>() / textures.len() as f64;
        assert!((overall - 165.0).abs() < 15.0, "{overall}");
    }
}
