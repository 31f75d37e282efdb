//! A network in a configuration: its sizes, or the name of a model of the registry.
//!
//! ```toml
//! [original.network]
//! model = "vit_small_patch16_224.augreg_in21k_ft_in1k"   # `models list` has the names
//! image_size = 384                                       # optional: another size of the input
//! classes = 10                                           # optional: what the weights have, where it is not 1000
//! ```

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use burn::tensor::Device;

use crate::vit::{Pool, VitConfig};
use crate::weights::{self, Checkpoint};
use crate::{Model, ModelConfig, ZooError, registry};

/// A network of the registry.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// Name of the network, as `models list` prints it.
    model: String,
    /// Side of the square input in pixels. Default: that of the name.
    image_size: Option<usize>,
    /// Number of classes that the weights have. Default: that of the name.
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

/// Reads either form, for `#[serde(deserialize_with)]`; what is written back is always the sizes.
///
/// # Errors
/// A name that the registry does not have, or sizes that are no network's.
pub fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ModelConfig, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.get("model").is_none() {
        return serde_json::from_value(value).map_err(D::Error::custom);
    }
    let named: Named = serde_json::from_value(value).map_err(D::Error::custom)?;
    named.config().map_err(D::Error::custom)
}

/// The schema of what [`network`] reads, for `#[schemars(schema_with)]`: a name of the registry, or the sizes of an architecture.
pub fn network_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [generator.subschema_for::<Named>(), generator.subschema_for::<ModelConfig>()] })
}

impl ModelConfig {
    /// As many classes as the classifier has that a file holds for this network, under whatever names; none if it has no
    /// classifier. `from` is the key of a state dict.
    ///
    /// # Errors
    /// A file that holds no state dict for the network.
    pub fn classes_in(&self, checkpoint: &Checkpoint, from: Option<&str>, device: &Device) -> Result<usize, ZooError> {
        // With a classifier, so that one beside a backbone is not passed over.
        let model = Model::blank(&self.with_classes(self.classes().max(1)), device)?;
        weights::classes(checkpoint, &weights::shapes(&model), from)
    }

    /// The network as a file has it: with as many classes as its classifier has, and with a mean pool and the norm behind it where the file
    /// shows these. `from` is the key of a state dict.
    ///
    /// # Errors
    /// A file that holds no state dict for the network.
    pub fn as_in(&self, checkpoint: &Checkpoint, from: Option<&str>, device: &Device) -> Result<Self, ZooError> {
        let config = self.pooled_as_in(checkpoint, from, device)?;
        let classes = config.classes_in(checkpoint, from, device)?;
        Ok(config.with_classes(classes))
    }

    fn pooled_as_in(&self, checkpoint: &Checkpoint, from: Option<&str>, device: &Device) -> Result<Self, ZooError> {
        let Self::Vit(vit) = self else { return Ok(self.clone()) };
        if vit.pool != Pool::Cls || vit.distilled || vit.fc_norm {
            return Ok(self.clone());
        }
        let pooled = Self::Vit(VitConfig { pool: Pool::Mean, fc_norm: true, ..vit.clone() });
        let shapes = weights::shapes(&Model::blank(&pooled.with_classes(self.classes().max(1)), device)?);
        Ok(if weights::has_pooled_norm(checkpoint, &shapes, from)? { pooled } else { self.clone() })
    }
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

    /// The configuration in the documentation of `SwinConfig::giant`.
    #[test]
    fn the_giant_is_reached_by_its_sizes() {
        let giant = r#"{"architecture": "swin", "version": "v2", "image_size": 192, "width": 512, "depths": [2, 2, 42, 4],
            "heads": [16, 32, 64, 128], "windows": [12, 12, 12, 12], "norm_every": 6, "classes": 1000}"#;
        assert_eq!(read(giant).unwrap(), ModelConfig::Swin(crate::swin::SwinConfig::giant()));
    }
}
