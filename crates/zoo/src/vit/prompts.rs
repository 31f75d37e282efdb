//! Visual prompts: learned tokens between the class token and the patches, of a network whose other weights stay as they are.
//!
//! Source: Jia et al. 2022, "Visual Prompt Tuning", arXiv:2203.12119; names and initialisation as in KMnP/vpt,
//! `src/models/vit_prompt/vit.py`.

use burn::module::Param;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Vit, VitConfig};
use crate::layers::{Init, Linear};
use crate::{Pass, ZooError};

/// Which prompts a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// Number of prompts.
    pub tokens: usize,
    /// Whether every block after the first has prompts of its own, in the place of what the block before made of its.
    #[serde(default)]
    pub deep: bool,
    /// Width of the prompts before a linear map, which all blocks share, to the network's width; 0 without one.
    #[serde(default)]
    pub projection: usize,
}

/// The prompts before a block, `[1, count, width]`, and how many tokens stand before them.
#[derive(Clone, Debug)]
pub(crate) struct Prompts {
    tokens: Tensor<3>,
    prefix: usize,
    block: usize,
}

impl VitConfig {
    /// Number of prompts, which is how many more tokens there are than the prefix and the patches.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompts.map_or(0, |prompts| prompts.tokens)
    }

    /// Blocks that begin with prompts of their own.
    fn prompted_blocks(&self) -> usize {
        self.prompts.map_or(0, |prompts| if prompts.deep { self.depth } else { 1 })
    }

    /// Multiply-accumulates of the prompts' projection.
    pub(super) fn prompt_macs(&self) -> usize {
        let projection = self.prompts.map_or(0, |prompts| prompts.projection);
        self.prompted_blocks() * self.prompt_tokens() * projection * self.width
    }

    /// Parameters of the prompts, and of their projection where there is one; 0 without prompts.
    pub fn prompt_parameters(&self) -> usize {
        let Some(prompts) = self.prompts else { return 0 };
        let (width, projection) = match prompts.projection {
            0 => (self.width, 0),
            projection => (projection, (projection + 1) * self.width),
        };
        self.prompted_blocks() * prompts.tokens * width + projection
    }
}

impl Vit {
    /// The network with fresh prompts, drawn uniformly as for a patch of pixels and the prompts' own width, in place of those that it has.
    ///
    /// # Errors
    /// Prompts with faults.
    pub(crate) fn with_prompts(mut self, prompts: PromptConfig, init: &mut Init) -> Result<Self, ZooError> {
        self.config.prompts = Some(prompts);
        let (faults, config) = (self.config.faults(), &self.config);
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        let width = if prompts.projection > 0 { prompts.projection } else { config.width };
        let bound = (6.0 / (3 * config.patch_size * config.patch_size + width) as f64).sqrt();
        let mut draw = |blocks| init.uniform([blocks, prompts.tokens, width], bound);
        self.prompt_embeddings = Some(draw(1));
        let deep = (prompts.deep && config.depth > 1).then(|| draw(config.depth - 1));
        self.deep_prompt_embeddings = deep;
        self.prompt_proj = (prompts.projection > 0).then(|| {
            // He et al. 2015, fan-out; the authors' bias begins with small random numbers.
            let std = (2.0 / config.width as f64).sqrt();
            let weight = init.truncated_normal([config.width, prompts.projection], std);
            Linear { weight, bias: Some(init.constant([config.width], 0.0)) }
        });
        Ok(self)
    }

    /// The prompts before a block, if it has some of its own.
    pub(crate) fn prompts(&self, block: usize) -> Option<Prompts> {
        let tokens = match block.checked_sub(1) {
            None => self.prompt_embeddings.as_ref().map(Param::val),
            Some(deep) => self.deep_prompt_embeddings.as_ref().map(|all| all.val().narrow(0, deep, 1)),
        }?;
        let tokens = match &self.prompt_proj {
            Some(projection) => projection.forward(tokens),
            None => tokens,
        };
        Some(Prompts { tokens, prefix: self.config.prefix(), block })
    }
}

impl Prompts {
    /// The tokens of a batch with these prompts behind the prefix: inserted before the first block, in the place of others before a
    /// later one.
    ///
    /// # Shapes
    /// - x: `[rows, tokens, width]`
    /// - output: the same, before the first block with as many more tokens as there are prompts
    pub fn before_block(&self, x: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let [rows, count, _] = x.dims();
        let [_, own, width] = self.tokens.dims();
        let prompts = pass.dropout(self.tokens.clone().expand([rows, own, width]), &format!("prompts.{}", self.block));
        let rest = if self.block == 0 { self.prefix } else { self.prefix + own };
        let mut parts = vec![prompts, x.clone().narrow(1, rest, count - rest)];
        if self.prefix > 0 {
            parts.insert(0, x.narrow(1, 0, self.prefix));
        }
        Tensor::cat(parts, 1)
    }
}
