//! `train`: the main job. Fits methods, measures, prints the table.

use std::path::{Path, PathBuf};

use anyhow::bail;
use robustify_experiment::run::{self, Started};
use robustify_experiment::settings as files;
use robustify_experiment::train::{self, Job};
use robustify_methods::Config;

use crate::args::Train;
use crate::commands::{original_weights, teacher_weights};
use crate::console::{self, Console};
use crate::settings;

/// Runs every stage that is not done yet, for one or several seeds, and prints what came of it.
pub fn run(options: &Train, console: &Console) -> anyhow::Result<()> {
    if let (Some(Some(resumed)), Some(other)) = (&options.resume, &options.run_dir) {
        bail!("--resume {} names the run to continue; leave out --run-dir {}", resumed.display(), other.display());
    }
    let config = configuration(options)?;
    let resumed = options.resume.as_ref().and_then(Option::as_ref);
    let folder =
        resumed.or(options.run_dir.as_ref()).map_or_else(|| Path::new("runs").join(&config.name), PathBuf::clone);
    let before = resumed.map(|folder| Started::read(folder)).transpose()?.flatten();
    let seeds = options.seeds.or(before.as_ref().map(|before| before.seeds)).unwrap_or(1);
    let cache = options.cache_dir.clone().or(before.map(|before| before.cache).filter(|cache| cache.is_dir()));
    let cache = cache.unwrap_or_else(|| usual_cache(options, &folder));
    let machine = options.common.machine()?;
    let weights = original_weights(&config, console)?;
    let teacher = teacher_weights(&config, console)?;
    let job =
        Job { config, weights, teacher, folder, cache, seeds, fresh: options.fresh, overwrite: options.overwrite };
    console::result(&train::train(&job, &machine, console)?.text())
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

/// The configuration of the file with its overrides, or the stored one of a run that is continued.
fn configuration(options: &Train) -> anyhow::Result<Config> {
    let stored = options.resume.as_ref().and_then(Option::as_ref).map(|folder| folder.join(run::CONFIG));
    if let (Some(stored), Some(other)) = (&stored, &options.config) {
        bail!("--resume continues with {}; leave out --config {}", stored.display(), other.display());
    }
    let usual = || Path::new("configs/fashion-mini.toml").to_owned();
    let mut overrides = options.overrides.clone();
    if options.strict {
        overrides.push("data.strict=true".into());
    }
    let given = settings::given(&overrides)?;
    if let (Some(stored), false) = (&stored, given.is_empty()) {
        bail!(
            "--resume continues with the settings in {}, and no others: leave out {}; or train with them into another folder, by \
             --config {0} --run-dir DIR",
            stored.display(),
            given.join(" ")
        );
    }
    let file = stored.or_else(|| options.config.clone()).unwrap_or_else(usual);
    files::load(&file, &given)
}
