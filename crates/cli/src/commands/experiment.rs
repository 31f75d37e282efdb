//! `experiment`: a grid of runs over shared stages, and what is drawn of it.

use robustify_experiment::grid::{self, Job, Size};
use robustify_methods::Config;

use crate::args::{Experiment, ExperimentSize};
use crate::commands::{original_weights, teacher_weights};
use crate::console::{self, Console};
use crate::settings;

/// Runs what is not done yet and prints the tables, or prints what would be run.
pub fn run(options: &Experiment, console: &Console) -> anyhow::Result<()> {
    let machine = options.common.machine()?;
    let weights = |config: &Config| Ok((original_weights(config, console)?, teacher_weights(config, console)?));
    let size = match options.size {
        ExperimentSize::Mini => Size::Mini,
        ExperimentSize::Imagenet => Size::ImageNet,
    };
    let job = Job {
        file: options.file.clone(),
        size,
        seeds: options.seeds,
        settings: settings::given(&options.overrides)?,
        folder: options.run_dir.clone(),
        cache: options.cache_dir.clone(),
        shard: options.shard,
        overwrite: options.overwrite,
        docs: options.docs.clone(),
        weights: &weights,
    };
    let work = if options.dry_run { grid::dry_run } else { grid::run };
    console::result(&work(&job, &machine, console)?)
}
