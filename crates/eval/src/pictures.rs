//! Small pictures of some images of a part, and how all of its images look.
//!
//! They are kept beside the answers, by whoever has the pixels, so that whoever judges needs none: a merged evaluation shows the same
//! pictures as one that one process made. Which images are drawn depends on the answers alone: in every cell those that a model has right
//! when clean and most surely wrong there, and some at fixed places.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use robustify_bench::metrics::SELECTED;
use robustify_bench::{AnswerStore, Cell, HeadRoute, Shift, Stored, Suite};
use robustify_predict::Answers;
use robustify_report::{digest, write_atomic};
use robustify_select::{SelectConfig, argmax};
use serde::{Deserialize, Serialize};

use crate::place;
use crate::plan::{Plan, PlannedGroup, PlannedModel};

/// Pictures of flipped images of a suite, over all cells and models, at most; there is one for each of the first models in any case.
const FLIPS: usize = 600;
/// Models whose flipped images are drawn.
const MODELS: usize = 8;
/// Longest side of a picture in pixels.
const SIDE: u32 = 112;
/// JPEG quality.
const QUALITY: u8 = 82;

/// How an image looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Its class.
    pub label: usize,
    /// Mean luma, 0 to 1.
    pub brightness: f64,
    /// Standard deviation of luma, 0 to 1/2.
    pub contrast: f64,
    /// Pixels of the file, before it was resized, where that is known.
    pub pixels: Option<u64>,
}

/// What is kept of a part.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pictures {
    /// Of every image by its identity.
    pub looks: BTreeMap<u64, Look>,
    /// Pictures as `data:` URLs, by cell and place in the part.
    cells: BTreeMap<String, BTreeMap<usize, String>>,
}

/// A part with the models that were asked about it.
pub(crate) struct Kept<'a> {
    pub out: &'a Path,
    pub plan: &'a Plan,
    pub group: &'a PlannedGroup,
    /// Whether it is that of models which are asked about whole cells.
    pub is_whole: bool,
}

impl Kept<'_> {
    fn models(&self) -> impl Iterator<Item = &PlannedModel> {
        self.group.models.iter().filter(|model| model.is_whole == self.is_whole)
    }

    /// The file of a part by its identity: other models, or other rules, flip other images.
    fn file(&self, part: &str) -> Result<PathBuf> {
        let of: Vec<_> =
            self.models().map(|model| (&model.name, &model.identity, self.plan.rules.get(&model.name))).collect();
        let name = format!("pictures-{}.json", &digest::of(&of)?[..16]);
        Ok(self.out.join(place::ANSWERS).join(&part[..16.min(part.len())]).join(name))
    }

    /// What is kept of a part; nothing if it is not there. Answers that are judged by another rule than they were drawn for have what was
    /// drawn for the other one: how images look is the same, and some of the flipped ones are.
    pub fn read(&self, part: &str) -> Pictures {
        let read = |path: &Path| serde_json::from_slice(&std::fs::read(path).ok()?).ok();
        let path = self.file(part).ok();
        let other = || {
            let entries = std::fs::read_dir(path.as_ref()?.parent()?).ok()?.flatten().map(|entry| entry.path());
            let is_one =
                |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pictures-"));
            read(&entries.filter(is_one).min()?)
        };
        path.as_ref().and_then(|path| read(path)).or_else(other).unwrap_or_default()
    }

    /// Draws what is not there yet of a part all of whose answers are.
    ///
    /// # Errors
    /// Answers or images that cannot be read, or a file that cannot be written.
    pub fn keep(&self, part: &dyn Suite, is_first: bool, store: &AnswerStore) -> Result<()> {
        let path = self.file(part.identity())?;
        if path.is_file() {
            return Ok(());
        }
        let mut kept = Pictures::default();
        let clean = part.cells().iter().find(|cell| !cell.is_shifted());
        for cell in clean.map_or_else(|| part.cells().iter().collect(), |clean| vec![clean]) {
            for &index in part.images(cell) {
                let (label, id) = part.label(index)?;
                if let std::collections::btree_map::Entry::Vacant(e) = kept.looks.entry(id) {
                    e.insert(look(&part.pixels(cell, index)?, label, part.dimensions(index)));
                }
            }
        }
        let most = (FLIPS / (self.group.cells.len() * self.group.models.len().min(MODELS)).max(1)).clamp(1, 3);
        let mut draw = |cell: &Cell, place: usize| -> Result<()> {
            let images = part.images(cell);
            if let Some(&index) = images.get(place) {
                kept.cells.entry(cell.name.clone()).or_default().insert(place, small(&part.pixels(cell, index)?)?);
            }
            Ok(())
        };
        for model in self.models().take(MODELS) {
            let rule = self.plan.rules.get(&model.name).copied().unwrap_or_default();
            let said = |cell: &Cell| -> Result<Vec<Said>> {
                let stored = store.answers_by_name(part.identity(), &cell.name, &model.identity)?;
                let stored = stored.with_context(|| format!("{}: no answers about {}", model.name, cell.name))?;
                Ok(said(&model.map.stored(stored)?, cell, &rule))
            };
            let Some(clean) = clean else { continue };
            let right: HashMap<u64, bool> =
                said(clean)?.iter().map(|said| (said.id, said.class == said.label)).collect();
            for cell in part.cells().iter().filter(|cell| cell.is_shifted()) {
                for place in flipped(&said(cell)?, &right).into_iter().take(most) {
                    draw(cell, place)?;
                }
            }
        }
        if is_first {
            for cell in part.cells().iter().filter(|cell| is_shown(part.cells(), cell)) {
                for place in places(part.images(cell).len()) {
                    draw(cell, place)?;
                }
            }
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        Ok(write_atomic(&path, serde_json::to_string(&kept)?.as_bytes())?)
    }
}

impl Pictures {
    /// The picture at a place of a cell.
    pub fn of(&self, cell: &str, place: usize) -> Option<&str> {
        self.cells.get(cell)?.get(&place).map(String::as_str)
    }
}

/// Whether examples of a cell are shown: clean images, the third and the highest severity of a corruption, and any other shift.
fn is_shown(cells: &[Cell], cell: &Cell) -> bool {
    let Shift::Corrupted(corruption, severity) = cell.shift else { return true };
    let severities = cells.iter().filter_map(|other| match other.shift {
        Shift::Corrupted(known, severity) if known == corruption => Some(severity.level()),
        _ => None,
    });
    severity.level() == 3 || severities.max() == Some(severity.level())
}

/// Places of the images that examples are of.
pub(crate) fn places(images: usize) -> Vec<usize> {
    let mut places = vec![0, images / 2];
    places.dedup();
    places.retain(|place| *place < images);
    places
}

/// What the main route of a model said of an image.
pub(crate) struct Said {
    /// The image's identity.
    pub id: u64,
    /// Its class.
    pub label: usize,
    /// The class that was said.
    pub class: usize,
    /// Its probability.
    pub confidence: f32,
}

/// What the main route said of every image of a cell.
pub(crate) fn said(stored: &Stored, cell: &Cell, rule: &SelectConfig) -> Vec<Said> {
    let said = |(image, probabilities): (usize, Vec<f32>)| {
        let class = argmax(&probabilities);
        Said { id: stored.ids[image], label: stored.labels[image], class, confidence: probabilities[class] }
    };
    match &stored.answers {
        Answers::Logits { .. } => stored.answers.probabilities().into_iter().enumerate().map(said).collect(),
        Answers::Heads(heads) => {
            let route = HeadRoute::selected(SELECTED, rule);
            // Random choices are keyed by the cell's name.
            let keyed = Cell { name: cell.name.clone(), shift: Shift::Clean };
            let answer = |image: usize| {
                let (label, id) = (stored.labels[image], keyed.keyed(stored.ids[image]));
                (image, route.respond(heads, &stored.beside, image, label, id).1)
            };
            (0..heads.len()).map(answer).map(said).collect()
        }
    }
}

/// Places of the images that are right when clean and wrong here, the surest wrong answer first, of equals the first.
fn flipped(said: &[Said], right: &HashMap<u64, bool>) -> Vec<usize> {
    let is_flipped = |place: &usize| {
        let said = &said[*place];
        said.class != said.label && right.get(&said.id) == Some(&true)
    };
    let mut places: Vec<usize> = (0..said.len()).filter(is_flipped).collect();
    places.sort_by(|&a, &b| said[b].confidence.total_cmp(&said[a].confidence).then(a.cmp(&b)));
    places
}

/// How an image looks, to four decimals.
fn look(pixels: &RgbImage, label: usize, size: Option<(u32, u32)>) -> Look {
    // Luma of ITU-R BT.601.
    let luma = |[red, green, blue]: [u8; 3]| {
        (0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue)) / 255.0
    };
    let count = (u64::from(pixels.width()) * u64::from(pixels.height())).max(1) as f64;
    let (sum, squares) = pixels
        .pixels()
        .map(|pixel| luma(pixel.0))
        .fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
    let mean = sum / count;
    let four = |value: f64| (value * 1e4).round() / 1e4;
    Look {
        label,
        brightness: four(mean),
        contrast: four((squares / count - mean * mean).max(0.0).sqrt()),
        pixels: size.map(|(width, height)| u64::from(width) * u64::from(height)),
    }
}

/// A picture of at most [`SIDE`] pixels a side as a `data:` URL.
fn small(pixels: &RgbImage) -> Result<String> {
    let longest = pixels.width().max(pixels.height());
    let shrunk = (longest > SIDE).then(|| {
        let side = |side: u32| (side * SIDE / longest).max(1);
        imageops::resize(pixels, side(pixels.width()), side(pixels.height()), FilterType::Triangle)
    });
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(shrunk.as_ref().unwrap_or(pixels))?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_mean_and_deviation_of_luma() {
        let pixels = RgbImage::from_fn(2, 2, |x, _| image::Rgb([if x == 0 { 0 } else { 255 }; 3]));
        assert_eq!(
            look(&pixels, 3, Some((40, 30))),
            Look { label: 3, brightness: 0.5, contrast: 0.5, pixels: Some(1200) }
        );
    }

    #[test]
    fn pictures_are_small_and_the_surest_wrong_come_first() {
        let picture =
            small(&RgbImage::from_fn(600, 300, |x, y| image::Rgb([(x % 256) as u8, (y % 256) as u8, 7]))).unwrap();
        let bytes = STANDARD.decode(picture.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
        let back = image::load_from_memory(&bytes).unwrap();
        assert_eq!((back.width(), back.height()), (112, 56));
        let one = |id, class, confidence| Said { id, label: 0, class, confidence };
        let said = [one(1, 1, 0.5), one(2, 1, 0.9), one(3, 0, 0.99), one(4, 2, 0.95), one(5, 1, 0.9)];
        let right = [(1, true), (2, true), (3, true), (4, false), (5, true)].into();
        assert_eq!(flipped(&said, &right), [1, 4, 0]);
        assert_eq!((places(0), places(1), places(9)), (vec![], vec![0], vec![0, 4]));
    }
}
