//! Last-layer Laplace approximation: how uncertain a classifier is of its weights, from one pass.
//!
//! Around the trained weights of the last linear layer the posterior is a Gaussian whose precision is that of the prior and the curvature
//! of the loss on the training rows. A logit then has a variance, which [`Laplace::variances`] gives for every class; [`probit`] makes
//! probabilities of logits and variances, and [`spread`] how far these probabilities are expected to vary, which T passes of dropout
//! measure otherwise.
//!
//! Sources: MacKay 1992, "The evidence framework applied to classification networks" (prior precision, probit); Daxberger et al. 2021,
//! arXiv:2106.14806; aleximmer/Laplace (commit 44ea62a), `laplace/baselaplace.py`, `lllaplace.py`, `curvature/curvlinops.py`: the Gauss-Newton
//! matrix, blocks of their own for weights and biases, one precision for all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mixtures::dot;
use crate::symmetric::eigen;

/// What is kept of the curvature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// Its diagonal: as many numbers as the layer has weights.
    #[default]
    Diagonal,
    /// A Kronecker product of a matrix of features and one of classes: correlated features count once. The time to fit it grows with
    /// the cube of the width, to minutes above a width of a thousand.
    Kronecker,
}

/// The curvature of the cross-entropy in the weights of a linear layer, summed over rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Curvature {
    structure: Structure,
    classes: usize,
    width: usize,
    rows: usize,
    /// Of the weights: `[classes, width]` of the diagonal, `[width, width]` of the Kronecker product.
    features: Vec<f64>,
    /// Of the biases: `[classes]` of the diagonal, `[classes, classes]` of the Kronecker product.
    outputs: Vec<f64>,
}

impl Curvature {
    /// Of no rows yet, for a layer from `width` features to `classes` logits.
    pub fn new(structure: Structure, classes: usize, width: usize) -> Self {
        let (features, outputs) = match structure {
            Structure::Diagonal => (classes * width, classes),
            Structure::Kronecker => (width * width, classes * classes),
        };
        Self { structure, classes, width, rows: 0, features: vec![0.0; features], outputs: vec![0.0; outputs] }
    }

    /// Adds rows.
    ///
    /// # Arguments
    /// - features: `[rows, width]`, the layer's input
    /// - probabilities: `[rows, classes]`, what the layer makes of it
    ///
    /// # Panics
    /// Other widths than those that it is made for: a bug of the caller.
    pub fn add(&mut self, features: &[f32], probabilities: &[f32]) {
        let (classes, width) = (self.classes, self.width);
        assert_eq!(
            features.len() * classes,
            probabilities.len() * width,
            "as many rows of features as of probabilities"
        );
        for (phi, p) in features.chunks_exact(width).zip(probabilities.chunks_exact(classes)) {
            self.rows += 1;
            let p: Vec<f64> = p.iter().map(|&p| f64::from(p)).collect();
            match self.structure {
                Structure::Diagonal => {
                    let squares: Vec<f64> = phi.iter().map(|&x| f64::from(x).powi(2)).collect();
                    for (class, row) in self.features.chunks_exact_mut(width).enumerate() {
                        let curvature = p[class] * (1.0 - p[class]);
                        self.outputs[class] += curvature;
                        row.iter_mut().zip(&squares).for_each(|(sum, square)| *sum += curvature * square);
                    }
                }
                Structure::Kronecker => {
                    for (row, &x) in self.features.chunks_exact_mut(width).zip(phi) {
                        row.iter_mut().zip(phi).for_each(|(sum, &y)| *sum += f64::from(x) * f64::from(y));
                    }
                    for (a, row) in self.outputs.chunks_exact_mut(classes).enumerate() {
                        row.iter_mut().zip(&p).for_each(|(sum, q)| *sum -= p[a] * q);
                        row[a] += p[a];
                    }
                }
            }
        }
    }

    /// Adds the rows of another curvature of the same layer.
    pub fn merge(&mut self, other: &Self) {
        let pairs = self.features.iter_mut().zip(&other.features).chain(self.outputs.iter_mut().zip(&other.outputs));
        pairs.for_each(|(sum, more)| *sum += more);
        self.rows += other.rows;
    }

    /// The posterior under a prior of zero mean whose precision maximises the marginal likelihood of the rows.
    ///
    /// # Arguments
    /// - norm: sum of the squares of all weights and biases of the layer
    ///
    /// `None` without rows or weights, or where the curvature is no number: then there is no maximum.
    pub fn posterior(self, norm: f64) -> Option<Laplace> {
        let is_sound = self.features.iter().chain(&self.outputs).all(|value| value.is_finite());
        if self.rows == 0 || !(norm.is_finite() && norm > 0.0) || !is_sound {
            return None;
        }
        let Self { classes, width, .. } = self;
        match self.structure {
            Structure::Diagonal => {
                let precision = prior_precision(|| self.features.iter().chain(&self.outputs).copied(), norm)?;
                let inverse = |curvatures: &[f64]| curvatures.iter().map(|h| (1.0 / (h + precision)) as f32).collect();
                let (weights, biases) = (inverse(&self.features), inverse(&self.outputs));
                Some(Laplace { classes, width, precision, weights, biases, rotation: None })
            }
            Structure::Kronecker => self.kronecker(norm),
        }
    }

    fn kronecker(self, norm: f64) -> Option<Laplace> {
        let Self { classes, width, rows, features, outputs, .. } = self;
        let (outer, rotation) = eigen(features, width);
        // Rounding makes the least of them negative.
        let outer: Vec<f64> = outer.into_iter().map(|value| value.max(0.0) / rows as f64).collect();
        let (inner, turned) = eigen(outputs, classes);
        let inner: Vec<f64> = inner.into_iter().map(|value| value.max(0.0)).collect();
        let products = || inner.iter().flat_map(|b| outer.iter().map(move |a| a * b)).chain(inner.iter().copied());
        let precision = prior_precision(products, norm)?;
        // The share of a class in each eigenvector of the classes' matrix.
        let share = |k: usize, class: usize| turned[k * classes + class].powi(2);
        let of_class =
            |class: usize, a: f64| -> f64 { (0..classes).map(|k| share(k, class) / (inner[k] * a + precision)).sum() };
        let weights = (0..classes).flat_map(|class| outer.iter().map(move |&a| (class, a)));
        Some(Laplace {
            classes,
            width,
            precision,
            weights: weights.map(|(class, a)| of_class(class, a) as f32).collect(),
            biases: (0..classes).map(|class| of_class(class, 1.0) as f32).collect(),
            rotation: Some(rotation.into_iter().map(|value| value as f32).collect()),
        })
    }
}

/// The precision at which the marginal likelihood is largest: where `precision * norm` is the number of weights that the rows determine,
/// `sum h / (h + precision)`. That falls and the left side grows, so it is bisected, between 1e-10 and 1e10.
fn prior_precision<I: Iterator<Item = f64>>(curvatures: impl Fn() -> I, norm: f64) -> Option<f64> {
    let surplus = |precision: f64| curvatures().map(|h| h / (h + precision)).sum::<f64>() - precision * norm;
    let (mut low, mut high) = (-10.0_f64, 10.0_f64);
    if surplus(10.0_f64.powf(low)) < 0.0 || surplus(10.0_f64.powf(high)) > 0.0 {
        return None;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if surplus(10.0_f64.powf(middle)) > 0.0 { low = middle } else { high = middle }
    }
    Some(10.0_f64.powf((low + high) / 2.0))
}

/// The posterior of a linear layer, as far as it says how its logits vary.
#[derive(Clone, Debug, PartialEq)]
pub struct Laplace {
    /// Number of logits.
    pub classes: usize,
    /// Number of features.
    pub width: usize,
    /// Precision of the prior.
    pub precision: f64,
    /// Variances of the weights, `[classes, width]`; of the Kronecker form along the rotated features.
    pub weights: Vec<f32>,
    /// Variances of the biases, `[classes]`.
    pub biases: Vec<f32>,
    /// What features are rotated by, `[width, width]`; none of the diagonal form.
    pub rotation: Option<Vec<f32>>,
}

impl Laplace {
    /// Variance of every logit.
    ///
    /// # Shapes
    /// - features: `[rows, width]`, the layer's input
    /// - output: `[rows, classes]`
    pub fn variances(&self, features: &[f32]) -> Vec<f32> {
        let of_row = |phi: &[f32]| {
            let squares: Vec<f32> = match &self.rotation {
                None => phi.iter().map(|x| x * x).collect(),
                Some(rotation) => rotation.chunks_exact(self.width).map(|row| dot(row, phi).powi(2)).collect(),
            };
            let of_class = |(row, bias): (&[f32], &f32)| dot(row, &squares) + bias;
            self.weights.chunks_exact(self.width).zip(&self.biases).map(of_class).collect::<Vec<f32>>()
        };
        features.chunks_exact(self.width).flat_map(of_row).collect()
    }
}

/// Probabilities under uncertain logits: `softmax(logits / sqrt(1 + π/8 · variance))`.
pub fn probit(logits: &[f32], variances: &[f32]) -> Vec<f32> {
    let moderated = |(&logit, &variance): (&f32, &f32)| {
        f64::from(logit) / (1.0 + std::f64::consts::PI / 8.0 * f64::from(variance)).sqrt()
    };
    let moderated: Vec<f64> = logits.iter().zip(variances).map(moderated).collect();
    crate::mixtures::normalised(&moderated, 1.0).into_iter().map(|p| p as f32).collect()
}

/// Mean over classes of the standard deviation of the probabilities, to first order in the logits' variances, which are taken as
/// independent: what [`Uncertainty::MeanStd`](crate::Uncertainty::MeanStd) is of T passes.
///
/// The variance of `p_c` is `p_c² (σ_c² (1 - 2 p_c) + Σ_k p_k² σ_k²)`.
pub fn spread(probabilities: &[f32], variances: &[f32]) -> f32 {
    let pairs = || probabilities.iter().zip(variances).map(|(&p, &v)| (f64::from(p), f64::from(v)));
    let common: f64 = pairs().map(|(p, v)| p * p * v).sum();
    let sum: f64 = pairs().map(|(p, v)| p * (v * (1.0 - 2.0 * p) + common).max(0.0).sqrt()).sum();
    (sum / probabilities.len().max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        classes: usize,
        width: usize,
        norm: f64,
        features: Vec<f32>,
        probabilities: Vec<f32>,
        queries: Vec<f32>,
        logits: Vec<f32>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        structure: Structure,
        precision: f64,
        variances: Vec<f64>,
        probit: Vec<f64>,
    }

    #[track_caller]
    fn near(got: f64, expected: f64, relative: f64) {
        assert!((got - expected).abs() <= relative * expected.abs(), "{got} is not {expected}");
    }

    #[test]
    fn posteriors_are_those_of_the_authors_library() {
        let golden: Golden = serde_json::from_str(include_str!("../goldens/laplace/golden.json")).unwrap();
        for case in &golden.cases {
            // Two parts, as workers make them.
            let mut curvature = Curvature::new(case.structure, golden.classes, golden.width);
            let mut rest = curvature.clone();
            curvature.add(&golden.features[..5 * golden.width], &golden.probabilities[..5 * golden.classes]);
            rest.add(&golden.features[5 * golden.width..], &golden.probabilities[5 * golden.classes..]);
            curvature.merge(&rest);
            let laplace = curvature.posterior(golden.norm).unwrap();
            near(laplace.precision, case.precision, 1e-5);
            let variances = laplace.variances(&golden.queries);
            variances.iter().zip(&case.variances).for_each(|(got, want)| near(f64::from(*got), *want, 1e-5));
            let rows = golden.logits.chunks_exact(golden.classes).zip(variances.chunks_exact(golden.classes));
            let told = rows.flat_map(|(logits, variances)| probit(logits, variances));
            told.zip(&case.probit).for_each(|(got, want)| near(f64::from(got), *want, 1e-5));
        }
    }

    #[test]
    fn the_spread_is_that_of_small_shifts_of_the_logits() {
        let (logits, variances) = ([0.3_f32, -0.2, 1.1], [0.01_f32, 0.04, 0.0]);
        let p = probit(&logits, &[0.0; 3]);
        // Two independent logits, each shifted by its deviation.
        let shifted = |k: usize| {
            let mut moved = logits;
            moved[k] += 1e-3 * variances[k].sqrt();
            probit(&moved, &[0.0; 3])
        };
        let slopes: Vec<Vec<f32>> =
            (0..2).map(|k| shifted(k).iter().zip(&p).map(|(moved, p)| 1e3 * (moved - p)).collect()).collect();
        let mean = (0..3).map(|c| (slopes[0][c].powi(2) + slopes[1][c].powi(2)).sqrt()).sum::<f32>() / 3.0;
        assert!((spread(&p, &variances) - mean).abs() < 1e-3 * mean, "{} {mean}", spread(&p, &variances));
        assert_eq!(spread(&p, &[0.0; 3]), 0.0);
    }

    #[test]
    fn there_is_no_posterior_of_nothing() {
        let mut curvature = Curvature::new(Structure::Diagonal, 2, 1);
        assert_eq!(curvature.clone().posterior(1.0), None);
        curvature.add(&[1.0, 2.0], &[0.5, 0.5, 0.9, 0.1]);
        assert_eq!(curvature.clone().posterior(0.0), None);
        assert!(curvature.posterior(1.0).is_some());
    }
}
