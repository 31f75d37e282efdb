//! Linear probe: a new classifier on the frozen model's last features, for data with other classes than the weights.
//!
//! Source: Radford et al. 2021, arXiv:2103.00020, section 3.2, with AdamW in place of L-BFGS.

use burn::tensor::Device;
use robustify_data::epoch_order;
use robustify_select::OneHead;
use robustify_zoo::{BatchStatistics, Pass};

use crate::DistillError;
use crate::cache::ViewCache;
use crate::losses::{cross_entropy, right};
use crate::optimizer::Group;
use crate::pairs::labels;
use crate::trainer::{BatchSource, Batches, Objective, Outcome};

/// Cross-entropy of the classifier alone on cached clean views.
pub struct Probe<'a> {
    /// Clean views with features from before the final norm and classifier.
    pub cache: &'a ViewCache,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Rows of a shard.
    pub shard_rows: usize,
    /// Seed of the order.
    pub seed: u64,
    /// Where tensors go.
    pub device: &'a Device,
}

/// Rows of the cache, and rows of the whole batch.
pub struct RowShard {
    rows: Vec<usize>,
    batch_rows: usize,
}

struct RowBatches<'a> {
    probe: &'a Probe<'a>,
    order: std::collections::VecDeque<usize>,
}

impl BatchSource<RowShard> for RowBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<RowShard>>, DistillError> {
        let batch_rows = self.probe.batch_size.min(self.order.len());
        if batch_rows == 0 {
            return Ok(None);
        }
        let batch: Vec<usize> = self.order.drain(..batch_rows).collect();
        Ok(Some(batch.chunks(self.probe.shard_rows).map(|rows| RowShard { rows: rows.to_vec(), batch_rows }).collect()))
    }
}

impl Probe<'_> {
    fn total(&self) -> usize {
        self.cache.labels.len() * self.cache.views()
    }
}

impl Objective for Probe<'_> {
    type Model = OneHead;
    type Shard = RowShard;

    fn steps(&self) -> usize {
        self.total().div_ceil(self.batch_size)
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, RowShard>, DistillError> {
        let mut order = epoch_order(self.total(), self.seed, epoch as u64);
        order.drain(..(first * self.batch_size).min(order.len()));
        Ok(Box::new(RowBatches { probe: self, order: order.into() }))
    }

    fn loss(&self, model: &OneHead, shard: RowShard) -> Result<Outcome, DistillError> {
        let features = self.cache.features(&shard.rows, self.device).autodiff();
        let logits = model.forward(features, &Pass::eval());
        let labels = labels(self.cache, &shard.rows, self.device);
        let correct = right(&logits, &labels);
        let loss = cross_entropy(logits, labels) / shard.batch_rows as f64;
        Ok(Outcome { loss, rows: shard.rows.len(), right: correct, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        Group::by_shape(name, rank).with_body_scale(name, 0.0)
    }
}
