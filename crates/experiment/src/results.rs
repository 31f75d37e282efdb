//! Measuring models, and storing what came out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use robustify_augment::Corruption;
use robustify_bench::suites::{Corrupted, CorruptedConfig, Shifted, TRANSFER, Turned};
use robustify_bench::{
    AnswerStore, Blend, Entrant, Judging, Measured, Probed, Shift, Suite, Timings, measure, metrics,
};
use robustify_data::{DataConfig, Images, Preprocess, Split, Splits};
use robustify_device::Machine;
use robustify_methods::{Config, wanted};
use robustify_predict::{Attached, RobustModel};
use robustify_report::{Results, Row, Spread, write_atomic, write_csv, write_json};
use robustify_watch::Watch;
use robustify_zoo::weights::{self, Entry, State};
use serde::{Deserialize, Serialize};

use crate::compare::Outcomes;
use crate::fitting::{Fitting, expect_uncertainty};
use crate::summary::Runs;

/// What measuring gave.
pub struct Measurement {
    /// Records.
    pub rows: Vec<Row>,
    /// Cell by cell, which images every model and route got right.
    pub outcomes: Outcomes,
    /// What every model cost, in the order of the table.
    pub costs: Vec<(String, Costs)>,
    /// What was measured, and how.
    pub facts: Facts,
    /// The models' names and identities.
    models: BTreeMap<String, String>,
    /// What they were measured on.
    pub(crate) suite: Corrupted,
}

/// What was measured, and how, as far as the table says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The part of the data.
    pub part: String,
    /// Images of the clean cell.
    pub clean_images: usize,
    /// Images of a corrupted cell.
    pub images: usize,
    /// Corruptions by name.
    pub corruptions: Vec<String>,
    /// Their severities.
    pub severities: Vec<u8>,
    /// The configured rule by name.
    pub rule: String,
    /// Whether it answers without dropout.
    pub deterministic: bool,
    /// Monte Carlo passes T.
    pub passes: usize,
    /// Architecture and parameters of the networks that the others are made from.
    pub sizes: Vec<(String, String)>,
    /// Where the pictures of frost come from.
    pub frost: String,
    /// How many seeds were run.
    pub seeds: usize,
}

impl Facts {
    fn new(config: &Config, models: &[RobustModel], suite: &Corrupted) -> Self {
        let (mut corruptions, mut severities) = (Vec::<String>::new(), Vec::new());
        let (mut clean_images, mut images) = (0, 0);
        for cell in suite.cells() {
            let Shift::Corrupted(corruption, severity) = cell.shift else {
                clean_images = suite.images(cell).len();
                continue;
            };
            images = suite.images(cell).len();
            let (name, level) = (corruption.name().to_owned(), severity.level());
            if !corruptions.contains(&name) {
                corruptions.push(name);
            }
            if !severities.contains(&level) {
                severities.push(level);
            }
        }
        let named = |model: &&RobustModel| ["original", "teacher"].contains(&model.method.as_str());
        let size = |model: &RobustModel| {
            let millions = weights::parameters(&model.model) as f64 / 1e6;
            (model.method.clone(), format!("{}, {millions:.2} M", model.network.kind()))
        };
        Self {
            part: part(config),
            clean_images,
            images,
            corruptions,
            severities,
            rule: config.select.rule.rule.name().to_owned(),
            deterministic: config.select.rule.deterministic,
            passes: config.select.passes,
            sizes: models.iter().filter(named).map(size).collect(),
            frost: suite.frost().to_owned(),
            seeds: 1,
        }
    }
}

/// The part of the data, and its classes where they are not those that were tuned.
fn part(config: &Config) -> String {
    match &config.benchmark.classes {
        Some(classes) => format!("{} ({})", config.data.test, classes.join(", ")),
        None => config.data.test.clone(),
    }
}

/// Measures `models` on the test images, as the configuration's benchmark says; answers are kept in, and read from, `store`.
pub fn measure(
    config: &Config,
    models: &[RobustModel],
    splits: &Splits,
    store: &Path,
    machine: &Machine,
    watch: &dyn Watch,
) -> anyhow::Result<Measurement> {
    let others =
        config.benchmark.classes.as_ref().map(|classes| other_classes(config, models, classes, machine, watch));
    let others = others.transpose()?;
    let (models, splits) = match &others {
        Some((models, splits)) => (models.as_slice(), splits),
        None => (models, splits),
    };
    let benchmark = &benchmark(config, watch);
    let side = config.original.network.image_size() as u32;
    if let Some(warning) = benchmark.profile()?.misfit("the model's input", (side, side), "benchmark.profile=scaled") {
        watch.warn(&warning);
    }
    let geometry = config.original.preprocess.parse::<Preprocess>()?.geometry();
    let suite = Corrupted::new(&part_name(&config.data.path, "c"), benchmark, splits.test.clone(), geometry.clone())?;
    let facts = Facts::new(config, models, &suite);
    let entrants = models.iter().map(|model| {
        let predictor = model.predictor().with_context(|| model.method.clone())?;
        Ok(Entrant { name: model.method.clone(), predictor })
    });
    let entrants: Vec<Entrant<'_>> = entrants.collect::<anyhow::Result<_>>()?;
    let store = AnswerStore::new(store, robustify_device::backend_of(&machine.device));
    let blends = blends(config, models)?;
    let select = &config.select.rule;
    expect_uncertainty(config, models)?;
    let calibrations = Fitting { config, entrants: &entrants, blends: &blends, store: &store, machine, watch };
    let calibrations = calibrations.fit(&splits.validation)?;
    let judging = Judging { suite: suite.name(), select, calibrations: &calibrations, blends: &blends };
    let mut found = Found::default();
    let timings =
        measure::measure(&suite, &entrants, &store, machine, watch, |measured| found.take(&judging, measured))?;
    if !benchmark.shifts.is_empty() {
        let name = part_name(&config.data.path, "shifts");
        let suite = Shifted::new(&name, benchmark, splits.test.clone(), geometry.clone())?;
        let judging = Judging { suite: suite.name(), ..judging };
        measure::measure(&suite, &entrants, &store, machine, watch, |measured| found.take(&judging, measured))?;
    }
    transfer(benchmark, models, splits, &geometry, &store, (machine, watch), |suite, measured| {
        found.take(&Judging { suite, blends: &[], ..judging }, measured);
    })?;
    let Found { rows, outcomes } = found;
    let original = models.iter().find(|model| model.method == "original").map(RobustModel::state);
    let cost = |model: &RobustModel| {
        (model.method.clone(), counted(model, original.as_ref()).or(inference(&timings, &model.method)))
    };
    let costs = models.iter().map(cost).collect();
    let models = entrants.iter().map(|entrant| (entrant.name.clone(), entrant.predictor.identity().to_owned()));
    suite.release();
    Ok(Measurement { rows, outcomes, costs, facts, models: models.collect(), suite })
}

/// The images of other classes than those that were tuned.
///
/// # Errors
/// A class that the data does not have, or one that is named twice.
pub(crate) fn splits_of(config: &Config, classes: &[String], watch: &dyn Watch) -> anyhow::Result<Splits> {
    anyhow::ensure!(
        classes.len() > 1,
        "benchmark.classes={classes:?}: expected at least two classes, for among fewer every answer is right; name more, or leave it out"
    );
    let data = DataConfig { only: Some(classes.to_vec()), ..config.data.clone() };
    Splits::open(&data, watch).with_context(|| format!("benchmark.classes={classes:?}"))
}

/// The images of other classes than those that were tuned, and the models that know them by a text.
fn other_classes(
    config: &Config,
    models: &[RobustModel],
    classes: &[String],
    machine: &Machine,
    watch: &dyn Watch,
) -> anyhow::Result<(Vec<RobustModel>, Splits)> {
    let splits = splits_of(config, classes, watch)?;
    let (known, unknown): (Vec<_>, Vec<_>) = models.iter().partition(|model| model.label_set.is_some());
    let names = unknown.iter().map(|model| model.method.as_str()).collect::<Vec<_>>().join(", ");
    anyhow::ensure!(
        !known.is_empty(),
        "benchmark.classes: {names} can tell no other classes apart than they were tuned on; set original.zero_shot, with the weights \
         of a whole CLIP, or leave benchmark.classes out"
    );
    if !unknown.is_empty() {
        watch.say(&format!("benchmark.classes: not measured, since they know no other classes: {names}"));
    }
    let models = known.into_iter().map(|model| model.clone().with_classes(classes, &machine.device));
    Ok((models.collect::<Result<_, _>>().context("benchmark.classes")?, splits))
}

/// What is measured: on the validation part under the validation corruptions, unless others are named, so that settings are never
/// chosen under what is reported.
fn benchmark(config: &Config, watch: &dyn Watch) -> CorruptedConfig {
    let mut benchmark = config.benchmark.clone();
    if config.data.test == Split::Validation.name() && benchmark.corruptions.is_none() {
        let names = Corruption::VALIDATION.map(|corruption| corruption.to_string());
        watch.say(&format!("data.test is the validation part: measured under {}", names.join(", ")));
        benchmark.corruptions = Some(names.to_vec());
    }
    benchmark
}

/// The rows that asked methods make of the models' answers together, as far as all members are there.
fn blends(config: &Config, models: &[RobustModel]) -> anyhow::Result<Vec<Blend>> {
    let blends = wanted(&config.methods)?.into_iter().flat_map(|method| method.blends());
    let is_there = |name: &String| models.iter().any(|model| model.method == *name);
    Ok(blends.filter(|blend| blend.models.iter().all(is_there)).collect())
}

/// The data set's folder with what a suite makes of it, as in ImageNet-C.
fn part_name(path: &Path, suite: &str) -> String {
    let folder = path.file_name().unwrap_or(path.as_os_str());
    format!("{}-{suite}", folder.to_string_lossy())
}

/// What measuring gave so far.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    outcomes: Outcomes,
}

impl Found {
    fn take(&mut self, judging: &Judging<'_>, measured: Measured) {
        let judged = metrics::judge(judging, &measured);
        self.rows.extend(judged.rows);
        self.outcomes.push((measured.cell, judged.outcomes));
    }
}

/// How well another task can be read off every model's features, if that is asked for: a probe learns on training pictures, and is
/// measured on test pictures.
fn transfer(
    benchmark: &CorruptedConfig,
    models: &[RobustModel],
    splits: &Splits,
    geometry: &Preprocess,
    store: &AnswerStore,
    (machine, watch): (&Machine, &dyn Watch),
    mut take: impl FnMut(&str, Measured),
) -> anyhow::Result<()> {
    if benchmark.transfer == 0 {
        return Ok(());
    }
    let part = |images: &Images, count| Turned::new(TRANSFER, images.clone(), count, geometry.clone(), benchmark.seed);
    let (train, test) = (part(&splits.train, benchmark.transfer)?, part(&splits.test, benchmark.images)?);
    let probed = |model: &RobustModel| {
        let predictor = Box::new(Probed::new(model, &train).with_context(|| model.method.clone())?);
        Ok(Entrant { name: model.method.clone(), predictor })
    };
    let entrants: Vec<Entrant<'_>> = models.iter().map(probed).collect::<anyhow::Result<_>>()?;
    measure::measure(&test, &entrants, store, machine, watch, |measured| take(TRANSFER, measured))?;
    Ok(())
}

impl Measurement {
    /// Writes `results.csv`, `results.json`, `summary.json` and `timings.json` into a folder, and takes over the times that stood there
    /// of models whose cells were all stored already.
    pub fn write(&mut self, folder: &Path, config: &Config, machine: &Machine) -> anyhow::Result<()> {
        let meta = [
            ("program", format!("robustify {}", env!("CARGO_PKG_VERSION"))),
            ("run", config.name.clone()),
            ("models", serde_json::to_string(&self.models)?),
            ("backend", robustify_device::backend_of(&machine.device)),
            ("data", config.data.path.display().to_string()),
            ("part", part(config)),
            ("profile", config.benchmark.profile.clone()),
            ("images", "corrupted in memory, not official files".to_owned()),
            ("frost", self.facts.frost.clone()),
            ("rule", config.select.rule.rule.name().to_owned()),
            ("passes", config.select.passes.to_string()),
            ("seed", config.seed.to_string()),
            ("tuning_seed", config.tuning.seed.to_string()),
        ];
        let meta = meta.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        write_csv(&folder.join("results.csv"), &self.rows)?;
        write_json(&folder.join("results.json"), &Results { meta, rows: self.rows.clone() })?;
        Runs::new(&[&self.rows]).write(&folder.join(crate::summary::RUN))?;
        self.write_timings(folder)
    }

    /// Takes over what a finished run knows of its models' costs, as far as nothing was measured now.
    pub fn recall(&mut self, run: &Path) {
        let known = known_costs(run);
        for (model, costs) in &mut self.costs {
            *costs = costs.or(known.get(model).copied().unwrap_or_default());
        }
    }

    /// What every model cost; beside the results, where it disturbs no comparison of bytes. Of models whose cells were all
    /// stored already, the times of before stay.
    fn write_timings(&mut self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(TIMINGS);
        let mut known = known_costs(folder);
        for (model, costs) in &mut self.costs {
            let kept = known.entry(model.clone()).or_default();
            *kept = costs.or(*kept);
            *costs = *kept;
        }
        write_atomic(&path, serde_json::to_string_pretty(&known)?.as_bytes())
            .with_context(|| path.display().to_string())
    }
}

/// What every model cost, in a run's folder.
const TIMINGS: &str = "timings.json";

/// What a folder knows of costs; nothing if it knows nothing.
fn known_costs(folder: &Path) -> BTreeMap<String, Costs> {
    let read = || serde_json::from_slice(&std::fs::read(folder.join(TIMINGS)).ok()?).ok();
    read().unwrap_or_default()
}

/// What one model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Milliseconds of processor time for each training image, all epochs together, from the pre-trained model on (of methods
    /// with a teacher without the teacher's own training).
    pub training: Option<f64>,
    /// Milliseconds an image on one thread, with all Monte Carlo passes.
    pub inference: Option<f64>,
    /// Milliseconds an image on one thread without Monte Carlo passes, of a model that makes them.
    pub inference_one_pass: Option<f64>,
    /// Multiply-accumulates for an image in one pass, counted; no row that nobody reads is computed, nor counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// The same with all Monte Carlo passes, of a model that makes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs_passes: Option<u64>,
    /// Parameters that are not the original's, counted tensor by tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<u64>,
}

impl Costs {
    /// These, and what they lack from others.
    fn or(self, others: Self) -> Self {
        Self {
            training: self.training.or(others.training),
            inference: self.inference.or(others.inference),
            inference_one_pass: self.inference_one_pass.or(others.inference_one_pass),
            macs: self.macs.or(others.macs),
            macs_passes: self.macs_passes.or(others.macs_passes),
            tuned: self.tuned.or(others.tuned),
        }
    }

    /// The mean over seeds of what was measured.
    pub fn mean(seeds: &[Self]) -> Self {
        let mean =
            |of: &dyn Fn(&Self) -> Option<f64>| Spread::of(seeds.iter().filter_map(of)).map(|spread| spread.mean);
        Self {
            training: mean(&|costs| costs.training),
            inference: mean(&|costs| costs.inference),
            inference_one_pass: mean(&|costs| costs.inference_one_pass),
            macs: seeds.iter().find_map(|costs| costs.macs),
            macs_passes: seeds.iter().find_map(|costs| costs.macs_passes),
            tuned: seeds.iter().find_map(|costs| costs.tuned),
        }
    }
}

/// What is counted of a model: multiply-accumulates of a pass, and parameters that are not the original's.
fn counted(model: &RobustModel, original: Option<&State>) -> Costs {
    let (macs, passes) = model.macs();
    let is_own = |(name, entry): &(&String, &Entry)| original.and_then(|original| original.get(*name)) != Some(*entry);
    let state = model.state();
    let tuned = state
        .iter()
        .filter(|(name, _)| !Attached::owns(name))
        .filter(is_own)
        .map(|(_, entry)| entry.values.len() as u64)
        .sum();
    Costs { macs: Some(macs), macs_passes: passes, tuned: original.is_some().then_some(tuned), ..Costs::default() }
}

/// Inference times of the cells that were computed.
fn inference(timings: &Timings, model: &str) -> Costs {
    let Some(timing) = timings.get(model) else { return Costs::default() };
    let per_image = |time: std::time::Duration| 1e3 * time.as_secs_f64() / timing.images.max(1) as f64;
    Costs {
        inference: Some(per_image(timing.time)),
        inference_one_pass: timing.deterministic.map(per_image),
        ..Costs::default()
    }
}
