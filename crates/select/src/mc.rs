//! Monte Carlo dropout: T stochastic passes over features that were computed once.
//!
//! Source: Gal & Ghahramani 2016, arXiv:1506.02142; the standard deviation over passes as uncertainty is the paper's.

use burn::tensor::{Device, Tensor, activation};
use robustify_zoo::{Features, Pass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Head, KeyedMasks, ThreeHeads};

/// How the passes are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McConfig {
    /// Number of passes T.
    pub passes: usize,
    /// Dropout rate, in `[0, 1)`.
    pub dropout: f64,
    /// Seed of the masks.
    pub seed: u64,
    /// Whether the three heads draw the same masks, so that heads which are equal answer equally in every pass and the divergence
    /// between them has no floor of noise.
    #[serde(default)]
    pub common_masks: bool,
}

/// A measure of a head's uncertainty about an image; larger is less certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Uncertainty {
    /// Mean over classes of the probabilities' standard deviation over passes.
    #[default]
    MeanStd,
    /// Standard deviation of the predicted class's probability.
    PredictedClassStd,
    /// Euclidean norm over classes of the standard deviations.
    L2Std,
    /// Entropy of the mean probabilities, in nats.
    PredictiveEntropy,
    /// Entropy of the mean less the mean of the entropies, in nats (BALD).
    MutualInformation,
    /// What `mean_std` is expected to be under the posterior of the last layer (`select.laplace`): it takes no passes.
    Laplace,
}

impl Uncertainty {
    /// In the order in which [`SampleStatistics`] stores them.
    pub const ALL: [Self; 6] = [
        Self::MeanStd,
        Self::PredictedClassStd,
        Self::L2Std,
        Self::PredictiveEntropy,
        Self::MutualInformation,
        Self::Laplace,
    ];
}

/// What T passes of three heads said about one image. Every selection rule is a function of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleStatistics {
    /// Mean probabilities of each head, in the order of [`Head::ALL`]; each sums to one.
    pub probabilities: [Vec<f32>; 3],
    /// Uncertainties of each head, in the order of [`Uncertainty::ALL`]; the last is 0 until [`SampleStatistics::with_laplace`].
    pub uncertainty: [[f32; 6]; 3],
}

impl SampleStatistics {
    /// From the probabilities of every pass, `[passes * classes]` for each head.
    pub fn from_passes(heads: [&[f32]; 3], classes: usize) -> Self {
        let summaries = heads.map(|passes| summarise(passes, classes));
        Self { uncertainty: [0, 1, 2].map(|head| summaries[head].1), probabilities: summaries.map(|(mean, _)| mean) }
    }

    /// The same image with other answers, in the order of [`Head::ALL`]: probabilities of one pass without dropout, say, which
    /// answer as the head does when it is deployed, while the passes with dropout say how uncertain it is.
    ///
    /// All uncertainties stay those of the passes, the predictive entropy among them; divergences follow the new answers.
    #[must_use]
    pub fn with_answers(&self, probabilities: [Vec<f32>; 3]) -> Self {
        Self { probabilities, uncertainty: self.uncertainty }
    }

    /// The same with the uncertainty under the posterior of each head's last layer.
    #[must_use]
    pub fn with_laplace(mut self, uncertainty: [f32; 3]) -> Self {
        for (all, own) in self.uncertainty.iter_mut().zip(uncertainty) {
            all[Uncertainty::Laplace as usize] = own;
        }
        self
    }

    /// The most probable class of a head; the first of equals.
    pub fn prediction(&self, head: Head) -> usize {
        argmax(&self.probabilities[head.index()])
    }
}

/// Index of the largest value; the first of equals.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    (1..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

/// Mean probabilities and the uncertainties of one head, those of its passes; standard deviations are those of the population.
fn summarise(passes: &[f32], classes: usize) -> (Vec<f32>, [f32; 6]) {
    let count = (passes.len() / classes) as f64;
    let mut mean = vec![0.0_f64; classes];
    let mut entropies = 0.0;
    for pass in passes.chunks_exact(classes) {
        mean.iter_mut().zip(pass).for_each(|(sum, &p)| *sum += f64::from(p) / count);
        entropies += entropy(pass.iter().map(|&p| f64::from(p))) / count;
    }
    let mut variance = vec![0.0_f64; classes];
    for pass in passes.chunks_exact(classes) {
        for ((sum, &p), m) in variance.iter_mut().zip(pass).zip(&mean) {
            *sum += (f64::from(p) - m).powi(2) / count;
        }
    }
    let best = argmax(&mean);
    let predictive = entropy(mean.iter().copied());
    let uncertainty = [
        variance.iter().map(|v| v.sqrt()).sum::<f64>() / classes as f64,
        variance[best].sqrt(),
        variance.iter().sum::<f64>().sqrt(),
        predictive,
        (predictive - entropies).max(0.0),
        0.0,
    ];
    (mean.into_iter().map(|p| p as f32).collect(), uncertainty.map(|u| u as f32))
}

/// In nats.
pub(crate) fn entropy(probabilities: impl Iterator<Item = f64>) -> f64 {
    probabilities.filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum()
}

/// Statistics of every row of `features`.
///
/// # Shapes
/// - features: at the backbone's end, one row for each of `samples` (their identities, which key the masks)
pub fn statistics(
    heads: &ThreeHeads,
    features: Features,
    samples: &[u64],
    config: &McConfig,
    device: &Device,
) -> Vec<SampleStatistics> {
    let masks = KeyedMasks::for_passes(config.seed, samples, config.passes, config.dropout);
    let pass = Pass::eval().with_masks(&masks);
    let logits = match config.common_masks {
        true => heads.forward_alike(features, config.passes, &pass),
        false => heads.forward(features, config.passes, &pass),
    };
    let classes = logits[0].dims()[1];
    debug_assert_eq!(logits[0].device(), *device);
    let [clean, combined, robust] = logits.map(probabilities);
    let row = config.passes * classes;
    let each = clean.chunks_exact(row).zip(combined.chunks_exact(row)).zip(robust.chunks_exact(row));
    each.map(|((c, m), r)| SampleStatistics::from_passes([c, m, r], classes)).collect()
}

fn probabilities(logits: Tensor<2>) -> Vec<f32> {
    activation::softmax(logits, 1).into_data().convert::<f32>().try_to_vec().expect("converted to f32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_the_definitions() {
        let (mean, u) = summarise(&[0.5, 0.5, 0.7, 0.3], 2);
        assert!((mean[0] - 0.6).abs() < 1e-6 && (mean[1] - 0.4).abs() < 1e-6);
        let entropy_of_mean = -(0.6_f32 * 0.6_f32.ln() + 0.4 * 0.4_f32.ln());
        let mean_entropy = 0.5 * (2.0_f32.ln() - (0.7 * 0.7_f32.ln() + 0.3 * 0.3_f32.ln()));
        let expected = [0.1, 0.1, 0.1 * 2.0_f32.sqrt(), entropy_of_mean, entropy_of_mean - mean_entropy];
        for (got, want) in u.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{u:?} against {expected:?}");
        }
    }

    #[test]
    fn one_pass_is_certain() {
        let (_, u) = summarise(&[0.9, 0.1], 2);
        assert_eq!([u[0], u[1], u[2], u[4]], [0.0; 4]);
    }
}
