//! From stored answers to numbers.

mod scores;

use robustify_augment::Group;
use robustify_predict::{Answers, Columns, HeadAnswer};
use robustify_report::Row;
use robustify_select::{Head, SelectConfig, argmax};

use crate::fits::{Calibrations, HeadFits};
use crate::measure::Measured;
use crate::routes::{Blend, HeadRoute};
use crate::store::Stored;
use crate::suite::Shift;

pub use scores::{ScoreSums, Scores};

/// Route of a one-headed model in records.
pub const SINGLE: &str = "single";
/// Route of a one-headed model under the posterior of its last layer in records.
pub const PROBIT: &str = "laplace";
/// Route of the configured selection rule in records.
pub const SELECTED: &str = "selected";

/// What became of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Records.
    pub rows: Vec<Row>,
    /// Image by image, for every model and route, whether it was right.
    pub outcomes: Vec<Outcome>,
}

/// Which images a model and route got right in a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Model as in the records.
    pub model: String,
    /// Route as in the records.
    pub route: String,
    /// Of every image: identity, and whether the answer was the label.
    pub right: Vec<(u64, bool)>,
}

/// What stored answers are judged with.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// Name of the suite in records.
    pub suite: &'a str,
    /// The configured rule, and settings of all others.
    pub select: &'a SelectConfig,
    /// What was fitted on validation images.
    pub calibrations: &'a Calibrations,
    /// Models that answer together.
    pub blends: &'a [Blend],
}

/// Accuracy of every model and route in one cell; for routes that choose a head also `f_correct`, the part of the images
/// sent to the head meant for the cell (clean for clean images, robust for shifted ones), and `right_choice`, the part
/// of right choices among images on which exactly one of the two heads is right.
///
/// Values are fractions; `count` is the number of images they are of.
pub fn judge(judging: &Judging<'_>, measured: &Measured) -> Judged {
    let mut judge = Judge { judging, measured, judged: Judged { rows: Vec::new(), outcomes: Vec::new() } };
    for (model, stored) in &measured.answers {
        match &stored.answers {
            Answers::Logits { classes, values } => {
                let predictions = values.chunks_exact(*classes).map(argmax).collect();
                judge.accuracy(model, SINGLE, stored, predictions);
                judge.probit(model, stored);
            }
            Answers::Heads(heads) => judge.heads(model, stored, heads),
        }
    }
    for blend in judging.blends {
        let dawin = judging.calibrations.blends.get(&blend.name);
        for (route, predictions) in blend.answers(&measured.answers, dawin) {
            judge.accuracy(&blend.name, &route, &measured.answers[0].1, predictions);
        }
    }
    judge.judged
}

struct Judge<'a> {
    judging: &'a Judging<'a>,
    measured: &'a Measured,
    judged: Judged,
}

impl Judge<'_> {
    fn push(&mut self, model: &str, route: &str, metric: &str, (value, count): (f64, usize)) {
        let (corruption, severity) = match self.measured.cell.shift {
            Shift::Clean => (None, None),
            Shift::Corrupted(corruption, severity) => (Some(corruption.to_string()), Some(severity.level())),
            Shift::Changed(_) | Shift::Collected | Shift::Transfer => (Some(self.measured.cell.name.clone()), None),
        };
        self.judged.rows.push(Row {
            model: model.into(),
            suite: self.judging.suite.into(),
            corruption,
            severity,
            route: route.into(),
            metric: metric.into(),
            value,
            count: count as u64,
        });
    }

    fn accuracy(&mut self, model: &str, route: &str, stored: &Stored, predictions: Vec<usize>) {
        let right = predictions.iter().zip(&stored.labels).map(|(prediction, label)| prediction == label);
        let right: Vec<(u64, bool)> = stored.ids.iter().copied().zip(right).collect();
        self.push(model, route, "accuracy", share(right.iter().map(|(_, right)| *right)));
        self.judged.outcomes.push(Outcome { model: model.into(), route: route.into(), right });
    }

    /// What a model with one head answers when its last layer is uncertain; nothing without such a posterior.
    fn probit(&mut self, model: &str, stored: &Stored) {
        let told = (0..stored.labels.len()).map(|image| stored.beside.row(Columns::PROBIT, image).map(argmax));
        if let Some(predictions) = told.collect() {
            self.accuracy(model, PROBIT, stored, predictions);
        }
    }

    /// Every way to answer with three heads.
    fn heads(&mut self, model: &str, stored: &Stored, heads: &[HeadAnswer]) {
        let Judging { select, calibrations, .. } = self.judging;
        let none = HeadFits::default();
        let mut routes = vec![HeadRoute::selected(SELECTED, select)];
        routes.extend(HeadRoute::all(select, calibrations.heads.get(model).unwrap_or(&none)));
        for route in routes {
            let images = stored.labels.iter().zip(&stored.ids).enumerate();
            let answered = images.map(|(image, (&label, &id))| {
                route.answer(heads, &stored.beside, image, label, self.measured.cell.keyed(id))
            });
            let (choices, predictions): (Vec<Option<Head>>, Vec<usize>) = answered.unzip();
            self.accuracy(model, &route.name, stored, predictions);
            if route.chooses() {
                let choices: Vec<Head> = choices.into_iter().flatten().collect();
                self.choices(model, &route.name, stored, heads, &choices);
            }
        }
    }

    /// How well a route chose between the clean and the robust head.
    fn choices(&mut self, model: &str, route: &str, stored: &Stored, heads: &[HeadAnswer], choices: &[Head]) {
        let meant = if self.measured.cell.is_shifted() { Head::Robust } else { Head::Clean };
        self.push(model, route, "f_correct", share(choices.iter().map(|&head| head == meant)));
        let decisive = choices.iter().zip(heads).zip(&stored.labels).filter_map(|((&head, answer), &label)| {
            let right = |head| answer.passes.prediction(head) == label;
            (right(Head::Clean) != right(Head::Robust)).then(|| right(head))
        });
        // Where the heads never differ there is nothing to choose.
        let right_choice = share(decisive);
        if right_choice.1 > 0 {
            self.push(model, route, "right_choice", right_choice);
        }
    }
}

/// Part that is true, and of how many; zero of none.
fn share(outcomes: impl Iterator<Item = bool>) -> (f64, usize) {
    let (mut right, mut count) = (0, 0);
    for outcome in outcomes {
        right += usize::from(outcome);
        count += 1;
    }
    (right as f64 / count.max(1) as f64, count)
}

/// A model's and route's accuracies: clean, then the means of each corruption group, then of all corruptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Model and route as in the records.
    pub model: String,
    /// See `model`.
    pub route: String,
    /// Accuracy on clean images.
    pub clean: f64,
    /// Mean over the corruptions of each group, in the order of [`Group::TEST`]; a corruption is the mean of its severities.
    pub groups: Vec<f64>,
    /// Mean over all corruptions.
    pub mean: f64,
    /// Over all images of all cells, clean and shifted, each image weighing the same.
    pub pooled: f64,
    /// Over all images of corrupted cells.
    pub pooled_shifted: f64,
    /// Under each other shift, by its name: of backgrounds, renditions, another task.
    pub shifts: Vec<(String, f64)>,
}

/// Summaries of a metric of all models and routes, in the order of the records. Means are over corruptions; other shifts stand by
/// themselves.
pub fn summaries(rows: &[Row], metric: &str) -> Vec<Summary> {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for row in rows.iter().filter(|row| row.metric == metric) {
        if !keys.contains(&(&row.model, &row.route)) {
            keys.push((&row.model, &row.route));
        }
    }
    keys.into_iter()
        .map(|(model, route)| {
            let own: Vec<&Row> =
                rows.iter().filter(|row| row.model == model && row.route == route && row.metric == metric).collect();
            let group_of = |row: &Row| {
                row.corruption
                    .as_deref()
                    .and_then(|name| name.parse::<robustify_augment::Corruption>().ok())
                    .map(|c| c.group())
            };
            let (other, own): (Vec<&Row>, Vec<&Row>) =
                own.into_iter().partition(|row| row.corruption.is_some() && group_of(row).is_none());
            let shift = |row: &Row| Some((row.corruption.clone()?, row.value));
            let over = |keep: &dyn Fn(&Row) -> bool| mean_of_corruptions(own.iter().copied().filter(|row| keep(row)));
            Summary {
                model: model.into(),
                route: route.into(),
                clean: over(&|row| row.corruption.is_none()),
                groups: Group::TEST.iter().map(|&group| over(&|row| group_of(row) == Some(group))).collect(),
                mean: over(&|row| row.corruption.is_some()),
                pooled: pooled(own.iter().copied()),
                pooled_shifted: pooled(own.iter().copied().filter(|row| row.corruption.is_some())),
                shifts: other.into_iter().filter_map(shift).collect(),
            }
        })
        .collect()
}

/// The value over all images of some cells together; not a number of none.
fn pooled<'a>(rows: impl Iterator<Item = &'a Row>) -> f64 {
    let (sum, count) = rows.fold((0.0, 0), |(sum, count), row| (sum + row.value * row.count as f64, count + row.count));
    sum / count as f64
}

/// The mean over corruptions of the means over severities, so that every corruption weighs the same.
fn mean_of_corruptions<'a>(rows: impl Iterator<Item = &'a Row>) -> f64 {
    let mut corruptions: Vec<(Option<&str>, f64, usize)> = Vec::new();
    for row in rows {
        let name = row.corruption.as_deref();
        match corruptions.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, sum, count)) => {
                *sum += row.value;
                *count += 1;
            }
            None => corruptions.push((name, row.value, 1)),
        }
    }
    let count = corruptions.len();
    corruptions.into_iter().map(|(_, sum, severities)| sum / severities as f64).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use robustify_augment::{Corruption, Severity};
    use robustify_predict::Columns;
    use robustify_select::{Route, Rule, SampleStatistics};

    use super::*;
    use crate::Cell;

    /// Heads (clean, combined, robust) that are sure of one class of two each.
    fn sample(predictions: [usize; 3]) -> HeadAnswer {
        let probabilities = predictions.map(|class| if class == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] });
        let passes = SampleStatistics { probabilities: probabilities.clone(), uncertainty: [[0.0; 6]; 3] };
        HeadAnswer { passes, deterministic: probabilities }
    }

    /// Four images of class 0: both heads right, only the clean one, only the robust one, neither.
    fn measured(shift: Shift) -> Measured {
        let stored =
            |answers| Stored { labels: vec![0; 4], ids: vec![1, 2, 3, 4], answers, beside: Columns::default() };
        let heads = [[0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]].map(sample).to_vec();
        let logits = Answers::Logits { classes: 2, values: vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0] };
        let answers = vec![("apt".into(), stored(logits)), ("robustify".into(), stored(Answers::Heads(heads)))];
        Measured { cell: Cell::new(shift), answers }
    }

    fn judging(select: &SelectConfig) -> Judging<'_> {
        static NONE: Calibrations = Calibrations { heads: BTreeMap::new(), blends: BTreeMap::new() };
        Judging { suite: "data-c", select, calibrations: &NONE, blends: &[] }
    }

    fn value(rows: &[Row], route: &str, metric: &str) -> Option<(f64, u64)> {
        rows.iter().find(|row| row.route == route && row.metric == metric).map(|row| (row.value, row.count))
    }

    #[test]
    fn a_cells_numbers_are_those_counted_by_hand() {
        let fog = Shift::Corrupted(Corruption::Fog, Severity::try_from(3).unwrap());
        let robust = SelectConfig { rule: Rule::Route(Route::Robust), ..SelectConfig::default() };
        let judged = judge(&judging(&robust), &measured(fog));
        let rows = &judged.rows;
        let selected = judged.outcomes.iter().find(|outcome| outcome.route == SELECTED).unwrap();
        assert_eq!(selected.right, [(1, true), (2, false), (3, true), (4, false)]);
        assert_eq!(value(rows, SINGLE, "accuracy"), Some((0.25, 4)));
        for (route, accuracy, f_correct, right_choice) in [
            ("clean", 0.5, 0.0, 0.5),
            ("robust", 0.5, 1.0, 0.5),
            (SELECTED, 0.5, 1.0, 0.5),
            ("oracle", 0.75, 0.25, 1.0),
            // The combined head says what the robust one says, so the divergence takes that wherever the two differ.
            ("kl", 0.5, 0.5, 0.5),
        ] {
            assert_eq!(value(rows, route, "accuracy"), Some((accuracy, 4)), "{route}");
            assert_eq!(value(rows, route, "f_correct"), Some((f_correct, 4)), "{route}");
            assert_eq!(value(rows, route, "right_choice"), Some((right_choice, 2)), "{route}");
        }
        assert_eq!(value(rows, "combined", "accuracy"), Some((0.5, 4)));
        assert_eq!(value(rows, "combined", "f_correct"), None);
        // On clean images the clean head is the one that is meant.
        let clean = judge(&judging(&SelectConfig::default()), &measured(Shift::Clean)).rows;
        assert_eq!(value(&clean, "clean", "f_correct"), Some((1.0, 4)));
    }

    #[test]
    fn every_corruption_weighs_the_same_in_a_mean() {
        let row = |corruption: Option<&str>, severity, value| Row {
            model: "apt".into(),
            suite: "data-c".into(),
            corruption: corruption.map(Into::into),
            severity,
            route: SINGLE.into(),
            metric: "accuracy".into(),
            value,
            count: 10,
        };
        let rows = [
            row(None, None, 0.9),
            row(Some("fog"), Some(1), 0.2),
            row(Some("fog"), Some(5), 0.4),
            row(Some("frost"), Some(1), 0.5),
            row(Some("pixelate"), Some(1), 1.0),
            row(Some("edge_drawing"), None, 0.0),
        ];
        let found = summaries(&rows, "accuracy");
        let [summary] = &found[..] else { panic!("{found:?}") };
        let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
        near(summary.clean, 0.9);
        near(summary.mean, (0.3 + 0.5 + 1.0) / 3.0);
        let of = |group| summary.groups[Group::TEST.iter().position(|&known| known == group).unwrap()];
        near(of(Group::Weather), 0.4);
        near(of(Group::Digital), 1.0);
        assert!(of(Group::Noise).is_nan(), "a group without a cell has no mean");
        assert_eq!(summary.shifts, [("edge_drawing".to_owned(), 0.0)]);
    }
}
