//! Many predictors on the same resamples, so that any two of them can be compared.

use std::collections::HashMap;

use robustify_rng::Key;

use super::bootstrap::{check, percentiles, settled, two_sided};
use super::{Bootstrap, Comparison, Interval, Scored, StatisticsError};

/// Predictors whose mean accuracies were computed on the same resamples of images and seeds.
///
/// Accuracies are means of each corruption over its severities, of these over corruptions, of these over seeds, as in
/// [`paired_bootstrap`](super::paired_bootstrap), whose draws these are: a comparison gives the same interval, up to the rounding of sums.
#[derive(Clone, Debug, PartialEq)]
pub struct JointBootstrap {
    /// Mean accuracy of each predictor on the images as they are, a fraction.
    pub accuracies: Vec<f64>,
    /// Of each predictor, in every resample.
    replicates: Vec<Vec<f64>>,
    level: f64,
    images: usize,
    seeds: usize,
}

impl JointBootstrap {
    /// Resamples once for all predictors. The time is that of a product of matrices, `resamples x images x (predictors * seeds)`.
    ///
    /// # Arguments
    /// - predictors: of each the cells of every seed; seeds, cells and images in the same order for all
    ///
    /// # Errors
    /// No predictor, seeds, cells or images that differ, or settings without a meaning.
    pub fn of(predictors: &[Vec<Vec<Scored<'_>>>], settings: &Bootstrap) -> Result<Self, StatisticsError> {
        settled(settings)?;
        let Some(first) = predictors.first() else { return Err(StatisticsError::Nothing(0)) };
        for other in predictors {
            check(first, other)?;
        }
        let place = places(first);
        let (seeds, images) = (first.len(), place.len());
        let columns = predictors.len() * seeds;
        // `[images, predictors * seeds]`: what an image adds to an accuracy.
        let mut effects = vec![0.0; images * columns];
        for (column, cells) in predictors.iter().flatten().enumerate() {
            let mut severities: HashMap<&str, usize> = HashMap::new();
            cells.iter().for_each(|cell| *severities.entry(cell.corruption).or_default() += 1);
            for cell in cells {
                let weight = 1.0 / (severities.len() * severities[cell.corruption] * cell.right.len()) as f64;
                for (id, _) in cell.right.iter().filter(|(_, right)| *right) {
                    effects[place[id] * columns + column] += weight;
                }
            }
        }
        let accuracies = |drawn: &[f64], shares: &[f64]| -> Vec<f64> {
            let mut sums = vec![0.0; columns];
            for (row, &times) in effects.chunks_exact(columns).zip(drawn).filter(|(_, times)| **times > 0.0) {
                sums.iter_mut().zip(row).for_each(|(sum, effect)| *sum += times * effect);
            }
            let of_predictor = |own: &[f64]| own.iter().zip(shares).map(|(sum, share)| sum * share).sum();
            sums.chunks_exact(seeds).map(of_predictor).collect()
        };
        let mut replicates = vec![Vec::with_capacity(settings.resamples); predictors.len()];
        for index in 0..settings.resamples {
            let mut stream = Key::new(settings.seed, "paired bootstrap").with(index as u64).stream();
            let (mut shares, mut drawn) = (vec![0.0; seeds], vec![0.0; images]);
            (0..seeds).for_each(|_| shares[stream.below(seeds as u32) as usize] += 1.0 / seeds as f64);
            (0..images).for_each(|_| drawn[stream.below(images as u32) as usize] += 1.0);
            replicates.iter_mut().zip(accuracies(&drawn, &shares)).for_each(|(own, accuracy)| own.push(accuracy));
        }
        let accuracies = accuracies(&vec![1.0; images], &vec![1.0 / seeds as f64; seeds]);
        Ok(Self { accuracies, replicates, level: settings.level, images, seeds })
    }

    /// The predictor at `first` less that at `second`, by their places among those that were resampled.
    pub fn compare(&self, first: usize, second: usize) -> Comparison {
        let pairs = self.replicates[first].iter().zip(&self.replicates[second]);
        let mut replicates: Vec<f64> = pairs.map(|(first, second)| settled_zero(first - second)).collect();
        replicates.sort_by(f64::total_cmp);
        let [low, high] = percentiles(&replicates, self.level);
        let estimate = settled_zero(self.accuracies[first] - self.accuracies[second]);
        let difference = Interval { estimate, low, high, level: self.level };
        Comparison { difference, p: two_sided(&replicates), images: self.images, seeds: self.seeds }
    }
}

/// Sums in another order differ in their last bits; no image weighs as little as that.
fn settled_zero(difference: f64) -> f64 {
    if difference.abs() < 1e-12 { 0.0 } else { difference }
}

/// The place of every image, in the order of the identities.
fn places(cells: &[Vec<Scored<'_>>]) -> HashMap<u64, usize> {
    let mut ids: Vec<u64> = cells.iter().flatten().flat_map(|cell| cell.right.iter().map(|(id, _)| *id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().zip(0..).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired_bootstrap;

    /// Two seeds of two corruptions, one of them at two severities; which images are right is drawn.
    fn predictor(seed: u64, chance: f64) -> Vec<Vec<Scored<'static>>> {
        let cell = |run: u64, place: u64, corruption| {
            let mut stream = Key::new(seed, "outcomes").with(run).with(place).stream();
            Scored { corruption, right: (0..40).map(|image| (image * 7 + 3, stream.chance(chance))).collect() }
        };
        (0..2).map(|run| vec![cell(run, 0, "fog"), cell(run, 1, "fog"), cell(run, 2, "snow")]).collect()
    }

    #[test]
    fn comparisons_are_those_of_each_pair_alone() {
        let settings = Bootstrap { resamples: 300, ..Bootstrap::default() };
        let predictors = [predictor(1, 0.5), predictor(2, 0.7), predictor(3, 0.6)];
        let resampled = JointBootstrap::of(&predictors, &settings).unwrap();
        for (first, second) in [(0, 1), (2, 0), (1, 1)] {
            let alone = paired_bootstrap(&predictors[first], &predictors[second], &settings).unwrap();
            let together = resampled.compare(first, second);
            assert_eq!((together.p, together.images, together.seeds), (alone.p, alone.images, alone.seeds));
            let numbers = |Interval { estimate, low, high, .. }| [estimate, low, high];
            for (got, expected) in numbers(together.difference).iter().zip(numbers(alone.difference)) {
                assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
            }
        }
        assert!(matches!(JointBootstrap::of(&[], &settings), Err(StatisticsError::Nothing(_))));
        let short = vec![predictor(1, 0.5)[0].clone()];
        assert!(matches!(
            JointBootstrap::of(&[predictors[0].clone(), short], &settings),
            Err(StatisticsError::Seeds { first: 2, second: 1 })
        ));
    }
}
