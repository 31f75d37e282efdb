//! Measuring models, and storing what came out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use robustify_bench::suites::Corrupted;
use robustify_bench::{AnswerStore, Entrant, Outcome, Timings, measure, metrics};
use robustify_data::{Images, Preprocess};
use robustify_device::Machine;
use robustify_methods::Config;
use robustify_predict::RobustModel;
use robustify_report::{Results, Row, write_atomic, write_csv, write_json};
use robustify_watch::Watch;

use crate::summary::Runs;

/// What measuring gave.
pub struct Measurement {
    /// Records.
    pub rows: Vec<Row>,
    /// Cell by cell, which images every model and route got right.
    pub outcomes: Vec<(robustify_bench::Cell, Vec<Outcome>)>,
    /// Times, of the cells that were computed.
    pub timings: Timings,
    /// Where the pictures of frost come from.
    frost: &'static str,
    /// The models' names and identities.
    models: BTreeMap<String, String>,
}

/// Measures `models` on the images, as the configuration's benchmark says; answers are kept in, and read from, `store`.
pub fn measure(
    config: &Config,
    models: &[RobustModel],
    images: &Images,
    store: &Path,
    machine: &Machine,
    watch: &dyn Watch,
) -> anyhow::Result<Measurement> {
    let benchmark = &config.benchmark;
    let side = config.original.network.image_size() as u32;
    if let Some(warning) =
        benchmark.profile()?.misfit("the model's input", (side, side), "benchmark.profile=scaled")
    {
        watch.warn(&warning);
    }
    let geometry = config.original.preprocess.parse::<Preprocess>()?.geometry();
    let suite = Corrupted::new(&suite_name(&config.data.path), benchmark, images.clone(), geometry)?;
    let entrants = models.iter().map(|model| {
        let predictor = model.predictor().with_context(|| model.method.clone())?;
        Ok(Entrant { name: model.method.clone(), predictor })
    });
    let entrants: Vec<Entrant> = entrants.collect::<anyhow::Result<_>>()?;
    let store = AnswerStore::new(store, robustify_device::backend_of(&machine.device));
    let (mut rows, mut outcomes) = (Vec::new(), Vec::new());
    let timings = measure::measure(&suite, &entrants, &store, machine, watch, |measured| {
        let judged = metrics::judge(robustify_bench::Suite::name(&suite), &measured, &config.select.rule);
        rows.extend(judged.rows);
        outcomes.push((measured.cell, judged.outcomes));
    })?;
    let models = entrants.iter().map(|entrant| (entrant.name.clone(), entrant.predictor.identity().to_owned()));
    Ok(Measurement { rows, outcomes, timings, frost: suite.frost(), models: models.collect() })
}

/// The data set's folder and `-c`, as in ImageNet-C.
fn suite_name(path: &Path) -> String {
    let folder = path.file_name().unwrap_or(path.as_os_str());
    format!("{}-c", folder.to_string_lossy())
}

impl Measurement {
    /// Writes `results.csv`, `results.json`, `summary.json` and `timings.json` into a folder.
    pub fn write(&self, folder: &Path, config: &Config, machine: &Machine) -> anyhow::Result<()> {
        let meta = [
            ("program", format!("robustify {}", env!("CARGO_PKG_VERSION"))),
            ("run", config.name.clone()),
            ("models", serde_json::to_string(&self.models)?),
            ("backend", robustify_device::backend_of(&machine.device)),
            ("data", config.data.path.display().to_string()),
            ("part", config.data.test.clone()),
            ("profile", config.benchmark.profile.clone()),
            ("images", "corrupted in memory, not official files".to_owned()),
            ("frost", self.frost.to_owned()),
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

    /// Milliseconds an image, of the cells that were computed; beside the results, where they disturb no comparison of bytes.
    fn write_timings(&self, folder: &Path) -> anyhow::Result<()> {
        if self.timings.is_empty() {
            return Ok(());
        }
        let milliseconds: BTreeMap<String, f64> = milliseconds(&self.timings).into_iter().collect();
        let path = folder.join("timings.json");
        write_atomic(&path, serde_json::to_string_pretty(&milliseconds)?.as_bytes())
            .with_context(|| path.display().to_string())
    }
}

/// Milliseconds an image on one thread, by model; a model with Monte Carlo passes has a second entry without them.
pub fn milliseconds(timings: &Timings) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for (model, timing) in timings {
        let per_image = |time: std::time::Duration| 1e3 * time.as_secs_f64() / timing.images.max(1) as f64;
        all.push((model.clone(), per_image(timing.time)));
        if let Some(time) = timing.deterministic {
            all.push((format!("{model}, one pass"), per_image(time)));
        }
    }
    all
}
