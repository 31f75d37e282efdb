use robustify_rng::Key;
use serde::{Deserialize, Serialize};

use crate::{Head, SampleStatistics, Uncertainty};

/// A way to answer for an image: one head for all, or a rule that picks the clean or the robust head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Least product of uncertainty and KL divergence: the paper's rule, as far as it is known.
    Product,
    /// Least KL divergence ("without U").
    Kl,
    /// Least uncertainty ("without KL").
    Uncertainty,
    /// Least weighted sum of uncertainty and KL divergence.
    Sum,
    /// Largest probability ("max logit").
    MaxProb,
    /// Least entropy of the mean probabilities.
    Entropy,
    /// Always the clean head.
    Clean,
    /// Always the combined head.
    Combined,
    /// Always the robust head.
    Robust,
    /// Clean or robust by a coin that depends on the seed and the sample.
    Random,
    /// The head that is right, when one is: the limit of any rule.
    Oracle,
}

impl Route {
    /// All, in the order of tables.
    pub const ALL: [Self; 11] = [
        Self::Product,
        Self::Kl,
        Self::Uncertainty,
        Self::Sum,
        Self::MaxProb,
        Self::Entropy,
        Self::Clean,
        Self::Combined,
        Self::Robust,
        Self::Random,
        Self::Oracle,
    ];

    /// The name in configurations and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Kl => "kl",
            Self::Uncertainty => "uncertainty",
            Self::Sum => "sum",
            Self::MaxProb => "max_prob",
            Self::Entropy => "entropy",
            Self::Clean => "clean",
            Self::Combined => "combined",
            Self::Robust => "robust",
            Self::Random => "random",
            Self::Oracle => "oracle",
        }
    }
}

/// Which way the divergence between a head and the combined head is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlDirection {
    /// `KL(head || combined)`.
    #[default]
    HeadToCombined,
    /// `KL(combined || head)`.
    CombinedToHead,
}

/// Means on clean tuning images by which uncertainty and divergence are divided, for the clean and the robust head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Of the uncertainty.
    pub uncertainty: [f64; 2],
    /// Of the divergence.
    pub kl: [f64; 2],
}

impl Default for Calibration {
    fn default() -> Self {
        Self { uncertainty: [1.0; 2], kl: [1.0; 2] }
    }
}

/// How a head is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectConfig {
    /// The rule that answers.
    pub rule: Route,
    /// The measure of uncertainty.
    #[serde(default)]
    pub uncertainty: Uncertainty,
    /// The direction of the divergence.
    #[serde(default)]
    pub kl_direction: KlDirection,
    /// Weight of the uncertainty in [`Route::Sum`]; the divergence has the rest.
    #[serde(default = "half")]
    pub sum_weight: f64,
    /// Seed of [`Route::Random`].
    #[serde(default)]
    pub seed: u64,
    /// Divisors of uncertainty and divergence.
    #[serde(skip)]
    pub calibration: Calibration,
}

fn half() -> f64 {
    0.5
}

impl Default for SelectConfig {
    fn default() -> Self {
        Self {
            rule: Route::Product,
            uncertainty: Uncertainty::default(),
            kl_direction: KlDirection::default(),
            sum_weight: half(),
            seed: 0,
            calibration: Calibration::default(),
        }
    }
}

impl SelectConfig {
    /// Keeps both factors of the product above zero, so that a tie in one leaves the other to decide.
    const EPS: f64 = 1e-8;

    /// The head that `route` takes for a sample; a tie goes to the clean head. Only the oracle reads the label.
    pub fn choose(&self, route: Route, sample: &SampleStatistics, label: usize, id: u64) -> Head {
        let by_least = |score: [f64; 2]| if score[1] < score[0] { Head::Robust } else { Head::Clean };
        let u = || self.uncertainties(sample);
        let kl = || self.divergences(sample);
        let most = |head: Head| sample.probabilities[head.index()].iter().fold(0.0_f32, |a, &b| a.max(b));
        match route {
            Route::Clean => Head::Clean,
            Route::Combined => Head::Combined,
            Route::Robust => Head::Robust,
            Route::Product => by_least([0, 1].map(|k| (u()[k] + Self::EPS) * (kl()[k] + Self::EPS))),
            Route::Kl => by_least(kl()),
            Route::Uncertainty => by_least(u()),
            Route::Sum => by_least([0, 1].map(|k| self.sum_weight * u()[k] + (1.0 - self.sum_weight) * kl()[k])),
            Route::MaxProb => by_least([-f64::from(most(Head::Clean)), -f64::from(most(Head::Robust))]),
            Route::Entropy => {
                let entropy =
                    |head: Head| f64::from(sample.uncertainty[head.index()][Uncertainty::PredictiveEntropy as usize]);
                by_least([entropy(Head::Clean), entropy(Head::Robust)])
            }
            Route::Random => {
                let coin = Key::new(self.seed, "random route").with(id).stream().chance(0.5);
                if coin { Head::Clean } else { Head::Robust }
            }
            Route::Oracle => {
                let robust_alone = sample.prediction(Head::Robust) == label && sample.prediction(Head::Clean) != label;
                if robust_alone { Head::Robust } else { Head::Clean }
            }
        }
    }

    /// Uncertainty of the clean and the robust head, over its mean on clean tuning images when calibrated.
    pub fn uncertainties(&self, sample: &SampleStatistics) -> [f64; 2] {
        let of = |head: Head| f64::from(sample.uncertainty[head.index()][self.uncertainty as usize]);
        [of(Head::Clean) / self.calibration.uncertainty[0], of(Head::Robust) / self.calibration.uncertainty[1]]
    }

    /// Divergence between the combined head and the clean or the robust head, in nats, over its mean on clean tuning
    /// images when calibrated.
    pub fn divergences(&self, sample: &SampleStatistics) -> [f64; 2] {
        let combined = &sample.probabilities[Head::Combined.index()];
        let of = |head: Head| {
            let own = &sample.probabilities[head.index()];
            match self.kl_direction {
                KlDirection::HeadToCombined => kl(own, combined),
                KlDirection::CombinedToHead => kl(combined, own),
            }
        };
        [of(Head::Clean) / self.calibration.kl[0], of(Head::Robust) / self.calibration.kl[1]]
    }
}

/// `KL(p || q)` in nats, probabilities clamped at 1e-8.
///
/// Written as the sum of `p ln(p/q) - p + q`, which is the same when both sum to one. No term is negative, and the rounding
/// of 32-bit sums does not enter: without it, noise of 1e-7 would decide between heads that both all but agree.
fn kl(p: &[f32], q: &[f32]) -> f64 {
    let clamped = |x: f32| f64::from(x).max(1e-8);
    p.iter().zip(q).map(|(&p, &q)| (clamped(p), clamped(q))).map(|(p, q)| (p * (p / q).ln() - p + q).max(0.0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(clean: [f32; 2], combined: [f32; 2], robust: [f32; 2], u: [f32; 2]) -> SampleStatistics {
        let probabilities = [clean, combined, robust].map(|p| p.to_vec());
        SampleStatistics { probabilities, uncertainty: [[u[0]; 5], [0.0; 5], [u[1]; 5]] }
    }

    #[test]
    fn each_rule_reads_its_own_evidence() {
        let config = SelectConfig::default();
        // The clean head is certain and wrong: small U, large KL.
        let s = sample([0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.01, 0.05]);
        let chosen = |route| config.choose(route, &s, 1, 0);
        assert_eq!(chosen(Route::Product), Head::Robust);
        assert_eq!(chosen(Route::Kl), Head::Robust);
        assert_eq!(chosen(Route::Uncertainty), Head::Clean);
        assert_eq!(chosen(Route::MaxProb), Head::Clean);
        assert_eq!(chosen(Route::Entropy), Head::Clean);
        assert_eq!(chosen(Route::Oracle), Head::Robust);
        assert_eq!(config.choose(Route::Oracle, &s, 0, 0), Head::Clean);
    }

    #[test]
    fn equal_evidence_goes_to_the_clean_head() {
        let s = sample([0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.1, 0.1]);
        for route in
            [Route::Product, Route::Kl, Route::Uncertainty, Route::Sum, Route::MaxProb, Route::Entropy, Route::Oracle]
        {
            assert_eq!(SelectConfig::default().choose(route, &s, 0, 0), Head::Clean, "{route:?}");
        }
    }

    #[test]
    fn a_divergence_is_never_negative_and_small_ones_keep_their_order() {
        let divergence =
            |p: [f32; 2], q: [f32; 2]| SelectConfig::default().divergences(&sample(p, q, q, [0.1, 0.1]))[0];
        // As 32-bit softmax gives them: sums are off by a rounding.
        assert!(divergence([0.999_999_8, 1e-7], [0.999_999_94, 1.2e-7]) >= 0.0);
        let near = divergence([0.999_999_9, 2e-7], [0.999_999_9, 1e-7]);
        let far = divergence([0.999_999_8, 4e-7], [0.999_999_9, 1e-7]);
        assert!(0.0 < near && near < far, "{near} {far}");
    }

    #[test]
    fn directions_of_the_divergence_differ() {
        let s = sample([0.99, 0.01], [0.5, 0.5], [0.6, 0.4], [0.1, 0.1]);
        let there = SelectConfig::default().divergences(&s);
        let back =
            SelectConfig { kl_direction: KlDirection::CombinedToHead, ..SelectConfig::default() }.divergences(&s);
        assert!((there[0] - (0.99 * 1.98_f64.ln() + 0.01 * 0.02_f64.ln())).abs() < 1e-6);
        assert!(back[0] > there[0]);
    }
}
