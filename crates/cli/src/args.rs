use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Make a large pre-trained vision model robust to distribution shift without retraining it.
#[derive(Debug, Parser)]
#[command(name = "robustify", version, about, max_term_width = 110)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a model robust: teacher, three heads, rival, benchmark; prints the table that compares them.
    Train(Train),
    /// Measure the models of a finished run again: model x corruption x severity, every selection rule.
    BenchRobustness(BenchRobustness),
    /// Measure what the method costs: cached against full training steps, T passes against the original model.
    BenchCost(BenchCost),
    /// Measure the speed of this backend on reference models (`cargo xtask bench-models` compares backends and PyTorch).
    BenchModels(BenchModels),
    /// Train a model from scratch on a data set (how the model that ships with the project was made).
    Pretrain(Pretrain),
}

/// Options that every computing command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Backend to compute on: flex, tch, wgpu, vulkan, metal, cuda or rocm.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Threads to use; results do not depend on it. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print nothing but results, warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `train`.
#[derive(Debug, Args)]
pub struct Train {
    /// Configuration file.
    #[arg(long, default_value = "configs/fashion-mini.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Folder of the run, with its stages. Default: runs/NAME, with the stages in runs/cache.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Folder for the stages that runs share.
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Continue the run in a folder with the configuration it was started with. Without a folder it asks for what happens
    /// anyway: the same command continues where it was interrupted.
    #[arg(long, value_name = "RUN_DIR", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Start an unfinished stage over instead of continuing it.
    #[arg(long, conflicts_with = "resume")]
    pub fresh: bool,
    /// Tune the heads this many times, with seeds from `tuning.seed` on, and print mean ± standard deviation.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Make an unusable file in the data an error instead of a warning.
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the file, as in `tuning.epochs=3`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of `bench-robustness`.
#[derive(Debug, Args)]
pub struct BenchRobustness {
    /// Folder of a finished run.
    #[arg(long, default_value = "runs/fashion-mini", value_name = "DIR")]
    pub run: PathBuf,
    /// Where results and finished cells go. Default: `bench` in the run's folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the run, as in `select.rule.rule=kl` or `benchmark.severities=[5]`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of `bench-cost`.
#[derive(Debug, Args)]
pub struct BenchCost {
    /// Configuration file.
    #[arg(long, default_value = "configs/fashion-mini.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Times that each side is measured; the fastest counts.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of `bench-models`.
#[derive(Debug, Args)]
pub struct BenchModels {
    /// Seconds that each measurement takes.
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    pub seconds: f64,
    /// Models to measure. Default: all.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub models: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

/// Options of `pretrain`.
#[derive(Debug, Args)]
pub struct Pretrain {
    /// Configuration file.
    #[arg(long, default_value = "configs/pretrain-fashion.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Where to write the weights.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the file, as in `training.epochs=3`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}
