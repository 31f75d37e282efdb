//! A run's folder: the merged configuration, a file for each fitted model, the results, and how it was started.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use burn::tensor::Device;
use robustify_methods::{Config, Fitted};
use robustify_predict::RobustModel;
use robustify_report::write_atomic;
use serde::{Deserialize, Serialize};

use crate::summary;

/// The merged configuration.
pub const CONFIG: &str = "config.toml";

/// The folder of the fitted models, one file each, by their names.
pub const MODELS: &str = "models";

/// How the run was started.
const STARTED: &str = "run.json";

/// What a run's configuration does not say, for whoever continues or measures it by its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Seeds.
    pub seeds: u64,
    /// Where its stages are.
    pub cache: PathBuf,
    /// Names of its models in the order of the table; empty until all are fitted.
    #[serde(default)]
    pub models: Vec<String>,
}

impl Started {
    /// Of a run's folder; none if there is no such record.
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
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("run folder {}", folder.display()))?;
        Ok(write_atomic(&folder.join(STARTED), serde_json::to_string_pretty(self)?.as_bytes())?)
    }
}

/// The file of a model of a run.
pub fn model_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(MODELS).join(format!("{name}.safetensors"))
}

/// Writes the fitted models, and their names into the record of the run.
///
/// # Errors
/// A file that cannot be written.
pub fn write_models(folder: &Path, started: &Started, fitted: &[Fitted]) -> anyhow::Result<()> {
    let models = folder.join(MODELS);
    std::fs::create_dir_all(&models).with_context(|| models.display().to_string())?;
    for fitted in fitted {
        fitted.model.write(&model_file(folder, &fitted.model.method))?;
    }
    let models = fitted.iter().map(|fitted| fitted.model.method.clone()).collect();
    Started { models, ..started.clone() }.write(folder)
}

/// Reads the models of a finished run; of `only`, if names are given.
///
/// # Errors
/// A folder that is no finished run, a name that it does not have, or a damaged file.
pub fn read_models(folder: &Path, only: &[String], device: &Device) -> anyhow::Result<Vec<RobustModel>> {
    let started = Started::read(folder)?.unwrap_or(Started { seeds: 1, cache: PathBuf::new(), models: Vec::new() });
    if started.models.is_empty() {
        bail!(
            "{}: is this a finished run? It names no models in {STARTED}; `train` writes them when all are fitted, and each of \
             several seeds has its own folder",
            folder.display()
        );
    }
    if let Some(unknown) = only.iter().find(|name| !started.models.contains(name)) {
        bail!("{}: no model `{unknown}` in this run; it has {}", folder.display(), started.models.join(", "));
    }
    let wanted = started.models.iter().filter(|name| only.is_empty() || only.contains(name));
    wanted.map(|name| Ok(RobustModel::read(&model_file(folder, name), device)?)).collect()
}

/// Writes the merged configuration. What another configuration left in the folder goes first, so that models and results
/// always belong to the configuration beside them; its stages stay in the cache. Another rule leaves the models as they are.
///
/// # Errors
/// Files that cannot be written or removed.
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
        for name in results.into_iter().chain(["timings.json"].into_iter().filter(|_| !same_but_for_rule)) {
            remove(&folder.join(name))?;
        }
        if !same_but_for_rule {
            remove_models(folder)?;
        }
    }
    Ok(write_atomic(&folder.join(CONFIG), text.as_bytes())?)
}

/// Removes the models that the run's record names, and no other file.
fn remove_models(folder: &Path) -> anyhow::Result<()> {
    for name in Started::read(folder)?.map(|started| started.models).unwrap_or_default() {
        remove(&model_file(folder, &name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
