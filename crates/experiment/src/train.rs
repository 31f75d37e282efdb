//! The main job: fit methods, measure what they made, compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use robustify_data::{Images, Splits};
use robustify_device::Machine;
use robustify_methods::lab::{LoadedTeacher, Pretrained, policy, read_original, read_teacher, sizes};
use robustify_methods::{Config, Fitted, Lab, is_wanted, wanted};
use robustify_predict::RobustModel;
use robustify_report::{Row, lock_folder};
use robustify_watch::{Silent, Watch};

pub use crate::outcome::Report;
use crate::results::{self, Measurement};
use crate::run::{self, Started, UsedData};
use crate::summary::{self, Runs};
use crate::{plan, validation};

/// What to train, and where.
pub struct Job {
    /// The merged configuration.
    pub config: Config,
    /// The file, or folder, that `original.weights` names; a name of the hub has become a path.
    pub weights: PathBuf,
    /// The same for `teacher.weights`, if there are any.
    pub teacher: Option<PathBuf>,
    /// The images, if they were opened already.
    pub splits: Option<Splits>,
    /// The run's folder.
    pub folder: PathBuf,
    /// Where stages and answers are kept, which runs may share.
    pub cache: PathBuf,
    /// How many seeds, from `tuning.seed` on; the configuration says what they vary, and each has a folder of its own when there are several.
    pub seeds: u64,
    /// Whether to start unfinished stages over instead of continuing them.
    pub fresh: bool,
    /// Whether models and results of a finished run with other settings or images may be replaced.
    pub overwrite: bool,
    /// Whether the run's folder gets a page, with tables and a model card.
    pub report: bool,
}

/// What was left out of the images, in the run's folder, if warnings cannot hold it.
const SKIPPED: &str = "skipped.txt";

/// Fits every method that is not fitted yet, for one or several seeds, measures, and writes the run's folder.
///
/// # Errors
/// Whatever keeps a stage from being computed: images, weights, settings, files, another program at work, an interruption.
pub fn train(job: Job, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<Report> {
    let folder = job.folder.clone();
    let report = Report::new(&measured(job, machine, watch)?)?;
    report.write_arena(&folder)?;
    Ok(report)
}

/// The same without the table: what was measured of each seed.
pub(crate) fn measured(mut job: Job, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<Vec<Measurement>> {
    anyhow::ensure!(
        job.seeds <= 1 || !job.config.vary.is_empty(),
        "vary is empty, so {} seeds would all be the same run; name what they vary: teacher, views, heads, masks",
        job.seeds
    );
    expect_outside(&job.folder, &job.config.data.path)?;
    let _lock = lock_folder(&job.folder)?;
    let splits = match job.splits.take() {
        Some(splits) => splits,
        None => {
            let (data, before) = (&job.config.data, Started::read(&job.folder)?);
            Splits::open_listing(data, Some(&job.folder.join(SKIPPED)), watch)
                .map_err(|error| Started::explain(before.as_ref(), &data.path, error))?
        }
    };
    let job = &job;
    let opened = open(job, &splits, machine, watch)?;
    // What cannot be written to is found before anything of the run's folder is touched.
    std::fs::create_dir_all(&job.cache).with_context(|| format!("cache folder {}", job.cache.display()))?;
    let (cache, data) = (std::path::absolute(&job.cache)?, Some(UsedData::of(&splits)));
    let started = Started { seeds: job.seeds, cache, models: Vec::new(), data };
    if !job.overwrite {
        run::expect_free(&job.folder, &job.config, &started)?;
    }
    if job.seeds > 1 {
        run::write_config(&job.folder, &job.config)?;
        started.write(&job.folder)?;
    }
    let first = job.config.tuning.seed;
    let mut all: Vec<Measurement> = Vec::new();
    for number in 0..job.seeds {
        let (config, seed) = (job.config.of_seed(number), first + number);
        let folder = if job.seeds == 1 { job.folder.clone() } else { job.folder.join(format!("seed-{seed}")) };
        let one = One { job, config, folder: &folder, started: Started { seeds: 1, ..started.clone() } };
        let measurement = one.run(&splits, opened.clone(), machine, watch);
        all.push(measurement.with_context(|| format!("run {}", folder.display()))?);
    }
    if job.seeds > 1 {
        let rows: Vec<&[Row]> = all.iter().map(|seed| seed.rows.as_slice()).collect();
        Runs::new(&rows).write(&job.folder.join(summary::SEEDS))?;
    }
    Ok(all)
}

/// An error if a run's folder lies among the images, where its files would be taken for more of them.
fn expect_outside(folder: &Path, data: &Path) -> anyhow::Result<()> {
    let (Ok(absolute), Ok(data)) = (std::path::absolute(folder), data.canonicalize()) else { return Ok(()) };
    // The folder may not be there yet; whatever is, may be a link.
    let there = absolute.ancestors().find_map(|parent| Some((parent, parent.canonicalize().ok()?)));
    let real = there.map(|(parent, real)| real.join(absolute.strip_prefix(parent).unwrap_or(Path::new(""))));
    anyhow::ensure!(
        !real.is_some_and(|real| real.starts_with(&data)),
        "run folder {}: lies among the images in {}; name another with --run-dir",
        folder.display(),
        data.display()
    );
    Ok(())
}

/// The models that methods start from: the large one, and a teacher if it has a file.
type Opened = (Pretrained, Option<LoadedTeacher>);

/// Checks what can be checked before anything is computed, and reads the models that methods start from.
fn open(job: &Job, splits: &Splits, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<Opened> {
    for part in [&splits.train, &splits.validation, &splits.test] {
        check_images(&job.config, part)?;
    }
    let classes = splits.train.classes();
    anyhow::ensure!(
        classes.len() > 1,
        "{}: one class, `{}`, is nothing to tell apart; a folder for each class is expected",
        job.config.data.path.display(),
        classes.join("")
    );
    check_policies(&job.config, machine)?;
    if let Some(classes) = &job.config.benchmark.classes {
        results::splits_of(&job.config, classes, &Silent)?;
    }
    let original = read_original(&job.config, &job.weights, &machine.device, watch)?;
    let taught = is_wanted(&job.config, "teacher");
    let read = |file: &PathBuf| read_teacher(&job.config, file, classes, &machine.device, watch);
    Ok((original, job.teacher.as_ref().filter(|_| taught).map(read).transpose()?))
}

/// An error unless the files that policies name are there and fit their networks.
fn check_policies(config: &Config, machine: &Machine) -> anyhow::Result<()> {
    let of_teacher = config.teacher.training.as_ref().and_then(|training| training.policy.as_deref());
    let policies = [("views.policy", Some(config.views.policy.as_str())), ("teacher.training.policy", of_teacher)];
    for (key, text) in policies.into_iter().filter_map(|(key, text)| Some((key, text?))) {
        policy(text, &machine.device).context(key)?;
    }
    Ok(())
}

/// An error unless all images come out of the preprocessing at the size that the model takes.
pub(crate) fn check_images(config: &Config, images: &Images) -> anyhow::Result<()> {
    sizes::check_images("original.", &config.original.preprocess, &config.original.network, images)
}

/// One seed.
struct One<'a> {
    job: &'a Job,
    config: Config,
    folder: &'a Path,
    started: Started,
}

impl One<'_> {
    fn run(
        self,
        splits: &Splits,
        (opened, teacher): Opened,
        machine: &Machine,
        watch: &dyn Watch,
    ) -> anyhow::Result<Measurement> {
        let Self { job, config, folder, started } = self;
        run::write_config(folder, &config)?;
        // A run that is measured again keeps its models while that goes on.
        let models = Started::read(folder)?.map(|before| before.models).unwrap_or_default();
        Started { models, ..started.clone() }.write(folder)?;
        let methods = wanted(&config.methods)?;
        let lab = Lab::new(config, splits, machine, watch, job.cache.clone(), job.fresh, opened).with_teacher(teacher);
        plan::tell(&lab, &methods)?;
        let original = lab.original()?;
        validation::check(&original.model, &lab)?;
        let mut fitted: Vec<Fitted> = Vec::new();
        for method in methods {
            fitted.extend(lab.fits(method.name())?.iter().cloned());
        }
        run::write_models(folder, &started, &fitted)?;
        let seconds: BTreeMap<String, f64> =
            fitted.iter().map(|fitted| (fitted.model.method.clone(), fitted.cost.cpu_seconds)).collect();
        let models: Vec<RobustModel> = fitted.into_iter().map(|fitted| fitted.model).collect();
        let mut measurement = results::measure(&lab.config, &models, splits, &answers(&job.cache), machine, watch)?;
        for (model, costs) in &mut measurement.costs {
            let seconds = seconds.get(model).copied().unwrap_or_default();
            costs.training = (seconds > 0.0).then(|| 1e3 * seconds / splits.train.len().max(1) as f64);
        }
        measurement.write(folder, &lab.config, machine)?;
        if job.report {
            measurement.report(folder, &lab.config, &models, &job.cache, machine, watch)?;
        }
        Ok(measurement)
    }
}

/// Where answers are, beside the stages.
pub(crate) fn answers(cache: &Path) -> PathBuf {
    cache.join("answers")
}
