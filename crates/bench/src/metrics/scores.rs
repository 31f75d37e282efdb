//! All that is said of one model and route in one cell, image after image, so that no more than a few numbers an image are held.
//!
//! Sources: Geifman & El-Yaniv 2017, arXiv:1705.08500 (risk and coverage), and Geifman et al. 2019, arXiv:1805.08206 (the area below the
//! curve, AURC); F1 as scikit-learn 1.7 averages it (`macro`).

use std::collections::BTreeMap;

use robustify_select::argmax;

use crate::Reliability;
use crate::calibration::{Confidences, in_top};

/// Sums over images.
#[derive(Clone, Debug)]
pub struct ScoreSums {
    classes: usize,
    confidences: Confidences,
    top5: u64,
    /// Of every class: images that are right, and all of its images.
    of_class: Vec<[u64; 2]>,
    /// How often every class was answered.
    answered: Vec<u64>,
    /// How often a label got a wrong answer.
    confused: BTreeMap<(usize, usize), u64>,
}

/// What the sums come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Accuracy, calibration and proper scores.
    pub reliability: Reliability,
    /// Fraction of the images whose label is among the five most probable classes.
    pub top5: f64,
    /// Mean over all coverages of the error among the surest images; 0 is best.
    pub aurc: f64,
    /// Pairs of coverage and error among the surest images, in ascending coverage; at most [`Scores::POINTS`].
    pub risk_coverage: Vec<[f64; 2]>,
    /// Of every class: images that are right, and all of its images.
    pub of_class: Vec<[u64; 2]>,
    /// Least accuracy of a class that has images.
    pub worst_class: f64,
    /// F1, the mean over the classes that are a label or an answer.
    pub f1: f64,
    /// The label, the answer and the number of the most frequent wrong answers; at most [`Scores::PAIRS`], the most frequent first.
    pub confused: Vec<[u64; 3]>,
}

impl Scores {
    /// Points of a risk-coverage curve.
    pub const POINTS: usize = 50;
    /// Pairs of classes that are confused.
    pub const PAIRS: usize = 20;
}

impl ScoreSums {
    /// No images yet, for so many classes.
    pub fn new(classes: usize) -> Self {
        let (of_class, answered) = (vec![[0; 2]; classes], vec![0; classes]);
        Self { classes, confidences: Confidences::default(), top5: 0, of_class, answered, confused: BTreeMap::new() }
    }

    /// Adds an image by the probabilities of its classes, and returns what was answered.
    ///
    /// # Panics
    /// A label or a number of probabilities beyond the classes: a bug of the caller.
    pub fn add(&mut self, probabilities: &[f32], label: usize) -> usize {
        assert!(probabilities.len() == self.classes && label < self.classes, "answers about other classes");
        let said = argmax(probabilities);
        self.confidences.add(probabilities, label);
        self.top5 += u64::from(in_top(probabilities, label, 5));
        self.of_class[label][0] += u64::from(said == label);
        self.of_class[label][1] += 1;
        self.answered[said] += 1;
        if said != label {
            *self.confused.entry((label, said)).or_default() += 1;
        }
        said
    }

    /// What they come to; none of no image.
    pub fn scored(self) -> Option<Scores> {
        let (aurc, risk_coverage) = risk_coverage(&self.confidences.told);
        let f1 = f1(&self.of_class, &self.answered);
        let reliability = self.confidences.reliability()?;
        let accuracies = self.of_class.iter().filter(|of| of[1] > 0).map(|[right, all]| *right as f64 / *all as f64);
        let worst_class = accuracies.fold(1.0, f64::min);
        let mut confused: Vec<[u64; 3]> =
            self.confused.into_iter().map(|((label, said), count)| [label as u64, said as u64, count]).collect();
        confused.sort_by_key(|[.., count]| std::cmp::Reverse(*count));
        confused.truncate(Scores::PAIRS);
        let top5 = self.top5 as f64 / reliability.count as f64;
        Some(Scores { top5, aurc, risk_coverage, of_class: self.of_class, worst_class, f1, confused, reliability })
    }
}

/// The mean over classes that occur of twice the right ones over labels and answers.
fn f1(of_class: &[[u64; 2]], answered: &[u64]) -> f64 {
    let occurring = of_class.iter().zip(answered).filter(|([_, all], answered)| *all + **answered > 0);
    let each: Vec<f64> =
        occurring.map(|([right, all], answered)| 2.0 * *right as f64 / (*all + *answered) as f64).collect();
    each.iter().sum::<f64>() / each.len().max(1) as f64
}

/// The area under the risk-coverage curve, and some of its points. Images of the same confidence are taken in no order: among them the
/// errors are spread evenly.
fn risk_coverage(told: &[(f64, bool)]) -> (f64, Vec<[f64; 2]>) {
    let mut sorted = told.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut risks = Vec::with_capacity(sorted.len());
    let mut errors = 0;
    for alike in sorted.chunk_by(|a, b| a.0 == b.0) {
        let wrong = alike.iter().filter(|(_, right)| !right).count();
        for taken in 1..=alike.len() {
            let so_far = errors as f64 + wrong as f64 * taken as f64 / alike.len() as f64;
            risks.push(so_far / (risks.len() + 1) as f64);
        }
        errors += wrong;
    }
    let count = risks.len();
    let area = risks.iter().sum::<f64>() / count.max(1) as f64;
    let points = Scores::POINTS.min(count);
    let at = |point: usize| {
        let taken = (point * count).div_ceil(points);
        [taken as f64 / count as f64, risks[taken - 1]]
    };
    (area, (1..=points).map(at).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        labels: Vec<usize>,
        probabilities: Vec<Vec<f32>>,
        out: BTreeMap<String, f64>,
        confusion: Vec<Vec<u64>>,
    }

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let golden: Golden = serde_json::from_str(include_str!("../../goldens/metrics/scores.json")).unwrap();
        let mut sums = ScoreSums::new(8);
        for (probabilities, &label) in golden.probabilities.iter().zip(&golden.labels) {
            sums.add(probabilities, label);
        }
        let found = sums.scored().unwrap();
        for (name, value) in [
            ("accuracy", found.reliability.accuracy),
            ("top5", found.top5),
            ("nll", found.reliability.nll),
            ("brier", found.reliability.brier),
            ("f1", found.f1),
            ("worst_class", found.worst_class),
            ("aurc", found.aurc),
        ] {
            // scikit-learn divides probabilities by their sum, which 32-bit floats miss by 1e-7.
            assert!((value - golden.out[name]).abs() < 1e-6, "{name}: {value} is not {}", golden.out[name]);
        }
        for [label, said, count] in &found.confused {
            assert_eq!(golden.confusion[*label as usize][*said as usize], *count);
        }
        let most = (0..8).flat_map(|a| (0..8).filter(move |b| *b != a).map(move |b| (a, b)));
        let most = most.map(|(label, said)| golden.confusion[label][said]).max().unwrap();
        assert_eq!((found.confused[0][2], found.confused.len()), (most, Scores::PAIRS));
        assert_eq!(found.of_class[7], [0, 0], "a class without images is no worst class");
        let last = found.risk_coverage.last().unwrap();
        assert!(last[0] == 1.0 && (last[1] - 1.0 + found.reliability.accuracy).abs() < 1e-12, "{last:?}");
        assert_eq!(ScoreSums::new(2).scored(), None);
    }
}
