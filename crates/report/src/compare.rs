//! What got better and worse between evaluations, and whether it is good enough.

use std::fmt::Write as _;

use crate::evaluation::{Evaluation, ModelRecord, SuiteRecord};
use crate::page::number::{fixed, percent, points};
use crate::page::read;
use crate::{Style, Table};

/// Metrics of which small values are good. All others are shares of right answers and their like.
const LOW: [&str; 9] = ["mce", "relative_mce", "ece", "ace", "nll", "brier", "aurc", "error", "ms_per_image"];
/// Metrics that are no fractions, so that differences of them are no points.
const UNSCALED: [&str; 4] = ["mce", "relative_mce", "nll", "ms_per_image"];
/// Metrics that a comparison shows, in this order.
const SHOWN: [&str; 9] =
    [CLEAN, read::MEAN, read::ACCURACY, "mce", "relative_mce", "ece", "mean_ece", "worst_class", "mean_worst_class"];
/// Accuracy in the clean cell of a suite with others.
const CLEAN: &str = "clean_accuracy";
/// Cells and classes that are named for each side.
const MOST: usize = 5;

/// An evaluation with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// The folder or file as it was given.
    pub name: String,
    /// What was read from it.
    pub evaluation: Evaluation,
}

/// What has to hold, or a comparison fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Least values of metrics by name; for metrics of which small values are good, greatest ones.
    pub worst: Vec<(String, f64)>,
    /// How many points a metric may lose at most against the first side.
    pub drop: Vec<(String, f64)>,
}

/// Two models on a suite.
struct Pair<'a> {
    first: Asked<'a>,
    second: Asked<'a>,
}

/// A model on a suite, and where it is from.
#[derive(Clone, Copy)]
struct Asked<'a> {
    side: &'a Side,
    model: &'a ModelRecord,
    suite: &'a SuiteRecord,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Tables and sentences for a terminal.
    pub text: String,
    /// What did not hold, a sentence each.
    pub failures: Vec<String>,
}

/// Why nothing can be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// No suite of the same name and origin is in two of them.
    #[error("the evaluations have no suite of the same name and origin in common; they have {0}")]
    NothingInCommon(String),
    /// A limit of a metric that nothing has.
    #[error("no evaluation has a metric `{metric}`; there are {known}")]
    UnknownMetric {
        /// The metric.
        metric: String,
        /// Those that there are.
        known: String,
    },
}

/// Compares the models of one evaluation with its first, or those of several evaluations with those of the first: models of the same name
/// with each other, any other with the first model.
///
/// # Errors
/// Evaluations without a suite in common, and limits of metrics that none of them has.
pub fn compare(sides: &[Side], limits: &Limits) -> Result<Compared, CompareError> {
    let pairs = pairs(sides);
    if pairs.is_empty() && sides.len() > 1 {
        return Err(CompareError::NothingInCommon(suites(sides)));
    }
    let mut found = Compared::default();
    for pair in &pairs {
        pair.tell(&mut found.text);
    }
    found.failures = failures(sides, &pairs, limits)?;
    Ok(found)
}

fn suites(sides: &[Side]) -> String {
    let named = |side: &Side| {
        let suites = side.evaluation.suites.iter().map(|suite| format!("{} ({})", suite.name, suite.origin));
        let suites: Vec<String> = suites.collect();
        format!("{}: {}", side.name, if suites.is_empty() { "none".to_owned() } else { suites.join(", ") })
    };
    sides.iter().map(named).collect::<Vec<_>>().join("; ")
}

fn pairs(sides: &[Side]) -> Vec<Pair<'_>> {
    let Some((base, others)) = sides.split_first() else { return Vec::new() };
    let Some(first) = base.evaluation.models.first() else { return Vec::new() };
    let mut pairs = Vec::new();
    if others.is_empty() {
        for model in &base.evaluation.models[1..] {
            pairs.extend(paired([base, base], [first, model]));
        }
    }
    for side in others {
        for model in &side.evaluation.models {
            let against = base.evaluation.models.iter().find(|other| other.name == model.name).unwrap_or(first);
            pairs.extend(paired([base, side], [against, model]));
        }
    }
    pairs
}

/// Two models on every suite that both sides have.
fn paired<'a>([base, side]: [&'a Side; 2], [against, model]: [&'a ModelRecord; 2]) -> impl Iterator<Item = Pair<'a>> {
    side.evaluation.suites.iter().filter_map(move |suite| {
        let is_same = |other: &&SuiteRecord| other.name == suite.name && other.origin == suite.origin;
        let same = base.evaluation.suites.iter().find(is_same)?;
        Some(Pair { first: Asked { side: base, model: against, suite: same }, second: Asked { side, model, suite } })
    })
}

impl Asked<'_> {
    /// A metric of the model's main route by name.
    fn metric(&self, name: &str) -> Option<f64> {
        let clean = || {
            read::clean(self.suite).and_then(|cell| read::metric(read::main(&cell.results, self.model), read::ACCURACY))
        };
        match (name, &self.suite.cells[..]) {
            (CLEAN, [_, _, ..]) => clean(),
            (name, [cell]) => read::metric(read::main(&cell.results, self.model), name)
                .or_else(|| read::metric(read::main(&self.suite.totals, self.model), name)),
            (name, _) => read::metric(read::main(&self.suite.totals, self.model), name),
        }
    }

    /// Names of all metrics that it has.
    fn metrics(&self) -> Vec<String> {
        let of = |results: &[crate::evaluation::ResultRecord]| -> Vec<String> {
            read::main(results, self.model).into_iter().flat_map(|result| result.metrics.keys().cloned()).collect()
        };
        let mut names = of(&self.suite.totals);
        if let [cell] = &self.suite.cells[..] {
            names.extend(of(&cell.results));
        }
        names.extend(self.metric(CLEAN).map(|_| CLEAN.to_owned()));
        names
    }
}

fn is_low(metric: &str) -> bool {
    LOW.contains(&base(metric))
}

/// A metric without what says over which cells it is a mean.
fn base(metric: &str) -> &str {
    metric.strip_prefix("mean_").or_else(|| metric.strip_prefix("clean_")).unwrap_or(metric)
}

/// A value of a metric for people.
fn shown(metric: &str, value: f64) -> String {
    if UNSCALED.contains(&base(metric)) { fixed(value, 2) } else { percent(value) }
}

/// A difference of a metric in points, or in its own unit.
fn difference(metric: &str, value: f64) -> String {
    if UNSCALED.contains(&base(metric)) {
        let text = fixed(value, 2);
        if value > 0.0 { format!("+{text}") } else { text }
    } else {
        points(value)
    }
}

impl Pair<'_> {
    /// Names of the shifted cells that both have, if one has others besides.
    fn common(&self) -> Option<Vec<&str>> {
        let names =
            |asked: &Asked<'_>| -> Vec<String> { read::shifted(asked.suite).map(|cell| cell.name.clone()).collect() };
        let (one, other) = (names(&self.first), names(&self.second));
        let both = read::shifted(self.first.suite)
            .map(|cell| cell.name.as_str())
            .filter(|name| other.iter().any(|also| also == name));
        (one != other).then(|| both.collect())
    }

    /// A metric of both. What is a mean over shifts is one over those that both have.
    fn both(&self, metric: &str) -> Option<[f64; 2]> {
        let Some(common) =
            self.common().filter(|_| metric.starts_with("mean_") || ["mce", "relative_mce"].contains(&metric))
        else {
            return Some([self.first.metric(metric)?, self.second.metric(metric)?]);
        };
        // mCE and its like are of all shifts, or of none.
        let of = metric.strip_prefix("mean_")?;
        let mean = |asked: &Asked<'_>| {
            let cells = read::shifted(asked.suite).filter(|cell| common.contains(&cell.name.as_str()));
            read::mean(cells.map(|cell| read::metric(read::main(&cell.results, asked.model), of)))
        };
        Some([mean(&self.first)?, mean(&self.second)?])
    }

    fn tell(&self, text: &mut String) {
        let Self { first, second } = self;
        let side = |asked: &Asked| {
            if std::ptr::eq(first.side, second.side) {
                asked.model.name.clone()
            } else {
                format!("{} ({})", asked.model.name, asked.side.name)
            }
        };
        let _ =
            writeln!(text, "{}, {}: {} against {}", second.suite.name, second.suite.origin, side(second), side(first));
        if !first.suite.identity.is_empty()
            && !second.suite.identity.is_empty()
            && first.suite.identity != second.suite.identity
        {
            let _ = writeln!(
                text,
                "  the two have other pixels or images (their suites' identities differ), so part of a difference may be theirs"
            );
        }
        if let Some(common) = self.common() {
            let cells = if common.is_empty() { "they have none".to_owned() } else { common.join(", ") };
            let _ = writeln!(
                text,
                "  the two were measured under other shifts; means are over those that both have: {cells}"
            );
        }
        let mut table = Table::new(["", "before", "now", "change", "95 %"]);
        for metric in SHOWN {
            let Some([before, now]) = self.both(metric) else { continue };
            let interval = self
                .interval(metric)
                .map(|[low, high]| format!("{} to {}", difference(metric, low), difference(metric, high)));
            let cells = [
                metric.to_owned(),
                shown(metric, before),
                shown(metric, now),
                difference(metric, now - before),
                interval.unwrap_or_default(),
            ];
            table.row(cells);
        }
        text.push_str(&table.render(Style::Plain));
        told(text, "cells", self.cells());
        told(text, "classes", self.classes());
        text.push('\n');
    }

    /// The interval that a record has of the difference; there is none across evaluations, whose answers were not paired.
    fn interval(&self, metric: &str) -> Option<[f64; 2]> {
        if !std::ptr::eq(self.first.side, self.second.side) {
            return None;
        }
        let is = |side: &[String; 2], asked: &Asked| side[0] == asked.model.name && side[1] == asked.model.main_route;
        self.first
            .side
            .evaluation
            .comparisons
            .iter()
            .filter(|record| {
                record.suite == self.first.suite.name
                    && (record.metric == metric || metric == CLEAN && record.metric == read::ACCURACY)
            })
            .find_map(|record| {
                let [low, high] = record.interval;
                if is(&record.first, &self.second) && is(&record.second, &self.first) {
                    Some([low, high])
                } else {
                    (is(&record.first, &self.first) && is(&record.second, &self.second)).then_some([-high, -low])
                }
            })
    }

    /// Changes of accuracy by cell.
    fn cells(&self) -> Vec<(String, f64)> {
        let change = |cell: &crate::evaluation::CellRecord| {
            let before = self.first.suite.cells.iter().find(|other| other.name == cell.name)?;
            let change = read::accuracy(cell, self.second.model)? - read::accuracy(before, self.first.model)?;
            Some((cell.name.clone(), change))
        };
        self.second.suite.cells.iter().filter_map(change).collect()
    }

    /// Changes of accuracy by class, over all cells.
    fn classes(&self) -> Vec<(String, f64)> {
        let tally = |asked: &Asked| {
            let mut sums: Vec<[u64; 2]> = Vec::new();
            let results = asked.suite.cells.iter().filter_map(|cell| read::main(&cell.results, asked.model));
            for counts in results.map(|result| &result.per_class) {
                sums.resize(sums.len().max(counts.len()), [0; 2]);
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum = [sum[0].saturating_add(count[0]), sum[1].saturating_add(count[1])];
                }
            }
            sums
        };
        let share = |[right, of]: [u64; 2]| (of > 0).then(|| right as f64 / of as f64);
        if self.first.suite.classes != self.second.suite.classes {
            return Vec::new();
        }
        let both = tally(&self.first).into_iter().zip(tally(&self.second)).enumerate();
        both.filter_map(|(index, (before, now))| {
            Some((read::class(self.second.suite, index), share(now)? - share(before)?))
        })
        .collect()
    }
}

/// The greatest gains and losses.
fn told(text: &mut String, what: &str, mut changes: Vec<(String, f64)>) {
    changes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let line = |some: Vec<&(String, f64)>| {
        some.iter().map(|(name, change)| format!("{name} {}", points(*change))).collect::<Vec<_>>().join(", ")
    };
    let gains: Vec<_> = changes.iter().filter(|(_, change)| *change > 0.0).collect();
    let losses: Vec<_> = changes.iter().rev().filter(|(_, change)| *change < 0.0).collect();
    for (word, side) in [("better", gains), ("worse", losses)] {
        if !side.is_empty() {
            let more = if side.len() > MOST { ", …".to_owned() } else { String::new() };
            let _ = writeln!(
                text,
                "  {} of {} {what} {word}: {}{more}",
                side.len(),
                changes.len(),
                line(side.iter().take(MOST).copied().collect())
            );
        }
    }
}

fn failures(sides: &[Side], pairs: &[Pair], limits: &Limits) -> Result<Vec<String>, CompareError> {
    let asked = candidates(sides);
    for (metric, _) in limits.worst.iter().chain(&limits.drop) {
        if asked.iter().all(|asked| asked.metric(metric).is_none()) {
            let known = read::distinct(asked.iter().flat_map(Asked::metrics)).join(", ");
            return Err(CompareError::UnknownMetric { metric: metric.clone(), known });
        }
    }
    let mut failures = Vec::new();
    for (metric, limit) in &limits.worst {
        for asked in &asked {
            let Some(value) = asked.metric(metric) else { continue };
            let (fails, word) = if is_low(metric) { (value > *limit, "above") } else { (value < *limit, "below") };
            if fails {
                let (model, suite, origin) = (&asked.model.name, &asked.suite.name, &asked.suite.origin);
                failures.push(format!("{model} on {suite} ({origin}): {metric} is {value:.4}, {word} {limit}"));
            }
        }
    }
    for (metric, most) in &limits.drop {
        for pair in pairs {
            let Pair { first, second } = pair;
            let Some([before, now]) = pair.both(metric) else { continue };
            let loss = if is_low(metric) { now - before } else { before - now };
            let loss = if UNSCALED.contains(&base(metric)) { loss } else { 100.0 * loss };
            // What is as much as allowed but for rounding is allowed.
            if loss > most + 1e-9 {
                let (model, suite, origin) = (&second.model.name, &second.suite.name, &second.suite.origin);
                failures.push(format!(
                    "{model} on {suite} ({origin}): {metric} is {loss:.2} points worse than that of {} in {} ({} against {}); {most} are allowed",
                    first.model.name,
                    first.side.name,
                    shown(metric, now),
                    shown(metric, before)
                ));
            }
        }
    }
    Ok(failures)
}

/// The models that limits are for: those of all sides but the first, or of the one side.
fn candidates(sides: &[Side]) -> Vec<Asked<'_>> {
    let sides = if sides.len() > 1 { &sides[1..] } else { sides };
    let mut all = Vec::new();
    for side in sides {
        for suite in &side.evaluation.suites {
            all.extend(side.evaluation.models.iter().map(|model| Asked { side, model, suite }));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{CellRecord, ComparisonRecord, ResultRecord};

    fn evaluation(models: &[(&str, f64, f64)]) -> Evaluation {
        let result = |name: &str, metric: &str, value: f64, right: u64| ResultRecord {
            model: name.into(),
            route: "single".into(),
            metrics: [(metric.to_owned(), value)].into(),
            per_class: vec![[right, 100], [90, 100]],
            ..Default::default()
        };
        let cell = |name: &str, shift: Option<&str>, pick: fn(&(&str, f64, f64)) -> f64| CellRecord {
            name: name.into(),
            shift: shift.map(str::to_owned),
            images: 200,
            results: models
                .iter()
                .map(|model| result(model.0, "accuracy", pick(model), (100.0 * pick(model)) as u64))
                .collect(),
            ..Default::default()
        };
        let suite = SuiteRecord {
            name: "photos-c".into(),
            origin: "generated".into(),
            classes: vec!["cat".into(), "dog".into()],
            cells: vec![cell("clean", None, |model| model.1), cell("fog-3", Some("fog"), |model| model.2)],
            totals: models.iter().map(|model| result(model.0, "mean_accuracy", model.2, 0)).collect(),
            ..Default::default()
        };
        let model = |(name, ..): &(&str, f64, f64)| ModelRecord {
            name: (*name).into(),
            main_route: "single".into(),
            ..Default::default()
        };
        Evaluation { models: models.iter().map(model).collect(), suites: vec![suite], ..Default::default() }
    }

    fn side(name: &str, models: &[(&str, f64, f64)]) -> Side {
        Side { name: name.into(), evaluation: evaluation(models) }
    }

    #[test]
    fn means_over_other_shifts_are_compared_over_those_that_both_have() {
        let (one, mut other) = (side("one", &[("a", 0.9, 0.7)]), side("other", &[("a", 0.9, 0.6)]));
        // The second was measured under snow as well, where it is at 0.9: its own mean is 0.75.
        let suite = &mut other.evaluation.suites[0];
        let mut snow = suite.cells[1].clone();
        (snow.name, snow.shift) = ("snow-3".into(), Some("snow".into()));
        snow.results[0].metrics.insert("accuracy".into(), 0.9);
        suite.cells.push(snow);
        suite.totals[0].metrics.insert("mean_accuracy".into(), 0.75);
        let limits = Limits { worst: Vec::new(), drop: vec![("mean_accuracy".into(), 5.0)] };
        let found = compare(&[one, other], &limits).unwrap();
        assert!(found.text.contains("means are over those that both have: fog-3"), "{}", found.text);
        assert!(found.text.contains("mean_accuracy     70.0  60.0   \u{2212}10.0"), "{}", found.text);
        assert_eq!(found.failures.len(), 1, "{:?}", found.failures);
    }

    #[test]
    fn models_of_one_evaluation_are_compared_with_its_first() {
        let mut side = side("out", &[("a", 0.93, 0.7), ("b", 0.92, 0.8)]);
        side.evaluation.comparisons = vec![ComparisonRecord {
            suite: "photos-c".into(),
            metric: "mean_accuracy".into(),
            first: ["a".into(), "single".into()],
            second: ["b".into(), "single".into()],
            difference: -0.1,
            interval: [-0.12, -0.08],
            images: 200,
        }];
        let found = compare(&[side], &Limits::default()).unwrap();
        assert!(found.text.starts_with("photos-c, generated: b against a\n"), "{}", found.text);
        assert!(found.text.contains("mean_accuracy     70.0  80.0   +10.0  +8.0 to +12.0"), "{}", found.text);
        assert!(
            found.text.contains("1 of 2 cells better: fog-3 +10.0")
                && found.text.contains("1 of 2 cells worse: clean −1.0"),
            "{}",
            found.text
        );
        assert!(found.text.contains("1 of 2 classes better: cat +4.5"), "{}", found.text);
        assert_eq!(found.failures, [""; 0]);
    }

    #[test]
    fn limits_fail_with_a_sentence() {
        let sides = [side("main", &[("a", 0.93, 0.7)]), side("new", &[("a", 0.90, 0.69)])];
        let limits = |worst: &[(&str, f64)], drop: &[(&str, f64)]| {
            let own = |all: &[(&str, f64)]| all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            Limits { worst: own(worst), drop: own(drop) }
        };
        let failures = |limits: &Limits| compare(&sides, limits).unwrap().failures;
        assert_eq!(failures(&limits(&[("mean_accuracy", 0.69)], &[("mean_accuracy", 1.0)])), [""; 0]);
        assert_eq!(
            failures(&limits(&[("mean_accuracy", 0.8)], &[])),
            ["a on photos-c (generated): mean_accuracy is 0.6900, below 0.8"]
        );
        let dropped = failures(&limits(&[], &[("clean_accuracy", 0.5)]));
        assert_eq!(
            dropped,
            [
                "a on photos-c (generated): clean_accuracy is 3.00 points worse than that of a in main (90.0 against 93.0); 0.5 are allowed"
            ]
        );
        let error = compare(&sides, &limits(&[("top5", 0.9)], &[])).unwrap_err().to_string();
        assert_eq!(error, "no evaluation has a metric `top5`; there are mean_accuracy, clean_accuracy");
    }

    #[test]
    fn suites_of_other_origin_are_not_compared() {
        let mut other = side("new", &[("a", 0.9, 0.7)]);
        other.evaluation.suites[0].origin = "on disk".into();
        let error = compare(&[side("main", &[("a", 0.9, 0.7)]), other], &Limits::default()).unwrap_err().to_string();
        assert!(error.ends_with("main: photos-c (generated); new: photos-c (on disk)"), "{error}");
        assert_eq!(compare(&[], &Limits::default()).unwrap(), Compared::default());
    }
}
