//! A network in a configuration: its sizes, or the name of a model of the registry.
//!
//! ```toml
//! [original.network]
//! model = "vit_small_patch16_224.augreg_in21k_ft_in1k"   # `models list` has the names
//! image_size = 384                                       # optional: another size of the input
//! classes = 10                                           # optional: what the weights have, where it is not 1000
//! ```

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::Device;
use robustify_zoo::weights::{self, Checkpoint, LoadOptions};
use robustify_zoo::{Model, ModelConfig, registry};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::config::OriginalConfig;
use crate::console::Console;
use crate::hub;

/// The large model with its weights, and the file that they are from. What the file has for another size of the input is
/// mentioned.
pub fn original(config: &OriginalConfig, device: &Device, console: &Console) -> anyhow::Result<(Model, PathBuf)> {
    let setting = || format!("original.weights `{}`", config.weights.display());
    let path = hub::image_weights(&config.weights, console).with_context(setting)?;
    let checkpoint = Checkpoint::open(&path).with_context(setting)?;
    let model = Model::blank(&config.network, device)?;
    let (model, loaded) = weights::load_from(model, &checkpoint, LoadOptions::default())?;
    if !loaded.resized.is_empty() || !loaded.others.is_empty() {
        console.say(&loaded.to_string());
    }
    Ok((model, path))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    model: String,
    image_size: Option<usize>,
    classes: Option<usize>,
}

impl Named {
    fn config(self) -> Result<ModelConfig, String> {
        let entry = registry::find(&self.model).map_err(|error| error.to_string())?;
        let mut config = (entry.config)();
        if let Some(image_size) = self.image_size {
            config = config.with_image_size(image_size);
        }
        Ok(self.classes.map_or(config.clone(), |classes| config.with_classes(classes)))
    }
}

/// Reads either form; what is written back is always the sizes.
pub fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelConfig, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.get("model").is_none() {
        return serde_json::from_value(value).map_err(D::Error::custom);
    }
    let named: Named = serde_json::from_value(value).map_err(D::Error::custom)?;
    named.config().map_err(D::Error::custom)
}

/// As many classes as the classifier in a file has rows; none if it has no classifier.
pub fn classes(checkpoint: &Checkpoint) -> usize {
    const CLASSIFIERS: [&str; 4] = ["head.weight", "fc.weight", "head.fc.weight", "heads.head.weight"];
    let is_classifier = |name: &&str| {
        let behind_a_dot = |rest: &str| rest.is_empty() || rest.ends_with('.');
        CLASSIFIERS.iter().any(|classifier| name.strip_suffix(classifier).is_some_and(behind_a_dot))
    };
    let rows = || checkpoint.shape(checkpoint.names().find(is_classifier)?)?.first().copied();
    rows().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ModelConfig, serde_json::Error> {
        network(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn a_name_stands_for_its_sizes() {
        let small = read(r#"{"model": "vit_small_patch16_224", "image_size": 32, "classes": 10}"#).unwrap();
        let written = serde_json::to_string(&small).unwrap();
        assert_eq!(read(&written).unwrap(), small);
        assert_eq!((small.classes(), small.feature_width()), (10, 384));
        let unknown = read(r#"{"model": "vit_smal_patch16_224"}"#).unwrap_err().to_string();
        assert!(unknown.contains("vit_small_patch16_224"), "{unknown}");
        assert!(read(r#"{"model": "resnet18", "width": 3}"#).is_err(), "a name and sizes contradict each other");
    }
}
