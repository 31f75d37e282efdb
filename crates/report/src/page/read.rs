//! What a page asks a record: everything may be missing.

use crate::evaluation::{CellRecord, Evaluation, ModelRecord, ResultRecord, SuiteRecord};

/// The metric that stands for a suite of several cells.
pub const MEAN: &str = "mean_accuracy";
/// The share of right answers in a cell.
pub const ACCURACY: &str = "accuracy";

/// The result of a model and route among some.
pub fn result<'a>(results: &'a [ResultRecord], model: &str, route: &str) -> Option<&'a ResultRecord> {
    results.iter().find(|result| result.model == model && result.route == route)
}

/// The result of a model's main route among some.
pub fn main<'a>(results: &'a [ResultRecord], model: &ModelRecord) -> Option<&'a ResultRecord> {
    result(results, &model.name, &model.main_route)
}

/// A metric of a result, if it is a number.
pub fn metric(result: Option<&ResultRecord>, name: &str) -> Option<f64> {
    result?.metrics.get(name).copied().filter(|value| value.is_finite())
}

/// The interval of a metric, if there is one.
pub fn interval(result: Option<&ResultRecord>, name: &str) -> Option<[f64; 2]> {
    result?.intervals.get(name).copied().filter(|ends| ends.iter().all(|end| end.is_finite()))
}

/// Accuracy of a model's main route in a cell.
pub fn accuracy(cell: &CellRecord, model: &ModelRecord) -> Option<f64> {
    metric(main(&cell.results, model), ACCURACY)
}

/// The clean cell.
pub fn clean(suite: &SuiteRecord) -> Option<&CellRecord> {
    suite.cells.iter().find(|cell| cell.shift.is_none())
}

/// The cells that are shifted.
pub fn shifted(suite: &SuiteRecord) -> impl Iterator<Item = &CellRecord> + Clone {
    suite.cells.iter().filter(|cell| cell.shift.is_some())
}

/// The number that stands for a model in a suite: its mean over shifts, or its accuracy where there is one cell.
pub fn headline(suite: &SuiteRecord, model: &ModelRecord) -> Option<f64> {
    metric(main(&suite.totals, model), MEAN).or_else(|| match &suite.cells[..] {
        [cell] => accuracy(cell, model),
        _ => None,
    })
}

/// Whether the number that stands for a suite is a mean over shifts.
pub fn is_mean(suite: &SuiteRecord) -> bool {
    suite.cells.len() != 1
}

/// The model with the best headline of a suite.
pub fn best<'a>(evaluation: &'a Evaluation, suite: &SuiteRecord) -> Option<(&'a ModelRecord, f64)> {
    let known = evaluation.models.iter().filter_map(|model| Some((model, headline(suite, model)?)));
    known.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// Distinct values in the order of their first appearance.
pub fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// The mean of numbers that are all there; none if one is missing, since a mean over what is left would be of something else.
pub fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A name of a corruption or group as words: `gaussian_noise` is `gaussian noise`.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The class of an index, by its name where it has one.
pub fn class(suite: &SuiteRecord, index: usize) -> String {
    suite.classes.get(index).cloned().unwrap_or_else(|| format!("class {index}"))
}
