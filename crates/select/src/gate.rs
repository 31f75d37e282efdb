//! A fitted gate: logistic regression that says from the evidence of an image whether the robust head is the one to take.

use serde::{Deserialize, Serialize};

use crate::mc::entropy;
use crate::rules::kl;
use crate::{Head, SampleStatistics, Uncertainty};

/// A gate between the clean and the robust head.
///
/// It is fitted on views of validation images, clean and under the training policy, and never on corruptions of a benchmark. Only images on
/// which exactly one of the two heads is right teach it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Whether it reads one pass without dropout alone.
    one_pass: bool,
    /// Mean and standard deviation of each piece of evidence among the images that taught it.
    scales: Vec<[f64; 2]>,
    /// Weight of each piece, then the bias; in favour of the robust head.
    weights: Vec<f64>,
}

/// Weight of the squared norm of the weights, in images: a prior under which a weight of one is usual.
const RIDGE: f64 = 1.0;
/// Newton steps, at most; it converges in fewer than ten.
const STEPS: usize = 50;
/// Keeps logarithms finite.
const LEAST: f64 = 1e-8;

impl Gate {
    /// Fits a gate.
    ///
    /// # Arguments
    /// - samples: what the heads said about each image, with its label
    /// - one_pass: whether the probabilities are of one pass without dropout, and only [`Uncertainty::Laplace`] is an uncertainty
    ///
    /// `None` unless each head is the only right one of some image.
    pub fn fit<'a>(samples: impl IntoIterator<Item = (&'a SampleStatistics, usize)>, one_pass: bool) -> Option<Self> {
        let mut rows: Vec<(Vec<f64>, f64)> = Vec::new();
        for (sample, label) in samples {
            let [clean, robust] = [Head::Clean, Head::Robust].map(|head| sample.prediction(head) == label);
            if clean != robust {
                rows.push((evidence(sample, one_pass), f64::from(u8::from(robust))));
            }
        }
        let taken = rows.iter().map(|(_, target)| target).sum::<f64>();
        if taken == 0.0 || taken == rows.len() as f64 {
            return None;
        }
        let scales = scales(&rows);
        rows.iter_mut().for_each(|(row, _)| scaled(row, &scales));
        Some(Self { one_pass, weights: newton(&rows), scales })
    }

    /// The head that it takes; a tie goes to the clean head.
    pub fn choose(&self, sample: &SampleStatistics) -> Head {
        let mut row = evidence(sample, self.one_pass);
        scaled(&mut row, &self.scales);
        if score(&row, &self.weights) > 0.0 { Head::Robust } else { Head::Clean }
    }
}

/// What speaks for the robust head, each piece a difference or a logarithm.
fn evidence(sample: &SampleStatistics, one_pass: bool) -> Vec<f64> {
    let probabilities = |head: Head| sample.probabilities[head.index()].as_slice();
    let log = |x: f64| x.max(LEAST).ln();
    let ratio = |kind: Uncertainty| {
        let of = |head: Head| log(f64::from(sample.uncertainty[head.index()][kind as usize]));
        of(Head::Clean) - of(Head::Robust)
    };
    let far = |head: Head| log(kl(probabilities(head), probabilities(Head::Combined)));
    let certain = |head: Head| {
        let most = f64::from(probabilities(head)[sample.prediction(head)]);
        log(most) - log(1.0 - most)
    };
    let spread = |head: Head| entropy(probabilities(head).iter().map(|&p| f64::from(p)));
    // How much the combined head believes in what the other says.
    let believed = |head: Head| log(f64::from(probabilities(Head::Combined)[sample.prediction(head)]));
    let mut evidence = vec![
        far(Head::Clean) - far(Head::Robust),
        certain(Head::Clean),
        certain(Head::Robust),
        spread(Head::Clean) - spread(Head::Robust),
        believed(Head::Robust) - believed(Head::Clean),
    ];
    match one_pass {
        true => evidence.push(ratio(Uncertainty::Laplace)),
        false => evidence.extend([Uncertainty::MeanStd, Uncertainty::MutualInformation].map(ratio)),
    }
    evidence
}

/// Mean and standard deviation of every piece; one that never varies is not divided.
fn scales(rows: &[(Vec<f64>, f64)]) -> Vec<[f64; 2]> {
    let count = rows.len() as f64;
    let of_piece = |piece: usize| {
        let mean = rows.iter().map(|(row, _)| row[piece]).sum::<f64>() / count;
        let deviation = (rows.iter().map(|(row, _)| (row[piece] - mean).powi(2)).sum::<f64>() / count).sqrt();
        [mean, if deviation > LEAST { deviation } else { 1.0 }]
    };
    (0..rows[0].0.len()).map(of_piece).collect()
}

fn scaled(row: &mut [f64], scales: &[[f64; 2]]) {
    row.iter_mut().zip(scales).for_each(|(x, [mean, deviation])| *x = (*x - mean) / deviation);
}

fn score(row: &[f64], weights: &[f64]) -> f64 {
    weights[row.len()] + row.iter().zip(weights).map(|(x, weight)| x * weight).sum::<f64>()
}

/// Weights and bias at the least regularised loss, by Newton's method (iteratively reweighted least squares) with halved steps where a
/// whole one is too long.
fn newton(rows: &[(Vec<f64>, f64)]) -> Vec<f64> {
    let size = rows[0].0.len() + 1;
    let loss = |weights: &[f64]| -> f64 {
        let of_row = |(row, target): &(Vec<f64>, f64)| {
            let z = score(row, weights) * (1.0 - 2.0 * target);
            z.max(0.0) + (-z.abs()).exp().ln_1p()
        };
        let norm: f64 = weights[..size - 1].iter().map(|weight| weight * weight).sum();
        rows.iter().map(of_row).sum::<f64>() + RIDGE / 2.0 * norm
    };
    let mut weights = vec![0.0; size];
    for _ in 0..STEPS {
        let (mut gradient, mut curvature) = (vec![0.0; size], vec![vec![0.0; size]; size]);
        for (k, weight) in weights[..size - 1].iter().enumerate() {
            gradient[k] = RIDGE * weight;
            curvature[k][k] = RIDGE;
        }
        for (row, target) in rows {
            let p = 1.0 / (1.0 + (-score(row, &weights)).exp());
            let x = |k: usize| if k + 1 < size { row[k] } else { 1.0 };
            for a in 0..size {
                gradient[a] += (p - target) * x(a);
                (0..size).for_each(|b| curvature[a][b] += p * (1.0 - p) * x(a) * x(b));
            }
        }
        let step = solve(curvature, gradient);
        let before = loss(&weights);
        let moved =
            |length: f64| weights.iter().zip(&step).map(|(weight, step)| weight - length * step).collect::<Vec<_>>();
        let next = (0..20).map(|halved| moved(0.5_f64.powi(halved))).find(|next| loss(next) < before);
        match next {
            Some(next) if before - loss(&next) > 1e-10 * before => weights = next,
            Some(next) => return next,
            None => break,
        }
    }
    weights
}

/// The solution of a symmetric positive definite system, by Gauss's elimination.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for k in 0..size {
        let pivot = matrix[k].clone();
        let value = right[k];
        for below in k + 1..size {
            let factor = matrix[below][k] / pivot[k];
            matrix[below].iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            right[below] -= factor * value;
        }
    }
    for k in (0..size).rev() {
        let known: f64 = (k + 1..size).map(|j| matrix[k][j] * right[j]).sum();
        right[k] = (right[k] - known) / matrix[k][k];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clean head says class 0, the robust head class 1; `near` is whom the combined head sides with.
    fn sample(near: [f32; 2], uncertainty: [f32; 2]) -> SampleStatistics {
        let u = |u| [u; Uncertainty::ALL.len()];
        SampleStatistics {
            probabilities: [vec![0.8, 0.2], near.to_vec(), vec![0.3, 0.7]],
            uncertainty: [u(uncertainty[0]), u(0.1), u(uncertainty[1])],
        }
    }

    #[test]
    fn a_gate_learns_which_evidence_tells_who_is_right() {
        // The combined head is right nine times of ten; the uncertainties say nothing.
        let mut taught = Vec::new();
        for index in 0..200_u32 {
            let label = (index % 2) as usize;
            let sides = if index % 20 < 2 { 1 - label } else { label };
            let near = if sides == 0 { [0.7, 0.3] } else { [0.2, 0.8] };
            let u = 0.1 + 0.01 * (index % 7) as f32;
            taught.push((sample(near, [u, 0.13]), label));
        }
        for one_pass in [false, true] {
            let gate = Gate::fit(taught.iter().map(|(sample, label)| (sample, *label)), one_pass).unwrap();
            assert_eq!(gate.choose(&sample([0.7, 0.3], [0.1, 0.13])), Head::Clean);
            assert_eq!(gate.choose(&sample([0.2, 0.8], [0.16, 0.13])), Head::Robust);
        }
        let only_clean = taught.iter().filter(|(_, label)| *label == 0).map(|(sample, label)| (sample, *label));
        assert_eq!(Gate::fit(only_clean, false), None);
    }

    #[test]
    fn newton_finds_where_the_slope_is_zero() {
        let rows = [(vec![1.0, 0.5], 1.0), (vec![-0.5, 2.0], 0.0), (vec![0.2, -1.0], 1.0), (vec![1.5, 1.0], 0.0)];
        let weights = newton(&rows);
        for k in 0..3 {
            let x = |row: &[f64]| if k < 2 { row[k] } else { 1.0 };
            let slope: f64 =
                rows.iter().map(|(row, target)| (1.0 / (1.0 + (-score(row, &weights)).exp()) - target) * x(row)).sum();
            let ridge = if k < 2 { RIDGE * weights[k] } else { 0.0 };
            assert!((slope + ridge).abs() < 1e-4, "{k}: {slope} {ridge}");
        }
    }
}
