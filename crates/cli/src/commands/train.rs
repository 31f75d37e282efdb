//! `train`: the main job. Teacher, views, heads, rival, benchmark, table.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::args::Train;
use crate::commands::Machine;
use crate::config::{self, Config};
use crate::console::{self, Console, Interrupt};
use crate::dataset::Splits;
use crate::{results, rundir, stages};

/// Runs every stage that is not done yet, for one or several seeds, and prints what came of it.
pub fn run(options: &Train, interrupt: &Interrupt) -> anyhow::Result<()> {
    let console = Console::new(options.common.quiet);
    if let (Some(Some(resumed)), Some(other)) = (&options.resume, &options.run_dir) {
        bail!("--resume {} names the run to continue; leave out --run-dir {}", resumed.display(), other.display());
    }
    let config = configuration(options)?;
    let folder = match (&options.resume, &options.run_dir) {
        (Some(Some(folder)), _) | (_, Some(folder)) => folder.clone(),
        _ => Path::new("runs").join(&config.name),
    };
    let own = folder.join("stages");
    let cache = match &options.cache_dir {
        Some(cache) => cache.clone(),
        // A run that was started with its own stages is continued with them.
        None if options.run_dir.is_some() || own.is_dir() => own,
        None => folder.parent().unwrap_or(Path::new("runs")).join("cache"),
    };
    let _lock = rundir::lock(&folder)?;
    let machine = Machine::open(&options.common)?;
    let splits = Splits::open(&config.data, &console)?;
    let mut context =
        stages::Context { config, machine, cache, console, interrupt: interrupt.clone(), fresh: options.fresh };

    let seeds = options.seeds;
    let first = context.config.tuning.seed;
    if seeds > 1 {
        rundir::write_config(&folder, &context.config)?;
    }
    let mut all = Vec::new();
    for seed in first..first + seeds {
        context.config.tuning.seed = seed;
        let run = if seeds == 1 { folder.clone() } else { folder.join(format!("seed-{seed}")) };
        all.push(one_seed(&context, &splits, &run).with_context(|| format!("run {}", run.display()))?);
    }
    console::result(&results::table(&all))?;
    if seeds > 1 {
        console::result(&results::verdict(&all))?;
    }
    Ok(())
}

/// The configuration of the file with its overrides, or the stored one of a run that is continued.
fn configuration(options: &Train) -> anyhow::Result<Config> {
    let stored = options.resume.as_ref().and_then(Option::as_ref).map(|folder| folder.join(rundir::CONFIG));
    let file = stored.unwrap_or_else(|| options.config.clone());
    let mut overrides = options.overrides.clone();
    if options.strict {
        overrides.push("data.strict=true".into());
    }
    config::load(&file, &overrides)
}

/// All stages for one seed of the heads; writes the run's folder.
fn one_seed(context: &stages::Context, splits: &Splits, run: &Path) -> anyhow::Result<Vec<robustify_report::Row>> {
    rundir::write_config(run, &context.config)?;
    let trained = stages::train(context, splits)?;
    trained.write(run)?;
    let cells: PathBuf = context.cache.join(format!("cells-{}", &trained.identity[..16]));
    let (rows, timings) = results::measure(context, &trained.entrants, &trained.identity, &splits.test, &cells)?;
    results::write(run, context, &trained.identity, &rows)?;
    results::write_timings(run, &timings)?;
    context.console.say(&results::timing_table(&timings));
    Ok(rows)
}
