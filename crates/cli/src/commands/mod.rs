//! One file a command.

pub mod augment;
pub mod bench_cost;
pub mod bench_models;
pub mod bench_robustness;
pub mod compare;
pub mod config;
pub mod corrupt;
pub mod data;
pub mod diagnose;
pub mod eval;
pub mod experiment;
pub mod export;
pub mod init;
pub mod models;
mod own;
pub mod predict;
pub mod pretrain;
pub mod train;

use std::path::PathBuf;

use anyhow::Context as _;
use robustify_methods::Config;

use crate::console::Console;
use crate::hub;

/// The file or folder that `original.weights` names; what a name of the hub means is downloaded.
fn original_weights(config: &Config, console: &Console) -> anyhow::Result<PathBuf> {
    let named = &config.original.weights;
    hub::image_weights(named, console).with_context(|| format!("original.weights `{}`", named.display()))
}

/// The same for `teacher.weights`, if there are any.
fn teacher_weights(config: &Config, console: &Console) -> anyhow::Result<Option<PathBuf>> {
    let path = |named: &PathBuf| {
        hub::image_weights(named, console).with_context(|| format!("teacher.weights `{}`", named.display()))
    };
    config.teacher.weights.as_ref().map(path).transpose()
}
