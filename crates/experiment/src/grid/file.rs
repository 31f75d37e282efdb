//! The file of an experiment: runs laid over a base configuration, and what is drawn of their results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use robustify_methods::{Config, place, wanted};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::columns;
use crate::reference::{Kind, Reference, nearest};
use crate::settings::{self, Validate};

/// An experiment: a grid of runs, and the tables and figures that are drawn of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// Name of the experiment, and of its folder `runs/experiment-NAME`.
    pub name: String,
    /// What it asks, in a sentence or two; it stands above the results.
    pub about: String,
    /// The runs at a size for two cores.
    #[serde(default)]
    pub mini: Option<SizeConfig>,
    /// The runs at the size of the paper.
    #[serde(default)]
    pub imagenet: Option<SizeConfig>,
    /// Tables to draw.
    #[serde(default)]
    pub tables: Vec<TableConfig>,
    /// Figures to draw.
    #[serde(default)]
    pub figures: Vec<FigureConfig>,
}

/// The runs of one size: every run with every combination of the axes' values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SizeConfig {
    /// The configuration of `train` that all runs are laid over, relative to the experiment's file.
    pub base: PathBuf,
    /// Seeds of every run, unless `--seeds` says another number.
    #[serde(default = "seeds")]
    #[schemars(range(min = 1, max = 1000))]
    pub seeds: u64,
    /// Settings that all runs have, as a configuration of `train` has them. A network is replaced whole, any other table key by key.
    #[serde(default)]
    #[schemars(schema_with = "free")]
    pub set: Table,
    /// Runs that differ in their settings. Default: one, called `main`.
    #[serde(default)]
    pub runs: Vec<Overlay>,
    /// What every run is combined with, as teachers with students.
    #[serde(default)]
    pub axes: Vec<Axis>,
    /// How many images the whole data set has, for the estimates of `--dry-run`. Default: as many as are there.
    #[serde(default)]
    pub full: Option<FullConfig>,
}

fn seeds() -> u64 {
    3
}

/// A table of settings with any keys; they are checked as settings of `train`.
fn free(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": true })
}

/// Settings under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The name in rows, and of a folder.
    pub name: String,
    /// The name for people. Default: `name`.
    #[serde(default)]
    pub title: Option<String>,
    /// The settings.
    #[serde(default)]
    #[schemars(schema_with = "free")]
    pub set: Table,
}

/// Something that runs differ in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its name, as in `teacher`.
    pub name: String,
    /// What it may be.
    pub values: Vec<Overlay>,
}

/// Images of the whole data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullConfig {
    /// To train on.
    pub train: usize,
    /// To report on.
    pub test: usize,
}

/// What answers: a model of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowConfig {
    /// The run. Default: every run that has the model.
    #[serde(default)]
    pub run: Option<String>,
    /// The model, as in `results.csv`: `apt`, `wise_ft-0.5`.
    pub model: String,
    /// How its answer is chosen, as in `results.csv`: `product`, `combined_deterministic`. Default: as the run is configured.
    #[serde(default)]
    pub route: Option<String>,
    /// The name for people. Default: that of the method.
    #[serde(default)]
    pub title: Option<String>,
}

/// A table of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Name of its files.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// Its rows. Default: every model of every run.
    #[serde(default)]
    pub rows: Vec<RowConfig>,
    /// Its columns.
    #[schemars(schema_with = "columns::schema")]
    pub columns: Vec<String>,
    /// The row that all others are compared with, a sentence each with its interval.
    #[serde(default)]
    pub reference: Option<RowConfig>,
    /// What every row is compared with in its own run: a further column with the difference and its interval.
    #[serde(default)]
    pub against: Option<RowConfig>,
}

/// A figure of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureConfig {
    /// Name of its file.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// What it shows.
    pub kind: FigureKind,
    /// What is drawn: points, or lines. Default: every model of every run; of `shares`, the rules of `robustify`.
    #[serde(default)]
    pub rows: Vec<RowConfig>,
    /// Of `pareto`: what points lie along, to the right. Default: `training`.
    #[serde(default)]
    #[schemars(schema_with = "columns::one")]
    pub x: Option<String>,
    /// Of `pareto` and `heat`: what is shown. Default: `mean`.
    #[serde(default)]
    #[schemars(schema_with = "columns::one")]
    pub y: Option<String>,
    /// Of `heat`: the axes that its rows and columns are.
    #[serde(default)]
    pub axes: Option<[String; 2]>,
    /// Of `heat`: what is subtracted in every run.
    #[serde(default)]
    pub against: Option<RowConfig>,
}

/// What a figure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FigureKind {
    /// One number against another, a point for each row, with those that nothing beats in both.
    Pareto,
    /// Accuracy against severity, a line for each row.
    Severity,
    /// A number for each pair of values of two axes.
    Heat,
    /// The share of images that a rule sends to the robust head, against severity.
    Shares,
}

/// A size of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Two cores.
    Mini,
    /// The paper's.
    ImageNet,
}

impl Size {
    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mini => "mini",
            Self::ImageNet => "imagenet",
        }
    }
}

/// A run of the grid: a configuration under a name.
#[derive(Clone, Debug)]
pub struct Run {
    /// The name, and that of its folder.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The values of the axes, by their names; a value with its title.
    pub places: BTreeMap<String, (String, String)>,
    /// What `train` gets.
    pub config: Config,
}

impl ExperimentConfig {
    /// The runs of a size.
    ///
    /// # Errors
    /// A size that the file does not have.
    pub fn size(&self, size: Size) -> anyhow::Result<&SizeConfig> {
        let found = match size {
            Size::Mini => &self.mini,
            Size::ImageNet => &self.imagenet,
        };
        let other = if self.mini.is_some() { "mini" } else { "imagenet" };
        found.as_ref().with_context(|| {
            format!("experiment {}: has no runs of size {}; it has --size {other}", self.name, size.name())
        })
    }

    /// All runs of a size, with further settings laid over each; `file` is that of the experiment.
    ///
    /// # Errors
    /// A base that cannot be read, and settings that are none of `train`'s, all of them at once for each run.
    pub fn runs(&self, size: &SizeConfig, file: &Path, given: &[String]) -> anyhow::Result<Vec<Run>> {
        let base = file.parent().unwrap_or(Path::new("")).join(&size.base);
        let reference = Reference::of::<Config>();
        let main = [Overlay { name: "main".into(), title: None, set: Table::new() }];
        let runs = if size.runs.is_empty() { &main[..] } else { &size.runs };
        let mut all = Vec::new();
        for run in runs {
            for place in places(&size.axes) {
                let parts: Vec<&Overlay> = std::iter::once(run).chain(place.iter().map(|(_, value)| *value)).collect();
                // Beside axes, a single run has nothing to say.
                let named = &parts[usize::from(runs.len() == 1 && parts.len() > 1)..];
                let name = named.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("-");
                let title = named.iter().map(|part| title(part)).collect::<Vec<_>>().join(", ");
                let mut pairs = Vec::new();
                let sets = [&size.set].into_iter().chain(place.iter().map(|(_, value)| &value.set)).chain([&run.set]);
                sets.for_each(|set| flatten("", set, &reference, &mut pairs));
                pairs.extend(given.iter().cloned());
                let config = settings::load(&base, &pairs).with_context(|| format!("run {name}"))?;
                let value =
                    |(axis, value): &(&Axis, &Overlay)| (axis.name.clone(), (value.name.clone(), title_of(value)));
                all.push(Run { name, title, places: place.iter().map(value).collect(), config });
            }
        }
        Ok(all)
    }
}

fn title(part: &Overlay) -> &str {
    part.title.as_deref().unwrap_or(&part.name)
}

fn title_of(part: &Overlay) -> String {
    title(part).to_owned()
}

/// Every combination of the axes' values.
fn places(axes: &[Axis]) -> Vec<Vec<(&Axis, &Overlay)>> {
    axes.iter().fold(vec![Vec::new()], |places, axis| {
        let with = |place: &Vec<_>| {
            axis.values.iter().map(|value| [&place[..], &[(axis, value)]].concat()).collect::<Vec<_>>()
        };
        places.iter().flat_map(with).collect()
    })
}

/// Settings as they are given beside a file, `key=value`. Tables that configurations know as such are laid over key by key; what has
/// forms of its own, as a network, replaces what is there.
fn flatten(path: &str, table: &Table, reference: &Reference, pairs: &mut Vec<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let kind = reference.key(&path).map(|key| &key.kind);
        match (value, kind) {
            (Value::Table(inner), Some(Kind::Table(_))) => flatten(&path, inner, reference, pairs),
            _ => pairs.push(format!("{path}={value}")),
        }
    }
}

impl Validate for ExperimentConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(not_a_folder("name", &self.name));
        if self.mini.is_none() && self.imagenet.is_none() {
            faults.push("mini: missing, expected a table [mini], or [imagenet], with a base and runs".into());
        }
        for (key, size) in [("mini", &self.mini), ("imagenet", &self.imagenet)] {
            let Some(size) = size else { continue };
            faults.extend(size.faults(key));
            for (at, row) in self.named_rows() {
                faults.extend(self.fault_of_run(size, &at, row));
            }
        }
        faults.extend(of_names("tables", &self.tables.iter().map(|table| &table.name).collect::<Vec<_>>()));
        faults.extend(of_names("figures", &self.figures.iter().map(|figure| &figure.name).collect::<Vec<_>>()));
        for (index, figure) in self.figures.iter().enumerate() {
            faults.extend(figure.fault(self, &format!("figures[{index}]")));
        }
        faults.dedup();
        faults
    }
}

impl ExperimentConfig {
    /// All rows that may name a run, with their keys.
    fn named_rows(&self) -> Vec<(String, &RowConfig)> {
        let mut all = Vec::new();
        for (index, table) in self.tables.iter().enumerate() {
            all.extend(
                table.rows.iter().enumerate().map(|(row, config)| (format!("tables[{index}].rows[{row}]"), config)),
            );
            all.extend(table.reference.iter().map(|row| (format!("tables[{index}].reference"), row)));
            all.extend(table.against.iter().map(|row| (format!("tables[{index}].against"), row)));
        }
        for (index, figure) in self.figures.iter().enumerate() {
            all.extend(
                figure.rows.iter().enumerate().map(|(row, config)| (format!("figures[{index}].rows[{row}]"), config)),
            );
            all.extend(figure.against.iter().map(|row| (format!("figures[{index}].against"), row)));
        }
        all
    }

    /// An error for a row whose model no run will have, since none asks for its method.
    pub(super) fn expect_rows(&self, runs: &[Run]) -> anyhow::Result<()> {
        for (at, row) in self.named_rows() {
            let own = runs.iter().filter(|run| row.run.as_ref().is_none_or(|name| *name == run.name));
            let asked = place(&row.model);
            let mut methods = own.flat_map(|run| wanted(&run.config.methods).unwrap_or_default());
            anyhow::ensure!(
                methods.any(|method| place(method.name()) == asked),
                "{at}.model: no run has `{}`; name its method in the run's `methods`, or leave the row out",
                row.model
            );
        }
        Ok(())
    }

    fn fault_of_run(&self, size: &SizeConfig, at: &str, row: &RowConfig) -> Option<String> {
        let run = row.run.as_ref()?;
        let known = size.names();
        if known.contains(run) {
            return None;
        }
        let near = nearest(run, known.iter().map(String::as_str));
        let near =
            near.map_or_else(|| format!("runs are {}", known.join(", ")), |near| format!("did you mean {near}?"));
        Some(format!("{at}.run: no run `{run}`; {near}"))
    }
}

impl SizeConfig {
    /// Names of all runs.
    fn names(&self) -> Vec<String> {
        let runs: Vec<&str> = match self.runs.as_slice() {
            [] => vec!["main"],
            runs => runs.iter().map(|run| run.name.as_str()).collect(),
        };
        let mut names = Vec::new();
        for run in &runs {
            for place in places(&self.axes) {
                let values = place.iter().map(|(_, value)| value.name.as_str());
                let own = (runs.len() > 1 || self.axes.is_empty()).then_some(*run);
                names.push(own.into_iter().chain(values).collect::<Vec<_>>().join("-"));
            }
        }
        names
    }

    fn faults(&self, key: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if self.seeds == 0 {
            faults.push(format!("{key}.seeds is 0"));
        }
        let overlays = self.runs.iter().chain(self.axes.iter().flat_map(|axis| &axis.values));
        faults.extend(overlays.filter_map(|overlay| not_a_folder(&format!("{key}: run or value"), &overlay.name)));
        faults.extend(of_names(&format!("{key}.runs"), &self.names().iter().collect::<Vec<_>>()));
        for axis in self.axes.iter().filter(|axis| axis.values.is_empty()) {
            faults.push(format!("{key}.axes: {} has no values", axis.name));
        }
        faults
    }
}

impl FigureConfig {
    fn fault(&self, of: &ExperimentConfig, at: &str) -> Option<String> {
        if self.kind != FigureKind::Heat {
            return None;
        }
        let Some(axes) = &self.axes else {
            return Some(format!(
                "{at}.axes: missing, a heat map has rows and columns, as in [\"student\", \"teacher\"]"
            ));
        };
        let sizes = [&of.mini, &of.imagenet].into_iter().flatten();
        let known: Vec<&str> = sizes.flat_map(|size| size.axes.iter().map(|axis| axis.name.as_str())).collect();
        let unknown = axes.iter().find(|axis| !known.contains(&axis.as_str()))?;
        Some(format!("{at}.axes: no axis `{unknown}`; axes are {}", known.join(", ")))
    }
}

/// What is wrong with a name that a folder or file will have.
fn not_a_folder(key: &str, name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let fits = !name.is_empty() && name.chars().all(plain) && !name.starts_with('.');
    (!fits).then(|| format!("{key}: `{name}` is not a folder's name: letters, digits, `-`, `_` and `.`"))
}

/// What is wrong with names that have to differ.
fn of_names(key: &str, names: &[&String]) -> Vec<String> {
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    twice.map(|(_, name)| format!("{key}: two are called `{name}`")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> anyhow::Result<ExperimentConfig> {
        settings::parse(text, Path::new("e.toml"), &[])
    }

    const GRID: &str = "name = \"e\"\nabout = \"x\"\n[mini]\nbase = \"base.toml\"\n[[mini.axes]]\nname = \"teacher\"\n\
        values = [{ name = \"a\", set = { tuning.epochs = 2 } }, { name = \"b\" }]\n[[mini.axes]]\nname = \"student\"\n\
        values = [{ name = \"c\" }, { name = \"d\", title = \"D\" }]\n";

    #[test]
    fn runs_are_all_combinations_and_rows_name_them() {
        let grid = parsed(GRID).unwrap();
        let size = grid.size(Size::Mini).unwrap();
        assert_eq!(size.names(), ["a-c", "a-d", "b-c", "b-d"]);
        assert!(grid.size(Size::ImageNet).unwrap_err().to_string().contains("--size mini"));
        let table = "[[tables]]\nname = \"t\"\ntitle = \"T\"\ncolumns = [\"mean\"]\nrows = [{ model = \"apt\", run = \"a-e\" }]\n";
        let said = parsed(&format!("{GRID}{table}")).unwrap_err().to_string();
        assert!(said.contains("tables[0].rows[0].run: no run `a-e`"), "{said}");
    }

    #[test]
    fn what_is_unknown_is_refused_with_the_way_out() {
        let said = |text: &str| parsed(text).unwrap_err().to_string();
        assert!(said(&GRID.replace("about", "abuot")).contains("abuot: no such setting; did you mean about?"));
        let table = "[[tables]]\nname = \"t\"\ntitle = \"T\"\ncolumns = [\"maen\"]\n";
        assert!(said(&format!("{GRID}{table}")).contains("did you mean mean?"), "{}", said(&format!("{GRID}{table}")));
        let heat = "[[figures]]\nname = \"f\"\ntitle = \"T\"\nkind = \"heat\"\naxes = [\"student\", \"techer\"]\n";
        assert!(said(&format!("{GRID}{heat}")).contains("no axis `techer`; axes are teacher, student"));
    }

    #[test]
    fn a_network_is_replaced_and_a_section_is_laid_over() {
        let set: Table = "tuning.epochs = 2\ntuning.optimizer.learning_rate = 1e-3\noriginal.network = { model = \"x\", classes = 3 }\n\
                          method.finetune = { epochs = 2 }"
            .parse()
            .unwrap();
        let mut pairs = Vec::new();
        flatten("", &set, &Reference::of::<Config>(), &mut pairs);
        pairs.sort();
        assert_eq!(
            pairs,
            [
                "method.finetune.epochs=2",
                "original.network={ classes = 3, model = \"x\" }",
                "tuning.epochs=2",
                "tuning.optimizer.learning_rate=0.001"
            ]
        );
    }

    #[test]
    fn every_published_experiment_can_be_run_at_both_sizes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/experiments");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let experiment: ExperimentConfig = settings::load(&file, &[]).unwrap_or_else(|error| panic!("{error:#}"));
            assert_eq!(Some(experiment.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()));
            for size in [Size::Mini, Size::ImageNet] {
                let runs = experiment.runs(experiment.size(size).unwrap(), &file, &[]);
                let runs = runs.unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
                count += runs.len();
            }
        }
        assert!(count > 20, "{count}");
    }
}
