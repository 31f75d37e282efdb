//! SAR: as Tent, from images alone whose answers are sure already, towards flat minima, and beginning anew when answers grow too sure.
//!
//! It adapts at test time, see [`crate::tent`]. Source: Niu et al. 2023, arXiv:2302.12400; settings as in mr-eggplant/SAR, `sar.py`, `sam.py`,
//! `main.py`. There the running mean of the loss survives a restart, so that one is followed by others; here it begins anew with
//! the rest, as the paper has it.

use anyhow::Result;
use robustify_distill::TuningConfig;
use robustify_predict::{Adaptation, AdaptationStep, SharpnessAware};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::tent::{Of, adapting, faults, rate};
use crate::{Config, Fitted, Lab, Method, Work};

/// Sure answers made surer at test time, carefully.
pub(crate) struct Sar;

/// `[method.sar]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SarSettings")]
struct Settings {
    /// Which models adapt, each a row of its own.
    of: Vec<Of>,
    /// Images of a batch, at most.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    batch_size: usize,
    /// Learning rate; without it, for 64 images 1e-3 of a network with LayerNorm and 2.5e-4 of one with BatchNorm, in proportion for others.
    learning_rate: Option<f64>,
    /// Images count whose entropy is below this share of `ln classes`.
    margin: f64,
    /// Length of the way uphill at whose end the gradient of a step is taken.
    rho: f64,
    /// The model begins anew where the running mean of the loss falls below this.
    reset_below: f64,
    /// Blocks (of residual networks: stages) at the end whose norms stay, as the final norm does; default: a quarter, and at least one
    /// where there are several.
    left_out: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            of: vec![Of::Original],
            batch_size: 64,
            learning_rate: None,
            margin: 0.4,
            rho: 0.05,
            reset_below: 0.2,
            left_out: None,
        }
    }
}

impl Settings {
    /// The last stage of four of a ResNet and the last three blocks of twelve of a ViT-B are a quarter.
    fn left_out(&self, blocks: usize) -> usize {
        self.left_out.unwrap_or((blocks / 4).max(1).min(blocks.saturating_sub(1)))
    }

    fn faults(&self, blocks: usize) -> Vec<String> {
        let mut faults = faults("sar", &self.of, self.batch_size, self.learning_rate);
        for (name, value) in [("margin", self.margin), ("rho", self.rho), ("reset_below", self.reset_below)] {
            check(&mut faults, value.is_finite() && value >= 0.0, || format!("method.sar.{name} {value} is negative"));
        }
        let left_out = self.left_out(blocks);
        check(&mut faults, left_out < blocks, || {
            format!("method.sar.left_out {left_out}: the network has {blocks} blocks, and some have to adapt")
        });
        faults
    }
}

impl Method for Sar {
    fn name(&self) -> &'static str {
        "sar"
    }

    fn title(&self) -> &'static str {
        "SAR (adapts at test time)"
    }

    fn about(&self) -> &'static str {
        "adapts at test time: as Tent, by sure answers alone, towards flat minima, with restarts"
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        match config.settings::<Settings>(self.name()) {
            Err(error) => vec![format!("{error:#}")],
            Ok(settings) => settings.faults(config.original.network.blocks()),
        }
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        // Two forwards, and two backwards to the norms.
        let settings = lab.settings::<Settings>(self.name())?;
        let kept = settings.left_out(lab.config.original.network.blocks());
        let tuned = Some(lab.norm_parameters(kept)?);
        Ok(Work { answer: 4.0 * settings.of.len() as f64, tuned, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let (network, optimizer, batch) = (&lab.config.original.network, AdaptationStep::Sgd, settings.batch_size);
        let Settings { margin, rho, reset_below, .. } = settings;
        let left_out = settings.left_out(network.blocks());
        let adaptation = Adaptation {
            batch,
            seed: lab.config.tuning.seed,
            optimizer,
            rate: settings.learning_rate.unwrap_or_else(|| rate(network, optimizer, batch)),
            sharpness_aware: Some(SharpnessAware { margin, rho, reset_below, left_out }),
        };
        adapting(lab, self.name(), &settings.of, adaptation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_blocks_is_left_out_and_some_remain() {
        let settings = Settings::default();
        assert_eq!([12, 4, 6, 1].map(|blocks| settings.left_out(blocks)), [3, 1, 1, 0]);
        assert!(settings.faults(1).is_empty());
        let all = Settings { left_out: Some(4), margin: -1.0, ..Settings::default() };
        assert_eq!(all.faults(4).len(), 2, "{:?}", all.faults(4));
    }
}
