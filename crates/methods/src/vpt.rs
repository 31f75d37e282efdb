//! VPT, visual prompt tuning: learned tokens beside the patches of a frozen Vision Transformer, and its classifier.
//!
//! Variants are `deep` (every block has prompts of its own) and `shallow` (the first alone). The classifier begins as the original's.
//! Source: Jia et al. 2022, arXiv:2203.12119, and KMnP/vpt.

use anyhow::Result;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{PromptTuning, TuningConfig};
use robustify_zoo::ModelConfig;
use robustify_zoo::vit::{PromptConfig, VitConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::{EPOCHS, ROWS, check, within};
use crate::finetune;
use crate::lab::Pretrained;
use crate::{Config, Fitted, Lab, Method, Work};

/// Prompts and classifier tuned.
pub(crate) struct Vpt;

/// `[method.vpt]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "VptSettings")]
struct Settings {
    /// Which variants to train, each a row of its own.
    variants: Vec<Variant>,
    /// Prompts before a block.
    #[schemars(range(min = 1))]
    tokens: usize,
    /// Width of the prompts before a linear map to the network's width; 0: they have that width themselves.
    projection: usize,
    /// Rate of dropout of the prompts, in `[0, 1)`.
    dropout: f64,
    /// Passes over the images.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    epochs: usize,
    /// Rows of a batch, clean and augmented together.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    batch_size: usize,
    /// The optimizer's settings; without them those of `tuning.optimizer`.
    optimizer: Option<AdamWConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        let variants = vec![Variant::Deep];
        Self { variants, tokens: 50, projection: 0, dropout: 0.0, epochs: 5, batch_size: 256, optimizer: None }
    }
}

/// Where the prompts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Variant {
    /// Before every block.
    Deep,
    /// Before the first block.
    Shallow,
}

impl Variant {
    /// The name of its row.
    fn row(self) -> &'static str {
        match self {
            Self::Deep => "vpt",
            Self::Shallow => "vpt-shallow",
        }
    }
}

impl Settings {
    fn prompts(&self, variant: Variant) -> PromptConfig {
        PromptConfig { tokens: self.tokens, deep: variant == Variant::Deep, projection: self.projection }
    }

    /// What a variant makes of a Vision Transformer.
    fn prompted(&self, network: &VitConfig, variant: Variant) -> ModelConfig {
        ModelConfig::Vit(VitConfig { prompts: Some(self.prompts(variant)), ..network.clone() })
    }

    fn faults(&self, network: &ModelConfig) -> Vec<String> {
        let mut faults = Vec::new();
        let at = |key: &str| format!("method.vpt.{key}");
        check(&mut faults, !self.variants.is_empty(), || format!("{} is empty", at("variants")));
        check(&mut faults, (0.0..1.0).contains(&self.dropout), || {
            format!("{} {} is not in [0, 1)", at("dropout"), self.dropout)
        });
        within(&mut faults, &at("epochs"), self.epochs, 1..=TuningConfig::MOST_EPOCHS, EPOCHS);
        within(&mut faults, &at("batch_size"), self.batch_size, 2..=TuningConfig::MOST_ROWS, ROWS);
        let optimizer = self.optimizer.iter().flat_map(AdamWConfig::faults);
        faults.extend(optimizer.map(|fault| format!("{}.{fault}", at("optimizer"))));
        match network {
            ModelConfig::Vit(vit) => {
                let all = self.variants.iter().flat_map(|&variant| self.prompted(vit, variant).faults());
                faults.extend(all.map(|fault| format!("method.vpt: {fault}")));
            }
            other => faults.push(format!(
                "methods: vpt needs a Vision Transformer, whose tokens its prompts stand among; original.network is {}: leave \
                 vpt out, or take another network",
                architecture(other)
            )),
        }
        faults
    }
}

fn architecture(network: &ModelConfig) -> &'static str {
    match network {
        ModelConfig::Vit(_) => "a Vision Transformer",
        ModelConfig::ResNet(_) => "a ResNet",
        ModelConfig::Swin(_) => "a Swin Transformer",
        ModelConfig::ClipResNet(_) => "CLIP's ResNet",
    }
}

impl Method for Vpt {
    fn name(&self) -> &'static str {
        "vpt"
    }

    fn title(&self) -> &'static str {
        "VPT"
    }

    fn about(&self) -> &'static str {
        "visual prompt tuning: learned tokens and the classifier, in a frozen Vision Transformer"
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        match config.settings::<Settings>(self.name()) {
            Err(error) => vec![format!("{error:#}")],
            Ok(settings) => settings.faults(&config.original.network),
        }
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings(self.name())?;
        let ModelConfig::Vit(vit) = &lab.config.original.network else { return Ok(Work::default()) };
        let own = vit.macs().max(1) as f64;
        let share = |&variant: &Variant| settings.prompted(vit, variant).macs() as f64 / own;
        let answer: f64 = settings.variants.iter().map(share).sum();
        let rows = 2.0 * (settings.epochs * lab.images().len()) as f64;
        let pictures = rows * settings.variants.len() as f64;
        let tuned = settings.variants.first().map(|&variant| {
            let prompted = VitConfig { prompts: Some(settings.prompts(variant)), ..vit.clone() };
            prompted.prompt_parameters() + (vit.feature_width() + 1) * lab.classes().len()
        });
        Ok(Work { forwards: STEP * rows * answer, pictures, answer, tuned, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        settings.variants.iter().map(|&variant| one(lab, &settings, variant)).collect()
    }
}

/// Forwards that a step is worth, for each row: one forward, and one backwards to the inputs of the layers, without their weights.
const STEP: f64 = 2.0;

fn one(lab: &Lab<'_>, settings: &Settings, variant: Variant) -> Result<Fitted> {
    let (config, original) = (&lab.config, lab.original()?);
    let seed = config.tuning.seed;
    let settings = Settings { variants: vec![variant], ..settings.clone() };
    let optimizer = settings.optimizer.clone().unwrap_or_else(|| config.tuning.optimizer.clone());
    let inputs = (&original.hash, finetune::data(lab)?, &settings, &optimizer, seed, lab.machine.shard_rows);
    let stage = lab.stage(variant.row(), &inputs)?;
    let start = original.model.clone().with_prompts(settings.prompts(variant), seed, &lab.machine.device)?;
    let views = finetune::Settings { batch_size: settings.batch_size, ..finetune::Settings::default() };
    let objective = PromptTuning { images: finetune::on_images(lab, &views, seed)?, dropout: settings.dropout };
    let (model, hash) = stage.trained(lab, &objective, PromptTuning::frozen(start), settings.epochs, &optimizer)?;
    let network = match &original.network {
        ModelConfig::Vit(vit) => settings.prompted(vit, variant),
        other => other.clone(),
    };
    let prompted = Pretrained { network, ..original.clone() };
    let mut fitted = lab.fitted(variant.row(), &prompted, model, hash, original.cost + stage.cost())?;
    // The prompts are among the tokens from the first block on, so it shares no trunk.
    fitted.model.cut = None;
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_vision_transformer_has_places_for_prompts() {
        let network = |text: &str| serde_json::from_str::<ModelConfig>(text).unwrap();
        let vit = network(
            r#"{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 4, "depth": 1, "heads": 1, "classes": 2}"#,
        );
        let resnet = network(
            r#"{"architecture": "resnet", "image_size": 8, "stem_kernel": 3, "stem_stride": 1, "width": 4, "layers": [1],
                "block": "basic", "classes": 2}"#,
        );
        assert_eq!(Settings::default().faults(&vit), Vec::<String>::new());
        let faults = Settings::default().faults(&resnet);
        assert!(matches!(&faults[..], [fault] if fault.contains("a ResNet")), "{faults:?}");
        let none = Settings { tokens: 0, dropout: 1.0, variants: vec![Variant::Shallow], ..Settings::default() };
        assert_eq!(none.faults(&vit).len(), 2, "{:?}", none.faults(&vit));
    }
}
