//! APT, augmentation-based partial tuning: Robustify's one-headed rival on the same views.

use robustify_select::OneHead;
use robustify_zoo::{BatchStatistics, Pass};

use crate::DistillError;
use crate::losses::{cross_entropy, right};
use crate::optimizer::Group;
use crate::pairs::{PairShard, Pairs, group};
use crate::trainer::{Batches, Objective, Outcome};

/// Augmentation-based partial tuning: one head on the same layers and views, cross-entropy alone, no teacher. Rates and
/// dropout are Robustify's.
pub struct Apt<P>(pub P);

impl<P: Pairs> Objective for Apt<P> {
    type Model = OneHead;
    type Shard = PairShard;

    fn steps(&self) -> usize {
        self.0.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, PairShard>, DistillError> {
        self.0.batches(epoch, first, &[])
    }

    fn loss(&self, model: &OneHead, shard: PairShard) -> Result<Outcome, DistillError> {
        let [_, masks, _] = shard.masks(self.0.config());
        let features = self.0.shown(&shard, &[])?.features.autodiff();
        let logits = model.forward(features, &Pass::eval().with_masks(&masks));
        let labels = shard.all_labels(self.0.device());
        let correct = right(&logits, &labels);
        let loss = cross_entropy(logits, labels) / (2 * shard.batch_pairs) as f64;
        Ok(Outcome { loss, rows: 2 * shard.pairs(), right: correct, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        group(self.0.config(), name, rank)
    }
}
