//! `train`: the main job. Fits methods, measures, prints the table.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use robustify_data::Splits;
use robustify_experiment::report::pages;
use robustify_experiment::run::{self, Started};
use robustify_experiment::settings as files;
use robustify_experiment::train::{self, Job};
use robustify_methods::Config;
use robustify_watch::Watch as _;

use crate::args::Train;
use crate::commands::{original_weights, own, teacher_weights};
use crate::console::{self, Console};
use crate::settings;

/// Runs every stage that is not done yet, for one or several seeds, and prints what came of it.
pub fn run(options: &Train, console: &Console) -> anyhow::Result<()> {
    if let (Some(Some(resumed)), Some(other)) = (&options.resume, &options.run_dir) {
        bail!("--resume {} names the run to continue; leave out --run-dir {}", resumed.display(), other.display());
    }
    let Configured { config, weights, splits } = configuration(options, console)?;
    let resumed = options.resume.as_ref().and_then(Option::as_ref);
    let folder =
        resumed.or(options.run_dir.as_ref()).map_or_else(|| Path::new("runs").join(&config.name), PathBuf::clone);
    let before = resumed.map(|folder| Started::read(folder)).transpose()?.flatten();
    let seeds = options.seeds.or(before.as_ref().map(|before| before.seeds)).unwrap_or(1);
    let cache = options.cache_dir.clone().or(before.map(|before| before.cache).filter(|cache| cache.is_dir()));
    let cache = cache.unwrap_or_else(|| usual_cache(options, &folder));
    let machine = options.common.machine()?;
    let teacher = teacher_weights(&config, console)?;
    let job = Job {
        config,
        weights,
        teacher,
        splits,
        folder,
        cache,
        seeds,
        fresh: options.fresh,
        overwrite: options.overwrite,
        report: true,
    };
    let folder = job.folder.clone();
    let report = train::train(job, &machine, console)?;
    console::result(&report.text_in(console::width()))?;
    if options.arena {
        console::result(&report.arena_in(console::width()))?;
    }
    for page in pages(&folder) {
        console.say(&format!("report: {}", page.display()));
    }
    Ok(())
}

/// Where the stages are, if nobody said so.
fn usual_cache(options: &Train, folder: &Path) -> PathBuf {
    let own = folder.join("stages");
    // A run that was started with its own stages is continued with them.
    if options.run_dir.is_some() || own.is_dir() {
        return own;
    }
    folder.parent().unwrap_or(Path::new("runs")).join("cache")
}

/// What to run.
struct Configured {
    config: Config,
    /// The file, or folder, with the large model's weights.
    weights: PathBuf,
    /// The images, where they had to be looked at.
    splits: Option<Splits>,
}

/// The configuration of the file with its overrides, the stored one of a run that is continued, or one that is made for one's own
/// images and model.
fn configuration(options: &Train, console: &Console) -> anyhow::Result<Configured> {
    let stored = options.resume.as_ref().and_then(Option::as_ref).map(|folder| folder.join(run::CONFIG));
    if let (Some(stored), Some(other)) = (&stored, &options.config) {
        bail!("--resume continues with {}; leave out --config {}", stored.display(), other.display());
    }
    let given = settings::given(&settings_of(options)?)?;
    if let (Some(stored), false) = (&stored, given.is_empty() && options.own.model.is_none()) {
        bail!(
            "--resume continues with the settings in {}, and no others: leave out {}; or train with them into another folder, by \
             --config {0} --run-dir DIR",
            stored.display(),
            if given.is_empty() { "--model".to_owned() } else { given.join(" ") }
        );
    }
    if options.own.model.is_some() {
        let Some(data) = &options.data else {
            bail!("--model needs --data DIR, a folder with the images; or a --config with both")
        };
        return own_configuration(data, options, &given, console);
    }
    if let (Some(data), None, None) = (&options.data, &options.config, &stored) {
        bail!(
            "--data {} needs --model: a file of weights, a folder of timm's, or a name that `models list` shows; or --config FILE for a \
             configuration that has one",
            data.display()
        );
    }
    let usual = || Path::new("configs/fashion-mini.toml").to_owned();
    let file = stored.or_else(|| options.config.clone()).unwrap_or_else(usual);
    let config = files::load(&file, &given)?;
    let weights = original_weights(&config, console)?;
    Ok(Configured { config, weights, splits: None })
}

/// The settings that options stand for, then those that were given as such.
fn settings_of(options: &Train) -> anyhow::Result<Vec<String>> {
    let mut settings = Vec::new();
    let mut set = |key: &str, value: Option<String>| settings.extend(value.map(|value| format!("{key}={value}")));
    let text = |path: &PathBuf| serde_json::Value::from(path.display().to_string()).to_string();
    // With a model of one's own, the data is looked at before there is a configuration.
    set("data.path", options.data.as_ref().filter(|_| options.own.model.is_none()).map(text));
    set("tuning.epochs", options.epochs.map(|epochs| epochs.to_string()));
    if let Some(rows) = options.batch_size {
        ensure!(
            rows >= 2 && rows % 2 == 0,
            "--batch-size {rows}: an even number from 2 up is expected, since half of a batch is clean and half augmented"
        );
        set("tuning.pairs", Some((rows / 2).to_string()));
    }
    set("tuning.optimizer.learning_rate", options.lr.map(|rate| format!("{rate:?}")));
    set("seed", options.seed.map(|seed| seed.to_string()));
    set("tuning.seed", options.seed.map(|seed| seed.to_string()));
    set("data.strict", options.strict.then(|| "true".to_owned()));
    settings.extend(options.overrides.iter().cloned());
    Ok(settings)
}

/// The configuration for one's own images and model.
fn own_configuration(data: &Path, options: &Train, given: &[String], console: &Console) -> anyhow::Result<Configured> {
    let (text, splits, weights) = own::derived(data, &options.own, given, console)?;
    let config: Config = files::parse(&text, Path::new("that `init` writes"), given)?;
    Ok(Configured { config, weights, splits: Some(splits) })
}
