use serde::{Deserialize, Serialize};

use super::{ClipResNetConfig, TextConfig};
use crate::layers::Activation;
use crate::vit::VitConfig;
use crate::{ModelConfig, ZooError};

/// The shape of both towers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// The image tower; its outputs are as wide as the text tower's features.
    pub image: ModelConfig,
    /// The text tower.
    pub text: TextConfig,
}

impl ClipConfig {
    /// The network of a name of open_clip's: `RN50`, `RN101`, `ViT-B-32`, `ViT-B-16`, `ViT-L-14`, `ViT-L-14-336`, each also with
    /// `-quickgelu` behind it. OpenAI's weights want the latter.
    ///
    /// # Errors
    /// Another name; the error lists those that are known.
    pub fn named(name: &str) -> Result<Self, ZooError> {
        let (base, activation) = match name.strip_suffix(QUICK_GELU) {
            Some(base) => (base, Activation::QuickGelu),
            None => (name, Activation::Gelu),
        };
        match NAMED.iter().find(|(known, _)| *known == base) {
            Some((_, shape)) => Ok(shape.config(activation)),
            None => {
                let near = NAMED.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("{name}{QUICK_GELU}")]);
                Err(ZooError::UnknownModel { name: name.to_owned(), near: near.collect() })
            }
        }
    }

    /// The network that a file of open_clip describes: one of its `model_configs`, or the `open_clip_config.json` of a
    /// repository on the hub.
    ///
    /// # Errors
    /// Text that is no such description, or one with settings that are not supported, which the error names.
    pub fn from_open_clip(json: &str) -> Result<Self, ZooError> {
        let fault = |error: serde_json::Error| ZooError::Config(format!("open_clip's description: {error}"));
        let described: serde_json::Value = serde_json::from_str(json).map_err(fault)?;
        let described = described.get("model_cfg").cloned().unwrap_or(described);
        let config = serde_json::from_value::<open_clip::Description>(described).map_err(fault)?.config()?;
        match config.faults() {
            faults if faults.is_empty() => Ok(config),
            faults => Err(ZooError::Config(faults.join("; "))),
        }
    }

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.image.faults();
        faults.extend(self.text.faults());
        let (image, text) = (self.image.outputs(), self.text.embed_dim);
        if image != text {
            faults.push(format!("the image tower gives {image} numbers and the text tower {text}"));
        }
        faults
    }

    /// Multiply-accumulates for one image and one text of full length.
    pub fn macs(&self) -> u64 {
        self.image.macs() + self.text.macs()
    }
}

const QUICK_GELU: &str = "-quickgelu";

/// Ids and places of every published CLIP's text tower.
const VOCABULARY: usize = 49_408;
const CONTEXT_LENGTH: usize = 77;
/// Width of an attention head in all towers but few of later works.
const HEAD_WIDTH: usize = 64;

/// What differs between the networks of the paper.
struct Shape {
    image: Image,
    image_size: usize,
    text_width: usize,
    embed_dim: usize,
}

enum Image {
    ResNet { layers: [usize; 4], width: usize },
    Vit { patch_size: usize, width: usize, depth: usize },
}

/// Source: the paper, tables 19 and 20.
const NAMED: &[(&str, Shape)] = &[
    ("RN50", resnet([3, 4, 6, 3], 1024)),
    ("RN101", resnet([3, 4, 23, 3], 512)),
    ("ViT-B-32", vit(32, 224, 768, 12, 512)),
    ("ViT-B-16", vit(16, 224, 768, 12, 512)),
    ("ViT-L-14", vit(14, 224, 1024, 24, 768)),
    ("ViT-L-14-336", vit(14, 336, 1024, 24, 768)),
];

const fn resnet(layers: [usize; 4], embed_dim: usize) -> Shape {
    Shape { image: Image::ResNet { layers, width: 64 }, image_size: 224, text_width: 512, embed_dim }
}

/// The text tower of a ViT is as wide as the features.
const fn vit(patch_size: usize, image_size: usize, width: usize, depth: usize, embed_dim: usize) -> Shape {
    Shape { image: Image::Vit { patch_size, width, depth }, image_size, text_width: embed_dim, embed_dim }
}

impl Shape {
    fn config(&self, activation: Activation) -> ClipConfig {
        let (image_size, embed_dim, width) = (self.image_size, self.embed_dim, self.text_width);
        let image = match self.image {
            Image::ResNet { layers, width } => resnet_tower(image_size, layers, width, HEAD_WIDTH, embed_dim),
            Image::Vit { patch_size, width, depth } => vit_tower(
                VitConfig::plain(image_size, patch_size, width, depth, width / HEAD_WIDTH),
                activation,
                embed_dim,
            ),
        };
        let (context_length, vocabulary, heads) = (CONTEXT_LENGTH, VOCABULARY, width / HEAD_WIDTH);
        let text = TextConfig { context_length, vocabulary, width, depth: 12, heads, embed_dim, activation };
        ClipConfig { image, text }
    }
}

fn resnet_tower(image_size: usize, layers: [usize; 4], width: usize, head: usize, embed_dim: usize) -> ModelConfig {
    let mut config = ClipResNetConfig { image_size, width, layers, heads: 1, embed_dim, classes: 0, texts: 0 };
    config.heads = config.channels() / head.max(1);
    ModelConfig::ClipResNet(config)
}

/// The ViT as CLIP has it: a norm before the blocks, and the projection into the common space as the classifier.
pub(crate) fn vit_tower(plain: VitConfig, activation: Activation, embed_dim: usize) -> ModelConfig {
    let (pre_norm, head_bias, projects, norm_eps, classes) = (true, false, true, 1e-5, embed_dim);
    ModelConfig::Vit(VitConfig { pre_norm, head_bias, projects, norm_eps, activation, classes, ..plain })
}

/// open_clip 3.3's descriptions, as far as they describe the networks of the paper. Every other setting is an error.
mod open_clip {
    use serde::Deserialize;
    use serde::de::IgnoredAny;

    use super::{CONTEXT_LENGTH, ClipConfig, HEAD_WIDTH, VOCABULARY, resnet_tower, vit_tower};
    use crate::ZooError;
    use crate::clip::TextConfig;
    use crate::layers::Activation;
    use crate::vit::VitConfig;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Description {
        embed_dim: usize,
        #[serde(default)]
        quick_gelu: bool,
        /// What the training began with; the weights have what it came to.
        #[serde(default, rename = "init_logit_scale")]
        _init_logit_scale: IgnoredAny,
        /// The same of the bias that `--siglip` trains.
        #[serde(default, rename = "init_logit_bias")]
        _init_logit_bias: IgnoredAny,
        vision_cfg: Vision,
        text_cfg: Text,
    }

    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Vision {
        layers: Layers,
        width: usize,
        head_width: usize,
        mlp_ratio: f64,
        patch_size: Option<usize>,
        image_size: usize,
    }

    impl Default for Vision {
        fn default() -> Self {
            let (layers, patch_size) = (Layers::Blocks(12), Some(16));
            Self { layers, width: 768, head_width: HEAD_WIDTH, mlp_ratio: 4.0, patch_size, image_size: 224 }
        }
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Layers {
        Blocks(usize),
        Stages([usize; 4]),
    }

    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Text {
        context_length: usize,
        vocab_size: usize,
        width: usize,
        heads: usize,
        layers: usize,
    }

    impl Default for Text {
        fn default() -> Self {
            Self { context_length: CONTEXT_LENGTH, vocab_size: VOCABULARY, width: 512, heads: 8, layers: 12 }
        }
    }

    impl Description {
        pub(super) fn config(self) -> Result<ClipConfig, ZooError> {
            let Self { embed_dim, quick_gelu, vision_cfg: vision, text_cfg: text, .. } = self;
            let activation = if quick_gelu { Activation::QuickGelu } else { Activation::Gelu };
            let (image_size, width, head) = (vision.image_size, vision.width, vision.head_width);
            let image = match (vision.layers, vision.patch_size) {
                (Layers::Stages(layers), _) => resnet_tower(image_size, layers, width, head, embed_dim),
                (Layers::Blocks(depth), Some(patch_size)) => {
                    let mut plain = VitConfig::plain(image_size, patch_size, width, depth, width / head.max(1));
                    plain.mlp_ratio = vision.mlp_ratio;
                    vit_tower(plain, activation, embed_dim)
                }
                (Layers::Blocks(_), None) => {
                    let fault = "open_clip's description: vision_cfg has neither patch_size nor four numbers of layers";
                    return Err(ZooError::Config(fault.into()));
                }
            };
            let (vocabulary, depth) = (text.vocab_size, text.layers);
            let (context_length, width, heads) = (text.context_length, text.width, text.heads);
            let text = TextConfig { context_length, vocabulary, width, depth, heads, embed_dim, activation };
            Ok(ClipConfig { image, text })
        }
    }
}
