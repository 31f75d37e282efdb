//! Pictures with a caption that is true of them: an object on black, painted, made smaller and put before a background.
//!
//! The object is whatever is not black. What is said is chosen with what is done, and only a part of what is done is said.

use image::{Rgb, RgbImage};
use robustify_rng::{Key, Stream};

use crate::error::Result;
use crate::geometry::{self, Filter};

/// A picture, and the words for what is in it: `small red sneaker on a striped background`.
#[derive(Clone, Debug)]
pub struct Scene {
    /// As large as the picture that it was made of.
    pub image: RgbImage,
    /// To be put into a sentence after `a`.
    pub phrase: String,
}

/// Colours of objects and backgrounds.
const COLOURS: [(&str, [f64; 3]); 8] = [
    ("red", [220.0, 40.0, 40.0]),
    ("green", [50.0, 170.0, 60.0]),
    ("blue", [50.0, 90.0, 220.0]),
    ("yellow", [235.0, 215.0, 50.0]),
    ("orange", [240.0, 140.0, 30.0]),
    ("purple", [140.0, 60.0, 180.0]),
    ("pink", [245.0, 140.0, 190.0]),
    ("brown", [130.0, 85.0, 50.0]),
];

/// Backgrounds with two shades of a colour.
const TEXTURES: [&str; 3] = ["striped", "checkered", "dotted"];

/// Where a small object may be.
const PLACES: [(&str, [f64; 2]); 5] = [
    ("", [0.5, 0.5]),
    (" on the left", [0.0, 0.5]),
    (" on the right", [1.0, 0.5]),
    (" at the top", [0.5, 0.0]),
    (" at the bottom", [0.5, 1.0]),
];

/// A level from which a pixel is all object.
const OPAQUE: f64 = 24.0;
/// How often something is painted, put before another background, made smaller; and how often what was done is said.
const PAINTED: f64 = 0.7;
const BEFORE: f64 = 0.7;
const SMALLER: f64 = 0.35;
const SAID: f64 = 0.75;

impl Scene {
    /// The picture as it is.
    pub fn plain(image: RgbImage, name: &str) -> Self {
        Self { image, phrase: name.to_owned() }
    }

    /// A scene with the object of `image`, which is called `name`; `key` should hold the seed, the epoch and the sample's identity.
    ///
    /// # Errors
    /// [`crate::DataError::Shape`] for a picture without pixels.
    pub fn new(image: &RgbImage, name: &str, key: Key) -> Result<Self> {
        let stream = &mut key.with_str("scene").stream();
        let (size, place, object) = arranged(image, stream)?;
        let (colour, paint) = match stream.chance(PAINTED) {
            true => {
                let (name, paint) = COLOURS[stream.below(COLOURS.len() as u32) as usize];
                (said(stream, format!("{name} ")), paint)
            }
            false => (String::new(), [255.0; 3]),
        };
        let (before, background) = Background::draw(stream);
        let painted = RgbImage::from_fn(image.width(), image.height(), |x, y| {
            let level = f64::from(object.get_pixel(x, y).0[0]);
            let cover = (level / OPAQUE).min(1.0);
            let behind = background.at(x, y);
            // The darkest parts of an object keep a quarter of its colour, so that they are not holes.
            let light = 0.25 + 0.75 * level / 255.0;
            Rgb([0, 1, 2].map(|band| (cover * light * paint[band] + (1.0 - cover) * behind[band]).round() as u8))
        });
        Ok(Self { image: painted, phrase: format!("{size}{colour}{name}{before}{place}") })
    }

    /// All words that scenes say beside the names of their objects.
    pub fn words() -> Vec<String> {
        let colours = COLOURS.iter().map(|(name, _)| (*name).to_owned());
        let places = PLACES.iter().map(|(name, _)| (*name).to_owned());
        let textures = TEXTURES.iter().map(|&name| name.to_owned());
        colours.chain(places).chain(textures).chain(["small a on background plain black".to_owned()]).collect()
    }
}

/// `words`, or silence.
fn said(stream: &mut Stream, words: String) -> String {
    if stream.chance(SAID) { words } else { String::new() }
}

/// The object in its size and place on black, and the words for both.
fn arranged(image: &RgbImage, stream: &mut Stream) -> Result<(String, &'static str, RgbImage)> {
    let (width, height) = image.dimensions();
    let small = stream.chance(SMALLER);
    let scale = if small { stream.uniform(0.5, 0.65) } else { stream.uniform(0.8, 1.0) };
    let side = |whole: u32| ((f64::from(whole) * scale).round() as u32).max(1);
    let object = geometry::resize(image, side(width), side(height), Filter::Bilinear)?;
    let (words, at) = if small { PLACES[stream.below(PLACES.len() as u32) as usize] } else { PLACES[0] };
    let offset = |room: u32, at: f64, jitter: f64| ((f64::from(room) * (at + jitter).clamp(0.0, 1.0)).round()) as u32;
    let (left, top) = (stream.uniform(-0.15, 0.15), stream.uniform(-0.15, 0.15));
    let left = offset(width - object.width(), at[0], left);
    let top = offset(height - object.height(), at[1], top);
    let mut canvas = RgbImage::new(width, height);
    image::imageops::replace(&mut canvas, &object, i64::from(left), i64::from(top));
    let place = if stream.chance(SAID) { words } else { "" };
    let size = if small { said(stream, "small ".into()) } else { String::new() };
    Ok((size, place, canvas))
}

/// What is behind an object.
struct Background {
    shades: [[f64; 3]; 2],
    pattern: Pattern,
    period: u32,
}

enum Pattern {
    Even,
    Stripes { upright: bool },
    Checks,
    Dots,
}

impl Background {
    /// A background and the words for it. Black ones, as pictures come, are not spoken of.
    fn draw(stream: &mut Stream) -> (String, Self) {
        let period = 4 + 2 * stream.below(3);
        let even = |shade: [f64; 3]| Self { shades: [shade; 2], pattern: Pattern::Even, period };
        if !stream.chance(BEFORE) {
            return (String::new(), even([0.0; 3]));
        }
        let (name, shade) = COLOURS[stream.below(COLOURS.len() as u32) as usize];
        let light = stream.uniform(0.4, 0.9);
        let shade = shade.map(|band| band * light);
        if stream.chance(0.5) {
            return (said(stream, format!(" on a {name} background")), even(shade));
        }
        let other = shade.map(|band| band * stream.uniform(0.1, 0.5));
        let texture = stream.below(TEXTURES.len() as u32) as usize;
        let pattern = match texture {
            0 => Pattern::Stripes { upright: stream.chance(0.5) },
            1 => Pattern::Checks,
            _ => Pattern::Dots,
        };
        let words = said(stream, format!(" on a {} background", TEXTURES[texture]));
        (words, Self { shades: [shade, other], pattern, period })
    }

    fn at(&self, x: u32, y: u32) -> [f64; 3] {
        let half = self.period / 2;
        let odd = |at: u32| (at / half) % 2;
        let which = match self.pattern {
            Pattern::Even => 0,
            Pattern::Stripes { upright: true } => odd(x),
            Pattern::Stripes { upright: false } => odd(y),
            Pattern::Checks => (odd(x) + odd(y)) % 2,
            Pattern::Dots => u32::from(x % self.period < half && y % self.period < half),
        };
        self.shades[which as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_depend_on_their_key_alone_and_say_what_is_in_them() {
        let object = RgbImage::from_fn(32, 32, |x, y| {
            Rgb([if (8..24).contains(&x) && (8..24).contains(&y) { 200 } else { 0 }; 3])
        });
        let scene = |seed: u64| Scene::new(&object, "bag", Key::new(seed, "test")).unwrap();
        let known = Scene::words().join(" ");
        for seed in 0..200 {
            let (one, again) = (scene(seed), scene(seed));
            assert_eq!((one.image.as_raw(), &one.phrase), (again.image.as_raw(), &again.phrase));
            assert!(one.phrase.split(' ').all(|word| word == "bag" || known.contains(word)), "{}", one.phrase);
            if one.phrase.starts_with("red bag") {
                // Wherever it was put.
                let is_red = |[r, g, b]: [u8; 3]| u16::from(r) > 3 * u16::from(g) && u16::from(r) > 3 * u16::from(b);
                assert!(one.image.pixels().any(|pixel| is_red(pixel.0)), "{}", one.phrase);
            }
        }
        let phrases: std::collections::BTreeSet<String> = (0..200).map(|seed| scene(seed).phrase).collect();
        assert!(phrases.len() > 60 && phrases.contains("bag"), "{phrases:?}");
    }
}
