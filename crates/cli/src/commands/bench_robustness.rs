//! `bench-robustness`: the numbers of a finished run, measured again, with other models beside its own.

use robustify_experiment::benchmark::{Job, benchmark};
use robustify_experiment::run;

use crate::args::BenchRobustness;
use crate::console::{self, Console};
use crate::settings;

/// Measures the models in a run's folder and prints the table.
pub fn run(options: &BenchRobustness, console: &Console) -> anyhow::Result<()> {
    let machine = options.common.machine()?;
    let job = Job {
        run: options.run.clone(),
        models: options.methods.clone(),
        files: options.model.clone(),
        out: options.out.clone().unwrap_or_else(|| options.run.join(run::BENCHMARK)),
        settings: settings::given(&options.overrides)?,
    };
    let report = benchmark(&job, &machine, console)?;
    console::result(&report.text_in(console::width()))?;
    if options.arena { console::result(&report.arena_in(console::width())) } else { Ok(()) }
}
