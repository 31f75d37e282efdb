//! Visual prompt tuning: prompts and classifier are trained on images, and the network around them is as it was.
//!
//! Source: Jia et al. 2022, arXiv:2203.12119; as in KMnP/vpt the network is in evaluation while it is trained, and dropout, if there is
//! any, is that of the prompts alone.

use burn::tensor::{Device, Tensor};
use robustify_rng::Key;
use robustify_select::KeyedMasks;
use robustify_zoo::{Masks, Model, Pass, weights};

use crate::DistillError;
use crate::optimizer::Group;
use crate::supervised::{ImageShard, ImageTraining};
use crate::trainer::{Batches, Objective, Outcome};

/// Training of prompts, their projection and the classifier.
pub struct PromptTuning {
    /// The images, their views and the loss.
    pub images: ImageTraining,
    /// Rate of dropout of the prompts, in `[0, 1)`; a mask for each row and block.
    pub dropout: f64,
}

impl PromptTuning {
    /// The model to train: no gradient is computed for other weights than those of prompts, their projection and the classifier.
    #[must_use]
    pub fn frozen(model: Model) -> Model {
        const TUNED: [&str; 5] = ["prompt_embeddings", "deep_prompt_embeddings", "prompt_proj", "head", "head_dist"];
        weights::tuned_only(model, |name| TUNED.contains(&name.split('.').next().unwrap_or(name)))
    }
}

/// Masks of the prompts alone.
struct PromptMasks(KeyedMasks);

impl Masks for PromptMasks {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        site.trim_start_matches('/').starts_with("prompts.").then(|| self.0.mask(site, elements, device)).flatten()
    }
}

impl Objective for PromptTuning {
    type Model = Model;
    type Shard = ImageShard;

    fn steps(&self) -> usize {
        self.images.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, ImageShard>, DistillError> {
        self.images.epoch(epoch, first)
    }

    fn loss(&self, model: &Model, shard: ImageShard) -> Result<Outcome, DistillError> {
        let keys = shard.keys().iter().map(|key: &Key| key.with_str("prompt dropout")).collect();
        let masks = PromptMasks(KeyedMasks::new(keys, self.dropout));
        self.images.loss_in(model, shard, &Pass::eval().with_masks(&masks))
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        self.images.group(name, rank)
    }
}
