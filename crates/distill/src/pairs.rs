//! What the methods on cached views read: a clean and an augmented view of the same images, in batches.

use std::collections::VecDeque;

use burn::tensor::{Device, Int, Tensor, TensorData};
use robustify_data::epoch_order;
use robustify_rng::Key;
use robustify_select::KeyedMasks;

use crate::DistillError;
use crate::cache::ViewCache;
use crate::optimizer::Group;
use crate::trainer::{BatchSource, Batches};
use crate::tuning::TuningConfig;

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
    /// Rows of clean views.
    pub(crate) clean: Vec<usize>,
    /// Rows of augmented views, each a partner of the clean one at its place.
    pub(crate) augmented: Vec<usize>,
    /// Pairs of the whole batch.
    pub(crate) batch_pairs: usize,
}

impl CachedPairs<'_> {
    fn augmented_total(&self) -> usize {
        self.cache.labels.len() * self.cache.augmented
    }

    pub(crate) fn steps(&self) -> usize {
        self.augmented_total().div_ceil(self.config.pairs)
    }

    /// Every augmented view once, each with a random clean view of its image.
    fn pair(&self, epoch: usize, position: usize) -> (usize, usize) {
        let (image, view) = (position / self.cache.augmented, position % self.cache.augmented);
        let mut stream = Key::new(self.config.seed, "clean partner").with(epoch as u64).with(position as u64).stream();
        let first = image * self.cache.views();
        (first + stream.below(self.cache.clean as u32) as usize, first + self.cache.clean + view)
    }

    pub(crate) fn batches(&self, epoch: usize, first: usize) -> Batches<'_, PairShard> {
        let mut order = epoch_order(self.augmented_total(), self.config.seed, epoch as u64);
        order.drain(..(first * self.config.pairs).min(order.len()));
        Box::new(PairBatches { pairs: self, epoch, order: order.into_iter().collect() })
    }

    /// Dropout masks of a shard's rows, clean ones first; keyed by epoch and row, whatever the shard.
    pub(crate) fn masks(&self, shard: &PairShard) -> [KeyedMasks; 3] {
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
    pub(crate) fn group(&self, name: &str, rank: usize) -> Group {
        let rate_scale = if name.starts_with("shared.") { self.config.shared_rate_scale } else { 1.0 };
        Group { rate_scale, ..Group::by_shape(name, rank) }
    }

    pub(crate) fn labels(&self, rows: &[usize]) -> Tensor<1, Int> {
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
    order: VecDeque<usize>,
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
