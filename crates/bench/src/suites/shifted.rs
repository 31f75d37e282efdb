//! A data set under generated shifts that are no corruptions: drawn backgrounds, and renditions of what is shown. Made in memory from
//! clean images, and named for what they are: no photograph and no artist is behind them.
//!
//! What they stand for: ImageNet-9's backgrounds (Xiao et al. 2020, arXiv:2006.09994) and ImageNet-Sketch and -R's renditions (Wang et
//! al. 2019, arXiv:1905.13549; Hendrycks et al. 2021, arXiv:2006.16241). How they are drawn is our own.

use image::RgbImage;
use robustify_data::{DataError, Images, Preprocess};
use robustify_report::digest;
use robustify_rng::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drawn;
use crate::BenchError;
use crate::suite::{Cell, Origin, Shift, Suite};
use crate::suites::CorruptedConfig;

/// A generated shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// What is shown, in front of a drawn landscape: sky, hills and ground. Of images on a black ground; others have none to replace.
    DrawnLandscape,
    /// What is shown, in front of drawn stripes, checks or blotches in two colours.
    DrawnPattern,
    /// The outlines alone, dark on paper.
    EdgeDrawing,
    /// The tones as dots of one ink on paper, larger where it is brighter.
    HalftonePrint,
}

impl Change {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::DrawnLandscape, Self::DrawnPattern, Self::EdgeDrawing, Self::HalftonePrint];

    /// The name in configurations and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DrawnLandscape => "drawn_landscape",
            Self::DrawnPattern => "drawn_pattern",
            Self::EdgeDrawing => "edge_drawing",
            Self::HalftonePrint => "halftone_print",
        }
    }

    /// What is shifted: `background`, or `rendition`.
    #[must_use]
    pub fn family(self) -> &'static str {
        match self {
            Self::DrawnLandscape | Self::DrawnPattern => "background",
            Self::EdgeDrawing | Self::HalftonePrint => "rendition",
        }
    }
}

/// Grows by one whenever the same image and key give other pixels.
const DRAWN: u32 = 1;

/// A data set under the shifts of a configuration.
pub struct Shifted {
    name: String,
    identity: String,
    images: Images,
    geometry: Preprocess,
    seed: u64,
    cells: Vec<Cell>,
    chosen: Vec<usize>,
}

impl Shifted {
    /// The suite `name` of some images, those of a corrupted cell; `geometry` is applied before a shift.
    ///
    /// # Errors
    /// An image without an identity.
    pub fn new(name: &str, config: &CorruptedConfig, images: Images, geometry: Preprocess) -> Result<Self, BenchError> {
        let [_, chosen] = config.choose(&images)?;
        let seed = config.seed;
        let identity = digest::of(&("shifted", DRAWN, seed, &chosen, images.fingerprint(), geometry.to_string()))
            .expect("settings and strings have a JSON form");
        let cells = config.shifts.iter().map(|&change| Cell::new(Shift::Changed(change))).collect();
        Ok(Self { name: name.to_owned(), identity, images, geometry, seed, cells, chosen })
    }
}

impl Suite for Shifted {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
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
        Ok((self.images.labels()[index], id))
    }

    fn image(&self, index: usize) -> String {
        self.images.origin(index)
    }

    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let sample = self.images.get(index)?;
        let image = self.geometry.pixels(&sample.image).map_err(|error| error.of_image(&self.images, index))?;
        let mut stream = Key::new(self.seed, "shift").with_str(&cell.name).with(sample.id).stream();
        Ok(match cell.shift {
            Shift::Changed(Change::DrawnLandscape) => {
                drawn::before(&image, &drawn::landscape(image.dimensions(), &mut stream))
            }
            Shift::Changed(Change::DrawnPattern) => {
                drawn::before(&image, &drawn::pattern(image.dimensions(), &mut stream))
            }
            Shift::Changed(Change::EdgeDrawing) => drawn::edges(&image),
            Shift::Changed(Change::HalftonePrint) => drawn::halftone(&image, &mut stream),
            _ => image,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use robustify_data::MemorySet;

    use super::*;

    fn suite(seed: u64) -> Shifted {
        // A bright square on black, and one that fills the picture.
        let square = |inside: std::ops::Range<u32>| {
            RgbImage::from_fn(16, 16, |x, y| {
                image::Rgb([if inside.contains(&x) && inside.contains(&y) { 200 } else { 0 }; 3])
            })
        };
        let names = ["small", "whole"].map(str::to_owned).to_vec();
        let images = MemorySet::from_images("test", &[square(5..11), square(0..16)], vec![0, 1], names).unwrap();
        let config = CorruptedConfig {
            profile: "cifar-c".into(),
            severities: vec![3],
            classes: None,
            corruptions: None,
            images: 0,
            clean_images: 0,
            seed,
            shifts: Change::ALL.to_vec(),
            transfer: 0,
        };
        Shifted::new("test-shifts", &config, Arc::new(images), "normalize(half)".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_background_lies_behind_what_is_shown_and_a_rendition_changes_it() {
        let suite = suite(1);
        for cell in suite.cells() {
            let Shift::Changed(change) = cell.shift else { panic!("{cell:?}") };
            let [small, whole] = [0, 1].map(|index| suite.pixels(cell, index).unwrap());
            let is_background = change.family() == "background";
            assert_eq!(small.get_pixel(8, 8).0 == [200; 3], is_background, "{}", cell.name);
            assert_eq!(whole.pixels().all(|pixel| pixel.0 == [200; 3]), is_background, "{}", cell.name);
            let border: Vec<_> = (0..16).map(|x| *small.get_pixel(x, 0)).collect();
            assert!(border.iter().any(|pixel| pixel.0 != [0; 3]), "{}", cell.name);
            // The same picture again, to the byte, and another under another seed unless nothing is drawn at random.
            assert_eq!(suite.pixels(cell, 0).unwrap(), small);
        }
        assert_eq!(suite.label(1).unwrap().0, 1);
        assert_ne!(suite.identity(), self::suite(2).identity());
        let landscape = &suite.cells()[0];
        assert_ne!(suite.pixels(landscape, 0).unwrap(), self::suite(2).pixels(landscape, 0).unwrap());
    }
}
