//! What an experiment is set to: a section for everything that several methods share, and a table for each method's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use robustify_augment::Policy;
use robustify_bench::suites::CorruptedConfig;
use robustify_data::{CleanView, DataConfig, Preprocess};
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{Precision, TuningConfig};
use robustify_select::{SelectConfig, SplitConfig, Structure, Uncertainty};
use robustify_zoo::{ModelConfig, network, network_schema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::sizes;
use super::texts::ZeroShotConfig;

/// How a whole model is trained on images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageTrainingConfig {
    /// Passes over the images.
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    pub epochs: usize,
    /// Rows of a batch, clean and augmented together.
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
    pub batch_size: usize,
    /// Random geometry of training views. Default: none; of a teacher that of the views on which it will teach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_view: Option<String>,
    /// Augmentations of half of each batch, which may contain those of networks (`noise2net`, `cae(weights=FILE)` and others).
    /// Default: none.
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
    #[schemars(range(min = 2, max = TuningConfig::MOST_ROWS))]
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
            self.optimizer.faults().into_iter().map(|f| format!("{at}.optimizer.{f}")).collect();
        within(&mut faults, &format!("{at}.epochs"), self.epochs, 1..=TuningConfig::MOST_EPOCHS, EPOCHS);
        within(&mut faults, &format!("{at}.batch_size"), self.batch_size, 2..=TuningConfig::MOST_ROWS, ROWS);
        check(&mut faults, (0.0..1.0).contains(&self.label_smoothing), || {
            format!("{at}.label_smoothing {} is not in [0, 1)", self.label_smoothing)
        });
        check(&mut faults, self.jsd_weight.is_none_or(|weight| weight.is_finite() && weight >= 0.0), || {
            format!("{at}.jsd_weight {} is negative", self.jsd_weight.unwrap_or_default())
        });
        check(&mut faults, self.jsd_weight.is_none() || self.policy.is_some(), || {
            format!("{at}.jsd_weight needs {at}.policy, which makes the augmentations that it compares")
        });
        within(&mut faults, &format!("{at}.norm_rows"), self.norm_rows, 2..=TuningConfig::MOST_ROWS, ROWS);
        if let Some(view) = &self.clean_view {
            parses::<CleanView>(&mut faults, &format!("{at}.clean_view"), view);
        }
        if let Some(policy) = &self.policy {
            is_policy(&mut faults, &format!("{at}.policy"), policy);
        }
        faults
    }
}

/// The large pre-trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginalConfig {
    /// The network: its sizes, or `model` with a name of the registry.
    #[serde(deserialize_with = "network")]
    #[schemars(schema_with = "network_schema")]
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
    /// Texts as classes: the weights are those of a whole CLIP, `network` is its image tower, and the names of the data's classes in
    /// sentences take the place of a classifier. Default: a classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<ZeroShotConfig>,
    /// Passes of a linear probe, which replaces the classifier when the data has other classes than the weights.
    #[serde(default = "probe_epochs")]
    #[schemars(range(min = 1, max = TuningConfig::MOST_EPOCHS))]
    pub probe_epochs: usize,
}

fn probe_epochs() -> usize {
    20
}

/// The small robust teacher: one that is trained, one from a file, or one from a file that is trained further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// The network: its sizes, or `model` with a name of the registry. The file of a robust model has its own, and needs none here.
    #[serde(default, deserialize_with = "given_network", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "network_schema")]
    pub network: Option<ModelConfig>,
    /// Weights to teach with, or to start the training from: the file of a robust model as `train` writes it, or whatever
    /// `original.weights` may be. It is a path here; the program makes one of `hf-hub:OWNER/REPO` before. Default: none, so that
    /// training starts from drawn weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The key under which the state dict lies in a file of weights that holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// From files to the network's input; it gets the large model's pixels, so that both see the same view. Default, for the
    /// file of a robust model only: that of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<String>,
    /// Seed of its weights and training. Default: `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How to train it. Default, with weights only: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<ImageTrainingConfig>,
}

fn given_network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ModelConfig>, D::Error> {
    network(deserializer).map(Some)
}

impl TeacherConfig {
    /// Faults, each with the key it is under. What a file has to say is not known yet.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.training.as_ref().map(|training| training.faults("teacher.training")).unwrap_or_default();
        check(&mut faults, self.weights.is_some() || self.training.is_some(), || {
            "teacher has neither weights nor training; give teacher.weights=FILE for a teacher that is there, \
             [teacher.training] for one that is trained, or both to train further"
                .into()
        });
        check(&mut faults, self.weights.is_some() || self.network.is_some(), || {
            "teacher.network is missing; only the file of a robust model, given as teacher.weights, says it by itself"
                .into()
        });
        check(&mut faults, self.weights.is_some() || self.preprocess.is_some(), || {
            "teacher.preprocess is missing; only the file of a robust model, given as teacher.weights, says it by itself"
                .into()
        });
        check(&mut faults, self.weights.is_some() || self.from.is_none(), || {
            "teacher.from names a part of a file, but there is no teacher.weights".into()
        });
        if let Some(network) = &self.network {
            faults.extend(network.faults().into_iter().map(|fault| format!("teacher.network: {fault}")));
        }
        if let Some(preprocess) = &self.preprocess {
            parses::<Preprocess>(&mut faults, "teacher.preprocess", preprocess);
        }
        faults
    }
}

/// The fixed views that the heads are tuned on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewsConfig {
    /// Random geometry of all views but the first clean one.
    #[serde(default = "identity")]
    pub clean_view: String,
    /// Augmentations, which may contain those of networks (`noise2net`, `cae(weights=FILE)` and others).
    pub policy: String,
    /// Clean views an image.
    #[schemars(range(min = 1, max = MOST_VIEWS))]
    pub clean: usize,
    /// Augmented views an image.
    #[schemars(range(min = 1, max = MOST_VIEWS))]
    pub augmented: usize,
    /// Seed of geometry and augmentations. Default: `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How the backbone's features of the views are stored: `f16`, or `f32` where a feature is beyond 65504.
    #[serde(default)]
    pub precision: Precision,
    /// Whether the features of the views are stored, and read in every epoch. With `false`, every epoch makes views anew, as many of
    /// them, and computes the backbone for each: for data whose features do not fit on the disk. An epoch of tuning has
    /// `augmented` pairs of every image either way.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub cached: bool,
}

fn yes() -> bool {
    true
}

/// How a head is chosen at test time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectionConfig {
    /// Stochastic passes T.
    #[schemars(range(min = 1, max = MOST_PASSES))]
    pub passes: usize,
    /// Seed of the masks.
    #[serde(default)]
    pub mask_seed: u64,
    /// Whether the heads draw the same masks; otherwise heads that are equal differ by chance, and so does their divergence.
    #[serde(default)]
    pub common_masks: bool,
    /// The posterior of each head's last layer that is fitted after tuning, on cached views: it says in one pass how uncertain a head
    /// is (`select.rule.uncertainty=laplace`).
    #[serde(default)]
    pub laplace: Posterior,
    /// Whether three heads keep features of the training views that only the robust head gets right, so that clean and robust head can
    /// be mixed by the distance to them (VRF).
    #[serde(default)]
    pub vrf: bool,
    /// Whether a gate between clean and robust head is fitted, on validation images and views of them under `views.policy`.
    #[serde(default)]
    pub gate: bool,
    /// The rule and its settings.
    pub rule: SelectConfig,
}

/// What is kept of the posterior of a last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Posterior {
    /// None is fitted.
    Off,
    /// A variance for each weight.
    #[default]
    Diagonal,
    /// A Kronecker product of features and classes, in which correlated features count once. The time to fit it grows with the cube
    /// of the features' width.
    Kronecker,
}

impl Posterior {
    /// The structure to fit, if there is one.
    pub fn structure(self) -> Option<Structure> {
        match self {
            Self::Off => None,
            Self::Diagonal => Some(Structure::Diagonal),
            Self::Kronecker => Some(Structure::Kronecker),
        }
    }
}

/// The configuration of `train`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the run, and of its folder.
    pub name: String,
    /// Methods to fit and measure, by name, in the order of the table; what they need is fitted as well.
    #[serde(default = "usual_methods")]
    #[schemars(schema_with = "crate::names_schema")]
    pub methods: Vec<String>,
    /// Seed of a linear probe, and of teacher and views unless they have one of their own; the heads have `tuning.seed`, the
    /// masks `select.mask_seed`.
    pub seed: u64,
    /// What differs between the seeds of `--seeds N`; the others stay as they are.
    #[serde(default = "Varied::all")]
    pub vary: Vec<Varied>,
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
    pub benchmark: CorruptedConfig,
    /// Seconds between checkpoints.
    #[serde(default = "checkpoint_seconds")]
    #[schemars(range(min = 1))]
    pub checkpoint_seconds: u64,
    /// Settings of single methods, by name: `[method.finetune]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::settings_schema")]
    pub method: BTreeMap<String, toml::Table>,
}

/// Something random that several seeds can vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Varied {
    /// Weights and training of the teacher.
    Teacher,
    /// Geometry and augmentations of the cached views.
    Views,
    /// Order and dropout of tuning and fine-tuning.
    Heads,
    /// Masks of the Monte Carlo passes.
    Masks,
}

impl Varied {
    /// Everything that seeds can vary.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::Teacher, Self::Views, Self::Heads, Self::Masks]
    }
}

fn usual_methods() -> Vec<String> {
    ["teacher", "apt", "robustify"].map(str::to_owned).to_vec()
}

fn checkpoint_seconds() -> u64 {
    20
}

impl Config {
    /// The configuration of the seed number `number`, counted from 0, of several; the first is this configuration.
    #[must_use]
    pub fn of_seed(&self, number: u64) -> Self {
        let mut config = self.clone();
        for varied in &self.vary {
            match varied {
                Varied::Teacher => config.teacher.seed = Some(self.teacher_seed() + number),
                Varied::Views => config.views.seed = Some(self.views_seed() + number),
                Varied::Heads => config.tuning.seed += number,
                Varied::Masks => config.select.mask_seed += number,
            }
        }
        if number == 0 { self.clone() } else { config }
    }

    /// Seed of the teacher's weights and training.
    pub fn teacher_seed(&self) -> u64 {
        self.teacher.seed.unwrap_or(self.seed)
    }

    /// Seed of the views' geometry and augmentations.
    pub fn views_seed(&self) -> u64 {
        self.views.seed.unwrap_or(self.seed)
    }

    /// All faults at once, each with the key it is under.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = crate::faults(self);
        // What nobody asks for may be missing.
        if crate::is_wanted(self, "teacher") {
            faults.extend(self.teacher.faults());
        }
        let under = |key: &str, found: Vec<String>| found.into_iter().map(|f| format!("{key}{f}")).collect::<Vec<_>>();
        faults.extend(under("original.network: ", self.original.network.faults()));
        faults.extend(under("tuning.", self.tuning.faults()));
        faults.extend(under("benchmark.", self.benchmark.faults()));
        parses::<Preprocess>(&mut faults, "original.preprocess", &self.original.preprocess);
        parses::<CleanView>(&mut faults, "views.clean_view", &self.views.clean_view);
        is_policy(&mut faults, "views.policy", &self.views.policy);
        faults.extend(sizes::faults(self));
        within(&mut faults, "views.clean", self.views.clean, 1..=MOST_VIEWS, "the features of every view are stored");
        within(
            &mut faults,
            "views.augmented",
            self.views.augmented,
            1..=MOST_VIEWS,
            "the features of every view are stored",
        );
        within(&mut faults, "original.probe_epochs", self.original.probe_epochs, 1..=TuningConfig::MOST_EPOCHS, EPOCHS);
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
        if let Some(zero_shot) = &self.original.zero_shot {
            faults.extend(zero_shot.faults("original.zero_shot"));
            check(&mut faults, self.original.network.with_texts(0).is_some(), || {
                "original.zero_shot needs an image tower of CLIP as original.network: a vit with projects = true, or a clip_resnet with \
                 classes = 0"
                    .into()
            });
            check(&mut faults, self.original.classes.is_none() && !self.original.partial, || {
                "original.zero_shot takes the names of the data's classes; leave original.classes and original.partial out".into()
            });
        }
        check(&mut faults, self.tuning.head_weights != [0.0; 3], || "tuning.head_weights are all 0".into());
        within(
            &mut faults,
            "select.passes",
            self.select.passes,
            1..=MOST_PASSES,
            "every pass computes the heads of every image",
        );
        let reads_posterior = self.select.rule.uncertainty == Uncertainty::Laplace;
        check(&mut faults, !(reads_posterior && self.select.laplace == Posterior::Off), || {
            "select.rule.uncertainty is laplace, and select.laplace is off; diagonal and kronecker fit one".into()
        });
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

/// The most views of an image: the features of each are stored.
const MOST_VIEWS: usize = 1_000;
/// The most Monte Carlo passes: each computes the heads once for every image, and standard deviations have settled long before.
const MOST_PASSES: usize = 10_000;

/// Why there is a limit to passes over anything.
pub(crate) const EPOCHS: &str = "more would never end";
/// Why there is a limit to the rows of a batch.
pub(crate) const ROWS: &str = "a batch is in memory at once";

/// Adds a fault unless a number is in a range; `why` there is such a limit.
pub fn within(faults: &mut Vec<String>, key: &str, value: usize, range: std::ops::RangeInclusive<usize>, why: &str) {
    check(faults, range.contains(&value), || {
        format!("{key} {value} is not in {} to {}: {why}", range.start(), range.end())
    });
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

/// Adds a fault unless `text` is a policy, of steps of the crates augment and deepaugment. Files that it names are not opened.
pub fn is_policy(faults: &mut Vec<String>, key: &str, text: &str) {
    if let Err(error) = Policy::check(text, &robustify_deepaugment::check_operation) {
        faults.push(format!("{key}: {error}"));
    }
}
