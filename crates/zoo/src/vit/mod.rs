//! Vision Transformer, pre-norm. Source: Dosovitskiy et al. 2021, arXiv:2010.11929.
//! The convolutional stem follows Xiao et al. 2021, "Early convolutions help transformers see better", arXiv:2106.14881.
//! Its descendants are settings of [`VitConfig`]: DeiT, DeiT-III, MAE, DINO, DINOv2, the image tower of CLIP, and the students of
//! Feature Distillation, which are BEiTs.
//! Fields carry timm's names (`patch_embed`, `blocks.0.attn.qkv`, ...), so weights load by key alone.

mod block;
mod config;
mod embed;
mod mae;
mod prompts;
mod relative;
mod relative_resize;
pub(crate) mod segment;

use burn::module::{Module, Param};
use burn::tensor::Tensor;

pub use block::{Attention, Block, ClsInput, LayerScale, Mlp};
pub use config::{Pool, StemConv, VitConfig};
pub use embed::PatchEmbed;
pub use mae::{MaeDecoder, MaskedAutoencoder, Visible};
pub use prompts::PromptConfig;
pub use relative::{RelativeBias, RelativePositions, position_index};
pub use relative_resize::{relative_points, resize_relative_positions};
pub use segment::VitSegment;
pub(crate) use segment::{VitState, repeat};

use crate::clip::Readout;
use crate::layers::{Init, LayerNorm, Linear};
use crate::{Features, Pass, ZooError};

/// A Vision Transformer.
#[derive(Module, Debug)]
pub struct Vit {
    pub(crate) cls_token: Option<Param<Tensor<3>>>,
    pub(crate) dist_token: Option<Param<Tensor<3>>>,
    pub(crate) reg_token: Option<Param<Tensor<3>>>,
    pub(crate) pos_embed: Option<Param<Tensor<3>>>,
    pub(crate) patch_embed: PatchEmbed,
    pub(crate) norm_pre: Option<LayerNorm>,
    /// What all blocks add to their scores, where they share it.
    pub(crate) rel_pos_bias: Option<RelativeBias>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Option<LayerNorm>,
    pub(crate) fc_norm: Option<LayerNorm>,
    pub(crate) proj: Option<Linear>,
    pub(crate) head: Option<Linear>,
    pub(crate) head_dist: Option<Linear>,
    /// Of the first block, `[1, tokens, width]`.
    pub(crate) prompt_embeddings: Option<Param<Tensor<3>>>,
    /// Of the others, `[blocks - 1, tokens, width]`.
    pub(crate) deep_prompt_embeddings: Option<Param<Tensor<3>>>,
    pub(crate) prompt_proj: Option<Linear>,
    pub(crate) readout: Option<Readout>,
    #[module(skip)]
    pub(crate) config: VitConfig,
}

impl Vit {
    /// A network with fresh weights. In [BEiT's form](VitConfig::beit) all of them come from a normal of standard deviation 0.02 that
    /// is cut off at one standard deviation, kernels of convolutions too, and those of the last layers of block `l`'s branches,
    /// counted from one, are divided by `sqrt(2 l)`.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &VitConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        if config.beit { init.cut_at_one(|init| Self::build(config, init)) } else { Self::build(config, init) }
    }

    fn build(config: &VitConfig, init: &mut Init) -> Result<Self, ZooError> {
        let (width, classes) = (config.width, config.classes);
        let [height, columns] = config.grid();
        let positions = config.embedded_prefix() + height * columns;
        let tokens = |init: &mut Init, count: usize| init.truncated_normal([1, count, width], 0.02);
        let norm = |init: &mut Init| LayerNorm::new(init, width, config.norm_eps);
        let head = |init: &mut Init| Linear::new(init, config.feature_width(), classes, config.head_bias);
        let model = Self {
            cls_token: config.class_token.then(|| tokens(init, 1)),
            dist_token: config.distilled.then(|| tokens(init, 1)),
            reg_token: (config.registers > 0).then(|| tokens(init, config.registers)),
            pos_embed: config.absolute_positions.then(|| tokens(init, positions)),
            patch_embed: PatchEmbed::new(config, init),
            norm_pre: config.pre_norm.then(|| norm(init)),
            rel_pos_bias: (config.relative_positions == RelativePositions::Shared)
                .then(|| RelativeBias::new(config.grid(), config.heads, init)),
            blocks: (0..config.depth).map(|index| Block::new(config, index, init)).collect(),
            norm: (!config.fc_norm).then(|| norm(init)),
            fc_norm: config.fc_norm.then(|| norm(init)),
            proj: (config.projection > 0).then(|| Linear::new(init, width, config.projection, true)),
            head: (classes > 0).then(|| head(init)),
            head_dist: (classes > 0 && config.distilled).then(|| head(init)),
            prompt_embeddings: None,
            deep_prompt_embeddings: None,
            prompt_proj: None,
            readout: (config.texts > 0).then(|| Readout::new(config.texts, classes, init)),
            config: config.clone(),
        };
        // Drawn last, so that a network has the same other weights with and without them.
        match config.prompts {
            Some(prompts) => model.with_prompts(prompts, init),
            None => Ok(model),
        }
    }

    /// Side of the square input in pixels.
    pub fn image_size(&self) -> usize {
        self.config.image_size
    }

    /// Images to tokens: class, distillation and register tokens first, positions added, normalised if the network is one
    /// with a norm there; prompts, which have no positions, between them and the patches.
    ///
    /// # Shapes
    /// - images: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, tokens, width]`
    pub fn embed(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<3> {
        let patches = self.patch_embed.forward(images);
        pass.saw(|| "patch_embed".into(), || Features::Tokens(patches.clone()));
        let prefix = [&self.cls_token, &self.dist_token, &self.reg_token].into_iter().flatten();
        let mut x = match self.pos_embed.as_ref().map(Param::val) {
            Some(positions) if self.config.no_embed_class => embed::with_prefix(patches + positions, prefix),
            Some(positions) => embed::with_prefix(patches, prefix) + positions,
            None => embed::with_prefix(patches, prefix),
        };
        if let Some(norm) = &self.norm_pre {
            x = norm.forward(x);
        }
        pass.saw(|| "norm_pre".into(), || Features::Tokens(x.clone()));
        match self.prompts(0) {
            Some(prompts) => prompts.before_block(x, pass),
            None => x,
        }
    }

    /// The network with a classifier for `classes` classes whose weights are those that `fresh` makes from
    /// `[classes, width]`. A last layer that projects stays, with a bias of zeros if it has none, and the classifier stands
    /// behind it, where texts stood before.
    pub(crate) fn with_heads(mut self, classes: usize, mut fresh: impl FnMut([usize; 2]) -> Linear) -> Self {
        self.readout = None;
        if self.config.projects {
            let no_bias = fresh([self.config.classes, 1]).bias;
            self.proj = self.head.take().map(|head| Linear { bias: head.bias.or(no_bias), ..head });
        }
        self.config = self.config.with_classifier(classes);
        let shape = [classes, self.config.feature_width()];
        self.head = Some(fresh(shape));
        self.head_dist = self.config.distilled.then(|| fresh(shape));
        self
    }
}
