//! A training of a student on one view an image.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use robustify_data::batch;
use robustify_zoo::{BatchStatistics, LastTokens, Pass};

use super::{DropPath, FeatureStudent, FeatureTeacher, Kept, Matching, group, loss};
use crate::DistillError;
use crate::optimizer::{AdamWConfig, Group};
use crate::schedule::Cosine;
use crate::supervised::{ImageShard, ImageTraining};
use crate::trainer::{Batches, Objective, Outcome};

/// The reference's schedule of the learning rate beside its peak: absolute rates, which a group's scale does not change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureSchedule {
    /// Where the warm-up starts.
    pub warmup_rate: f64,
    /// Where the cosine ends.
    pub least_rate: f64,
    /// What these two and the peak are multiplied by: the reference's are those of 512 images a batch.
    pub factor: f64,
}

impl FeatureSchedule {
    /// The rate of step `step` of `total`, counted from zero, of a group whose rate has a scale. The reference sets the rate of index `k`
    /// after step `k`, so step `k` runs at that of index `k - 1`, and the first two at the start of the warm-up.
    pub fn rate(&self, optimizer: &AdamWConfig, step: usize, total: usize, scale: f64) -> f64 {
        let warmup = (optimizer.warmup_fraction * total as f64).round() as usize;
        let [peak, start, least] =
            [optimizer.learning_rate, self.warmup_rate, self.least_rate].map(|rate| rate * self.factor);
        let schedule = Cosine::feature_distillation(peak * scale, start, least, [warmup, total]);
        schedule.rate(step.saturating_sub(1))
    }
}

/// The mean of smooth-L1 between what a student makes of an image and what its teacher does.
pub struct FeatureDistillation {
    /// The images and their views, one each; their labels are not used.
    pub images: ImageTraining,
    /// Who teaches.
    pub teacher: FeatureTeacher,
    /// Where smooth-L1 passes from squares to absolute values.
    pub beta: f64,
    /// The rate at which branches of the student are left out, see [`drop_path_rates`](super::drop_path_rates); the teacher has all of its.
    pub drop_path: BTreeMap<String, f64>,
    /// How the learning rate rises and falls.
    pub schedule: FeatureSchedule,
    /// Where targets are kept, if an image has the same view in every epoch, and only one.
    pub kept: Option<Kept>,
}

impl FeatureDistillation {
    /// The targets of a shard: kept ones if there are, else computed.
    fn targets(&self, ids: &[u64], images: Tensor<4>, student: &LastTokens) -> (Tensor<3>, Matching) {
        let Some(kept) = &self.kept else { return self.teacher.targets(images, student) };
        if let Some(known) = kept.get(ids, &self.images.device) {
            return known;
        }
        let (targets, matching) = self.teacher.targets(images, student);
        kept.keep(ids, &targets, matching);
        (targets, matching)
    }
}

impl Objective for FeatureDistillation {
    type Model = FeatureStudent;
    type Shard = ImageShard;

    fn steps(&self) -> usize {
        self.images.steps()
    }

    fn has_labels(&self) -> bool {
        false
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, ImageShard>, DistillError> {
        self.images.epoch(epoch, first)
    }

    fn loss(&self, model: &FeatureStudent, shard: ImageShard) -> Result<Outcome, DistillError> {
        let side = model.encoder.image_size();
        let images = batch::images(shard.pixels(), [3, side, side], &self.images.device)?;
        let masks = DropPath { rates: &self.drop_path, keys: shard.keys() };
        let statistics = BatchStatistics::default();
        let pass = Pass::eval().with_masks(&masks);
        let tokens = model.encoder.last_tokens(images.clone().autodiff(), &pass);
        let (target, matching) = self.targets(shard.ids(), images, &tokens);
        let [rows, compared, width] = target.dims();
        let prediction = model.projected(matching.of_student(&tokens));
        let elements = (shard.batch_terms() * compared * width) as f64;
        Ok(Outcome { loss: loss(prediction, target, self.beta) / elements, rows, right: 0, statistics })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        group(name, rank)
    }

    fn rate(&self, optimizer: &AdamWConfig, step: usize, total: usize, scale: f64) -> f64 {
        self.schedule.rate(optimizer, step, total, scale)
    }
}

#[cfg(test)]
mod tests {
    use crate::optimizer::DecayTo;

    use super::*;

    #[test]
    fn a_step_runs_at_the_rate_that_was_set_after_the_one_before() {
        let optimizer = AdamWConfig {
            learning_rate: 3e-4,
            weight_decay: 0.05,
            decay_to: DecayTo::Zero,
            betas: [0.9, 0.999],
            eps: 1e-8,
            warmup_fraction: 0.1,
            clip_norm: 3.0,
        };
        let schedule = FeatureSchedule { warmup_rate: 5e-7, least_rate: 5e-6, factor: 4.0 };
        let rate = |step: usize, scale: f64| schedule.rate(&optimizer, step, 100, scale);
        assert_eq!((rate(0, 1.0), rate(1, 1.0), rate(1, 0.5)), (2e-6, 2e-6, 2e-6));
        assert!((rate(11, 1.0) - 1.2e-3).abs() < 1e-15 && (rate(11, 0.5) - 6e-4).abs() < 1e-15);
        assert!(rate(99, 1.0) > 2e-5 && rate(99, 1.0) < 2.2e-5);
    }
}
