//! Folders as the Hugging Face hub has them: a configuration in JSON beside the weights.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::place::read_text;
use crate::ZooError;
use crate::transformers::Network;

/// A folder with a model of timm, open_clip or transformers.
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
    /// transformers': the network.
    Transformers(Box<Network>),
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

/// Which model is meant where a folder or a repository has one of timm and one of open_clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HubKind {
    /// open_clip's, else timm's.
    #[default]
    Any,
    /// An image model: timm's, else open_clip's, whose image tower it may be.
    Image,
    /// Both towers of a CLIP, which open_clip's alone has.
    Clip,
}

/// What the files of one program are called: the configuration, and the weights in the order in which they are preferred.
struct Layout {
    config: &'static str,
    weights: &'static [&'static str],
}

/// Source: open_clip 3.3, `factory.py`, `_find_checkpoint_in_dir`.
const OPEN_CLIP: Layout = Layout {
    config: "open_clip_config.json",
    weights: &["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin"],
};

/// Source: timm 1.0, `models/_hub.py`, `_PREFERRED_FILES`.
const TIMM: Layout = Layout {
    config: "config.json",
    weights: &["model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
};

/// Indices of weights in several files. Source: transformers 5.24, `utils/__init__.py`.
const INDEXES: [&str; 2] = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];

impl HubKind {
    /// The configuration that is looked for first.
    pub fn config(self) -> &'static str {
        self.layouts()[0].config
    }

    fn layouts(self) -> &'static [&'static Layout] {
        match self {
            Self::Any => &[&OPEN_CLIP, &TIMM],
            Self::Image => &[&TIMM, &OPEN_CLIP],
            Self::Clip => &[&OPEN_CLIP],
        }
    }
}

impl HubFolder {
    /// Reads the configuration and finds the weights of a model of any kind; safetensors come before pickles.
    ///
    /// # Errors
    /// No configuration or weights, or a configuration that is not timm's or open_clip's.
    pub fn open(folder: &Path) -> Result<Self, ZooError> {
        Self::open_as(folder, HubKind::Any)
    }

    /// Reads the configuration and finds the weights of a model of this kind.
    ///
    /// # Errors
    /// As [`HubFolder::open`].
    pub fn open_as(folder: &Path, kind: HubKind) -> Result<Self, ZooError> {
        let has = |name: &str| folder.join(name).is_file();
        let (layout, weights) = match pick(kind, has) {
            Some((layout, weights)) => (layout, Some(weights)),
            None => {
                let incomplete = kind.layouts().iter().find(|layout| has(layout.config));
                (*incomplete.unwrap_or(if kind == HubKind::Clip { &&OPEN_CLIP } else { &&TIMM }), None)
            }
        };
        let path = folder.join(layout.config);
        let text = read_text(&path)?;
        let model = if layout.config == OPEN_CLIP.config { open_clip(&text) } else { timm(&text) };
        let model = model.map_err(|reason| ZooError::Format { path, reason })?;
        // What is too large for one file is in several, which an index names.
        let indexed = INDEXES.into_iter().find(|name| has(name));
        let weights = weights.or(indexed).ok_or_else(|| ZooError::Format {
            path: folder.into(),
            reason: format!("the folder has none of the files {}", layout.weights.join(", ")),
        })?;
        Ok(Self { weights: folder.join(weights), model })
    }

    /// Names of the configuration and of the weights that a model of this kind is read from, where `has` tells which files
    /// there are; `None` when some are missing.
    pub fn files(kind: HubKind, has: impl Fn(&str) -> bool) -> Option<[&'static str; 2]> {
        pick(kind, has).map(|(layout, weights)| [layout.config, weights])
    }
}

fn pick(kind: HubKind, has: impl Fn(&str) -> bool) -> Option<(&'static Layout, &'static str)> {
    kind.layouts().iter().filter(|layout| has(layout.config)).find_map(|layout| {
        let weights = layout.weights.iter().find(|name| has(name))?;
        Some((*layout, *weights))
    })
}

fn open_clip(text: &str) -> Result<HubModel, String> {
    let config: OpenClipConfig =
        serde_json::from_str(text).map_err(|error| format!("no configuration of open_clip: {error}"))?;
    Ok(HubModel::OpenClip(config.model_cfg))
}

fn timm(text: &str) -> Result<HubModel, String> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    if json.get("architecture").is_none()
        && let Some(network) = Network::read(&json)
    {
        return network.map(|network| HubModel::Transformers(Box::new(network))).map_err(|error| error.to_string());
    }
    let config: TimmConfig =
        serde_json::from_value(json).map_err(|error| format!("no configuration of timm or transformers: {error}"))?;
    let classes = config.num_classes.or(config.pretrained_cfg.num_classes).ok_or("num_classes is missing")?;
    let name = match config.pretrained_cfg.tag.filter(|tag| !tag.is_empty()) {
        Some(tag) if !config.architecture.contains('.') => format!("{}.{tag}", config.architecture),
        _ => config.architecture,
    };
    Ok(HubModel::Timm { name, classes })
}
