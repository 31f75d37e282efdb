//! What the methods on a frozen backbone learn from: a clean and an augmented view of the same images, in batches.
//!
//! [`CachedPairs`] reads the views' features from a file; [`FreshPairs`](crate::FreshPairs) makes views anew in every epoch. The
//! objectives see no difference.

use std::collections::{BTreeMap, VecDeque};

use burn::tensor::{Device, Int, Tensor, TensorData};
use robustify_data::{batch, epoch_order};
use robustify_rng::Key;
use robustify_select::KeyedMasks;
use robustify_zoo::Features;

use crate::DistillError;
use crate::cache::{Teacher, ViewCache};
use crate::fresh::FreshRow;
use crate::optimizer::Group;
use crate::trainer::{BatchSource, Batches};
use crate::tuning::TuningConfig;

/// A view of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// The clean one.
    Clean,
    /// The augmented one.
    Augmented,
}

/// Whose logits of which views an objective asks for.
pub type Wanted = [(Teacher, View)];

/// Pairs of a clean and an augmented view.
pub trait Pairs: Sync {
    /// The settings of tuning.
    fn config(&self) -> &TuningConfig;

    /// Where tensors go.
    fn device(&self) -> &Device;

    /// Steps in an epoch, in which every augmented view comes once.
    fn steps(&self) -> usize;

    /// Batches of an epoch from step `first` on, for an objective that asks for the logits `wanted`.
    ///
    /// # Errors
    /// Loader threads that cannot be started.
    fn batches(&self, epoch: usize, first: usize, wanted: &Wanted) -> Result<Batches<'_, PairShard>, DistillError>;

    /// Features of all rows of a shard at the backbone's end, and the logits `wanted`; no gradient flows into what made them.
    ///
    /// # Errors
    /// A teacher that there is not, pixels that do not fit a network, and numbers that are none.
    fn shown(&self, shard: &PairShard, wanted: &Wanted) -> Result<Shown, DistillError>;
}

impl<P: Pairs + ?Sized> Pairs for Box<P> {
    fn config(&self) -> &TuningConfig {
        (**self).config()
    }

    fn device(&self) -> &Device {
        (**self).device()
    }

    fn steps(&self) -> usize {
        (**self).steps()
    }

    fn batches(&self, epoch: usize, first: usize, wanted: &Wanted) -> Result<Batches<'_, PairShard>, DistillError> {
        (**self).batches(epoch, first, wanted)
    }

    fn shown(&self, shard: &PairShard, wanted: &Wanted) -> Result<Shown, DistillError> {
        (**self).shown(shard, wanted)
    }
}

/// Pairs of one shard, whose rows are first the clean views, then the augmented ones.
pub struct PairShard {
    pub(crate) epoch: usize,
    /// Rows of clean views.
    pub(crate) clean: Vec<usize>,
    /// Rows of augmented views, each a partner of the clean one at its place.
    pub(crate) augmented: Vec<usize>,
    /// Label of each pair.
    pub(crate) labels: Vec<usize>,
    /// Pairs of the whole batch.
    pub(crate) batch_pairs: usize,
    /// Pixels of the views, if no cache has their features.
    pub(crate) fresh: Vec<FreshRow>,
}

impl PairShard {
    /// Number of pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.clean.len()
    }

    /// Rows of the cache of one kind of views.
    fn rows(&self, view: View) -> &[usize] {
        match view {
            View::Clean => &self.clean,
            View::Augmented => &self.augmented,
        }
    }

    /// Labels of the pairs, `[pairs]`: those of the clean rows, and of the augmented ones.
    pub(crate) fn labels(&self, device: &Device) -> Tensor<1, Int> {
        batch::labels(&self.labels, device)
    }

    /// Labels of all rows, `[2 * pairs]`.
    pub(crate) fn all_labels(&self, device: &Device) -> Tensor<1, Int> {
        batch::labels(&[&self.labels[..], &self.labels].concat(), device)
    }

    /// The rows of one kind of views, as indices.
    pub(crate) fn range(&self, view: View, device: &Device) -> Tensor<1, Int> {
        let (pairs, first) = (self.pairs() as i64, if view == View::Clean { 0 } else { self.pairs() as i64 });
        Tensor::arange(first..first + pairs, device)
    }

    /// Dropout masks of the clean, of all and of the augmented rows; keyed by epoch and row, whatever the shard.
    pub(crate) fn masks(&self, config: &TuningConfig) -> [KeyedMasks; 3] {
        let key = Key::new(config.seed, "tuning dropout").with(self.epoch as u64);
        // A clean row may be the partner of several augmented ones, so its key holds the partner.
        let clean =
            self.clean.iter().zip(&self.augmented).map(|(&row, &partner)| key.with(row as u64).with(partner as u64));
        let augmented = self.augmented.iter().map(|&row| key.with(row as u64));
        let (clean, augmented): (Vec<Key>, Vec<Key>) = (clean.collect(), augmented.collect());
        let all = clean.iter().chain(&augmented).copied().collect();
        [clean, all, augmented].map(|rows| KeyedMasks::new(rows, config.dropout))
    }
}

/// What a shard's rows look like behind the backbone, and what teachers say of them. All of it is constant.
pub struct Shown {
    /// Features of all rows.
    pub features: Features,
    /// Logits `[pairs, classes]` by who gave them about which views.
    pub said: Said,
}

/// Logits `[pairs, classes]` by who gave them about which views.
#[derive(Default)]
pub struct Said(BTreeMap<(Teacher, View), Tensor<2>>);

impl Said {
    pub(crate) fn insert(&mut self, (teacher, view): (Teacher, View), logits: Tensor<2>) {
        self.0.insert((teacher, view), logits);
    }

    /// What a teacher says about one kind of views.
    ///
    /// # Errors
    /// A teacher that was not asked.
    pub fn by(&self, teacher: Teacher, view: View) -> Result<Tensor<2>, DistillError> {
        self.0.get(&(teacher, view)).cloned().ok_or(DistillError::NoTeacher(teacher))
    }
}

/// How all methods on pairs step a parameter: the shared part at its own rate.
pub(crate) fn group(config: &TuningConfig, name: &str, rank: usize) -> Group {
    let rate_scale = if name.starts_with("shared.") { config.shared_rate_scale } else { 1.0 };
    Group { rate_scale, ..Group::by_shape(name, rank) }
}

/// The number of the clean view, below `clean`, that the augmented view at `position` is paired with in an epoch.
pub(crate) fn clean_partner(seed: u64, epoch: usize, position: usize, clean: usize) -> usize {
    let mut stream = Key::new(seed, "clean partner").with(epoch as u64).with(position as u64).stream();
    stream.below(clean as u32) as usize
}

/// Cached views in batches of pairs.
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

impl CachedPairs<'_> {
    fn augmented_total(&self) -> usize {
        self.cache.labels.len() * self.cache.augmented
    }

    /// Every augmented view once, each with a random clean view of its image.
    fn pair(&self, epoch: usize, position: usize) -> (usize, usize) {
        let (image, view) = (position / self.cache.augmented, position % self.cache.augmented);
        let first = image * self.cache.views();
        let partner = clean_partner(self.config.seed, epoch, position, self.cache.clean);
        (first + partner, first + self.cache.clean + view)
    }
}

impl Pairs for CachedPairs<'_> {
    fn config(&self) -> &TuningConfig {
        self.config
    }

    fn device(&self) -> &Device {
        self.device
    }

    fn steps(&self) -> usize {
        self.augmented_total().div_ceil(self.config.pairs)
    }

    fn batches(&self, epoch: usize, first: usize, _: &Wanted) -> Result<Batches<'_, PairShard>, DistillError> {
        let mut order = epoch_order(self.augmented_total(), self.config.seed, epoch as u64);
        order.drain(..(first * self.config.pairs).min(order.len()));
        Ok(Box::new(PairBatches { pairs: self, epoch, order: order.into_iter().collect() }))
    }

    fn shown(&self, shard: &PairShard, wanted: &Wanted) -> Result<Shown, DistillError> {
        let rows = [&shard.clean[..], &shard.augmented].concat();
        let mut said = Said::default();
        for &(teacher, view) in wanted {
            said.insert((teacher, view), self.cache.teacher_logits(teacher, shard.rows(view), self.device)?);
        }
        Ok(Shown { features: self.cache.features(&rows, self.device), said })
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
        let CachedPairs { config, cache, shard_pairs, .. } = self.pairs;
        let count = config.pairs.min(self.order.len());
        if count == 0 {
            return Ok(None);
        }
        let batch: Vec<(usize, usize)> =
            self.order.drain(..count).map(|position| self.pairs.pair(self.epoch, position)).collect();
        let shards = batch.chunks(*shard_pairs).map(|shard| {
            let (clean, augmented): (Vec<usize>, Vec<usize>) = shard.iter().copied().unzip();
            let labels = clean.iter().map(|row| cache.labels[row / cache.views()]).collect();
            PairShard { epoch: self.epoch, clean, augmented, labels, batch_pairs: count, fresh: Vec::new() }
        });
        Ok(Some(shards.collect()))
    }
}
