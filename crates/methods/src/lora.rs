//! LoRA: low-rank updates of the attention of the part that Robustify freezes, trained with Robustify's losses and heads.
//!
//! Source: Hu et al. 2022, arXiv:2106.09685. The updates are merged into the weights afterwards, so that the model is one with three
//! heads as any other, on a trunk of its own.

use anyhow::{Result, anyhow};
use robustify_distill::{Lora as Objective, LoraConfig, LoraHeads, update_parameters};
use robustify_predict::Made;
use robustify_report::digest;
use robustify_select::ThreeHeads;
use robustify_zoo::{ModelConfig, weights};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::{check, within};
use crate::lab::{PairSource, STEP};
use crate::{Config, Fitted, Lab, Method, Work};

/// Low-rank updates of the frozen part.
pub(crate) struct Lora;

/// `[method.lora]`, beside the sections `split`, `views`, `tuning` and `select`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "LoraSettings")]
struct Settings {
    /// Rank r of every update.
    #[schemars(range(min = 1, max = MOST_RANK))]
    rank: usize,
    /// An update is multiplied by alpha / r.
    alpha: f64,
}

const MOST_RANK: usize = 1024;

impl Default for Settings {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0 }
    }
}

impl Method for Lora {
    fn name(&self) -> &'static str {
        "lora"
    }

    fn title(&self) -> &'static str {
        "LoRA"
    }

    fn about(&self) -> &'static str {
        "robustify's losses and heads, with low-rank updates of the attention of the part that it freezes"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["teacher"]
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        let settings: Settings = match config.settings(self.name()) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = Vec::new();
        within(&mut faults, "method.lora.rank", settings.rank, 1..=MOST_RANK, "an update of full rank is fine-tuning");
        check(&mut faults, settings.alpha.is_finite() && settings.alpha > 0.0, || {
            format!("method.lora.alpha {} is not positive", settings.alpha)
        });
        if crate::is_wanted(config, self.name()) {
            faults.extend(network_fault(config));
        }
        faults
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        // The frozen part is trained through, and the original says what it thinks of the clean half.
        let rows = lab.tuned_rows();
        let each = STEP * (1.0 + 2.0 * lab.tail()) + (1.0 + lab.teacher_share()) / 2.0;
        let (model, rank) = (&lab.opened().model, lab.settings::<Settings>(self.name())?.rank);
        let cut = lab.config.split.backbone_end(model)?;
        let tuned = lab.tuned(3).map(|heads| heads + update_parameters(model, cut, rank));
        Ok(Work { forwards: each * rows, pictures: rows, answer: 1.0 + 3.0 * lab.tail(), tuned, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let (original, split, tuning) = (lab.original()?, lab.config.split, &lab.config.tuning);
        let (source, device) = (PairSource::fresh(lab, true)?, &lab.machine.device);
        let heads = ThreeHeads::new(&original.model, split)?;
        let config = LoraConfig { rank: settings.rank, alpha: settings.alpha };
        let cut = split.backbone_end(&original.model)?;
        let start = LoraHeads::new(&original.model, cut, heads, config, tuning.seed, device)?;
        let spec = lab.view_spec()?;
        let objective = Objective(lab.fresh_pairs(&spec, true, tuning)?);
        let tuned = lab.tune(self.name(), &digest::of(&(&source.hash, &settings))?, &objective, start)?;
        let merged = weights::state(&tuned.model.merged(&original.model));
        let model = weights::with_state(original.model.clone(), merged).map_err(|faults| anyhow!(faults.join("; ")))?;
        let mut fitted = lab.fitted(self.name(), original, model, tuned.hash, source.cost + tuned.cost)?;
        fitted.model.made = Made::ThreeHeads(tuned.model.heads().clone(), lab.config.monte_carlo());
        Ok(vec![fitted])
    }
}

/// What keeps the large model from being updated.
fn network_fault(config: &Config) -> Option<String> {
    let (network, split) = (&config.original.network, &config.split);
    let frozen = network.blocks().saturating_sub(split.shared_blocks + split.head_blocks);
    match network {
        ModelConfig::ResNet(_) | ModelConfig::ClipResNet(_) => Some(
            "methods: lora updates attention, and original.network is a residual network, whose frozen part has none; take a ViT or a \
             Swin Transformer, or leave lora out"
                .into(),
        ),
        _ if frozen == 0 => Some(
            "methods: lora updates the frozen part, and split.shared_blocks and split.head_blocks leave none; make them smaller".into(),
        ),
        _ => None,
    }
}
