//! What models say about clean validation images, from which temperatures are fitted.

use anyhow::Result;
use robustify_bench::suites::{Corrupted, CorruptedConfig};
use robustify_bench::{AnswerStore, Entrant, measure};
use robustify_data::{Images, Preprocess};
use robustify_select::fit_temperature;

use super::Lab;
use crate::{Config, Fitted};

/// The clean validation images as a suite, on the pixels that a benchmark has.
///
/// # Errors
/// A preprocessing or a benchmark with faults.
pub fn clean_validation(config: &Config, validation: &Images) -> Result<Corrupted> {
    let geometry = config.original.preprocess.parse::<Preprocess>()?.geometry();
    let clean = CorruptedConfig { corruptions: Some(Vec::new()), clean_images: 0, ..config.benchmark.clone() };
    Ok(Corrupted::new("validation", &clean, validation.clone(), geometry)?)
}

impl Lab<'_> {
    /// Temperature of each model on clean validation images; 1 without such images. The answers are kept beside the stages, where the
    /// benchmark finds them.
    ///
    /// # Errors
    /// Images that cannot be read, or answers that cannot be computed.
    pub fn temperatures(&self, models: [&Fitted; 2]) -> Result<[f64; 2]> {
        let suite = clean_validation(&self.config, &self.splits.validation)?;
        let store = AnswerStore::new(self.cache.join("answers"), robustify_device::backend_of(&self.machine.device));
        let entrant = |fitted: &Fitted| {
            let predictor = fitted.model.predictor()?;
            Ok(Entrant { name: fitted.model.method.clone(), predictor })
        };
        let entrants = models.into_iter().map(entrant).collect::<Result<Vec<_>>>()?;
        let mut temperatures = [1.0; 2];
        measure::measure(&suite, &entrants, &store, self.machine, self.watch, |measured| {
            for (temperature, (_, stored)) in temperatures.iter_mut().zip(&measured.answers) {
                let told = stored.answers.probabilities();
                *temperature = fit_temperature(told.iter().map(Vec::as_slice).zip(stored.labels.iter().copied()));
            }
        })?;
        Ok(temperatures)
    }
}
