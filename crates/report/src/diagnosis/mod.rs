//! The record of a diagnosis: how the attention of models is shaped, and how flat the loss is around their weights.
//!
//! A [`Diagnosis`] is what `diagnosis.json` holds, and all that its page, figures and tables are drawn from. It holds no time, and no
//! path but those that its user typed, so that the same diagnosis is the same bytes, however often it was interrupted.

mod figures;
mod page;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use page::{FIGURES, RECORD, render, write};
pub use tables::tables;

use crate::{ReportError, write_atomic};

/// The version of the format.
pub const DIAGNOSIS_SCHEMA: u32 = 1;

/// Several models, looked at side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`DIAGNOSIS_SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// A title for people.
    pub title: String,
    /// Program and version, as in `robustify 0.1.0`.
    pub program: String,
    /// The command that makes it again.
    pub command: String,
    /// Settings that numbers depend on, by name.
    pub settings: BTreeMap<String, String>,
    /// The models, in the order in which they were named.
    pub models: Vec<Diagnosed>,
}

/// A model, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnosed {
    /// Its name in figures and tables.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
    /// The file or name that it was opened from, as typed.
    pub source: String,
    /// Hash of its weights, network and preprocessing.
    pub identity: String,
    /// What was left out and why, and what else a reader has to know.
    pub notes: Vec<String>,
    /// Its attention; none of a model without.
    pub attention: Option<AttentionRecord>,
    /// The loss around its weights; none if it was not asked for, or could not be had.
    pub landscape: Option<LandscapeRecord>,
}

/// Attention, averaged over images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttentionRecord {
    /// How many images.
    pub images: usize,
    /// Side of the model's input in pixels, which distances are divided by to be compared between models.
    pub image_size: usize,
    /// The layers in the order of a forward.
    pub layers: Vec<LayerRecord>,
}

/// A number in two conventions: of the weights of patches as they are (what class and register tokens get is missing then), and of
/// rows that were divided by their sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Both<T> {
    /// Of rows that sum to one over the patches.
    pub renormalised: T,
    /// Of the weights as they are.
    pub plain: T,
}

/// A layer of attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// timm's name of the module.
    pub name: String,
    /// Rows and columns of patches that see each other: those of the image, or of a window.
    pub window: [usize; 2],
    /// For every head the mean distance in pixels between a query and where it looks.
    pub distance: Both<Vec<f64>>,
    /// The distance of attention that looks everywhere evenly, in pixels.
    pub uniform: f64,
    /// Cosine of the rows of two heads for the same query, averaged over queries.
    pub similarity: SimilarityRecord,
    /// The shape of the layer's average map.
    pub map: Both<MapRecord>,
    /// The average map, a PNG as a `data:` URI: a row for every query, a column for every key, rows divided by their sum.
    pub picture: String,
}

/// How alike the heads of a layer are, without and with the tokens that are no patches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SimilarityRecord {
    /// For every head the mean cosine with the others, over patches alone. Empty of a layer with one head, as are the others.
    pub heads: Vec<f64>,
    /// The mean over unordered pairs of heads, over patches alone.
    pub mean: Option<f64>,
    /// The same over all tokens.
    pub mean_of_all_tokens: Option<f64>,
    /// The cosine of whole maps in place of rows, over all tokens.
    pub mean_of_whole_maps: Option<f64>,
}

/// The shape of an average map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MapRecord {
    /// Mean weight of a patch's own place and its four neighbours; one of attention that stays where it is.
    pub diagonality: f64,
    /// Standard deviation over keys of the mean weight that they get, in units of the uniform weight; zero where no key is preferred.
    pub columnness: f64,
    /// The share of the map's variance that depends on the offset of query and key alone. None of a uniform map, which has none.
    pub translation: Option<f64>,
}

/// Loss and accuracy around the weights of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LandscapeRecord {
    /// How many images.
    pub images: usize,
    /// Places along each direction, in units of the filters' lengths, ascending; zero is the model itself.
    pub places: Vec<f64>,
    /// Whether there are two directions.
    pub plane: bool,
    /// Loss and accuracy at every place: row by row along the second direction where there is one.
    pub points: Vec<PointRecord>,
    /// Mean loss at distances from the model. None where it is not finite.
    pub rings: Vec<(f64, Option<f64>)>,
    /// The largest distance up to which the mean loss is no more than twice that of the model.
    pub doubles_at: f64,
    /// Whether it does not double as far as was looked.
    pub beyond: bool,
    /// The Hessian's eigenvalue of the largest magnitude, if it was asked for.
    pub curvature: Option<CurvatureRecord>,
}

/// What a model at some distance says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PointRecord {
    /// Mean cross-entropy in nats; none if it is no finite number.
    pub loss: Option<f64>,
    /// Share of the images that are answered rightly.
    pub accuracy: f64,
}

/// How strongly the loss bends along the direction in which it bends most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvatureRecord {
    /// The eigenvalue.
    pub value: f64,
    /// Steps of the power iteration.
    pub steps: usize,
    /// Whether the last step changed it by less than a hundredth.
    pub settled: bool,
    /// How many images.
    pub images: usize,
}

impl Diagnosis {
    /// Writes the record, so that equal records are equal bytes.
    ///
    /// # Errors
    /// A number that is not finite, or a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let fault = |error: serde_json::Error| ReportError::writing(path, 0, error.into());
        let mut text = serde_json::to_string_pretty(self).map_err(fault)?;
        text.push('\n');
        write_atomic(path, text.as_bytes())
    }
}
