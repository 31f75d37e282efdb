use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use robustify_kernels::Extras;

use super::relative::{PositionIndex, bias_table};
use super::{RelativePositions, VitConfig};
use crate::layers::{Activation, Init, LayerNorm, Linear, STD};
use crate::{Features, Pass};

/// Pre-norm encoder block, equations 2 and 3 of the paper.
#[derive(Module, Debug)]
pub struct Block {
    pub(crate) norm1: LayerNorm,
    attn: Attention,
    ls1: Option<LayerScale>,
    /// The scales of both branches under BEiT's names, `[width]`.
    gamma_1: Option<Param<Tensor<1>>>,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: Option<LayerScale>,
    gamma_2: Option<Param<Tensor<1>>>,
    index: usize,
}

impl Block {
    pub(super) fn new(config: &VitConfig, index: usize, init: &mut Init) -> Self {
        let (width, hidden) = (config.width, config.hidden());
        let gamma = |init: &mut Init| config.layer_scale.map(|initial| init.constant([width], initial as f32));
        let scale = |init: &mut Init| gamma(init).filter(|_| !config.beit).map(|gamma| LayerScale { gamma });
        let beit = |init: &mut Init| gamma(init).filter(|_| config.beit);
        // Weights of the layers that end a branch, which BEiT makes smaller the deeper they are.
        let last = if config.beit { STD / (2.0 * (index + 1) as f64).sqrt() } else { STD };
        Self {
            norm1: LayerNorm::new(init, width, config.norm_eps),
            attn: Attention::new(config, last, init),
            ls1: scale(init),
            gamma_1: beit(init),
            norm2: LayerNorm::new(init, width, config.norm_eps),
            mlp: Mlp::with_last(init, width, hidden, config.activation, last),
            ls2: scale(init),
            gamma_2: beit(init),
            index,
        }
    }

    /// # Shapes
    /// - tokens: `[rows, tokens, width]`
    /// - bias: added to the scores where all blocks share it, see [`RelativeBias`](super::RelativeBias)
    /// - output: that of `tokens`
    pub fn forward(&self, tokens: Tensor<3>, bias: Option<Tensor<4>>, pass: &Pass<'_>) -> Tensor<3> {
        let site = format!("blocks.{}", self.index);
        let attended = self.attn.forward(self.norm1.forward(tokens.clone()), bias, pass, &site);
        let x = self.with_mlp(self.with_attended(tokens, attended, pass, &site), pass, &site);
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
    /// - bias: as that of [`Block::forward`]
    /// - output: `[batch * passes, width]`, the passes of an image next to each other
    pub fn forward_cls(&self, input: &ClsInput, bias: Option<Tensor<4>>, passes: usize, pass: &Pass<'_>) -> Tensor<2> {
        let site = format!("blocks.{}", self.index);
        let drawn = Drawn { passes, pass, site: &site };
        let attended = self.attn.forward_cls(input, bias, &self.norm1, drawn);
        let [batch, width] = input.cls.dims();
        let cls =
            input.cls.clone().unsqueeze_dim::<3>(1).expand([batch, passes, width]).reshape([batch * passes, width]);
        self.with_mlp(self.with_attended(cls, attended, pass, &site), pass, &site)
    }

    /// Adds the first residual branch.
    fn with_attended<const D: usize>(&self, x: Tensor<D>, y: Tensor<D>, pass: &Pass<'_>, site: &str) -> Tensor<D> {
        let y = scaled(self.ls1.as_ref().map(|scale| &scale.gamma).or(self.gamma_1.as_ref()), y);
        x + pass.branch(y, &format!("{site}.drop_path1"))
    }

    /// Adds the second residual branch.
    fn with_mlp<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>, site: &str) -> Tensor<D> {
        let y = self.mlp.forward(self.norm2.forward(x.clone()), pass, site);
        let y = scaled(self.ls2.as_ref().map(|scale| &scale.gamma).or(self.gamma_2.as_ref()), y);
        x + pass.branch(y, &format!("{site}.drop_path2"))
    }
}

/// What is drawn for a block: how often, by whom, and under which name.
struct Drawn<'a> {
    passes: usize,
    pass: &'a Pass<'a>,
    site: &'a str,
}

/// A learned scale for every channel of a residual branch. Source: Touvron et al. 2021, arXiv:2103.17239.
#[derive(Module, Debug)]
pub struct LayerScale {
    gamma: Param<Tensor<1>>,
}

fn scaled<const D: usize>(gamma: Option<&Param<Tensor<1>>>, branch: Tensor<D>) -> Tensor<D> {
    match gamma {
        Some(gamma) => branch * gamma.val().unsqueeze::<D>(),
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
    /// In BEiT's form queries and values have a bias each, and keys none; `[width]`.
    q_bias: Option<Param<Tensor<1>>>,
    v_bias: Option<Param<Tensor<1>>>,
    /// The block's own biases of relative positions, `[positions, heads]`.
    relative_position_bias_table: Option<Param<Tensor<2>>>,
    position_index: Option<PositionIndex>,
    proj: Linear,
    heads: usize,
}

impl Attention {
    /// `last` is the standard deviation of the last layer's weights.
    fn new(config: &VitConfig, last: f64, init: &mut Init) -> Self {
        let width = config.width;
        let (joint, apart) = (config.qkv_bias && !config.beit, config.qkv_bias && config.beit);
        let bias = |init: &mut Init| apart.then(|| init.constant([width], 0.0));
        let own = config.relative_positions == RelativePositions::Layers;
        Self {
            qkv: Linear::new(init, width, 3 * width, joint),
            q_bias: bias(init),
            v_bias: bias(init),
            relative_position_bias_table: own.then(|| bias_table(config.grid(), config.heads, init)),
            position_index: own.then(|| PositionIndex::new(config.grid(), init.device())),
            proj: Linear::with_std(init, width, width, true, last),
            heads: config.heads,
        }
    }

    /// The bias of the projections, wherever it is kept.
    fn qkv_bias(&self) -> Option<Tensor<1>> {
        match (&self.q_bias, &self.v_bias) {
            (Some(q), Some(v)) => {
                let (q, v) = (q.val(), v.val());
                Some(Tensor::cat(vec![q.clone(), q.zeros_like(), v], 0))
            }
            _ => self.qkv.bias.as_ref().map(Param::val),
        }
    }

    /// What is added to the scores: that of all blocks, or the block's own.
    fn bias(&self, shared: Option<Tensor<4>>) -> Option<Tensor<4>> {
        match (&self.relative_position_bias_table, &self.position_index) {
            (Some(table), Some(index)) => Some(index.bias(table.val())),
            _ => shared,
        }
    }

    fn forward(&self, x: Tensor<3>, bias: Option<Tensor<4>>, pass: &Pass<'_>, site: &str) -> Tensor<3> {
        let [rows, tokens, width] = x.dims();
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let elements = self.heads * tokens * tokens;
        let mask = pass.mask(&format!("{site}.attn.attn_drop"), elements, &x.device().without_autodiff());
        let mask = mask.map(|mask| mask.reshape([rows, self.heads, tokens, tokens]));
        let extras = Extras { bias: self.bias(bias), mask };
        let qkv = robustify_kernels::linear(x, self.qkv.weight.val(), self.qkv_bias());
        pass.attends(site, || {
            robustify_kernels::attention_weights(qkv.clone(), self.heads, scale, extras.bias.clone())
        });
        let mixed = robustify_kernels::self_attention(qkv, self.heads, scale, extras);
        pass.dropout(self.proj.forward(mixed), &format!("{site}.attn.proj_drop"))
    }

    fn forward_cls(
        &self,
        input: &ClsInput,
        shared: Option<Tensor<4>>,
        norm: &LayerNorm,
        drawn: Drawn<'_>,
    ) -> Tensor<2> {
        let Drawn { passes, pass, site } = drawn;
        let [batch, tokens, width] = input.normalised.dims();
        let (heads, size, rows) = (self.heads, width / self.heads, batch * passes);
        let (gain, shift) = (norm.weight.val(), norm.bias.val());
        let weight = self.qkv.weight.val();
        let part = |index| weight.clone().narrow(0, index * width, width);
        let qkv_bias = self.qkv_bias();
        let bias = |index| qkv_bias.as_ref().map(|bias| bias.clone().narrow(0, index * width, width));

        let first = input.normalised.clone().narrow(1, 0, 1).reshape([batch, width]);
        let first = first * gain.clone().unsqueeze::<2>() + shift.clone().unsqueeze::<2>();
        let mut q = first.matmul(part(0).transpose());
        if let Some(bias) = bias(0) {
            q = q + bias.unsqueeze::<2>();
        }
        // [heads, batch, size] x [heads, size, width]
        let q = (q * (size as f64).powf(-0.5)).reshape([batch, heads, size]).swap_dims(0, 1);
        let probe = q.matmul(part(1).reshape([heads, size, width])).swap_dims(0, 1) * gain.clone().unsqueeze::<3>();
        let mut scores = probe.matmul(input.normalised.clone().transpose());
        if let Some(added) = self.bias(shared) {
            scores = scores + added.narrow(2, 0, 1).reshape([1, heads, tokens]);
        }
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
        Self::with_last(init, width, hidden, activation, STD)
    }

    /// `last` is the standard deviation of the second layer's weights.
    fn with_last(init: &mut Init, width: usize, hidden: usize, activation: Activation, last: f64) -> Self {
        let fc1 = Linear::new(init, width, hidden, true);
        Self { fc1, fc2: Linear::with_std(init, hidden, width, true, last), activation }
    }

    /// # Shapes
    /// - x: `[rows, .., width]`
    /// - output: that of `x`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>, site: &str) -> Tensor<D> {
        let hidden = pass.dropout(self.activation.forward(self.fc1.forward(x)), &format!("{site}.mlp.drop1"));
        pass.dropout(self.fc2.forward(hidden), &format!("{site}.mlp.drop2"))
    }
}
