use robustify_augment::{Corruption, Profile, Severity};
use robustify_data::{Images, split};
use robustify_rng::Key;
use serde::{Deserialize, Serialize};

use crate::BenchError;

/// What a benchmark measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteConfig {
    /// Constants of the corruptions.
    pub profile: String,
    /// Severities, 1 to 5.
    pub severities: Vec<u8>,
    /// Names of the corruptions. Default: the fifteen test corruptions.
    #[serde(default)]
    pub corruptions: Option<Vec<String>>,
    /// Test images of a corrupted cell; 0 for all.
    #[serde(default)]
    pub images: usize,
    /// Test images of the clean cell; 0 for all.
    #[serde(default)]
    pub clean_images: usize,
    /// Seed of the corruptions and of the choice of images.
    #[serde(default)]
    pub seed: u64,
}

/// One cell: a corruption and its severity, or none for the clean images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellId(pub Option<(Corruption, Severity)>);

impl CellId {
    /// `clean`, or corruption and severity as in `fog-3`.
    pub fn name(&self) -> String {
        match self.0 {
            None => "clean".into(),
            Some((corruption, severity)) => format!("{corruption}-{}", severity.level()),
        }
    }
}

impl SuiteConfig {
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
    pub fn cells(&self) -> Result<Vec<CellId>, BenchError> {
        let corruptions: Vec<Corruption> = match &self.corruptions {
            None => Corruption::TEST.to_vec(),
            Some(names) => names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        };
        let mut cells = vec![CellId(None)];
        for corruption in corruptions {
            for &level in &self.severities {
                let severity = Severity::try_from(level)?;
                if severity == Severity::CLEAN {
                    return Err(BenchError::SeverityZero);
                }
                cells.push(CellId(Some((corruption, severity))));
            }
        }
        Ok(cells)
    }

    /// Faults of the settings, as sentences.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> =
            [self.profile().err(), self.cells().err()].into_iter().flatten().map(|e| e.to_string()).collect();
        if self.cells().is_ok_and(|cells| cells.iter().enumerate().any(|(i, cell)| cells[..i].contains(cell))) {
            faults.push("a corruption or severity is named twice".into());
        }
        if self.severities.is_empty() {
            faults.push("severities is empty".into());
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use robustify_augment::RgbImage;
    use robustify_data::MemorySet;

    use super::*;

    #[test]
    fn a_part_of_images_in_the_order_of_their_classes_is_of_all_classes() {
        let pictures: Vec<RgbImage> =
            (0..200_u8).map(|level| RgbImage::from_pixel(2, 2, image::Rgb([level; 3]))).collect();
        let labels = (0..200).map(|index| index / 50).collect();
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let images: Images = Arc::new(MemorySet::from_images("test", &pictures, labels, names).unwrap());
        let suite = |images| SuiteConfig {
            profile: "cifar-c".into(),
            severities: vec![3],
            corruptions: None,
            images,
            clean_images: 0,
            seed: 5,
        };
        let chosen = |suite: SuiteConfig| suite.choose(&images).unwrap();
        let [clean, few] = chosen(suite(40));
        assert!((0..4).all(|class| few.iter().filter(|&&index| index / 50 == class).count() >= 4), "{few:?}");
        let [_, more] = chosen(suite(80));
        assert!(more.len() == 80 && few.iter().all(|index| more.contains(index)));
        assert_ne!(chosen(SuiteConfig { seed: 6, ..suite(40) })[1], few);
        for all in [clean, chosen(suite(0))[1].clone(), chosen(suite(900))[1].clone()] {
            assert_eq!(all, (0..200).collect::<Vec<_>>());
        }
    }
}
