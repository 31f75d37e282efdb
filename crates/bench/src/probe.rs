//! A linear probe of a model's features: how well another task can be read off what the model knows.
//!
//! Ridge regression of one-hot labels on standardised features, its weight decay chosen on a fifth of the training pictures; it has one
//! solution, so that nothing but the features differs between two models. Kornblith et al. 2019, arXiv:1805.08974, compare models by
//! such probes, there logistic.

use std::sync::OnceLock;
use std::time::Instant;

use image::RgbImage;
use robustify_data::{Preprocess, batch};
use robustify_predict::{Answered, Answers, Columns, PredictError, Predictor, RobustModel, Rows};
use robustify_report::digest;
use robustify_select::argmax;
use robustify_zoo::weights;
use robustify_zoo::{Model, Pass};

use crate::evaluate::ROWS;
use crate::suite::Suite as _;
use crate::suites::Turned;

/// Weight decays to choose from, over the mean square of a feature.
const DECAYS: [f64; 5] = [1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// The part of the training pictures on which the decay is chosen: one in so many.
const HELD_OUT: usize = 5;

/// A model's features with a probe for another task, which is fitted when it is asked first.
pub struct Probed<'a> {
    identity: String,
    model: Model,
    seen: Preprocess,
    train: &'a Turned,
    probe: OnceLock<Result<Probe, String>>,
}

impl<'a> Probed<'a> {
    /// The features of a model, with a probe that learns on the pictures of `train`.
    ///
    /// # Errors
    /// A cut that the network does not have.
    pub fn new(model: &RobustModel, train: &'a Turned) -> Result<Self, PredictError> {
        let (features, seen) = (model.features()?, model.seen.clone());
        let tensors = digest::of_bytes(&weights::to_bytes(&weights::state(&features)));
        let identity = digest::of(&("probe", tensors, &model.network, seen.to_string(), train.identity()))
            .expect("settings and strings have a JSON form");
        Ok(Self { identity, model: features, seen, train, probe: OnceLock::new() })
    }

    fn features(&self, pictures: &[RgbImage], device: &burn::tensor::Device) -> Result<Vec<Vec<f64>>, PredictError> {
        let own = pictures.iter().map(|picture| self.seen.pixels(picture)).collect::<Result<Vec<_>, _>>()?;
        let output = self.model.forward(batch::normalised(&own, &self.seen, device)?, &Pass::eval());
        let [_, width] = output.dims();
        let values: Vec<f32> = output.into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        Ok(values.chunks(width).map(|row| row.iter().map(|&value| f64::from(value)).collect()).collect())
    }

    fn fit(&self, device: &burn::tensor::Device) -> Result<Probe, PredictError> {
        let (pictures, labels): (Vec<RgbImage>, Vec<usize>) = self.train.all()?.into_iter().unzip();
        let mut features = Vec::with_capacity(labels.len());
        for chunk in pictures.chunks(ROWS) {
            features.extend(self.features(chunk, device)?);
        }
        Ok(Probe::chosen(&features, &labels, self.train.classes().len()))
    }
}

impl Predictor for Probed<'_> {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        self.train.classes()
    }

    fn trunk(&self) -> Option<&str> {
        None
    }

    fn answer(&self, rows: &Rows<'_>) -> Result<Answered, PredictError> {
        let fitted = self.probe.get_or_init(|| self.fit(rows.device()).map_err(|error| error.to_string()));
        let probe = fitted.as_ref().map_err(|said| robustify_zoo::ZooError::Config(said.clone()))?;
        let pixels = rows.pixels()?;
        let clock = Instant::now();
        let features = self.features(pixels, rows.device())?;
        let values = features.iter().flat_map(|row| probe.says(row)).map(|value| value as f32).collect();
        let answers = Answers::Logits { classes: self.classes().len(), values };
        Ok(Answered { answers, time: clock.elapsed(), deterministic_time: None, beside: Columns::default() })
    }
}

/// A linear map from features to classes.
struct Probe {
    means: Vec<f64>,
    scales: Vec<f64>,
    /// `[features, classes]`.
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Probe {
    /// Fitted with the decay that is best on the held-out pictures.
    fn chosen(features: &[Vec<f64>], labels: &[usize], classes: usize) -> Self {
        let of = |held: bool| (0..labels.len()).filter(|index| (index % HELD_OUT == 0) == held).collect::<Vec<_>>();
        let (fitted, held) = (of(false), of(true));
        let right = |decay: f64| {
            let probe = Self::fit(features, labels, &fitted, classes, decay);
            held.iter().filter(|&&index| argmax(&probe.says(&features[index])) == labels[index]).count()
        };
        // The smallest of equals comes first.
        let best = DECAYS
            .into_iter()
            .map(|decay| (right(decay), decay))
            .fold((0, DECAYS[0]), |best, next| if next.0 > best.0 { next } else { best });
        Self::fit(features, labels, &(0..labels.len()).collect::<Vec<_>>(), classes, best.1)
    }

    fn fit(features: &[Vec<f64>], labels: &[usize], rows: &[usize], classes: usize, decay: f64) -> Self {
        let width = features.first().map_or(0, Vec::len);
        let count = rows.len().max(1) as f64;
        let mean_of = |of: &dyn Fn(&[f64]) -> f64| rows.iter().map(|&row| of(&features[row])).sum::<f64>() / count;
        let means: Vec<f64> = (0..width).map(|at| mean_of(&|row| row[at])).collect();
        let variance = |at: usize| mean_of(&|row| (row[at] - means[at]).powi(2));
        // A feature that never changes says nothing.
        let scales: Vec<f64> =
            (0..width).map(variance).map(|v| if v > 1e-12 { v.sqrt().recip() } else { 0.0 }).collect();
        let bias: Vec<f64> =
            (0..classes).map(|class| rows.iter().filter(|&&row| labels[row] == class).count() as f64 / count).collect();
        let (mut gram, mut targets) = (vec![vec![0.0; width]; width], vec![vec![0.0; classes]; width]);
        let mut scaled = vec![0.0; width];
        for &row in rows {
            for at in 0..width {
                scaled[at] = (features[row][at] - means[at]) * scales[at];
            }
            for (at, &value) in scaled.iter().enumerate() {
                let others = gram[at][..=at].iter_mut().zip(&scaled);
                others.for_each(|(sum, other)| *sum += value * other / count);
                for (class, sum) in targets[at].iter_mut().enumerate() {
                    *sum += value * (f64::from(labels[row] == class) - bias[class]) / count;
                }
            }
        }
        (0..width).for_each(|at| gram[at][at] += decay);
        solve(&mut gram, &mut targets);
        Self { means, scales, weights: targets, bias }
    }

    /// What it says of some features, class by class.
    fn says(&self, row: &[f64]) -> Vec<f64> {
        let mut said = self.bias.clone();
        for (at, value) in row.iter().enumerate() {
            let value = (value - self.means[at]) * self.scales[at];
            said.iter_mut().zip(&self.weights[at]).for_each(|(sum, weight)| *sum += value * weight);
        }
        said
    }
}

/// Solves a positive definite system in place, by Cholesky's decomposition; the matrix is given by its lower triangle.
fn solve(matrix: &mut [Vec<f64>], sides: &mut [Vec<f64>]) {
    let width = matrix.len();
    let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
    for row in 0..width {
        for column in 0..=row {
            let sum = matrix[row][column] - dot(&matrix[row][..column], &matrix[column][..column]);
            matrix[row][column] = if row == column { sum.sqrt() } else { sum / matrix[column][column] };
        }
    }
    let less = |side: &mut [f64], factor: f64, known: &[f64]| {
        side.iter_mut().zip(known).for_each(|(value, known)| *value -= factor * known);
    };
    for (row, factors) in matrix.iter().enumerate() {
        let (before, rest) = sides.split_at_mut(row);
        before.iter().zip(factors).for_each(|(known, factor)| less(&mut rest[0], *factor, known));
        rest[0].iter_mut().for_each(|value| *value /= factors[row]);
    }
    for (row, factors) in matrix.iter().enumerate().rev() {
        let (rest, behind) = sides.split_at_mut(row + 1);
        let below = &matrix[row + 1..];
        behind.iter().zip(below).for_each(|(known, below)| less(&mut rest[row], below[row], known));
        rest[row].iter_mut().for_each(|value| *value /= factors[row]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_solves_its_equations_and_reads_what_is_linear() {
        let (mut matrix, mut side) = (vec![vec![4.0, 0.0], vec![2.0, 3.0]], vec![vec![8.0], vec![7.0]]);
        solve(&mut matrix, &mut side);
        // 4x + 2y = 8 and 2x + 3y = 7.
        assert!((side[0][0] - 1.25).abs() < 1e-12 && (side[1][0] - 1.5).abs() < 1e-12, "{side:?}");

        let features: Vec<Vec<f64>> = (0..60)
            .map(|index| vec![f64::from(index % 3), f64::from(index % 7), 5.0, f64::from(index % 3 == 1)])
            .collect();
        let labels: Vec<usize> = (0..60).map(|index| index % 3).collect();
        let probe = Probe::chosen(&features, &labels, 3);
        let right = features.iter().zip(&labels).filter(|(row, label)| argmax(&probe.says(row)) == **label).count();
        assert_eq!(right, 60);
        // Of features that say nothing it says how frequent the classes are.
        let nothing = Probe::chosen(&vec![vec![1.0]; 60], &labels, 3);
        assert_eq!(nothing.says(&[1.0]).iter().map(|share| (30.0 * share).round()).collect::<Vec<_>>(), [10.0; 3]);
    }
}
