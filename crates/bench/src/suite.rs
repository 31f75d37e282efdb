use robustify_augment::{Corruption, Profile, Severity};
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

    /// How many images of `available` a setting asks for, [`SuiteConfig::images`] or [`SuiteConfig::clean_images`].
    pub fn count(&self, asked: usize, available: usize) -> usize {
        if asked == 0 { available } else { asked.min(available) }
    }
}
