//! `bench-cost`: what the method costs, both sides of every ratio measured in one go.

use robustify_experiment::cost::cost;
use robustify_experiment::settings as files;
use robustify_methods::Config;

use crate::args::BenchCost;
use crate::commands::{original_weights, teacher_weights};
use crate::console::{self, Console};
use crate::settings;

/// Measures training steps, inference and, if asked for, an evaluation, and prints the ratios.
pub fn run(options: &BenchCost, console: &Console) -> anyhow::Result<()> {
    let config: Config = files::load(&options.config, &settings::given(&options.overrides)?)?;
    let machine = options.common.machine()?;
    let weights = original_weights(&config, console)?;
    let teacher = teacher_weights(&config, console)?;
    let tables = cost(&config, &weights, teacher.as_deref(), options.rounds, options.evaluation, &machine, console)?;
    tables.iter().try_for_each(|table| console::result(table))
}
