//! APT, augmentation-based partial tuning: Robustify's one-headed rival on the same views.

use robustify_select::OneHead;
use robustify_zoo::{BatchStatistics, Pass};

use crate::DistillError;
use crate::losses::{cross_entropy, right};
use crate::optimizer::Group;
use crate::pairs::{CachedPairs, PairShard};
use crate::trainer::{Batches, Objective, Outcome};

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
        Ok(self.0.batches(epoch, first))
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
