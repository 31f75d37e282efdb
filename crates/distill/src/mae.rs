//! Masked autoencoding: three quarters of an image's patches are hidden, and painted from the rest.
//!
//! Source: He et al. 2022, arXiv:2111.06377, and facebookresearch/mae, `models_mae.py`.

use burn::tensor::{Tensor, TensorData};
use robustify_data::batch;
use robustify_rng::Key;
use robustify_zoo::BatchStatistics;
use robustify_zoo::vit::{MaskedAutoencoder, Visible};

use crate::DistillError;
use crate::optimizer::Group;
use crate::supervised::{ImageShard, ImageTraining};
use crate::trainer::{Batches, Objective, Outcome};

/// Mean squared error of the pixels of hidden patches.
pub struct Masking {
    /// The images and their views; their labels are not used.
    pub images: ImageTraining,
    /// Share of the patches that is hidden, in `(0, 1)`.
    pub masked: f64,
    /// Whether the pixels of a patch are compared after they were given a mean of zero and a variance of one.
    pub normalised: bool,
    /// Patches of an image.
    pub patches: usize,
}

impl Masking {
    /// Patches that are seen: all but the share that is hidden, and at least one of either kind.
    fn kept(&self) -> usize {
        let kept = (self.patches as f64 * (1.0 - self.masked)) as usize;
        kept.clamp(1, self.patches.saturating_sub(1).max(1))
    }

    /// The patches that each row's encoder sees, drawn from its key.
    fn visible(&self, keys: &[Key]) -> Visible {
        let row = |key: &Key| {
            let mut stream = key.with_str("mask").stream();
            let mut order: Vec<usize> = (0..self.patches).collect();
            stream.shuffle(&mut order);
            order.truncate(self.kept());
            order.sort_unstable();
            order
        };
        Visible { rows: keys.iter().map(row).collect() }
    }

    /// One for every hidden patch, zero for every seen one, `[rows, patches]`.
    fn hidden(&self, visible: &Visible) -> Tensor<2> {
        let mut values = vec![1.0_f32; visible.rows.len() * self.patches];
        for (row, seen) in visible.rows.iter().enumerate() {
            seen.iter().for_each(|patch| values[row * self.patches + patch] = 0.0);
        }
        Tensor::from_data(TensorData::new(values, [visible.rows.len(), self.patches]), &self.images.device)
    }

    /// What the decoder is to paint.
    fn target(&self, pixels: Tensor<3>) -> Tensor<3> {
        if !self.normalised {
            return pixels;
        }
        let elements = pixels.dims()[2] as f64;
        let centred = pixels.clone() - pixels.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).sum_dim(2) / (elements - 1.0).max(1.0);
        centred / (variance + 1e-6).sqrt()
    }
}

impl Objective for Masking {
    type Model = MaskedAutoencoder;
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

    fn loss(&self, model: &MaskedAutoencoder, shard: ImageShard) -> Result<Outcome, DistillError> {
        let side = model.encoder.image_size();
        let images = batch::images(shard.pixels(), [3, side, side], &self.images.device)?;
        let visible = self.visible(shard.keys());
        let painted = model.reconstructed(images.clone().autodiff(), &visible);
        let target = self.target(model.patches(images));
        let [rows, patches, elements] = target.dims();
        let difference = painted - target;
        let errors = (difference.clone() * difference).sum_dim(2).reshape([rows, patches]) / elements as f64;
        let hidden = (self.patches - self.kept()).max(1);
        let loss = (errors * self.hidden(&visible)).sum() / (hidden * shard.batch_terms()) as f64;
        Ok(Outcome { loss, rows, right: 0, statistics: BatchStatistics::default() })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        let group = Group::by_shape(name, rank);
        Group { decay: group.decay && !name.ends_with("mask_token"), ..group }
    }
}
