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

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use robustify_data::place;
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

/// Whether a word among models or pictures is a setting of one of these sections, and no file.
fn is_setting(word: &str, sections: &[&str]) -> bool {
    let key = word.split_once('=').map(|(key, _)| key);
    key.is_some_and(|key| sections.iter().any(|section| key.starts_with(section))) && !Path::new(word).exists()
}

/// The names in a file, one a line.
fn names_in(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = place::read_text(path)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// An error if the place of a folder that is to be made is a file's.
fn expect_no_file(out: &Path) -> anyhow::Result<()> {
    ensure!(
        !out.exists() || out.is_dir(),
        "--out {}: is a file; a folder is expected, and is made if there is none",
        out.display()
    );
    Ok(())
}
