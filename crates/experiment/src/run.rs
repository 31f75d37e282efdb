//! A run's folder: the merged configuration, a file for each fitted model, the results, and how it was started.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use burn::tensor::Device;
use robustify_data::{Images, Splits};
use robustify_methods::lab::classes::list;
use robustify_methods::{Config, Fitted, METHODS};
use robustify_predict::RobustModel;
use robustify_report::evaluation::TIMES;
use robustify_report::leaderboard::EVALUATION;
use robustify_report::page::{CARD, PAGE, TABLES};
use robustify_report::write_atomic;
use serde::{Deserialize, Serialize};

use crate::{arena, settings, summary};

/// The merged configuration.
pub const CONFIG: &str = "config.toml";

/// The folder of the fitted models, one file each, by their names.
pub const MODELS: &str = "models";

/// Where `bench-robustness` puts its results, unless it is told otherwise.
pub const BENCHMARK: &str = "bench";

/// The configuration that `bench-robustness` measured with, beside its results.
pub(crate) const BENCHMARKED: &str = "benchmark.toml";

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
    /// The images that it was trained and measured on; runs of older programs do not say it.
    #[serde(default)]
    pub data: Option<UsedData>,
}

/// The images of a run: what tells whether somebody changed them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedData {
    /// Their folder, absolute: `data.path` may be relative, and lead elsewhere when the run is measured.
    #[serde(default)]
    pub folder: PathBuf,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Training, validation and test part: number of images and fingerprint.
    pub parts: [(usize, String); 3],
}

/// What the parts of data are called in messages.
const PARTS: [&str; 3] = ["training", "validation", "test"];

impl UsedData {
    /// Of some images.
    pub fn of(splits: &Splits) -> Self {
        let part = |images: &Images| (images.len(), images.fingerprint());
        Self {
            folder: splits.layout.folder.clone(),
            classes: splits.train.classes().to_vec(),
            parts: [part(&splits.train), part(&splits.validation), part(&splits.test)],
        }
    }

    /// How these images differ from those of `before`, a few words for each part that does.
    pub fn changes(&self, before: &Self) -> Vec<String> {
        let parts = PARTS.iter().zip(self.parts.iter().zip(&before.parts));
        let changed = parts.filter(|(_, (now, then))| now != then);
        let mut changes: Vec<String> = changed
            .map(|(part, (now, then))| {
                let other = if now.0 == then.0 { "other " } else { "" };
                format!("{} {part} images then, {other}{} now", then.0, now.0)
            })
            .collect();
        if self.classes != before.classes {
            changes.push(format!("classes {} then, {} now", list(&before.classes), list(&self.classes)));
        }
        changes
    }
}

impl Started {
    /// Why images cannot be opened, with the folder where a run had them if that is there and `data.path` is not.
    pub fn explain(started: Option<&Self>, path: &Path, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let folder = started.and_then(|started| started.data.as_ref()).map(|data| data.folder.as_path());
        match folder.filter(|folder| !path.is_dir() && folder.is_dir()) {
            Some(folder) => {
                error.into().context(format!("this run's images are in {0}; give data.path={0}", folder.display()))
            }
            None => error.into(),
        }
    }

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

/// Writes the fitted models, and their names and images into the record of the run.
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
    let models = Started::read(folder)?.map(|started| started.models).unwrap_or_default();
    if models.is_empty() {
        bail!(
            "{}: is this a finished run? It names no models in {STARTED}; `train` writes them when all are fitted, and each of \
             several seeds has its own folder",
            folder.display()
        );
    }
    if let Some(unknown) = only.iter().find(|name| !models.contains(name)) {
        bail!("{}: no model `{unknown}` in this run; it has {}", folder.display(), models.join(", "));
    }
    let wanted = models.iter().filter(|name| only.is_empty() || only.contains(name));
    let again = || format!("`train --resume {}` makes models of this run again", folder.display());
    wanted.map(|name| RobustModel::read(&model_file(folder, name), device).with_context(again)).collect()
}

/// An error if a folder holds a finished run of another configuration, other images, or other seeds, whose models and results would
/// be lost. Another rule for the same models is none: the table alone is made again.
///
/// # Errors
/// Such a run, with what differs and the ways out; files that cannot be read.
pub fn expect_free(folder: &Path, config: &Config, started: &Started) -> anyhow::Result<()> {
    let path = folder.join(CONFIG);
    let Some(before) = Started::read(folder)?.filter(|before| is_finished(folder, before)) else { return Ok(()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let mut changed = changes(&text, config).with_context(|| path.display().to_string())?;
    if before.seeds != started.seeds {
        changed.push(format!("--seeds ({} then, {} now)", before.seeds, started.seeds));
    }
    if let (Some(before), Some(now)) = (&before.data, &started.data) {
        changed.extend(now.changes(before));
    }
    if !changed.is_empty() {
        bail!(
            "{}: a finished run is there, with other settings or images: {}. --run-dir DIR puts the new one elsewhere, --overwrite replaces \
             models and results, `bench-robustness --run {}` measures the finished one again",
            folder.display(),
            changed.join(", "),
            folder.display()
        );
    }
    Ok(())
}

/// The keys of settings by which models or results are others than with the configuration `old`, a TOML text. Another rule works on the
/// same answers, and further methods leave the others as they are.
fn changes(old: &str, config: &Config) -> anyhow::Result<Vec<String>> {
    let (mut old, mut new): (toml::Table, _) = (toml::from_str(old)?, toml::Table::try_from(config)?);
    // A method without settings has an empty table, so that each setting of one has its own key.
    for name in METHODS.iter().map(|method| method.name()) {
        for table in [&mut old, &mut new] {
            let settings = table.entry("method").or_insert_with(|| toml::Table::new().into()).as_table_mut();
            settings.map(|settings| settings.entry(name).or_insert_with(|| toml::Table::new().into()));
        }
    }
    let mut changed = Vec::new();
    settings::differences("", &old, &new, &mut changed);
    let methods =
        |table: &toml::Table| table.get("methods").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let (kept, asked) = (methods(&old), methods(&new));
    let grows = kept.iter().all(|method| asked.contains(method));
    let harmless = ["name", "checkpoint_seconds", "data.strict", "select.gate"];
    changed.retain(|key| {
        let of_method = key.strip_prefix("method.").and_then(|key| key.split('.').next());
        let is_new = of_method.is_some_and(|name| !kept.iter().any(|kept| kept.as_str() == Some(name)));
        let is_further = grows && (key == "methods" || is_new);
        !(key.starts_with("select.rule") || harmless.contains(&key.as_str()) || is_further)
    });
    Ok(changed)
}

/// Whether a folder is that of a run.
pub(crate) fn is_run(folder: &Path) -> bool {
    folder.join(STARTED).exists()
}

/// Whether a run's folder holds models or results.
fn is_finished(folder: &Path, started: &Started) -> bool {
    !started.models.is_empty() || folder.join(summary::SEEDS).exists() || folder.join("results.csv").exists()
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
        let same_models = changes(&old, config).is_ok_and(|changed| changed.is_empty());
        remove_results(folder)?;
        if !same_models {
            remove_benchmark(&folder.join(BENCHMARK))?;
            remove(&folder.join("timings.json"))?;
            remove_models(folder)?;
        }
    }
    Ok(write_atomic(&folder.join(CONFIG), text.as_bytes())?)
}

/// Removes results, which [`crate::train`] writes again.
fn remove_results(folder: &Path) -> anyhow::Result<()> {
    ["results.csv", "results.json", summary::RUN, summary::SEEDS, arena::FILE, EVALUATION, TIMES, PAGE, CARD]
        .iter()
        .try_for_each(|name| remove(&folder.join(name)))?;
    // Tables are named after suites, which may be other ones.
    let tables = folder.join(TABLES);
    for entry in std::fs::read_dir(&tables).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|kind| ["csv", "md", "tex"].iter().any(|known| kind == *known)) {
            remove(&path)?;
        }
    }
    // Whatever else lies in it is not ours.
    let _ = std::fs::remove_dir(tables);
    Ok(())
}

/// Removes what `bench-robustness` left of models that are gone, and its folder if nothing else is in it.
fn remove_benchmark(folder: &Path) -> anyhow::Result<()> {
    if !folder.join(BENCHMARKED).exists() {
        return Ok(());
    }
    remove_results(folder)?;
    ["timings.json", BENCHMARKED].iter().try_for_each(|name| remove(&folder.join(name)))?;
    // Whatever else lies in it is not ours.
    let _ = std::fs::remove_dir(folder);
    Ok(())
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
