//! Full fine-tuning: every weight of the large model is trained on images, with the same augmentations as the other methods.
//!
//! Variants are `augmented` (half of each batch augmented, cross-entropy), `plain` (clean images alone) and `jsd` (AugMix's
//! consistency loss on triples). Source of the last: Hendrycks et al. 2020, arXiv:1912.02781.

use anyhow::Result;
use robustify_data::Preprocess;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{ImageTraining, TuningConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::config::{EPOCHS, ROWS, check, within};
use crate::lab::{Pretrained, STEP, policy_identity};
use crate::recipe::Recipe;
use crate::{Config, Fitted, Lab, Method, Work};

/// Every weight tuned.
pub(crate) struct Finetune;

/// `[method.finetune]` and `[method.lp_ft]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "FinetuneSettings")]
pub(crate) struct Settings {
    /// Which variants to train, each a row of its own.
    pub variants: Vec<Variant>,
    /// Passes over the images.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    pub epochs: usize,
    /// Rows of a batch, clean and augmented together.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    pub batch_size: usize,
    /// Rows that BatchNorm normalises together.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    pub norm_rows: usize,
    /// Whether BatchNorm keeps the running statistics of the pre-trained model.
    pub freeze_norm: bool,
    /// Weight of the Jensen-Shannon divergence in the variant `jsd`.
    pub jsd_weight: f64,
    /// The optimizer's settings; without them those of `tuning.optimizer`, at a quarter of its learning rate.
    pub optimizer: Option<AdamWConfig>,
    /// The recipe of large encoders: layer-wise learning rates, mixed images, soft labels, drop path and a mean of weights. It replaces the
    /// cross-entropy of the variants `augmented` and `plain`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            variants: vec![Variant::Augmented],
            epochs: 5,
            batch_size: 256,
            norm_rows: 32,
            freeze_norm: false,
            jsd_weight: 12.0,
            optimizer: None,
            recipe: None,
        }
    }
}

/// What a batch is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Variant {
    /// A clean and an augmented view of every image.
    Augmented,
    /// A clean view of every image.
    Plain,
    /// A clean and two augmented views of every image, tied by a consistency loss.
    Jsd,
}

impl Variant {
    /// The name of a method's row.
    fn of(self, method: &str) -> String {
        match self {
            Self::Augmented => method.to_owned(),
            Self::Plain => format!("{method}-plain"),
            Self::Jsd => format!("{method}-jsd"),
        }
    }
}

impl Settings {
    /// Faults, each with the key it is under.
    pub fn faults(config: &Config, method: &str) -> Vec<String> {
        let settings: Self = match config.settings(method) {
            Ok(settings) => settings,
            Err(error) => return vec![format!("{error:#}")],
        };
        let mut faults = Vec::new();
        let at = |key: &str| format!("method.{method}.{key}");
        check(&mut faults, !settings.variants.is_empty(), || format!("{} is empty", at("variants")));
        within(&mut faults, &at("epochs"), settings.epochs, 1..=TuningConfig::MOST_EPOCHS, EPOCHS);
        within(&mut faults, &at("batch_size"), settings.batch_size, 2..=TuningConfig::MOST_ROWS, ROWS);
        within(&mut faults, &at("norm_rows"), settings.norm_rows, 2..=TuningConfig::MOST_ROWS, ROWS);
        check(&mut faults, settings.jsd_weight.is_finite() && settings.jsd_weight >= 0.0, || {
            format!("{} {} is negative", at("jsd_weight"), settings.jsd_weight)
        });
        if let Some(recipe) = &settings.recipe {
            faults.extend(recipe.faults(&at("recipe")));
            check(&mut faults, !settings.variants.contains(&Variant::Jsd), || {
                format!(
                    "{} has its own loss: it goes with the variants augmented and plain, not with jsd",
                    at("recipe")
                )
            });
        }
        let optimizer = settings.optimizer.iter().flat_map(AdamWConfig::faults);
        faults.extend(optimizer.map(|fault| format!("{}.{fault}", at("optimizer"))));
        faults
    }

    /// The same for one variant alone.
    pub fn of(&self, variant: Variant) -> Self {
        Self { variants: vec![variant], ..self.clone() }
    }

    /// The same for the first variant alone.
    pub fn first(&self) -> Self {
        self.of(self.variants.first().copied().unwrap_or(Variant::Augmented))
    }

    /// About how much training all variants takes.
    pub fn work(&self, lab: &Lab<'_>) -> Work {
        let views = |variant: &Variant| match variant {
            Variant::Plain => 1.0,
            Variant::Augmented => 2.0,
            Variant::Jsd => 3.0,
        };
        let views: f64 = self.variants.iter().map(views).sum();
        let rows = views * (self.epochs * lab.images().len()) as f64;
        let tuned = Some(robustify_zoo::weights::parameters(&lab.opened().model));
        Work { forwards: STEP * rows, pictures: rows, answer: self.variants.len() as f64, tuned, ..Work::default() }
    }

    /// The optimizer's settings.
    pub fn optimizer(&self, config: &Config) -> AdamWConfig {
        let tuning = &config.tuning.optimizer;
        let usual = || AdamWConfig { learning_rate: tuning.learning_rate / 4.0, ..tuning.clone() };
        self.optimizer.clone().unwrap_or_else(usual)
    }
}

impl Method for Finetune {
    fn name(&self) -> &'static str {
        "finetune"
    }

    fn title(&self) -> &'static str {
        "full fine-tuning"
    }

    fn about(&self) -> &'static str {
        "every weight trained, on clean and augmented images"
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
        finetuned(lab, self.name(), lab.original()?)
    }
}

/// All variants of fine-tuning `start`, under a method's name and settings.
pub(crate) fn finetuned(lab: &Lab<'_>, method: &str, start: &Pretrained) -> Result<Vec<Fitted>> {
    let settings: Settings = lab.settings(method)?;
    let (optimizer, seed) = (settings.optimizer(&lab.config), lab.config.tuning.seed);
    let one = |&variant: &Variant| tuned(lab, &variant.of(method), start, &settings.of(variant), &optimizer, seed);
    settings.variants.iter().map(one).collect()
}

/// One fine-tuning of `start` as the row `name`: the first variant of `settings`.
pub(crate) fn tuned(
    lab: &Lab<'_>,
    name: &str,
    start: &Pretrained,
    settings: &Settings,
    optimizer: &AdamWConfig,
    seed: u64,
) -> Result<Fitted> {
    let stage = lab.stage(name, &(&start.hash, data(lab)?, settings, optimizer, seed, lab.machine.shard_rows))?;
    if let Some(recipe) = &settings.recipe {
        return recipe.tuned(lab, (name, &stage), start, settings, (optimizer, seed));
    }
    let objective = on_images(lab, settings, seed)?;
    let (model, hash) = stage.trained(lab, &objective, start.model.clone(), settings.epochs, optimizer)?;
    let mut fitted = lab.fitted(name, start, model, hash, start.cost + stage.cost())?;
    // Nothing of it is as it was, so it shares no trunk.
    fitted.model.cut = None;
    Ok(fitted)
}

/// Everything that determines the views, for the inputs of a stage.
pub(crate) fn data(lab: &Lab<'_>) -> Result<impl Serialize> {
    let (config, images) = (&lab.config, lab.images());
    let policy = policy_identity(&config.views.policy, &lab.machine.device)?;
    Ok((config.views.clean_view.clone(), policy, images.fingerprint()))
}

/// Training on views of images, with the first variant of `settings`.
pub(crate) fn on_images(lab: &Lab<'_>, settings: &Settings, seed: u64) -> Result<ImageTraining> {
    let (config, machine) = (&lab.config, lab.machine);
    let variant = settings.first().variants[0];
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    Ok(ImageTraining {
        images: lab.images().clone(),
        own: preprocess.normalisation_only(),
        preprocess: preprocess.geometry(),
        clean_view: config.views.clean_view.parse()?,
        policy: (variant != Variant::Plain).then(|| lab.policy(&config.views.policy)).transpose()?,
        jsd_weight: (variant == Variant::Jsd).then_some(settings.jsd_weight),
        batch_size: settings.batch_size,
        shard_rows: machine.shard_rows,
        norm_rows: lab.norm_rows(settings.norm_rows, settings.freeze_norm),
        freeze_norm: settings.freeze_norm,
        body_rate_scale: 1.0,
        label_smoothing: 0.0,
        seed,
        loader_threads: machine.workers.threads(),
        device: machine.device.clone(),
    })
}
