//! Options of `experiment`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use robustify_experiment::grid::Shard;

use super::Common;

/// Options of `experiment`.
#[derive(Debug, Args)]
#[command(after_help = EXPERIMENT_HELP)]
pub struct Experiment {
    /// The experiment's file, as those in configs/experiments.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which of its sizes.
    #[arg(long, value_enum, default_value_t = ExperimentSize::Mini, value_name = "SIZE")]
    pub size: ExperimentSize,
    /// Seeds of every run. Default: as many as the file says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=super::MOST_SEEDS))]
    pub seeds: Option<u64>,
    /// Print what would be computed: stages and whether they are there, parameters, multiply-accumulates, disk and hours. No weights are
    /// needed for it.
    #[arg(long)]
    pub dry_run: bool,
    /// Run one part of the cells, as in 1/4, for programs that work side by side; without it the results are drawn.
    #[arg(long, value_name = "I/N", conflicts_with = "dry_run")]
    pub shard: Option<Shard>,
    /// Folder of the experiment. Default: runs/experiment-NAME.
    #[arg(long, visible_alias = "out", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Folder for the stages, which runs and experiments share.
    #[arg(long, default_value = "runs/cache", value_name = "DIR")]
    pub cache_dir: PathBuf,
    /// Write the results to docs/results as well, or to DIR.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "docs/results")]
    pub docs: Option<PathBuf>,
    /// Replace cells that were run with other settings or images.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub common: Common,
    /// Settings of `train` that are laid over those of every run, as in `data.path=DIR`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

const EXPERIMENT_HELP: &str = "\
Finished cells, a run with a seed each, are passed over: the same command goes on where it was interrupted, or only draws. `config reference --of
experiment` has the keys of a file.";

/// A size of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExperimentSize {
    /// For two cores.
    Mini,
    /// That of the paper.
    Imagenet,
}
