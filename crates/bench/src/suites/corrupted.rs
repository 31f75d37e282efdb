//! Any data set under generated corruptions: ImageNet-C, CIFAR-10-C and their kin from clean images.
//!
//! Source: Hendrycks & Dietterich 2019, arXiv:1903.12261.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use image::RgbImage;
use robustify_augment::{Corruption, Corruptor, Profile, Severity};
use robustify_data::{DataError, Images, Preprocess, split};
use robustify_report::digest;
use robustify_rng::Key;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::BenchError;
use crate::suite::{Cell, Origin, Shift, Suite};
use crate::suites::Change;

/// What is measured of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorruptedConfig {
    /// Constants of the corruptions: those of the data set whose images have the size of the model's input, or `scaled` for any size.
    #[schemars(schema_with = "profile_schema")]
    pub profile: String,
    /// Severities, 1 to 5.
    #[schemars(inner(range(min = 1, max = 5)))]
    pub severities: Vec<u8>,
    /// Names of the corruptions. Default: the fifteen test corruptions; the four validation corruptions where `data.test` is
    /// `validation`.
    #[serde(default)]
    #[schemars(schema_with = "corruptions_schema")]
    pub corruptions: Option<Vec<String>>,
    /// Classes of the data whose test images are measured, for models whose classes are texts (`original.zero_shot`): others than
    /// those of `data.only`, on which they were tuned. Default: those that they were tuned on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Test images of a corrupted cell; 0 for all.
    #[serde(default)]
    pub images: usize,
    /// Test images of the clean cell; 0 for all.
    #[serde(default)]
    pub clean_images: usize,
    /// Seed of the corruptions and of the choice of images.
    #[serde(default)]
    pub seed: u64,
    /// Generated shifts that are measured besides, on the images of a corrupted cell; no mean over corruptions counts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shifts: Vec<Change>,
    /// Training pictures of a linear probe of every model's features, for another task on as many test pictures as a corrupted
    /// cell has: by which quarter each is turned, and how it is tinted. 0: not measured.
    #[serde(default, skip_serializing_if = "is_none")]
    pub transfer: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn profile_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Profile::ALL.map(Profile::name) })
}

fn corruptions_schema(_: &mut SchemaGenerator) -> Schema {
    let mut names: Vec<&str> = Corruption::ALL.map(Corruption::name).to_vec();
    for bar in Corruption::CIFAR_BAR.into_iter().chain(Corruption::IMAGENET_BAR).map(Corruption::name) {
        if !names.contains(&bar) {
            names.push(bar);
        }
    }
    json_schema!({ "type": ["array", "null"], "items": { "type": "string", "enum": names } })
}

impl CorruptedConfig {
    /// The corruption constants.
    ///
    /// # Errors
    /// An unknown name.
    pub fn profile(&self) -> Result<Profile, BenchError> {
        Ok(self.profile.parse()?)
    }

    /// All cells, the clean one first, then by corruption and severity.
    ///
    /// # Errors
    /// An unknown corruption, or a severity outside 1 to 5.
    pub fn cells(&self) -> Result<Vec<Cell>, BenchError> {
        let corruptions: Vec<Corruption> = match &self.corruptions {
            None => Corruption::TEST.to_vec(),
            Some(names) => names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        };
        let mut cells = vec![Cell::new(Shift::Clean)];
        for corruption in corruptions {
            for &level in &self.severities {
                let severity = Severity::try_from(level)?;
                if severity == Severity::CLEAN {
                    return Err(BenchError::SeverityZero);
                }
                cells.push(Cell::new(Shift::Corrupted(corruption, severity)));
            }
        }
        Ok(cells)
    }

    /// Faults of the settings, each beginning with its key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            self.profile().err().map(|error| format!("profile: {error}")).into_iter().collect();
        for name in self.corruptions.iter().flatten() {
            faults.extend(name.parse::<Corruption>().err().map(|error| format!("corruptions: {error}")));
        }
        if let Some(level) = self.severities.iter().find(|level| !(1..=5).contains(*level)) {
            faults.push(format!("severities: {level} is not in 1 to 5"));
        }
        let named = self.corruptions.as_deref().unwrap_or_default();
        if let Some(twice) = repeated(named) {
            faults.push(format!("corruptions: {twice} is named twice"));
        }
        if let Some(twice) = repeated(&self.severities) {
            faults.push(format!("severities: {twice} is named twice"));
        }
        if self.corruptions.as_ref().is_some_and(Vec::is_empty) {
            faults.push("corruptions is empty; leave it out for all fifteen".into());
        }
        if self.severities.is_empty() {
            faults.push("severities is empty".into());
        }
        if let Some(twice) = repeated(&self.shifts) {
            faults.push(format!("shifts: {} is named twice", twice.name()));
        }
        faults
    }

    /// The indices of the images of the clean cell, and of every corrupted one, in ascending order: drawn by key from all of
    /// them, so that a part of a folder is of all classes. A larger number extends a smaller one.
    ///
    /// # Errors
    /// An image without an identity.
    pub fn choose(&self, images: &Images) -> Result<[Vec<usize>; 2], BenchError> {
        let drawn = |asked: usize| {
            let count = if asked == 0 { images.len() } else { asked.min(images.len()) };
            split::sample(&**images, count, Key::new(self.seed, "benchmark images"))
        };
        Ok([drawn(self.clean_images)?, drawn(self.images)?])
    }
}

/// The first that stands in a list for a second time.
fn repeated<T: PartialEq>(list: &[T]) -> Option<&T> {
    list.iter().enumerate().find(|(index, one)| list[..*index].contains(one)).map(|(_, one)| one)
}

/// A data set under the corruptions of a configuration.
pub struct Corrupted {
    name: String,
    identity: String,
    images: Images,
    geometry: Preprocess,
    corruptor: Corruptor,
    seed: u64,
    cells: Vec<Cell>,
    clean: Vec<usize>,
    corrupted: Vec<usize>,
    /// Images after the geometry, by index: decoded once for all cells, as long as they fit in [`KEPT`].
    decoded: Vec<RwLock<Option<Arc<RgbImage>>>>,
    /// Bytes of them.
    kept: AtomicU64,
}

/// Bytes of decoded images that are kept in memory.
const KEPT: u64 = 1 << 30;

impl Corrupted {
    /// The suite `name` of some images; `geometry` is applied before a corruption.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(name: &str, config: &CorruptedConfig, images: Images, geometry: Preprocess) -> Result<Self, BenchError> {
        let [clean, corrupted] = config.choose(&images)?;
        let corruptor = Corruptor::new(config.profile()?);
        let identity = digest::of(&(
            "corrupted",
            robustify_augment::REVISION,
            &config.profile,
            corruptor.frost_source().name(),
            config.seed,
            [&clean, &corrupted],
            images.fingerprint(),
            geometry.to_string(),
        ))
        .expect("settings and strings have a JSON form");
        let decoded = (0..images.len()).map(|_| RwLock::default()).collect();
        let cells = config.cells()?;
        let seed = config.seed;
        Ok(Self {
            name: name.to_owned(),
            identity,
            images,
            geometry,
            corruptor,
            seed,
            cells,
            clean,
            corrupted,
            decoded,
            kept: AtomicU64::new(0),
        })
    }

    /// Where the pictures of frost come from.
    pub fn frost(&self) -> &'static str {
        self.corruptor.frost_source().name()
    }

    fn decode(&self, index: usize) -> Result<RgbImage, DataError> {
        let sample = self.images.get(index)?;
        self.geometry.pixels(&sample.image).map_err(|error| error.of_image(&self.images, index))
    }

    fn corrupt(&self, clean: &RgbImage, shift: Shift, index: usize) -> Result<RgbImage, DataError> {
        match shift {
            Shift::Corrupted(corruption, severity) => {
                let key = Key::new(self.seed, "corruption").with(self.images.id(index)?);
                Ok(self.corruptor.apply(clean, corruption, severity, key))
            }
            _ => Ok(clean.clone()),
        }
    }
}

impl Suite for Corrupted {
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

    fn images(&self, cell: &Cell) -> &[usize] {
        if cell.is_shifted() { &self.corrupted } else { &self.clean }
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        let id = self.images.id(index)?;
        Ok((self.images.labels()[index], id))
    }

    fn dimensions(&self, index: usize) -> Option<(u32, u32)> {
        self.images.dimensions(index).ok()
    }

    fn image(&self, index: usize) -> String {
        self.images.origin(index)
    }

    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let Some(place) = self.decoded.get(index) else {
            return self.corrupt(&self.decode(index)?, cell.shift, index);
        };
        let known = place.read().unwrap_or_else(PoisonError::into_inner).clone();
        let clean = match known {
            Some(clean) => clean,
            None => {
                let clean = Arc::new(self.decode(index)?);
                let bytes = clean.as_raw().len() as u64;
                if self.kept.fetch_add(bytes, Ordering::Relaxed) + bytes <= KEPT {
                    // Another thread may have been faster; both decoded the same.
                    *place.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&clean));
                } else {
                    self.kept.fetch_sub(bytes, Ordering::Relaxed);
                }
                clean
            }
        };
        self.corrupt(&clean, cell.shift, index)
    }

    fn release(&self) {
        for place in &self.decoded {
            *place.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.kept.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use robustify_data::MemorySet;

    use super::*;

    #[test]
    fn a_part_of_images_in_the_order_of_their_classes_is_of_all_classes() {
        let pictures: Vec<RgbImage> =
            (0..200_u8).map(|level| RgbImage::from_pixel(2, 2, image::Rgb([level; 3]))).collect();
        let labels = (0..200).map(|index| index / 50).collect();
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let images: Images = Arc::new(MemorySet::from_images("test", &pictures, labels, names).unwrap());
        let suite = |images| CorruptedConfig {
            profile: "cifar-c".into(),
            severities: vec![3],
            corruptions: None,
            classes: None,
            images,
            clean_images: 0,
            seed: 5,
            shifts: Vec::new(),
            transfer: 0,
        };
        let chosen = |suite: CorruptedConfig| suite.choose(&images).unwrap();
        let [clean, few] = chosen(suite(40));
        assert!((0..4).all(|class| few.iter().filter(|&&index| index / 50 == class).count() >= 4), "{few:?}");
        let [_, more] = chosen(suite(80));
        assert!(more.len() == 80 && few.iter().all(|index| more.contains(index)));
        assert_ne!(chosen(CorruptedConfig { seed: 6, ..suite(40) })[1], few);
        for all in [clean, chosen(suite(0))[1].clone(), chosen(suite(900))[1].clone()] {
            assert_eq!(all, (0..200).collect::<Vec<_>>());
        }
    }
}
