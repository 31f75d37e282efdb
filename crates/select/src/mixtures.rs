//! Mixtures: one answer made of the answers of several heads or models, where a [`Route`](crate::Route) picks one of them.
//!
//! Every function takes the probabilities that the members gave for one image and needs no model.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mc::entropy;
use crate::rules::kl;

/// Keeps `1/U` finite, as in the rules that multiply uncertainties.
const EPS: f64 = 1e-8;
/// Least probability that enters a logarithm, as in the divergences of the rules.
const LEAST: f64 = 1e-8;

/// How the probabilities of several members (the three heads, or the original model and its teacher) become one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mixture {
    /// Arithmetic mean of the probabilities.
    Mean,
    /// Geometric mean of the probabilities, clamped at 1e-8, divided by its sum: the mean of log-probabilities.
    Geometric,
    /// Arithmetic mean with weights `exp(-H)`, H the entropy of a member in nats. For two members this is DaWin's plain
    /// output form. Source: Oh et al. 2025, "DaWin", arXiv:2410.03782; naver-ai/dawin, `main_dawin.py`.
    EntropyWeighted,
    /// Arithmetic mean with weights `1 / (U + 1e-8)`, U a member's uncertainty, at least 0. Members of one pass have U = 0 and
    /// weigh the same.
    InverseUncertainty,
    /// The member with the least `KL(member || mean of all)`; the first of equals. Of two members it is usually the less
    /// certain one: the mean of two distributions is closer to the flatter. Of three it sides with the majority.
    Routed,
    /// The second member where the first one's entropy is the larger, else the first: DaWin's `selective`, with the original
    /// (zero-shot) model first and the tuned one second.
    Selective,
}

/// Why members cannot be mixed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MixtureError {
    /// A name that is no mixture's.
    #[error("unknown mixture `{name}`; known are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Nobody to mix, or not the two that the rule is made for.
    #[error("mixture `{mixture}` is made of {expected} members, not of {found}")]
    Members {
        /// The mixture.
        mixture: Mixture,
        /// How many it takes.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// Members that answer for different classes.
    #[error("members of a mixture answer for {first} and {other} classes; they must share their classes")]
    Classes {
        /// Classes of the first member.
        first: usize,
        /// Classes of another.
        other: usize,
    },
    /// No uncertainties, or not one for each member.
    #[error(
        "mixture `{mixture}` weighs by uncertainty and has {found} of them for {members} members; only heads sampled by \
         Monte Carlo dropout have one"
    )]
    Uncertainty {
        /// The mixture.
        mixture: Mixture,
        /// How many members there are.
        members: usize,
        /// How many uncertainties there are.
        found: usize,
    },
    /// Calibration images that say nothing about a model's entropy.
    #[error("DaWin's offset cannot be fitted: {0}")]
    Fit(String),
}

impl Mixture {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] =
        [Self::Mean, Self::Geometric, Self::EntropyWeighted, Self::InverseUncertainty, Self::Routed, Self::Selective];

    /// The name in configurations and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Geometric => "geometric",
            Self::EntropyWeighted => "entropy_weighted",
            Self::InverseUncertainty => "inverse_uncertainty",
            Self::Routed => "routed",
            Self::Selective => "selective",
        }
    }

    /// Whether this mixture can be made of so many members, with or without their uncertainties.
    ///
    /// # Errors
    /// No member, not two for [`Mixture::Selective`], or no uncertainties for [`Mixture::InverseUncertainty`].
    pub fn check(self, members: usize, uncertainties: Option<usize>) -> Result<(), MixtureError> {
        let expected = match self {
            Self::Selective if members != 2 => "two",
            _ if members == 0 => "one or more",
            Self::InverseUncertainty if uncertainties != Some(members) => {
                return Err(MixtureError::Uncertainty {
                    mixture: self,
                    members,
                    found: uncertainties.unwrap_or_default(),
                });
            }
            _ => return Ok(()),
        };
        Err(MixtureError::Members { mixture: self, expected, found: members })
    }

    /// The mixture of what the members said about one image. Its probabilities sum to one if each member's do.
    ///
    /// # Arguments
    /// - members: probabilities in `[0, 1]` of each member, one for each class
    /// - uncertainty: one for each member, at least 0 in any unit; only [`Mixture::InverseUncertainty`] reads it
    ///
    /// # Errors
    /// What [`Mixture::check`] says, and members of different numbers of classes.
    pub fn mix(self, members: &[&[f32]], uncertainty: Option<&[f64]>) -> Result<Vec<f32>, MixtureError> {
        self.check(members.len(), uncertainty.map(<[f64]>::len))?;
        same_classes(members)?;
        let weights = match self {
            Self::Mean => vec![1.0; members.len()],
            Self::Geometric => return Ok(geometric(members)),
            Self::EntropyWeighted => members.iter().map(|member| (-entropy_of(member)).exp()).collect(),
            Self::InverseUncertainty => uncertainty.unwrap_or_default().iter().map(|u| 1.0 / (u + EPS)).collect(),
            Self::Routed => {
                let mean = weighted(members, &vec![1.0; members.len()]);
                let far: Vec<f64> = members.iter().map(|member| kl(member, &mean)).collect();
                let nearest = (1..far.len()).fold(0, |best, next| if far[next] < far[best] { next } else { best });
                return Ok(members[nearest].to_vec());
            }
            Self::Selective => {
                let tuned = entropy_of(members[0]) > entropy_of(members[1]);
                return Ok(members[usize::from(tuned)].to_vec());
            }
        };
        Ok(weighted(members, &weights))
    }
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mixture {
    type Err = MixtureError;

    fn from_str(name: &str) -> Result<Self, MixtureError> {
        Self::ALL
            .into_iter()
            .find(|mixture| mixture.name() == name)
            .ok_or_else(|| MixtureError::Unknown { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

/// The temperature above which and below which the negative log-likelihood of the labels is larger, in `[1/16, 16]`.
///
/// Dividing logits by T raises probabilities to `1/T`, so probabilities are enough. The likelihood is convex in `1/T`: its slope is
/// bisected. Source: Guo et al. 2017, arXiv:1706.04599, who search by L-BFGS.
///
/// # Arguments
/// - answers: probabilities (clamped at 1e-8) and label of each calibration image
///
/// 1 without an image whose label is among its classes.
pub fn fit_temperature<'a>(answers: impl IntoIterator<Item = (&'a [f32], usize)>) -> f64 {
    let logs: Vec<(Vec<f64>, usize)> = answers
        .into_iter()
        .filter(|(probabilities, label)| *label < probabilities.len())
        .map(|(probabilities, label)| (probabilities.iter().map(|&p| f64::from(p).max(LEAST).ln()).collect(), label))
        .collect();
    if logs.is_empty() {
        return 1.0;
    }
    // Slope of the negative log-likelihood in 1/T: the expected log-probability less that of the label.
    let slope = |inverse: f64| -> f64 {
        let of_image = |(logs, label): &(Vec<f64>, usize)| {
            let powers = normalised(logs, inverse);
            powers.iter().zip(logs).map(|(p, log)| p * log).sum::<f64>() - logs[*label]
        };
        logs.iter().map(of_image).sum()
    };
    // Bisected on a logarithmic scale: 60 halvings of four octaves either way are beyond double precision.
    let (mut low, mut high) = (-4.0_f64, 4.0_f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if slope(middle.exp2()) < 0.0 { low = middle } else { high = middle }
    }
    (-(low + high) / 2.0).exp2()
}

pub(crate) fn same_classes(members: &[&[f32]]) -> Result<(), MixtureError> {
    let first = members.first().map_or(0, |member| member.len());
    match members.iter().find(|member| member.len() != first) {
        Some(other) => Err(MixtureError::Classes { first, other: other.len() }),
        None => Ok(()),
    }
}

/// The mean with these weights, which need not sum to one.
pub(crate) fn weighted(members: &[&[f32]], weights: &[f64]) -> Vec<f32> {
    let total: f64 = weights.iter().sum();
    let mut mixed = vec![0.0_f64; members[0].len()];
    for (member, weight) in members.iter().zip(weights) {
        mixed.iter_mut().zip(*member).for_each(|(sum, &p)| *sum += weight / total * f64::from(p));
    }
    mixed.into_iter().map(|p| p as f32).collect()
}

fn geometric(members: &[&[f32]]) -> Vec<f32> {
    let mut logs = vec![0.0_f64; members[0].len()];
    for member in members {
        logs.iter_mut().zip(*member).for_each(|(sum, &p)| *sum += f64::from(p).max(LEAST).ln() / members.len() as f64);
    }
    normalised(&logs, 1.0).into_iter().map(|p| p as f32).collect()
}

/// `exp(inverse * logs)` over its sum; `-inf` gives 0.
pub(crate) fn normalised(logs: &[f64], inverse: f64) -> Vec<f64> {
    let most = logs.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let powers: Vec<f64> = logs.iter().map(|log| ((log - most) * inverse).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Sum of products, in eight sums side by side, which a compiler keeps in one register.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// In nats.
pub(crate) fn entropy_of(probabilities: &[f32]) -> f64 {
    entropy(probabilities.iter().map(|&p| f64::from(p)))
}

/// `softmax(logits / temperature)`, from the probabilities at temperature one, clamped at 1e-8.
pub(crate) fn tempered(probabilities: &[f32], temperature: f64) -> Vec<f32> {
    let logs: Vec<f64> = probabilities.iter().map(|&p| f64::from(p).max(LEAST).ln()).collect();
    normalised(&logs, 1.0 / temperature).into_iter().map(|p| p as f32).collect()
}

/// Entropy, in nats, of `softmax(logits / temperature)`, from the probabilities at temperature one.
pub(crate) fn tempered_entropy(probabilities: &[f32], temperature: f64) -> f64 {
    let logs: Vec<f64> = probabilities.iter().map(|&p| f64::from(p).ln()).collect();
    entropy(normalised(&logs, 1.0 / temperature).into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-6 + 1e-5 * expected.abs(), "{got} is not {expected}");
    }

    #[test]
    fn mixtures_are_their_definitions() {
        let (a, b) = ([0.8_f32, 0.2], [0.4_f32, 0.6]);
        let first = |mixture: Mixture, u: Option<&[f64]>| f64::from(mixture.mix(&[&a, &b], u).unwrap()[0]);
        near(first(Mixture::Mean, None), 0.6);
        let (up, down) = (0.32_f64.sqrt(), 0.12_f64.sqrt());
        near(first(Mixture::Geometric, None), up / (up + down));
        near(first(Mixture::InverseUncertainty, Some(&[0.1, 0.3])), 0.75 * 0.8 + 0.25 * 0.4);
        near(first(Mixture::InverseUncertainty, Some(&[0.0, 0.0])), 0.6);
        // H of b is larger: a, the first, stays.
        near(first(Mixture::Selective, None), 0.8);
        // Two of three agree, so their mean is nearer to them.
        let majority = Mixture::Routed.mix(&[&a, &b, &[0.45, 0.55]], None).unwrap();
        assert_eq!(majority, [0.45, 0.55]);
    }

    #[test]
    fn every_mixture_is_a_distribution_and_of_equals_the_same() {
        let (a, b) = ([0.0_f32, 0.3, 0.7], [1.0_f32, 0.0, 0.0]);
        for mixture in Mixture::ALL {
            let u = Some(&[0.2, 0.0][..]);
            let sum: f64 = mixture.mix(&[&a, &b], u).unwrap().into_iter().map(f64::from).sum();
            near(sum, 1.0);
            let same = mixture.mix(&[&a, &a], u).unwrap();
            same.iter().zip(&a).for_each(|(got, want)| near(f64::from(*got), f64::from(*want)));
            // The order of the members decides ties and nothing else.
            let there = mixture.mix(&[&a, &b], u).unwrap();
            let back = mixture.mix(&[&b, &a], Some(&[0.0, 0.2])).unwrap();
            there.iter().zip(back).for_each(|(x, y)| near(f64::from(*x), f64::from(y)));
        }
    }

    #[test]
    fn names_are_those_of_serde_and_errors_help() {
        for mixture in Mixture::ALL {
            assert_eq!(serde_json::to_string(&mixture).unwrap(), format!("\"{mixture}\""));
            assert_eq!(mixture.name().parse(), Ok(mixture));
        }
        let unknown = "median".parse::<Mixture>().unwrap_err().to_string();
        assert!(unknown.contains("`median`") && unknown.contains("entropy_weighted"), "{unknown}");
        let (two, three): (&[f32], &[f32]) = (&[0.5, 0.5], &[0.2, 0.3, 0.5]);
        let error = |mixture: Mixture, members: &[&[f32]]| mixture.mix(members, None).unwrap_err().to_string();
        assert!(error(Mixture::Mean, &[]).contains("one or more members, not of 0"));
        assert!(error(Mixture::Mean, &[two, three]).contains("2 and 3 classes"));
        assert!(error(Mixture::Selective, &[two; 3]).contains("two members, not of 3"));
        assert!(error(Mixture::InverseUncertainty, &[two; 2]).contains("Monte Carlo"));
    }

    #[test]
    fn a_fitted_temperature_undoes_one() {
        // Labels drawn exactly as often as the probabilities say, ten images a row; then the answers are sharpened.
        let truth = [[0.7_f64, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]];
        for temperature in [0.5, 1.0, 3.0] {
            let mut answers = Vec::new();
            for row in truth {
                let logs = row.map(f64::ln);
                let told: Vec<f32> = normalised(&logs, temperature).into_iter().map(|p| p as f32).collect();
                for (label, p) in row.iter().enumerate() {
                    answers.extend(std::iter::repeat_n((told.clone(), label), (p * 10.0).round() as usize));
                }
            }
            let fitted = fit_temperature(answers.iter().map(|(told, label)| (&told[..], *label)));
            near(fitted, temperature);
        }
        assert_eq!(fit_temperature([]), 1.0);
    }
}
