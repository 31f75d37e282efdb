//! Another task on the same pictures, with labels of its own: each is turned by quarters and tinted, and the label says how. What a model
//! knew of its pictures besides their classes shows in a linear probe of its features; training may lose it.
//!
//! The turns are those of Gidaris et al. 2018, arXiv:1803.07728 ("Unsupervised representation learning by predicting image rotations").

use image::RgbImage;
use image::imageops::{rotate90, rotate180, rotate270};
use robustify_data::{DataError, Images, Preprocess, split};
use robustify_report::digest;
use robustify_rng::Key;

use crate::BenchError;
use crate::suite::{Cell, Origin, Shift, Suite};

/// Grows by one whenever the same image and key give another picture or label.
const TURNED: u32 = 1;

/// Colours that pictures are multiplied by.
const TINTS: [(&str, [f64; 3]); 4] =
    [("red", [1.0, 0.55, 0.55]), ("green", [0.55, 1.0, 0.55]), ("blue", [0.55, 0.55, 1.0]), ("grey", [1.0; 3])];

/// Quarter turns.
const TURNS: usize = 4;

/// Turned and tinted pictures of a data set.
pub struct Turned {
    name: String,
    identity: String,
    images: Images,
    geometry: Preprocess,
    seed: u64,
    classes: Vec<String>,
    cells: Vec<Cell>,
    chosen: Vec<usize>,
}

impl Turned {
    /// The suite `name` of `count` pictures that are drawn by key, of all for 0; `geometry` is applied first.
    ///
    /// # Errors
    /// An image without an identity.
    pub fn new(name: &str, images: Images, count: usize, geometry: Preprocess, seed: u64) -> Result<Self, BenchError> {
        let count = if count == 0 { images.len() } else { count.min(images.len()) };
        let chosen = split::sample(&*images, count, Key::new(seed, "transfer images"))?;
        let identity = digest::of(&("turned", TURNED, seed, &chosen, images.fingerprint(), geometry.to_string()))
            .expect("settings and strings have a JSON form");
        let class = |label: usize| format!("{} degrees, {}", 90 * (label % TURNS), TINTS[label / TURNS].0);
        let classes = (0..TURNS * TINTS.len()).map(class).collect();
        let cells = vec![Cell::new(Shift::Transfer)];
        Ok(Self { name: name.to_owned(), identity, images, geometry, seed, classes, cells, chosen })
    }

    /// All pictures with their labels, in their order.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn all(&self) -> Result<Vec<(RgbImage, usize)>, DataError> {
        let of = |&index: &usize| Ok((self.pixels(&self.cells[0], index)?, self.label(index)?.0));
        self.chosen.iter().map(of).collect()
    }
}

impl Suite for Turned {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn origin(&self) -> Origin {
        Origin::Generated
    }

    fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn images(&self, _: &Cell) -> &[usize] {
        &self.chosen
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        let id = self.images.id(index)?;
        let label = Key::new(self.seed, "transfer").with(id).stream().below(self.classes.len() as u32);
        Ok((label as usize, id))
    }

    fn image(&self, index: usize) -> String {
        self.images.origin(index)
    }

    fn pixels(&self, _: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let sample = self.images.get(index)?;
        let image = self.geometry.pixels(&sample.image).map_err(|error| error.of_image(&self.images, index))?;
        let (label, _) = self.label(index)?;
        let mut image = match label % TURNS {
            0 => image,
            1 => rotate90(&image),
            2 => rotate180(&image),
            _ => rotate270(&image),
        };
        let tint = TINTS[label / TURNS].1;
        for pixel in image.pixels_mut() {
            pixel.0 = std::array::from_fn(|channel| (f64::from(pixel.0[channel]) * tint[channel]).round() as u8);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use robustify_data::MemorySet;

    use super::*;

    #[test]
    fn the_label_says_how_a_picture_was_turned_and_tinted() {
        let corner = RgbImage::from_fn(4, 4, |x, y| image::Rgb([if x == 0 && y == 0 { 200 } else { 0 }; 3]));
        let images = MemorySet::from_images("test", &vec![corner; 64], vec![0; 64], vec!["a".into()]).unwrap();
        let suite = Turned::new("t", Arc::new(images), 0, "normalize(half)".parse().unwrap(), 3).unwrap();
        let all = suite.all().unwrap();
        for (picture, label) in &all {
            let (x, y) = [(0, 0), (3, 0), (3, 3), (0, 3)][label % TURNS];
            let tint = TINTS[label / TURNS].1.map(|part| (200.0 * part).round() as u8);
            assert_eq!(picture.get_pixel(x, y).0, tint, "{}", suite.classes()[*label]);
        }
        let seen: std::collections::BTreeSet<usize> = all.iter().map(|(_, label)| *label).collect();
        assert!(seen.len() > 12, "{seen:?}");
    }
}
