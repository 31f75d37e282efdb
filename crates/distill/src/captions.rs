//! Training both towers of a CLIP on images and their captions.

use std::time::Duration;

use burn::tensor::{Device, Tensor};
use robustify_data::{Job, Loader, batch, epoch_order};
use robustify_zoo::clip::{Clip, normalised};
use robustify_zoo::{BatchStatistics, Pass};

use crate::DistillError;
use crate::contrastive::{Duplicates, contrastive};
use crate::optimizer::Group;
use crate::trainer::{BatchSource, Batches, Objective, Outcome};

/// An image and its caption, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Captioned {
    /// Normalised CHW values.
    pub pixels: Vec<f32>,
    /// The caption, as the text tower reads it; all have the same number of ids.
    pub ids: Vec<u32>,
    /// What the caption means: captions with the same number are duplicates.
    pub meaning: u64,
}

/// The captioned images of an epoch, by the epoch's number.
pub type CaptionJobs<'a> = dyn Fn(usize) -> Job<Captioned> + Sync + 'a;

/// Captioned images in batches, which are cut into groups of a fixed number of rows.
pub struct CaptionBatches<'a> {
    /// The captioned images.
    pub items: &'a CaptionJobs<'a>,
    /// How many images there are.
    pub images: usize,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Rows that are compared with each other: a group is computed by one thread, so its negatives are the same however many
    /// threads there are, and a batch has several groups.
    pub group_rows: usize,
    /// Side of the images in pixels.
    pub image_size: usize,
    /// Seed of the order.
    pub seed: u64,
    /// Threads that prepare images.
    pub loader_threads: usize,
    /// Where tensors go.
    pub device: Device,
}

/// A group on the host.
pub struct CaptionShard {
    rows: Vec<Captioned>,
    /// Rows of the whole batch.
    batch_rows: usize,
}

/// A group as both towers see it.
pub struct Embedded {
    /// `[rows, embed_dim]`.
    pub images: Tensor<2>,
    /// `[rows, embed_dim]`.
    pub texts: Tensor<2>,
    /// What each caption means.
    pub meanings: Vec<u64>,
    /// Part of the batch's rows that the group has.
    pub part: f64,
    /// What BatchNorm layers saw.
    pub statistics: BatchStatistics,
}

impl CaptionBatches<'_> {
    /// Steps in an epoch.
    pub fn steps(&self) -> usize {
        self.images.div_ceil(self.batch_size)
    }

    /// Batches of an epoch from step `first` on.
    ///
    /// # Errors
    /// Data that cannot be read.
    pub fn batches(&self, epoch: usize, first: usize) -> Result<Batches<'_, CaptionShard>, DistillError> {
        let mut order = epoch_order(self.images, self.seed, epoch as u64);
        order.drain(..(first * self.batch_size).min(order.len()));
        let loader = Loader::new(order, self.batch_size, self.loader_threads, (self.items)(epoch))?;
        Ok(Box::new(Source { group_rows: self.group_rows, loader }))
    }

    /// The pixels of a group.
    ///
    /// # Errors
    /// Rows of another size.
    pub fn images(&self, shard: &CaptionShard) -> Result<Tensor<4>, DistillError> {
        let pixels: Vec<Vec<f32>> = shard.rows.iter().map(|row| row.pixels.clone()).collect();
        Ok(batch::images(&pixels, [3, self.image_size, self.image_size], &self.device)?)
    }

    /// Both towers' features of a group. BatchNorm normalises by the group and says what it saw, unless it is frozen.
    ///
    /// # Errors
    /// Rows of another size, or ids that the text tower does not have.
    pub fn embedded(&self, clip: &Clip, shard: &CaptionShard, freeze_norm: bool) -> Result<Embedded, DistillError> {
        let statistics = BatchStatistics::default();
        let pass = if freeze_norm { Pass::eval() } else { Pass::eval().with_statistics(&statistics) };
        let images = clip.encode_image(self.images(shard)?.autodiff(), &pass);
        let ids: Vec<Vec<u32>> = shard.rows.iter().map(|row| row.ids.clone()).collect();
        let texts = clip.encode_text(&ids)?;
        let meanings = shard.rows.iter().map(|row| row.meaning).collect();
        let part = shard.rows.len() as f64 / shard.batch_rows as f64;
        Ok(Embedded { images, texts, meanings, part, statistics })
    }
}

impl Embedded {
    /// Images that are closest to a caption which means the same as their own.
    pub fn right(&self) -> usize {
        let plain = |features: &Tensor<2>| normalised(features.clone().without_autodiff());
        let closest = plain(&self.images).matmul(plain(&self.texts).transpose()).argmax(1);
        let closest: Vec<i64> = closest.into_data().convert::<i64>().try_to_vec().expect("converted to i64");
        let means_the_same = |(row, &column): (usize, &i64)| self.meanings[row] == self.meanings[column as usize];
        closest.iter().enumerate().filter(|&(row, column)| means_the_same((row, column))).count()
    }
}

struct Source {
    group_rows: usize,
    loader: Loader<Captioned>,
}

impl BatchSource<CaptionShard> for Source {
    fn next_batch(&mut self) -> Result<Option<Vec<CaptionShard>>, DistillError> {
        let Some(items) = self.loader.next() else { return Ok(None) };
        let rows = items?;
        let batch_rows = rows.len();
        Ok(Some(rows.chunks(self.group_rows).map(|rows| CaptionShard { rows: rows.to_vec(), batch_rows }).collect()))
    }

    fn waited(&self) -> Duration {
        self.loader.waited()
    }
}

/// Contrastive training of both towers and of the scale.
pub struct CaptionTraining<'a> {
    /// Images and captions.
    pub batches: CaptionBatches<'a>,
    /// What captions that mean the same are to each other.
    pub duplicates: Duplicates,
    /// Largest logarithm of the scale: CLIP's own training stops at [`MOST_SCALE`].
    pub most_scale: Option<f64>,
    /// Whether BatchNorm keeps its running statistics.
    pub freeze_norm: bool,
    /// Whether the scale has weight decay, as FLYP's has.
    pub decay_scale: bool,
}

/// Logarithm of 100, above which CLIP's scale does not grow. Source: Radford et al. 2021, arXiv:2103.00020, section 2.5.
pub const MOST_SCALE: f64 = 4.605_170_185_988_092;

impl Objective for CaptionTraining<'_> {
    type Model = Clip;
    type Shard = CaptionShard;

    fn steps(&self) -> usize {
        self.batches.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, CaptionShard>, DistillError> {
        self.batches.batches(epoch, first)
    }

    fn loss(&self, clip: &Clip, shard: CaptionShard) -> Result<Outcome, DistillError> {
        let embedded = self.batches.embedded(clip, &shard, self.freeze_norm)?;
        let (rows, right, part) = (embedded.meanings.len(), embedded.right(), embedded.part);
        let Embedded { images, texts, meanings, statistics, .. } = embedded;
        let loss = contrastive(images, texts, clip.logit_scale.val(), &meanings, self.duplicates) * part;
        Ok(Outcome { loss, rows, right, statistics })
    }

    fn with_statistics(&self, clip: Clip, statistics: Vec<BatchStatistics>) -> Clip {
        let visual = clip.visual.with_statistics(BatchStatistics::average(statistics));
        let logit_scale = match self.most_scale {
            Some(most) => clip.logit_scale.map(|scale| scale.clamp_max(most)),
            None => clip.logit_scale,
        };
        Clip { visual, logit_scale, ..clip }
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        let group = Group::by_shape(name, rank);
        Group { decay: group.decay || (self.decay_scale && name == "logit_scale"), ..group }
    }
}
