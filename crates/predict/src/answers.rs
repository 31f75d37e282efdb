use std::time::Duration;

use crate::Columns;
use robustify_select::{Head, SampleStatistics};
use robustify_zoo::weights::NonFinite;

/// What a predictor said about some images, in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// Of a model with one head: logits, `[images * classes]`.
    Logits {
        /// Number of classes, at least one.
        classes: usize,
        /// The values.
        values: Vec<f32>,
    },
    /// Of a model with three heads.
    Heads(Vec<HeadAnswer>),
}

/// What three heads said about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadAnswer {
    /// Mean probabilities and uncertainties over the Monte Carlo passes.
    pub passes: SampleStatistics,
    /// Probabilities without dropout, in the order of [`Head::ALL`].
    pub deterministic: [Vec<f32>; 3],
}

impl HeadAnswer {
    /// The probabilities without dropout beside the uncertainty over the passes.
    pub fn deterministic_statistics(&self) -> SampleStatistics {
        SampleStatistics { probabilities: self.deterministic.clone(), uncertainty: self.passes.uncertainty }
    }
}

impl HeadAnswer {
    /// The same with the original's probabilities as the clean head's answer, with and without passes; its uncertainty stays that of
    /// the passes.
    pub(crate) fn preserving(self, original: Vec<f32>) -> Self {
        let [_, combined, robust] = self.passes.probabilities.clone();
        let passes = self.passes.with_answers([original.clone(), combined, robust]);
        let [_, combined, robust] = self.deterministic;
        Self { passes, deterministic: [original, combined, robust] }
    }
}

/// Answers, and the time that they took on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What was said.
    pub answers: Answers,
    /// Time of the whole answer, the shared trunk included.
    pub time: Duration,
    /// Of it, the time without Monte Carlo passes, for a model that makes them.
    pub deterministic_time: Option<Duration>,
    /// What parts beside the weights said; no columns for most models.
    pub beside: Columns,
}

impl Answers {
    /// Number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Logits { classes, values } => values.len() / classes,
            Self::Heads(heads) => heads.len(),
        }
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of classes; 0 of no image.
    pub fn classes(&self) -> usize {
        match self {
            Self::Logits { classes, .. } => *classes,
            Self::Heads(heads) => heads.first().map_or(0, |head| head.deterministic[0].len()),
        }
    }

    /// Appends the answers about further images.
    ///
    /// # Panics
    /// Answers of another kind of model: a bug of the caller.
    pub fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Logits { classes, values }, Self::Logits { classes: others, values: more })
                if *classes == others =>
            {
                values.extend(more);
            }
            (Self::Heads(heads), Self::Heads(more)) => heads.extend(more),
            _ => panic!("answers of two kinds of models"),
        }
    }

    /// Probabilities of every image: those of a one-headed model, or of the combined head without dropout.
    pub fn probabilities(&self) -> Vec<Vec<f32>> {
        (0..self.len()).map(|image| self.probabilities_of(image)).collect()
    }

    /// Probabilities of one image, as [`Self::probabilities`] has them.
    pub fn probabilities_of(&self, image: usize) -> Vec<f32> {
        match self {
            Self::Logits { classes, values } => softmax(&values[image * classes..(image + 1) * classes]),
            Self::Heads(heads) => heads[image].deterministic[Head::Combined.index()].clone(),
        }
    }

    /// The first image about which something was said that is no finite number.
    pub fn non_finite(&self) -> Option<usize> {
        match self {
            Self::Logits { classes, values } => NonFinite::find(values).map(|found| found.index / classes),
            Self::Heads(heads) => heads.iter().position(|head| {
                let probabilities = head.passes.probabilities.iter().chain(&head.deterministic).flatten();
                !probabilities.chain(head.passes.uncertainty.as_flattened()).all(|value| value.is_finite())
            }),
        }
    }
}

/// Probabilities of one row of logits, computed in 64 bits.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - top).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}
