//! A mixture of Beta distributions: clusters of shares in `[0, 1]`, fitted by moment matching.

/// Clusters of numbers in `(0, 1)`, each a Beta distribution.
///
/// Source: naver-ai/dawin, `dawin_rft/mixturemodel.py`: expectation-maximisation whose second step sets the first two moments and is no
/// maximum of the likelihood.
#[derive(Clone, Debug, PartialEq)]
pub struct BetaMixture {
    /// Shares of the clusters; they sum to one.
    pub weights: Vec<f64>,
    /// First parameter of each cluster.
    pub alpha: Vec<f64>,
    /// Second parameter of each cluster.
    pub beta: Vec<f64>,
    /// Mean log-likelihood of the data under the parameters before the last step, by which rounds are compared.
    pub likelihood: f64,
}

/// Keeps empty clusters and variances of nothing from being divided by, as the reference does.
const TINY: f64 = 10.0 * f64::EPSILON;
/// A change of the mean log-likelihood below which a round ends.
const STILL: f64 = 1e-4;
/// Steps of a round, at most.
const STEPS: usize = 1000;
/// How near to 0 or 1 a number may be; both have no logarithm.
const EDGE: f64 = 1e-9;

impl BetaMixture {
    /// The best of several rounds of expectation-maximisation.
    ///
    /// # Arguments
    /// - data: numbers in `[0, 1]`; those at the ends are moved inside by 1e-9
    /// - clusters: how many, at least one
    /// - rounds: initial cluster of every number, below `clusters`, for each round; see [`BetaMixture::initial`]
    ///
    /// `None` without data, clusters or rounds, or where sizes do not fit.
    pub fn fit(data: &[f64], clusters: usize, rounds: &[Vec<usize>]) -> Option<Self> {
        let fits = |labels: &Vec<usize>| labels.len() == data.len() && labels.iter().all(|label| *label < clusters);
        if data.is_empty() || clusters == 0 || !rounds.iter().all(fits) {
            return None;
        }
        let data: Vec<f64> = data.iter().map(|x| inside(*x)).collect();
        let best = |best: Option<Self>, labels: &Vec<usize>| {
            let round = Self::round(&data, clusters, labels);
            // The first of equals.
            best.filter(|best| best.likelihood >= round.likelihood).or(Some(round))
        };
        rounds.iter().fold(None, best)
    }

    /// Initial clusters by k-means in one dimension, which begins with the quantiles and ends where no number moves: the same for the
    /// same data, whatever its order.
    pub fn initial(data: &[f64], clusters: usize) -> Vec<usize> {
        let mut sorted = data.to_vec();
        sorted.sort_by(f64::total_cmp);
        let quantile = |k: usize| sorted[(2 * k + 1) * sorted.len() / (2 * clusters)];
        let mut centres: Vec<f64> = if data.is_empty() { Vec::new() } else { (0..clusters).map(quantile).collect() };
        let nearest = |x: f64, centres: &[f64]| {
            let far = |k: usize| (x - centres[k]).abs();
            (1..centres.len()).fold(0, |best, k| if far(k) < far(best) { k } else { best })
        };
        let mut labels: Vec<usize> = Vec::new();
        for _ in 0..STEPS {
            let next: Vec<usize> = data.iter().map(|&x| nearest(x, &centres)).collect();
            if next == labels {
                break;
            }
            labels = next;
            for (k, centre) in centres.iter_mut().enumerate() {
                let own: Vec<f64> =
                    data.iter().zip(&labels).filter(|(_, label)| **label == k).map(|(x, _)| *x).collect();
                if !own.is_empty() {
                    *centre = own.iter().sum::<f64>() / own.len() as f64;
                }
            }
        }
        labels
    }

    /// How many clusters.
    pub fn clusters(&self) -> usize {
        self.weights.len()
    }

    /// Mean of each cluster, `alpha / (alpha + beta)`.
    pub fn means(&self) -> Vec<f64> {
        self.alpha.iter().zip(&self.beta).map(|(alpha, beta)| alpha / (alpha + beta)).collect()
    }

    /// Probability of each cluster for a number in `[0, 1]`; they sum to one.
    pub fn posterior(&self, x: f64) -> Vec<f64> {
        let (logs, total) = self.logs(inside(x));
        logs.into_iter().map(|log| (log - total).exp()).collect()
    }

    /// The most probable cluster of a number in `[0, 1]`; the first of equals.
    pub fn assign(&self, x: f64) -> usize {
        crate::argmax(&self.posterior(x))
    }

    fn round(data: &[f64], clusters: usize, labels: &[usize]) -> Self {
        let of_label = |label: &usize| (0..clusters).map(|k| f64::from(u8::from(k == *label)) + TINY).collect();
        let mut mixture = Self::matched(data, clusters, &labels.iter().map(of_label).collect::<Vec<_>>());
        let mut before = f64::NEG_INFINITY;
        for _ in 0..STEPS {
            let (posteriors, likelihood) = mixture.expectation(data);
            mixture = Self { likelihood, ..Self::matched(data, clusters, &posteriors) };
            if (likelihood - before).abs() < STILL {
                break;
            }
            before = likelihood;
        }
        mixture
    }

    /// Clusters with the weights, means and variances that responsibilities give; their likelihood is not known yet.
    fn matched(data: &[f64], clusters: usize, posteriors: &[Vec<f64>]) -> Self {
        let mut mixture =
            Self { weights: Vec::new(), alpha: Vec::new(), beta: Vec::new(), likelihood: f64::NEG_INFINITY };
        for k in 0..clusters {
            let sum =
                |of: &dyn Fn(f64) -> f64| -> f64 { data.iter().zip(posteriors).map(|(&x, p)| p[k] * of(x)).sum() };
            let count = sum(&|_| 1.0) + TINY;
            let mean = sum(&|x| x) / count;
            // A Beta distribution varies less than mean (1 - mean).
            let variance = (sum(&|x| x * x) / count - mean * mean).min(mean * (1.0 - mean) / 4.0) + TINY;
            let scale = mean * (1.0 - mean) / (variance + 1e-10) - 1.0;
            mixture.weights.push(count);
            mixture.alpha.push(scale * mean);
            mixture.beta.push(scale * (1.0 - mean));
        }
        let total: f64 = mixture.weights.iter().sum();
        mixture.weights.iter_mut().for_each(|weight| *weight /= total);
        mixture
    }

    /// Responsibilities of all numbers, and their mean log-likelihood.
    fn expectation(&self, data: &[f64]) -> (Vec<Vec<f64>>, f64) {
        let mut sum = 0.0;
        let posteriors = data.iter().map(|&x| {
            let (logs, total) = self.logs(x);
            sum += total;
            logs.into_iter().map(|log| (log - total).exp()).collect()
        });
        let posteriors = posteriors.collect();
        (posteriors, sum / data.len() as f64)
    }

    /// Logarithms of weight times density of each cluster, and of their sum.
    fn logs(&self, x: f64) -> (Vec<f64>, f64) {
        let log = |k: usize| {
            let (alpha, beta) = (self.alpha[k], self.beta[k]);
            let normaliser = libm::lgamma(alpha) + libm::lgamma(beta) - libm::lgamma(alpha + beta);
            (alpha - 1.0) * x.ln() + (beta - 1.0) * (1.0 - x).ln() - normaliser + self.weights[k].ln()
        };
        let logs: Vec<f64> = (0..self.clusters()).map(log).collect();
        let most = logs.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let total = most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln();
        (logs, total)
    }
}

fn inside(x: f64) -> f64 {
    x.clamp(EDGE, 1.0 - EDGE)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        data: Vec<f32>,
        initial: Vec<String>,
        weights: Vec<f64>,
        alpha: Vec<f64>,
        beta: Vec<f64>,
        likelihood: f64,
        assignment: String,
    }

    fn digits(text: &str) -> Vec<usize> {
        text.bytes().map(|digit| usize::from(digit - b'0')).collect()
    }

    #[test]
    fn clusters_are_those_of_the_authors() {
        let golden: Golden = serde_json::from_str(include_str!("../goldens/dawin/beta_mixture.json")).unwrap();
        let data: Vec<f64> = golden.data.iter().copied().map(f64::from).collect();
        let rounds: Vec<Vec<usize>> = golden.initial.iter().map(|text| digits(text)).collect();
        let mixture = BetaMixture::fit(&data, 3, &rounds).unwrap();
        let near =
            |got: f64, expected: f64| assert!((got - expected).abs() <= 1e-7 * expected.abs(), "{got} {expected}");
        near(mixture.likelihood, golden.likelihood);
        let order = |means: Vec<f64>| {
            let mut order = vec![0, 1, 2];
            order.sort_by(|&a: &usize, &b| means[a].total_cmp(&means[b]));
            order
        };
        let theirs = golden.alpha.iter().zip(&golden.beta).map(|(alpha, beta)| alpha / (alpha + beta)).collect();
        let pairs: Vec<_> = order(mixture.means()).into_iter().zip(order(theirs)).collect();
        for &(own, other) in &pairs {
            near(mixture.weights[own], golden.weights[other]);
            near(mixture.alpha[own], golden.alpha[other]);
            near(mixture.beta[own], golden.beta[other]);
        }
        for (&x, cluster) in data.iter().zip(digits(&golden.assignment)) {
            assert!(pairs.contains(&(mixture.assign(x), cluster)), "{x}");
        }
        // Our own first clusters lead to the same ones.
        let own = BetaMixture::fit(&data, 3, &[BetaMixture::initial(&data, 3)]).unwrap();
        for (own, &(best, _)) in order(own.means()).into_iter().map(|k| own.means()[k]).zip(&pairs) {
            assert!((own - mixture.means()[best]).abs() < 0.02, "{own}");
        }
    }

    #[test]
    fn clusters_that_lie_apart_are_found_with_their_moments() {
        let data: Vec<f64> = (0..20).flat_map(|i| [0.1 + 0.005 * f64::from(i), 0.8 + 0.005 * f64::from(i)]).collect();
        let labels = BetaMixture::initial(&data, 2);
        assert!(labels.chunks(2).all(|pair| pair == [0, 1]), "{labels:?}");
        let mixture = BetaMixture::fit(&data, 2, &[labels]).unwrap();
        for (mean, expected) in mixture.means().iter().zip([0.1475, 0.8475]) {
            assert!((mean - expected).abs() < 1e-6, "{mean} is not {expected}");
        }
        // The variance of a Beta distribution is mean (1 - mean) / (alpha + beta + 1); that of twenty steps is (n² - 1) / 12 steps².
        let variance = 0.1475 * 0.8525 / (mixture.alpha[0] + mixture.beta[0] + 1.0);
        assert!((variance - 0.005 * 0.005 * 399.0 / 12.0).abs() < 1e-8, "{variance}");
        assert_eq!((mixture.assign(0.2), mixture.assign(0.7), mixture.assign(1.0)), (0, 1, 1));
        assert!((mixture.posterior(0.5).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_value_and_empty_clusters_are_no_trouble_and_misfits_are_told() {
        let same = [0.5; 7];
        let mixture = BetaMixture::fit(&same, 3, &[BetaMixture::initial(&same, 3)]).unwrap();
        let cluster = mixture.assign(0.5);
        assert!((mixture.means()[cluster] - 0.5).abs() < 1e-9, "{mixture:?}");
        assert_eq!(BetaMixture::fit(&[], 3, &[Vec::new()]), None);
        assert_eq!(BetaMixture::fit(&same, 3, &[vec![0; 6]]), None);
        assert_eq!(BetaMixture::fit(&same, 3, &[vec![3; 7]]), None);
    }
}
