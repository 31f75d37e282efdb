//! Full fine-tuning with selective projection decay: a tensor is drawn back towards the pre-trained model, but only by steps that lead
//! away from it.
//!
//! Everything but the decay is that of [`crate::finetune`], so that the two rows differ in nothing else. Source: Tian et al. 2024,
//! "Rethinking weight decay for robust fine-tuning of foundation models", arXiv:2411.01713.

use anyhow::Result;
use robustify_distill::optimizer::{AdamWConfig, DecayTo};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::finetune::{self, Variant, tuned};
use crate::{Config, Fitted, Lab, Method, Work};

/// Every weight tuned, with selective projection decay.
pub(crate) struct AdamSpd;

/// `[method.adam_spd]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AdamSpdSettings")]
struct Settings {
    /// What the projection undoes of the way that a step has led farther from the start: 1 all of it, 0 nothing.
    strength: f64,
    /// Peak learning rate; without it that of `[method.finetune]`, which has all other settings.
    learning_rate: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { strength: 1.0, learning_rate: None }
    }
}

impl Settings {
    fn optimizer(&self, usual: AdamWConfig) -> AdamWConfig {
        let learning_rate = self.learning_rate.unwrap_or(usual.learning_rate);
        AdamWConfig { learning_rate, weight_decay: self.strength, decay_to: DecayTo::Selective, ..usual }
    }
}

impl Method for AdamSpd {
    fn name(&self) -> &'static str {
        "adam_spd"
    }

    fn title(&self) -> &'static str {
        "fine-tuning with selective projection decay"
    }

    fn about(&self) -> &'static str {
        "full fine-tuning whose steps away from the pre-trained weights are partly undone"
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        let settings: Settings = match config.settings(self.name()) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = Vec::new();
        let Settings { strength, learning_rate } = settings;
        check(&mut faults, strength.is_finite() && strength >= 0.0, || {
            format!("method.adam_spd.strength {strength} is negative")
        });
        check(&mut faults, learning_rate.is_none_or(|rate| rate.is_finite() && rate > 0.0), || {
            format!("method.adam_spd.learning_rate {} is not positive", learning_rate.unwrap_or_default())
        });
        faults
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        Ok(lab.settings::<finetune::Settings>("finetune")?.of(Variant::Augmented).work(lab))
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let usual = lab.settings::<finetune::Settings>("finetune")?.of(Variant::Augmented);
        let optimizer = settings.optimizer(usual.optimizer(&lab.config));
        let seed = lab.config.tuning.seed;
        Ok(vec![tuned(lab, self.name(), lab.original()?, &usual, &optimizer, seed)?])
    }
}
