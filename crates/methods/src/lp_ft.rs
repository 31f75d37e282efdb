//! LP-FT: a linear probe first, then full fine-tuning from it, which distorts the pre-trained features less.
//!
//! Source: Kumar et al. 2022, arXiv:2202.10054.

use anyhow::Result;
use schemars::{Schema, SchemaGenerator};

use crate::finetune::{Settings, finetuned};
use crate::{Config, Fitted, Lab, Method, Work};

/// Full fine-tuning from a linear probe.
pub(crate) struct LpFt;

impl Method for LpFt {
    fn name(&self) -> &'static str {
        "lp_ft"
    }

    fn title(&self) -> &'static str {
        "LP-FT"
    }

    fn about(&self) -> &'static str {
        "full fine-tuning from a linear probe"
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        Settings::faults(config, self.name())
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        Ok(lab.settings::<Settings>(self.name())?.work(lab))
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        finetuned(lab, self.name(), &lab.probe()?)
    }
}
