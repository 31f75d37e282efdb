//! Whether a model's confidence can be believed: calibration errors and proper scores of stored probabilities.
//!
//! Sources: Guo et al. 2017, arXiv:1706.04599 (expected calibration error); Hendrycks et al. 2019, arXiv:1812.04606 (its root mean
//! square form); Nguyen & O'Connor 2015, arXiv:1508.05154 (bins of equal mass); Brier 1950.

use robustify_select::argmax;

/// How many bins confidences are sorted into.
pub const BINS: usize = 15;

/// Least probability that enters the logarithm of the negative log-likelihood: the least normal 32-bit float. An answer that was
/// rounded to zero thus costs 87.3 nats and not everything.
const LEAST: f64 = f32::MIN_POSITIVE as f64;

/// The images whose confidence lies in one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// How many images.
    pub count: usize,
    /// Fraction of them that the model gets right; 0 of none.
    pub accuracy: f64,
    /// Mean probability of the predicted class; 0 of none.
    pub confidence: f64,
}

/// How well the probabilities of a model, a head or a mixture fit what is true.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// How many images.
    pub count: usize,
    /// Fraction of the images whose most probable class (the first of equals) is the label.
    pub accuracy: f64,
    /// Mean probability of the predicted class, in `[0, 1]`.
    pub confidence: f64,
    /// Expected calibration error, in `[0, 1]`: mean over images of `|accuracy - confidence|` of their bin.
    pub ece: f64,
    /// Root mean square calibration error, in `[0, 1]`: the same gaps squared, then the root of their mean.
    pub rms: f64,
    /// [`Reliability::ece`] with bins that hold equally many images instead of being equally wide.
    pub adaptive_ece: f64,
    /// [`Reliability::rms`] with bins that hold equally many images.
    pub adaptive_rms: f64,
    /// Brier score, in `[0, 2]`: sum over classes of the squared error of the probability, mean over images.
    pub brier: f64,
    /// Negative log-likelihood of the labels, mean over images, in nats.
    pub nll: f64,
    /// Equally wide bins `(lo, hi]` of confidence, from 0 (which the first includes) to 1: a reliability diagram.
    pub bins: [Bin; BINS],
}

impl Reliability {
    /// Of the probabilities and the label of each image. `None` without an image.
    ///
    /// # Arguments
    /// - answers: one probability in `[0, 1]` for each class, used as they are and not divided by their sum; the label is the
    ///   index of a class. A label beyond the classes has probability 0.
    pub fn of<'a>(answers: impl IntoIterator<Item = (&'a [f32], usize)>) -> Option<Self> {
        let mut so_far = Confidences::default();
        answers.into_iter().for_each(|(probabilities, label)| so_far.add(probabilities, label));
        so_far.reliability()
    }
}

/// What [`Reliability`] is made of, image after image: confidences, and sums of the scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confidences {
    /// Of each image the probability of the predicted class, and whether it is the label.
    pub told: Vec<(f64, bool)>,
    brier: f64,
    nll: f64,
}

impl Confidences {
    /// Adds an image; one without probabilities is passed over. See [`Reliability::of`].
    pub fn add(&mut self, probabilities: &[f32], label: usize) {
        if probabilities.is_empty() {
            return;
        }
        let predicted = argmax(probabilities);
        self.told.push((f64::from(probabilities[predicted]), predicted == label));
        let true_class = probabilities.get(label).map_or(0.0, |&p| f64::from(p));
        let squares: f64 = probabilities.iter().map(|&p| f64::from(p).powi(2)).sum();
        self.brier += squares - true_class.powi(2) + (1.0 - true_class).powi(2);
        self.nll -= true_class.max(LEAST).ln();
    }

    /// Of all images so far; none of none.
    pub fn reliability(self) -> Option<Reliability> {
        let Self { mut told, brier, nll } = self;
        let count = told.len();
        let all = bin(&told);
        let bins: [Bin; BINS] = equally_wide(&told, BINS).try_into().expect("as many bins as were asked for");
        let heavy = equally_heavy(&mut told, BINS);
        (count > 0).then(|| Reliability {
            count,
            accuracy: all.accuracy,
            confidence: all.confidence,
            ece: mean_gap(&bins),
            rms: root_mean_square_gap(&bins),
            adaptive_ece: mean_gap(&heavy),
            adaptive_rms: root_mean_square_gap(&heavy),
            brier: brier / count as f64,
            nll: nll / count as f64,
            bins,
        })
    }
}

/// Expected calibration error, as [`Reliability::ece`], over so many equally wide bins, at least one; 0 without an image.
///
/// # Arguments
/// - told: of each image the probability of the predicted class, in `[0, 1]`, and whether it is right
pub fn expected_calibration_error(told: &[(f64, bool)], bins: usize) -> f64 {
    mean_gap(&equally_wide(told, bins.max(1)))
}

/// Root mean square calibration error over bins that hold `size` images each, of which the last takes those that are left over, as
/// the benchmark of ImageNet-A and ImageNet-O states it.
///
/// Source: Hendrycks et al. 2021, arXiv:1907.07174; hendrycks/natural-adv-examples, `calibration_tools.py`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizedBins {
    /// Over all bins.
    pub all: f64,
    /// As the published code computes it: without the bin of the highest confidence, whose images still count in the division.
    pub published: f64,
}

impl SizedBins {
    /// Of images, see [`expected_calibration_error`]. None with fewer images than a bin holds.
    pub fn of(told: &[(f64, bool)], size: usize) -> Option<Self> {
        let count = told.len().checked_div(size).filter(|count| *count > 0)?;
        let mut sorted = told.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let end = |index: usize| if index + 1 == count { sorted.len() } else { (index + 1) * size };
        let share = |index: usize| {
            let part = &sorted[index * size..end(index)];
            let Bin { accuracy, confidence, .. } = bin(part);
            part.len() as f64 / sorted.len() as f64 * (accuracy - confidence).powi(2)
        };
        let sum = |bins: usize| (0..bins).map(share).sum::<f64>().sqrt();
        Some(Self { all: sum(count), published: sum(count - 1) })
    }
}

/// Whether the label is among the `k` classes with the highest scores (probabilities or logits). Of equals, classes with a
/// lower index come first.
pub fn in_top(scores: &[f32], label: usize, k: usize) -> bool {
    let Some(own) = scores.get(label) else { return false };
    let ahead = |(class, score): (usize, &f32)| score > own || (score == own && class < label);
    scores.iter().enumerate().filter(|&class| ahead(class)).count() < k
}

fn bin(told: &[(f64, bool)]) -> Bin {
    let count = told.len();
    let per = count.max(1) as f64;
    Bin {
        count,
        accuracy: told.iter().filter(|(_, right)| *right).count() as f64 / per,
        confidence: told.iter().map(|(confidence, _)| confidence).sum::<f64>() / per,
    }
}

fn equally_wide(told: &[(f64, bool)], bins: usize) -> Vec<Bin> {
    let mut sorted = vec![Vec::new(); bins];
    for &answer in told {
        // The upper edge belongs to a bin; a cast takes what lies below 0, and what is no number, to the first.
        let index = ((answer.0 * bins as f64).ceil() - 1.0) as usize;
        sorted[index.min(bins - 1)].push(answer);
    }
    sorted.iter().map(|told| bin(told)).collect()
}

/// Bins of images next to each other in confidence whose sizes differ by at most one, larger ones first; with fewer images
/// than bins, one image each.
fn equally_heavy(told: &mut [(f64, bool)], bins: usize) -> Vec<Bin> {
    told.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bins = bins.min(told.len());
    let mut rest = &told[..];
    let mut found = Vec::with_capacity(bins);
    for left in (1..=bins).rev() {
        let (first, others) = rest.split_at(rest.len().div_ceil(left));
        found.push(bin(first));
        rest = others;
    }
    found
}

fn mean_gap(bins: &[Bin]) -> f64 {
    mean_over_images(bins, |gap| gap.abs())
}

fn root_mean_square_gap(bins: &[Bin]) -> f64 {
    mean_over_images(bins, |gap| gap * gap).sqrt()
}

fn mean_over_images(bins: &[Bin], of_gap: impl Fn(f64) -> f64) -> f64 {
    let count: usize = bins.iter().map(|bin| bin.count).sum();
    bins.iter().map(|bin| bin.count as f64 / count as f64 * of_gap(bin.accuracy - bin.confidence)).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::SafeTensors;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        #[serde(default)]
        probs: Vec<Vec<f32>>,
        #[serde(default)]
        labels: Vec<usize>,
        out: HashMap<String, f64>,
    }

    #[derive(Deserialize)]
    struct Golden {
        calibration_by_hand: Case,
        calibration_edges: Case,
        calibration_large: Case,
        top_k: TopK,
    }

    #[derive(Deserialize)]
    struct TopK {
        logits: Vec<Vec<f32>>,
        labels: Vec<usize>,
        out: HashMap<String, f64>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../goldens/metrics/golden.json")).unwrap()
    }

    #[track_caller]
    fn near(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance * expected.abs().max(1e-3), "{got} is not {expected}");
    }

    #[track_caller]
    fn compare(found: &Reliability, expected: &HashMap<String, f64>, tolerance: f64) {
        let of = |name: &str| expected[name];
        near(found.accuracy, of("accuracy"), tolerance);
        near(found.confidence, of("mean_confidence"), tolerance);
        near(found.ece, of("ece_15"), tolerance);
        near(found.rms, of("rms_calibration_error_15"), tolerance);
        near(found.adaptive_ece, of("adaptive_ece_15"), tolerance);
        near(found.adaptive_rms, of("adaptive_rms_15"), tolerance);
        near(found.brier, of("brier"), tolerance);
        near(found.nll, of("nll"), tolerance);
    }

    #[test]
    fn numbers_are_those_of_the_definitions() {
        let golden = golden();
        for case in [golden.calibration_by_hand, golden.calibration_edges] {
            let answers = case.probs.iter().zip(&case.labels).map(|(p, &label)| (&p[..], label));
            // The case is written in decimals, which 32-bit floats round.
            compare(&Reliability::of(answers).unwrap(), &case.out, 1e-6);
        }
        let file = SafeTensors::deserialize(include_bytes!("../goldens/metrics/probabilities.safetensors")).unwrap();
        let bytes = |name: &str| file.tensor(name).unwrap().data();
        let floats: Vec<f32> =
            bytes("in.probs").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let labels = bytes("in.labels").chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize);
        let found = Reliability::of(floats.chunks_exact(10).zip(labels.clone())).unwrap();
        assert_eq!(found.count, 230);
        compare(&found, &golden.calibration_large.out, 1e-9);
        let told: Vec<(f64, bool)> = floats
            .chunks_exact(10)
            .zip(labels)
            .map(|(p, label)| (f64::from(p[argmax(p)]), argmax(p) == label))
            .collect();
        let sized = SizedBins::of(&told, 10).unwrap();
        near(sized.all, golden.calibration_large.out["hendrycks_rms_bin_size_10_all_bins"], 1e-9);
        near(sized.published, golden.calibration_large.out["hendrycks_rms_bin_size_10_as_coded"], 1e-9);
        assert_eq!((SizedBins::of(&told, 231), SizedBins::of(&told, 0)), (None, None));
    }

    #[test]
    fn the_label_is_sought_among_the_highest() {
        let TopK { logits, labels, out } = golden().top_k;
        for (k, name) in [(1, "top1"), (3, "top3"), (5, "top5")] {
            let found = logits.iter().zip(&labels).filter(|(scores, label)| in_top(scores, **label, k)).count();
            near(found as f64 / labels.len() as f64, out[name], 1e-12);
        }
        assert!(!in_top(&[0.5, 0.5], 1, 1) && in_top(&[0.5, 0.5], 1, 2) && !in_top(&[0.5], 3, 5));
    }

    #[test]
    fn bins_hold_every_image_and_their_upper_edge() {
        let answers = [0.5_f32, 1.0, 0.0, 0.51].map(|p| [p]);
        let found = Reliability::of(answers.iter().map(|p| (&p[..], 0))).unwrap();
        let counts = found.bins.map(|bin| bin.count);
        // 0.5 and 0.51 lie in the eighth bin, from 7/15 to 8/15; 0 belongs to the first and 1 to the last.
        assert_eq!((counts[0], counts[7], counts[14]), (1, 2, 1));
        // 0.2 is the upper edge of the third.
        assert_eq!(equally_wide(&[(0.2, true)], BINS)[2].count, 1);
        assert_eq!(Reliability::of([]), None);
    }

    #[test]
    fn a_rounded_zero_costs_much_but_not_everything() {
        let found = Reliability::of([(&[1.0_f32, 0.0][..], 1)]).unwrap();
        assert!((found.nll - 87.336_544_750_553_1).abs() < 1e-9, "{}", found.nll);
        assert_eq!((found.brier, found.ece, found.accuracy), (2.0, 1.0, 0.0));
    }
}
