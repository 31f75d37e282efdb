//! Parts of the images on which a model is worse or better than on the rest: by class, brightness, contrast and size.

use std::collections::{BTreeMap, HashMap};

use robustify_report::evaluation::SliceRecord;

use crate::pictures::Look;

/// Images that a part, and the rest, have at least.
const LEAST: usize = 20;
/// Parts of a model that are told.
const MOST: usize = 8;

/// For every image, in how many cells it was right, and in how many it was asked about.
pub(crate) type Tally = HashMap<u64, [u32; 2]>;

/// A part that is looked at: what its images have in common, and whether each image is of it.
type Candidate = (String, Vec<bool>);

/// The parts that stand out, those first that differ most. Their intervals hold for all that were looked at together: of 95 % / number
/// of parts each (Bonferroni), by the normal approximation to the difference of two means over images; cells of an image stay together.
pub(crate) fn slices(model: &str, classes: &[String], looks: &BTreeMap<u64, Look>, right: &Tally) -> Vec<SliceRecord> {
    let known = looks.iter().filter_map(|(id, look)| {
        let [right, of] = *right.get(id)?;
        (of > 0).then(|| (look, f64::from(right) / f64::from(of)))
    });
    let (looks, values): (Vec<&Look>, Vec<f64>) = known.unzip();
    let mut candidates = by_class(&looks, classes);
    for kind in KINDS {
        candidates.extend(fifths(&looks, &kind));
    }
    let big_enough = |(_, of): &Candidate| {
        let count = of.iter().filter(|of| **of).count();
        count >= LEAST && of.len() - count >= LEAST
    };
    candidates.retain(big_enough);
    let z = normal_quantile(1.0 - 0.025 / candidates.len().max(1) as f64);
    let mut found: Vec<SliceRecord> =
        candidates.into_iter().filter_map(|(about, of)| told(model, about, &of, &values, z)).collect();
    found.sort_by(|a, b| (b.accuracy - b.rest).abs().total_cmp(&(a.accuracy - a.rest).abs()));
    found.truncate(MOST);
    found
}

/// A part, if it differs.
fn told(model: &str, about: String, of: &[bool], values: &[f64], z: f64) -> Option<SliceRecord> {
    let side = |is_of: bool| {
        let values: Vec<f64> = values.iter().zip(of).filter(|(_, of)| **of == is_of).map(|(value, _)| *value).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count, values.len())
    };
    let ((accuracy, spread, images), (rest, other, _)) = (side(true), side(false));
    let (difference, half) = (accuracy - rest, z * (spread + other).sqrt());
    (difference.abs() > half).then(|| SliceRecord {
        model: model.to_owned(),
        about,
        images: images as u64,
        accuracy,
        rest,
        interval: [difference - half, difference + half],
    })
}

fn by_class(looks: &[&Look], classes: &[String]) -> Vec<Candidate> {
    let of = |(index, name): (usize, &String)| {
        (format!("class {name}"), looks.iter().map(|look| look.label == index).collect())
    };
    classes.iter().enumerate().map(of).collect()
}

/// Something by which images are ordered.
struct Kind {
    value: fn(&Look) -> Option<f64>,
    low: &'static str,
    high: &'static str,
    what: &'static str,
    shown: fn(f64) -> String,
}

const KINDS: [Kind; 3] = [
    Kind {
        value: |look| Some(look.brightness),
        low: "dark pictures",
        high: "bright pictures",
        what: "mean brightness",
        shown: two,
    },
    Kind {
        value: |look| Some(look.contrast),
        low: "pictures of little contrast",
        high: "pictures of much contrast",
        what: "deviation of brightness",
        shown: two,
    },
    Kind {
        value: |look| look.pixels.map(|pixels| (pixels as f64).sqrt()),
        low: "small pictures",
        high: "large pictures",
        what: "side of the file",
        shown: side,
    },
];

fn two(value: f64) -> String {
    format!("{value:.2}")
}

fn side(value: f64) -> String {
    format!("{value:.0} pixels")
}

/// The lowest and the highest fifth of the images.
fn fifths(looks: &[&Look], kind: &Kind) -> Vec<Candidate> {
    let Some(values) = looks.iter().map(|look| (kind.value)(look)).collect::<Option<Vec<f64>>>() else {
        return Vec::new();
    };
    if values.is_empty() {
        return Vec::new();
    }
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let fifth = sorted.len() / 5;
    let last = sorted.len().checked_sub(1 + fifth);
    let (Some(&low), Some(&high)) = (sorted.get(fifth), last.and_then(|last| sorted.get(last))) else {
        return Vec::new();
    };
    // Images that are all alike have no fifths.
    if low >= high {
        return Vec::new();
    }
    let name = |name: &str, side: &str, end: f64| format!("{name} ({} {side} {})", kind.what, (kind.shown)(end));
    vec![
        (name(kind.low, "below", low), values.iter().map(|value| *value < low).collect()),
        (name(kind.high, "above", high), values.iter().map(|value| *value > high).collect()),
    ]
}

/// Where the normal distribution has a share of `level` below it, 1/2 to 1.
fn normal_quantile(level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if 1.0 - 0.5 * libm::erfc(middle / std::f64::consts::SQRT_2) < level { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(label: usize, brightness: f64) -> Look {
        Look { label, brightness, contrast: 0.2, pixels: Some(784) }
    }

    #[test]
    fn dark_pictures_that_are_wrong_stand_out_and_nothing_else() {
        let looks: BTreeMap<u64, Look> = (0..200).map(|id| (id, look((id % 2) as usize, id as f64 / 200.0))).collect();
        // The dark fifth is right in 3 of 10 cells, the rest in 8 or 9.
        let right: Tally = (0..200).map(|id| (id, [if id < 40 { 3 } else { 8 + (id / 2 % 2) as u32 }, 10])).collect();
        let found = slices("a", &["cat".into(), "dog".into()], &looks, &right);
        assert_eq!(found[0].about, "dark pictures (mean brightness below 0.20)");
        assert_eq!(found[0].images, 40);
        assert!((found[0].accuracy - 0.3).abs() < 1e-9 && (found[0].rest - 0.85).abs() < 1e-9, "{:?}", found[0]);
        assert!(found[0].interval[0] < -0.55 && found[0].interval[1] > -0.55 && found[0].interval[1] < 0.0);
        assert!(
            found.iter().all(|slice| !slice.about.starts_with("class") && !slice.about.contains("contrast")),
            "{found:?}"
        );
    }

    #[test]
    fn few_images_are_no_part() {
        let looks: BTreeMap<u64, Look> = (0..60).map(|id| (id, look(usize::from(id < 19), 0.5))).collect();
        let right: Tally = (0..60).map(|id| (id, [u32::from(id >= 19), 1])).collect();
        assert_eq!(slices("a", &["cat".into(), "dog".into()], &looks, &right), []);
        assert!((normal_quantile(0.975) - 1.959_964).abs() < 1e-5);
    }
}
