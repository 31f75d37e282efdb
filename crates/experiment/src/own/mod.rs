//! A configuration for one's own images and one's own model, from nothing but their paths.
//!
//! [`Asked`] says what the user typed. [`derive()`] looks at the images ([`Splits`]) and at the weights ([`Model`]), chooses every setting
//! by their sizes, and returns a commented TOML file, which `init` writes and `train` runs.

mod text;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use robustify_data::{DataConfig, Splits};
use robustify_zoo::{ModelConfig, network, network_schema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::settings::{self as layers, Validate};

pub use robustify_eval::checkpoint::{Model, Weights};
pub use robustify_predict::preprocess_line;

/// What the user typed.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Folder of the images.
    pub data: PathBuf,
    /// The weights, and what was said of them.
    pub weights: Weights,
    /// As many classes as the data has, if the user said so.
    pub classes: Option<usize>,
}

/// What came of looking at images and model.
#[derive(Clone, Debug)]
pub struct Derived {
    /// The configuration, as a commented TOML file.
    pub text: String,
    /// The model that was found.
    pub model: Model,
}

/// The configuration for one's own images and model.
///
/// # Errors
/// Weights that cannot be read, that fit no model of the registry, or whose class count is another than the one asked for.
pub fn derive(asked: &Asked, splits: &Splits, device: &Device) -> anyhow::Result<Derived> {
    let has = splits.train.classes().len();
    if let Some(classes) = asked.classes.filter(|classes| *classes != has) {
        anyhow::bail!(
            "--num-classes {classes}: {} has {has} class folders, {}; leave it out, since the data says it",
            asked.data.display(),
            robustify_predict::classes::list(splits.train.classes())
        );
    }
    let model = Model::of(&asked.weights, device)?;
    Ok(Derived { text: text::of(asked, splits, &model)?, model })
}

/// Of the settings beside a configuration that is yet to be made: those by which it is made.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct Early {
    /// How the images lie.
    pub data: DataConfig,
    /// What is said of the model.
    #[serde(default)]
    pub original: EarlyModel,
}

/// What settings say of the model before it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
pub struct EarlyModel {
    /// The network, given whole.
    #[serde(default, deserialize_with = "given")]
    #[schemars(schema_with = "network_schema")]
    pub network: Option<ModelConfig>,
    /// The key under which the state dict lies in the file.
    #[serde(default)]
    pub from: Option<String>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ModelConfig>, D::Error> {
    network(deserializer).map(Some)
}

impl Validate for Early {
    fn faults(&self) -> Vec<String> {
        self.original.network.as_ref().map(ModelConfig::faults).unwrap_or_default()
    }
}

impl Early {
    /// Of settings as they are given on a command line, for images in the folder `data`.
    ///
    /// # Errors
    /// Settings that are none of the data's, or describe no network.
    pub fn of(data: &Path, given: &[String]) -> anyhow::Result<Self> {
        let key = |setting: &String| setting.split('=').next().unwrap_or_default().trim().to_owned();
        let is_early = |setting: &&String| {
            let key = key(setting);
            key == "data" || key.starts_with("data.") || key == "original.network" || key == "original.from"
        };
        let early: Vec<String> = given.iter().filter(is_early).cloned().collect();
        let path = toml::Value::String(data.display().to_string());
        layers::parse(&format!("data = {{ path = {path} }}\n"), Path::new("of images and model"), &early)
    }
}
