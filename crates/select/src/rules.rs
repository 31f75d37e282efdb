use robustify_rng::Key;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Head, Mixture, SampleStatistics, Uncertainty};

/// A way to answer for an image: one head for all, or a rule that picks the clean or the robust head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

impl Calibration {
    /// Means over what the heads said about clean tuning or validation images, in the measure of uncertainty and the direction
    /// of the divergence that `config` names; rules that use it must have the same two. `None` of no images.
    ///
    /// A factor whose mean is nearly zero for a head (the uncertainty after one pass, say) says nothing about that head's scale, so
    /// neither head is divided by it: dividing one of them alone would send every image to the other.
    pub fn fit(samples: &[SampleStatistics], config: &SelectConfig) -> Option<Self> {
        let raw = SelectConfig { calibration: Self::default(), ..*config };
        let mean = |of: &dyn Fn(&SampleStatistics) -> [f64; 2]| {
            let sum = samples.iter().map(of).fold([0.0; 2], |sum, next| [sum[0] + next[0], sum[1] + next[1]]);
            let mean = sum.map(|sum| sum / samples.len() as f64);
            if mean.iter().all(|mean| mean.is_finite() && *mean > SelectConfig::EPS) { mean } else { [1.0; 2] }
        };
        let fitted = || Self {
            uncertainty: mean(&|sample| raw.uncertainties(sample)),
            kl: mean(&|sample| raw.divergences(sample)),
        };
        (!samples.is_empty()).then(fitted)
    }
}

/// A rule under the name that it has in results: a [`Route`] with all it needs to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamedRule {
    /// The name in results.
    pub name: &'static str,
    /// What is compared.
    pub route: Route,
    /// How; for a calibrated rule with its divisors.
    pub config: SelectConfig,
}

impl NamedRule {
    /// The head that the rule takes for a sample; a tie goes to the clean head. Only the oracle reads the label.
    pub fn choose(&self, sample: &SampleStatistics, label: usize, id: u64) -> Head {
        self.config.choose(self.route, sample, label, id)
    }
}

/// What answers for a model with three heads: a choice between them, or a mixture of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Rule {
    /// One head.
    Route(Route),
    /// All heads together.
    Mixture(Mixture),
}

impl Rule {
    /// The name in configurations and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route(route) => route.name(),
            Self::Mixture(mixture) => mixture.name(),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let routes = Route::ALL.map(Self::Route).into_iter();
        let mut all = routes.chain(Mixture::ALL.map(Self::Mixture));
        all.clone().find(|rule| rule.name() == name).ok_or_else(|| {
            let names: Vec<&str> = all.by_ref().map(Self::name).collect();
            D::Error::custom(format!("unknown rule `{name}`; rules are {}", names.join(", ")))
        })
    }
}

/// How three heads answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectConfig {
    /// The rule that answers.
    pub rule: Rule,
    /// Whether the heads answer without dropout; passes with dropout are then made only for rules that read an uncertainty.
    #[serde(default)]
    pub deterministic: bool,
    /// The measure of uncertainty.
    #[serde(default)]
    pub uncertainty: Uncertainty,
    /// The direction of the divergence.
    #[serde(default)]
    pub kl_direction: KlDirection,
    /// Weight of the uncertainty in the rule `sum`; the divergence has the rest.
    #[serde(default = "half")]
    pub sum_weight: f64,
    /// Seed of the rule `random`.
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
            rule: Rule::Route(Route::Product),
            deterministic: false,
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

    /// All rules that can be compared: every [`Route`] under its own name, as this configuration has it; with a `calibration`
    /// also `product_calibrated`, `kl_calibrated` and `uncertainty_calibrated`, which divide uncertainty and divergence of each
    /// head by their means on clean images: otherwise the head that is usually the less certain one is hardly ever chosen.
    pub fn rules(&self, calibration: Option<&Calibration>) -> Vec<NamedRule> {
        let plain = Route::ALL.map(|route| NamedRule { name: route.name(), route, config: *self });
        let calibrated = calibration.into_iter().flat_map(|&calibration| {
            let config = Self { calibration, ..*self };
            [
                ("product_calibrated", Route::Product),
                ("kl_calibrated", Route::Kl),
                ("uncertainty_calibrated", Route::Uncertainty),
            ]
            .map(|(name, route)| NamedRule { name, route, config })
        });
        plain.into_iter().chain(calibrated).collect()
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
pub(crate) fn kl(p: &[f32], q: &[f32]) -> f64 {
    let clamped = |x: f32| f64::from(x).max(1e-8);
    p.iter().zip(q).map(|(&p, &q)| (clamped(p), clamped(q))).map(|(p, q)| (p * (p / q).ln() - p + q).max(0.0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(clean: [f32; 2], combined: [f32; 2], robust: [f32; 2], u: [f32; 2]) -> SampleStatistics {
        let probabilities = [clean, combined, robust].map(|p| p.to_vec());
        SampleStatistics { probabilities, uncertainty: [[u[0]; 6], [0.0; 6], [u[1]; 6]] }
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

    #[test]
    fn a_calibrated_rule_weighs_heads_by_what_is_usual_for_them() {
        let config = SelectConfig { uncertainty: Uncertainty::PredictedClassStd, ..SelectConfig::default() };
        // On clean images the robust head is twice as uncertain as the clean one.
        let usual = [
            sample([0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.1, 0.2]),
            sample([0.8, 0.2], [0.7, 0.3], [0.5, 0.5], [0.3, 0.6]),
        ];
        let fitted = Calibration::fit(&usual, &config).unwrap();
        let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{got} is not {expected}");
        near(fitted.uncertainty[0], 0.2);
        near(fitted.uncertainty[1], 0.4);
        for (k, mean) in fitted.kl.into_iter().enumerate() {
            near(mean, (config.divergences(&usual[0])[k] + config.divergences(&usual[1])[k]) / 2.0);
        }
        // One already fitted is not divided by itself.
        assert_eq!(Calibration::fit(&usual, &SelectConfig { calibration: fitted, ..config }), Some(fitted));

        let rules = config.rules(Some(&fitted));
        let chosen = |name: &str, sample| rules.iter().find(|rule| rule.name == name).unwrap().choose(sample, 0, 0);
        // Less certain than the clean head, but more than it usually is.
        let shifted = sample([0.8, 0.2], [0.7, 0.3], [0.7, 0.3], [0.3, 0.4]);
        assert_eq!(chosen("uncertainty", &shifted), Head::Clean);
        assert_eq!(chosen("uncertainty_calibrated", &shifted), Head::Robust);
        // Nearly as far from the combined head as the clean one, which is near to it usually.
        let far = sample([0.8, 0.2], [0.7, 0.3], [0.58, 0.42], [0.2, 0.4]);
        assert_eq!([chosen("kl", &far), chosen("product", &far)], [Head::Clean; 2]);
        assert_eq!([chosen("kl_calibrated", &far), chosen("product_calibrated", &far)], [Head::Robust; 2]);
    }

    #[test]
    fn rules_without_a_calibration_are_the_routes() {
        let config = SelectConfig::default();
        let names: Vec<&str> = config.rules(None).iter().map(|rule| rule.name).collect();
        assert_eq!(names, Route::ALL.map(Route::name));
        let rules = config.rules(Some(&Calibration { uncertainty: [0.1, 0.4], kl: [0.2, 0.1] }));
        assert_eq!(rules.len(), Route::ALL.len() + 3);
        assert!(rules[..Route::ALL.len()].iter().all(|rule| rule.config == config));
        assert_eq!(Calibration::fit(&[], &config), None);
    }

    #[test]
    fn a_factor_without_a_scale_is_not_divided() {
        // One pass: no uncertainty at all. The clean head is the combined one: no divergence of that head.
        let one_pass = sample([0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.0, 0.0]);
        assert_eq!(Calibration::fit(&[one_pass], &SelectConfig::default()), Some(Calibration::default()));
    }

    #[test]
    fn deterministic_answers_keep_the_uncertainty_of_the_passes() {
        let passes = sample([0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.01, 0.05]);
        let answers = [vec![0.4, 0.6], vec![0.3, 0.7], vec![0.8, 0.2]];
        let sample = passes.with_answers(answers.clone());
        assert_eq!(sample.probabilities, answers);
        let config = SelectConfig::default();
        assert_eq!(config.uncertainties(&sample), config.uncertainties(&passes));
        // The divergences are those of the new answers: now the clean head is the near one.
        assert_eq!(config.choose(Route::Kl, &passes, 0, 0), Head::Robust);
        assert_eq!(config.choose(Route::Kl, &sample, 0, 0), Head::Clean);
    }
}
