//! Configurations: defaults, then the file, then the environment, then `key=value`; unknown keys and all faults are errors.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use config::{File, FileFormat};
use robustify_augment::Policy;
use robustify_bench::SuiteConfig;
use robustify_data::{CleanView, Preprocess};
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{Precision, TuningConfig};
use robustify_select::{SelectConfig, SplitConfig};
use robustify_zoo::ModelConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::network;
use crate::sizes;

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// How the files are laid out.
    pub format: DataFormat,
    /// Folder of the data set; the splits are files or folders in it.
    pub path: PathBuf,
    /// Name of the split to train on.
    #[serde(default = "train_split")]
    pub train: String,
    /// Name of the split to choose settings on. Without it, a tenth of the training split is held out.
    #[serde(default)]
    pub validation: Option<String>,
    /// Name of the split to report on.
    #[serde(default = "test_split")]
    pub test: String,
    /// Names of the classes, in the order of their labels. Default: the folders' names, or numbers.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// File with indices of training images to leave out, one a line.
    #[serde(default)]
    pub leave_out: Option<PathBuf>,
    /// Whether an unusable file is an error instead of a warning.
    #[serde(default)]
    pub strict: bool,
}

fn train_split() -> String {
    "train".into()
}

fn test_split() -> String {
    "test".into()
}

/// Layouts of data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// MNIST's IDX files, plain or gzipped.
    Idx,
    /// A folder a class.
    Folder,
    /// CIFAR-10 or CIFAR-100 binary files.
    Cifar,
}

/// How a whole model is trained on images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTrainingConfig {
    /// Passes over the images.
    pub epochs: usize,
    /// Rows of a batch, clean and augmented together.
    pub batch_size: usize,
    /// Random geometry of training views.
    #[serde(default = "identity")]
    pub clean_view: String,
    /// Augmentations of half of each batch. Default: none.
    #[serde(default)]
    pub policy: Option<String>,
    /// Weight of the Jensen-Shannon divergence of an image and two augmentations of it (AugMix: 12), with cross-entropy on the
    /// image alone. Default: cross-entropy on both halves of a batch.
    #[serde(default)]
    pub jsd_weight: Option<f64>,
    /// Part of the target spread evenly over all classes.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Rows that BatchNorm normalises together, on every backend ("ghost batch normalisation").
    #[serde(default = "norm_rows")]
    pub norm_rows: usize,
    /// The optimizer's settings.
    pub optimizer: AdamWConfig,
}

fn norm_rows() -> usize {
    32
}

fn identity() -> String {
    "identity".into()
}

impl ImageTrainingConfig {
    /// Faults, each with the key it is under.
    pub fn faults(&self, at: &str) -> Vec<String> {
        let mut faults: Vec<String> =
            self.optimizer.faults().into_iter().map(|f| format!("{at}.optimizer: {f}")).collect();
        check(&mut faults, self.epochs > 0, || format!("{at}.epochs is 0"));
        check(&mut faults, self.batch_size > 1, || format!("{at}.batch_size {} is below 2", self.batch_size));
        check(&mut faults, (0.0..1.0).contains(&self.label_smoothing), || {
            format!("{at}.label_smoothing {} is not in [0, 1)", self.label_smoothing)
        });
        check(&mut faults, self.jsd_weight.is_none_or(|weight| weight.is_finite() && weight >= 0.0), || {
            format!("{at}.jsd_weight {} is negative", self.jsd_weight.unwrap_or_default())
        });
        check(&mut faults, self.jsd_weight.is_none() || self.policy.is_some(), || {
            format!("{at}.jsd_weight needs {at}.policy, which makes the augmentations that it compares")
        });
        check(&mut faults, self.norm_rows > 1, || format!("{at}.norm_rows {} is below 2", self.norm_rows));
        parses::<CleanView>(&mut faults, &format!("{at}.clean_view"), &self.clean_view);
        if let Some(policy) = &self.policy {
            parses::<Policy>(&mut faults, &format!("{at}.policy"), policy);
        }
        faults
    }
}

/// The configuration of `pretrain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Seed of weights, order and views.
    pub seed: u64,
    /// The images.
    pub data: DataConfig,
    /// The network: its sizes, or `model` with a name of the registry.
    #[serde(deserialize_with = "network")]
    pub network: ModelConfig,
    /// From files to the network's input.
    pub preprocess: String,
    /// How to train.
    pub training: ImageTrainingConfig,
    /// Where to write the weights.
    pub output: PathBuf,
}

impl Validate for PretrainConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.training.faults("training");
        faults.extend(self.network.faults().into_iter().map(|fault| format!("network: {fault}")));
        parses::<Preprocess>(&mut faults, "preprocess", &self.preprocess);
        faults.extend(sizes::pretrain_faults(self));
        faults
    }
}

/// The large pre-trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginalConfig {
    /// The network: its sizes, or `model` with a name of the registry.
    #[serde(deserialize_with = "network")]
    pub network: ModelConfig,
    /// Its weights: a safetensors or PyTorch file under timm's names or others that `models convert` knows, a folder as the
    /// Hugging Face hub has it, or, with the feature `hub`, a name on it, `hf-hub:OWNER/REPO`.
    pub weights: PathBuf,
    /// The key under which the state dict lies in a file that holds several, as in `teacher`.
    #[serde(default)]
    pub from: Option<String>,
    /// Whether tensors may be missing, unexpected or of another shape. Those of the network that the file does not have begin as
    /// drawn with `seed`, but for the classifier, which a linear probe makes then.
    #[serde(default)]
    pub partial: bool,
    /// From files to the network's input.
    pub preprocess: String,
    /// The classes that the weights know, in their order. Data with other names gets a linear probe; without this list,
    /// data with another number of classes does.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// Passes of a linear probe, which replaces the classifier when the data has other classes than the weights.
    #[serde(default = "probe_epochs")]
    pub probe_epochs: usize,
}

fn probe_epochs() -> usize {
    20
}

/// The small robust teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// The network: its sizes, or `model` with a name of the registry.
    #[serde(deserialize_with = "network")]
    pub network: ModelConfig,
    /// From files to the network's input; it gets the large model's pixels, so that both see the same view.
    pub preprocess: String,
    /// How to train it.
    pub training: ImageTrainingConfig,
}

/// The fixed views that the heads are tuned on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewsConfig {
    /// Random geometry of all views but the first clean one.
    #[serde(default = "identity")]
    pub clean_view: String,
    /// Augmentations.
    pub policy: String,
    /// Clean views an image.
    pub clean: usize,
    /// Augmented views an image.
    pub augmented: usize,
    /// How the backbone's features of the views are stored: `f16`, or `f32` where a feature is beyond 65504.
    #[serde(default)]
    pub precision: Precision,
}

/// How a head is chosen at test time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectionConfig {
    /// Stochastic passes T.
    pub passes: usize,
    /// Seed of the masks.
    #[serde(default)]
    pub mask_seed: u64,
    /// The rule and its settings.
    pub rule: SelectConfig,
}

/// The configuration of `train`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the run, and of its folder.
    pub name: String,
    /// Seed of the teacher and of the views; the heads have their own in `tuning.seed`.
    pub seed: u64,
    /// The images.
    pub data: DataConfig,
    /// The large pre-trained model.
    pub original: OriginalConfig,
    /// The small robust teacher.
    pub teacher: TeacherConfig,
    /// The fixed views that the heads are tuned on.
    pub views: ViewsConfig,
    /// Where the frozen backbone ends and what the heads own.
    pub split: SplitConfig,
    /// How the heads are tuned.
    pub tuning: TuningConfig,
    /// How a head is chosen.
    pub select: SelectionConfig,
    /// What is measured.
    pub benchmark: SuiteConfig,
    /// Seconds between checkpoints.
    #[serde(default = "checkpoint_seconds")]
    pub checkpoint_seconds: u64,
}

fn checkpoint_seconds() -> u64 {
    20
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.teacher.training.faults("teacher.training");
        let under =
            |key: &str, found: Vec<String>| found.into_iter().map(|f| format!("{key}: {f}")).collect::<Vec<_>>();
        faults.extend(under("original.network", self.original.network.faults()));
        faults.extend(under("teacher.network", self.teacher.network.faults()));
        faults.extend(under("tuning", self.tuning.faults()));
        faults.extend(under("benchmark", self.benchmark.faults()));
        parses::<Preprocess>(&mut faults, "original.preprocess", &self.original.preprocess);
        parses::<Preprocess>(&mut faults, "teacher.preprocess", &self.teacher.preprocess);
        parses::<CleanView>(&mut faults, "views.clean_view", &self.views.clean_view);
        parses::<Policy>(&mut faults, "views.policy", &self.views.policy);
        faults.extend(sizes::faults(self));
        check(&mut faults, self.views.clean > 0 && self.views.augmented > 0, || {
            "views.clean and views.augmented are at least 1".into()
        });
        if let Some(classes) = &self.data.classes {
            let twice = classes.iter().enumerate().any(|(index, class)| classes[..index].contains(class));
            check(&mut faults, classes.len() > 1 && !twice, || {
                "data.classes needs at least two different names".into()
            });
        }
        if let Some(named) = self.original.classes.as_ref().map(Vec::len) {
            let classes = self.original.network.classes();
            check(&mut faults, named == classes, || {
                format!(
                    "original.classes lists {named} names, but original.network has {classes} classes; \
                     original.network.classes says how many the weights have"
                )
            });
        }
        check(&mut faults, self.tuning.head_weights != [0.0; 3], || "tuning.head_weights are all 0".into());
        check(&mut faults, self.select.passes > 0, || "select.passes is at least 1".into());
        check(&mut faults, self.checkpoint_seconds > 0, || "checkpoint_seconds is at least 1".into());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        check(
            &mut faults,
            !self.name.is_empty() && self.name.chars().all(plain) && !self.name.starts_with('.'),
            || format!("name `{}` is not a folder's name: letters, digits, `-`, `_` and `.`", self.name),
        );
        faults
    }
}

/// A configuration that knows what is wrong with it.
pub trait Validate {
    /// All faults at once, each with the key it is under.
    fn faults(&self) -> Vec<String>;
}

/// Adds a fault unless `ok`.
pub fn check(faults: &mut Vec<String>, ok: bool, fault: impl FnOnce() -> String) {
    if !ok {
        faults.push(fault());
    }
}

/// Adds a fault unless `text` parses as a `T`.
pub fn parses<T: std::str::FromStr<Err: std::fmt::Display>>(faults: &mut Vec<String>, key: &str, text: &str) {
    if let Err(error) = text.parse::<T>() {
        faults.push(format!("{key}: {error}"));
    }
}

/// Reads a configuration file and merges the environment (`ROBUSTIFY__A__B=1`) and the overrides (`a.b=1`) into it.
pub fn load<T: DeserializeOwned + Validate>(path: &Path, overrides: &[String]) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("configuration file {}", path.display()))?;
    let given: Vec<String> = environment()?.into_iter().chain(overrides.iter().cloned()).collect();
    // The fault may be in the file or in what was set over it.
    let over = if given.is_empty() { String::new() } else { format!(" with {}", given.join(" ")) };
    let place = || format!("configuration {}{over}", path.display());
    let mut documents = vec![text];
    for pair in &given {
        let (as_toml, as_text) = override_documents(pair)?;
        if let Some(key) = key_of_table(&as_toml) {
            documents.iter_mut().for_each(|document| remove(document, &key));
        }
        let fits = |document: &str| merge::<T>(&[&documents[0], document]).is_ok();
        // A folder may be called 2024, so a number where text is wanted is text.
        documents.push(if !fits(&as_toml) && fits(&as_text) { as_text } else { as_toml });
    }
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let merged: T = merge(&documents).map_err(|error| anyhow!("{}: {error}", place()))?;
    let faults = merged.faults();
    if !faults.is_empty() {
        bail!("{}: {}", place(), faults.join("; "));
    }
    Ok(merged)
}

/// The parts of the key that a setting gives a whole table: it replaces the one before, where the merging of documents would mix
/// both.
fn key_of_table(document: &str) -> Option<Vec<String>> {
    let (key, value) = document.split_once('=')?;
    let parts = || key.trim().split('.').map(|part| part.trim().to_owned()).collect();
    value.trim_start().starts_with('{').then(parts)
}

/// Removes what stands under a key, if the document has it.
fn remove(document: &mut String, key: &[String]) {
    let Some((last, path)) = key.split_last() else { return };
    let Ok(mut table) = document.parse::<toml::Table>() else { return };
    let parent = path.iter().try_fold(&mut table, |table, part| table.get_mut(part)?.as_table_mut());
    if parent.and_then(|table| table.remove(last)).is_some() {
        *document = table.to_string();
    }
}

/// The settings in the environment, as overrides.
fn environment() -> anyhow::Result<Vec<String>> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let settings = named.filter(|(name, _)| name.starts_with(PREFIX)).map(|(name, value)| {
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let value = value.into_string().map_err(|value| anyhow!("environment: {name} is no UTF-8 text: {value:?}"))?;
        Ok(format!("{key}={value}"))
    });
    settings.collect()
}

/// What the names of settings in the environment begin with.
const PREFIX: &str = "ROBUSTIFY__";

/// TOML documents over each other, the last on top.
fn merge<T: DeserializeOwned>(documents: &[&str]) -> Result<T, String> {
    let builder = documents.iter().fold(config::Config::builder(), |builder, document| {
        builder.add_source(File::from_str(document, FileFormat::Toml))
    });
    let table: Result<toml::Table, _> = builder.build().and_then(config::Config::try_deserialize);
    // The crate `config` would make 2 of 1.5 where a whole number is wanted; `toml` refuses.
    table.map_err(|error| error.to_string())?.try_into().map_err(|error| sentence(&error))
}

/// What `toml` says, without the names of Rust's types.
fn sentence(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let (mut words, mut sentence) = (text.split_whitespace(), Vec::new());
    while let Some(word) = words.next() {
        sentence.push(match word {
            "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number from 0 up",
            "i64" | "i32" => "a whole number",
            "f64" | "f32" => "a number",
            "struct" => {
                words.next();
                "a table"
            }
            word => word,
        });
    }
    sentence.join(" ")
}

/// `a.b=1` as a TOML document, and one in which the value is text. What is no TOML is text in both.
fn override_documents(pair: &str) -> anyhow::Result<(String, String)> {
    let Some((key, value)) = pair.split_once('=') else {
        bail!("`{pair}` is not a setting: expected key=value, as in seed=3");
    };
    let (key, value) = (key.trim(), value.trim());
    let is_toml = |document: &String| toml::from_str::<toml::Table>(document).is_ok();
    let text = format!("{key} = {}", toml::Value::String(value.to_owned()));
    if !is_toml(&text) {
        bail!("`{pair}` is not a setting: `{key}` is not a key, expected one like seed or benchmark.images");
    }
    let plain = format!("{key} = {value}");
    Ok((if is_toml(&plain) { plain } else { text.clone() }, text))
}
