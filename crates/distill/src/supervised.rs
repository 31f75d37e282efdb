//! Training a whole model on images: pre-training, and the robust teacher.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_augment::Policy;
use robustify_data::{CleanView, DataError, Images, Job, Loader, Preprocess, batch, epoch_order};
use robustify_rng::Key;
use robustify_zoo::{BatchStatistics, Model, Pass};

use crate::DistillError;
use crate::losses;
use crate::optimizer::Group;
use crate::trainer::{BatchSource, Batches, Objective, Outcome};

/// Cross-entropy on clean views, and on an augmented view of the same images beside them when there is a policy; or, with
/// [`Self::jsd_weight`], cross-entropy on clean views and consistency with two augmented ones.
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
    /// Weight of the Jensen-Shannon divergence of an image's clean view and two augmentations of the same view, of which the clean
    /// one alone has a cross-entropy (AugMix: 12; see [`losses::jensen_shannon`]). It needs a policy. Means are over images.
    pub jsd_weight: Option<f64>,
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
    ids: Vec<u64>,
    keys: Vec<Key>,
    /// What the loss is divided by: rows of the whole batch, or its images where three rows make one.
    batch_terms: usize,
}

impl ImageShard {
    /// Normalised CHW values of every row.
    pub fn pixels(&self) -> &[Vec<f32>] {
        &self.pixels
    }

    /// The same, to be changed in place.
    pub(crate) fn pixels_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.pixels
    }

    /// Labels of the rows.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Identities of the rows' images.
    pub(crate) fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// What the loss is divided by: rows of the whole batch.
    pub(crate) fn batch_terms(&self) -> usize {
        self.batch_terms
    }

    /// A key of every row, for what is drawn for it: of seed, epoch, image and number of the view.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// Rows of an image where its augmentations are to agree with it.
const TRIPLE: usize = 3;

/// One view of one image: normalised CHW values, the label, the image's identity, and a key.
type Row = (Vec<f32>, usize, u64, Key);

impl ImageTraining {
    /// Rows of an image: the clean view and its augmentations.
    fn views(&self) -> usize {
        match (&self.policy, self.jsd_weight) {
            (None, _) => 1,
            (Some(_), None) => 2,
            (Some(_), Some(_)) => TRIPLE,
        }
    }

    fn images_per_batch(&self) -> usize {
        (self.batch_size / self.views()).max(1)
    }

    /// Rows of a shard; of triples, whole ones.
    fn rows(&self) -> usize {
        let rows = self.norm_rows.unwrap_or(self.shard_rows).max(1);
        if self.jsd_weight.is_some() { (rows / TRIPLE).max(1) * TRIPLE } else { rows }
    }

    /// Prepares the views of one image: the clean one, then the augmented ones. Two of a triple are augmentations of the clean view
    /// itself; a single one has a geometry of its own.
    fn job(&self, epoch: usize) -> Job<Vec<Row>> {
        let (images, preprocess, own) = (Arc::clone(&self.images), self.preprocess.clone(), self.own.clone());
        let (view, policy, seed) = (self.clean_view.clone(), self.policy.clone(), self.seed);
        let triples = self.jsd_weight.is_some();
        Arc::new(move |index, _| {
            let misfit = |error: DataError| error.of_image(&images, index);
            let sample = images.get(index)?;
            let pixels = preprocess.pixels(&sample.image).map_err(misfit)?;
            let key = |purpose| Key::new(seed, purpose).with(epoch as u64).with(sample.id);
            let row = |view: &RgbImage| {
                let seen = own.pixels(view).map_err(misfit)?;
                let mut values = vec![0.0; 3 * (seen.width() * seen.height()) as usize];
                own.write_chw(&seen, &mut values).map_err(misfit).map(|()| values)
            };
            let clean = view.apply(&pixels, key("clean view")).map_err(misfit)?;
            let mut views = vec![row(&clean)?];
            match &policy {
                None => {}
                Some(policy) if triples => {
                    for number in 1..TRIPLE as u64 {
                        views.push(row(&policy.apply(&clean, key("augmentation").with(number)))?);
                    }
                }
                Some(policy) => {
                    let base = view.apply(&pixels, key("augmented view")).map_err(misfit)?;
                    views.push(row(&policy.apply(&base, key("augmentation")))?);
                }
            }
            let keyed = |(number, values)| (values, sample.label, sample.id, key("view").with(number as u64));
            Ok(views.into_iter().enumerate().map(keyed).collect())
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
        let batch_terms = if self.training.jsd_weight.is_some() { rows.len() / TRIPLE } else { rows.len() };
        let mut shards = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let (pixels, labels, ids, keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let mut shard = ImageShard { pixels, labels, ids, keys, batch_terms };
            for (pixels, label, id, key) in rows.by_ref().take(self.training.rows()) {
                shard.pixels.push(pixels);
                shard.labels.push(label);
                shard.ids.push(id);
                shard.keys.push(key);
            }
            shards.push(shard);
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
        if self.jsd_weight.is_some() && self.policy.is_none() {
            let fault = "jsd_weight compares an image with its augmentations and needs a policy that makes them";
            return Err(DistillError::Config(fault.into()));
        }
        let per_batch = self.images_per_batch();
        let mut order = epoch_order(self.images.len(), self.seed, epoch as u64);
        order.drain(..(first * per_batch).min(order.len()));
        let loader = Loader::new(order, per_batch, self.loader_threads, self.job(epoch))?;
        Ok(Box::new(ImageBatches { training: self, loader }))
    }

    fn loss(&self, model: &Model, shard: ImageShard) -> Result<Outcome, DistillError> {
        let statistics = BatchStatistics::default();
        let pass = if self.freeze_norm { Pass::eval() } else { Pass::eval().with_statistics(&statistics) };
        let outcome = self.loss_in(model, shard, &pass)?;
        if self.norm_rows.is_none() && !statistics.is_empty() {
            let fault =
                "a network with BatchNorm needs norm_rows, the rows that it normalises together, or freeze_norm";
            return Err(DistillError::Config(fault.into()));
        }
        Ok(Outcome { statistics, ..outcome })
    }

    fn with_statistics(&self, model: Model, statistics: Vec<BatchStatistics>) -> Model {
        if self.freeze_norm { model } else { model.with_statistics(BatchStatistics::average(statistics)) }
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        Group::by_shape(name, rank).with_body_scale(name, self.body_rate_scale)
    }
}

impl ImageTraining {
    /// The loss of a shard, in a forward whose random masks and statistics are the caller's.
    pub(crate) fn loss_in(&self, model: &Model, shard: ImageShard, pass: &Pass<'_>) -> Result<Outcome, DistillError> {
        let side = model.image_size();
        let images = batch::images(&shard.pixels, [3, side, side], &self.device)?;
        let step = if self.jsd_weight.is_some() { TRIPLE } else { 1 };
        let labels: Vec<usize> = shard.labels.iter().copied().step_by(step).collect();
        let labels = batch::labels(&labels, &self.device);
        let logits = model.forward(images.autodiff(), pass);
        let (logits, divergence) = match self.jsd_weight {
            None => (logits, None),
            Some(weight) => {
                let [clean, first, second] = triples(logits);
                let divergence = losses::jensen_shannon([clean.clone(), first, second]) * weight;
                (clean, Some(divergence))
            }
        };
        let (rows, right) = (labels.dims()[0], losses::right(&logits, &labels));
        let mut loss = losses::smoothed_cross_entropy(logits, labels, self.label_smoothing);
        if let Some(divergence) = divergence {
            loss = loss + divergence;
        }
        Ok(Outcome { loss: loss / shard.batch_terms as f64, rows, right, statistics: BatchStatistics::default() })
    }
}

/// The three views of every image, whose rows are neighbours.
///
/// # Shapes
/// - logits: `[3 * images, classes]`
/// - output: `[images, classes]` each
fn triples(logits: Tensor<2>) -> [Tensor<2>; TRIPLE] {
    let [rows, classes] = logits.dims();
    let views = logits.reshape([rows / TRIPLE, TRIPLE, classes]);
    [0, 1, 2].map(|view| views.clone().narrow(1, view, 1).reshape([rows / TRIPLE, classes]))
}
