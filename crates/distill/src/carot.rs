//! CaRot: contrastive fine-tuning with an orthogonal projection, uncorrelated towers, and a slowly moving copy of itself as teacher.
//!
//! Source: Oh et al. 2024, "Towards calibrated robust fine-tuning of vision-language models", arXiv:2311.01723; MLAI-Yonsei/CaRot,
//! `src/models/carot_loss.py` at 5d78b94.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use robustify_zoo::clip::{Clip, normalised};
use robustify_zoo::{BatchStatistics, weights};

use crate::DistillError;
use crate::captions::{CaptionBatches, CaptionShard, Embedded};
use crate::contrastive::{Duplicates, contrastive_of_unit};
use crate::optimizer::Group;
use crate::trainer::{Batches, Objective, Outcome};

/// A CLIP, and the copy of it that follows.
#[derive(Module, Debug)]
pub struct SelfDistilled {
    /// What is tuned.
    pub student: Clip,
    teacher: Clip,
    /// Steps taken, `[1]`, so that a training that goes on knows when the teacher moves.
    steps: Param<Tensor<1>>,
}

impl SelfDistilled {
    /// Student and teacher begin as `clip`.
    pub fn new(clip: &Clip, device: &Device) -> Self {
        let steps = Param::from_data(TensorData::new(vec![0.0_f32], [1]), device).set_require_grad(false);
        Self { student: clip.clone(), teacher: clip.clone().no_grad(), steps }
    }

    fn steps(&self) -> usize {
        self.steps.val().into_scalar::<f32>() as usize
    }
}

/// Contrastive training with CaRot's further terms.
pub struct CarotTraining<'a> {
    /// Images and captions.
    pub batches: CaptionBatches<'a>,
    /// What captions that mean the same are to each other.
    pub duplicates: Duplicates,
    /// Passes over the images, of which the teacher's momentum depends.
    pub epochs: usize,
    /// Weight of the distance of the image tower's projection to an orthogonal one (0.2).
    pub orthogonality: f64,
    /// Weight of the correlation of both projections (0.05).
    pub correlation: f64,
    /// Weight of the cross-entropy to the teacher (1.5).
    pub distillation: f64,
    /// Steps between two moves of the teacher (500).
    pub teacher_every: usize,
    /// The teacher's momentum at first and in the end (0.05 and 0.9).
    pub momentum: [f64; 2],
    /// Part of the steps over which the momentum rises (0.2).
    pub momentum_warmup: f64,
}

impl CarotTraining<'_> {
    /// The teacher's momentum at a step, counted from zero.
    fn momentum(&self, step: usize) -> f64 {
        let ([first, last], rise) = (self.momentum, self.momentum_warmup * (self.batches.steps() * self.epochs) as f64);
        if (step as f64) < rise { first + (last - first) * step as f64 / rise } else { last }
    }
}

/// `||W^T W - I||` and `||W_image W_text^T||`, both Frobenius norms.
///
/// # Shapes
/// - image: `[image width, embed_dim]`, the image tower's projection
/// - text: `[text width, embed_dim]`, the text tower's
/// - output: `[1]` each
pub fn penalties(image: Tensor<2>, text: Tensor<2>) -> [Tensor<1>; 2] {
    let [_, width] = image.dims();
    let one = Tensor::<2>::eye(width, &image.device().without_autodiff());
    let frobenius = |x: Tensor<2>| (x.clone() * x).sum().sqrt();
    [frobenius(image.clone().transpose().matmul(image.clone()) - one), frobenius(image.matmul(text.transpose()))]
}

/// Cross-entropy of a teacher's similarities and a student's, of images over texts and of texts over images together; a mean
/// over the pairs.
///
/// # Shapes
/// - student, teacher: logits of images over texts, `[pairs, pairs]`; no gradient flows to the teacher
/// - output: `[1]`
pub fn self_distillation(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let pairs = student.dims()[0] as f64;
    let teacher = teacher.detach();
    let one = |student: Tensor<2>, teacher: Tensor<2>| {
        -(activation::softmax(teacher, 1) * activation::log_softmax(student, 1)).sum() / pairs
    };
    one(student.clone(), teacher.clone()) + one(student.transpose(), teacher.transpose())
}

/// Features of length one, and the logits of images over texts.
fn compared(embedded: &Embedded, clip: &Clip) -> ([Tensor<2>; 2], Tensor<2>) {
    let unit = [normalised(embedded.images.clone()), normalised(embedded.texts.clone())];
    let [images, texts] = unit.clone();
    (unit, images.matmul(texts.transpose()) * clip.logit_scale.val().exp().unsqueeze::<2>())
}

impl Objective for CarotTraining<'_> {
    type Model = SelfDistilled;
    type Shard = CaptionShard;

    fn steps(&self) -> usize {
        self.batches.steps()
    }

    fn epoch<'a>(&'a self, epoch: usize, first: usize) -> Result<Batches<'a, CaptionShard>, DistillError> {
        self.batches.batches(epoch, first)
    }

    fn loss(&self, model: &SelfDistilled, shard: CaptionShard) -> Result<Outcome, DistillError> {
        let student = &model.student;
        let embedded = self.batches.embedded(student, &shard, true)?;
        let ([images, texts], logits) = compared(&embedded, student);
        let mut loss =
            contrastive_of_unit(images, texts, student.logit_scale.val(), &embedded.meanings, self.duplicates);
        if let Some([image, text]) = student.projections() {
            let [orthogonality, correlation] = penalties(image, text);
            loss = loss + orthogonality * self.orthogonality + correlation * self.correlation;
        }
        // The first step has no teacher: it would be the student itself.
        if model.steps() > 0 {
            let (_, said) = compared(&self.batches.embedded(&model.teacher, &shard, true)?, &model.teacher);
            loss = loss + self_distillation(logits, said) * self.distillation;
        }
        let (rows, right) = (embedded.meanings.len(), embedded.right());
        Ok(Outcome { loss: loss * embedded.part, rows, right, statistics: embedded.statistics })
    }

    fn with_statistics(&self, model: SelfDistilled, _: Vec<BatchStatistics>) -> SelfDistilled {
        let step = model.steps();
        let teacher = match step.is_multiple_of(self.teacher_every.max(1)) {
            true => moved(model.teacher, &model.student, self.momentum(step)),
            false => model.teacher,
        };
        SelfDistilled { teacher, steps: model.steps.map(|steps| (steps + 1.0).set_require_grad(false)), ..model }
    }

    fn group(&self, name: &str, rank: usize) -> Group {
        let group = Group::by_shape(name, rank);
        Group { decay: group.decay || name.ends_with("logit_scale"), ..group }
    }
}

/// `momentum` of the teacher, the rest of the student.
fn moved(teacher: Clip, student: &Clip, momentum: f64) -> Clip {
    let (mut state, student) = (weights::state(&teacher), weights::state(student));
    for (name, entry) in &mut state {
        for (value, &tuned) in entry.values.iter_mut().zip(&student[name].values) {
            *value = (momentum * f64::from(*value) + (1.0 - momentum) * f64::from(tuned)) as f32;
        }
    }
    weights::with_state(teacher, state).expect("both have the same shape")
}
