//! A run's folder: the merged configuration, the weights, the results, and a lock against a second program.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};
use robustify_report::write_atomic;

use crate::config::Config;

/// The merged configuration.
pub const CONFIG: &str = "config.toml";
/// The three heads.
pub const WEIGHTS: &str = "weights.safetensors";
/// The original model, with the probe when one was fitted.
pub const ORIGINAL: &str = "original.safetensors";
/// The robust teacher.
pub const TEACHER: &str = "teacher.safetensors";
/// The one-headed rival.
pub const APT: &str = "apt.safetensors";

/// Keeps other programs out of a run's folder until it is dropped.
pub fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    std::fs::create_dir_all(folder).with_context(|| format!("run folder {}", folder.display()))?;
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another robustify is working in {}; wait for it, or choose another folder with --run-dir",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Writes the merged configuration. What another configuration left in the folder goes first, so that weights and results
/// always belong to the configuration beside them; its stages stay in the cache.
pub fn write_config(folder: &Path, config: &Config) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("run folder {}", folder.display()))?;
    let text = toml::to_string_pretty(config)?;
    if std::fs::read_to_string(folder.join(CONFIG)).is_ok_and(|old| old != text) {
        for name in [ORIGINAL, TEACHER, APT, WEIGHTS, "results.csv", "results.json", "timings.json"] {
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| folder.join(name).display().to_string());
                }
                _ => {}
            }
        }
    }
    Ok(write_atomic(&folder.join(CONFIG), text.as_bytes())?)
}
