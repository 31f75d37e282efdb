//! Error under corruption over that of a baseline (mCE), and accuracy beyond what accuracy on clean images lets expect (effective robustness).
//!
//! Sources: Hendrycks & Dietterich 2019, arXiv:1903.12261, section 4; Taori et al. 2020, arXiv:2007.00644.

use std::collections::BTreeMap;

/// Mean error of AlexNet over the five severities of every corruption of ImageNet-C, as the authors' code has them.
const ALEXNET: [(&str, f64); 15] = [
    ("gaussian_noise", 0.886428),
    ("shot_noise", 0.894468),
    ("impulse_noise", 0.922640),
    ("defocus_blur", 0.819880),
    ("glass_blur", 0.826268),
    ("motion_blur", 0.785948),
    ("zoom_blur", 0.798360),
    ("snow", 0.866816),
    ("frost", 0.826572),
    ("fog", 0.819324),
    ("brightness", 0.564592),
    ("contrast", 0.853204),
    ("elastic_transform", 0.646056),
    ("pixelate", 0.717840),
    ("jpeg_compression", 0.606500),
];

/// Error of AlexNet on ImageNet's validation images.
const ALEXNET_CLEAN: f64 = 0.4348;

/// Errors, as fractions, of a model that others are measured against.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// On clean images.
    pub clean: f64,
    /// Of every corruption by name, the mean over its severities.
    pub corruptions: BTreeMap<String, f64>,
}

/// Errors of a model in percent of a baseline's.
#[derive(Clone, Debug, PartialEq)]
pub struct CorruptionError {
    /// Of every corruption by name: its errors over the baseline's.
    pub errors: BTreeMap<String, f64>,
    /// The mean of these: mCE.
    pub mean: f64,
    /// Of every corruption by name: what it adds to the error on clean images, over what it adds to the baseline's.
    pub relative: BTreeMap<String, f64>,
    /// The mean of these: relative mCE.
    pub relative_mean: f64,
}

impl Baseline {
    /// AlexNet, as for ImageNet-C.
    pub fn alexnet() -> Self {
        let corruptions = ALEXNET.map(|(name, error)| (name.to_owned(), error)).into();
        Self { clean: ALEXNET_CLEAN, corruptions }
    }

    /// mCE and relative mCE of a model, from its errors as fractions: on clean images, and of every corruption at each severity. None
    /// unless there are errors of every corruption of the baseline.
    pub fn compare(&self, clean: f64, errors: &BTreeMap<String, Vec<f64>>) -> Option<CorruptionError> {
        let of = |relative: bool| {
            let ratio = |(name, baseline): (&String, &f64)| {
                let own = errors.get(name).filter(|own| !own.is_empty())?;
                let [less, baseline_less] = if relative { [clean, self.clean] } else { [0.0; 2] };
                let added: f64 = own.iter().map(|error| error - less).sum();
                Some((name.clone(), 100.0 * added / (own.len() as f64 * (baseline - baseline_less))))
            };
            self.corruptions.iter().map(ratio).collect::<Option<BTreeMap<_, _>>>()
        };
        let mean = |of: &BTreeMap<String, f64>| of.values().sum::<f64>() / of.len() as f64;
        let (errors, relative) = (of(false)?, of(true)?);
        let (mean, relative_mean) = (mean(&errors), mean(&relative));
        (!self.corruptions.is_empty()).then_some(CorruptionError { errors, mean, relative, relative_mean })
    }
}

/// What accuracy under a shift goes with an accuracy on clean images, fitted over models that nobody made robust: a line between the
/// logits of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Logit of the accuracy under shift where that on clean images has logit 0, an accuracy of one half.
    pub intercept: f64,
    /// Change of the one logit with the other.
    pub slope: f64,
}

impl Trend {
    /// Ordinary least squares over models, of each the accuracy on clean images and under shift, both within `(0, 1)`. None unless
    /// two of them differ on clean images.
    pub fn fit(models: &[[f64; 2]]) -> Option<Self> {
        let logits: Vec<[f64; 2]> = models.iter().map(|accuracies| accuracies.map(logit)).collect();
        let mean = |k: usize| logits.iter().map(|pair| pair[k]).sum::<f64>() / logits.len() as f64;
        let [x, y] = [mean(0), mean(1)];
        let (mut both, mut square) = (0.0, 0.0);
        for pair in &logits {
            both += (pair[0] - x) * (pair[1] - y);
            square += (pair[0] - x).powi(2);
        }
        let slope = both / square;
        slope.is_finite().then_some(Self { intercept: y - slope * x, slope })
    }

    /// The accuracy under shift that an accuracy on clean images lets expect.
    pub fn expected(&self, clean: f64) -> f64 {
        1.0 / (1.0 + (-(self.intercept + self.slope * logit(clean))).exp())
    }

    /// Effective robustness: the accuracy under shift less the expected one.
    pub fn effective(&self, [clean, shifted]: [f64; 2]) -> f64 {
        shifted - self.expected(clean)
    }
}

fn logit(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alexnet_has_an_error_of_a_hundred_by_definition() {
        let alexnet = Baseline::alexnet();
        let own: BTreeMap<_, _> =
            alexnet.corruptions.iter().map(|(name, error)| (name.clone(), vec![*error; 5])).collect();
        let found = alexnet.compare(ALEXNET_CLEAN, &own).unwrap();
        assert!((found.mean - 100.0).abs() < 1e-9 && (found.relative_mean - 100.0).abs() < 1e-9);
        let half: BTreeMap<_, _> = own.iter().map(|(name, errors)| (name.clone(), vec![errors[0] / 2.0])).collect();
        assert!((alexnet.compare(0.2, &half).unwrap().mean - 50.0).abs() < 1e-9);
        let mut missing = own;
        missing.remove("fog");
        assert_eq!(alexnet.compare(0.2, &missing), None);
    }

    #[test]
    fn a_model_on_the_trend_is_as_robust_as_expected() {
        let models = [[0.6, 0.3], [0.8, 0.58]];
        let trend = Trend::fit(&models).unwrap();
        assert!(trend.effective(models[1]).abs() < 1e-12);
        assert!((trend.effective([0.6, 0.4]) - 0.1).abs() < 1e-12);
        assert_eq!(Trend::fit(&[[0.6, 0.3]; 3]), None);
    }
}
