//! The recipe with which pre-trained encoders are fine-tuned as a whole: rates that fall from layer to layer, mixed images, soft labels,
//! branches that are left out, and a running mean of the weights.
//!
//! Sources: Bao et al. 2022 (BEiT), arXiv:2106.08254; Wei et al. 2022, arXiv:2205.14141, appendix, and SwinTransformer/Feature-Distillation's
//! configurations; timm's `Mixup` in its batch mode and its `ModelEma`.

use std::collections::BTreeMap;
use std::time::Duration;

use burn::module::Module;
use robustify_augment::{CutMix, MixUp};
use robustify_data::batch;
use robustify_rng::Key;
use robustify_zoo::{BatchStatistics, Model, Pass, weights};

use crate::feature::{DropPath, FeatureSchedule, group};
use crate::layer_decay::LayerDecay;
use crate::optimizer::{AdamWConfig, Group, parameters};
use crate::supervised::{ImageShard, ImageTraining};
use crate::trainer::{BatchSource, Batches, Objective, Outcome};
use crate::{DistillError, losses, mixing};

/// What is trained, and the running mean of its weights if one is kept.
#[derive(Module, Debug)]
pub struct FineTuned {
    model: Model,
    average: Option<Model>,
}

impl FineTuned {
    /// A model from which training begins.
    pub fn new(model: Model, averaged: bool) -> Self {
        let pair = Self { average: averaged.then(|| model.clone()), model };
        weights::tuned_only(pair, |name| name.starts_with(TRAINED))
    }

    /// What is kept: the mean if there is one.
    pub fn kept(self) -> Model {
        self.average.unwrap_or(self.model)
    }
}

/// Before the names of what is trained, and of the mean.
const TRAINED: &str = "model.";
const AVERAGE: &str = "average.";

/// How images of a batch are mixed: each with the one that stands at its place from the end, all of them with one weight. With both kinds one
/// of them is drawn for every batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    /// Parameter of MixUp's weights; `None` without it.
    pub mixup: Option<MixUp>,
    /// Parameter of CutMix's areas; `None` without it.
    pub cutmix: Option<CutMix>,
}

impl Mixing {
    /// Mixes the rows of a batch, `[3, side, side]` each, and says how much of its own label a row keeps.
    fn mix(&self, rows: &mut [&mut Vec<f32>], side: usize, key: Key) -> f64 {
        let mut stream = key.stream();
        let count = rows.len() / 2;
        let (front, back) = rows.split_at_mut(count);
        let pairs = front.iter_mut().zip(back.iter_mut().rev());
        match (self.mixup, self.cutmix) {
            (None, None) => 1.0,
            (Some(mixup), cutmix) if cutmix.is_none() || stream.unit() >= 0.5 => {
                let weight = mixup.draw(&mut stream);
                let (own, other) = (weight as f32, (1.0 - weight) as f32);
                for (first, second) in pairs {
                    for (a, b) in first.iter_mut().zip(second.iter_mut()) {
                        (*a, *b) = (own * *a + other * *b, own * *b + other * *a);
                    }
                }
                weight
            }
            (_, cutmix) => {
                let (area, weight) = cutmix.unwrap_or_default().draw(side as u32, side as u32, &mut stream);
                let (left, width) = (area.left as usize, area.width as usize);
                for (first, second) in pairs {
                    for channel in 0..3 {
                        for row in area.top..area.top + area.height {
                            let at = (channel * side + row as usize) * side + left;
                            first[at..at + width].swap_with_slice(&mut second[at..at + width]);
                        }
                    }
                }
                weight
            }
        }
    }
}

/// Rows of a shard, the labels that are mixed in, and how much of its own label a row keeps.
pub struct MixedShard {
    shard: ImageShard,
    others: Vec<usize>,
    weight: f64,
}

/// Cross-entropy of mixed and smoothed labels.
pub struct FineTuning {
    /// The images and their views, without a consistency loss; `label_smoothing` is used, `body_rate_scale` is not.
    pub images: ImageTraining,
    /// Number of classes.
    pub classes: usize,
    /// How rates fall from layer to layer; `None` for one rate.
    pub layers: Option<LayerDecay>,
    /// The rate at which branches are left out, see [`drop_path_rates`](crate::feature::drop_path_rates).
    pub drop_path: BTreeMap<String, f64>,
    /// How images are mixed.
    pub mixing: Mixing,
    /// How the learning rate rises and falls.
    pub schedule: FeatureSchedule,
    /// Part of the mean of the weights that a step leaves as it was, if one is kept.
    pub average: f64,
}

struct MixedBatches<'a> {
    objective: &'a FineTuning,
    batches: Batches<'a, ImageShard>,
    /// Of the epoch, and the number of the next batch.
    key: Key,
    step: usize,
}

impl BatchSource<MixedShard> for MixedBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<MixedShard>>, DistillError> {
        let Some(mut shards) = self.batches.next_batch()? else { return Ok(None) };
        let mut others: Vec<usize> = shards.iter().flat_map(ImageShard::labels).copied().collect();
        others.reverse();
        let mut rows: Vec<&mut Vec<f32>> = shards.iter_mut().flat_map(ImageShard::pixels_mut).collect();
        let side = rows.first().map_or(0, |row| (row.len() / 3).isqrt());
        let weight = self.objective.mixing.mix(&mut rows, side, self.key.with(self.step as u64));
        self.step += 1;
        let mut others = others.into_iter();
        let mixed = shards.into_iter().map(|shard| {
            let others = others.by_ref().take(shard.labels().len()).collect();
            MixedShard { shard, others, weight }
        });
        Ok(Some(mixed.collect()))
    }

    fn waited(&self) -> Duration {
        self.batches.waited()
    }
}

impl Objective for FineTuning {
    type Model = FineTuned;
    type Shard = MixedShard;

    fn steps(&self) -> usize {
        self.images.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, MixedShard>, DistillError> {
        if self.images.jsd_weight.is_some() {
            return Err(DistillError::Config(
                "mixed images have no consistency loss: jsd_weight is to be absent".into(),
            ));
        }
        let key = Key::new(self.images.seed, "mixing").with(epoch as u64);
        let batches = self.images.epoch(epoch, first)?;
        Ok(Box::new(MixedBatches { objective: self, batches, key, step: first }))
    }

    fn loss(&self, model: &FineTuned, mixed: MixedShard) -> Result<Outcome, DistillError> {
        let MixedShard { shard, others, weight } = mixed;
        let (side, device) = (model.model.image_size(), &self.images.device);
        let images = batch::images(shard.pixels(), [3, side, side], device)?;
        let statistics = BatchStatistics::default();
        let masks = DropPath { rates: &self.drop_path, keys: shard.keys() };
        let pass = Pass::eval().with_masks(&masks);
        let pass = if self.images.freeze_norm { pass } else { pass.with_statistics(&statistics) };
        let logits = model.model.forward(images.autodiff(), &pass);
        let target = |labels: &[usize]| {
            mixing::targets(batch::labels(labels, device), self.classes, self.images.label_smoothing)
        };
        let targets = target(shard.labels()) * weight + target(&others) * (1.0 - weight);
        let right = losses::right(&logits, &batch::labels(shard.labels(), device));
        let loss = losses::soft_cross_entropy(logits, targets) / shard.batch_terms() as f64;
        Ok(Outcome { loss, rows: shard.labels().len(), right, statistics })
    }

    fn with_statistics(&self, model: FineTuned, statistics: Vec<BatchStatistics>) -> FineTuned {
        let FineTuned { model, average } = model;
        let model = if self.images.freeze_norm || statistics.iter().all(BatchStatistics::is_empty) {
            model
        } else {
            model.with_statistics(BatchStatistics::average(statistics))
        };
        let Some(average) = average else { return FineTuned { model, average } };
        let latest = parameters(&model);
        let average = weights::changed(average, |name, old| {
            Some(old * self.average + latest.get(name)?.clone() * (1.0 - self.average))
        });
        FineTuned { model, average: Some(average) }
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        let name = name.strip_prefix(TRAINED).or(name.strip_prefix(AVERAGE)).unwrap_or(name);
        let group = group(name, rank);
        self.layers.as_ref().map_or(group, |layers| layers.of(name, group))
    }

    fn rate(&self, optimizer: &AdamWConfig, step: usize, total: usize, scale: f64) -> f64 {
        self.schedule.rate(optimizer, step, total, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_mixed_with_those_from_the_end_and_nothing_is_lost() {
        let side = 4;
        let row = |value: f32| vec![value; 3 * side * side];
        let mixed = |mixing: Mixing| {
            let mut all = [row(0.0), row(1.0), row(2.0), row(3.0), row(4.0)];
            let mut rows: Vec<&mut Vec<f32>> = all.iter_mut().collect();
            let weight = mixing.mix(&mut rows, side, Key::new(3, "batch"));
            (all, weight as f32)
        };
        let (all, weight) = mixed(Mixing { mixup: Some(MixUp::default()), cutmix: None });
        assert!(
            (all[0][0] - (1.0 - weight) * 4.0).abs() < 1e-6 && (all[3][7] - (3.0 - 2.0 * (1.0 - weight))).abs() < 1e-6
        );
        assert_eq!(all[2], row(2.0), "the middle one is mixed with itself");
        let (all, weight) = mixed(Mixing { mixup: None, cutmix: Some(CutMix::default()) });
        let foreign = all[1].iter().filter(|value| **value == 3.0).count() as f32 / (3 * side * side) as f32;
        assert!((foreign - (1.0 - weight)).abs() < 1e-6, "{foreign} and {weight}");
        assert!(all[1].iter().zip(&all[3]).all(|(a, b)| a + b == 4.0));
        assert_eq!(mixed(Mixing { mixup: None, cutmix: None }).1, 1.0);
    }
}
