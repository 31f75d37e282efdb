//! What a benchmark, a prediction, a service or an export asks: a [`Predictor`].
//!
//! A [`RobustModel`] is everything that answers for an image, in one file: the tensors of the backbone, of the shared part
//! and of the heads under timm's names, and beside them network, cut, preprocessing, classes, Monte Carlo settings and rule.
//! [`RobustModel::predictor`] makes a [`Predictor`] of it. Predictors are asked about [`Rows`]; those with equal trunks (the
//! frozen backbone that several methods tune on) share one computation of it.
//!
//! ```
//! use robustify_predict::{Answers, Attached, Made, RobustModel, Rows};
//! use robustify_zoo::Model;
//!
//! let network = serde_json::from_str(
//!     r#"{"architecture": "vit", "image_size": 16, "patch_size": 8, "width": 8, "depth": 1, "heads": 2, "classes": 2}"#,
//! )?;
//! let device = robustify_device::open(Some("flex"))?;
//! let model = RobustModel {
//!     method: "original".into(),
//!     model: Model::new(&network, 1, &device)?,
//!     network,
//!     preprocess: "resize(16,16)|normalize(half)".parse()?,
//!     seen: "normalize(half)".parse()?,
//!     classes: vec!["cat".into(), "dog".into()],
//!     cut: None,
//!     made: Made::Classifier,
//!     attached: Attached::default(),
//!     trained_on: None,
//!     label_set: None,
//! };
//! let pixels = vec![image::RgbImage::new(16, 16); 3];
//! let rows = Rows::new(vec![1, 2, 3], &device, || Ok(pixels.clone()));
//! let answered = model.predictor()?.answer(&rows)?;
//! assert_eq!(answered.answers.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod adapting;
mod answers;
mod attached;
pub mod classes;
mod classifier;
mod error;
mod export;
mod file;
mod model;
#[cfg(feature = "onnx")]
pub mod onnx;
mod pair;
mod preparation;
mod rows;
pub mod texts;
mod three_heads;

use std::sync::Arc;

pub use adapting::{Adaptation, AdaptationStep, SharpnessAware};
pub use answers::{Answered, Answers, HeadAnswer};
pub use attached::{Attached, Column, Columns};
pub use error::PredictError;
pub use model::{LabelSet, Made, Prompts, RobustModel, TrainedOn};
#[cfg(feature = "onnx")]
pub use onnx::{OnnxClassifier, OnnxOptions};
pub use pair::{Pair, PairSettings, Together};
pub use preparation::preprocess_line;
pub use rows::Rows;

/// What can be asked about images.
pub trait Predictor: Send + Sync {
    /// Hash of everything that determines its answers: weights, preprocessing, and how heads are sampled. The rule that
    /// chooses between heads is no part of it, since rules work on stored answers.
    fn identity(&self) -> &str;

    /// Names of the classes, in the order of its logits.
    fn classes(&self) -> &[String];

    /// Hash of the trunk, the part that it may share with other predictors; none if it has no such part.
    fn trunk(&self) -> Option<&str>;

    /// Whether its answer about an image depends on those beside it: it is then asked about all images of a cell in one go, on one
    /// thread, and begins anew with every call.
    fn adapts(&self) -> bool {
        false
    }

    /// Predictors whose answers about all images of a cell it has to know before it answers for any of them; none of most. The answer
    /// for an image then depends on the others of its cell.
    fn reads(&self) -> &[Box<dyn Predictor>] {
        &[]
    }

    /// This predictor for one cell, once [`Self::reads`] were asked about all its images; none for one that reads nobody.
    ///
    /// # Arguments
    /// - ids: of all images of the cell, as [`Rows`] have them
    /// - told: the answers of each of those predictors, in the order of the images
    ///
    /// # Errors
    /// Answers that do not go together.
    fn for_cell(&self, _ids: &[u64], _told: &[Answers]) -> Result<Option<Box<dyn Predictor>>, PredictError> {
        Ok(None)
    }

    /// What it says about some images.
    ///
    /// # Errors
    /// Pixels that cannot be had, or that do not fit the network.
    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError>;
}

/// A predictor that several share.
impl<P: Predictor + ?Sized> Predictor for Arc<P> {
    fn identity(&self) -> &str {
        (**self).identity()
    }

    fn classes(&self) -> &[String] {
        (**self).classes()
    }

    fn trunk(&self) -> Option<&str> {
        (**self).trunk()
    }

    fn adapts(&self) -> bool {
        (**self).adapts()
    }

    fn reads(&self) -> &[Box<dyn Predictor>] {
        (**self).reads()
    }

    fn for_cell(&self, ids: &[u64], told: &[Answers]) -> Result<Option<Box<dyn Predictor>>, PredictError> {
        (**self).for_cell(ids, told)
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        (**self).answer(rows)
    }
}
