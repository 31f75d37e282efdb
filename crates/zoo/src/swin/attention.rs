//! Attention within windows: scores with a bias for every relative position.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use robustify_kernels::Extras;

use crate::Pass;
use crate::layers::{Init, Linear};
use crate::swin::config::{LayerShape, POSITION_HIDDEN};
use crate::swin::windows::Windows;
use crate::swin::{SwinConfig, Version};
use crate::vit::repeat;

/// Multi-head self-attention within windows, of either version.
#[allow(clippy::large_enum_variant, reason = "all blocks of a network are of one version")]
#[derive(Module, Debug)]
pub enum WindowAttention {
    /// Scaled dot products, biases from a table.
    V1(TableAttention),
    /// Cosines, biases from a network.
    V2(CosineAttention),
}

impl WindowAttention {
    pub(super) fn new(config: &SwinConfig, shape: &LayerShape, layout: Layout, init: &mut Init) -> Self {
        match config.version {
            Version::V1 => Self::V1(TableAttention::new(shape, layout, init)),
            Version::V2 => Self::V2(CosineAttention::new(config, shape, layout, init)),
        }
    }

    /// What is added to the scores of a window that is not shifted, `[heads, area, area]`.
    pub(super) fn position_bias(&self, shared: Option<Tensor<2>>) -> Option<Tensor<3>> {
        match self {
            Self::V1(attention) => Some(attention.layout.position_bias(attention.relative_position_bias_table.val())),
            Self::V2(attention) => Some(attention.layout.position_bias(attention.table(shared)?)),
        }
    }

    /// Attention under `passes` different masks; what comes before the first of them is computed once.
    ///
    /// # Shapes
    /// - maps: `[batch, grid, grid, width]`
    /// - table: position biases that blocks share, `[positions, heads]`
    /// - output: `[batch * passes, grid, grid, width]`, the passes of a map next to each other
    pub fn forward(
        &self,
        maps: Tensor<4>,
        table: Option<Tensor<2>>,
        passes: usize,
        pass: &Pass<'_>,
        site: &str,
    ) -> Tensor<4> {
        if let (Self::V1(attention), 1) = (self, passes) {
            let mixed = attention.forward(maps, pass, site);
            return pass.dropout(mixed, &format!("{site}.attn.proj_drop"));
        }
        let (layout, proj) = match self {
            Self::V1(TableAttention { layout, proj, .. }) | Self::V2(CosineAttention { layout, proj, .. }) => {
                (layout, proj)
            }
        };
        let (weights, values) = match self {
            Self::V1(attention) => attention.weights(maps),
            Self::V2(attention) => attention.weights(maps, table),
        };
        pass.attends(site, || {
            let [batch, rows, area, _] = weights.dims();
            weights.clone().reshape([batch * rows / layout.heads, layout.heads, area, area])
        });
        let weights = pass.dropout(repeat(weights, passes), &format!("{site}.attn.attn_drop"));
        let mixed = layout.join(weights.matmul(repeat(values, passes)), proj);
        pass.dropout(mixed, &format!("{site}.attn.proj_drop"))
    }
}

/// Scaled dot-product attention with a learned table of biases, equation 4 of the first paper.
#[derive(Module, Debug)]
pub struct TableAttention {
    /// `[positions, heads]`.
    relative_position_bias_table: Param<Tensor<2>>,
    qkv: Linear,
    proj: Linear,
    layout: Layout,
}

impl TableAttention {
    fn new(shape: &LayerShape, layout: Layout, init: &mut Init) -> Self {
        let (width, heads) = (shape.width, shape.heads);
        Self {
            relative_position_bias_table: init.truncated_normal([layout.windows.positions(), heads], 0.02),
            qkv: Linear::new(init, width, 3 * width, true),
            proj: Linear::new(init, width, width, true),
            layout,
        }
    }

    /// Attention in one op, for a single pass.
    fn forward(&self, maps: Tensor<4>, pass: &Pass<'_>, site: &str) -> Tensor<4> {
        let Layout { windows, heads, .. } = &self.layout;
        let [batch, _, _, width] = maps.dims();
        let (area, count) = (windows.area(), windows.count());
        let elements = count * heads * area * area;
        let mask = pass.mask(&format!("{site}.attn.attn_drop"), elements, &maps.device().without_autodiff());
        let mask = mask.map(|mask| mask.reshape([batch * count, *heads, area, area]));
        let bias = self.layout.bias(self.relative_position_bias_table.val());
        let scale = ((width / heads) as f64).powf(-0.5);
        let qkv = self.qkv.forward(windows.split(maps));
        pass.attends(site, || robustify_kernels::attention_weights(qkv.clone(), *heads, scale, Some(bias.clone())));
        let mixed = robustify_kernels::self_attention(qkv, *heads, scale, Extras { bias: Some(bias), mask });
        windows.join(self.proj.forward(mixed))
    }

    /// Attention weights and values, see [`Layout::weights`] and [`Layout::split`].
    fn weights(&self, maps: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [q, k, v] = self.layout.split(maps, |tokens| self.qkv.forward(tokens));
        let size = q.dims()[3];
        let scores = (q * (size as f64).powf(-0.5)).matmul(k.transpose());
        (self.layout.weights(scores, self.relative_position_bias_table.val()), v)
    }
}

/// Cosine attention with a continuous position bias, sections 3.2 and 3.3 of the second paper.
#[derive(Module, Debug)]
pub struct CosineAttention {
    /// Logarithm of the factor of the cosines, `[heads, 1, 1]`.
    logit_scale: Param<Tensor<3>>,
    /// Absent where the blocks of a layer share one.
    cpb_mlp: Option<(Linear, Relu, Linear)>,
    /// Has no bias of its own: keys have none, queries and values the two that follow.
    qkv: Linear,
    /// `[width]`.
    q_bias: Param<Tensor<1>>,
    /// `[width]`.
    v_bias: Param<Tensor<1>>,
    proj: Linear,
    layout: Layout,
    /// What the network of positions reads, `[positions, 2]`.
    log_positions: Tensor<2>,
}

impl CosineAttention {
    /// The largest factor of a cosine.
    const MAX_SCALE: f64 = 100.0;
    /// Least square of a length that a vector is divided by.
    const LEAST_SQUARE: f64 = 1e-24;

    fn new(config: &SwinConfig, shape: &LayerShape, layout: Layout, init: &mut Init) -> Self {
        let (width, heads) = (shape.width, shape.heads);
        Self {
            logit_scale: init.constant([heads, 1, 1], 10.0_f32.ln()),
            cpb_mlp: (!config.shared_positions).then(|| position_network(heads, init)),
            log_positions: log_positions(config, shape, init.device()),
            qkv: Linear::new(init, width, 3 * width, false),
            q_bias: init.constant([width], 0.0),
            v_bias: init.constant([width], 0.0),
            proj: Linear::new(init, width, width, true),
            layout,
        }
    }

    /// Attention weights and values, see [`Layout::weights`] and [`Layout::split`].
    fn weights(&self, maps: Tensor<4>, shared: Option<Tensor<2>>) -> (Tensor<4>, Tensor<4>) {
        let (q_bias, v_bias) = (self.q_bias.val(), self.v_bias.val());
        let bias = Tensor::cat(vec![q_bias.clone(), q_bias.zeros_like(), v_bias], 0);
        let [q, k, v] = self.layout.split(maps, |tokens| self.qkv.forward(tokens) + bias.unsqueeze());
        let (count, heads) = (self.layout.windows.count(), self.layout.heads);
        let scale = self.logit_scale.val().clamp_max(Self::MAX_SCALE.ln()).exp();
        let scale = scale.unsqueeze::<4>().expand([count, heads, 1, 1]).reshape([1, count * heads, 1, 1]);
        // The factor goes to the queries, which are fewer than the scores.
        let scores = (Self::unit(q) * scale).matmul(Self::unit(k).transpose());
        let table = self.table(shared).expect("a block without a network of its own is given the layer's biases");
        (self.layout.weights(scores, table), v)
    }

    /// The biases as the table that version 1 learns, `[positions, heads]`: its own, or those of the layer.
    fn table(&self, shared: Option<Tensor<2>>) -> Option<Tensor<2>> {
        self.cpb_mlp.as_ref().map(|network| position_biases(network, self.log_positions.clone())).or(shared)
    }

    /// Vectors of length one; zero stays zero, with a gradient of zero from its length.
    fn unit(x: Tensor<4>) -> Tensor<4> {
        let squares = (x.clone() * x.clone()).sum_dim(3);
        x / squares.clamp_min(Self::LEAST_SQUARE).sqrt()
    }
}

/// A network of positions that all blocks of a layer share.
#[derive(Module, Debug)]
pub struct PositionNetwork {
    cpb_mlp: (Linear, Relu, Linear),
    /// What it reads, `[positions, 2]`.
    log_positions: Tensor<2>,
}

impl PositionNetwork {
    pub(super) fn of_layer(config: &SwinConfig, shape: &LayerShape, init: &mut Init) -> Self {
        let cpb_mlp = position_network(shape.heads, init);
        Self { cpb_mlp, log_positions: log_positions(config, shape, init.device()) }
    }

    /// The biases as the table that version 1 learns; to be computed once a forward.
    ///
    /// # Shapes
    /// - output: `[positions, heads]`
    pub fn table(&self) -> Tensor<2> {
        position_biases(&self.cpb_mlp, self.log_positions.clone())
    }
}

fn position_network(heads: usize, init: &mut Init) -> (Linear, Relu, Linear) {
    let first = Linear::new(init, 2, POSITION_HIDDEN, true);
    (first, Relu, Linear::new(init, POSITION_HIDDEN, heads, false))
}

/// What a network of positions reads, `[positions, 2]`. Shifted windows have the same positions as others.
fn log_positions(config: &SwinConfig, shape: &LayerShape, device: &Device) -> Tensor<2> {
    let windows = shape.windows(0);
    let trained = config.pretrained_windows.get(shape.index).copied().unwrap_or(windows.side());
    Tensor::from_data(TensorData::new(windows.log_positions(trained), [windows.positions(), 2]), device)
}

/// What a network of positions says, `[positions, heads]`.
fn position_biases((first, relu, second): &(Linear, Relu, Linear), log_positions: Tensor<2>) -> Tensor<2> {
    activation::sigmoid(second.forward(relu.forward(first.forward(log_positions)))) * MAX_BIAS
}

/// The largest bias of version 2.
const MAX_BIAS: f64 = 16.0;

/// `max(x, 0)`, which has a number of its own in the names of [`CosineAttention`]'s network.
#[derive(Module, Debug)]
pub struct Relu;

impl Relu {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        activation::relu(x)
    }
}

/// The windows of a block and what both kinds of attention do with them.
#[derive(Module, Debug)]
pub struct Layout {
    /// See [`Windows::position_index`], `[area * area]`.
    position_index: Tensor<1, Int>,
    /// See [`Windows::mask`], `[count, area, area]`.
    mask: Option<Tensor<3>>,
    #[module(skip)]
    windows: Windows,
    heads: usize,
}

impl Layout {
    pub(super) fn new(windows: Windows, heads: usize, device: &Device) -> Self {
        let area = windows.area();
        let mask = windows.mask().map(|mask| TensorData::new(mask, [windows.count(), area, area]));
        Self {
            position_index: Tensor::from_data(TensorData::new(windows.position_index(), [area * area]), device),
            mask: mask.map(|mask| Tensor::from_data(mask, device)),
            windows,
            heads,
        }
    }

    /// Queries, keys and values. A map's windows, and the heads of each, lie on one axis.
    ///
    /// # Shapes
    /// - maps: `[batch, grid, grid, width]`
    /// - qkv: `[batch * count, area, width]` to `[batch * count, area, 3 * width]`
    /// - output: each `[batch, count * heads, area, width / heads]`
    fn split(&self, maps: Tensor<4>, qkv: impl FnOnce(Tensor<3>) -> Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, _, _, width] = maps.dims();
        let (rows, area, size) = (batch * self.windows.count(), self.windows.area(), width / self.heads);
        let qkv = qkv(self.windows.split(maps)).reshape([rows, area, 3, self.heads, size]).permute([2, 0, 3, 1, 4]);
        let dims = [batch, self.windows.count() * self.heads, area, size];
        [0, 1, 2].map(|index| qkv.clone().narrow(0, index, 1).reshape(dims))
    }

    /// The softmax of biased and masked scores.
    ///
    /// # Shapes
    /// - scores: `[batch, count * heads, area, area]`
    /// - bias_table: `[positions, heads]`
    /// - output: that of `scores`
    fn weights(&self, scores: Tensor<4>, bias_table: Tensor<2>) -> Tensor<4> {
        let (count, heads, area) = (self.windows.count(), self.heads, self.windows.area());
        // One sum over all scores: the biases and the mask of a map are added up beforehand.
        let bias = self.bias(bias_table).expand([count, heads, area, area]);
        activation::softmax(scores + bias.reshape([1, count * heads, area, area]), 3)
    }

    /// What is added to the scores.
    ///
    /// # Shapes
    /// - bias_table: `[positions, heads]`
    /// - output: `[count, heads, area, area]`, or `[1, heads, area, area]` where all windows are alike
    fn bias(&self, bias_table: Tensor<2>) -> Tensor<4> {
        let bias: Tensor<4> = self.position_bias(bias_table).unsqueeze();
        match &self.mask {
            Some(mask) => bias + mask.clone().unsqueeze_dim::<4>(1),
            None => bias,
        }
    }

    /// The biases of pairs of tokens, `[heads, area, area]`, from those of positions, `[positions, heads]`.
    fn position_bias(&self, bias_table: Tensor<2>) -> Tensor<3> {
        let (heads, area) = (self.heads, self.windows.area());
        bias_table.select(0, self.position_index.clone()).reshape([area, area, heads]).permute([2, 0, 1])
    }

    /// Projects attended values and puts tokens back where they came from.
    ///
    /// # Shapes
    /// - mixed: `[batch, count * heads, area, width / heads]`
    /// - output: `[batch, grid, grid, width]`
    fn join(&self, mixed: Tensor<4>, proj: &Linear) -> Tensor<4> {
        let [batch, _, area, size] = mixed.dims();
        let (rows, heads) = (batch * self.windows.count(), self.heads);
        let tokens = mixed.reshape([rows, heads, area, size]).swap_dims(1, 2).reshape([rows, area, heads * size]);
        self.windows.join(proj.forward(tokens))
    }
}
