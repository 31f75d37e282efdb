//! Networks as `config.json` of Hugging Face transformers describes them, and the images that they want.
//!
//! Source: transformers 5.24, `models/*/configuration_*.py` (names and defaults), `models/*/image_processing_*.py`.

use serde::Deserialize;
use serde_json::Value;

use crate::clip::{ClipConfig, TextConfig, vit_tower};
use crate::layers::Activation;
use crate::registry::{CropMode, Preprocessing};
use crate::resnet::{BlockKind, ResNetConfig};
use crate::swin::{SwinConfig, Version};
use crate::vit::VitConfig;
use crate::{ModelConfig, ZooError};

/// What a folder of transformers holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// An image model.
    Image(ModelConfig),
    /// A whole CLIP.
    Clip(ClipConfig),
}

impl Network {
    /// The network of a `config.json`; none where it is no configuration of transformers.
    ///
    /// # Errors
    /// A network, or a setting of one, that is not among the models here.
    pub fn read(json: &Value) -> Option<Result<Self, ZooError>> {
        let kind = json.get("model_type")?.as_str()?;
        let fault =
            |error: serde_json::Error| ZooError::Config(format!("config.json of transformers ({kind}): {error}"));
        let read = match kind {
            "vit" | "deit" | "dinov2" | "dinov2_with_registers" => serde_json::from_value::<Vit>(json.clone())
                .map_err(fault)
                .and_then(|vit| vit.config(kind))
                .map(Self::Image),
            "swin" | "swinv2" => serde_json::from_value::<Swin>(json.clone())
                .map_err(fault)
                .and_then(|swin| swin.config(kind))
                .map(Self::Image),
            "resnet" => {
                serde_json::from_value::<ResNet>(json.clone()).map_err(fault).and_then(ResNet::config).map(Self::Image)
            }
            "clip" => {
                serde_json::from_value::<Clip>(json.clone()).map_err(fault).and_then(Clip::config).map(Self::Clip)
            }
            other => Err(ZooError::Config(format!(
                "config.json of transformers: `{other}` is not among the models here; known are vit, deit, dinov2, dinov2_with_registers, \
                 swin, swinv2, resnet and clip"
            ))),
        };
        let sound = read.and_then(|network| match network.faults() {
            faults if faults.is_empty() => Ok(network),
            faults => Err(ZooError::Config(format!("config.json of transformers ({kind}): {}", faults.join("; ")))),
        });
        Some(sound)
    }

    fn faults(&self) -> Vec<String> {
        match self {
            Self::Image(config) => config.faults(),
            Self::Clip(config) => config.faults(),
        }
    }
}

/// An error about a setting that makes another network than those here.
fn unknown(setting: &str, found: &str, expected: &str) -> ZooError {
    ZooError::Config(format!("config.json of transformers: {setting} is {found}; {expected} is expected"))
}

fn activation(name: &str) -> Result<Activation, ZooError> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "quick_gelu" => Ok(Activation::QuickGelu),
        other => Err(unknown("hidden_act", other, "gelu or quick_gelu")),
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Vit {
    image_size: usize,
    patch_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    /// Of ViT and DeiT; DINOv2 has a ratio.
    intermediate_size: Option<usize>,
    mlp_ratio: Option<f64>,
    layer_norm_eps: Option<f64>,
    qkv_bias: bool,
    hidden_act: String,
    layerscale_value: f64,
    num_register_tokens: usize,
    use_swiglu_ffn: bool,
    architectures: Vec<String>,
}

impl Default for Vit {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 16,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: None,
            mlp_ratio: None,
            layer_norm_eps: None,
            qkv_bias: true,
            hidden_act: "gelu".into(),
            layerscale_value: 1.0,
            num_register_tokens: 0,
            use_swiglu_ffn: false,
            architectures: Vec::new(),
        }
    }
}

impl Vit {
    fn config(self, kind: &str) -> Result<ModelConfig, ZooError> {
        if self.use_swiglu_ffn {
            return Err(unknown("use_swiglu_ffn", "true", "false"));
        }
        let is_dinov2 = kind.starts_with("dinov2");
        // A DeiT with one classifier reads the class token alone, in spite of the distillation token beside it.
        if kind == "deit" && self.architectures.iter().any(|name| name == "DeiTForImageClassification") {
            return Err(unknown(
                "architectures",
                "DeiTForImageClassification, whose distillation token is not read",
                "DeiTForImageClassificationWithTeacher",
            ));
        }
        let usual = if is_dinov2 { self.hidden_size * 4 } else { 3072 };
        let hidden = self.intermediate_size.unwrap_or(usual);
        let plain = VitConfig::plain(
            self.image_size,
            self.patch_size,
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
        );
        let registers = if kind == "dinov2_with_registers" { self.num_register_tokens.max(1) } else { 0 };
        Ok(ModelConfig::Vit(VitConfig {
            mlp_ratio: self.mlp_ratio.unwrap_or(hidden as f64 / self.hidden_size.max(1) as f64),
            norm_eps: self.layer_norm_eps.unwrap_or(if is_dinov2 { 1e-6 } else { 1e-12 }),
            qkv_bias: self.qkv_bias,
            activation: activation(&self.hidden_act)?,
            layer_scale: is_dinov2.then_some(self.layerscale_value),
            registers,
            no_embed_class: registers > 0,
            distilled: kind == "deit",
            classes: 0,
            ..plain
        }))
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Swin {
    image_size: usize,
    patch_size: usize,
    embed_dim: usize,
    depths: Vec<usize>,
    num_heads: Vec<usize>,
    window_size: usize,
    pretrained_window_sizes: Vec<usize>,
    mlp_ratio: f64,
    qkv_bias: bool,
    hidden_act: String,
    use_absolute_embeddings: bool,
}

impl Default for Swin {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 4,
            embed_dim: 96,
            depths: vec![2, 2, 6, 2],
            num_heads: vec![3, 6, 12, 24],
            window_size: 7,
            pretrained_window_sizes: Vec::new(),
            mlp_ratio: 4.0,
            qkv_bias: true,
            hidden_act: "gelu".into(),
            use_absolute_embeddings: false,
        }
    }
}

impl Swin {
    fn config(self, kind: &str) -> Result<ModelConfig, ZooError> {
        if self.use_absolute_embeddings || !self.qkv_bias || self.hidden_act != "gelu" {
            return Err(unknown("use_absolute_embeddings, qkv_bias or hidden_act", "another", "false, true and gelu"));
        }
        let windows = vec![self.window_size; self.depths.len()];
        let pretrained =
            self.pretrained_window_sizes.iter().any(|&size| size > 0).then_some(self.pretrained_window_sizes);
        Ok(ModelConfig::Swin(SwinConfig {
            version: if kind == "swin" { Version::V1 } else { Version::V2 },
            image_size: self.image_size,
            patch_size: self.patch_size,
            width: self.embed_dim,
            depths: self.depths,
            heads: self.num_heads,
            windows,
            pretrained_windows: pretrained.unwrap_or_default(),
            mlp_ratio: self.mlp_ratio,
            norm_every: None,
            shared_positions: false,
            norm_start: 0.0,
            classes: 0,
        }))
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct ResNet {
    embedding_size: usize,
    hidden_sizes: Vec<usize>,
    depths: Vec<usize>,
    layer_type: String,
    hidden_act: String,
    downsample_in_first_stage: bool,
    downsample_in_bottleneck: bool,
}

impl Default for ResNet {
    fn default() -> Self {
        Self {
            embedding_size: 64,
            hidden_sizes: vec![256, 512, 1024, 2048],
            depths: vec![3, 4, 6, 3],
            layer_type: "bottleneck".into(),
            hidden_act: "relu".into(),
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
        }
    }
}

impl ResNet {
    fn config(self) -> Result<ModelConfig, ZooError> {
        let (block, expansion) = match self.layer_type.as_str() {
            "basic" => (BlockKind::Basic, 1),
            "bottleneck" => (BlockKind::Bottleneck, 4),
            other => return Err(unknown("layer_type", other, "basic or bottleneck")),
        };
        let doubled: Vec<usize> =
            (0..self.depths.len()).map(|stage| (self.embedding_size * expansion) << stage).collect();
        if self.hidden_sizes != doubled {
            let found = format!("{:?} behind an embedding_size of {}", self.hidden_sizes, self.embedding_size);
            return Err(unknown("hidden_sizes", &found, &format!("{doubled:?}")));
        }
        if self.hidden_act != "relu" || self.downsample_in_first_stage || self.downsample_in_bottleneck {
            return Err(unknown("hidden_act or downsample_in_…", "another", "relu and false"));
        }
        let (stem_kernel, stem_stride, max_pool) = (7, 2, true);
        let (width, layers) = (self.embedding_size, self.depths);
        Ok(ModelConfig::ResNet(ResNetConfig {
            image_size: 224,
            stem_kernel,
            stem_stride,
            max_pool,
            width,
            layers,
            block,
            classes: 0,
        }))
    }
}

#[derive(Deserialize)]
struct Clip {
    #[serde(default)]
    vision_config: Tower,
    #[serde(default)]
    text_config: Tower,
    projection_dim: Option<usize>,
}

/// Either tower of CLIP; what is not said is as in the base model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tower {
    image_size: Option<usize>,
    patch_size: Option<usize>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    vocab_size: Option<usize>,
    hidden_act: Option<String>,
}

impl Tower {
    fn activation(&self) -> Result<Activation, ZooError> {
        activation(self.hidden_act.as_deref().unwrap_or("quick_gelu"))
    }
}

impl Clip {
    fn config(self) -> Result<ClipConfig, ZooError> {
        let Self { vision_config: image, text_config: text, projection_dim } = self;
        let embed_dim = projection_dim.unwrap_or(512);
        let width = image.hidden_size.unwrap_or(768);
        let plain = VitConfig::plain(
            image.image_size.unwrap_or(224),
            image.patch_size.unwrap_or(32),
            width,
            image.num_hidden_layers.unwrap_or(12),
            image.num_attention_heads.unwrap_or(12),
        );
        let ratio = image.intermediate_size.unwrap_or(3072) as f64 / width.max(1) as f64;
        let tower = vit_tower(VitConfig { mlp_ratio: ratio, ..plain }, image.activation()?, embed_dim);
        let text_width = text.hidden_size.unwrap_or(512);
        let hidden = text.intermediate_size.unwrap_or(2048);
        if hidden != 4 * text_width {
            return Err(unknown(
                "text_config.intermediate_size",
                &hidden.to_string(),
                &format!("four times the width, {}", 4 * text_width),
            ));
        }
        let text = TextConfig {
            context_length: text.max_position_embeddings.unwrap_or(77),
            vocabulary: text.vocab_size.unwrap_or(49_408),
            width: text_width,
            depth: text.num_hidden_layers.unwrap_or(12),
            heads: text.num_attention_heads.unwrap_or(8),
            embed_dim,
            activation: text.activation()?,
        };
        Ok(ClipConfig { image: tower, text })
    }
}

/// `preprocessor_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Processor {
    size: Option<Value>,
    crop_size: Option<Value>,
    crop_pct: Option<f64>,
    do_center_crop: Option<bool>,
    resample: Option<u64>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
}

/// How images are prepared by a `preprocessor_config.json`, for a network whose input has `side` pixels.
///
/// # Errors
/// Text that is no such configuration, or one of another input size.
pub fn preprocessing(json: &str, side: usize) -> Result<Preprocessing, ZooError> {
    let read: Processor =
        serde_json::from_str(json).map_err(|error| ZooError::Config(format!("preprocessor_config.json: {error}")))?;
    let number = |value: &Value| value.as_u64().map(|size| size as usize);
    let of = |value: &Option<Value>, key: &str| value.as_ref().and_then(|value| value.get(key)).and_then(number);
    let square = of(&read.size, "height").or_else(|| read.size.as_ref().and_then(number));
    let shortest = of(&read.size, "shortest_edge");
    let crop = of(&read.crop_size, "height").or_else(|| read.crop_size.as_ref().and_then(number));
    // ConvNeXt's processor, which ResNets have, makes the shorter side that of the input over `crop_pct` and cuts the centre out.
    let (crop_mode, resized) = match (shortest, square) {
        (Some(shortest), _) => match (read.do_center_crop.unwrap_or(crop.is_some()), read.crop_pct) {
            (true, _) => (CropMode::Center, shortest),
            (false, crop_pct) => (CropMode::Center, (shortest as f64 / crop_pct.unwrap_or(1.0)) as usize),
        },
        (None, Some(square)) => (CropMode::Squash, square),
        (None, None) => (CropMode::Squash, side),
    };
    let interpolation = match read.resample {
        Some(0) => "nearest",
        Some(1) => "lanczos",
        Some(3) => "bicubic",
        None | Some(_) => "bilinear",
    };
    let (mean, std) = (read.image_mean.unwrap_or([0.5; 3]), read.image_std.unwrap_or([0.5; 3]));
    if !std.iter().all(|part| part.is_finite() && *part > 0.0) {
        return Err(ZooError::Config(format!(
            "preprocessor_config.json: image_std is {std:?}; three positive numbers are expected"
        )));
    }
    let crop_fraction = (side as f64 / resized.max(1) as f64).min(1.0);
    Ok(Preprocessing { image_size: side, crop_fraction, crop_mode, interpolation, mean, std })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Network, ZooError> {
        Network::read(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn a_network_is_what_its_configuration_says() {
        let json = r#"{"model_type": "vit", "hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 384, "image_size": 64}"#;
        let Network::Image(ModelConfig::Vit(vit)) = read(json).unwrap() else { panic!("no ViT") };
        assert_eq!((vit.width, vit.heads, vit.mlp_ratio, vit.image_size, vit.patch_size), (192, 3, 2.0, 64, 16));
        assert_eq!(vit.norm_eps, 1e-12);
        let json = r#"{"model_type": "resnet", "layer_type": "basic", "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [2, 2]}"#;
        assert!(matches!(read(json).unwrap(), Network::Image(ModelConfig::ResNet(ResNetConfig { width: 16, .. }))));
        for (json, said) in [
            (r#"{"model_type": "bert"}"#, "`bert` is not among the models here"),
            (r#"{"model_type": "resnet", "hidden_sizes": [1, 2, 3, 4]}"#, "hidden_sizes is [1, 2, 3, 4]"),
            (r#"{"model_type": "vit", "hidden_act": "relu"}"#, "hidden_act is relu; gelu or quick_gelu is expected"),
            (r#"{"model_type": "vit", "hidden_size": "x"}"#, "config.json of transformers (vit)"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(Network::read(&serde_json::json!({"architecture": "vit_tiny_patch16_224"})).is_none());
    }

    #[test]
    fn images_are_prepared_as_the_processor_does() {
        let of = |json: &str| preprocessing(json, 224).unwrap();
        let vit = of(
            r#"{"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#,
        );
        assert_eq!((vit.crop_mode, vit.crop_fraction, vit.interpolation), (CropMode::Squash, 1.0, "bilinear"));
        let dinov2 = of(
            r#"{"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "resample": 3}"#,
        );
        assert_eq!(
            (dinov2.crop_mode, dinov2.crop_fraction, dinov2.interpolation),
            (CropMode::Center, 0.875, "bicubic")
        );
        let resnet = of(r#"{"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}"#);
        assert_eq!((resnet.crop_mode, resnet.crop_fraction), (CropMode::Center, 0.875));
        assert!(preprocessing(r#"{"image_std": [0.0, 1.0, 1.0]}"#, 224).is_err());
    }
}
