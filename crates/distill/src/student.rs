//! Tuning on cached views: Robustify with its three heads, and APT, its one-headed rival on the same views.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 3. A batch holds a clean and an augmented view of the same images.
//! A clean row tunes the clean and the combined head, an augmented row the robust and the combined head, and all rows the
//! shared part. Every head has `w_ce CE + w_kd tau^2 KL(teacher || head)`; the clean head's teacher is the original model,
//! the robust head's the robust teacher, the combined head's a setting ([`CombinedTeacher`]).

use burn::tensor::{Device, Int, Tensor, TensorData};
use robustify_data::epoch_order;
use robustify_rng::Key;
use robustify_select::{KeyedMasks, OneHead, ThreeHeads};
use robustify_zoo::{BatchStatistics, Pass};
use serde::{Deserialize, Serialize};

use crate::DistillError;
use crate::losses::{cross_entropy, distillation, right};
use crate::optimizer::{AdamWConfig, Group};
use crate::trainer::{BatchSource, Batches, Objective, Outcome};
use crate::views::{Teacher, ViewCache};

/// Who teaches the combined head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CombinedTeacher {
    /// The original model on clean rows, the robust teacher on augmented rows.
    Matched,
    /// The robust teacher.
    Robust,
    /// The original model.
    Initial,
    /// Both, half each.
    Mean,
    /// Nobody.
    None,
}

/// How the heads are tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningConfig {
    /// Seed of order and dropout.
    pub seed: u64,
    /// Passes over the augmented views.
    pub epochs: usize,
    /// Pairs of a clean and an augmented view in a batch.
    pub pairs: usize,
    /// Dropout rate from the first tunable layer on, in `[0, 1)`.
    pub dropout: f64,
    /// Weight of cross-entropy.
    pub ce_weight: f64,
    /// Weight of distillation.
    pub kd_weight: f64,
    /// Temperature tau of distillation.
    pub temperature: f64,
    /// Who teaches the combined head.
    pub combined_teacher: CombinedTeacher,
    /// Weights of the clean, the combined and the robust head's loss.
    pub head_weights: [f64; 3],
    /// Factor on the learning rate of the shared part.
    pub shared_rate_scale: f64,
    /// The optimizer's settings.
    pub optimizer: AdamWConfig,
}

impl TuningConfig {
    /// Faults of the settings, as sentences.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.optimizer.faults();
        let mut check = |ok: bool, fault: String| {
            if !ok {
                faults.push(fault);
            }
        };
        check(self.epochs > 0 && self.pairs > 0, "epochs and pairs are at least 1".into());
        check((0.0..1.0).contains(&self.dropout), format!("dropout {} is not in [0, 1)", self.dropout));
        let weights =
            [self.ce_weight, self.kd_weight, self.head_weights[0], self.head_weights[1], self.head_weights[2]];
        check(weights.iter().all(|w| w.is_finite() && *w >= 0.0), "weights of losses are at least 0".into());
        check(self.ce_weight + self.kd_weight > 0.0, "ce_weight and kd_weight are both 0".into());
        check(
            self.temperature > 0.0 && self.temperature.is_finite(),
            format!("temperature {} is not positive", self.temperature),
        );
        check(self.shared_rate_scale >= 0.0, format!("shared_rate_scale {} is negative", self.shared_rate_scale));
        faults
    }
}

/// What both methods read: cached views in batches of pairs.
pub struct CachedPairs<'a> {
    /// The views.
    pub cache: &'a ViewCache,
    /// The settings.
    pub config: &'a TuningConfig,
    /// Pairs of a shard.
    pub shard_pairs: usize,
    /// Where tensors go.
    pub device: &'a Device,
}

/// Pairs of one shard: rows of the cache.
pub struct PairShard {
    epoch: usize,
    clean: Vec<usize>,
    augmented: Vec<usize>,
    /// Pairs of the whole batch.
    batch_pairs: usize,
}

impl CachedPairs<'_> {
    fn augmented_total(&self) -> usize {
        self.cache.labels.len() * self.cache.augmented
    }

    fn steps(&self) -> usize {
        self.augmented_total().div_ceil(self.config.pairs)
    }

    /// Every augmented view once, each with a random clean view of its image.
    fn pair(&self, epoch: usize, position: usize) -> (usize, usize) {
        let (image, view) = (position / self.cache.augmented, position % self.cache.augmented);
        let mut stream = Key::new(self.config.seed, "clean partner").with(epoch as u64).with(position as u64).stream();
        let first = image * self.cache.views();
        (first + stream.below(self.cache.clean as u32) as usize, first + self.cache.clean + view)
    }

    fn batches(&self, epoch: usize, first: usize) -> PairBatches<'_> {
        let mut order = epoch_order(self.augmented_total(), self.config.seed, epoch as u64);
        order.drain(..(first * self.config.pairs).min(order.len()));
        PairBatches { pairs: self, epoch, order: order.into_iter().collect() }
    }

    /// Dropout masks of a shard's rows, clean ones first; keyed by epoch and row, whatever the shard.
    fn masks(&self, shard: &PairShard) -> [KeyedMasks; 3] {
        let key = Key::new(self.config.seed, "tuning dropout").with(shard.epoch as u64);
        // A clean row may be the partner of several augmented ones, so its key holds the partner.
        let clean =
            shard.clean.iter().zip(&shard.augmented).map(|(&row, &partner)| key.with(row as u64).with(partner as u64));
        let augmented = shard.augmented.iter().map(|&row| key.with(row as u64));
        let (clean, augmented): (Vec<Key>, Vec<Key>) = (clean.collect(), augmented.collect());
        let all = clean.iter().chain(&augmented).copied().collect();
        [clean, all, augmented].map(|rows| KeyedMasks::new(rows, self.config.dropout))
    }

    /// How both methods step a parameter: the shared part at its own rate.
    fn group(&self, name: &str, rank: usize) -> Group {
        let rate_scale = if name.starts_with("shared.") { self.config.shared_rate_scale } else { 1.0 };
        Group { rate_scale, ..Group::by_shape(name, rank) }
    }

    fn labels(&self, rows: &[usize]) -> Tensor<1, Int> {
        labels(self.cache, rows, self.device)
    }
}

/// Labels of rows of the cache.
pub(crate) fn labels(cache: &ViewCache, rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i64> = rows.iter().map(|row| cache.labels[row / cache.views()] as i64).collect();
    let count = labels.len();
    Tensor::from_data(TensorData::new(labels, [count]), device)
}

struct PairBatches<'a> {
    pairs: &'a CachedPairs<'a>,
    epoch: usize,
    order: std::collections::VecDeque<usize>,
}

impl BatchSource<PairShard> for PairBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<PairShard>>, DistillError> {
        let count = self.pairs.config.pairs.min(self.order.len());
        if count == 0 {
            return Ok(None);
        }
        let batch: Vec<(usize, usize)> =
            self.order.drain(..count).map(|position| self.pairs.pair(self.epoch, position)).collect();
        let shards = batch.chunks(self.pairs.shard_pairs).map(|shard| {
            let (clean, augmented) = shard.iter().copied().unzip();
            PairShard { epoch: self.epoch, clean, augmented, batch_pairs: count }
        });
        Ok(Some(shards.collect()))
    }
}

/// Robustify's objective.
pub struct Robustify<'a>(pub CachedPairs<'a>);

impl Robustify<'_> {
    /// `w_ce CE + w_kd tau^2 KL` of one head on some rows, summed.
    fn head_loss(&self, logits: Tensor<2>, rows: &[usize], teachers: &[(Teacher, f64)]) -> Tensor<1> {
        let CachedPairs { cache, config, device, .. } = &self.0;
        let mut loss = cross_entropy(logits.clone(), self.0.labels(rows)) * config.ce_weight;
        for &(teacher, share) in teachers {
            let target = cache.teacher_logits(teacher, rows, device);
            loss = loss + distillation(logits.clone(), target, config.temperature) * (config.kd_weight * share);
        }
        loss
    }

    fn combined_teachers(&self, augmented: bool) -> Vec<(Teacher, f64)> {
        match self.0.config.combined_teacher {
            _ if self.0.config.kd_weight == 0.0 => Vec::new(),
            CombinedTeacher::Matched if augmented => vec![(Teacher::Robust, 1.0)],
            CombinedTeacher::Matched | CombinedTeacher::Initial => vec![(Teacher::Original, 1.0)],
            CombinedTeacher::Robust => vec![(Teacher::Robust, 1.0)],
            CombinedTeacher::Mean => vec![(Teacher::Original, 0.5), (Teacher::Robust, 0.5)],
            CombinedTeacher::None => Vec::new(),
        }
    }

    fn own_teacher(&self, teacher: Teacher) -> Vec<(Teacher, f64)> {
        if self.0.config.kd_weight == 0.0 { Vec::new() } else { vec![(teacher, 1.0)] }
    }
}

impl Objective for Robustify<'_> {
    type Model = ThreeHeads;
    type Shard = PairShard;

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, PairShard>, DistillError> {
        Ok(Box::new(self.0.batches(epoch, first)))
    }

    fn loss(&self, model: &ThreeHeads, shard: PairShard) -> Result<Outcome, DistillError> {
        let CachedPairs { cache, config, device, .. } = &self.0;
        let pairs = shard.clean.len();
        let rows: Vec<usize> = shard.clean.iter().chain(&shard.augmented).copied().collect();
        let range = |start: usize| Tensor::<1, Int>::arange(start as i64..(start + pairs) as i64, *device);
        let masks = self.0.masks(&shard);
        let passes = masks.each_ref().map(|masks| Pass::eval().with_masks(masks));
        let features = cache.features(&rows, device).autodiff();
        let [clean, combined, robust] = model.forward_split(features, range(0), range(pairs), passes.each_ref());

        let correct = right(&combined, &self.0.labels(&rows));
        let [clean_weight, combined_weight, robust_weight] = config.head_weights;
        let clean_rows = combined.clone().narrow(0, 0, pairs);
        let augmented_rows = combined.narrow(0, pairs, pairs);
        let of_combined = self.head_loss(clean_rows, &shard.clean, &self.combined_teachers(false))
            + self.head_loss(augmented_rows, &shard.augmented, &self.combined_teachers(true));
        let of_clean = self.head_loss(clean, &shard.clean, &self.own_teacher(Teacher::Original));
        let of_robust = self.head_loss(robust, &shard.augmented, &self.own_teacher(Teacher::Robust));
        let loss = of_clean * clean_weight + of_combined * combined_weight + of_robust * robust_weight;
        let loss = loss / (2 * shard.batch_pairs) as f64;
        Ok(Outcome { loss, rows: rows.len(), right: correct, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        self.0.group(name, rank)
    }
}

/// Augmentation-based partial tuning: one head on the same layers and views, cross-entropy alone, no teacher. Rates and
/// dropout are Robustify's.
pub struct Apt<'a>(pub CachedPairs<'a>);

impl Objective for Apt<'_> {
    type Model = OneHead;
    type Shard = PairShard;

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, PairShard>, DistillError> {
        Ok(Box::new(self.0.batches(epoch, first)))
    }

    fn loss(&self, model: &OneHead, shard: PairShard) -> Result<Outcome, DistillError> {
        let CachedPairs { cache, device, .. } = &self.0;
        let rows: Vec<usize> = shard.clean.iter().chain(&shard.augmented).copied().collect();
        let [_, masks, _] = self.0.masks(&shard);
        let features = cache.features(&rows, device).autodiff();
        let logits = model.forward(features, &Pass::eval().with_masks(&masks));
        let labels = self.0.labels(&rows);
        let correct = right(&logits, &labels);
        let loss = cross_entropy(logits, labels) / (2 * shard.batch_pairs) as f64;
        Ok(Outcome { loss, rows: rows.len(), right: correct, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        self.0.group(name, rank)
    }
}
