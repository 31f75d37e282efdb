//! The paired bootstrap over images.

use std::collections::HashMap;

use robustify_rng::Key;

use super::Interval;

/// Which images of one cell a predictor gets right.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored<'a> {
    /// What the cell shows; cells of the same name are its severities, and weigh as one. For the clean cell alone any name does.
    pub corruption: &'a str,
    /// Identity of each image, and whether the prediction is right.
    pub right: Vec<(u64, bool)>,
}

/// How a bootstrap is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How many resamples.
    pub resamples: usize,
    /// Confidence of the interval, in `(0, 1)`.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 10_000, level: 0.95, seed: 0 }
    }
}

/// Two predictors compared on the same images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Mean accuracy of the first less that of the second, as a fraction in `[-1, 1]`.
    pub difference: Interval,
    /// Two-sided p of no difference, from the resamples: twice the part of them on the other side of zero, at most 1. It is never
    /// below `2 / (resamples + 1)`.
    pub p: f64,
    /// How many different images.
    pub images: usize,
    /// How many seeds.
    pub seeds: usize,
}

/// Why two predictors cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatisticsError {
    /// Nothing measured.
    #[error("a comparison takes one seed or more, and one cell or more of each; seed number {0} has none")]
    Nothing(usize),
    /// Predictors that were trained with different numbers of seeds.
    #[error(
        "the first predictor has {first} seeds and the second {second}; a paired comparison takes the same seeds of both"
    )]
    Seeds {
        /// Seeds of the first.
        first: usize,
        /// Seeds of the second.
        second: usize,
    },
    /// Predictors that were measured on different numbers of cells.
    #[error("seed number {seed}: the first predictor has {first} cells and the second {second}; both take the same")]
    Cells {
        /// Place of the seed, from 0.
        seed: usize,
        /// Cells of the first.
        first: usize,
        /// Cells of the second.
        second: usize,
    },
    /// A cell that is not the same for both predictors.
    #[error("seed number {seed}, cell number {cell} (`{corruption}`): {problem}")]
    Cell {
        /// Place of the seed, from 0.
        seed: usize,
        /// Place of the cell, from 0.
        cell: usize,
        /// The first predictor's name of the cell.
        corruption: String,
        /// What is wrong.
        problem: String,
    },
    /// Settings without a meaning.
    #[error("a bootstrap takes one resample or more and a level between 0 and 1, not {resamples} and {level}")]
    Settings {
        /// The resamples asked for.
        resamples: usize,
        /// The level asked for.
        level: f64,
    },
}

/// The difference between two predictors in mean accuracy (of each corruption the mean over its severities, of these the mean, of
/// these the mean over seeds), with a percentile interval from resamples of the images.
///
/// An image that is drawn twice counts twice in all cells and for both predictors. The same images are drawn for all seeds, which
/// are a second level: each resample draws as many seeds as there are. Cells may have different images; a cell's mean is over its
/// own number of images in every resample, so an image that only some cells show weighs in those alone. With very few seeds the
/// second level shows too little spread (two thirds of the variance at three seeds); [`t_interval`](super::t_interval) of the seeds' own differences is
/// the honest companion.
///
/// The same seed gives the same interval, to the bit, whatever the order of the images of a cell. Swapping the predictors swaps the
/// signs.
///
/// Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentiles); Davison & Hinkley 1997, section 3.8 (two
/// levels). Quantiles are linear between order statistics (Hyndman & Fan's type 7).
///
/// # Arguments
/// - first, second: for each seed the cells of a predictor, seeds, cells and images in the same order for both
///
/// # Errors
/// Nothing to compare, seeds, cells or images that differ, or settings without a meaning.
pub fn paired_bootstrap(
    first: &[Vec<Scored<'_>>],
    second: &[Vec<Scored<'_>>],
    settings: &Bootstrap,
) -> Result<Comparison, StatisticsError> {
    settled(settings)?;
    let Bootstrap { resamples, level, seed } = *settings;
    let effects = Effects::of(first, second)?;
    let (seeds, images) = (effects.seeds, effects.images);
    let replicates = (0..resamples).map(|index| {
        let mut stream = Key::new(seed, "paired bootstrap").with(index as u64).stream();
        let mut shares = vec![0.0; seeds];
        (0..seeds).for_each(|_| shares[stream.below(seeds as u32) as usize] += 1.0 / seeds as f64);
        effects.sum((0..images).map(|_| stream.below(images as u32) as usize), &shares)
    });
    Ok(effects.compared(replicates.collect(), level))
}

/// As [`paired_bootstrap`] of one seed, from what each image adds to the difference: over its cells, the sum of right or not (first
/// less second), each times the weight of an image in its cell. In an order that does not depend on how it was measured, as that of
/// identities. With a second that is never right, the interval is that of the first alone.
///
/// # Errors
/// No image, or settings without a meaning.
pub fn paired_effects(of_image: Vec<f64>, settings: &Bootstrap) -> Result<Comparison, StatisticsError> {
    settled(settings)?;
    if of_image.is_empty() {
        return Err(StatisticsError::Nothing(0));
    }
    let Bootstrap { resamples, level, seed } = *settings;
    let effects = Effects { images: of_image.len(), seeds: 1, of_image };
    let images = effects.images as u32;
    let replicates = (0..resamples).map(|index| {
        let mut stream = Key::new(seed, "paired bootstrap").with(index as u64).stream();
        // The draw of the seed, of which there is one.
        stream.below(1);
        (0..images).map(|_| effects.of_image[stream.below(images) as usize]).sum()
    });
    Ok(effects.compared(replicates.collect(), level))
}

/// A comparison on resamples that somebody else drew.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampled {
    /// What [`paired_bootstrap`] says of its own resamples.
    pub comparison: Comparison,
    /// The difference on each resample, in their order.
    pub replicates: Vec<f64>,
}

/// As [`paired_bootstrap`], with resamples that somebody else drew, of the images alone: each lists places among the images in the
/// ascending order of their identities.
///
/// # Errors
/// As [`paired_bootstrap`]; a place beyond the images is no resample.
pub fn paired_on(
    first: &[Vec<Scored<'_>>],
    second: &[Vec<Scored<'_>>],
    resamples: &[Vec<usize>],
    level: f64,
) -> Result<Resampled, StatisticsError> {
    let effects = Effects::of(first, second)?;
    let drawn = !resamples.is_empty() && resamples.iter().flatten().all(|&place| place < effects.images);
    if !(drawn && level > 0.0 && level < 1.0) {
        return Err(StatisticsError::Settings { resamples: resamples.len(), level });
    }
    let shares = vec![1.0 / effects.seeds as f64; effects.seeds];
    let replicates: Vec<f64> = resamples.iter().map(|places| effects.sum(places.iter().copied(), &shares)).collect();
    Ok(Resampled { comparison: effects.compared(replicates.clone(), level), replicates })
}

/// An error for settings without a meaning.
pub(super) fn settled(&Bootstrap { resamples, level, .. }: &Bootstrap) -> Result<(), StatisticsError> {
    let has_meaning = resamples > 0 && level > 0.0 && level < 1.0;
    has_meaning.then_some(()).ok_or(StatisticsError::Settings { resamples, level })
}

/// What each image adds to the difference between two predictors.
struct Effects {
    images: usize,
    seeds: usize,
    /// `[images, seeds]`: over the image's cells, the sum of right or not (first less second) times the weight of an image there.
    of_image: Vec<f64>,
}

impl Effects {
    fn of(first: &[Vec<Scored<'_>>], second: &[Vec<Scored<'_>>]) -> Result<Self, StatisticsError> {
        check(first, second)?;
        let runs: Vec<_> = first.iter().zip(second).collect();
        let mut ids: Vec<u64> = first.iter().flatten().flat_map(|cell| cell.right.iter().map(|(id, _)| *id)).collect();
        // In the order of the identities, so that a draw means the same image whatever the order in the cells.
        ids.sort_unstable();
        ids.dedup();
        let place: HashMap<u64, usize> = ids.iter().copied().zip(0..).collect();
        let seeds = runs.len();
        let mut of_image = vec![0.0; ids.len() * seeds];
        for (run, (first, second)) in runs.iter().enumerate() {
            let mut severities: HashMap<&str, usize> = HashMap::new();
            first.iter().for_each(|cell| *severities.entry(cell.corruption).or_default() += 1);
            for (one, other) in first.iter().zip(*second) {
                let weight = 1.0 / (severities.len() * severities[one.corruption] * one.right.len()) as f64;
                for ((id, first), (_, second)) in one.right.iter().zip(&other.right) {
                    of_image[place[id] * seeds + run] += weight * (f64::from(*first) - f64::from(*second));
                }
            }
        }
        Ok(Self { images: ids.len(), seeds, of_image })
    }

    /// The difference, and how far it may be chance, from the differences on resamples.
    fn compared(&self, mut replicates: Vec<f64>, level: f64) -> Comparison {
        let estimate = self.sum(0..self.images, &vec![1.0 / self.seeds as f64; self.seeds]);
        replicates.sort_by(f64::total_cmp);
        let [low, high] = percentiles(&replicates, level);
        let p = two_sided(&replicates);
        Comparison { difference: Interval { estimate, low, high, level }, p, images: self.images, seeds: self.seeds }
    }

    /// The difference on these images, which may occur more than once, with a share for every seed.
    fn sum(&self, images: impl Iterator<Item = usize>, shares: &[f64]) -> f64 {
        let mut sums = vec![0.0; self.seeds];
        for image in images {
            let row = &self.of_image[image * self.seeds..][..self.seeds];
            sums.iter_mut().zip(row).for_each(|(sum, effect)| *sum += effect);
        }
        sums.iter().zip(shares).map(|(sum, share)| sum * share).sum()
    }
}

/// Whether both predictors of every seed have the same cells with the same images.
pub(super) fn check(first: &[Vec<Scored<'_>>], second: &[Vec<Scored<'_>>]) -> Result<(), StatisticsError> {
    if first.len() != second.len() {
        return Err(StatisticsError::Seeds { first: first.len(), second: second.len() });
    }
    if first.is_empty() {
        return Err(StatisticsError::Nothing(0));
    }
    for (seed, (first, second)) in first.iter().zip(second).enumerate() {
        if first.len() != second.len() {
            return Err(StatisticsError::Cells { seed, first: first.len(), second: second.len() });
        }
        if first.is_empty() {
            return Err(StatisticsError::Nothing(seed));
        }
        for (cell, (one, other)) in first.iter().zip(second).enumerate() {
            let ids = |cell: &Scored<'_>| cell.right.iter().map(|(id, _)| *id).collect::<Vec<_>>();
            let problem = if one.corruption != other.corruption {
                format!("the second predictor has `{}` there", other.corruption)
            } else if one.right.is_empty() {
                "the cell has no images".into()
            } else if ids(one) != ids(other) {
                "the predictors were not asked about the same images in the same order".into()
            } else {
                continue;
            };
            return Err(StatisticsError::Cell { seed, cell, corruption: one.corruption.into(), problem });
        }
    }
    Ok(())
}

/// The ends of the interval that holds the middle `level` of sorted values.
pub(super) fn percentiles(sorted: &[f64], level: f64) -> [f64; 2] {
    let at = |p: f64| {
        let place = p * (sorted.len() - 1) as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(sorted.len() - 1);
        sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
    };
    let tail = (1.0 - level) / 2.0;
    [at(tail), at(1.0 - tail)]
}

pub(super) fn two_sided(replicates: &[f64]) -> f64 {
    let part = |beyond: fn(&f64) -> bool| {
        (1 + replicates.iter().filter(|value| beyond(value)).count()) as f64 / (replicates.len() + 1) as f64
    };
    (2.0 * part(|value| *value <= 0.0).min(part(|value| *value >= 0.0))).min(1.0)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        bootstrap: Resampled,
    }

    #[derive(Deserialize)]
    struct Resampled {
        hits_a: Vec<u8>,
        hits_b: Vec<u8>,
        resample_indices: Vec<Vec<usize>>,
        level: f64,
        out: Out,
    }

    #[derive(Deserialize)]
    struct Out {
        paired_point: f64,
        paired_replicates: Vec<f64>,
        paired_interval: [f64; 2],
        paired_p_two_sided: f64,
    }

    #[track_caller]
    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{got} is not {expected}");
    }

    fn few() -> Bootstrap {
        Bootstrap { resamples: 400, ..Bootstrap::default() }
    }

    /// Cells of `images` images; which are right is drawn, and differs between seeds.
    fn drawn(seed: u64, corruptions: &[&'static str], images: u64, chance: f64) -> Vec<Scored<'static>> {
        let cell = |(place, corruption): (u64, &&'static str)| {
            let mut stream = Key::new(seed, "outcomes").with(place).stream();
            Scored { corruption, right: (0..images).map(|image| (image * 7 + 3, stream.chance(chance))).collect() }
        };
        (0..).zip(corruptions).map(cell).collect()
    }

    const CELLS: [&str; 4] = ["fog", "fog", "frost", "snow"];

    #[test]
    fn resamples_and_percentiles_are_those_of_the_definition() {
        let golden: Golden = serde_json::from_str(include_str!("../../goldens/metrics/golden.json")).unwrap();
        let Resampled { hits_a, hits_b, resample_indices, level, out } = golden.bootstrap;
        let scored = |hits: &[u8]| {
            vec![vec![Scored {
                corruption: "clean",
                right: (0..).zip(hits).map(|(id, hit)| (id, *hit == 1)).collect(),
            }]]
        };
        let found = paired_on(&scored(&hits_a), &scored(&hits_b), &resample_indices, level).unwrap();
        let Comparison { difference, p, .. } = found.comparison;
        near(difference.estimate, out.paired_point);
        found.replicates.iter().zip(&out.paired_replicates).for_each(|(got, want)| near(*got, *want));
        near(p, out.paired_p_two_sided);
        [difference.low, difference.high].iter().zip(out.paired_interval).for_each(|(got, want)| near(*got, want));
        let beyond = paired_on(&scored(&hits_a), &scored(&hits_b), &[vec![8]], level);
        assert!(matches!(beyond, Err(StatisticsError::Settings { .. })));
    }

    #[test]
    fn a_percentile_between_two_values_is_interpolated() {
        let [low, high] = percentiles(&[0.0, 1.0, 2.0, 5.0], 0.5);
        near(low, 0.75);
        near(high, 2.75);
        assert_eq!(percentiles(&[0.3], 0.95), [0.3; 2]);
    }

    #[test]
    fn the_estimate_weighs_every_corruption_alike_and_lies_in_the_interval() {
        let (first, second) = ([drawn(1, &CELLS, 60, 0.8)], [drawn(2, &CELLS, 60, 0.6)]);
        let found = paired_bootstrap(&first, &second, &few()).unwrap();
        let accuracy = |cell: &Scored<'_>| cell.right.iter().filter(|(_, right)| *right).count() as f64 / 60.0;
        let mean = |cells: &[Scored<'_>]| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|cell| accuracy(&cells[cell]));
            ((a + b) / 2.0 + c + d) / 3.0
        };
        let Interval { estimate, low, high, .. } = found.difference;
        near(estimate, mean(&first[0]) - mean(&second[0]));
        assert!(low < estimate && estimate < high && low > 0.0, "{found:?}");
        assert_eq!((found.images, found.seeds), (60, 1));
        assert!(found.p < 0.01);
    }

    #[test]
    fn equal_predictors_do_not_differ_and_swapped_ones_swap_signs() {
        let (first, second) = ([drawn(1, &CELLS, 40, 0.7)], [drawn(2, &CELLS, 40, 0.6)]);
        let same = paired_bootstrap(&first, &first, &few()).unwrap();
        assert_eq!(same.difference, Interval { estimate: 0.0, low: 0.0, high: 0.0, level: 0.95 });
        assert_eq!(same.p, 1.0);
        let there = paired_bootstrap(&first, &second, &few()).unwrap();
        let back = paired_bootstrap(&second, &first, &few()).unwrap();
        near(there.difference.estimate, -back.difference.estimate);
        near(there.difference.low, -back.difference.high);
        near(there.difference.high, -back.difference.low);
        near(there.p, back.p);
    }

    #[test]
    fn the_order_of_the_images_changes_no_bit() {
        let (first, second) = ([drawn(1, &CELLS, 40, 0.7)], [drawn(2, &CELLS, 40, 0.6)]);
        let shuffled = |cells: &[Scored<'static>]| {
            let mut cells = cells.to_vec();
            for (place, cell) in (0..).zip(&mut cells) {
                Key::new(5, "order").with(place).stream().shuffle(&mut cell.right);
            }
            vec![cells]
        };
        let expected = paired_bootstrap(&first, &second, &few()).unwrap();
        assert_eq!(paired_bootstrap(&shuffled(&first[0]), &shuffled(&second[0]), &few()).unwrap(), expected);
        let other = paired_bootstrap(&first, &second, &Bootstrap { seed: 1, ..few() }).unwrap();
        assert_ne!(other.difference.low, expected.difference.low);
    }

    #[test]
    fn cells_may_show_a_part_of_the_images() {
        let (mut first, mut second) = ([drawn(1, &CELLS, 40, 0.9)], [drawn(2, &CELLS, 40, 0.5)]);
        first[0][3].right.truncate(10);
        second[0][3].right.truncate(10);
        let found = paired_bootstrap(&first, &second, &few()).unwrap();
        let share = |cells: &[Scored<'_>], cell: usize| {
            let right = &cells[cell].right;
            right.iter().filter(|(_, right)| *right).count() as f64 / right.len() as f64
        };
        let of = |cell| share(&first[0], cell) - share(&second[0], cell);
        near(found.difference.estimate, ((of(0) + of(1)) / 2.0 + of(2) + of(3)) / 3.0);
        assert!(found.difference.low < found.difference.estimate && found.difference.estimate < found.difference.high);
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval() {
        let cell = |right: bool| vec![Scored { corruption: "fog", right: (0..50).map(|id| (id, right)).collect() }];
        // The first predictor is right on all images with one seed and on none with the other.
        let split = paired_bootstrap(&[cell(true), cell(false)], &[cell(false), cell(true)], &few()).unwrap();
        assert_eq!((split.difference.estimate, split.seeds), (0.0, 2));
        near(split.difference.low, -1.0);
        near(split.difference.high, 1.0);
        let agreed = paired_bootstrap(&[cell(true), cell(true)], &[cell(false), cell(false)], &few()).unwrap();
        near(agreed.difference.low, 1.0);
        near(agreed.difference.high, 1.0);
    }

    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        // Four cells of the same hundred images, and in all four the same predictor is right: +5 points in truth.
        let (mut covered, mut naive_covered) = (0, 0);
        for set in 0..200 {
            let mut stream = Key::new(set, "coverage").stream();
            let kinds: Vec<f64> = (0..100).map(|_| stream.unit()).collect();
            let cells = |wrong: std::ops::Range<f64>| {
                let right = (0..).zip(&kinds).map(|(id, kind)| (id, !wrong.contains(kind))).collect();
                [vec![Scored { corruption: "fog", right }; 4]]
            };
            let found = paired_bootstrap(&cells(0.0..0.10), &cells(0.10..0.25), &few()).unwrap().difference;
            covered += usize::from(found.low <= 0.05 && 0.05 <= found.high);
            let wins = kinds.iter().filter(|&&kind| (0.10..0.25).contains(&kind)).count() as f64;
            let losses = kinds.iter().filter(|&&kind| kind < 0.10).count() as f64;
            let variance = (wins + losses) / 100.0 - found.estimate.powi(2);
            naive_covered += usize::from((found.estimate - 0.05).abs() <= 1.96 * (variance / 400.0).sqrt());
        }
        assert!((180..=198).contains(&covered), "{covered} of 200");
        // As if the 400 outcomes were independent.
        assert!(naive_covered < 160, "{naive_covered} of 200");
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let cells = || drawn(1, &CELLS, 5, 0.5);
        let said = |first: &[Vec<Scored<'_>>], second: &[Vec<Scored<'_>>]| {
            paired_bootstrap(first, second, &few()).unwrap_err().to_string()
        };
        assert!(said(&[], &[]).contains("one seed or more"));
        assert!(said(&[vec![]], &[vec![]]).contains("seed number 0 has none"));
        assert!(said(&[cells(), cells()], &[cells()]).contains("2 seeds and the second 1"));
        assert!(said(&[cells()], &[cells()[..3].to_vec()]).contains("4 cells and the second 3"));
        let changed = |change: fn(&mut Vec<Scored<'_>>)| {
            let mut cells = cells();
            change(&mut cells);
            [cells]
        };
        let renamed = said(&[cells()], &changed(|cells| cells[2].corruption = "rain"));
        assert_eq!(renamed, "seed number 0, cell number 2 (`frost`): the second predictor has `rain` there");
        assert!(said(&[cells()], &changed(|cells| cells[1].right.swap(0, 1))).contains("the same images"));
        let empty = || changed(|cells| cells[0].right.clear());
        assert!(said(&empty(), &empty()).contains("no images"));
        let settings = paired_bootstrap(&[cells()], &[cells()], &Bootstrap { level: 95.0, ..few() });
        assert!(settings.unwrap_err().to_string().contains("between 0 and 1, not 400 and 95"));
    }
}
