//! From cells to numbers.

use robustify_augment::Group;
use robustify_report::Row;
use robustify_select::{Head, Route, SelectConfig};

use crate::{Cell, CellId};

/// Route of a one-headed model in records.
pub const SINGLE: &str = "single";
/// Route of the configured selection rule in records.
pub const SELECTED: &str = "selected";

/// Accuracy of every model and route in one cell; for routes that choose a head also `f_correct`, the part of the images
/// sent to the head meant for the cell (clean for clean images, robust for corrupted ones), and `right_choice`, the part
/// of right choices among images on which exactly one of the two heads is right.
///
/// Values are fractions; `count` is the number of images they are of.
pub fn rows(suite: &str, id: CellId, cell: &Cell, select: &SelectConfig) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut push = |model: &str, route: &str, metric: &str, (value, count): (f64, usize)| {
        rows.push(Row {
            model: model.into(),
            suite: suite.into(),
            corruption: id.0.map(|(corruption, _)| corruption.to_string()),
            severity: id.0.map(|(_, severity)| severity.level()),
            route: route.into(),
            metric: metric.into(),
            value,
            count: count as u64,
        });
    };
    for (model, predictions) in &cell.single {
        let right = predictions.iter().zip(&cell.labels).map(|(prediction, label)| prediction == label);
        push(model, SINGLE, "accuracy", share(right));
    }
    if cell.heads.is_empty() {
        return rows;
    }
    let named = Route::ALL.into_iter().map(|route| (route.name(), route));
    for (name, route) in [(SELECTED, select.rule)].into_iter().chain(named) {
        let choices = choices(cell, route, select);
        let predicted = || choices.iter().zip(&cell.heads).map(|(&head, sample)| sample.prediction(head));
        push(
            "robustify",
            name,
            "accuracy",
            share(predicted().zip(&cell.labels).map(|(prediction, label)| prediction == *label)),
        );
        if route == Route::Combined {
            continue;
        }
        let meant = if id.0.is_none() { Head::Clean } else { Head::Robust };
        push("robustify", name, "f_correct", share(choices.iter().map(|&head| head == meant)));
        let decisive = choices.iter().zip(&cell.heads).zip(&cell.labels).filter_map(|((&head, sample), &label)| {
            let right = |head| sample.prediction(head) == label;
            (right(Head::Clean) != right(Head::Robust)).then(|| right(head))
        });
        // Where the heads never differ there is nothing to choose.
        let right_choice = share(decisive);
        if right_choice.1 > 0 {
            push("robustify", name, "right_choice", right_choice);
        }
    }
    rows
}

/// The head that a route takes for every image of a cell.
fn choices(cell: &Cell, route: Route, select: &SelectConfig) -> Vec<Head> {
    let samples = cell.heads.iter().zip(&cell.labels).zip(&cell.ids);
    samples.map(|((sample, &label), &id)| select.choose(route, sample, label, id)).collect()
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
}

/// Summaries of a metric of all models and routes, in the order of the records.
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
            let over = |keep: &dyn Fn(&Row) -> bool| mean_of_corruptions(own.iter().copied().filter(|row| keep(row)));
            Summary {
                model: model.into(),
                route: route.into(),
                clean: over(&|row| row.corruption.is_none()),
                groups: Group::TEST.iter().map(|&group| over(&|row| group_of(row) == Some(group))).collect(),
                mean: over(&|row| row.corruption.is_some()),
            }
        })
        .collect()
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
    use robustify_augment::{Corruption, Severity};
    use robustify_select::SampleStatistics;

    use super::*;

    /// Heads (clean, combined, robust) that are sure of one class of two each.
    fn sample(predictions: [usize; 3]) -> SampleStatistics {
        let probabilities = predictions.map(|class| if class == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] });
        SampleStatistics { probabilities, uncertainty: [[0.0; 5]; 3] }
    }

    /// Four images of class 0: both heads right, only the clean one, only the robust one, neither.
    fn cell() -> Cell {
        let heads = [[0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]].map(sample).to_vec();
        Cell { labels: vec![0; 4], ids: vec![1, 2, 3, 4], single: vec![("apt".into(), vec![0, 1, 1, 1])], heads }
    }

    fn value(rows: &[Row], route: &str, metric: &str) -> Option<(f64, u64)> {
        rows.iter().find(|row| row.route == route && row.metric == metric).map(|row| (row.value, row.count))
    }

    #[test]
    fn a_cells_numbers_are_those_counted_by_hand() {
        let id = CellId(Some((Corruption::Fog, Severity::try_from(3).unwrap())));
        let rows = rows("data-c", id, &cell(), &SelectConfig { rule: Route::Robust, ..SelectConfig::default() });
        assert_eq!(value(&rows, SINGLE, "accuracy"), Some((0.25, 4)));
        for (route, accuracy, f_correct, right_choice) in [
            ("clean", 0.5, 0.0, 0.5),
            ("robust", 0.5, 1.0, 0.5),
            (SELECTED, 0.5, 1.0, 0.5),
            ("oracle", 0.75, 0.25, 1.0),
            // The combined head says what the robust one says, so the divergence takes that wherever the two differ.
            ("kl", 0.5, 0.5, 0.5),
        ] {
            assert_eq!(value(&rows, route, "accuracy"), Some((accuracy, 4)), "{route}");
            assert_eq!(value(&rows, route, "f_correct"), Some((f_correct, 4)), "{route}");
            assert_eq!(value(&rows, route, "right_choice"), Some((right_choice, 2)), "{route}");
        }
        assert_eq!(value(&rows, "combined", "accuracy"), Some((0.5, 4)));
        assert_eq!(value(&rows, "combined", "f_correct"), None);
        // On clean images the clean head is the one that is meant.
        let clean = super::rows("data-c", CellId(None), &cell(), &SelectConfig::default());
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
    }
}
