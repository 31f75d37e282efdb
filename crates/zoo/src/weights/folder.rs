//! Folders as the Hugging Face hub has them: a configuration in JSON beside the weights.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ZooError;

/// A folder with a model of timm or open_clip.
#[derive(Clone, Debug, PartialEq)]
pub struct HubFolder {
    /// The weights.
    pub weights: PathBuf,
    /// What the configuration says.
    pub model: HubModel,
}

/// What the configuration in a folder of the hub says.
#[derive(Clone, Debug, PartialEq)]
pub enum HubModel {
    /// timm's: the model's name in the registry, `architecture.tag` or the architecture alone.
    Timm {
        /// The name.
        name: String,
        /// Number of classes.
        classes: usize,
    },
    /// open_clip's: the sizes of both towers, as open_clip writes them.
    OpenClip(serde_json::Value),
}

/// timm's `config.json`. Source: timm 1.0, `models/_hub.py`.
#[derive(Deserialize)]
struct TimmConfig {
    architecture: String,
    num_classes: Option<usize>,
    #[serde(default)]
    pretrained_cfg: PretrainedConfig,
}

#[derive(Default, Deserialize)]
struct PretrainedConfig {
    tag: Option<String>,
    num_classes: Option<usize>,
}

/// open_clip's `open_clip_config.json`. Source: open_clip 3.3, `push_to_hf_hub.py`.
#[derive(Deserialize)]
struct OpenClipConfig {
    model_cfg: serde_json::Value,
}

const OPEN_CLIP: (&str, &[&str]) =
    ("open_clip_config.json", &["open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin"]);
const TIMM: (&str, &[&str]) = ("config.json", &["model.safetensors", "pytorch_model.bin"]);

impl HubFolder {
    /// Reads the configuration and finds the weights; safetensors come before pickles.
    ///
    /// # Errors
    /// No configuration or weights, or a configuration that is not timm's or open_clip's.
    pub fn open(folder: &Path) -> Result<Self, ZooError> {
        let (config, files) = if folder.join(OPEN_CLIP.0).is_file() { OPEN_CLIP } else { TIMM };
        let path = folder.join(config);
        let text = std::fs::read_to_string(&path).map_err(|source| ZooError::Io { path: path.clone(), source })?;
        let model = if config == OPEN_CLIP.0 { open_clip(&text) } else { timm(&text) };
        let model = model.map_err(|reason| ZooError::Format { path, reason })?;
        let weights = files.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let weights = weights.ok_or_else(|| ZooError::Format {
            path: folder.into(),
            reason: format!("the folder has none of the files {}", files.join(", ")),
        })?;
        Ok(Self { weights, model })
    }
}

fn open_clip(text: &str) -> Result<HubModel, String> {
    let config: OpenClipConfig =
        serde_json::from_str(text).map_err(|error| format!("no configuration of open_clip: {error}"))?;
    Ok(HubModel::OpenClip(config.model_cfg))
}

fn timm(text: &str) -> Result<HubModel, String> {
    let config: TimmConfig = serde_json::from_str(text).map_err(|error| {
        format!(
            "no configuration of timm ({error}); folders of Hugging Face transformers are not read, timm has the same models"
        )
    })?;
    let classes = config.num_classes.or(config.pretrained_cfg.num_classes).ok_or("num_classes is missing")?;
    let name = match config.pretrained_cfg.tag.filter(|tag| !tag.is_empty()) {
        Some(tag) if !config.architecture.contains('.') => format!("{}.{tag}", config.architecture),
        _ => config.architecture,
    };
    Ok(HubModel::Timm { name, classes })
}
