//! The settings of the recipe with which pre-trained encoders are fine-tuned as a whole; see `robustify_distill::recipe`.

use anyhow::Result;
use robustify_augment::{CutMix, MixUp};
use robustify_distill::LayerDecay;
use robustify_distill::feature::{FeatureSchedule, drop_path_rates};
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::recipe::{FineTuned, FineTuning, Mixing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::check;
use crate::finetune::{Settings, on_images};
use crate::lab::{Pretrained, Stage};
use crate::{Fitted, Lab};

/// `[method.finetune.recipe]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RecipeSettings")]
pub(crate) struct Recipe {
    /// Whether the classifier begins anew, of a Vision Transformer behind the mean of its patches and a fresh norm, and position biases that
    /// blocks share are copied into every block.
    fresh_head: bool,
    /// Factor on the learning rate from each layer to the one before it, in `(0, 1]`.
    layer_decay: f64,
    /// The rate at which residual branches of the last block are left out, in `[0, 1)`; it falls to 0 at the first block.
    drop_path: f64,
    /// Parameter of MixUp's weights; 0 without it.
    mixup: f64,
    /// Parameter of CutMix's areas; 0 without it.
    cutmix: f64,
    /// Part of the target spread evenly over all classes, in `[0, 1)`.
    label_smoothing: f64,
    /// Part of a running mean of the weights that a step leaves as it was, in `[0, 1)`; the mean is what is kept. 0 without one.
    average: f64,
    /// Where the warm-up of the learning rate starts; it is the same for all layers.
    warmup_rate: f64,
    /// Where its cosine ends; it is the same for all layers.
    least_rate: f64,
    /// Whether the learning rate and these two are those of 512 images a batch, and grow with `batch_size`, as in the authors'
    /// configurations.
    rates_of_512: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            fresh_head: true,
            layer_decay: 0.65,
            drop_path: 0.1,
            mixup: 0.8,
            cutmix: 1.0,
            label_smoothing: 0.1,
            average: 0.0,
            warmup_rate: 2.5e-7,
            least_rate: 2.5e-7,
            rates_of_512: false,
        }
    }
}

impl Recipe {
    /// Faults, each with the key it is under.
    pub fn faults(&self, at: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let shares =
            [("drop_path", self.drop_path), ("label_smoothing", self.label_smoothing), ("average", self.average)];
        for (name, value) in shares {
            check(&mut faults, (0.0..1.0).contains(&value), || format!("{at}.{name} {value} is not in [0, 1)"));
        }
        check(&mut faults, self.layer_decay > 0.0 && self.layer_decay <= 1.0, || {
            format!("{at}.layer_decay {} is not in (0, 1]", self.layer_decay)
        });
        let sizes = [
            ("mixup", self.mixup),
            ("cutmix", self.cutmix),
            ("warmup_rate", self.warmup_rate),
            ("least_rate", self.least_rate),
        ];
        for (name, value) in sizes {
            check(&mut faults, value.is_finite() && value >= 0.0, || format!("{at}.{name} {value} is negative"));
        }
        faults
    }

    /// One fine-tuning of `start` as the row `name`, in a stage that knows all settings.
    pub fn tuned(
        &self,
        lab: &Lab<'_>,
        (name, stage): (&str, &Stage),
        start: &Pretrained,
        settings: &Settings,
        (optimizer, seed): (&AdamWConfig, u64),
    ) -> Result<Fitted> {
        let (device, classes) = (&lab.machine.device, lab.classes().len());
        let start = match self.fresh_head {
            false => start.clone(),
            true => {
                let model = start.model.clone().fine_tuning_form(start.model.image_size(), classes, seed, device)?;
                Pretrained { network: model.config(), model, towers: None, label_set: None, ..start.clone() }
            }
        };
        let mut images = on_images(lab, settings, seed)?;
        images.label_smoothing = self.label_smoothing;
        let objective = FineTuning {
            images,
            classes,
            layers: (self.layer_decay < 1.0).then(|| LayerDecay::new(self.layer_decay, &start.network)),
            drop_path: drop_path_rates(&start.model, self.drop_path),
            mixing: Mixing {
                mixup: (self.mixup > 0.0).then_some(MixUp { alpha: self.mixup }),
                cutmix: (self.cutmix > 0.0).then_some(CutMix { alpha: self.cutmix }),
            },
            schedule: FeatureSchedule {
                warmup_rate: self.warmup_rate,
                least_rate: self.least_rate,
                factor: if self.rates_of_512 { settings.batch_size as f64 / 512.0 } else { 1.0 },
            },
            average: self.average,
        };
        let fresh = FineTuned::new(start.model.clone(), self.average > 0.0);
        let (tuned, hash) = stage.trained(lab, &objective, fresh, settings.epochs, optimizer)?;
        let mut fitted = lab.fitted(name, &start, tuned.kept(), hash, start.cost + stage.cost())?;
        // Nothing of it is as it was, so it shares no trunk.
        fitted.model.cut = None;
        Ok(fitted)
    }
}
