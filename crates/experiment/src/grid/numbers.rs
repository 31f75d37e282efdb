//! The numbers of an experiment: rows of finished cells, their means with intervals over seeds, and paired differences.

use anyhow::{Context as _, bail};
use robustify_augment::Corruption;
use robustify_bench::metrics::{SELECTED, SINGLE};
use robustify_bench::{Blend, Bootstrap, Interval, Scored, paired_bootstrap, t_interval};
use robustify_methods::title;
use robustify_report::{Row, Spread};

use super::columns::{counts, is_accuracy};
use super::{Grid, RowConfig};
use crate::compare::Outcomes;
use crate::results::{Costs, Facts};
use crate::summary::Runs;

/// Everything that is known of the finished cells.
pub(super) struct Numbers<'a> {
    pub grid: &'a Grid,
    /// Runs in their order, of each its seeds.
    runs: Vec<Vec<Seed>>,
}

/// A finished cell.
struct Seed {
    rows: Vec<Row>,
    summary: Runs,
    outcomes: Outcomes,
    costs: Vec<(String, Costs)>,
    facts: Facts,
}

/// A row of a table, a point or a line of a figure: a model of a run, and how its answer is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// The place of the run.
    pub run: usize,
    /// As in records.
    pub model: String,
    /// As in records.
    pub route: String,
    /// For people.
    pub title: String,
}

/// A mean over seeds.
#[derive(Clone, Debug)]
pub(super) struct Mean {
    /// One for each seed.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Student's interval of 95 %; none of one seed.
    pub interval: Option<Interval>,
}

/// The confidence of all intervals.
pub(super) const LEVEL: f64 = 0.95;

impl Mean {
    fn of(values: Vec<f64>) -> Option<Self> {
        let mean = Spread::of(values.iter().copied())?.mean;
        Some(Self { interval: t_interval(&values, LEVEL), values, mean })
    }

    /// Half of the interval.
    pub fn half(&self) -> Option<f64> {
        self.interval.map(|interval| (interval.high - interval.low) / 2.0)
    }
}

impl<'a> Numbers<'a> {
    /// Reads all cells.
    pub fn read(grid: &'a Grid) -> anyhow::Result<Self> {
        let mut runs: Vec<Vec<Seed>> = grid.runs.iter().map(|_| Vec::new()).collect();
        for cell in grid.cells() {
            let place = grid.runs.iter().position(|run| run.name == cell.run.name).unwrap_or_default();
            let finished = cell.finished().with_context(|| format!("cell {} is not finished", cell.name()))?;
            let rows = cell.rows()?;
            let (summary, outcomes) = (Runs::new(&[&rows]), finished.outcomes()?);
            runs[place].push(Seed { rows, summary, outcomes, costs: finished.costs, facts: finished.facts });
        }
        Ok(Self { grid, runs })
    }

    /// What was measured in a run.
    pub fn facts(&self, run: usize) -> &Facts {
        &self.runs[run][0].facts
    }

    /// The lines that rows stand for; every model of every run if there are none.
    pub fn lines(&self, rows: &[RowConfig]) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        if rows.is_empty() {
            for run in 0..self.runs.len() {
                let all = self.runs[run][0].summary.lines().iter().filter(|line| line.main);
                lines.extend(all.map(|line| self.line(run, &line.model, &line.route, None)));
            }
        }
        for row in rows {
            let before = lines.len();
            for run in self.places(row.run.as_deref()) {
                lines.extend(self.of_run(run, row));
            }
            if lines.len() == before {
                bail!("{}: {}", row.model, self.absent(row));
            }
        }
        Ok(lines)
    }

    /// The line of a row in one run.
    pub fn of_run(&self, run: usize, row: &RowConfig) -> Option<Line> {
        let all = self.runs[run][0].summary.lines();
        let is_it = |line: &&crate::summary::Line| {
            line.model == row.model && row.route.as_ref().map_or(line.main, |route| line.route == *route)
        };
        let found = all.iter().find(is_it)?;
        Some(self.line(run, &found.model, &found.route, row.title.as_deref()))
    }

    fn line(&self, run: usize, model: &str, route: &str, given: Option<&str>) -> Line {
        let main = [SINGLE, SELECTED, Blend::MAIN].contains(&route);
        let own = given.map_or_else(
            || if main { title(model) } else { format!("{}: {}", title(model), route.replace('_', " ")) },
            str::to_owned,
        );
        let title = if self.runs.len() > 1 { format!("{}: {own}", self.grid.runs[run].title) } else { own };
        Line { run, model: model.to_owned(), route: route.to_owned(), title }
    }

    /// The runs that a row may stand in.
    fn places(&self, name: Option<&str>) -> Vec<usize> {
        let is_it = |run: &usize| name.is_none_or(|name| self.grid.runs[*run].name == name);
        (0..self.runs.len()).filter(is_it).collect()
    }

    /// What there is instead of a row's model or route.
    fn absent(&self, row: &RowConfig) -> String {
        let places = self.places(row.run.as_deref());
        let lines = || places.iter().flat_map(|&run| self.runs[run][0].summary.lines());
        let mut names: Vec<&str> =
            lines().filter(|line| line.model == row.model).map(|line| line.route.as_str()).collect();
        let what = if names.is_empty() { "model" } else { "route" };
        if names.is_empty() {
            names = lines().filter(|line| line.main).map(|line| line.model.as_str()).collect();
        }
        names.sort_unstable();
        names.dedup();
        format!("no such {what} in {}; there are {}", row.run.as_deref().unwrap_or("any run"), names.join(", "))
    }

    /// The value of a column; none where the row has no such number.
    pub fn value(&self, line: &Line, column: &str) -> Option<Mean> {
        let values = self.runs[line.run].iter().map(|seed| seed.value(line, column)).collect::<Option<Vec<_>>>()?;
        Mean::of(values)
    }

    /// How much greater a column is in one row than in another, with an interval: of accuracies from a paired bootstrap over images and
    /// seeds, of others Student's, of the seeds' differences. None where either has no such number, or they were not measured on the
    /// same images.
    pub fn difference(&self, one: &Line, other: &Line, column: &str) -> Option<Interval> {
        if is_accuracy(column) {
            let of = |line: &Line| self.runs[line.run].iter().map(|seed| seed.scored(line, column)).collect::<Vec<_>>();
            let (one, other) = (of(one), of(other));
            return paired_bootstrap(&one, &other, &Bootstrap::default()).ok().map(|compared| compared.difference);
        }
        let (one, other) = (self.value(one, column)?, self.value(other, column)?);
        let differences: Vec<f64> = one.values.iter().zip(&other.values).map(|(one, other)| one - other).collect();
        t_interval(&differences, LEVEL)
    }

    /// Severities that were measured, with the mean over corruptions of a metric of a row at each; 0 is clean.
    pub fn by_severity(&self, line: &Line, metric: &str) -> Vec<(u8, Mean)> {
        let at = |severity: u8| {
            let of = |seed: &Seed| {
                let is_it = |row: &Row| {
                    let corrupted = row.corruption.as_deref().is_some_and(|name| name.parse::<Corruption>().is_ok());
                    let level = if row.corruption.is_none() { Some(0) } else { row.severity.filter(|_| corrupted) };
                    row.model == line.model
                        && row.route == line.route
                        && row.metric == metric
                        && level == Some(severity)
                };
                Spread::of_rows(&seed.rows, is_it).map(|spread| spread.mean)
            };
            Some((severity, Mean::of(self.runs[line.run].iter().map(of).collect::<Option<Vec<_>>>()?)?))
        };
        (0..=5).filter_map(at).collect()
    }
}

impl Seed {
    fn value(&self, line: &Line, column: &str) -> Option<f64> {
        let costs = |model: &str| self.costs.iter().find(|(name, _)| name == model).map(|(_, costs)| *costs);
        match column {
            "training" => costs(&line.model)?.training,
            "inference" => {
                let own = costs(&line.model)?;
                let one_pass =
                    line.route.ends_with("_deterministic") || (line.route == SELECTED && self.facts.deterministic);
                let time = if one_pass { own.inference_one_pass.or(own.inference) } else { own.inference };
                Some(time? / costs("original")?.inference?)
            }
            "macs" => costs(&line.model)?.macs.map(|macs| macs as f64),
            "macs_passes" => costs(&line.model)?.macs_passes.map(|macs| macs as f64),
            "tuned" => costs(&line.model)?.tuned.map(|tuned| tuned as f64),
            _ => {
                let known =
                    self.summary.lines().iter().find(|known| known.model == line.model && known.route == line.route)?;
                let value = known.value(column).map(|spread| spread.mean);
                value.or_else(|| self.of_corruption(line, column))
            }
        }
    }

    /// The mean over severities of a single corruption.
    fn of_corruption(&self, line: &Line, column: &str) -> Option<f64> {
        let is_it = |row: &Row| {
            row.model == line.model
                && row.route == line.route
                && row.metric == "accuracy"
                && row.corruption.as_deref() == Some(column)
        };
        Spread::of_rows(&self.rows, is_it).map(|spread| spread.mean)
    }

    /// Which images of a column a row got right.
    fn scored(&self, line: &Line, column: &str) -> Vec<Scored<'_>> {
        let cells = self.outcomes.iter().filter(|(cell, _)| counts(column, cell));
        let scored = cells.filter_map(|(cell, outcomes)| {
            let is_it =
                |route: &str| outcomes.iter().find(|outcome| outcome.model == line.model && outcome.route == route);
            // A probe of a model's features is of no route.
            let outcome = is_it(&line.route).or_else(|| is_it(SINGLE))?;
            Some(Scored { corruption: cell.corruption(), right: outcome.right.clone() })
        });
        scored.collect()
    }
}
