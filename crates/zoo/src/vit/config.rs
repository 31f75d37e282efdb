use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PromptConfig, RelativePositions};
use crate::layers::{Activation, LAYER_NORM_MACS};

/// What the classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The class token; with `distilled` the distillation token too.
    Cls,
    /// The mean over the patch tokens.
    Mean,
}

/// One convolution of a convolutional stem; ReLU follows all but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StemConv {
    /// Output channels.
    pub channels: usize,
    /// Side of the kernel in pixels; padding is half of it.
    pub kernel: usize,
    /// Stride in pixels.
    pub stride: usize,
}

/// A Vision Transformer's shape. Settings that stand at their default are not written out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels (the product of the strides when there is a convolutional stem).
    pub patch_size: usize,
    /// Convolutions in place of the patch projection.
    #[serde(default)]
    pub stem: Vec<StemConv>,
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP over `width`.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// What the classifier reads.
    #[serde(default = "default_pool")]
    pub pool: Pool,
    /// Number of classes; 0 for no classifier, the outputs then being the pooled features (MAE, DINO, DINOv2).
    pub classes: usize,
    /// Whether a class token precedes the patches.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    #[schemars(!skip_serializing_if)]
    pub class_token: bool,
    /// Whether a distillation token follows the class token, with a classifier of its own whose logits are averaged with
    /// those of the other. Source: Touvron et al. 2021, arXiv:2012.12877.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub distilled: bool,
    /// Register tokens between the class token and the patches. Source: Darcet et al. 2024, arXiv:2309.16588.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub registers: usize,
    /// Whether only patches have positions, not the tokens before them (DeiT-III, DINOv2 with registers).
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub no_embed_class: bool,
    /// Whether tokens are normalised before the first block; the patch projection has no bias then (CLIP).
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub pre_norm: bool,
    /// Whether queries, keys and values have biases.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    #[schemars(!skip_serializing_if)]
    pub qkv_bias: bool,
    /// Initial value of the learned scale of every residual branch (LayerScale); none without it.
    /// Source: Touvron et al. 2021, arXiv:2103.17239.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub layer_scale: Option<f64>,
    /// The MLP's activation.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub activation: Activation,
    /// Epsilon of every LayerNorm.
    #[serde(default = "default_norm_eps", skip_serializing_if = "is_default_norm_eps")]
    #[schemars(!skip_serializing_if)]
    pub norm_eps: f64,
    /// Whether the last norm comes after the pool, as `fc_norm`, instead of before it, as `norm` (timm's networks with a
    /// mean pool).
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub fc_norm: bool,
    /// Whether the classifier has a bias (the projection of CLIP's image tower has none).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    #[schemars(!skip_serializing_if)]
    pub head_bias: bool,
    /// Whether the last layer is no classifier but CLIP's projection into the space of images and texts, which has `classes`
    /// dimensions then. A classifier that is added stands behind it.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub projects: bool,
    /// Number of texts that the projection is compared with, which are the classes then; 0 for the projection itself.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub texts: usize,
    /// Width of a projection between the pooled features and the classifier; 0 without one.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub projection: usize,
    /// Learned tokens between the class token and the patches (visual prompts).
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub prompts: Option<PromptConfig>,
    /// Whether tokens have learned absolute positions, added before the first block.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    #[schemars(!skip_serializing_if)]
    pub absolute_positions: bool,
    /// Biases of attention for the relative positions of two tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub relative_positions: RelativePositions,
    /// Whether blocks have the form of BEiT's, which Feature Distillation's students have: `qkv_bias` is one of queries and values
    /// alone, LayerScale is named `gamma_1` and `gamma_2`, and new weights are drawn as those papers draw them (see `Vit::new`).
    /// Sources: Bao et al. 2022, arXiv:2106.08254; Wei et al. 2022, arXiv:2205.14141.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub beit: bool,
}

fn default_mlp_ratio() -> f64 {
    4.0
}

fn default_pool() -> Pool {
    Pool::Cls
}

fn default_norm_eps() -> f64 {
    1e-6
}

fn is_default_norm_eps(eps: &f64) -> bool {
    *eps == default_norm_eps()
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl VitConfig {
    /// A network as in the paper: one projection of patches, a class token, 1000 classes.
    pub fn plain(image_size: usize, patch_size: usize, width: usize, depth: usize, heads: usize) -> Self {
        Self {
            image_size,
            patch_size,
            stem: Vec::new(),
            width,
            depth,
            heads,
            mlp_ratio: default_mlp_ratio(),
            pool: default_pool(),
            classes: 1000,
            class_token: true,
            distilled: false,
            registers: 0,
            no_embed_class: false,
            pre_norm: false,
            qkv_bias: true,
            layer_scale: None,
            activation: Activation::default(),
            norm_eps: default_norm_eps(),
            fc_norm: false,
            head_bias: true,
            projects: false,
            texts: 0,
            projection: 0,
            prompts: None,
            absolute_positions: true,
            relative_positions: RelativePositions::None,
            beit: false,
        }
    }

    /// A student of Feature Distillation: [`Self::plain`] without classifier and absolute positions, with one table of relative
    /// position biases for all blocks, BEiT's form of blocks, and LayerScale that begins at 0.1.
    /// Source: Wei et al. 2022, arXiv:2205.14141, and SwinTransformer/Feature-Distillation, `models/vision_transformer.py`.
    pub fn student(image_size: usize, patch_size: usize, width: usize, depth: usize, heads: usize) -> Self {
        Self {
            classes: 0,
            absolute_positions: false,
            relative_positions: RelativePositions::Shared,
            beit: true,
            layer_scale: Some(0.1),
            ..Self::plain(image_size, patch_size, width, depth, heads)
        }
    }

    /// The same network with a classifier for `classes` classes in place of the one that it has, or behind its projection.
    #[must_use]
    pub fn with_classifier(&self, classes: usize) -> Self {
        let projection = if self.projects { self.classes } else { self.projection };
        Self { classes, projection, projects: false, texts: 0, head_bias: true, ..self.clone() }
    }

    /// Width of what the classifier reads.
    pub fn feature_width(&self) -> usize {
        if self.projection > 0 { self.projection } else { self.width }
    }

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, fault: &str| {
            if !ok {
                faults.push(fault.to_owned());
            }
        };
        let (width, heads, patch) = (self.width, self.heads, self.patch_size);
        let numbers = [self.image_size, patch, width, self.depth, heads];
        check(!numbers.contains(&0), "image_size, patch_size, width, depth and heads are at least 1");
        let even = |whole: usize, part: usize| whole.is_multiple_of(part.max(1));
        check(even(width, heads), &format!("width {width} is not a multiple of heads {heads}"));
        check(
            even(self.image_size, patch),
            &format!("image_size {} is not a multiple of patch_size {patch}", self.image_size),
        );
        let positive = |value: f64| value > 0.0 && value.is_finite();
        check(positive(self.mlp_ratio), &format!("mlp_ratio {} is not positive", self.mlp_ratio));
        check(positive(self.norm_eps), &format!("norm_eps {} is not positive", self.norm_eps));
        check(self.layer_scale.is_none_or(f64::is_finite), "layer_scale is not a finite number");
        check(!self.projects || (self.classes > 0 && self.projection == 0), "projects needs classes and no projection");
        check(self.texts == 0 || self.projects, "texts are compared with a projection: they need projects = true");
        check(!self.distilled || (!self.projects && self.projection == 0), "distilled goes with no projection");
        check(self.class_token || self.pool == Pool::Mean, "pool = \"cls\" needs class_token = true");
        if self.distilled {
            check(self.class_token && self.pool == Pool::Cls, "distilled needs class_token = true and pool = \"cls\"");
            check(self.registers == 0 && !self.fc_norm, "distilled goes with neither registers nor fc_norm");
        }
        check(self.prompts.is_none_or(|prompts| prompts.tokens > 0), "prompts.tokens is 0");
        check(
            self.relative_positions == RelativePositions::None || (self.prefix() == 1 && self.prompts.is_none()),
            "relative_positions are those of a class token and patches: they go with class_token = true and without distilled, \
             registers and prompts",
        );
        check(self.absolute_positions || !self.no_embed_class, "no_embed_class needs absolute_positions = true");
        self.check_stem(&mut check);
        faults
    }

    fn check_stem(&self, check: &mut impl FnMut(bool, &str)) {
        let Some(last) = self.stem.last() else { return };
        let patch = self.patch_size;
        let stride: usize = self.stem.iter().fold(1, |stride, conv| stride.saturating_mul(conv.stride));
        check(stride == patch, &format!("the stem's strides multiply to {stride}, patch_size is {patch}"));
        let channels = last.channels;
        check(channels == self.width, &format!("the stem ends in {channels} channels, width is {}", self.width));
        let sound = self.stem.iter().all(|conv| conv.kernel % 2 == 1 && conv.channels > 0 && conv.stride > 0);
        check(sound, "stem convolutions need odd kernels, channels and strides of at least 1");
    }

    /// Patches along each side.
    pub fn grid(&self) -> [usize; 2] {
        [self.image_size / self.patch_size; 2]
    }

    /// Tokens before the patches: class, distillation and register tokens.
    pub fn prefix(&self) -> usize {
        usize::from(self.class_token) + usize::from(self.distilled) + self.registers
    }

    /// Prefix tokens that have a position, which is how many rows of `pos_embed` come before those of the patches.
    pub fn embedded_prefix(&self) -> usize {
        if self.no_embed_class { 0 } else { self.prefix() }
    }

    pub(super) fn hidden(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    /// Multiply-accumulates of a forward of one image, as fvcore 0.1.5 counts them: convolutions, linear maps, both products
    /// of every attention, and five for an element that LayerNorm puts out. Other elementwise work counts nothing.
    pub fn macs(&self) -> u64 {
        self.unit_macs().iter().sum()
    }

    /// The same by units: embedding, every block, and all that follows.
    pub(crate) fn unit_macs(&self) -> Vec<u64> {
        let (tokens, channels) = (self.tokens(), self.width);
        let linear = tokens * channels * (4 * channels + 2 * self.hidden());
        let attention = 2 * tokens * tokens * channels;
        let norm = LAYER_NORM_MACS * tokens * channels;
        let heads = 1 + usize::from(self.distilled);
        let last = if self.fc_norm { norm / tokens } else { norm };
        let end =
            last + channels * self.projection + self.classes * self.texts + heads * self.feature_width() * self.classes;
        let begin = self.embedding_macs() + self.prompt_macs() + norm * usize::from(self.pre_norm);
        let mut units = vec![begin as u64];
        units.extend(vec![(linear + attention + 2 * norm) as u64; self.depth]);
        units.push(end as u64);
        units
    }

    /// What [`Block::forward_cls`](super::Block::forward_cls) computes for the class token's row with `passes` masks. Every row of
    /// tokens is normalised and weighed, but only the class token is projected.
    pub(crate) fn cls_block_macs(&self, passes: usize) -> u64 {
        let (tokens, channels) = (self.tokens(), self.width);
        let once = LAYER_NORM_MACS * tokens * channels + channels * (2 * channels + self.heads * tokens);
        let mlp = 2 * channels * self.hidden() + LAYER_NORM_MACS * channels;
        let each = channels * (self.heads * tokens + 2 * channels) + mlp;
        (once + passes * each) as u64
    }

    /// Whether the classifier reads the class token alone, so that the last block computes no other row.
    pub(crate) fn reads_cls_alone(&self) -> bool {
        self.pool == Pool::Cls && !self.distilled
    }

    /// Tokens of an image.
    fn tokens(&self) -> usize {
        let [height, width] = self.grid();
        height * width + self.prefix() + self.prompt_tokens()
    }

    /// Scalars in matrices, kernels and positions.
    pub(crate) fn weights(&self) -> f64 {
        let [height, columns] = self.grid();
        let positions = if self.absolute_positions { height * columns } else { 0 };
        let tokens = (positions + self.embedded_prefix()) as f64;
        let (width, hidden) = (self.width as f64, self.hidden() as f64);
        let of_stem = self.stem.iter().scan(3, |inputs, conv| {
            let weights = (*inputs * conv.channels) as f64 * (conv.kernel * conv.kernel) as f64;
            *inputs = conv.channels;
            Some(weights)
        });
        let patch = (3 * self.patch_size * self.patch_size) as f64 * width;
        let embedding = if self.stem.is_empty() { patch } else { of_stem.sum() };
        let blocks = self.depth as f64 * width * (4.0 * width + 2.0 * hidden);
        let heads = (1 + usize::from(self.distilled)) as f64;
        let ends = width * self.projection as f64 + heads * self.feature_width() as f64 * self.classes as f64;
        embedding + tokens * width + blocks + ends + self.prompt_parameters() as f64
    }

    fn embedding_macs(&self) -> usize {
        if self.stem.is_empty() {
            // Patches do not overlap, so every pixel meets every channel once.
            return 3 * self.image_size * self.image_size * self.width;
        }
        let (mut side, mut inputs, mut sum) = (self.image_size, 3, 0);
        for conv in &self.stem {
            side = side.div_ceil(conv.stride);
            sum += side * side * inputs * conv.channels * conv.kernel * conv.kernel;
            inputs = conv.channels;
        }
        sum
    }
}
