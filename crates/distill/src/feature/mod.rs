//! Feature Distillation: a student with other inductive biases learns the tokens that a frozen teacher ends in, and fine-tunes better than
//! its teacher does.
//!
//! The same view goes to both. The teacher's tokens are taken behind its own last norm and [whitened](Whitening); the student's pass a
//! linear map of their own ([`FeatureStudent`]), and the mean of smooth-L1 over all elements is the loss ([`loss`]). Where the two have
//! other grids or other tokens beside the patches, [`Matching`] says which are compared.
//!
//! Source: Wei et al. 2022, arXiv:2205.14141, and SwinTransformer/Feature-Distillation, `models/feature_distillation.py`.

mod drop_path;
mod kept;
mod matching;
mod objective;
mod resample;
mod student;
mod teacher;

pub use drop_path::{DropPath, drop_path_rates};
pub use kept::Kept;
pub use matching::Matching;
pub use objective::{FeatureDistillation, FeatureSchedule};
pub use student::FeatureStudent;
pub use teacher::{FeatureTeacher, Renormalisation, Target, Whitening};

use burn::tensor::Tensor;

use crate::losses;
use crate::optimizer::Group;

/// Added to the variance of a token when it is whitened.
pub const WHITENING_EPS: f64 = 1e-5;

/// The `beta` of smooth-L1 in the reference.
pub const BETA: f64 = 2.0;

/// Smooth-L1 of every element, summed.
///
/// # Shapes
/// - prediction, target: `[rows, tokens, width]`; no gradient flows to the target
/// - output: `[1]`
pub fn loss(prediction: Tensor<3>, target: Tensor<3>, beta: f64) -> Tensor<1> {
    losses::smooth_l1(prediction, target, beta).sum()
}

/// How the reference steps a parameter: as [`Group::by_shape`], but for a Vision Transformer's table of relative position biases, which
/// decays; Swin's does not.
///
/// Source: SwinTransformer/Feature-Distillation, `optimizer.py`, and `no_weight_decay` and `no_weight_decay_keywords` of its networks.
pub fn group(name: &str, rank: usize) -> Group {
    let of_swin = name.split('.').any(|part| part == "layers");
    let group = Group::by_shape(name, rank);
    Group { decay: group.decay || (name.ends_with("relative_position_bias_table") && !of_swin), ..group }
}
