//! What a frozen network teaches.

use burn::tensor::Tensor;
use robustify_data::Normalize;
use robustify_zoo::{LastTokens, Model, Pass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resample::resampled;
use super::{Matching, WHITENING_EPS};

/// What is learned of a teacher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All its last tokens, behind its own last norm.
    #[default]
    Tokens,
    /// The mean of its last patches.
    Pooled,
    /// What its last layer says of the image: logits, or a projection.
    Logits,
}

/// What is done to every target vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whitening {
    /// A mean of zero and a variance of one, but for 1e-5 (LayerNorm without weight and bias).
    #[default]
    Norm,
    /// A length of one.
    Length,
    /// Nothing.
    None,
}

impl Whitening {
    /// # Shapes
    /// - x: `[rows, tokens, width]`
    /// - output: that of `x`
    pub fn apply(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Norm => robustify_kernels::normalise(x, WHITENING_EPS),
            Self::Length => {
                let squares = (x.clone() * x.clone()).sum_dim(2);
                x / squares.sqrt().clamp_min(1e-12)
            }
            Self::None => x,
        }
    }
}

/// From one normalisation of pixels to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renormalisation {
    scale: [f32; 3],
    shift: [f32; 3],
}

impl Renormalisation {
    /// `None` if both are the same.
    pub fn between(from: Normalize, to: Normalize) -> Option<Self> {
        let each = |of: &dyn Fn(usize) -> f32| [0, 1, 2].map(of);
        let scale = each(&|channel| from.std[channel] / to.std[channel]);
        let shift = each(&|channel| (from.mean[channel] - to.mean[channel]) / to.std[channel]);
        (from != to).then_some(Self { scale, shift })
    }

    /// # Shapes
    /// - images: `[rows, 3, height, width]`
    /// - output: that of `images`
    pub fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        let device = images.device();
        let channels = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        images * channels(self.scale) + channels(self.shift)
    }
}

/// A frozen network with its own view of an image.
pub struct FeatureTeacher {
    /// The network.
    pub model: Model,
    /// From the student's normalisation to the teacher's; `None` where they agree.
    pub renormalisation: Option<Renormalisation>,
    /// What is learned of it.
    pub target: Target,
    /// What is done to it.
    pub whitening: Whitening,
}

impl FeatureTeacher {
    /// The images as the teacher is given them: in its own size and normalisation.
    fn seen(&self, images: Tensor<4>) -> Tensor<4> {
        let side = self.model.image_size();
        let [rows, channels, height, width] = images.dims();
        let images = if [height, width] == [side; 2] {
            images
        } else {
            let planes = resampled(images.reshape([rows * channels, height, width, 1]), [side; 2]);
            planes.reshape([rows, channels, side, side])
        };
        match &self.renormalisation {
            Some(renormalisation) => renormalisation.apply(images),
            None => images,
        }
    }

    /// Its last tokens, as they are.
    ///
    /// # Shapes
    /// - images: `[rows, 3, height, width]`, normalised for the student
    pub fn tokens(&self, images: Tensor<4>) -> LastTokens {
        self.model.last_tokens(self.seen(images), &Pass::eval())
    }

    /// The vectors that a student's are compared with, given what the student ends in.
    ///
    /// # Shapes
    /// - images: as those of [`Self::tokens`], on a plain device
    /// - output: `[rows, compared, width]`, and which of the student's tokens they are for
    pub fn targets(&self, images: Tensor<4>, student: &LastTokens) -> (Tensor<3>, Matching) {
        let (said, matching) = match self.target {
            Target::Logits => {
                let logits = self.model.forward(self.seen(images), &Pass::eval());
                (logits.unsqueeze_dim(1), Matching::new(self.target, student, student))
            }
            Target::Tokens | Target::Pooled => {
                let tokens = self.tokens(images);
                let matching = Matching::new(self.target, student, &tokens);
                (matching.of_teacher(&tokens), matching)
            }
        };
        (self.whitening.apply(said), matching)
    }

    /// Width of a target vector.
    pub fn width(&self) -> usize {
        let config = self.model.config();
        if self.target == Target::Logits { config.outputs() } else { config.token_width() }
    }
}
