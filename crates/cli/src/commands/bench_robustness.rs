//! `bench-robustness`: the numbers of a finished run, measured again.

use robustify_report::write_atomic;

use crate::args::BenchRobustness;
use crate::commands::Machine;
use crate::config;
use crate::console::{self, Console, Interrupt};
use crate::dataset::Splits;
use crate::{results, rundir, stages};

/// Measures the models in a run's folder and prints the table.
pub fn run(options: &BenchRobustness, interrupt: &Interrupt) -> anyhow::Result<()> {
    let config = config::load(&options.run.join(rundir::CONFIG), &options.overrides)?;
    let console = Console::new(options.common.quiet);
    let machine = Machine::open(&options.common)?;
    let out = options.out.clone().unwrap_or_else(|| options.run.join("bench"));
    let _lock = rundir::lock(&out)?;
    let context =
        stages::Context { config, machine, cache: out.clone(), console, interrupt: interrupt.clone(), fresh: false };
    let trained = stages::load(&context, &options.run)?;
    let images = Splits::open(&context.config.data, &context.console)?.test;
    stages::check_images(&context, &images)?;
    let (rows, timings) =
        results::measure(&context, &trained.entrants, &trained.identity, &images, &out.join("cells"))?;
    write_atomic(&out.join("benchmark.toml"), toml::to_string_pretty(&context.config)?.as_bytes())?;
    results::write(&out, &context, &trained.identity, &rows)?;
    results::write_timings(&out, &timings)?;
    console::result(&results::table(&[rows]))?;
    context.console.say(&results::timing_table(&timings));
    Ok(())
}
