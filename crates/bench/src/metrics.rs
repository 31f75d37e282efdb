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
