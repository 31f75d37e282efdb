//! `train`: the main job. Teacher, views, heads, rival, benchmark, table.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use robustify_watch::Watch as _;

use crate::args::Train;
use crate::config::{self, Config};
use crate::console::{self, Console};
use crate::dataset::Splits;
use crate::rundir::Started;
use crate::{results, rundir, stages, summary};

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
    let _lock = robustify_report::lock_folder(&folder)?;
    let machine = options.common.machine()?;
    let splits = Splits::open(&config.data, console)?;
    let mut context = stages::Context { config, machine, cache, console: console.clone(), fresh: options.fresh };

    let opened = stages::open(&context, &splits)?;
    // What cannot be written to is found before anything of the run's folder is touched.
    std::fs::create_dir_all(&context.cache).with_context(|| format!("cache folder {}", context.cache.display()))?;
    let started = Started { seeds, cache: std::path::absolute(&context.cache)? };
    if seeds > 1 {
        rundir::write_config(&folder, &context.config)?;
        started.write(&folder)?;
    }
    let first = context.config.tuning.seed;
    let mut all = Vec::new();
    for seed in first..first + seeds {
        context.config.tuning.seed = seed;
        let run = if seeds == 1 { folder.clone() } else { folder.join(format!("seed-{seed}")) };
        Started { seeds: 1, ..started.clone() }.write(&run)?;
        all.push(one_seed(&context, &splits, opened.clone(), &run).with_context(|| format!("run {}", run.display()))?);
    }
    let summary = summary::Runs::new(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    if seeds > 1 {
        summary.write(&folder.join(summary::SEEDS))?;
    }
    console::result(&summary.table())?;
    if seeds > 1 {
        console::result(&summary.verdict())?;
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

/// The configuration of the file with its overrides, or the stored one of a run that is continued.
fn configuration(options: &Train) -> anyhow::Result<Config> {
    let stored = options.resume.as_ref().and_then(Option::as_ref).map(|folder| folder.join(rundir::CONFIG));
    if let (Some(stored), Some(other)) = (&stored, &options.config) {
        bail!("--resume continues with {}; leave out --config {}", stored.display(), other.display());
    }
    let usual = || Path::new("configs/fashion-mini.toml").to_owned();
    let file = stored.or_else(|| options.config.clone()).unwrap_or_else(usual);
    let mut overrides = options.overrides.clone();
    if options.strict {
        overrides.push("data.strict=true".into());
    }
    config::load(&file, &overrides)
}

/// All stages for one seed of the heads; writes the run's folder.
fn one_seed(
    context: &stages::Context,
    splits: &Splits,
    opened: stages::Original,
    run: &Path,
) -> anyhow::Result<Vec<robustify_report::Row>> {
    rundir::write_config(run, &context.config)?;
    let trained = stages::train(context, splits, opened)?;
    trained.write(run)?;
    let cells: PathBuf = context.cache.join(format!("cells-{}", &trained.identity[..16]));
    let (rows, timings) = results::measure(context, &trained.entrants, &trained.identity, &splits.test, &cells)?;
    results::write(run, context, &trained.identity, &rows)?;
    results::write_timings(run, &timings)?;
    context.console.say(&results::timing_table(&timings));
    Ok(rows)
}
