//! Measuring the models of a finished run, or of files, again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use robustify_data::{Images, Preprocess, Relabelled, Splits};
use robustify_device::Machine;
use robustify_methods::lab::classes::{self, KnownClasses};
use robustify_methods::{Config, METHODS};
use robustify_predict::{Made, RobustModel};
use robustify_report::{lock_folder, write_atomic};
use robustify_watch::Watch;

use crate::run::{self, Started, UsedData};
use crate::train::Report;
use crate::{results, settings, train};

/// What to measure.
pub struct Job {
    /// Folder of a finished run, whose configuration and models are taken.
    pub run: PathBuf,
    /// Names of the run's models to measure; all if empty.
    pub models: Vec<String>,
    /// Files of further models.
    pub files: Vec<PathBuf>,
    /// Where results go.
    pub out: PathBuf,
    /// Settings that replace those of the run.
    pub settings: Vec<String>,
}

/// Measures, and writes results into the job's folder.
///
/// # Errors
/// A folder that is no finished run, settings that have no effect on one, files that are no models or are of other classes
/// than the data, images that cannot be read, or an interruption.
pub fn benchmark(job: &Job, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<Report> {
    let file = job.run.join(run::CONFIG);
    let config: Config = settings::load(&file, &job.settings)?;
    expect_effect(&file, &config)?;
    ensure!(
        !run::is_run(&job.out),
        "{}: is the folder of a run, whose own results would go; leave --out out, or name another folder",
        job.out.display()
    );
    let _lock = lock_folder(&job.out)?;
    let models = models(job, &config, machine, watch)?;
    let started = Started::read(&job.run)?;
    let opened = Splits::open(&config.data, watch)
        .map_err(|error| Started::explain(started.as_ref(), &config.data.path, error))?;
    if let Some(before) = started.as_ref().and_then(|started| started.data.as_ref()) {
        let changes = UsedData::of(&opened).changes(before);
        if !changes.is_empty() {
            watch.warn(&format!(
                "{}: not the images that {} was trained and measured on ({}); the numbers are those of the present ones",
                config.data.path.display(),
                job.run.display(),
                changes.join(", ")
            ));
        }
    }
    let splits = under_classes(opened, &models[0], &config.data.path, watch)?;
    for part in [&splits.validation, &splits.test] {
        train::check_images(&config, part)?;
    }
    // The answers that training kept are of use here, and the other way round.
    let cache = started.map(|started| started.cache).filter(|cache| cache.is_dir());
    let store = train::answers(cache.as_deref().unwrap_or(&job.out));
    let mut measurement = results::measure(&config, &models, &splits, &store, machine, watch)?;
    write_atomic(&job.out.join(run::BENCHMARKED), toml::to_string_pretty(&config)?.as_bytes())?;
    measurement.recall(&job.run);
    measurement.write(&job.out, &config, machine)?;
    let report = Report::new(&[measurement])?;
    report.write_arena(&job.out)?;
    Ok(report)
}

/// The images under the classes of a model, by their names.
fn under_classes(splits: Splits, model: &RobustModel, data: &Path, watch: &dyn Watch) -> anyhow::Result<Splits> {
    let (own, known) = (splits.train.classes(), &model.classes);
    if own == known.as_slice() {
        return Ok(splits);
    }
    let places = KnownClasses::new(known, "the model").all_places(own).map_err(|unknown| {
        anyhow!(
            "{}: {} of its classes are none of those that the models tell apart: {}. The models know {}; rename the folders (or \
             data.classes) as they were, take those out, or train again",
            data.display(),
            unknown.len(),
            classes::list(&unknown),
            classes::list(known)
        )
    })?;
    watch.say(&format!(
        "{}: its {} classes are matched by name with the {} of the models",
        data.display(),
        own.len(),
        known.len()
    ));
    let of = |images: Images| -> anyhow::Result<Images> {
        Ok(Arc::new(Relabelled::new(images, known.clone(), places.clone())?))
    };
    let Splits { train, validation, test, layout, skipped } = splits;
    Ok(Splits { train: of(train)?, validation: of(validation)?, test: of(test)?, layout, skipped })
}

/// The run's models, sampled as the configuration says now, and those of files.
fn models(job: &Job, config: &Config, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<Vec<RobustModel>> {
    let mut models = run::read_models(&job.run, &members(&job.models), &machine.device)?;
    for file in &job.files {
        let mut model = RobustModel::read(file, &machine.device)?;
        warn_of_geometry(&model, file, config, watch)?;
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        // Two files may have been made by the same method.
        if models.iter().any(|other| other.method == model.method) {
            model.method = name;
        }
        ensure!(
            models.iter().all(|other| other.method != model.method),
            "{}: another model is called `{}` in this table; rename the file",
            file.display(),
            model.method
        );
        models.push(model);
    }
    for model in &mut models {
        if let Made::ThreeHeads(_, mc) = &mut model.made {
            mc.passes = config.select.passes;
            mc.seed = config.select.mask_seed;
            mc.common_masks = config.select.common_masks;
        }
    }
    Ok(models)
}

/// The models that names stand for: a row of several models, as `ensemble`, stands for its members.
fn members(names: &[String]) -> Vec<String> {
    let blends = |name: &str| METHODS.iter().find(|method| method.name() == name).map(|method| method.blends());
    let mut models: Vec<String> = Vec::new();
    for name in names {
        let members = blends(name).unwrap_or_default().into_iter().flat_map(|blend| blend.models).collect::<Vec<_>>();
        let stands_for = if members.is_empty() { vec![name.clone()] } else { members };
        models.extend(stands_for.into_iter().filter(|name| !models.contains(name)).collect::<Vec<_>>());
    }
    models
}

/// Says so when a model was made for pictures that are cropped or padded in another way than the benchmark does it.
fn warn_of_geometry(model: &RobustModel, file: &Path, config: &Config, watch: &dyn Watch) -> anyhow::Result<()> {
    let suite: Preprocess = config.original.preprocess.parse()?;
    // A teacher has steps of its own behind those of the large model.
    if !model.preprocess.steps().starts_with(suite.steps()) {
        watch.warn(&format!(
            "{}: made for pictures preprocessed by `{}`, measured on this run's, `{}`",
            file.display(),
            model.preprocess,
            config.original.preprocess
        ));
    }
    Ok(())
}

/// Where settings are that a finished run can be measured with; the others were used up in training.
const EFFECTIVE: [&str; 5] = ["name", "data", "benchmark", "select", "checkpoint_seconds"];

/// Of them, what was fitted when the models were trained.
const FITTED: [&str; 2] = ["select.laplace", "select.vrf"];

/// An error if a setting was replaced that changes nothing: its value would stand beside results that it has no part in.
fn expect_effect(file: &Path, given: &Config) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut changed = Vec::new();
    settings::differences("", &toml::from_str(&text)?, &toml::Table::try_from(given)?, &mut changed);
    let within =
        |key: &str, part: &str| key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_fitted = |key: &str| FITTED.iter().any(|part| within(key, part));
    changed.retain(|key| is_fitted(key) || !EFFECTIVE.iter().any(|part| within(key, part)));
    ensure!(
        changed.is_empty(),
        "{} without effect on a finished run: it is measured as it was trained; `cargo xtask train` trains with other settings",
        changed.join(", ")
    );
    Ok(())
}
