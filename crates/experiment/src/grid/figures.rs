//! The figures of an experiment, as SVG.

use anyhow::{Context as _, bail};
use robustify_report::chart::{Curve, Heat, Lines, Point, Scatter};

use super::columns::{Unit, heading, shown, unit};
use super::numbers::{Line, Mean, Numbers};
use super::{FigureConfig, FigureKind, RowConfig};

/// The rules between two heads that `shares` shows where nobody names any.
const RULES: [&str; 5] = ["product", "kl", "uncertainty", "max_prob", "oracle"];

/// Draws a figure.
pub(super) fn draw(numbers: &Numbers<'_>, config: &FigureConfig) -> anyhow::Result<String> {
    match config.kind {
        FigureKind::Pareto => pareto(numbers, config),
        FigureKind::Severity => severity(numbers, config),
        FigureKind::Heat => heat(numbers, config),
        FigureKind::Shares => shares(numbers, config),
    }
}

/// What a number is multiplied by to be shown.
fn factor(column: &str) -> f64 {
    match unit(column) {
        Unit::Percent => 100.0,
        Unit::Giga => 1e-9,
        Unit::Mega => 1e-6,
        Unit::Milliseconds | Unit::Ratio => 1.0,
    }
}

/// The name of an axis, with its unit.
fn axis(column: &str) -> String {
    match (column, unit(column)) {
        ("training", _) => "training: milliseconds of processor time for each image".into(),
        ("inference", _) => "inference: time of an image over the original's".into(),
        ("mean", _) => "mean corruption accuracy, %".into(),
        (_, Unit::Percent) => format!("{} accuracy, %", heading(column)),
        _ => heading(column),
    }
}

fn pareto(numbers: &Numbers<'_>, config: &FigureConfig) -> anyhow::Result<String> {
    let (x, y) = (config.x.as_deref().unwrap_or("training"), config.y.as_deref().unwrap_or("mean"));
    let mut points = Vec::new();
    for line in numbers.lines(&config.rows)? {
        // What costs nothing, as the original does, has no time of its own.
        let Some(up) = numbers.value(&line, y) else { continue };
        let along = numbers.value(&line, x).map_or(0.0, |mean| mean.mean);
        let half = up.half().map(|half| factor(y) * half);
        points.push(Point { label: line.title, x: factor(x) * along, y: factor(y) * up.mean, half });
    }
    if points.is_empty() {
        bail!("no row has both {x} and {y}");
    }
    Ok(Scatter { title: config.title.clone(), x: axis(x), y: axis(y), points }.svg())
}

fn severity(numbers: &Numbers<'_>, config: &FigureConfig) -> anyhow::Result<String> {
    let curves =
        numbers.lines(&config.rows)?.into_iter().map(|line| curve(numbers, &line, "accuracy", |value, _| value));
    lines(config, "mean accuracy over corruptions, %", curves.collect())
}

fn shares(numbers: &Numbers<'_>, config: &FigureConfig) -> anyhow::Result<String> {
    let of = |rule: &str| RowConfig {
        model: "robustify".into(),
        route: Some(rule.into()),
        title: Some(rule.replace('_', " ")),
        run: None,
    };
    let rows: Vec<RowConfig> = if config.rows.is_empty() { RULES.map(of).to_vec() } else { config.rows.clone() };
    // Clean images are meant for the clean head, so a share of correct ones is its complement there.
    let to_robust = |value: f64, severity: u8| if severity == 0 { 1.0 - value } else { value };
    let curves = numbers.lines(&rows)?.into_iter().map(|line| curve(numbers, &line, "f_correct", to_robust));
    lines(config, "sent to the robust head, % of images", curves.collect())
}

fn lines(config: &FigureConfig, y: &str, curves: Vec<Curve>) -> anyhow::Result<String> {
    if curves.iter().all(|curve| curve.points.is_empty()) {
        bail!("no row has numbers at any severity");
    }
    Ok(Lines { title: config.title.clone(), x: "severity (0: clean)".into(), y: y.into(), curves }.svg())
}

fn curve(numbers: &Numbers<'_>, line: &Line, metric: &str, of: impl Fn(f64, u8) -> f64) -> Curve {
    let point = |(severity, mean): (u8, Mean)| {
        (f64::from(severity), 100.0 * of(mean.mean, severity), mean.half().map(|half| 100.0 * half))
    };
    Curve { label: line.title.clone(), points: numbers.by_severity(line, metric).into_iter().map(point).collect() }
}

fn heat(numbers: &Numbers<'_>, config: &FigureConfig) -> anyhow::Result<String> {
    let [down, across] = config.axes.as_ref().context("a heat map has two axes")?;
    let column = config.y.as_deref().unwrap_or("mean");
    let row =
        config.rows.first().cloned().unwrap_or_else(|| RowConfig { model: "robustify".into(), ..RowConfig::default() });
    let runs = &numbers.grid.runs;
    let values = |axis: &str| {
        let mut found: Vec<&(String, String)> = Vec::new();
        for value in runs.iter().filter_map(|run| run.places.get(axis)) {
            if !found.contains(&value) {
                found.push(value);
            }
        }
        found
    };
    let (rows, columns) = (values(down), values(across));
    let cell = |one: &(String, String), other: &(String, String)| {
        let run =
            runs.iter().position(|run| run.places.get(down) == Some(one) && run.places.get(across) == Some(other))?;
        let line = numbers.of_run(run, &row)?;
        match &config.against {
            None => {
                let mean = numbers.value(&line, column)?;
                Some((factor(column) * mean.mean, shown(unit(column), mean.mean, mean.half())))
            }
            Some(against) => {
                let found = numbers.difference(&line, &numbers.of_run(run, against)?, column)?;
                let [estimate, low, high] = [found.estimate, found.low, found.high].map(robustify_bench::points);
                Some((factor(column) * found.estimate, format!("{estimate} ({low}, {high})")))
            }
        }
    };
    let cells: Vec<Vec<Option<(f64, String)>>> =
        rows.iter().map(|one| columns.iter().map(|other| cell(one, other)).collect()).collect();
    if cells.iter().flatten().all(Option::is_none) {
        bail!("no run has a value of {column} of {}", row.model);
    }
    let titles = |values: Vec<&(String, String)>| values.into_iter().map(|(_, title)| title.clone()).collect();
    Ok(Heat {
        title: config.title.clone(),
        x: across.clone(),
        y: down.clone(),
        columns: titles(columns),
        rows: titles(rows),
        cells,
        around_zero: config.against.is_some(),
    }
    .svg())
}
