//! FLYP, "finetune like you pretrain": both towers of a CLIP, by contrast of the tuning images and their captions.
//!
//! Source: Goyal et al. 2023, arXiv:2212.00638; locuslab/FLYP `src/models/flyp_loss.py` at 215d5bb. There a batch of 512 is one group of
//! pairs that are compared, trained for 10 epochs at 1e-5 with a decay of 0.1.

use anyhow::Result;
use robustify_distill::contrastive::Duplicates;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{CaptionTraining, TuningConfig};
use robustify_zoo::weights;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::lab::STEP;
use crate::lab::captions::{TowerTuning, TuningCaptions};
use crate::{Config, Fitted, Lab, Method, Work};

/// Contrastive fine-tuning.
pub(crate) struct Flyp;

/// `[method.flyp]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "FlypSettings")]
struct Settings {
    /// Passes over the images.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    epochs: usize,
    /// Rows of a batch.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    batch_size: usize,
    /// Rows of a batch that are compared with each other.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    group_rows: usize,
    /// What pairs of the same class are to each other.
    duplicates: Duplicates,
    /// Whether half of the views are augmented, as those of other methods.
    augmented: bool,
    /// The optimizer's settings; without them those of `tuning.optimizer`, at a quarter of its learning rate.
    optimizer: Option<AdamWConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        let duplicates = Duplicates::Negatives;
        Self { epochs: 5, batch_size: 256, group_rows: 128, duplicates, augmented: true, optimizer: None }
    }
}

impl Settings {
    fn tuning(&self, config: &Config) -> TowerTuning {
        let Self { epochs, batch_size, group_rows, augmented, .. } = *self;
        TowerTuning { epochs, batch_size, group_rows, augmented, optimizer: config.gentle(self.optimizer.as_ref()) }
    }
}

impl Method for Flyp {
    fn name(&self) -> &'static str {
        "flyp"
    }

    fn title(&self) -> &'static str {
        "FLYP"
    }

    fn about(&self) -> &'static str {
        "both towers of a CLIP trained as in its pre-training, on captions that name the class"
    }

    fn needs_texts(&self) -> bool {
        true
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        match config.settings::<Settings>(self.name()) {
            Ok(settings) => settings.tuning(config).faults("method.flyp"),
            Err(error) => vec![format!("{error:#}")],
        }
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings(self.name())?;
        let rows = (settings.epochs * lab.images().len()) as f64;
        // A text is about as much work as an image.
        let tuned = lab.towers().ok().map(|towers| weights::parameters(&towers.clip));
        Ok(Work { forwards: 2.0 * STEP * rows, pictures: rows, answer: 1.0, tuned, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let (towers, original, tuning) = (lab.towers()?, lab.original()?, settings.tuning(&lab.config));
        let captions = TuningCaptions::new(lab, tuning.augmented)?;
        let stage = TuningCaptions::stage(lab, self.name(), &settings, &tuning)?;
        let items = |epoch| captions.job(epoch);
        let batches = captions.batches(lab, &tuning, &items);
        // The scale is trained, decayed and not clamped, as there.
        let objective = CaptionTraining {
            batches,
            duplicates: settings.duplicates,
            most_scale: None,
            freeze_norm: true,
            decay_scale: true,
        };
        let (clip, hash) = stage.trained(lab, &objective, towers.clip.clone(), tuning.epochs, &tuning.optimizer)?;
        Ok(vec![lab.fitted_towers(self.name(), clip, hash, original.cost + stage.cost())?])
    }
}
