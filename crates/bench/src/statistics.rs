//! Whether a difference is more than chance: intervals and tests.
//!
//! The corrupted cells of a benchmark show the same images again and again, so their outcomes are no independent draws: an image that
//! is hard under fog is hard under frost. [`paired_bootstrap`] therefore draws *images*, and keeps all cells of an image together.
//! Everything here is a function of stored outcomes.

mod bootstrap;
mod joint;

pub use bootstrap::{
    Bootstrap, Comparison, Resampled, Scored, StatisticsError, paired_bootstrap, paired_effects, paired_on,
};
pub use joint::JointBootstrap;

/// An estimate and the interval around it, all three in the same unit (fractions, for accuracies).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// What was measured.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The confidence that the interval is made for, in `(0, 1)`: 0.95 for 95 %.
    pub level: f64,
}

impl Interval {
    /// A difference of fractions in points, with both ends: `+0.5 (+0.1 to +0.9)`.
    pub fn in_points(&self) -> String {
        let [estimate, low, high] = [self.estimate, self.low, self.high].map(points);
        format!("{estimate} ({low} to {high})")
    }
}

/// Two-sided exact p of McNemar's test: how likely images on which exactly one of two predictors is right would be divided as
/// unevenly as this by fair coins. For one cell; over several cells images are not independent, see [`paired_bootstrap`].
///
/// Source: McNemar 1947; the exact form is the binomial test, `min(1, 2 sum_{i <= min} C(n, i) / 2^n)`.
pub fn mcnemar_exact(only_first: u64, only_second: u64) -> f64 {
    let [sum, _] = lower_tail(only_first, only_second);
    (2.0 * sum).min(1.0)
}

/// McNemar's mid-p: [`mcnemar_exact`] with half the weight on the division that was seen, so that it is not as cautious.
///
/// Source: Fagerland et al. 2013, doi:10.1186/1471-2288-13-91: `min(1, 2 sum_{i <= min} C(n, i) / 2^n - C(n, min) / 2^n)`.
pub fn mcnemar_mid(only_first: u64, only_second: u64) -> f64 {
    let [sum, seen] = lower_tail(only_first, only_second);
    (2.0 * sum - seen).min(1.0)
}

/// How likely fair coins divide so many images at least as unevenly, to one side, and exactly so.
fn lower_tail(only_first: u64, only_second: u64) -> [f64; 2] {
    let least = only_first.min(only_second);
    let total = only_first + only_second;
    // The largest term as a logarithm, for it may be too small for a number; the others relative to it, from large to small.
    let logs: f64 = (0..least).map(|i| ((total - i) as f64 / (i + 1) as f64).ln()).sum();
    let largest = logs - total as f64 * std::f64::consts::LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for i in (1..=least).rev() {
        term *= i as f64 / (total - i + 1) as f64;
        sum += term;
        if term < 1e-18 {
            break;
        }
    }
    [largest.exp() * sum, largest.exp()]
}

/// The mean of independent values, one for each seed, with Student's interval: `mean ± t · s / √n`, s the sample standard
/// deviation. At three seeds and 95 % that is 2.5 standard deviations.
///
/// `None` of fewer than two values, which have no spread, and for a level outside `(0, 1)`.
pub fn t_interval(values: &[f64], level: f64) -> Option<Interval> {
    if values.len() < 2 || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let count = values.len() as f64;
    let estimate = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - estimate).powi(2)).sum();
    let half = t_quantile(level, values.len() - 1) * (squares / (count - 1.0) / count).sqrt();
    Some(Interval { estimate, low: estimate - half, high: estimate + half, level })
}

/// The t below which the absolute value of Student's t with so many degrees of freedom lies with probability `level`.
///
/// Source: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4, finite sums in θ = atan(t/√ν) that grow with θ, bisected here.
fn t_quantile(level: f64, freedom: usize) -> f64 {
    let probability = |theta: f64| {
        let (sin, cos) = theta.sin_cos();
        // Odd: 1 + 2/3 cos² + (2·4)/(3·5) cos⁴ + …; even: 1 + 1/2 cos² + (1·3)/(2·4) cos⁴ + …; up to the power ν-3 or ν-2.
        let odd = freedom % 2;
        let (mut term, mut sum) = (1.0, 0.0);
        for k in 0..freedom.saturating_sub(odd) / 2 {
            sum += term;
            term *= cos * cos * (2 * k + 1 + odd) as f64 / (2 * k + 2 + odd) as f64;
        }
        if odd == 1 { (theta + sin * cos * sum) / std::f64::consts::FRAC_PI_2 } else { sin * sum }
    };
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if probability(middle) < level { low = middle } else { high = middle }
    }
    (freedom as f64).sqrt() * ((low + high) / 2.0).tan()
}

/// A fraction in points with its sign and one decimal; nothing that rounds to zero has a sign.
pub fn points(fraction: f64) -> String {
    let rounded = (fraction * 1000.0).round() / 10.0;
    match rounded {
        0.0 => "0.0".into(),
        _ if rounded < 0.0 => format!("−{:.1}", -rounded),
        _ => format!("+{rounded:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        mcnemar_exact: McNemar,
    }

    #[derive(Deserialize)]
    struct McNemar {
        cases: Vec<Discordant>,
    }

    #[derive(Deserialize)]
    struct Discordant {
        only_a_right: u64,
        only_b_right: u64,
        p: f64,
        mid_p: f64,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../goldens/metrics/golden.json")).unwrap()
    }

    #[track_caller]
    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{got} is not {expected}");
    }

    #[test]
    fn mcnemars_p_is_the_binomial_one() {
        for Discordant { only_a_right, only_b_right, p, mid_p } in golden().mcnemar_exact.cases {
            near(mcnemar_exact(only_a_right, only_b_right), p);
            near(mcnemar_exact(only_b_right, only_a_right), p);
            near(mcnemar_mid(only_a_right, only_b_right), mid_p);
        }
        // Far beyond the powers of two that a number holds; the normal approximation gives z = 6.32.
        let many = mcnemar_exact(48_000, 50_000);
        assert!((1e-10..3e-10).contains(&many), "{many}");
    }

    #[test]
    fn students_interval_is_that_of_the_tables() {
        // Tables of the t distribution, two-sided.
        for (freedom, level, t) in [
            (1, 0.95, 12.706_204_736),
            (2, 0.95, 4.302_652_730),
            (3, 0.95, 3.182_446_305),
            (4, 0.95, 2.776_445_105),
            (9, 0.95, 2.262_157_163),
            (10, 0.95, 2.228_138_852),
            (30, 0.95, 2.042_272_456),
            (2, 0.99, 9.924_843_201),
            (5, 0.90, 2.015_048_373),
        ] {
            let found = t_quantile(level, freedom);
            assert!((found - t).abs() < 1e-7, "{freedom} degrees, {level}: {found} is not {t}");
        }
        let Interval { estimate, low, high, .. } = t_interval(&[0.80, 0.82, 0.84], 0.95).unwrap();
        near(estimate, 0.82);
        // A standard deviation of 0.02, 2.48 times.
        assert!((high - 0.82 - 0.049_682_8).abs() < 1e-6 && (0.82 - low - 0.049_682_8).abs() < 1e-6, "{low} {high}");
        assert_eq!(t_interval(&[0.8], 0.95), None);
        assert_eq!(t_interval(&[0.8, 0.9], 95.0), None);
    }

    #[test]
    fn points_have_a_sign_unless_they_round_to_zero() {
        assert_eq!([0.0091, -0.0123, -0.0004].map(points), ["+0.9", "−1.2", "0.0"]);
    }
}
