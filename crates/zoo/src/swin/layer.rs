//! A layer (a stage, in the paper's words): patch merging, then blocks.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use crate::layers::{Activation, Init, LayerNorm, Linear};
use crate::swin::attention::{Layout, PositionNetwork, WindowAttention};
use crate::swin::config::LayerShape;
use crate::swin::{SwinConfig, Version};
use crate::vit::{Mlp, repeat};
use crate::{Features, Pass};

/// Consecutive blocks of a layer, with its patch merging when they begin with the first one.
#[derive(Module, Debug)]
pub struct Layer {
    downsample: Option<PatchMerging>,
    /// The network of positions that all blocks share, in the part of the layer that has the first of them.
    rel_pos_bias: Option<PositionNetwork>,
    /// The same in any other part, a constant where that is tuned by itself: it belongs to what comes before.
    #[module(skip)]
    borrowed: Option<PositionNetwork>,
    blocks: Vec<Block>,
    index: usize,
    /// Whether the blocks end with the last one.
    ends: bool,
}

impl Layer {
    pub(super) fn new(config: &SwinConfig, shape: &LayerShape, init: &mut Init) -> Self {
        let layouts = [0, 1].map(|block| Layout::new(shape.windows(block), shape.heads, init.device()));
        let block = |block: usize, init: &mut Init| Block::new(config, shape, block, layouts[block % 2].clone(), init);
        Self {
            downsample: (shape.index > 0).then(|| PatchMerging::new(config.version, shape.width / 2, init)),
            rel_pos_bias: config.shared_positions.then(|| PositionNetwork::of_layer(config, shape, init)),
            borrowed: None,
            blocks: (0..shape.depth).map(|index| block(index, init)).collect(),
            index: shape.index,
            ends: true,
        }
    }

    /// Number of blocks.
    pub(super) fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// What the layer's blocks share, if they do, as a table `[positions, heads]`.
    fn shared_table(&self) -> Option<Tensor<2>> {
        self.rel_pos_bias.as_ref().or(self.borrowed.as_ref()).map(PositionNetwork::table)
    }

    /// See [`Swin::position_bias`](super::Swin::position_bias).
    pub(super) fn position_bias(&self, block: usize) -> Option<Tensor<3>> {
        self.blocks.get(block)?.attn.position_bias(self.shared_table())
    }

    /// Clones blocks `from..to`; `None` when there are none.
    pub(super) fn part(&self, from: usize, to: usize) -> Option<Self> {
        let (from, to) = (from.min(self.depth()), to.min(self.depth()));
        (from < to).then(|| Self {
            downsample: self.downsample.clone().filter(|_| from == 0),
            rel_pos_bias: self.rel_pos_bias.clone().filter(|_| from == 0),
            borrowed: self.rel_pos_bias.as_ref().or(self.borrowed.as_ref()).cloned().filter(|_| from > 0),
            blocks: self.blocks[from..to].to_vec(),
            index: self.index,
            ends: self.ends && to == self.depth(),
        })
    }

    /// # Shapes
    /// - maps: `[batch, side, side, width]`
    /// - output: `[batch * passes, side', side', width']`, half the side and twice the width after a patch merging
    pub(super) fn forward(&self, maps: Tensor<4>, passes: usize, pass: &Pass<'_>) -> Tensor<4> {
        let mut maps = maps;
        if let Some(downsample) = &self.downsample {
            maps = downsample.forward(maps);
            pass.saw(|| format!("layers.{}.downsample", self.index), || Features::Map(maps.clone()));
        }
        let table = self.shared_table();
        for (index, block) in self.blocks.iter().enumerate() {
            maps = block.forward(maps, table.clone(), if index == 0 { passes } else { 1 }, pass);
        }
        if self.ends {
            pass.saw(|| format!("layers.{}", self.index), || Features::Map(maps.clone()));
        }
        maps
    }
}

/// Joins squares of two by two tokens and halves their width. Version 1 normalises before the projection, version 2 after it.
#[derive(Module, Debug)]
pub struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
    norm_first: bool,
}

impl PatchMerging {
    fn new(version: Version, width: usize, init: &mut Init) -> Self {
        let norm_first = version == Version::V1;
        Self {
            norm: LayerNorm::new(init, if norm_first { 4 * width } else { 2 * width }, super::NORM_EPS),
            reduction: Linear::new(init, 4 * width, 2 * width, false),
            norm_first,
        }
    }

    /// # Shapes
    /// - maps: `[batch, side, side, width]`; an odd side gets one more row and column of zeros
    /// - output: `[batch, side / 2, side / 2, 2 * width]`
    fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let [batch, side, _, width] = maps.dims();
        let maps = match side % 2 {
            0 => maps,
            _ => maps.pad([(0, 1), (0, 1), (0, 0)], PadMode::Constant(0.0)),
        };
        let half = side.div_ceil(2);
        // The four tokens of a square: both rows of its left column, then of its right one.
        let squares = maps.reshape([batch, half, 2, half, 2, width]).permute([0, 1, 3, 4, 2, 5]);
        let squares = squares.reshape([batch, half, half, 4 * width]);
        if self.norm_first {
            self.reduction.forward(self.norm.forward(squares))
        } else {
            self.norm.forward(self.reduction.forward(squares))
        }
    }
}

/// Attention within windows and an MLP, each with its norm before it (version 1) or after it (version 2).
#[derive(Module, Debug)]
pub struct Block {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    /// On the main branch, in some blocks of the giant.
    norm3: Option<LayerNorm>,
    layer: usize,
    index: usize,
}

impl Block {
    fn new(config: &SwinConfig, shape: &LayerShape, index: usize, layout: Layout, init: &mut Init) -> Self {
        let (width, hidden) = (shape.width, config.hidden(shape.width));
        let norm = |init: &mut Init| {
            let mut norm = LayerNorm::new(init, width, super::NORM_EPS);
            if config.version == Version::V2 {
                // A new block of version 2 is the identity map, or nearly.
                norm.weight = init.constant([width], config.norm_start as f32);
            }
            norm
        };
        Self {
            norm1: norm(init),
            attn: WindowAttention::new(config, shape, layout, init),
            norm2: norm(init),
            mlp: Mlp::new(init, width, hidden, Activation::Gelu),
            norm3: config.has_third_norm(index).then(|| LayerNorm::new(init, width, super::NORM_EPS)),
            layer: shape.index,
            index,
        }
    }

    /// # Shapes
    /// - maps: `[batch, side, side, width]`
    /// - table: position biases that the layer's blocks share, `[positions, heads]`
    /// - output: `[batch * passes, side, side, width]`, the passes of a map next to each other
    fn forward(&self, maps: Tensor<4>, table: Option<Tensor<2>>, passes: usize, pass: &Pass<'_>) -> Tensor<4> {
        let site = format!("layers.{}.blocks.{}", self.layer, self.index);
        let residual = repeat(maps.clone(), passes);
        let branch = |x: Tensor<4>, number: usize| pass.branch(x, &format!("{site}.drop_path{number}"));
        let norm_first = matches!(self.attn, WindowAttention::V1(_));
        let x = if norm_first { self.norm1.forward(maps) } else { maps };
        let attended = self.attn.forward(x, table, passes, pass, &site);
        let attended = if norm_first { attended } else { self.norm1.forward(attended) };
        let x = residual + branch(attended, 1);
        let hidden = |x: Tensor<4>| self.mlp.forward(x, pass, &site);
        let y = if norm_first { hidden(self.norm2.forward(x.clone())) } else { self.norm2.forward(hidden(x.clone())) };
        let x = x + branch(y, 2);
        let x = match &self.norm3 {
            Some(norm) => norm.forward(x),
            None => x,
        };
        pass.saw(|| site.clone(), || Features::Map(x.clone()));
        x
    }
}
