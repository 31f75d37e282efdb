//! What came of one run or of several seeds: the table for people, and the same numbers as JSON.

use std::path::Path;

use anyhow::Context as _;
use robustify_augment::Group;
use robustify_bench::metrics::{self, SELECTED, SINGLE, Summary};
use robustify_report::{Row, Spread, Style, Table, write_atomic};
use serde_json::{Map, Value, json};

/// The summary of a run, in its folder.
pub const RUN: &str = "summary.json";
/// The summary over the seeds, in the folder that has theirs.
pub const SEEDS: &str = "seeds.json";

/// The routes below a model with three heads: a name for people, and the one in records. The selection rules come first, then
/// what they choose between, then mixtures, then what needs no passes.
const ROUTES: [(&str, &str); 27] = [
    ("· product", "product"),
    ("· KL only", "kl"),
    ("· uncertainty only", "uncertainty"),
    ("· max prob", "max_prob"),
    ("· entropy", "entropy"),
    ("· weighted sum", "sum"),
    ("· product, calibrated", "product_calibrated"),
    ("· KL, calibrated", "kl_calibrated"),
    ("· uncertainty, calibrated", "uncertainty_calibrated"),
    ("· combined head", "combined"),
    ("· always clean", "clean"),
    ("· always robust", "robust"),
    ("· random", "random"),
    ("· oracle", "oracle"),
    ("· mean of heads", "mean"),
    ("· geometric mean", "geometric"),
    ("· entropy-weighted", "entropy_weighted"),
    ("· 1/U-weighted", "inverse_uncertainty"),
    ("· routed to the mean", "routed"),
    ("· DaWin, selective", "selective"),
    ("· DaWin, offset", "dawin"),
    ("· one pass: combined head", "combined_deterministic"),
    ("· one pass: mean of heads", "mean_deterministic"),
    ("· one pass: geometric mean", "geometric_deterministic"),
    ("· one pass: entropy-weighted", "entropy_weighted_deterministic"),
    ("· one pass: KL only", "kl_deterministic"),
    ("· one pass, U of T: product", "product_deterministic"),
];

/// The mixtures below a blend of models: as above.
const BLENDED: [(&str, &str); 5] = [
    ("· geometric mean", "geometric"),
    ("· entropy-weighted", "entropy_weighted"),
    ("· routed to the mean", "routed"),
    ("· DaWin, selective", "selective"),
    ("· DaWin, offset", "dawin"),
];

/// Routes before which the table has a rule.
const RULED: [&str; 4] = ["product", "combined", "mean", "combined_deterministic"];

/// A model and route over all runs.
struct Line {
    name: String,
    model: String,
    route: String,
    /// Column and value, a fraction; none where the model has no such number.
    columns: Vec<(&'static str, Option<Spread>)>,
}

impl Line {
    fn json(&self) -> Value {
        let number = |value: &Option<Spread>| {
            value.map(|value| json!({"mean": value.mean, "deviation": value.deviation, "runs": value.count}))
        };
        let columns = self.columns.iter().map(|(name, value)| (name.to_string(), json!(number(value))));
        let mut line =
            Map::from_iter([("model".into(), self.model.clone().into()), ("route".into(), self.route.clone().into())]);
        line.extend(columns);
        line.into()
    }
}

/// Name for people, model and route of every line, models in the order of the methods that made them.
fn lines(accuracy: &[Summary]) -> Vec<(String, String, String)> {
    let mut models: Vec<&Summary> = Vec::new();
    for summary in accuracy {
        if models.iter().all(|known| known.model != summary.model) {
            models.push(summary);
        }
    }
    models.sort_by_key(|summary| robustify_methods::place(&summary.model));
    let mut lines = Vec::new();
    for summary in models {
        let (model, main) = (summary.model.as_str(), summary.route.as_str());
        lines.push((robustify_methods::title(model), model.to_owned(), main.to_owned()));
        let below: &[(&str, &str)] = match main {
            SINGLE => &[],
            SELECTED => &ROUTES,
            _ => &BLENDED,
        };
        lines.extend(below.iter().map(|(name, route)| ((*name).to_owned(), model.to_owned(), (*route).to_owned())));
    }
    lines
}

/// What several runs of the same models, or one, came to.
pub struct Runs(Vec<Line>);

impl Runs {
    /// From the records of each run.
    #[must_use]
    pub fn new(runs: &[&[Row]]) -> Self {
        let of = |metric: &str| runs.iter().flat_map(|rows| metrics::summaries(rows, metric)).collect::<Vec<_>>();
        let (accuracy, f_correct, right_choice) = (of("accuracy"), of("f_correct"), of("right_choice"));
        let lines = lines(&accuracy).into_iter().filter_map(|(name, model, route)| {
            let spread = |summaries: &[Summary], value: &dyn Fn(&Summary) -> f64| {
                let own = summaries.iter().filter(|summary| summary.model == model && summary.route == route);
                Spread::of(own.map(value).filter(|value| value.is_finite()))
            };
            let clean = spread(&accuracy, &|summary| summary.clean)?;
            let group = |(index, group): (usize, Group)| (group.name(), spread(&accuracy, &|s| s.groups[index]));
            let mut columns = vec![("clean", Some(clean))];
            columns.extend(Group::TEST.into_iter().enumerate().map(group));
            columns.push(("mean", spread(&accuracy, &|summary| summary.mean)));
            // Clean images are to go to the clean head, shifted ones to the robust head; each kind counts one half.
            columns.push(("f_correct", spread(&f_correct, &|summary| (summary.clean + summary.pooled_shifted) / 2.0)));
            columns.push(("f_correct_clean", spread(&f_correct, &|summary| summary.clean)));
            columns.push(("f_correct_shifted", spread(&f_correct, &|summary| summary.pooled_shifted)));
            columns.push(("right_choice", spread(&right_choice, &|summary| summary.pooled)));
            Some(Line { name, model, route, columns })
        });
        Self(lines.collect())
    }

    /// Accuracy of all models and routes in percent: clean, groups, mean; the routing quality beside them. Several runs give
    /// mean ± standard deviation.
    pub fn table(&self) -> String {
        let title = |column: &'static str| match column {
            "f_correct" => "F_correct",
            "f_correct_clean" => "of clean",
            "f_correct_shifted" => "of shifted",
            "right_choice" => "right choice",
            other => other,
        };
        let columns = self.0.first().into_iter().flat_map(|line| line.columns.iter().map(|(column, _)| title(column)));
        let mut table = Table::new(std::iter::once("accuracy, %").chain(columns)).left(0);
        for line in &self.0 {
            if RULED.contains(&line.route.as_str()) && line.name.starts_with('·') {
                table.separator();
            }
            let percent = |value: Option<Spread>| value.map_or_else(|| "–".to_owned(), |value| value.percent(1));
            let values = line.columns.iter().map(|(_, value)| percent(*value));
            table.row(std::iter::once(line.name.clone()).chain(values));
        }
        table.render(Style::Box)
    }

    /// Writes the table's numbers, as fractions.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let lines: Vec<Value> = self.0.iter().map(Line::json).collect();
        let text = serde_json::to_string_pretty(&json!({ "metric": "accuracy", "lines": lines }))? + "\n";
        write_atomic(path, text.as_bytes()).with_context(|| path.display().to_string())
    }
}
