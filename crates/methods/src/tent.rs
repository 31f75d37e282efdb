//! Tent: the model goes on learning while it is asked, without labels, by making its own answers surer.
//!
//! It adapts at test time: an answer depends on the images before it, in an order that is drawn from their identities, and every cell of
//! a benchmark begins anew. Source: Wang et al. 2021, arXiv:2006.10726; rates for images as in mr-eggplant/SAR, `main.py`.

use anyhow::Result;
use robustify_distill::TuningConfig;
use robustify_predict::{Adaptation, AdaptationStep, Made};
use robustify_report::digest;
use robustify_zoo::ModelConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::{ROWS, check, within};
use crate::{Config, Fitted, Lab, Method, Work};

/// Entropy minimised at test time.
pub(crate) struct Tent;

/// `[method.tent]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TentSettings")]
struct Settings {
    /// Which models adapt, each a row of its own.
    of: Vec<Of>,
    /// Images of a batch, at most.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    batch_size: usize,
    /// How a step is made of gradients.
    optimizer: AdaptationStep,
    /// Learning rate; without it, with `adam` 1e-3, with `sgd` for 64 images 1e-3 of a network with LayerNorm and 2.5e-4 of one with
    /// BatchNorm, in proportion for others.
    learning_rate: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { of: vec![Of::Original], batch_size: 64, optimizer: AdaptationStep::Sgd, learning_rate: None }
    }
}

/// Which model adapts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    /// The pre-trained model.
    Original,
    /// The first row of full fine-tuning.
    Finetune,
}

/// The learning rate where none is set.
pub(crate) fn rate(network: &ModelConfig, optimizer: AdaptationStep, batch: usize) -> f64 {
    match (optimizer, network.has_batch_norm()) {
        (AdaptationStep::Adam, _) => 1e-3,
        (AdaptationStep::Sgd, true) => 2.5e-4 / 64.0 * batch as f64,
        (AdaptationStep::Sgd, false) => 1e-3 / 64.0 * batch as f64,
    }
}

/// Faults of settings that both methods have.
pub(crate) fn faults(method: &str, of: &[Of], batch_size: usize, learning_rate: Option<f64>) -> Vec<String> {
    let mut faults = Vec::new();
    check(&mut faults, !of.is_empty(), || format!("method.{method}.of is empty"));
    within(&mut faults, &format!("method.{method}.batch_size"), batch_size, 2..=TuningConfig::MOST_ROWS, ROWS);
    check(&mut faults, learning_rate.is_none_or(|rate| rate.is_finite() && rate >= 0.0), || {
        format!("method.{method}.learning_rate {} is negative", learning_rate.unwrap_or_default())
    });
    faults
}

/// A row for each model that adapts as `adaptation` says.
pub(crate) fn adapting(lab: &Lab<'_>, method: &str, of: &[Of], adaptation: Adaptation) -> Result<Vec<Fitted>> {
    let original = lab.original()?;
    let row = |&of: &Of| {
        let (name, model, hash, cost) = match of {
            Of::Original => (method.to_owned(), original.model.clone(), original.hash.clone(), original.cost),
            Of::Finetune => {
                let tuned = &lab.fits("finetune")?[0];
                (format!("{method}-finetune"), tuned.model.model.clone(), tuned.hash.clone(), tuned.cost)
            }
        };
        let hash = digest::of(&(method, hash, adaptation))?;
        let mut fitted = lab.fitted(&name, original, model, hash, cost)?;
        fitted.model.cut = None;
        fitted.model.made = Made::Adapting(adaptation);
        Ok(fitted)
    };
    of.iter().map(row).collect()
}

impl Method for Tent {
    fn name(&self) -> &'static str {
        "tent"
    }

    fn title(&self) -> &'static str {
        "Tent (adapts at test time)"
    }

    fn about(&self) -> &'static str {
        "adapts at test time: makes its answers surer by steps on the norms' scales and shifts"
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        match config.settings::<Settings>(self.name()) {
            Err(error) => vec![format!("{error:#}")],
            Ok(settings) => faults(self.name(), &settings.of, settings.batch_size, settings.learning_rate),
        }
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        // A forward, and one backwards to the norms.
        let rows = lab.settings::<Settings>(self.name())?.of.len() as f64;
        Ok(Work { answer: 2.0 * rows, tuned: Some(lab.norm_parameters(0)?), ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let Settings { of, batch_size: batch, optimizer, learning_rate } = settings;
        let network = &lab.config.original.network;
        let rate = learning_rate.unwrap_or_else(|| rate(network, optimizer, batch));
        let adaptation = Adaptation { batch, seed: lab.config.tuning.seed, optimizer, rate, sharpness_aware: None };
        adapting(lab, self.name(), &of, adaptation)
    }
}
