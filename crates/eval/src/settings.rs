use robustify_augment::Profile;
use robustify_bench::suites::CorruptedConfig;
use robustify_predict::texts::ZeroShotConfig;
use robustify_select::SelectConfig;
use robustify_zoo::{ModelConfig, network, network_schema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// What can be set of an evaluation, under the keys that other commands have for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EvalSettings")]
pub struct Settings {
    /// What is measured of a data set.
    pub benchmark: BenchmarkSettings,
    /// How models with three heads answer.
    pub select: SelectSettings,
    /// What is said of weights that do not say it themselves.
    pub original: OriginalSettings,
}

/// `[original]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EvalOriginal")]
pub struct OriginalSettings {
    /// The network of weights that no list has.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "network_schema")]
    pub network: Option<ModelConfig>,
    /// The key under which the state dict lies in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The sentences of a whole CLIP, whose classes are texts: those of the data, by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<ZeroShotConfig>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ModelConfig>, D::Error> {
    network(deserializer).map(Some)
}

/// `[benchmark]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EvalBenchmark")]
pub struct BenchmarkSettings {
    /// Constants of the corruptions. Default: those that were made for the size of the model's input, else `scaled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "profile_schema")]
    pub profile: Option<String>,
    /// Severities, 1 to 5. Default: all.
    #[schemars(inner(range(min = 1, max = 5)))]
    pub severities: Vec<u8>,
    /// Names of the corruptions; none for clean images alone. Default: the fifteen test corruptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<Vec<String>>,
    /// Images of a corrupted cell; 0 for all.
    pub images: usize,
    /// Images of the clean cell; 0 for all.
    pub clean_images: usize,
    /// Seed of the corruptions and of the choice of images.
    pub seed: u64,
}

fn profile_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "enum": Profile::ALL.map(Profile::name) })
}

impl Default for BenchmarkSettings {
    fn default() -> Self {
        let severities = (1..=5).collect();
        Self { profile: None, severities, corruptions: None, images: 0, clean_images: 0, seed: 0 }
    }
}

impl BenchmarkSettings {
    /// As a benchmark takes it, for a model whose input has a side of so many pixels.
    pub fn for_side(&self, side: u32) -> CorruptedConfig {
        let official = [Profile::CifarC, Profile::TinyC, Profile::ImagenetC, Profile::ImagenetC299];
        let usual = official.into_iter().find(|profile| profile.native_side() == Some(side)).unwrap_or(Profile::Scaled);
        CorruptedConfig {
            profile: self.profile.clone().unwrap_or_else(|| usual.name().to_owned()),
            severities: self.severities.clone(),
            corruptions: self.corruptions.clone(),
            classes: None,
            images: self.images,
            clean_images: self.clean_images,
            seed: self.seed,
            shifts: Vec::new(),
            transfer: 0,
        }
    }
}

/// `[select]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EvalSelect")]
pub struct SelectSettings {
    /// What stands for a model with three heads. Default: the rule of the run that the model belongs to, else `product`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<SelectConfig>,
}

impl Settings {
    /// Faults, each beginning with its key.
    pub fn faults(&self) -> Vec<String> {
        let mut benchmark = self.benchmark.for_side(0);
        // No corruption is clean images alone.
        if benchmark.corruptions.as_ref().is_some_and(Vec::is_empty) {
            benchmark.corruptions = None;
        }
        let network = self.original.network.iter().flat_map(|network| network.faults());
        let network = network.map(|fault| format!("original.network: {fault}"));
        let zero_shot = self.original.zero_shot.iter().flat_map(|config| config.faults("original.zero_shot"));
        benchmark
            .faults()
            .into_iter()
            .map(|fault| format!("benchmark.{fault}"))
            .chain(network)
            .chain(zero_shot)
            .collect()
    }
}
