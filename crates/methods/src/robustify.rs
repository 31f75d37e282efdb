//! Robustify: a shared tunable part and three heads on a frozen backbone, distilled from the original model on clean views
//! and from the small robust teacher on augmented ones.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499.

use anyhow::Result;
use robustify_distill::{Robustify as Objective, TuningConfig};
use robustify_predict::Made;
use robustify_report::digest;
use robustify_select::ThreeHeads;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::lab::PairSource;
use crate::{Config, Fitted, Lab, Method, Work};

/// Three tuned heads.
pub(crate) struct Robustify;

/// `[method.robustify]`, beside the sections `split`, `tuning` and `select`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RobustifySettings")]
struct Settings {
    /// Whether to tune the heads once more by cross-entropy alone, as `robustify-without_kd`: the ablation of the teachers.
    without_distillation: bool,
    /// Whether an untouched copy of the shared part and the original's own head answer for the clean head, so that clean answers are
    /// the original's to the bit. The others are tuned as without it.
    preserve_original: bool,
}

impl Method for Robustify {
    fn name(&self) -> &'static str {
        "robustify"
    }

    fn about(&self) -> &'static str {
        "clean, combined and robust head, distilled from the original model and the teacher"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["teacher"]
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        config.settings::<Settings>(self.name()).err().map(|error| format!("{error:#}")).into_iter().collect()
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings(self.name())?;
        let (heads, models) = (3.0, if settings.without_distillation { 2.0 } else { 1.0 });
        Ok(Work { answer: models * heads * lab.tail(), ..lab.tuning_work(models, heads, true) })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let source = lab.pair_source(true)?;
        let (fitted, heads) = tuned(lab, &source, self.name(), &lab.config.tuning, &settings)?;
        lab.warn_of_weak_teacher(&heads)?;
        let mut all = vec![fitted];
        if settings.without_distillation {
            let tuning = TuningConfig { kd_weight: 0.0, ..lab.config.tuning.clone() };
            all.push(tuned(lab, &source, "robustify-without_kd", &tuning, &settings)?.0);
        }
        Ok(all)
    }
}

/// Three heads under a row's name, tuned with some settings.
fn tuned(
    lab: &Lab<'_>,
    source: &PairSource,
    name: &str,
    tuning: &TuningConfig,
    settings: &Settings,
) -> Result<(Fitted, ThreeHeads)> {
    let (original, split) = (lab.original()?, lab.config.split);
    let objective = Objective(source.pairs(lab, tuning)?);
    let tuned = lab.tune(name, &source.hash, &objective, ThreeHeads::new(&original.model, split)?)?;
    let mut heads = tuned.model;
    let mut hash = tuned.hash;
    if settings.preserve_original {
        heads = heads.preserving(&original.model, split)?;
        hash = digest::of(&("preserve_original", hash))?;
    }
    let mut fitted = lab.fitted(name, original, original.model.clone(), hash, source.cost + tuned.cost)?;
    fitted.model.made = Made::ThreeHeads(heads.clone(), lab.config.monte_carlo());
    Ok((lab.attached(fitted)?, heads))
}
