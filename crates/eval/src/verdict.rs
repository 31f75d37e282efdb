//! What an evaluation came to, for a terminal.

use robustify_bench::Interval;
use robustify_report::evaluation::{ComparisonRecord, Evaluation, ModelRecord, ResultRecord, SuiteRecord};
use robustify_report::{Style, Table};

/// A table for each suite, and a sentence for each model and each difference.
pub fn text(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    for suite in &evaluation.suites {
        let count = suite.cells.iter().map(|cell| cell.images).max().unwrap_or_default();
        text += &format!("{} ({}; {} images, {} cells)\n\n", suite.title, suite.origin, count, suite.cells.len());
        text += &table(evaluation, suite);
        text.push('\n');
        for model in &evaluation.models {
            text.extend(verdict(suite, model));
        }
        let own = evaluation.comparisons.iter().filter(|comparison| comparison.suite == suite.name);
        own.for_each(|comparison| text += &difference(comparison));
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

fn total<'a>(suite: &'a SuiteRecord, model: &ModelRecord) -> Option<&'a ResultRecord> {
    suite.totals.iter().find(|total| total.model == model.name && total.route == model.main_route)
}

fn table(evaluation: &Evaluation, suite: &SuiteRecord) -> String {
    let columns = [
        ("clean", "clean_accuracy"),
        ("mean", "mean_accuracy"),
        ("other shifts", "mean_accuracy_shifts"),
        ("worst class", "clean_worst_class"),
        ("ECE", "mean_ece"),
        ("mCE", "mce"),
    ];
    let has = |metric: &str| suite.totals.iter().any(|total| total.metrics.contains_key(metric));
    let columns: Vec<_> = columns.into_iter().filter(|(_, metric)| has(metric)).collect();
    let mut table = Table::new(std::iter::once("model").chain(columns.iter().map(|(title, _)| *title)));
    for model in &evaluation.models {
        let Some(total) = total(suite, model) else { continue };
        let value = |metric: &str| match total.metrics.get(metric) {
            Some(value) if metric == "mce" => format!("{value:.1}"),
            Some(value) => format!("{:.1}", 100.0 * value),
            None => "-".to_owned(),
        };
        let cells = columns.iter().map(|(_, metric)| value(metric));
        table.row(std::iter::once(model.name.clone()).chain(cells));
    }
    table.render(Style::Plain)
}

/// A sentence on a model.
fn verdict(suite: &SuiteRecord, model: &ModelRecord) -> Option<String> {
    let total = total(suite, model)?;
    let accuracy = |metric: &str| {
        let [low, high] = total.intervals.get(metric)?.map(|end| 100.0 * end);
        Some(format!("{:.1} % (95 %: {low:.1} to {high:.1})", 100.0 * total.metrics.get(metric)?))
    };
    let clean = suite.cells.iter().find(|cell| cell.shift.is_none()).map_or(0, |cell| cell.images);
    let mut said = match accuracy("clean_accuracy") {
        Some(text) => format!("{} is right on {text} of {clean} clean images", model.name),
        None => model.name.clone(),
    };
    if let Some(text) = accuracy("mean_accuracy") {
        let mut shifts: Vec<&str> = suite.cells.iter().filter_map(|cell| cell.shift.as_deref()).collect();
        shifts.dedup();
        said += &format!(", and on {text} under {} corruptions", shifts.len());
    }
    let of_cell = |cell: &robustify_report::evaluation::CellRecord| {
        let own = cell.results.iter().find(|result| result.model == model.name && result.route == model.main_route)?;
        cell.shift.as_ref()?;
        Some((cell.name.clone(), *own.metrics.get("accuracy")?))
    };
    let hardest = suite.cells.iter().filter_map(of_cell).min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((cell, value)) = hardest {
        said += &format!("; hardest is {cell}, with {:.1} %", 100.0 * value);
    }
    Some(said + ".\n")
}

/// A sentence on a difference.
fn difference(of: &ComparisonRecord) -> String {
    let [low, high] = of.interval;
    let points = Interval { estimate: of.difference, low, high, level: 0.95 }.in_points();
    let metric = of.metric.replace('_', " ");
    format!("{} − {}: {points} points of {metric} ({} images).\n", of.first[0], of.second[0], of.images)
}
