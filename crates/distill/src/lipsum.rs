//! Lipsum-FT: fine-tuning by cross-entropy, while the tuned image tower says of random texts what it said before.
//!
//! Source: Nam et al. 2024, arXiv:2404.00860; cs-giung/lipsum-ft, `scripts/Lipsum-FT.py` at 4a5cdbd.

use std::time::Duration;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use robustify_data::batch;
use robustify_rng::Key;
use robustify_zoo::clip::{Clip, TextMatrix, normalised, zero_shot_logits};
use robustify_zoo::{BatchStatistics, Model, Pass};

use crate::losses::{cross_entropy, right};
use crate::optimizer::Group;
use crate::supervised::ImageShard;
use crate::trainer::{BatchSource, Batches, Objective, Outcome};
use crate::{DistillError, ImageTraining};

/// An image tower, and the rows that its features are compared with: texts at first, then tuned like a classifier.
#[derive(Module, Debug)]
pub struct TunedTower {
    /// The image tower.
    pub tower: Model,
    /// `[classes, embed_dim]`.
    classes: Param<Tensor<2>>,
}

impl TunedTower {
    /// A tower and its classes' texts, which stay as they are unless `tuned`.
    pub fn new(tower: Model, texts: &TextMatrix, tuned: bool, device: &burn::tensor::Device) -> Self {
        let rows = TensorData::new(texts.rows.values.clone(), texts.rows.shape.clone());
        Self { tower, classes: Param::from_data(rows, device).set_require_grad(tuned) }
    }

    /// The rows as they are now.
    pub fn classes(&self, logit_scale: f32) -> TextMatrix {
        TextMatrix::of_rows(self.classes.val(), logit_scale)
    }
}

/// Cross-entropy with random text guidance.
pub struct LipsumTraining<'a> {
    /// Images; its loss is not used.
    pub images: ImageTraining,
    /// Both towers as they were.
    pub zero_shot: &'a Clip,
    /// Number of ids of the text tower, whose last two are the markers.
    pub vocabulary: usize,
    /// Random texts of a step (80).
    pub texts: usize,
    /// Random tokens of a text (8).
    pub tokens: usize,
    /// Weight of the guidance (1).
    pub weight: f64,
}

/// A shard, and the random texts of its step.
pub struct LipsumShard {
    images: ImageShard,
    texts: Vec<Vec<u32>>,
}

struct Source<'a> {
    training: &'a LipsumTraining<'a>,
    images: Batches<'a, ImageShard>,
    epoch: usize,
    step: usize,
}

impl BatchSource<LipsumShard> for Source<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<LipsumShard>>, DistillError> {
        let Some(shards) = self.images.next_batch()? else { return Ok(None) };
        let texts = self.training.random_texts(self.epoch, self.step);
        self.step += 1;
        Ok(Some(shards.into_iter().map(|images| LipsumShard { images, texts: texts.clone() }).collect()))
    }

    fn waited(&self) -> Duration {
        self.images.waited()
    }
}

impl LipsumTraining<'_> {
    /// The random texts of a step: ids between the markers, each as likely.
    fn random_texts(&self, epoch: usize, step: usize) -> Vec<Vec<u32>> {
        let stream = &mut Key::new(self.images.seed, "lipsum").with(epoch as u64).with(step as u64).stream();
        let start = self.vocabulary as u32 - 2;
        let text = |_| [vec![start], (0..self.tokens).map(|_| stream.below(start)).collect(), vec![start + 1]].concat();
        (0..self.texts).map(text).collect()
    }
}

/// Half the mean squared difference of what two towers say of some texts: a mean over the texts, a sum over the images.
///
/// # Shapes
/// - tuned, before: logits `[images, texts]`; no gradient flows to `before`
/// - output: `[1]`
pub fn guidance(tuned: Tensor<2>, before: Tensor<2>) -> Tensor<1> {
    let texts = tuned.dims()[1] as f64;
    let difference = tuned - before.detach();
    (difference.clone() * difference).sum() / (2.0 * texts)
}

impl Objective for LipsumTraining<'_> {
    type Model = TunedTower;
    type Shard = LipsumShard;

    fn steps(&self) -> usize {
        self.images.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, LipsumShard>, DistillError> {
        let images = self.images.epoch(epoch, first)?;
        Ok(Box::new(Source { training: self, images, epoch, step: first }))
    }

    fn loss(&self, model: &TunedTower, shard: LipsumShard) -> Result<Outcome, DistillError> {
        let (side, device) = (model.tower.image_size(), &self.images.device);
        let images = batch::images(shard.images.pixels(), [3, side, side], device)?;
        let labels = batch::labels(shard.images.labels(), device);
        let scale = self.zero_shot.logit_scale.val();
        let texts = normalised(self.zero_shot.encode_text(&shard.texts)?);
        let said =
            zero_shot_logits(self.zero_shot.encode_image(images.clone(), &Pass::eval()), texts.clone(), scale.clone());
        let features = model.tower.forward(images.autodiff(), &Pass::eval());
        let logits = zero_shot_logits(features.clone(), model.classes.val(), scale.clone());
        let (rows, right) = (shard.images.labels().len(), right(&logits, &labels));
        let guided = guidance(zero_shot_logits(features, texts, scale), said) * self.weight;
        let loss = (cross_entropy(logits, labels) + guided) / shard.images.batch_terms() as f64;
        Ok(Outcome { loss, rows, right, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        self.images.group(name, rank)
    }
}
