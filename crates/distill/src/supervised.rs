//! Training a whole model on images: pre-training, and the robust teacher.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use image::RgbImage;
use robustify_augment::Policy;
use robustify_data::{CleanView, DataError, Images, Job, Loader, Preprocess, batch, epoch_order};
use robustify_rng::Key;
use robustify_zoo::{BatchStatistics, Model, Pass};

use crate::DistillError;
use crate::losses;
use crate::optimizer::Group;
use crate::trainer::{BatchSource, Batches, Objective, Outcome};

/// Cross-entropy on clean views, and on an augmented view of the same images beside them when there is a policy.
///
/// BatchNorm normalises every [`Self::norm_rows`] rows by their own statistics, on any backend ("ghost batch normalisation",
/// Hoffer et al. 2017, arXiv:1705.08741); its running statistics move once a step, towards the mean over these groups.
pub struct ImageTraining {
    /// The training images.
    pub images: Images,
    /// The pixels that views and augmentations work on: of a teacher, those of the large model, so that it learns from what it
    /// will be asked about. Its normalisation is not used.
    pub preprocess: Preprocess,
    /// What the model itself does with a view: its own steps, then its normalisation.
    pub own: Preprocess,
    /// Random geometry of every view.
    pub clean_view: CleanView,
    /// Augmentations of the second half of a batch; without them, every row is clean.
    pub policy: Option<Policy>,
    /// Rows of a batch, clean and augmented together.
    pub batch_size: usize,
    /// Rows of a shard of a network without BatchNorm: what suits the backend, and changes no result but by rounding.
    pub shard_rows: usize,
    /// Rows that BatchNorm normalises together, which are then the rows of a shard on every backend. `None` for a network
    /// without BatchNorm, or when [`Self::freeze_norm`] keeps it from looking at the batch.
    pub norm_rows: Option<usize>,
    /// Whether BatchNorm keeps the running statistics that it has and normalises by them, as fine-tuning for robustness wants.
    pub freeze_norm: bool,
    /// Factor on the learning rate of everything but the classifier; with 0 the classifier alone is trained.
    pub body_rate_scale: f64,
    /// Label smoothing, in `[0, 1)`.
    pub label_smoothing: f64,
    /// Seed of order, views and augmentations.
    pub seed: u64,
    /// Threads that prepare images.
    pub loader_threads: usize,
    /// Where tensors go.
    pub device: Device,
}

/// Rows of a shard on the host.
pub struct ImageShard {
    pixels: Vec<Vec<f32>>,
    labels: Vec<usize>,
    /// Rows of the whole batch.
    batch_rows: usize,
}

impl ImageShard {
    /// Normalised CHW values of every row.
    pub fn pixels(&self) -> &[Vec<f32>] {
        &self.pixels
    }

    /// Labels of the rows.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }
}

/// One view of one image: normalised CHW values and the label.
type Row = (Vec<f32>, usize);

impl ImageTraining {
    fn images_per_batch(&self) -> usize {
        let views = 1 + usize::from(self.policy.is_some());
        (self.batch_size / views).max(1)
    }

    /// Rows of a shard.
    fn rows(&self) -> usize {
        self.norm_rows.unwrap_or(self.shard_rows).max(1)
    }

    /// Prepares the views of one image: the clean one, then the augmented one.
    fn job(&self, epoch: usize) -> Job<Vec<Row>> {
        let (images, preprocess, own) = (Arc::clone(&self.images), self.preprocess.clone(), self.own.clone());
        let (view, policy, seed) = (self.clean_view.clone(), self.policy.clone(), self.seed);
        Arc::new(move |index, _| {
            let misfit = |error: DataError| error.of_image(&images, index);
            let sample = images.get(index)?;
            let pixels = preprocess.pixels(&sample.image).map_err(misfit)?;
            let key = |purpose| Key::new(seed, purpose).with(epoch as u64).with(sample.id);
            let row = |view: &RgbImage| {
                let seen = own.pixels(view).map_err(misfit)?;
                let mut values = vec![0.0; 3 * (seen.width() * seen.height()) as usize];
                own.write_chw(&seen, &mut values).map_err(misfit).map(|()| (values, sample.label))
            };
            let mut rows = vec![row(&view.apply(&pixels, key("clean view")).map_err(misfit)?)?];
            if let Some(policy) = &policy {
                let base = view.apply(&pixels, key("augmented view")).map_err(misfit)?;
                rows.push(row(&policy.apply(&base, key("augmentation")))?);
            }
            Ok(rows)
        })
    }
}

struct ImageBatches<'a> {
    training: &'a ImageTraining,
    loader: Loader<Vec<Row>>,
}

impl BatchSource<ImageShard> for ImageBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<ImageShard>>, DistillError> {
        let Some(items) = self.loader.next() else { return Ok(None) };
        let rows: Vec<Row> = items?.into_iter().flatten().collect();
        let batch_rows = rows.len();
        let mut shards = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let (pixels, labels) = rows.by_ref().take(self.training.rows()).unzip();
            shards.push(ImageShard { pixels, labels, batch_rows });
        }
        Ok(Some(shards))
    }

    fn waited(&self) -> Duration {
        self.loader.waited()
    }
}

impl Objective for ImageTraining {
    type Model = Model;
    type Shard = ImageShard;

    fn steps(&self) -> usize {
        self.images.len().div_ceil(self.images_per_batch())
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, ImageShard>, DistillError> {
        let per_batch = self.images_per_batch();
        let mut order = epoch_order(self.images.len(), self.seed, epoch as u64);
        order.drain(..(first * per_batch).min(order.len()));
        let loader = Loader::new(order, per_batch, self.loader_threads, self.job(epoch))?;
        Ok(Box::new(ImageBatches { training: self, loader }))
    }

    fn loss(&self, model: &Model, shard: ImageShard) -> Result<Outcome, DistillError> {
        let side = model.image_size();
        let images = batch::images(&shard.pixels, [3, side, side], &self.device)?;
        let labels = batch::labels(&shard.labels, &self.device);
        let statistics = BatchStatistics::default();
        let pass = if self.freeze_norm { Pass::eval() } else { Pass::eval().with_statistics(&statistics) };
        let logits = model.forward(images.autodiff(), &pass);
        if self.norm_rows.is_none() && !statistics.is_empty() {
            let fault =
                "a network with BatchNorm needs norm_rows, the rows that it normalises together, or freeze_norm";
            return Err(DistillError::Config(fault.into()));
        }
        let right = losses::right(&logits, &labels);
        let loss = losses::smoothed_cross_entropy(logits, labels, self.label_smoothing) / shard.batch_rows as f64;
        Ok(Outcome { loss, rows: shard.labels.len(), right, statistics })
    }

    fn with_statistics(&self, model: Model, statistics: Vec<BatchStatistics>) -> Model {
        if self.freeze_norm { model } else { model.with_statistics(BatchStatistics::average(statistics)) }
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        Group::by_shape(name, rank).with_body_scale(name, self.body_rate_scale)
    }
}
