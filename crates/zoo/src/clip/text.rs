//! CLIP's text tower: a causal Transformer that is read at the end of the text. Source: Radford et al. 2021,
//! arXiv:2103.00020; initial weights as in the authors' code. Fields carry open_clip's names.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use robustify_kernels::Extras;
use serde::{Deserialize, Serialize};

use crate::ZooError;
use crate::layers::{Activation, Init, LAYER_NORM_MACS, LayerNorm, Linear};

/// A text tower's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The most ids that a text can have, markers included.
    pub context_length: usize,
    /// Number of ids. The largest one marks the end of a text.
    pub vocabulary: usize,
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the features, which is that of the image tower's.
    pub embed_dim: usize,
    /// The MLP's activation.
    #[serde(default)]
    pub activation: Activation,
}

impl TextConfig {
    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let numbers = [self.context_length, self.vocabulary, self.width, self.depth, self.heads, self.embed_dim];
        if numbers.contains(&0) {
            faults.push("context_length, vocabulary, width, depth, heads and embed_dim are at least 1".into());
        }
        if !self.width.is_multiple_of(self.heads.max(1)) {
            faults.push(format!("the text tower's width {} is not a multiple of heads {}", self.width, self.heads));
        }
        faults
    }

    /// Multiply-accumulates for one text of full length: linear maps, both products of every attention, and five for an
    /// element that LayerNorm puts out, as for images.
    pub fn macs(&self) -> u64 {
        let (tokens, width) = (self.context_length, self.width);
        let block = 12 * tokens * width * width + 2 * tokens * tokens * width + 2 * LAYER_NORM_MACS * tokens * width;
        (self.depth * block + LAYER_NORM_MACS * tokens * width + width * self.embed_dim) as u64
    }
}

/// A Transformer over token ids.
#[derive(Module, Debug)]
pub struct TextTower {
    token_embedding: Embedding,
    positional_embedding: Param<Tensor<2>>,
    transformer: Transformer,
    ln_final: LayerNorm,
    /// `[width, embed_dim]`.
    pub(crate) text_projection: Param<Tensor<2>>,
    #[module(skip)]
    config: TextConfig,
}

impl TextTower {
    /// A tower with fresh weights.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &TextConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        let width = config.width;
        Ok(Self {
            token_embedding: Embedding { weight: init.truncated_normal([config.vocabulary, width], 0.02) },
            positional_embedding: init.truncated_normal([config.context_length, width], 0.01),
            transformer: Transformer { resblocks: (0..config.depth).map(|_| Block::new(config, init)).collect() },
            ln_final: LayerNorm::new(init, width, EPS),
            text_projection: init.truncated_normal([width, config.embed_dim], (width as f64).powf(-0.5)),
            config: config.clone(),
        })
    }

    /// The tower's shape.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// Features of texts, read at the first place of each row's largest id, the end of the text. No token sees a later one,
    /// so ids behind the last end are never computed.
    ///
    /// # Shapes
    /// - rows: ids, the same number in every row, at most `context_length`
    /// - output: `[rows, embed_dim]`
    ///
    /// # Errors
    /// No rows, rows of unequal length, rows that are empty or too long, and ids that are not in the vocabulary.
    pub fn forward(&self, rows: &[Vec<u32>]) -> Result<Tensor<2>, ZooError> {
        self.check(rows)?;
        let device = &self.positional_embedding.val().device().without_autodiff();
        let ends: Vec<usize> = rows.iter().map(|row| end_of_text(row)).collect();
        let (count, width) = (rows.len(), self.config.width);
        let length = ends.iter().max().map_or(0, |last| last + 1);
        let ids: Vec<i64> = rows.iter().flat_map(|row| &row[..length]).map(|&id| i64::from(id)).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [count * length]), device);

        let positions = self.positional_embedding.val().narrow(0, 0, length).unsqueeze::<3>();
        let mut x = self.token_embedding.weight.val().select(0, ids).reshape([count, length, width]) + positions;
        let mask = causal_mask(length, self.config.heads, device);
        for block in &self.transformer.resblocks {
            x = block.forward(x, mask.clone());
        }
        let places: Vec<i64> = ends.iter().enumerate().map(|(row, end)| (row * length + end) as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), device);
        let read = x.reshape([count * length, width]).select(0, places);
        Ok(self.ln_final.forward(read).matmul(self.text_projection.val()))
    }

    fn check(&self, rows: &[Vec<u32>]) -> Result<(), ZooError> {
        let TextConfig { context_length, vocabulary, .. } = self.config;
        let length = rows.first().map_or(0, Vec::len);
        let fault = if length == 0 {
            "there are none".to_owned()
        } else if length > context_length {
            format!("a row has {length}, the tower takes {context_length}")
        } else if let Some(row) = rows.iter().find(|row| row.len() != length) {
            format!("rows have {length} and {} of them", row.len())
        } else if let Some(id) = rows.iter().flatten().find(|&&id| id as usize >= vocabulary) {
            format!("id {id} is not in the vocabulary of {vocabulary}")
        } else {
            return Ok(());
        };
        Err(ZooError::Ids(fault))
    }
}

const EPS: f64 = 1e-5;

/// The first place of the largest id.
fn end_of_text(row: &[u32]) -> usize {
    let largest = row.iter().max();
    row.iter().position(|id| Some(id) == largest).unwrap_or(0)
}

/// Zero where a token may look, minus infinity at later tokens: `[1, heads, length, length]`.
fn causal_mask(length: usize, heads: usize, device: &Device) -> Tensor<4> {
    let hidden = |query: usize, key: usize| if key > query { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..length).flat_map(|query| (0..length).map(move |key| hidden(query, key))).collect();
    Tensor::<4>::from_data(TensorData::new(values, [1, 1, length, length]), device).repeat_dim(1, heads)
}

#[derive(Module, Debug)]
struct Embedding {
    /// `[vocabulary, width]`.
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Transformer {
    resblocks: Vec<Block>,
}

/// Pre-norm block.
#[derive(Module, Debug)]
struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn new(config: &TextConfig, init: &mut Init) -> Self {
        let width = config.width;
        // Projections back into the residual stream start smaller, the more of them there are.
        let inner = (width as f64).powf(-0.5);
        let outer = inner * (2.0 * config.depth as f64).powf(-0.5);
        let linear = |init: &mut Init, inputs: usize, outputs: usize, std: f64| Linear {
            weight: init.truncated_normal([outputs, inputs], std),
            bias: Some(init.constant([outputs], 0.0)),
        };
        Self {
            ln_1: LayerNorm::new(init, width, EPS),
            attn: Attention {
                in_proj_weight: init.truncated_normal([3 * width, width], inner),
                in_proj_bias: init.constant([3 * width], 0.0),
                out_proj: linear(init, width, width, outer),
                heads: config.heads,
            },
            ln_2: LayerNorm::new(init, width, EPS),
            mlp: Mlp {
                c_fc: linear(init, width, 4 * width, (2.0 * width as f64).powf(-0.5)),
                c_proj: linear(init, 4 * width, width, outer),
                activation: config.activation,
            },
        }
    }

    fn forward(&self, x: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.ln_1.forward(x), mask);
        x.clone() + self.mlp.forward(self.ln_2.forward(x))
    }
}

/// Multi-head self-attention with the three projections in one matrix.
#[derive(Module, Debug)]
struct Attention {
    /// `[3 * width, width]`.
    in_proj_weight: Param<Tensor<2>>,
    /// `[3 * width]`.
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    fn forward(&self, x: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let width = x.dims()[2];
        let in_proj = Linear { weight: self.in_proj_weight.clone(), bias: Some(self.in_proj_bias.clone()) };
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let extras = Extras { bias: Some(mask), mask: None };
        self.out_proj.forward(robustify_kernels::self_attention(in_proj.forward(x), self.heads, scale, extras))
    }
}

/// Two-layer perceptron.
#[derive(Module, Debug)]
struct Mlp {
    c_fc: Linear,
    c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.c_proj.forward(self.activation.forward(self.c_fc.forward(x)))
    }
}
