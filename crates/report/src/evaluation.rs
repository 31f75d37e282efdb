//! The record of an evaluation: which models were asked about which suites, and what came out, cell by cell.
//!
//! An [`Evaluation`] is what `evaluation.json` holds, and all that a page, a comparison or a table of models is drawn from. It
//! holds no time and no path of a machine but those that its user typed, so that the same evaluation is the same bytes, in how many
//! shards it was made; times are [`Times`], a file of their own.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{ReportError, write_atomic};

/// The version of the format. A reader refuses a newer one.
pub const EVALUATION_SCHEMA: u32 = 1;

/// An evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// [`EVALUATION_SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// A title for people.
    pub title: String,
    /// Program and version, as in `robustify 0.1.0`.
    pub program: String,
    /// The command that makes it again.
    pub command: String,
    /// Settings that numbers depend on, by name: seed, constants of the corruptions, backend, rule.
    pub settings: BTreeMap<String, String>,
    /// The models, in the order of the tables; the first is the one that others are compared with, unless somebody says otherwise.
    pub models: Vec<ModelRecord>,
    /// The suites.
    pub suites: Vec<SuiteRecord>,
    /// Differences between models.
    pub comparisons: Vec<ComparisonRecord>,
}

/// A model that was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its name in records.
    pub name: String,
    /// What it is, in a few words: `ViT, 22.1 M parameters`.
    pub about: String,
    /// `onnx`, `zoo`, `robust` or `zero-shot`.
    pub kind: String,
    /// Hash of everything that determines its answers.
    pub identity: String,
    /// The file or name that it was opened from, as typed.
    pub source: String,
    /// SHA-256 of the file, if it is one.
    pub sha256: Option<String>,
    /// What is done to a picture before the network.
    pub preprocess: String,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Multiply-accumulates for an image in one pass.
    pub macs: Option<u64>,
    /// Multiply-accumulates for an image with Monte Carlo passes, of a model that makes them.
    pub macs_passes: Option<u64>,
    /// The route that stands for the model where one number is wanted; `single` of a model with one head.
    pub main_route: String,
}

/// A suite, and what was said in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuiteRecord {
    /// Its name in records.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// `generated` of pixels that were made in memory, `on disk` of published files. The two are never in one mean.
    pub origin: String,
    /// Hash of what determines its pixels.
    pub identity: String,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// What a reader has to know: which logits were masked, what an accuracy is of, where textures come from.
    pub notes: Vec<String>,
    /// Its cells, the clean one first where there is one.
    pub cells: Vec<CellRecord>,
    /// Metrics over several cells, as mean accuracy over corruptions and mCE, for each model and route.
    pub totals: Vec<ResultRecord>,
    /// Parts of the images on which a model is better or worse than on the rest.
    pub slices: Vec<SliceRecord>,
    /// Example images for each shift.
    pub examples: Vec<ExampleRecord>,
}

/// A cell of a suite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// `clean`, or as in `fog-3`.
    pub name: String,
    /// The corruption or other shift; none of clean images.
    pub shift: Option<String>,
    /// The group that the corruption belongs to, as in `weather`.
    pub group: Option<String>,
    /// The severity, 1 to 5, of a corruption.
    pub severity: Option<u8>,
    /// How many images answers were given about.
    pub images: u64,
    /// What came out, for each model and route that was measured; one that is missing leaves a gap.
    pub results: Vec<ResultRecord>,
}

/// What a model and route reached, in a cell or over several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// The model by its name.
    pub model: String,
    /// The way to its answer: `single`, or a rule or mixture of heads.
    pub route: String,
    /// Scalar metrics by name: `accuracy`, `top5`, `ece`, `ace`, `nll`, `brier`, `aurc`, `worst_class`, `f1`, `f_correct`, `mce`, ….
    /// Accuracies and errors are fractions; mCE is 100 for AlexNet.
    pub metrics: BTreeMap<String, f64>,
    /// Intervals of 95 % of metrics by name, where there are any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Confidence against accuracy in bins of equal width; empty for all but main routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<BinRecord>,
    /// Risk (error) among the surest share of the images: pairs of coverage and risk, in ascending coverage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risk_coverage: Vec<[f64; 2]>,
    /// For every class: how many of its images were right, and how many there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_class: Vec<[u64; 2]>,
    /// The most frequent confusions: the label, the answer, and of how many images; the most frequent first. Empty for all but main
    /// routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confused: Vec<[u64; 3]>,
    /// Of a route that chooses: the share of images sent to each head, by the head's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<String, f64>,
    /// Images that are right in the clean cell and wrong in this one, the surest wrong answers first; a few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flipped: Vec<FlipRecord>,
}

/// A bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BinRecord {
    /// Mean confidence of its images.
    pub confidence: f64,
    /// Share of them that is right.
    pub accuracy: f64,
    /// How many.
    pub count: u64,
}

/// An image that a shift flipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlipRecord {
    /// What the image is called: its file below the data's folder, or its number.
    pub image: String,
    /// Index of its class.
    pub label: usize,
    /// Index of the class that the model says now.
    pub said: usize,
    /// How sure the model is of that, 0 to 1.
    pub confidence: f64,
    /// The shifted picture as a `data:` URL, if it was drawn.
    pub picture: Option<String>,
}

/// A part of a suite's images, and how a model does on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceRecord {
    /// The model by its name.
    pub model: String,
    /// What the images have in common, as in `dark pictures (mean brightness below 0.21)`.
    pub about: String,
    /// How many images.
    pub images: u64,
    /// Accuracy on them, over all cells.
    pub accuracy: f64,
    /// Accuracy on all others.
    pub rest: f64,
    /// Interval of 95 % of the difference to the rest.
    pub interval: [f64; 2],
}

/// An image as a shift shows it, and what models say of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExampleRecord {
    /// The cell.
    pub cell: String,
    /// What the image is called.
    pub image: String,
    /// Index of its class.
    pub label: usize,
    /// The picture as a `data:` URL.
    pub picture: String,
    /// What was said of it: model, head or route, index of the class, probability.
    pub said: Vec<(String, String, usize, f64)>,
}

/// A difference between two models with its interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRecord {
    /// The suite.
    pub suite: String,
    /// The metric, as in `mean_accuracy`.
    pub metric: String,
    /// The first model and route.
    pub first: [String; 2],
    /// The second, which is subtracted.
    pub second: [String; 2],
    /// The difference, a fraction.
    pub difference: f64,
    /// Interval of 95 % from a paired bootstrap over images.
    pub interval: [f64; 2],
    /// How many images it is over; their cells stay together.
    pub images: u64,
}

/// Times by model, beside an evaluation: milliseconds of one thread for an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// All together.
    pub ms_per_image: BTreeMap<String, f64>,
    /// Without Monte Carlo passes, of models that make them.
    pub ms_per_image_one_pass: BTreeMap<String, f64>,
}

/// The file of times beside an evaluation.
pub const TIMES: &str = "times.json";

impl Times {
    /// Reads the times beside the file of an evaluation; none if there are none.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn beside(evaluation: &Path) -> Result<Option<Self>, ReportError> {
        let path = evaluation.with_file_name(TIMES);
        match std::fs::read(&path) {
            Ok(text) => {
                let unlike = |error: serde_json::Error| ReportError::Evaluation { path, reason: error.to_string() };
                serde_json::from_slice(&text).map(Some).map_err(unlike)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReportError::reading(&path, error)),
        }
    }
}

impl Evaluation {
    /// Reads `evaluation.json`.
    ///
    /// # Errors
    /// A file that cannot be read, is no evaluation, or was written by a newer program.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let text = std::fs::read(path).map_err(|source| ReportError::reading(path, source))?;
        let unlike = |reason: String| ReportError::Evaluation { path: path.to_owned(), reason };
        let found: Self = serde_json::from_slice(&text).map_err(|error| unlike(error.to_string()))?;
        match found.schema {
            0..=EVALUATION_SCHEMA => Ok(found),
            newer => Err(unlike(format!(
                "its schema is {newer}, this program knows {EVALUATION_SCHEMA}; use a newer program"
            ))),
        }
    }

    /// Writes `evaluation.json`: equal evaluations are equal bytes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let mut text = serde_json::to_string_pretty(self).expect("strings, numbers and lists have a JSON form");
        text.push('\n');
        write_atomic(path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_reads_back_and_a_newer_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evaluation.json");
        let metrics = BTreeMap::from([("accuracy".to_owned(), 2.0 / 3.0)]);
        let result = ResultRecord { model: "a".into(), route: "single".into(), metrics, ..Default::default() };
        let cell = CellRecord { name: "clean".into(), images: 3, results: vec![result], ..Default::default() };
        let suite = SuiteRecord { name: "photos-c".into(), cells: vec![cell], ..Default::default() };
        let given = Evaluation { schema: EVALUATION_SCHEMA, suites: vec![suite], ..Default::default() };
        given.write(&path).unwrap();
        assert_eq!(Evaluation::read(&path).unwrap(), given);
        Evaluation { schema: EVALUATION_SCHEMA + 1, ..given }.write(&path).unwrap();
        assert!(Evaluation::read(&path).unwrap_err().to_string().contains("use a newer program"));
        std::fs::write(&path, "[]").unwrap();
        assert!(Evaluation::read(&path).unwrap_err().to_string().contains("evaluation.json"));
    }
}
