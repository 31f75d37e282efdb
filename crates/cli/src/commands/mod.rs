//! One file a command.

pub mod augment;
pub mod bench_cost;
pub mod bench_models;
pub mod bench_robustness;
pub mod corrupt;
pub mod models;
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
