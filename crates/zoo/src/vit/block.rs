use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use robustify_kernels::Extras;

use super::VitConfig;
use crate::layers::{Activation, Init, LayerNorm, Linear};
use crate::{Features, Pass};

/// Pre-norm encoder block, equations 2 and 3 of the paper.
#[derive(Module, Debug)]
pub struct Block {
    pub(crate) norm1: LayerNorm,
    attn: Attention,
    ls1: Option<LayerScale>,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: Option<LayerScale>,
    index: usize,
}

impl Block {
    pub(super) fn new(config: &VitConfig, index: usize, init: &mut Init) -> Self {
        let (width, hidden) = (config.width, config.hidden());
        let scale = |init: &mut Init| {
            let initial = config.layer_scale?;
            Some(LayerScale { gamma: init.constant([width], initial as f32) })
        };
        Self {
            norm1: LayerNorm::new(init, width, config.norm_eps),
            attn: Attention::new(config, init),
            ls1: scale(init),
            norm2: LayerNorm::new(init, width, config.norm_eps),
            mlp: Mlp::new(init, width, hidden, config.activation),
            ls2: scale(init),
            index,
        }
    }

    /// # Shapes
    /// - tokens: `[rows, tokens, width]`
    /// - output: that of `tokens`
    pub fn forward(&self, tokens: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let site = format!("blocks.{}", self.index);
        let attended = self.attn.forward(self.norm1.forward(tokens.clone()), pass, &site);
        let x = self.with_mlp(tokens + scaled(self.ls1.as_ref(), attended), pass, &site);
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
        self.with_mlp(cls + scaled(self.ls1.as_ref(), attended), pass, &site)
    }

    /// Adds the second residual branch.
    fn with_mlp<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>, site: &str) -> Tensor<D> {
        let y = self.mlp.forward(self.norm2.forward(x.clone()), pass, site);
        x + scaled(self.ls2.as_ref(), y)
    }
}

/// A learned scale for every channel of a residual branch. Source: Touvron et al. 2021, arXiv:2103.17239.
#[derive(Module, Debug)]
pub struct LayerScale {
    gamma: Param<Tensor<1>>,
}

fn scaled<const D: usize>(scale: Option<&LayerScale>, branch: Tensor<D>) -> Tensor<D> {
    match scale {
        Some(scale) => branch * scale.gamma.val().unsqueeze::<D>(),
        None => branch,
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
            qkv: Linear::new(init, config.width, 3 * config.width, config.qkv_bias),
            proj: Linear::new(init, config.width, config.width, true),
            heads: config.heads,
        }
    }

    fn forward(&self, x: Tensor<3>, pass: &Pass<'_>, site: &str) -> Tensor<3> {
        let [rows, tokens, width] = x.dims();
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let elements = self.heads * tokens * tokens;
        let mask = pass.mask(&format!("{site}.attn.attn_drop"), elements, &x.device().without_autodiff());
        let mask = mask.map(|mask| mask.reshape([rows, self.heads, tokens, tokens]));
        let extras = Extras { mask, ..Extras::default() };
        let mixed = robustify_kernels::self_attention(self.qkv.forward(x), self.heads, scale, extras);
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

/// Two-layer perceptron.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    pub(crate) fn new(init: &mut Init, width: usize, hidden: usize, activation: Activation) -> Self {
        Self { fc1: Linear::new(init, width, hidden, true), fc2: Linear::new(init, hidden, width, true), activation }
    }

    /// # Shapes
    /// - x: `[rows, .., width]`
    /// - output: that of `x`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>, site: &str) -> Tensor<D> {
        let hidden = pass.dropout(self.activation.forward(self.fc1.forward(x)), &format!("{site}.mlp.drop1"));
        pass.dropout(self.fc2.forward(hidden), &format!("{site}.mlp.drop2"))
    }
}
