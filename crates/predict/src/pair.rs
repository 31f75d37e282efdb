//! Two models that answer together, the original one and a tuned one, by a rule that needs more than their answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use image::RgbImage;
use robustify_data::{Preprocess, batch};
use robustify_select::{BetaMixture, Dawin, Neighbours, SplitConfig, neighbours};
use robustify_zoo::{Model, Pass, Trace, weights};
use serde::{Deserialize, Serialize};

use crate::attached::last_inputs;
use crate::classifier::{host, input};
use crate::{Answered, Answers, Columns, PredictError, Predictor, Rows};

/// A tuned model beside the original one, and how both answer.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The tuned network, of the original's kind.
    pub tuned: Model,
    /// How both answer.
    pub settings: PairSettings,
}

/// How an original and a tuned model answer together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSettings {
    /// Where the part of the tuned model begins that was tuned, if it has a part like the original's.
    pub tuned_cut: Option<SplitConfig>,
    /// Temperatures of the original and the tuned model, fitted on validation images, above 0.
    pub temperatures: [f64; 2],
    /// The rule.
    pub by: Together,
}

impl PairSettings {
    /// Whether temperatures and clusters are in their ranges.
    pub fn is_sound(&self) -> bool {
        let clusters = match self.by {
            Together::Vrf => 1,
            Together::Dawin { clusters } => clusters,
        };
        (1..=Self::MOST).contains(&clusters) && self.temperatures.iter().all(|t| t.is_finite() && *t > 0.0)
    }

    /// The most clusters: each is a whole network in memory.
    pub const MOST: usize = 100;
}

/// The rule of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Together {
    /// Their probabilities are mixed by the distance of the image to training images that only the tuned model gets right, see
    /// [`robustify_select::neighbours`]. Takes both forwards.
    Vrf,
    /// Their weights are mixed, by clusters of all images of a cell, see [`robustify_select::dawin`]. Takes both forwards, and one of
    /// mixed weights. The answer for an image depends on the others of its cell.
    Dawin {
        /// How many clusters, each answered by weights of its own.
        clusters: usize,
    },
}

/// Least probability whose logarithm is given as a logit.
const LEAST: f32 = 1e-30;

/// Variance reduction fusion of two models.
pub(crate) struct Fused {
    pub identity: String,
    pub classes: Vec<String>,
    pub original: Box<dyn Predictor>,
    pub tuned: Model,
    pub seen: Preprocess,
    pub neighbours: Neighbours,
    pub temperatures: [f64; 2],
}

impl Predictor for Fused {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        self.original.trunk()
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let original = self.original.answer(rows)?;
        rows.pixels()?;
        let clock = Instant::now();
        let trace = Trace::default();
        let logits = self.tuned.forward(input(rows, &self.seen)?, &Pass::eval().with_pre_logits(&trace));
        let classes = self.classes.len();
        let tuned = Answers::Logits { classes, values: host(logits) }.probabilities();
        let features = last_inputs(trace).pop().unwrap_or_default();
        let distances: Vec<f32> =
            features.chunks_exact(self.neighbours.width).map(|row| self.neighbours.distance(row)).collect();
        let mut values = Vec::with_capacity(tuned.len() * classes);
        for ((original, tuned), distance) in original.answers.probabilities().iter().zip(&tuned).zip(&distances) {
            let mixed = neighbours::mix(original, tuned, f64::from(*distance), self.temperatures);
            values.extend(mixed.expect("both have the same classes").iter().map(|p| p.max(LEAST).ln()));
        }
        let mut beside = Columns::default();
        beside.insert(Columns::DISTANCE, 1, distances);
        let time = original.time + clock.elapsed();
        Ok(Answered { answers: Answers::Logits { classes, values }, time, deterministic_time: None, beside })
    }
}

/// DaWin's weight form before it knows the images of a cell.
pub(crate) struct Interpolating {
    pub identity: String,
    pub classes: Vec<String>,
    /// The original and the tuned model, whose answers are read.
    pub members: Vec<Box<dyn Predictor>>,
    pub models: [Model; 2],
    pub seen: Preprocess,
    pub temperatures: [f64; 2],
    pub clusters: usize,
}

impl Predictor for Interpolating {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        None
    }

    fn reads(&self) -> &[Box<dyn Predictor>] {
        &self.members
    }

    fn for_cell(&self, ids: &[u64], told: &[Answers]) -> Result<Option<Box<dyn Predictor>>, PredictError> {
        Ok(Some(Box::new(self.clustered(ids, told)?)))
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        // Whoever asks about no cell asks about these rows alone.
        let told: Vec<Answered> = self.members.iter().map(|member| member.answer(rows)).collect::<Result<_, _>>()?;
        let before: Duration = told.iter().map(|told| told.time).sum();
        let answers: Vec<Answers> = told.into_iter().map(|told| told.answers).collect();
        let answered = self.clustered(rows.ids(), &answers)?.answer(rows)?;
        Ok(Answered { time: answered.time + before, ..answered })
    }
}

impl Interpolating {
    /// The images of a cell in clusters, and the weights of each.
    fn clustered(&self, ids: &[u64], told: &[Answers]) -> Result<Clustered, PredictError> {
        let [original, tuned] = [0, 1].map(|member| told[member].probabilities());
        let pairs = || original.iter().zip(&tuned).map(|(original, tuned)| [original.as_slice(), tuned.as_slice()]);
        // Over the whole cell, as the authors take it; where a model is certain of everything there is no offset.
        let plain = Dawin { offset: 0.0, weight: 2.0, temperatures: self.temperatures };
        let dawin = Dawin::fit(pairs(), self.temperatures).unwrap_or(plain);
        let shares: Vec<f64> = pairs().map(|[original, tuned]| dawin.coefficient(original, tuned)).collect();
        let first = BetaMixture::initial(&shares, self.clusters);
        let mut cluster_of: BTreeMap<u64, usize> = BTreeMap::new();
        let mut models = Vec::new();
        if let Some(mixture) = BetaMixture::fit(&shares, self.clusters, &[first]) {
            cluster_of.extend(ids.iter().copied().zip(shares.iter().map(|share| mixture.assign(*share))));
            for share in mixture.means() {
                models.push(weights::between(self.models[0].clone(), &self.models[1], share)?);
            }
        }
        let (identity, classes, seen) = (self.identity.clone(), self.classes.clone(), self.seen.clone());
        Ok(Clustered { identity, classes, seen, cluster_of, models })
    }
}

/// DaWin's weight form for one cell.
struct Clustered {
    identity: String,
    classes: Vec<String>,
    seen: Preprocess,
    cluster_of: BTreeMap<u64, usize>,
    /// A model for each cluster.
    models: Vec<Model>,
}

impl Predictor for Clustered {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn trunk(&self) -> Option<&str> {
        None
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let (pixels, classes) = (rows.pixels()?, self.classes.len());
        let clock = Instant::now();
        let mut values = vec![0.0; pixels.len() * classes];
        for (cluster, model) in self.models.iter().enumerate() {
            let of = |id: &u64| self.cluster_of.get(id).copied().unwrap_or_default();
            let own: Vec<usize> = (0..pixels.len()).filter(|&row| of(&rows.ids()[row]) == cluster).collect();
            if own.is_empty() {
                continue;
            }
            let pictures =
                own.iter().map(|&row| self.seen.pixels(&pixels[row])).collect::<Result<Vec<RgbImage>, _>>()?;
            let images: Tensor<4> = batch::normalised(&pictures, &self.seen, rows.device())?;
            let logits = host(model.forward(images, &Pass::eval()));
            for (row, logits) in own.into_iter().zip(logits.chunks_exact(classes)) {
                values[row * classes..(row + 1) * classes].copy_from_slice(logits);
            }
        }
        let answers = Answers::Logits { classes, values };
        Ok(Answered { answers, time: clock.elapsed(), deterministic_time: None, beside: Columns::default() })
    }
}
