//! Self-distillation without labels: a student says of one view what a teacher, the running mean of earlier students, says of another.
//!
//! Source: Caron et al. 2021, "Emerging properties in self-supervised vision transformers" (DINO), arXiv:2104.14294, and
//! facebookresearch/dino, `main_dino.py`, `vision_transformer.py`, with two global views and no local ones.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use robustify_data::batch;
use robustify_zoo::layers::{Activation, Init, Linear};
use robustify_zoo::{BatchStatistics, Model, ModelConfig, Pass, weights};

use crate::DistillError;
use crate::optimizer::{Group, parameters};
use crate::supervised::{ImageShard, ImageTraining};
use crate::trainer::{Batches, Objective, Outcome};

/// The sizes of the head, which is of no use once the network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DinoSizes {
    /// Width of its two hidden layers.
    pub hidden: usize,
    /// Width of what is normalised before the last layer.
    pub bottleneck: usize,
    /// Outputs, which stand for nothing in particular.
    pub outputs: usize,
}

/// Three linear layers, a normalisation to length one, and a last layer whose rows have length one.
#[derive(Module, Debug)]
pub struct DinoHead {
    mlp: Vec<Linear>,
    last_layer: Param<Tensor<2>>,
}

impl DinoHead {
    fn new(width: usize, sizes: DinoSizes, init: &mut Init) -> Self {
        let widths = [width, sizes.hidden, sizes.hidden, sizes.bottleneck];
        let mlp = widths.windows(2).map(|pair| Linear::new(init, pair[0], pair[1], true)).collect();
        Self { mlp, last_layer: init.truncated_normal([sizes.outputs, sizes.bottleneck], 0.02) }
    }

    /// # Shapes
    /// - features: `[rows, width]`
    /// - output: `[rows, outputs]`
    fn forward(&self, features: Tensor<2>, last_is_fixed: bool) -> Tensor<2> {
        let mut x = features;
        for (index, layer) in self.mlp.iter().enumerate() {
            x = layer.forward(if index > 0 { Activation::Gelu.forward(x) } else { x });
        }
        let last = self.last_layer.val();
        let last = if last_is_fixed { last.detach() } else { last };
        unit(x).matmul(unit(last).transpose())
    }
}

/// Rows at length one.
fn unit(x: Tensor<2>) -> Tensor<2> {
    let length = (x.clone() * x.clone()).sum_dim(1).sqrt();
    x / length.clamp_min(1e-12)
}

/// Student and teacher, and what else a training goes on from.
#[derive(Module, Debug)]
pub struct DinoPair {
    /// What is trained.
    pub student: Model,
    student_head: DinoHead,
    /// What is kept.
    pub teacher: Model,
    teacher_head: DinoHead,
    /// The running mean of what the teacher says, `[outputs]`.
    centre: Param<Tensor<1>>,
    /// Steps taken, `[1]`.
    taken: Param<Tensor<1>>,
}

impl DinoPair {
    /// A student with fresh weights, and a teacher with the same.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(network: &ModelConfig, sizes: DinoSizes, seed: u64, device: &Device) -> Result<Self, DistillError> {
        let one = || -> Result<_, DistillError> {
            let student = Model::new(network, seed, device)?;
            // A stream of its own, since that of the seed made the network.
            let mut init = Init::new(robustify_rng::Key::new(seed, "dino head").digest(), device);
            Ok((student, DinoHead::new(network.feature_width(), sizes, &mut init)))
        };
        let ((student, student_head), (teacher, teacher_head)) = (one()?, one()?);
        let mut init = Init::new(seed, device);
        let (centre, taken) = (init.constant([sizes.outputs], 0.0), init.constant([1], 0.0));
        let pair = Self { student, student_head, teacher, teacher_head, centre, taken };
        Ok(weights::tuned_only(pair, |name| name.starts_with("student")))
    }

    /// Steps taken so far.
    fn steps(&self) -> f64 {
        f64::from(self.taken.val().without_autodiff().into_scalar::<f32>())
    }
}

/// Cross-entropy of the student's answer about one view and the teacher's about the other.
pub struct Dino {
    /// The images with a clean and an augmented view of each, the two global views; their labels are not used.
    pub images: ImageTraining,
    /// Temperature of the student.
    pub student_temperature: f64,
    /// Temperature of the teacher, lower: its answers are sharpened.
    pub teacher_temperature: f64,
    /// Part of the teacher that a step leaves as it was, in the beginning; it rises to 1 along a cosine.
    pub momentum: f64,
    /// Part of the centre that a step leaves as it was.
    pub centre_momentum: f64,
    /// Passes in which the student's last layer stays as it is.
    pub fixed_epochs: usize,
    /// Passes in all.
    pub epochs: usize,
}

impl Dino {
    fn teacher_momentum(&self, taken: f64) -> f64 {
        let total = (self.images.steps() * self.epochs).max(1) as f64;
        let fallen = 0.5 * (1.0 + (std::f64::consts::PI * (taken / total).min(1.0)).cos());
        1.0 - (1.0 - self.momentum) * fallen
    }
}

/// The same rows with those of each image's two views exchanged: neighbours.
fn exchanged(x: Tensor<2>) -> Tensor<2> {
    let [rows, width] = x.dims();
    let pairs = x.reshape([rows / 2, 2, width]);
    let [first, second] = [0, 1].map(|view| pairs.clone().narrow(1, view, 1));
    Tensor::cat(vec![second, first], 1).reshape([rows, width])
}

impl Objective for Dino {
    type Model = DinoPair;
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

    fn loss(&self, model: &DinoPair, shard: ImageShard) -> Result<Outcome, DistillError> {
        let side = model.student.image_size();
        let images = batch::images(shard.pixels(), [3, side, side], &self.images.device)?;
        let rows = images.dims()[0];
        if !rows.is_multiple_of(2) {
            return Err(DistillError::Config(format!("{rows} rows of a shard are no pairs of views")));
        }
        let pass = Pass::eval();
        let is_fixed = model.steps() < (self.fixed_epochs * self.images.steps()) as f64;
        let student = model.student_head.forward(model.student.forward(images.clone().autodiff(), &pass), is_fixed);
        let teacher = model.teacher_head.forward(model.teacher.forward(images.autodiff(), &pass), true).detach();
        let centred = (teacher.clone() - model.centre.val().detach().unsqueeze::<2>()) / self.teacher_temperature;
        let wanted = exchanged(activation::softmax(centred, 1));
        let said = activation::log_softmax(student / self.student_temperature, 1);
        let loss = -(wanted * said).sum() / shard.batch_terms() as f64;
        let statistics = BatchStatistics::default();
        let mean = teacher.mean_dim(0).reshape([-1]).without_autodiff();
        statistics.push(mean.clone(), mean);
        Ok(Outcome { loss, rows, right: 0, statistics })
    }

    fn with_statistics(&self, model: DinoPair, statistics: Vec<BatchStatistics>) -> DinoPair {
        let momentum = self.teacher_momentum(model.steps());
        let student = parameters(&model);
        let said = BatchStatistics::average(statistics).into_layers().pop().map(|(mean, _)| mean);
        weights::changed(model, |name, old| match name {
            "centre" => Some(old * self.centre_momentum + said.clone()? * (1.0 - self.centre_momentum)),
            "taken" => Some(old + 1.0),
            _ => {
                let of_student = name.strip_prefix("teacher").map(|rest| format!("student{rest}"))?;
                Some(old * momentum + student.get(&of_student)?.clone() * (1.0 - momentum))
            }
        })
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        Group::by_shape(name, rank)
    }
}
