//! Swin Transformers: attention within windows that every second block shifts, on maps that every layer halves.
//! Sources: Liu et al. 2021, arXiv:2103.14030 (version 1); Liu et al. 2022, arXiv:2111.09883 (version 2).
//! As in timm, a layer begins with its patch merging, and fields carry timm's names (`layers.0.blocks.1.attn.qkv`, ...), so
//! weights load by key alone. Feature maps have their channels last.
//!
//! The classifier reads the mean over the last map. Position indices and masks follow from the configuration: they are
//! no parameters, and checkpoints need not carry them. A table of position biases for other windows is resized by
//! [`resize_bias_table`]; version 2 computes its biases and needs no such thing.

mod attention;
mod bias_table;
mod config;
mod layer;
mod windows;

use burn::module::Module;
use burn::tensor::Tensor;

pub use attention::{CosineAttention, Layout, PositionNetwork, Relu, TableAttention, WindowAttention};
pub(crate) use bias_table::geometric_points;
pub use bias_table::resize_bias_table;
pub use config::{SwinConfig, Version};
pub use layer::{Block, Layer, PatchMerging};
pub use windows::Windows;

use crate::layers::{Conv2d, Init, LayerNorm, Linear};
use crate::vit::repeat;
use crate::{Features, Pass, ZooError};

/// Added to the variance in every norm.
const NORM_EPS: f64 = 1e-5;

/// A Swin Transformer of either version.
#[derive(Module, Debug)]
pub struct Swin {
    patch_embed: PatchEmbed,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Head,
    #[module(skip)]
    pub(crate) config: SwinConfig,
}

impl Swin {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &SwinConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        let (patch, width, features) = (config.patch_size, config.width, config.features());
        Ok(Self {
            patch_embed: PatchEmbed {
                proj: Conv2d::new(init, [3, width], patch, patch, 0, true),
                norm: LayerNorm::new(init, width, NORM_EPS),
            },
            layers: config.layers().map(|shape| Layer::new(config, &shape, init)).collect(),
            norm: LayerNorm::new(init, features, NORM_EPS),
            head: Head { fc: (config.classes > 0).then(|| Linear::new(init, features, config.classes, true)) },
            config: config.clone(),
        })
    }

    /// Images to tokens.
    ///
    /// # Shapes
    /// - images: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, side, side, width]`
    pub fn embed(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let maps = self.patch_embed.norm.forward(self.patch_embed.proj.forward(images).permute([0, 2, 3, 1]));
        pass.saw(|| "patch_embed".into(), || Features::Map(maps.clone()));
        maps
    }

    /// The last map, normalised: what the classifier reads the mean of.
    ///
    /// # Shapes
    /// - images: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, side, side, width]`
    pub(crate) fn last_maps(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let maps = self.embed(images, pass);
        self.norm.forward(self.layers.iter().fold(maps, |maps, layer| layer.forward(maps, 1, pass)))
    }

    /// What a block adds to its scores, without the mask of shifted windows; `None` if there is no such block.
    ///
    /// # Shapes
    /// - output: `[heads, area, area]`
    pub fn position_bias(&self, layer: usize, block: usize) -> Option<Tensor<3>> {
        self.layers.get(layer)?.position_bias(block)
    }

    /// Number of blocks in all layers.
    pub(crate) fn blocks(&self) -> usize {
        self.layers.iter().map(Layer::depth).sum()
    }

    /// The network with another classifier.
    pub(crate) fn with_classifier(mut self, classes: usize, fc: Linear) -> Self {
        self.config.classes = classes;
        self.head.fc = Some(fc);
        self
    }
}

/// Patches to tokens, normalised.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    proj: Conv2d,
    norm: LayerNorm,
}

/// The classifier, under timm's name.
#[derive(Module, Debug)]
pub struct Head {
    fc: Option<Linear>,
}

/// Consecutive units of a [`Swin`]: blocks, each first one of a layer with the patch merging before it, then perhaps the
/// final norm and classifier.
#[derive(Module, Debug)]
pub struct SwinSegment {
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
    head: Option<Head>,
}

impl SwinSegment {
    /// Clones units `from..to` of `model` (0 is the first block, the number of blocks the norm and classifier).
    pub(crate) fn new(model: &Swin, from: usize, to: usize) -> Self {
        let mut first = 0;
        let part = |layer: &Layer| {
            let start = first;
            first += layer.depth();
            layer.part(from.saturating_sub(start), to.saturating_sub(start))
        };
        let layers = model.layers.iter().filter_map(part).collect();
        let ends = from <= model.blocks() && to > model.blocks();
        Self { layers, norm: ends.then(|| model.norm.clone()), head: ends.then(|| model.head.clone()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.norm.is_none()
    }

    /// # Shapes
    /// - maps: `[batch, side, side, width]`
    /// - output: `batch * passes` rows of maps or logits, the passes of a row next to each other
    pub(crate) fn forward(&self, maps: Tensor<4>, passes: usize, pass: &Pass<'_>) -> Features {
        let (maps, passes) = match self.layers.split_first() {
            Some((first, rest)) => {
                let maps = first.forward(maps, passes, pass);
                (rest.iter().fold(maps, |maps, layer| layer.forward(maps, 1, pass)), 1)
            }
            None => (maps, passes),
        };
        let (Some(norm), Some(head)) = (&self.norm, &self.head) else { return Features::Map(repeat(maps, passes)) };
        let maps = norm.forward(maps);
        pass.saw(|| "norm".into(), || Features::Map(maps.clone()));
        pass.saw(|| "forward_features".into(), || Features::Map(maps.clone()));
        let [rows, height, across, width] = maps.dims();
        let pooled = maps.reshape([rows, height * across, width]).mean_dim(1).reshape([rows, width]);
        pass.saw(|| "pre_logits".into(), || Features::Rows(pooled.clone()));
        let pooled = pass.dropout(repeat(pooled, passes), "head_drop");
        Features::Rows(match &head.fc {
            Some(fc) => fc.forward(pooled),
            None => pooled,
        })
    }
}
