//! Vision Transformer, pre-norm. Source: Dosovitskiy et al. 2021, arXiv:2010.11929.
//! The convolutional stem follows Xiao et al. 2021, "Early convolutions help transformers see better", arXiv:2106.14881.
//! Fields carry timm's names (`patch_embed`, `blocks.0.attn.qkv`, ...), so weights load by key alone.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::layers::{Conv2d, Init, LayerNorm, Linear};
use crate::{Features, Pass, ZooError};

/// What the classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The class token.
    Cls,
    /// The mean over the patch tokens.
    Mean,
}

/// One convolution of a convolutional stem; ReLU follows all but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StemConv {
    /// Output channels.
    pub channels: usize,
    /// Side of the kernel in pixels; padding is half of it.
    pub kernel: usize,
    /// Stride in pixels.
    pub stride: usize,
}

/// A Vision Transformer's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Number of classes.
    pub classes: usize,
}

fn default_mlp_ratio() -> f64 {
    4.0
}

fn default_pool() -> Pool {
    Pool::Cls
}

impl VitConfig {
    /// A network as in the paper: one projection of patches, a class token, 1000 classes.
    pub fn plain(image_size: usize, patch_size: usize, width: usize, depth: usize, heads: usize) -> Self {
        let (mlp_ratio, pool) = (default_mlp_ratio(), default_pool());
        Self { image_size, patch_size, stem: Vec::new(), width, depth, heads, mlp_ratio, pool, classes: 1000 }
    }

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, fault: String| {
            if !ok {
                faults.push(fault);
            }
        };
        let numbers = [self.image_size, self.patch_size, self.width, self.depth, self.heads, self.classes];
        check(!numbers.contains(&0), "image_size, patch_size, width, depth, heads and classes are at least 1".into());
        check(self.width.is_multiple_of(self.heads.max(1)), {
            format!("width {} is not a multiple of heads {}", self.width, self.heads)
        });
        let patch = self.patch_size.max(1);
        check(self.image_size.is_multiple_of(patch), {
            format!("image_size {} is not a multiple of patch_size {patch}", self.image_size)
        });
        check(
            self.mlp_ratio > 0.0 && self.mlp_ratio.is_finite(),
            format!("mlp_ratio {} is not positive", self.mlp_ratio),
        );
        if let Some(last) = self.stem.last() {
            let stride: usize = self.stem.iter().map(|conv| conv.stride).product();
            check(stride == patch, format!("the stem's strides multiply to {stride}, patch_size is {patch}"));
            check(
                last.channels == self.width,
                format!("the stem ends in {} channels, width is {}", last.channels, self.width),
            );
            let sound = self.stem.iter().all(|conv| conv.kernel % 2 == 1 && conv.channels > 0 && conv.stride > 0);
            check(sound, "stem convolutions need odd kernels, channels and strides of at least 1".into());
        }
        faults
    }

    fn tokens(&self) -> usize {
        let side = self.image_size / self.patch_size;
        side * side + 1
    }
}

/// A Vision Transformer with a class token.
#[derive(Module, Debug)]
pub struct Vit {
    pub(crate) cls_token: Param<Tensor<3>>,
    pub(crate) pos_embed: Param<Tensor<3>>,
    pub(crate) patch_embed: PatchEmbed,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: LayerNorm,
    pub(crate) head: Linear,
    #[module(skip)]
    pub(crate) config: VitConfig,
}

impl Vit {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &VitConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        Ok(Self {
            cls_token: init.truncated_normal([1, 1, config.width], 0.02),
            pos_embed: init.truncated_normal([1, config.tokens(), config.width], 0.02),
            patch_embed: PatchEmbed::new(config, init),
            blocks: (0..config.depth).map(|index| Block::new(config, index, init)).collect(),
            norm: LayerNorm::new(init, config.width, 1e-6),
            head: Linear::new(init, config.width, config.classes, true),
            config: config.clone(),
        })
    }

    /// Images to tokens, with the class token first and positions added.
    ///
    /// # Shapes
    /// - images: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, tokens, width]`
    pub fn embed(&self, images: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embed.forward(images);
        let [batch, _, width] = patches.dims();
        let cls = self.cls_token.val().expand([batch, 1, width]);
        Tensor::cat(vec![cls, patches], 1) + self.pos_embed.val()
    }
}

/// Patches to tokens: one projection (`proj`, as timm) or a chain of convolutions (`convs`).
#[derive(Module, Debug)]
pub struct PatchEmbed {
    proj: Option<Conv2d>,
    convs: Vec<Conv2d>,
}

impl PatchEmbed {
    fn new(config: &VitConfig, init: &mut Init) -> Self {
        let mut inputs = 3;
        let mut convs = Vec::new();
        for conv in &config.stem {
            convs.push(Conv2d::new(init, [inputs, conv.channels], conv.kernel, conv.stride, conv.kernel / 2, true));
            inputs = conv.channels;
        }
        let patch = config.patch_size;
        let proj = convs.is_empty().then(|| Conv2d::new(init, [3, config.width], patch, patch, 0, true));
        Self { proj, convs }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let mut x = images;
        for (index, conv) in self.convs.iter().enumerate() {
            x = if index == 0 { conv.forward(x) } else { conv.forward(activation::relu(x)) };
        }
        if let Some(proj) = &self.proj {
            x = proj.forward(x);
        }
        x.flatten::<3>(2, 3).swap_dims(1, 2)
    }
}

/// Pre-norm encoder block, equations 2 and 3 of the paper.
#[derive(Module, Debug)]
pub struct Block {
    pub(crate) norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    index: usize,
}

impl Block {
    fn new(config: &VitConfig, index: usize, init: &mut Init) -> Self {
        let hidden = (config.width as f64 * config.mlp_ratio) as usize;
        Self {
            norm1: LayerNorm::new(init, config.width, 1e-6),
            attn: Attention::new(config, init),
            norm2: LayerNorm::new(init, config.width, 1e-6),
            mlp: Mlp {
                fc1: Linear::new(init, config.width, hidden, true),
                fc2: Linear::new(init, hidden, config.width, true),
            },
            index,
        }
    }

    /// # Shapes
    /// - tokens: `[rows, tokens, width]`
    /// - output: that of `tokens`
    pub fn forward(&self, tokens: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let site = format!("blocks.{}", self.index);
        let x = tokens.clone() + self.attn.forward(self.norm1.forward(tokens), pass, &site);
        let x = x.clone() + self.mlp.forward(self.norm2.forward(x), pass, &site);
        pass.saw(|| site, || Features::Tokens(x.clone()));
        x
    }

    /// The class token's row of [`Block::forward`], `passes` times with other masks, at little more than the cost of one row.
    ///
    /// Keys and values depend on no mask, and with a single query their projections can be folded into it: the scores are
    /// `(W_k' q) . x` and the attended value is `W_v (sum a_n x_n)`, so no token but the class token is ever projected.
    /// The weight of `norm1` folds in the same way; its bias and that of the keys shift all scores alike and drop out.
    ///
    /// # Shapes
    /// - input: the tokens `[batch, tokens, width]`, normalised without affine, and the class token `[batch, width]`
    /// - output: `[batch * passes, width]`, the passes of an image next to each other
    pub fn forward_cls(&self, input: &ClsInput, passes: usize, pass: &Pass<'_>) -> Tensor<2> {
        let site = format!("blocks.{}", self.index);
        let attended = self.attn.forward_cls(input, &self.norm1, passes, pass, &site);
        let [batch, width] = input.cls.dims();
        let cls =
            input.cls.clone().unsqueeze_dim::<3>(1).expand([batch, passes, width]).reshape([batch * passes, width]);
        let x = cls + attended;
        x.clone() + self.mlp.forward(self.norm2.forward(x), pass, &site)
    }
}

/// What [`Block::forward_cls`] reads; heads on the same tokens share it.
pub struct ClsInput {
    normalised: Tensor<3>,
    cls: Tensor<2>,
}

impl ClsInput {
    /// # Shapes
    /// - tokens: `[batch, tokens, width]`
    pub fn new(tokens: Tensor<3>, norm1: &LayerNorm) -> Self {
        let [batch, _, width] = tokens.dims();
        let cls = tokens.clone().narrow(1, 0, 1).reshape([batch, width]);
        Self { normalised: norm1.normalise(tokens), cls }
    }
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn new(config: &VitConfig, init: &mut Init) -> Self {
        Self {
            qkv: Linear::new(init, config.width, 3 * config.width, true),
            proj: Linear::new(init, config.width, config.width, true),
            heads: config.heads,
        }
    }

    fn forward(&self, x: Tensor<3>, pass: &Pass<'_>, site: &str) -> Tensor<3> {
        let [rows, tokens, width] = x.dims();
        let size = width / self.heads;
        let qkv = self.qkv.forward(x).reshape([rows, tokens, 3, self.heads, size]).permute([2, 0, 3, 1, 4]);
        let part = |index| qkv.clone().narrow(0, index, 1).reshape([rows, self.heads, tokens, size]);
        let (q, k, v) = (part(0), part(1), part(2));
        let scores = (q * (size as f64).powf(-0.5)).matmul(k.transpose());
        let weights = pass.dropout(activation::softmax(scores, 3), &format!("{site}.attn.attn_drop"));
        let mixed = weights.matmul(v).swap_dims(1, 2).reshape([rows, tokens, width]);
        pass.dropout(self.proj.forward(mixed), &format!("{site}.attn.proj_drop"))
    }

    fn forward_cls(&self, input: &ClsInput, norm: &LayerNorm, passes: usize, pass: &Pass<'_>, site: &str) -> Tensor<2> {
        let [batch, tokens, width] = input.normalised.dims();
        let (heads, size, rows) = (self.heads, width / self.heads, batch * passes);
        let (gain, shift) = (norm.weight.val(), norm.bias.val());
        let weight = self.qkv.weight.val();
        let part = |index| weight.clone().narrow(0, index * width, width);
        let bias = |index| self.qkv.bias.as_ref().map(|bias| bias.val().narrow(0, index * width, width));

        let first = input.normalised.clone().narrow(1, 0, 1).reshape([batch, width]);
        let first = first * gain.clone().unsqueeze::<2>() + shift.clone().unsqueeze::<2>();
        let mut q = first.matmul(part(0).transpose());
        if let Some(bias) = bias(0) {
            q = q + bias.unsqueeze::<2>();
        }
        // [heads, batch, size] x [heads, size, width]
        let q = (q * (size as f64).powf(-0.5)).reshape([batch, heads, size]).swap_dims(0, 1);
        let probe = q.matmul(part(1).reshape([heads, size, width])).swap_dims(0, 1) * gain.clone().unsqueeze::<3>();
        let scores = probe.matmul(input.normalised.clone().transpose());
        let weights = activation::softmax(scores, 2);
        let weights =
            weights.unsqueeze_dim::<4>(1).expand([batch, passes, heads, tokens]).reshape([rows, heads, tokens]);
        let weights = pass.dropout(weights, &format!("{site}.attn.attn_drop"));

        let total = weights.clone().sum_dim(2);
        let mixed = weights.reshape([batch, passes * heads, tokens]).matmul(input.normalised.clone());
        let mixed =
            mixed.reshape([rows, heads, width]) * gain.unsqueeze::<3>() + total.clone() * shift.unsqueeze::<3>();
        // [heads, rows, width] x [heads, width, size]
        let values = part(2).reshape([heads, size, width]).transpose();
        let mut mixed = mixed.swap_dims(0, 1).matmul(values).swap_dims(0, 1);
        if let Some(bias) = bias(2) {
            mixed = mixed + total * bias.reshape([1, heads, size]);
        }
        pass.dropout(self.proj.forward(mixed.reshape([rows, width])), &format!("{site}.attn.proj_drop"))
    }
}

/// Two-layer perceptron with the exact GELU.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn forward<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>, site: &str) -> Tensor<D> {
        let hidden = pass.dropout(activation::gelu(self.fc1.forward(x)), &format!("{site}.mlp.drop1"));
        pass.dropout(self.fc2.forward(hidden), &format!("{site}.mlp.drop2"))
    }
}

/// Consecutive units of a [`Vit`]: blocks, then perhaps the final norm and classifier.
#[derive(Module, Debug)]
pub struct VitSegment {
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Option<LayerNorm>,
    pub(crate) head: Option<Linear>,
    #[module(skip)]
    pub(crate) pool: Pool,
    /// Whether only the class token is read after the last block, so that the block may compute that row alone.
    cls_only: bool,
}

/// Tokens, or the one row a classifier reads.
#[derive(Clone, Debug)]
pub(crate) enum VitState {
    Tokens(Tensor<3>),
    Cls(Tensor<2>),
}

impl VitSegment {
    /// Clones units `from..to` of `model` (0 is the first block, `depth` the norm and classifier).
    pub(crate) fn new(model: &Vit, from: usize, to: usize) -> Self {
        let depth = model.blocks.len();
        let ends = from <= depth && to > depth;
        Self {
            blocks: model.blocks[from.min(depth)..to.min(depth)].to_vec(),
            norm: ends.then(|| model.norm.clone()),
            head: ends.then(|| model.head.clone()),
            pool: model.config.pool,
            cls_only: model.config.pool == Pool::Cls && to >= depth,
        }
    }

    /// # Shapes
    /// - state: tokens `[batch, tokens, width]` or class tokens `[batch, width]`
    /// - output: `batch * passes` rows; logits `[rows, classes]` as a class-token state when the segment ends in the classifier
    pub(crate) fn forward(&self, state: VitState, passes: usize, pass: &Pass<'_>) -> VitState {
        let mut tokens = match state {
            VitState::Cls(cls) => return self.classify(VitState::Cls(repeat(cls, passes)), pass),
            VitState::Tokens(tokens) => tokens,
        };
        let Some((last, rest)) = self.blocks.split_last() else {
            return self.classify(VitState::Tokens(repeat(tokens, passes)), pass);
        };
        let cls_only = self.cls_only && !pass.is_traced();
        if rest.is_empty() && cls_only {
            let input = ClsInput::new(tokens, &last.norm1);
            return self.classify(VitState::Cls(last.forward_cls(&input, passes, pass)), pass);
        }
        tokens = repeat(tokens, passes);
        for block in rest {
            tokens = block.forward(tokens, pass);
        }
        let state = if cls_only {
            VitState::Cls(last.forward_cls(&ClsInput::new(tokens, &last.norm1), 1, pass))
        } else {
            VitState::Tokens(last.forward(tokens, pass))
        };
        self.classify(state, pass)
    }

    fn classify(&self, state: VitState, pass: &Pass<'_>) -> VitState {
        let (Some(norm), Some(head)) = (&self.norm, &self.head) else { return state };
        let pooled = match (state, self.pool) {
            (VitState::Cls(cls), _) => norm.forward(cls),
            (VitState::Tokens(tokens), Pool::Cls) => {
                let [rows, _, width] = tokens.dims();
                norm.forward(tokens.narrow(1, 0, 1).reshape([rows, width]))
            }
            (VitState::Tokens(tokens), Pool::Mean) => {
                let [rows, count, width] = tokens.dims();
                let patches = norm.forward(tokens).narrow(1, 1, count - 1);
                patches.mean_dim(1).reshape([rows, width])
            }
        };
        VitState::Cls(head.forward(pass.dropout(pooled, "head_drop")))
    }
}

/// Every row `passes` times, the copies next to each other.
pub(crate) fn repeat<const D: usize>(x: Tensor<D>, passes: usize) -> Tensor<D> {
    if passes == 1 {
        return x;
    }
    let mut dims = x.dims();
    let elements: usize = dims[1..].iter().product();
    let rows = dims[0];
    dims[0] = rows * passes;
    x.reshape([rows, 1, elements]).expand([rows, passes, elements]).reshape(dims)
}
