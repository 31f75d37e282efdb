//! What came of one run or of several seeds: every number of the table, as JSON; `table.rs` draws it for people.

use std::path::Path;

use anyhow::Context as _;
use robustify_augment::Group;
use robustify_bench::metrics::{self, SELECTED, SINGLE, Summary};
use robustify_bench::suites::{Change, TRANSFER};
use robustify_report::{Row, Spread, write_atomic};
use serde_json::{Map, Value, json};

/// The summary of a run, in its folder.
pub const RUN: &str = "summary.json";
/// The summary over the seeds, in the folder that has theirs.
pub const SEEDS: &str = "seeds.json";

/// The routes below a model with three heads, as records call them. The selection rules come first, then what they choose between,
/// then mixtures, then what needs no passes.
const ROUTES: [&str; 38] = [
    "product",
    "kl",
    "uncertainty",
    "max_prob",
    "entropy",
    "sum",
    "product_calibrated",
    "kl_calibrated",
    "uncertainty_calibrated",
    "gate",
    "combined",
    "clean",
    "robust",
    "random",
    "oracle",
    "mean",
    "geometric",
    "entropy_weighted",
    "inverse_uncertainty",
    "routed",
    "selective",
    "dawin",
    "combined_deterministic",
    "mean_deterministic",
    "geometric_deterministic",
    "entropy_weighted_deterministic",
    "kl_deterministic",
    "product_deterministic",
    "product_laplace",
    "uncertainty_laplace",
    "product_calibrated_laplace",
    "uncertainty_calibrated_laplace",
    "gate_deterministic",
    "combined_laplace",
    "mean_laplace",
    "entropy_weighted_laplace",
    "inverse_uncertainty_laplace",
    "vrf_deterministic",
];

/// The mixtures below a blend of models: as above.
const BLENDED: [&str; 5] = ["geometric", "entropy_weighted", "routed", "selective", "dawin"];

/// A model and route over all runs.
pub(crate) struct Line {
    /// The model as records call it.
    pub model: String,
    /// The route as records call it.
    pub route: String,
    /// Whether it stands for its model: what that answers as it is configured.
    pub main: bool,
    /// Column and value, a fraction; none where the model has no such number.
    columns: Vec<(&'static str, Option<Spread>)>,
}

impl Line {
    /// The value of a column, a fraction.
    pub fn value(&self, column: &str) -> Option<Spread> {
        self.columns.iter().find(|(name, _)| *name == column).and_then(|(_, value)| *value)
    }

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

/// Model and route of every line, and whether it stands for its model; models in the order of the methods that made them.
fn lines(accuracy: &[Summary]) -> Vec<(String, String, bool)> {
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
        lines.push((model.to_owned(), main.to_owned(), true));
        let below: &[&str] = match main {
            SINGLE => &[],
            SELECTED => &ROUTES,
            _ => &BLENDED,
        };
        lines.extend(below.iter().map(|route| (model.to_owned(), (*route).to_owned(), false)));
    }
    lines
}

/// Values under shifts that are no corruptions, and their means by family, as far as they were measured. A probe for another task is of a
/// model, however that chooses its answers.
fn shift_columns(accuracy: &[Summary], model: &str, route: &str) -> Vec<(&'static str, Option<Spread>)> {
    let own: Vec<&Summary> = accuracy.iter().filter(|summary| summary.model == model).collect();
    let mean = |wanted: &dyn Fn(&str) -> bool, summary: &&Summary| {
        Spread::of(summary.shifts.iter().filter(|(name, _)| wanted(name)).map(|(_, value)| *value))
            .map(|spread| spread.mean)
    };
    let mut columns = Vec::new();
    let mut push = |name: &'static str, route: Option<&str>, wanted: &dyn Fn(&str) -> bool| {
        let of_route = own.iter().filter(|summary| route.is_none_or(|route| summary.route == route));
        let value = Spread::of(of_route.filter_map(|summary| mean(wanted, summary)));
        columns.extend(value.map(|value| (name, Some(value))));
    };
    let of = |name: &str| Change::ALL.into_iter().find(|change| change.name() == name);
    push("shifts", Some(route), &|name| of(name).is_some());
    for family in ["background", "rendition"] {
        push(family, Some(route), &|name| of(name).is_some_and(|change| change.family() == family));
    }
    for change in Change::ALL {
        push(change.name(), Some(route), &|name| name == change.name());
    }
    push(TRANSFER, None, &|name| name == TRANSFER);
    columns
}

/// What several runs of the same models, or one, came to.
pub struct Runs(Vec<Line>);

impl Runs {
    /// From the records of each run.
    #[must_use]
    pub fn new(runs: &[&[Row]]) -> Self {
        let of = |metric: &str| runs.iter().flat_map(|rows| metrics::summaries(rows, metric)).collect::<Vec<_>>();
        let (accuracy, f_correct, right_choice) = (of("accuracy"), of("f_correct"), of("right_choice"));
        let lines = lines(&accuracy).into_iter().filter_map(|(model, route, main)| {
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
            columns.extend(shift_columns(&accuracy, &model, &route));
            Some(Line { model, route, main, columns })
        });
        Self(lines.collect())
    }

    /// All lines, models in the order of the methods that made them, what stands for a model before the rest of it.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.0
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
