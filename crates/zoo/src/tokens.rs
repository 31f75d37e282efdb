//! The tokens that a network ends in, before anything is pooled: what Feature Distillation teaches and learns.

use burn::tensor::Tensor;

use crate::vit::Vit;
use crate::vit::segment::{normed, prompted};
use crate::{Features, Model, ModelConfig, Pass};

/// The last tokens of a batch of images.
#[derive(Clone, Debug)]
pub struct LastTokens {
    /// `[rows, prefix + height * width, channels]`: tokens that are no patches first (class, distillation, registers), then the grid, row
    /// by row.
    pub tokens: Tensor<3>,
    /// Tokens that are no patches.
    pub prefix: usize,
    /// Height and width of the grid.
    pub grid: [usize; 2],
}

impl LastTokens {
    /// The tokens of the grid, `[rows, height * width, channels]`.
    pub fn patches(&self) -> Tensor<3> {
        let [_, count, _] = self.tokens.dims();
        self.tokens.clone().narrow(1, self.prefix, count - self.prefix)
    }

    /// The class token, `[rows, 1, channels]`, where there is one.
    pub fn class(&self) -> Option<Tensor<3>> {
        (self.prefix > 0).then(|| self.tokens.clone().narrow(1, 0, 1))
    }
}

impl ModelConfig {
    /// Width of the [last tokens](Model::last_tokens).
    pub fn token_width(&self) -> usize {
        match self {
            Self::Vit(config) => config.width,
            Self::Swin(config) => config.features(),
            Self::ResNet(config) => config.feature_width(),
            Self::ClipResNet(config) => config.channels(),
        }
    }
}

impl Model {
    /// The tokens of images behind the network's own last norm, which is applied to every one of them (that of CLIP's image tower too,
    /// and timm's `fc_norm`, which classifiers apply to a mean of tokens). Visual prompts are left out. Of a residual network, whose
    /// last map has no norm of its own, the places of that map.
    ///
    /// # Shapes
    /// - images: `[rows, 3, height, width]`, normalised
    pub fn last_tokens(&self, images: Tensor<4>, pass: &Pass<'_>) -> LastTokens {
        match self {
            Self::Vit(model) => model.last_tokens(images, pass),
            Self::Swin(model) => of_maps(model.last_maps(images, pass)),
            Self::ResNet(_) | Self::ClipResNet(_) => {
                let cuts = self.cut_points();
                match self.features_in(images, cuts[cuts.len() - 2], pass) {
                    Features::Map(map) => of_maps(map.permute([0, 2, 3, 1])),
                    other => unreachable!("features {:?} before a residual network's pool", other.dims()),
                }
            }
        }
    }
}

/// Tokens of maps `[rows, height, width, channels]`.
fn of_maps(maps: Tensor<4>) -> LastTokens {
    let [rows, height, width, channels] = maps.dims();
    LastTokens { tokens: maps.reshape([rows, height * width, channels]), prefix: 0, grid: [height, width] }
}

impl Vit {
    fn last_tokens(&self, images: Tensor<4>, pass: &Pass<'_>) -> LastTokens {
        let tokens = self.encoded(self.embed(images, pass), pass);
        let tokens = if self.norm.is_none() { normed(self.fc_norm.as_ref(), tokens) } else { tokens };
        let (prefix, prompts) = (self.config.prefix(), self.config.prompts.map_or(0, |prompts| prompts.tokens));
        let [_, count, _] = tokens.dims();
        let tokens = if prompts == 0 {
            tokens
        } else {
            let patches = tokens.clone().narrow(1, prefix + prompts, count - prefix - prompts);
            let before = (prefix > 0).then(|| tokens.narrow(1, 0, prefix));
            Tensor::cat(before.into_iter().chain([patches]).collect(), 1)
        };
        LastTokens { tokens, prefix, grid: self.config.grid() }
    }

    /// Tokens to tokens: all blocks, and the norm behind them if the network has one there.
    ///
    /// # Shapes
    /// - tokens: `[rows, tokens, width]`, with positions; any number of them, if the network has no relative positions
    /// - output: that of `tokens`
    pub fn encoded(&self, mut tokens: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let bias = self.rel_pos_bias.as_ref().map(crate::vit::RelativeBias::forward);
        for (index, block) in self.blocks.iter().enumerate() {
            // Those of the first block are there when its input is made.
            let prompts = self.prompts(index).filter(|_| index > 0);
            tokens = block.forward(prompted(prompts.as_ref(), tokens, pass), bias.clone(), pass);
        }
        normed(self.norm.as_ref(), tokens)
    }
}
