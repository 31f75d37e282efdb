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
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print nothing but results and errors.
    #[arg(long, short)]
    pub quiet: bool,
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
