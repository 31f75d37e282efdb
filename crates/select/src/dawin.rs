//! DaWin: how much of a tuned model enters the answer for an image, by how certain the original and the tuned model are of it.
//!
//! [`Dawin`] mixes outputs, with offset and temperatures fitted once on validation images. The functions are the authors' forms on
//! plain numbers, which the weight form needs too: there a [`BetaMixture`](crate::BetaMixture) of the coefficients of all images of a
//! cell says with which interpolated weights each image is answered.
//!
//! Source: Oh et al. 2025, "DaWin", arXiv:2410.03782; naver-ai/dawin, `dawin_rft/main_dawin.py` and `utils.py`.

use serde::{Deserialize, Serialize};

use crate::MixtureError;
use crate::mc;
use crate::mixtures::{normalised, same_classes, tempered_entropy, weighted};

/// Entropy, in nats, of `softmax(logits / temperature)`.
pub fn entropy(logits: &[f64], temperature: f64) -> f64 {
    mc::entropy(normalised(logits, 1.0 / temperature).into_iter())
}

/// The share of the tuned model, in `[0, 1]`: `(exp(-tuned) + offset / weight) / (exp(-original) + exp(-tuned) + offset)`.
///
/// # Arguments
/// - original, tuned: what both models lack of certainty, in nats: entropies, or cross-entropies
/// - offset, weight: from [`offset`]; 0 and any weight above 0 for the plain form
pub fn coefficient(original: f64, tuned: f64, [offset, weight]: [f64; 2]) -> f64 {
    let [original, tuned] = [original, tuned].map(|entropy| (-entropy).exp());
    (tuned + offset / weight) / (original + tuned + offset)
}

/// Offset and its weight, `[b, w]`: `b = (std/mean of the original's + std/mean of the tuned model's) / 2`, with sample standard
/// deviations, and `w = (mean of the original's + mean of the tuned model's) / mean of the original's`. The authors take the whole
/// test set.
///
/// # Arguments
/// - pairs: entropies of the original and the tuned model for each image
///
/// # Errors
/// Fewer than two images, or a model that is certain of all of them.
pub fn offset(pairs: &[[f64; 2]]) -> Result<[f64; 2], MixtureError> {
    if pairs.len() < 2 {
        return Err(MixtureError::Fit(format!("it takes two calibration images or more, not {}", pairs.len())));
    }
    let count = pairs.len() as f64;
    let means = [0, 1].map(|k| pairs.iter().map(|pair| pair[k]).sum::<f64>() / count);
    if let Some(k) = means.iter().position(|mean| !(mean.is_finite() && *mean > 0.0)) {
        let model = ["original", "tuned"][k];
        return Err(MixtureError::Fit(format!("the mean entropy of the {model} model is not above 0")));
    }
    let variation = |k: usize| {
        let squares: f64 = pairs.iter().map(|pair| (pair[k] - means[k]).powi(2)).sum();
        (squares / (count - 1.0)).sqrt() / means[k]
    };
    Ok([(variation(0) + variation(1)) / 2.0, (means[0] + means[1]) / means[0]])
}

/// Whether the selective form takes the tuned model; a tie goes to the original.
pub fn takes_tuned(original: f64, tuned: f64) -> bool {
    original > tuned
}

/// Cross-entropies of the original and the tuned model, in nats, for [`coefficient`].
///
/// # Arguments
/// - logits: of both models
/// - target: a probability for each class; one at the label is the authors' form that knows labels, a limit and no method
pub fn cross_entropies(logits: [&[f64]; 2], target: &[f64]) -> [f64; 2] {
    logits.map(|logits| {
        let most = logits.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let log_sum = logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln() + most;
        target.iter().zip(logits).map(|(p, logit)| p * (log_sum - logit)).sum()
    })
}

/// The authors' soft pseudo-label: the mean of both models' probabilities, each at its temperature.
pub fn soft_label(logits: [&[f64]; 2], temperatures: [f64; 2]) -> Vec<f64> {
    let [original, tuned] = [0, 1].map(|k| normalised(logits[k], 1.0 / temperatures[k]));
    original.into_iter().zip(tuned).map(|(p, q)| (p + q) / 2.0).collect()
}

/// DaWin's mixture of the outputs of an original (zero-shot) and a tuned model, with offset and temperatures:
/// `p = (1 - c) p_original + c p_tuned` with `c = (exp(-H_tuned) + b/w) / (exp(-H_original) + exp(-H_tuned) + b)`.
///
/// The authors take `b` and `w` from the entropies of
/// the whole test set (it is transductive); here they are fitted once, on clean validation images, so that the answer
/// for an image depends on no other test image. The authors apply `c` to weights; this is the form that needs no forward pass.
/// Temperatures enter the entropies alone: the probabilities that are mixed stay as the models gave them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dawin {
    /// `b = (std/mean of H_original + std/mean of H_tuned) / 2`, sample standard deviations; no unit, at least 0.
    pub offset: f64,
    /// `w = (mean H_original + mean H_tuned) / mean H_original`; no unit, at least 1.
    pub weight: f64,
    /// Temperatures of the original and the tuned model, above 0; 1 leaves entropies as they are.
    pub temperatures: [f64; 2],
}

impl Dawin {
    /// Offset and weight from what both models said about calibration images: clean validation images, never test images.
    ///
    /// # Arguments
    /// - pairs: probabilities of the original and the tuned model for each image
    /// - temperatures: of both models, above 0, as from [`fit_temperature`]
    ///
    /// # Errors
    /// Fewer than two images, a model that is certain of all of them, or a temperature that is not above 0.
    pub fn fit<'a>(
        pairs: impl IntoIterator<Item = [&'a [f32]; 2]>,
        temperatures: [f64; 2],
    ) -> Result<Self, MixtureError> {
        if let Some(wrong) = temperatures.iter().find(|t| !(t.is_finite() && **t > 0.0)) {
            return Err(MixtureError::Fit(format!("temperature {wrong} is not above 0")));
        }
        let of_pair = |pair: [&[f32]; 2]| [0, 1].map(|k| tempered_entropy(pair[k], temperatures[k]));
        let [offset, weight] = offset(&pairs.into_iter().map(of_pair).collect::<Vec<_>>())?;
        Ok(Self { offset, weight, temperatures })
    }

    /// The share of the tuned model in the answer for one image, in `[0, 1]`, from the probabilities of both models.
    pub fn coefficient(&self, original: &[f32], tuned: &[f32]) -> f64 {
        let [original, tuned] = [0, 1].map(|k| tempered_entropy([original, tuned][k], self.temperatures[k]));
        coefficient(original, tuned, [self.offset, self.weight])
    }

    /// The mixture of what both models said about one image, probabilities that sum to one if each model's do.
    ///
    /// # Errors
    /// Different numbers of classes.
    pub fn mix(&self, original: &[f32], tuned: &[f32]) -> Result<Vec<f32>, MixtureError> {
        same_classes(&[original, tuned])?;
        let c = self.coefficient(original, tuned);
        Ok(weighted(&[original, tuned], &[1.0 - c, c]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mixture;
    use crate::mixtures::entropy_of;

    #[derive(Deserialize)]
    struct Golden {
        temperatures: [f64; 2],
        zero_shot_logits: Vec<Vec<f64>>,
        tuned_logits: Vec<Vec<f64>>,
        zero_shot_entropy: Vec<f64>,
        tuned_entropy: Vec<f64>,
        selective: Vec<usize>,
        coefficient_plain: Vec<f64>,
        coefficient_temperature: Vec<f64>,
        coefficient_offset: Vec<f64>,
        coefficient_offset_temperature: Vec<f64>,
        offset: [f64; 2],
        offset_temperature: [f64; 2],
    }

    /// The authors' numbers (`goldens/dawin/README.md`) and the probabilities of both models.
    fn golden() -> (Golden, Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let golden: Golden = serde_json::from_str(include_str!("../goldens/dawin/golden.json")).unwrap();
        let softmax = |logits: &Vec<f64>| normalised(logits, 1.0).into_iter().map(|p| p as f32).collect();
        let original = golden.zero_shot_logits.iter().map(softmax).collect();
        let tuned = golden.tuned_logits.iter().map(softmax).collect();
        (golden, original, tuned)
    }

    #[track_caller]
    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-6 + 1e-5 * expected.abs(), "{got} is not {expected}");
    }

    #[test]
    fn plain_and_selective_dawin_are_the_authors() {
        let (golden, original, tuned) = golden();
        for image in 0..12 {
            let (zs, ft) = (&original[image][..], &tuned[image][..]);
            near(entropy_of(zs), golden.zero_shot_entropy[image]);
            near(entropy_of(ft), golden.tuned_entropy[image]);
            let c = golden.coefficient_plain[image];
            let mixed = Mixture::EntropyWeighted.mix(&[zs, ft], None).unwrap();
            for (class, p) in mixed.iter().enumerate() {
                near(f64::from(*p), (1.0 - c) * f64::from(zs[class]) + c * f64::from(ft[class]));
            }
            let expected = [zs, ft][golden.selective[image]];
            assert_eq!(Mixture::Selective.mix(&[zs, ft], None).unwrap(), expected, "image {image}");
        }
    }

    #[test]
    fn dawins_offset_and_temperatures_are_the_authors() {
        let (golden, original, tuned) = golden();
        let pairs = || original.iter().zip(&tuned).map(|(zs, ft)| [&zs[..], &ft[..]]);
        let fitted = Dawin::fit(pairs(), [1.0; 2]).unwrap();
        let tempered = Dawin::fit(pairs(), golden.temperatures).unwrap();
        for (dawin, expected) in [(fitted, golden.offset), (tempered, golden.offset_temperature)] {
            near(dawin.offset, expected[0]);
            near(dawin.weight, expected[1]);
        }
        let no_offset = Dawin { offset: 0.0, weight: 2.0, temperatures: golden.temperatures };
        for (image, [zs, ft]) in pairs().enumerate() {
            near(no_offset.coefficient(zs, ft), golden.coefficient_temperature[image]);
            near(fitted.coefficient(zs, ft), golden.coefficient_offset[image]);
            let c = golden.coefficient_offset_temperature[image];
            near(tempered.coefficient(zs, ft), c);
            near(f64::from(tempered.mix(zs, ft).unwrap()[0]), (1.0 - c) * f64::from(zs[0]) + c * f64::from(ft[0]));
        }
    }

    #[test]
    fn dawin_says_what_it_cannot_be_fitted_to() {
        let (sure, unsure): (&[f32], &[f32]) = (&[1.0, 0.0], &[0.5, 0.5]);
        let fit = |pairs: &[[&[f32]; 2]], t| Dawin::fit(pairs.iter().copied(), t).unwrap_err().to_string();
        assert!(fit(&[[unsure, unsure]], [1.0; 2]).contains("two calibration images or more, not 1"));
        assert!(fit(&[[unsure, sure]; 3], [1.0; 2]).contains("entropy of the tuned model is not above 0"));
        assert!(fit(&[[unsure, unsure]; 3], [1.0, 0.0]).contains("temperature 0"));
    }

    #[test]
    fn plain_functions_are_the_authors_on_logits() {
        let (golden, ..) = golden();
        let rows = || golden.zero_shot_logits.iter().zip(&golden.tuned_logits);
        let entropies = |t: [f64; 2]| rows().map(|(zs, ft)| [entropy(zs, t[0]), entropy(ft, t[1])]).collect::<Vec<_>>();
        let tempered = entropies(golden.temperatures);
        let [b, w] = offset(&tempered).unwrap();
        for (image, [zs, ft]) in entropies([1.0; 2]).into_iter().enumerate() {
            near(zs, golden.zero_shot_entropy[image]);
            near(coefficient(zs, ft, [0.0, 2.0]), golden.coefficient_plain[image]);
            assert_eq!(usize::from(takes_tuned(zs, ft)), golden.selective[image]);
            let [zs, ft] = tempered[image];
            near(coefficient(zs, ft, [b, w]), golden.coefficient_offset_temperature[image]);
        }
        // Of a soft label that is the model's own answer the cross-entropy is its entropy.
        let (zs, ft) = rows().next().unwrap();
        let own = soft_label([zs, zs], [1.0; 2]);
        near(cross_entropies([zs, ft], &own)[0], golden.zero_shot_entropy[0]);
    }
}
