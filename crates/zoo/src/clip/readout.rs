//! Zero-shot classes: texts that features are compared with. Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.4.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::normalised;
use crate::ZooError;
use crate::layers::Init;
use crate::weights::Entry;

/// What stands behind the projection of an image tower in place of a classifier: a row for every class, with which features are
/// compared. Neither the rows nor the scale take a gradient, so whatever is tuned before them ends in the space of images and texts,
/// and other classes are other rows.
#[derive(Module, Debug)]
pub struct Readout {
    /// `[classes, embed_dim]`, rows of length one.
    weight: Param<Tensor<2>>,
    /// Logarithm of the factor of the cosine, `[1]`.
    logit_scale: Param<Tensor<1>>,
}

impl Readout {
    pub(crate) fn new(classes: usize, embed_dim: usize, init: &mut Init) -> Self {
        Self {
            weight: init.constant([classes, embed_dim], 0.0).set_require_grad(false),
            logit_scale: init.constant([1], 0.0).set_require_grad(false),
        }
    }

    /// The readout of a text matrix and the logarithm of a factor.
    ///
    /// # Errors
    /// A matrix without rows.
    pub(crate) fn of(texts: &TextMatrix, device: &Device) -> Result<Self, ZooError> {
        let [classes, embed_dim] = texts.dims()?;
        let weight = TensorData::new(texts.rows.values.clone(), [classes, embed_dim]);
        let scale = TensorData::new(vec![texts.logit_scale], [1]);
        Ok(Self {
            weight: Param::from_data(weight, device).set_require_grad(false),
            logit_scale: Param::from_data(scale, device).set_require_grad(false),
        })
    }

    /// The cosines of features and classes times the factor.
    ///
    /// # Shapes
    /// - features: `[rows, embed_dim]`
    /// - output: `[rows, classes]`
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        zero_shot_logits(features, self.weight.val(), self.logit_scale.val())
    }

    /// Other texts of the same width in place of these.
    ///
    /// # Errors
    /// Texts of another width.
    pub(crate) fn with_texts(&self, texts: &TextMatrix, device: &Device) -> Result<Self, ZooError> {
        let ([_, own], [_, width]) = (self.weight.dims(), texts.dims()?);
        if own != width {
            return Err(ZooError::Config(format!("texts of {width} numbers, and these have {own}")));
        }
        Self::of(texts, device)
    }

    /// The rows and the scale, as they came in.
    pub fn texts(&self) -> TextMatrix {
        let [classes, embed_dim] = self.weight.dims();
        let values = self.weight.val().into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        let logit_scale = self.logit_scale.val().into_scalar::<f32>();
        TextMatrix { rows: Entry { shape: vec![classes, embed_dim], values }, logit_scale }
    }
}

/// A label set as an image tower reads it: on the host, to be put behind any tower of the same width.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMatrix {
    /// `[classes, embed_dim]`, rows of length one.
    pub rows: Entry,
    /// Logarithm of the factor of the cosine.
    pub logit_scale: f32,
}

impl TextMatrix {
    /// The matrix of embeddings of filled templates, see [`text_matrix`].
    ///
    /// # Shapes
    /// - embeddings: `[classes, templates, embed_dim]`
    pub fn new(embeddings: Tensor<3>, logit_scale: f32) -> Self {
        Self::of_rows(text_matrix(embeddings), logit_scale)
    }

    /// The matrix of rows that are there.
    ///
    /// # Shapes
    /// - rows: `[classes, embed_dim]`
    pub fn of_rows(rows: Tensor<2>, logit_scale: f32) -> Self {
        let shape = rows.dims().to_vec();
        let values = rows.into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        Self { rows: Entry { shape, values }, logit_scale }
    }

    fn dims(&self) -> Result<[usize; 2], ZooError> {
        match *self.rows.shape {
            [classes, embed_dim] if classes > 0 && embed_dim > 0 => Ok([classes, embed_dim]),
            ref shape => {
                Err(ZooError::Config(format!("a text matrix of shape {shape:?}; it has a row for each class")))
            }
        }
    }
}

/// The text matrix of an ensemble of templates: every embedding divided by its length, their mean over the templates, and that
/// divided by its length. Source: mlfoundations/wise-ft `src/models/zeroshot.py`, as in the notebook of openai/CLIP.
///
/// # Shapes
/// - embeddings: `[classes, templates, embed_dim]`
/// - output: `[classes, embed_dim]`
pub fn text_matrix(embeddings: Tensor<3>) -> Tensor<2> {
    let [classes, templates, width] = embeddings.dims();
    let unit = normalised(embeddings.reshape([classes * templates, width]));
    normalised(unit.reshape([classes, templates, width]).mean_dim(1).reshape([classes, width]))
}

/// Logits of images over the rows of a text matrix: `exp(logit_scale)` times the cosines.
///
/// # Shapes
/// - features: `[rows, embed_dim]`, of any length
/// - texts: `[classes, embed_dim]`, of length one
/// - logit_scale: `[1]`
/// - output: `[rows, classes]`
pub fn zero_shot_logits(features: Tensor<2>, texts: Tensor<2>, logit_scale: Tensor<1>) -> Tensor<2> {
    normalised(features).matmul(texts.transpose()) * logit_scale.exp().unsqueeze::<2>()
}
