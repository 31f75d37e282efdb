//! A run's folder: the merged configuration, the weights and the results.

use std::path::{Path, PathBuf};

use anyhow::Context;
use robustify_report::write_atomic;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::summary;

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

/// How the run was started.
const STARTED: &str = "run.json";

/// What a run's configuration does not say, for whoever continues it by its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Seeds of the heads.
    pub seeds: u64,
    /// Where its stages are.
    pub cache: PathBuf,
}

impl Started {
    /// Of a run's folder; none if the run is older than this record.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(STARTED);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{}: not as this program writes it; delete it, and give --seeds and --cache-dir",
                    path.display()
                )
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes it into a run's folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("run folder {}", folder.display()))?;
        Ok(write_atomic(&folder.join(STARTED), serde_json::to_string_pretty(self)?.as_bytes())?)
    }
}

/// Writes the merged configuration. What another configuration left in the folder goes first, so that weights and results
/// always belong to the configuration beside them; its stages stay in the cache. Another rule leaves the weights as they are.
pub fn write_config(folder: &Path, config: &Config) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("run folder {}", folder.display()))?;
    let text = toml::to_string_pretty(config)?;
    let old = std::fs::read_to_string(folder.join(CONFIG)).ok().filter(|old| *old != text);
    if let Some(old) = old {
        let same_but_for_rule = toml::from_str::<Config>(&old).is_ok_and(|mut old| {
            old.select.rule = config.select.rule;
            old == *config
        });
        let results = ["results.csv", "results.json", summary::RUN, summary::SEEDS];
        let others = [ORIGINAL, TEACHER, APT, WEIGHTS, "timings.json"];
        for name in results.into_iter().chain(others.into_iter().filter(|_| !same_but_for_rule)) {
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
