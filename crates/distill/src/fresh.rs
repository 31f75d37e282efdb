//! Pairs whose views are made anew in every epoch, for data whose features do not fit on a disk.
//!
//! Nothing is stored: the backbone computes every view in every epoch, without gradients, and the teachers say what they think of
//! it along the way. An epoch has as many pairs as with cached views.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_data::{Images, Job, Loader, Preprocess, batch, epoch_order};
use robustify_zoo::{CutPoint, Features, Model, Pass};

use crate::DistillError;
use crate::cache::{Precision, Teacher};
use crate::pairs::{PairShard, Pairs, Said, Shown, View, Wanted, clean_partner};
use crate::trainer::{BatchSource, Batches};
use crate::tuning::TuningConfig;
use crate::views::{ViewSpec, remedy};

/// Fresh views in batches of pairs.
pub struct FreshPairs<'a> {
    /// The images.
    pub images: &'a Images,
    /// What views are like: an epoch has `augmented` augmented ones of every image, all of them new, each beside a clean one that is
    /// the image itself once in `clean` times.
    pub spec: &'a ViewSpec,
    /// The untouched large model.
    pub original: &'a Model,
    /// The end of its frozen backbone.
    pub cut: CutPoint,
    /// The robust teacher with what it does with the large model's pixels, for objectives that listen to it.
    pub teacher: Option<(&'a Model, &'a Preprocess)>,
    /// The settings.
    pub config: &'a TuningConfig,
    /// Pairs of a shard.
    pub shard_pairs: usize,
    /// Threads that prepare views.
    pub loader_threads: usize,
    /// Where tensors go.
    pub device: &'a Device,
}

/// The views of one pair: normalised CHW values, the clean one first.
pub(crate) struct FreshRow {
    position: usize,
    /// As the large model sees them.
    large: [Vec<f32>; 2],
    /// As the teacher sees those that it is asked about; otherwise empty.
    small: [Vec<f32>; 2],
}

/// The kinds of views, in the order of rows.
const VIEWS: [View; 2] = [View::Clean, View::Augmented];

impl FreshPairs<'_> {
    /// Positions of an epoch: every image `augmented` times.
    fn total(&self) -> usize {
        self.images.len() * self.spec.augmented
    }

    /// Prepares the pair at a position of the epoch.
    fn job(&self, epoch: usize, wanted: &Wanted) -> Job<FreshRow> {
        let (images, spec, seed) = (Arc::clone(self.images), self.spec.clone(), self.config.seed);
        let asked = VIEWS.map(|view| wanted.contains(&(Teacher::Robust, view)));
        let own = self.teacher.map(|(_, own)| own.clone());
        Arc::new(move |position, _| {
            let index = position / spec.augmented;
            let numbers = [clean_partner(seed, epoch, position, spec.clean), spec.clean + position % spec.augmented];
            let views = spec.fresh(&images, index, numbers, epoch)?;
            let row = |preprocess: &Preprocess, view: &RgbImage| {
                let mut values = vec![0.0; 3 * (view.width() * view.height()) as usize];
                preprocess.write_chw(view, &mut values).map(|()| values)
            };
            let small = |place: usize| match &own {
                Some(own) if asked[place] => own
                    .pixels(&views[place])
                    .and_then(|seen| row(own, &seen))
                    .map_err(|error| error.of_image(&images, index)),
                _ => Ok(Vec::new()),
            };
            let large =
                |place: usize| row(&spec.preprocess, &views[place]).map_err(|error| error.of_image(&images, index));
            Ok(FreshRow { position, large: [large(0)?, large(1)?], small: [small(0)?, small(1)?] })
        })
    }

    /// The input of a network from rows of pixels.
    fn input(&self, pixels: &[&[f32]], model: &Model) -> Result<Tensor<4>, DistillError> {
        let side = model.image_size();
        Ok(batch::images(pixels, [3, side, side], self.device)?)
    }

    /// The large model's input: all clean rows, then all augmented ones.
    pub(crate) fn large(&self, shard: &PairShard) -> Result<Tensor<4>, DistillError> {
        let pixels: Vec<&[f32]> =
            [0, 1].iter().flat_map(|&place| shard.fresh.iter().map(move |row| &row.large[place][..])).collect();
        self.input(&pixels, self.original)
    }

    /// The untouched backbone's features of the large model's input, as constants.
    pub(crate) fn features(&self, input: Tensor<4>) -> Features {
        self.original.features(input, self.cut).constant()
    }

    /// What the teachers say; `original` gives the untouched backbone's features of one kind of views.
    pub(crate) fn said(
        &self,
        shard: &PairShard,
        wanted: &Wanted,
        original: impl Fn(View) -> Result<Features, DistillError>,
    ) -> Result<Said, DistillError> {
        let mut said = Said::default();
        for &(teacher, view) in wanted {
            let logits = match (teacher, self.teacher) {
                (Teacher::Original, _) => {
                    let tail = self.original.segment(self.cut, self.original.last_cut());
                    tail.forward(original(view)?, &Pass::eval()).logits()
                }
                (Teacher::Robust, Some((model, _))) => {
                    let place = if view == View::Clean { 0 } else { 1 };
                    let pixels: Vec<&[f32]> = shard.fresh.iter().map(|row| &row.small[place][..]).collect();
                    model.forward(self.input(&pixels, model)?, &Pass::eval())
                }
                (Teacher::Robust, None) => return Err(DistillError::NoTeacher(teacher)),
            };
            let logits = logits.without_autodiff();
            self.expect_numbers(teacher, "logit", shard, &logits)?;
            said.insert((teacher, view), logits);
        }
        Ok(said)
    }

    /// An error unless everything is a number: behind a rectifier, what is none may look like one.
    ///
    /// # Shapes
    /// - values: `[pairs, ..]` or `[2 * pairs, ..]`, flattened
    pub(crate) fn expect_numbers(
        &self,
        of: Teacher,
        what: &'static str,
        shard: &PairShard,
        values: &Tensor<2>,
    ) -> Result<(), DistillError> {
        if values.clone().sum().into_scalar::<f32>().is_finite() {
            return Ok(());
        }
        let [rows, _] = values.dims();
        let values = values.clone().into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
        let Some((at, value)) = Precision::F32.misfit(&values) else { return Ok(()) };
        let row = at * rows / values.len();
        let position = shard.fresh[row % shard.pairs()].position;
        let (origin, view) = (self.images.origin(position / self.spec.augmented), position % self.spec.augmented);
        Err(DistillError::Value { of, what, origin, view, value, remedy: remedy(value) })
    }
}

impl Pairs for FreshPairs<'_> {
    fn config(&self) -> &TuningConfig {
        self.config
    }

    fn device(&self) -> &Device {
        self.device
    }

    fn steps(&self) -> usize {
        self.total().div_ceil(self.config.pairs)
    }

    fn batches(&self, epoch: usize, first: usize, wanted: &Wanted) -> Result<Batches<'_, PairShard>, DistillError> {
        let mut order = epoch_order(self.total(), self.config.seed, epoch as u64);
        order.drain(..(first * self.config.pairs).min(order.len()));
        let loader = Loader::new(order, self.config.pairs, self.loader_threads, self.job(epoch, wanted))?;
        Ok(Box::new(FreshBatches { pairs: self, epoch, loader }))
    }

    fn shown(&self, shard: &PairShard, wanted: &Wanted) -> Result<Shown, DistillError> {
        let features = self.features(self.large(shard)?);
        self.expect_numbers(Teacher::Original, "feature", shard, &features.clone().flatten())?;
        let of = |view| Ok(features.clone().select(shard.range(view, self.device)));
        Ok(Shown { said: self.said(shard, wanted, of)?, features: features.clone() })
    }
}

struct FreshBatches<'a> {
    pairs: &'a FreshPairs<'a>,
    epoch: usize,
    loader: Loader<FreshRow>,
}

impl FreshBatches<'_> {
    /// Rows are numbered as in a cache that had this epoch's views.
    fn shard(&self, fresh: Vec<FreshRow>, batch_pairs: usize) -> PairShard {
        let (spec, images) = (self.pairs.spec, self.pairs.images);
        let first = |position: usize| position / spec.augmented * spec.count();
        let positions = || fresh.iter().map(|row| row.position);
        PairShard {
            epoch: self.epoch,
            clean: positions().map(first).collect(),
            augmented: positions().map(|at| first(at) + spec.clean + at % spec.augmented).collect(),
            labels: positions().map(|at| images.labels()[at / spec.augmented]).collect(),
            batch_pairs,
            fresh,
        }
    }
}

impl BatchSource<PairShard> for FreshBatches<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<PairShard>>, DistillError> {
        let Some(rows) = self.loader.next() else { return Ok(None) };
        let rows = rows?;
        let (count, mut rows, mut shards) = (rows.len(), rows.into_iter().peekable(), Vec::new());
        while rows.peek().is_some() {
            let shard = rows.by_ref().take(self.pairs.shard_pairs.max(1)).collect();
            shards.push(self.shard(shard, count));
        }
        Ok(Some(shards))
    }

    fn waited(&self) -> Duration {
        self.loader.waited()
    }
}
