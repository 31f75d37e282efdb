//! A model from scratch: how the models that ship with the project were made.
//!
//! What is learned is a [`Pretraining`], one file each; [`OBJECTIVES`] is the one list of them. An objective with settings of its
//! own reads them from `[settings.NAME]`.

mod clip;
mod dino;
mod feature;
mod mae;
mod session;
mod supervised;
mod unlabelled;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use robustify_data::{DataConfig, Preprocess, splits};
use robustify_device::Machine;
use robustify_distill::Precision;
use robustify_methods::config::{ImageTrainingConfig, parses};
use robustify_methods::lab::sizes;
use robustify_report::{digest, lock_file, write_atomic};
use robustify_watch::Watch;
use robustify_zoo::{ModelConfig, network, network_schema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::settings::Validate;

pub use session::{Made, Score, Session};

/// What a network learns from scratch.
pub trait Pretraining: Sync {
    /// The name in configurations.
    fn name(&self) -> &'static str;

    /// What is learned, in one sentence.
    fn about(&self) -> &'static str;

    /// Faults of the configuration that this objective alone knows, each with its key. One that overrides this has settings; any
    /// other refuses them.
    fn faults(&self, config: &PretrainConfig) -> Vec<String> {
        let given = config.settings.contains_key(self.name());
        given
            .then(|| format!("settings.{}: this objective has no settings of its own", self.name()))
            .into_iter()
            .collect()
    }

    /// The schema of its settings, `[settings.NAME]`; nothing for an objective without any.
    fn schema(&self, _generator: &mut SchemaGenerator) -> Option<Schema> {
        None
    }

    /// Trains, and gives what is to be written and how good it is.
    ///
    /// # Errors
    /// Whatever keeps it from being trained, or an interruption.
    fn train(&self, session: &Session<'_>) -> anyhow::Result<Made>;
}

/// Every objective.
pub static OBJECTIVES: &[&dyn Pretraining] = &[
    &supervised::Supervised,
    &clip::Clip,
    &dino::SelfDistillation,
    &mae::MaskedAutoencoding,
    &feature::FeatureLearning,
];

/// The objective of a name.
///
/// # Errors
/// A name that no objective has; the message lists all.
pub fn find(name: &str) -> anyhow::Result<&'static dyn Pretraining> {
    OBJECTIVES.iter().find(|objective| objective.name() == name).copied().ok_or_else(|| {
        let names: Vec<&str> = OBJECTIVES.iter().map(|objective| objective.name()).collect();
        anyhow!("there is no objective `{name}`; objectives are {}", names.join(", "))
    })
}

/// The configuration of a pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// What is learned.
    #[serde(default = "supervised")]
    #[schemars(schema_with = "objective_schema")]
    pub objective: String,
    /// Seed of weights, order and views.
    pub seed: u64,
    /// The images.
    pub data: DataConfig,
    /// The network: its sizes, or `model` with a name of the registry.
    #[serde(deserialize_with = "network")]
    #[schemars(schema_with = "network_schema")]
    pub network: ModelConfig,
    /// From files to the network's input.
    pub preprocess: String,
    /// How to train.
    pub training: ImageTrainingConfig,
    /// Where to write the weights.
    pub output: PathBuf,
    /// How to write them: `f32`, or `f16` for half the size. The score is that of the written weights.
    #[serde(default = "f32_weights")]
    pub precision: Precision,
    /// Settings of single objectives, by name: `[settings.clip]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "settings_schema")]
    pub settings: BTreeMap<String, toml::Table>,
}

fn supervised() -> String {
    "supervised".into()
}

fn f32_weights() -> Precision {
    Precision::F32
}

fn objective_schema(_: &mut SchemaGenerator) -> Schema {
    let names = OBJECTIVES.iter().map(|one| json_schema!({ "const": one.name(), "description": one.about() }));
    json_schema!({ "type": "string", "oneOf": names.collect::<Vec<_>>() })
}

fn settings_schema(generator: &mut SchemaGenerator) -> Schema {
    let tables = OBJECTIVES.iter().filter_map(|objective| {
        let mut schema = objective.schema(generator)?;
        schema.insert("description".into(), objective.about().into());
        Some((objective.name().to_owned(), schema.to_value()))
    });
    let tables = tables.collect::<serde_json::Map<_, _>>();
    json_schema!({ "type": "object", "properties": tables, "additionalProperties": false })
}

impl PretrainConfig {
    /// An objective's own settings, from `[settings.NAME]`; the defaults without such a table.
    ///
    /// # Errors
    /// Settings that are not those of the objective.
    pub fn settings<T: DeserializeOwned + Default>(&self, objective: &str) -> anyhow::Result<T> {
        match self.settings.get(objective) {
            None => Ok(T::default()),
            Some(table) => table.clone().try_into().with_context(|| format!("settings.{objective}")),
        }
    }
}

impl Validate for PretrainConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.training.faults("training");
        match find(&self.objective) {
            Ok(objective) => faults.extend(objective.faults(self)),
            Err(error) => faults.push(format!("objective: {error}")),
        }
        let others = self.settings.keys().filter(|&name| *name != self.objective);
        faults.extend(
            others.map(|name| format!("settings.{name} is for another objective, this one is {}", self.objective)),
        );
        faults.extend(self.network.faults().into_iter().map(|fault| format!("network: {fault}")));
        parses::<Preprocess>(&mut faults, "preprocess", &self.preprocess);
        let view = self.training.clean_view.as_deref().unwrap_or("identity");
        faults.extend(sizes::training_faults("network", &self.network, "training.clean_view", view));
        faults
    }
}

/// What a pre-training came to.
pub struct Pretrained {
    /// How good the model is, by the measures of its objective.
    pub scores: Vec<Score>,
    /// SHA-256 of the weights' file.
    pub sha256: String,
}

/// Trains, tests and writes the model that a configuration describes into `output`.
///
/// # Errors
/// Images that cannot be read or do not fit the network, files that cannot be written, another program at work on the same
/// file, or an interruption.
pub fn pretrain(
    config: &PretrainConfig,
    output: &Path,
    machine: &Machine,
    watch: &dyn Watch,
) -> anyhow::Result<Pretrained> {
    let objective = find(&config.objective)?;
    let [images, test] = splits::train_and_test(&config.data, watch)?;
    for part in [&images, &test] {
        sizes::check_images("", &config.preprocess, &config.network, part)?;
    }
    let (checkpoint, locked) = (output.with_extension("checkpoint.safetensors"), output.with_extension("lock"));
    let parent = output.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let _lock = lock_file(&locked, || {
        let output = output.display();
        format!("another robustify is working on {output}; wait for it, or choose another file with --output")
    })?;
    let Made { bytes, scores } =
        objective.train(&Session { config, images, test, machine, watch, checkpoint: &checkpoint })?;
    write_atomic(output, &bytes)?;
    for done in [&checkpoint, &locked] {
        std::fs::remove_file(done).with_context(|| done.display().to_string())?;
    }
    Ok(Pretrained { scores, sha256: digest::of_bytes(&bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    const TEXT: &str = r#"
        seed = 1
        preprocess = "normalize(half)"
        output = "unused"
        data = { format = "idx", path = "unused" }
        network = { architecture = "vit", image_size = 16, patch_size = 8, width = 8, depth = 1, heads = 2, classes = 2 }

        [training]
        epochs = 1
        batch_size = 2
        optimizer = { learning_rate = 1e-3, weight_decay = 0.0, warmup_fraction = 0.0, clip_norm = 1.0 }
    "#;

    #[test]
    fn an_objective_that_does_not_exist_and_settings_of_another_are_faults() {
        let faults = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|&pair| pair.to_owned()).collect();
            settings::parse::<PretrainConfig>(TEXT, Path::new("a.toml"), &given).err().map(|error| error.to_string())
        };
        assert_eq!(faults(&[]), None);
        let said = faults(&["objective=superwised"]).unwrap();
        assert!(said.contains("objective") && said.contains("supervised"), "{said}");
        let said = faults(&["objective=mae", "settings.mae.masked=1.0"]).unwrap();
        assert!(said.contains("network.classes is 2") && said.contains("settings.mae.masked"), "{said}");
        let said = faults(&["objective=dino", "network.classes=0"]).unwrap();
        assert!(said.contains("training.policy") && !said.contains("network"), "{said}");
        let said = faults(&["objective=feature", "settings.feature.drop_path=1.0"]).unwrap();
        assert!(said.contains("feature.teacher is missing") && said.contains("settings.feature.drop_path 1"), "{said}");
        let said = faults(&["settings.supervised={a=1}"]).unwrap();
        assert!(said.contains("settings.supervised"), "{said}");
    }
}
