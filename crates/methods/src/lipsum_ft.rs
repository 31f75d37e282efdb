//! Lipsum-FT: full fine-tuning of the image tower by cross-entropy, while it says of random texts what it said before.
//!
//! Source: Nam et al. 2024, arXiv:2404.00860; cs-giung/lipsum-ft `scripts/Lipsum-FT.py` at 4a5cdbd. The classifier begins as the texts of the
//! classes and is trained as well, as there; the scale stays.

use anyhow::{Context as _, Result};
use robustify_data::Preprocess;
use robustify_distill::lipsum::{LipsumTraining, TunedTower};
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{ImageTraining, TuningConfig};
use robustify_zoo::weights;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::lab::captions::TowerTuning;
use crate::lab::{STEP, Towers, policy_identity};
use crate::{Config, Fitted, Lab, Method, Work};

/// Fine-tuning with random text guidance.
pub(crate) struct LipsumFt;

/// `[method.lipsum_ft]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "LipsumSettings")]
struct Settings {
    /// Passes over the images.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    epochs: usize,
    /// Rows of a batch, clean and augmented together.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    batch_size: usize,
    /// Whether half of the rows are augmented, as those of other methods.
    augmented: bool,
    /// Random texts of a step.
    texts: usize,
    /// Random tokens of a text.
    tokens: usize,
    /// Weight of what is said of them.
    weight: f64,
    /// Whether the texts of the classes are trained, like a classifier that begins as them.
    tune_classes: bool,
    /// The optimizer's settings; without them those of `tuning.optimizer`, at a quarter of its learning rate.
    optimizer: Option<AdamWConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 256,
            augmented: true,
            texts: 80,
            tokens: 8,
            weight: 1.0,
            tune_classes: true,
            optimizer: None,
        }
    }
}

impl Settings {
    fn tuning(&self, config: &Config) -> TowerTuning {
        let Self { epochs, batch_size, augmented, .. } = *self;
        let optimizer = config.gentle(self.optimizer.as_ref());
        TowerTuning { epochs, batch_size, group_rows: batch_size, augmented, optimizer }
    }
}

impl Method for LipsumFt {
    fn name(&self) -> &'static str {
        "lipsum_ft"
    }

    fn title(&self) -> &'static str {
        "Lipsum-FT"
    }

    fn about(&self) -> &'static str {
        "every weight of the image tower trained, held to what it said of random texts"
    }

    fn needs_texts(&self) -> bool {
        true
    }

    fn faults(&self, config: &Config) -> Vec<String> {
        let settings: Settings = match config.settings(self.name()) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = settings.tuning(config).faults("method.lipsum_ft");
        check(&mut faults, settings.texts > 0 && settings.tokens > 0, || {
            "method.lipsum_ft.texts and .tokens are at least 1".into()
        });
        check(&mut faults, settings.weight.is_finite() && settings.weight >= 0.0, || {
            format!("method.lipsum_ft.weight {} is negative", settings.weight)
        });
        faults
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let settings: Settings = lab.settings(self.name())?;
        let rows = (settings.epochs * lab.images().len()) as f64 * if settings.augmented { 2.0 } else { 1.0 };
        let texts = if settings.tune_classes { lab.classes().len() } else { 0 };
        let of =
            |towers: &Towers| weights::parameters(&towers.clip.visual) + texts * towers.config.image.feature_width();
        let tuned = lab.towers().ok().map(of);
        Ok(Work { forwards: (STEP + 1.0) * rows, pictures: rows, answer: 1.0, tuned, ..Work::default() })
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let settings: Settings = lab.settings(self.name())?;
        let (towers, original, tuning) = (lab.towers()?, lab.original()?, settings.tuning(&lab.config));
        let (config, machine, device) = (&lab.config, lab.machine, &lab.machine.device);
        let policy = tuning.augmented.then(|| policy_identity(&config.views.policy, device)).transpose()?;
        let data = (&config.views.clean_view, policy, lab.images().fingerprint());
        let seed = config.tuning.seed;
        let inputs = (&original.hash, data, &settings, &tuning.optimizer, seed, machine.shard_rows);
        let stage = lab.stage(self.name(), &inputs)?;
        let preprocess: Preprocess = config.original.preprocess.parse()?;
        let images = ImageTraining {
            images: lab.images().clone(),
            own: preprocess.normalisation_only(),
            preprocess: preprocess.geometry(),
            clean_view: config.views.clean_view.parse()?,
            policy: tuning.augmented.then(|| lab.policy(&config.views.policy)).transpose()?,
            jsd_weight: None,
            batch_size: tuning.batch_size,
            shard_rows: machine.shard_rows,
            norm_rows: None,
            freeze_norm: true,
            body_rate_scale: 1.0,
            label_smoothing: 0.0,
            seed,
            loader_threads: machine.workers.threads(),
            device: device.clone(),
        };
        let objective = LipsumTraining {
            images,
            zero_shot: &towers.clip,
            vocabulary: towers.config.text.vocabulary,
            texts: settings.texts,
            tokens: settings.tokens.min(towers.config.text.context_length.saturating_sub(2)),
            weight: settings.weight,
        };
        let texts = original.model.readout().context("the large model has no texts")?.texts();
        let start = TunedTower::new(towers.clip.visual.clone(), &texts, settings.tune_classes, device);
        let (tuned, hash) = stage.trained(lab, &objective, start, tuning.epochs, &tuning.optimizer)?;
        let model = tuned.tower.clone().with_texts(Some(&tuned.classes(texts.logit_scale)), device)?;
        let mut fitted = lab.fitted(self.name(), original, model, hash, original.cost + stage.cost())?;
        // Nothing of it is as it was, so it shares no trunk.
        fitted.model.cut = None;
        Ok(vec![fitted])
    }
}
