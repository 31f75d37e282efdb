use burn::module::Module;
use burn::tensor::Tensor;

use super::prompts::Prompts;
use super::{Block, ClsInput, Pool, RelativeBias, Vit};
use crate::clip::Readout;
use crate::layers::{LayerNorm, Linear};
use crate::{Features, Pass};

/// Consecutive units of a [`Vit`]: blocks, then perhaps the final norm and classifier.
#[derive(Module, Debug)]
pub struct VitSegment {
    pub(crate) blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    fc_norm: Option<LayerNorm>,
    proj: Option<Linear>,
    head: Option<Linear>,
    head_dist: Option<Linear>,
    pub(crate) readout: Option<Readout>,
    /// Whether the segment ends in the pool and the classifier.
    pub(crate) ends: bool,
    /// The prompts before each of the blocks, as constants where the segment is tuned by itself: they are the whole network's.
    #[module(skip)]
    prompts: Vec<Option<Prompts>>,
    /// What all blocks add to their scores, a constant where the segment is tuned by itself, for the same reason.
    #[module(skip)]
    rel_pos_bias: Option<RelativeBias>,
    #[module(skip)]
    reading: Reading,
    /// Whether only the class token is read after the last block, so that the block may compute that row alone.
    cls_only: bool,
}

/// Which tokens the classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Cls,
    /// The class token and the distillation token after it.
    ClsAndDist,
    /// The patches, behind that many tokens of other kinds.
    PatchesAfter(usize),
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
        let reading = match model.config.pool {
            Pool::Cls if model.config.distilled => Reading::ClsAndDist,
            Pool::Cls => Reading::Cls,
            Pool::Mean => Reading::PatchesAfter(model.config.prefix() + model.config.prompt_tokens()),
        };
        Self {
            blocks: model.blocks[from.min(depth)..to.min(depth)].to_vec(),
            norm: model.norm.clone().filter(|_| ends),
            fc_norm: model.fc_norm.clone().filter(|_| ends),
            proj: model.proj.clone().filter(|_| ends),
            head: model.head.clone().filter(|_| ends),
            head_dist: model.head_dist.clone().filter(|_| ends),
            readout: model.readout.clone().filter(|_| ends),
            ends,
            // Those of the first block are there when its input is made.
            prompts: (from..to.min(depth)).map(|block| model.prompts(block).filter(|_| block > 0)).collect(),
            rel_pos_bias: model.rel_pos_bias.clone(),
            reading,
            cls_only: reading == Reading::Cls && to >= depth,
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
        let cls_only = self.cls_only && !pass.wants_all_rows();
        let own = self.prompts.last().and_then(Option::as_ref);
        let bias = self.rel_pos_bias.as_ref().map(RelativeBias::forward);
        if rest.is_empty() && cls_only && own.is_none() {
            let input = ClsInput::new(tokens, &last.norm1);
            return self.classify(VitState::Cls(last.forward_cls(&input, bias, passes, pass)), pass);
        }
        tokens = repeat(tokens, passes);
        for (block, prompts) in rest.iter().zip(&self.prompts) {
            tokens = block.forward(prompted(prompts.as_ref(), tokens, pass), bias.clone(), pass);
        }
        tokens = prompted(own, tokens, pass);
        let state = if cls_only {
            VitState::Cls(last.forward_cls(&ClsInput::new(tokens, &last.norm1), bias, 1, pass))
        } else {
            VitState::Tokens(last.forward(tokens, bias, pass))
        };
        self.classify(state, pass)
    }

    /// Norm, pool and classifier, where the segment has them.
    fn classify(&self, state: VitState, pass: &Pass<'_>) -> VitState {
        if !self.ends {
            return state;
        }
        if pass.is_traced()
            && let VitState::Tokens(tokens) = &state
        {
            let tokens = normed(self.norm.as_ref(), tokens.clone());
            pass.saw(|| "norm".into(), || Features::Tokens(tokens.clone()));
            pass.saw(|| "forward_features".into(), || Features::Tokens(tokens));
        }
        let (pooled, dist) = self.pool(state);
        let dist = dist.map(|dist| pass.dropout(dist, "head_dist_drop"));
        if dist.is_none() {
            pass.saw(|| "fc_norm".into(), || Features::Rows(pooled.clone()));
        }
        if let Some(readout) = &self.readout {
            // Texts are the classifier here, and what it reads is dropped.
            let projected = pass.dropout(headed(self.head.as_ref(), pooled), "head_drop");
            pass.saw(|| "pre_logits".into(), || Features::Rows(projected.clone()));
            return VitState::Cls(readout.forward(projected));
        }
        let pooled = pass.dropout(headed(self.proj.as_ref(), pooled), "head_drop");
        let both = |first: Tensor<2>, second: Option<Tensor<2>>| match second {
            Some(second) => (first + second) / 2.0,
            None => first,
        };
        pass.saw(|| "pre_logits".into(), || Features::Rows(both(pooled.clone(), dist.clone())));
        let second = dist.map(|dist| headed(self.head_dist.as_ref(), dist));
        VitState::Cls(both(headed(self.head.as_ref(), pooled), second))
    }

    /// The row that the classifier reads, and that of the second classifier if there is one.
    fn pool(&self, state: VitState) -> (Tensor<2>, Option<Tensor<2>>) {
        let tokens = match state {
            VitState::Cls(cls) => return (self.normed_row(cls), None),
            VitState::Tokens(tokens) => tokens,
        };
        let [rows, count, width] = tokens.dims();
        let row = |index| self.normed_row(tokens.clone().narrow(1, index, 1).reshape([rows, width]));
        match self.reading {
            Reading::Cls => (row(0), None),
            Reading::ClsAndDist => (row(0), Some(row(1))),
            Reading::PatchesAfter(prefix) => {
                let patches = normed(self.norm.as_ref(), tokens).narrow(1, prefix, count - prefix);
                (normed(self.fc_norm.as_ref(), patches.mean_dim(1).reshape([rows, width])), None)
            }
        }
    }

    /// Both norms act on a row alone, so they may follow the choice of a row.
    fn normed_row(&self, row: Tensor<2>) -> Tensor<2> {
        normed(self.fc_norm.as_ref(), normed(self.norm.as_ref(), row))
    }
}

pub(crate) fn prompted(prompts: Option<&Prompts>, tokens: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
    match prompts {
        Some(prompts) => prompts.before_block(tokens, pass),
        None => tokens,
    }
}

pub(crate) fn normed<const D: usize>(norm: Option<&LayerNorm>, x: Tensor<D>) -> Tensor<D> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

fn headed(head: Option<&Linear>, x: Tensor<2>) -> Tensor<2> {
    match head {
        Some(head) => head.forward(x),
        None => x,
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
