//! A masked autoencoder: an encoder that sees a few patches, and a light decoder that paints the others.
//!
//! Source: He et al. 2022, "Masked autoencoders are scalable vision learners", arXiv:2111.06377; names as in facebookresearch/mae,
//! `models_mae.py`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Block, RelativePositions, Vit, VitConfig};
use crate::layers::{Init, LayerNorm, Linear};
use crate::{Pass, ZooError};

/// The sizes of a decoder, which is of no use once the encoder is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaeDecoder {
    /// Width of a token, a multiple of 4 and of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
}

/// Encoder and decoder.
#[derive(Module, Debug)]
pub struct MaskedAutoencoder {
    /// What is kept.
    pub encoder: Vit,
    decoder_embed: Linear,
    mask_token: Param<Tensor<3>>,
    /// Of the patches; fixed.
    decoder_pos_embed: Param<Tensor<3>>,
    decoder_blocks: Vec<Block>,
    decoder_norm: LayerNorm,
    decoder_pred: Linear,
    patch: usize,
}

/// Which patches each row's encoder sees.
#[derive(Clone, Debug)]
pub struct Visible {
    /// Patches by row, in the order of the row; as many in each.
    pub rows: Vec<Vec<usize>>,
}

impl MaskedAutoencoder {
    /// An autoencoder with fresh weights. The positions of both halves are fixed, sines and cosines.
    ///
    /// # Errors
    /// Configurations with faults, and an encoder that MAE does not know: with prompts, with a distillation token, with relative
    /// positions or without absolute ones, or with a convolutional stem, whose tokens would tell of the pixels of hidden neighbours.
    pub fn new(config: &VitConfig, decoder: MaeDecoder, seed: u64, device: &Device) -> Result<Self, ZooError> {
        let has_positions = config.absolute_positions && config.relative_positions == RelativePositions::None;
        if config.prompts.is_some() || config.distilled || !config.stem.is_empty() || !has_positions {
            let fault = "a masked autoencoder has an encoder with absolute positions, and without relative ones, prompts, \
                         distillation token and convolutional stem";
            return Err(ZooError::Config(fault.into()));
        }
        let own = VitConfig { width: decoder.width, depth: decoder.depth, heads: decoder.heads, ..config.clone() };
        let faults = if own.width.is_multiple_of(4) {
            VitConfig { stem: Vec::new(), ..own.clone() }.faults()
        } else {
            vec![format!("the decoder's width {} is not a multiple of 4", own.width)]
        };
        if !faults.is_empty() {
            return Err(ZooError::Config(format!("decoder: {}", faults.join("; "))));
        }
        let mut init = Init::new(seed, device);
        let init = &mut init;
        let mut encoder = Vit::new(config, init)?;
        let fixed = |width: usize, prefix: usize| -> Param<Tensor<3>> {
            let values = positions(width, config.grid(), prefix);
            let count = values.len() / width;
            Param::from_data(TensorData::new(values, [1, count, width]), device).set_require_grad(false)
        };
        encoder.pos_embed = Some(fixed(config.width, config.embedded_prefix()));
        Ok(Self {
            encoder,
            decoder_embed: Linear::new(init, config.width, own.width, true),
            mask_token: init.truncated_normal([1, 1, own.width], 0.02),
            decoder_pos_embed: fixed(own.width, 0),
            decoder_blocks: (0..own.depth).map(|index| Block::new(&own, index, init)).collect(),
            decoder_norm: LayerNorm::new(init, own.width, own.norm_eps),
            decoder_pred: Linear::new(init, own.width, 3 * config.patch_size * config.patch_size, true),
            patch: config.patch_size,
        })
    }

    /// What the decoder makes of every patch.
    ///
    /// # Shapes
    /// - images: `[rows, 3, image_size, image_size]`
    /// - output: `[rows, patches, 3 * patch_size^2]`
    pub fn reconstructed(&self, images: Tensor<4>, visible: &Visible) -> Tensor<3> {
        let (pass, prefix) = (Pass::eval(), self.encoder.config.prefix());
        let tokens = self.encoder.embed(images, &pass);
        let [rows, count, width] = tokens.dims();
        let (patches, device) = (count - prefix, tokens.device().without_autodiff());
        let kept = visible.rows.first().map_or(0, Vec::len);
        let of_row = |(row, own): (usize, &Vec<usize>)| -> Vec<usize> {
            (0..prefix).chain(own.iter().map(|patch| prefix + patch)).map(|token| row * count + token).collect()
        };
        let seen: Vec<usize> = visible.rows.iter().enumerate().flat_map(of_row).collect();
        let tokens = tokens.reshape([rows * count, width]).select(0, indices(&seen, &device));
        let tokens = self.encoder.encoded(tokens.reshape([rows, prefix + kept, width]), &pass);

        // Behind all that was seen stands one more row, which every masked patch takes.
        let tokens = self.decoder_embed.forward(tokens);
        let [_, _, own] = tokens.dims();
        let table = Tensor::cat(
            vec![tokens.reshape([rows * (prefix + kept), own]), self.mask_token.val().reshape([1, own])],
            0,
        );
        let place = |(row, seen): (usize, &Vec<usize>)| -> Vec<usize> {
            let mut places = vec![rows * (prefix + kept); prefix + patches];
            for (index, place) in places.iter_mut().enumerate().take(prefix) {
                *place = row * (prefix + kept) + index;
            }
            for (index, patch) in seen.iter().enumerate() {
                places[prefix + patch] = row * (prefix + kept) + prefix + index;
            }
            places
        };
        let places: Vec<usize> = visible.rows.iter().enumerate().flat_map(place).collect();
        let tokens = table.select(0, indices(&places, &device)).reshape([rows, prefix + patches, own]);
        let positions = self.decoder_pos_embed.val();
        let mut tokens = if prefix > 0 {
            let none = Tensor::zeros([1, prefix, own], &device);
            tokens + Tensor::cat(vec![none, positions], 1)
        } else {
            tokens + positions
        };
        for block in &self.decoder_blocks {
            tokens = block.forward(tokens, None, &pass);
        }
        self.decoder_pred.forward(self.decoder_norm.forward(tokens).narrow(1, prefix, patches))
    }

    /// The pixels of every patch, in the order of [`Self::reconstructed`]: rows of the patch, its columns, channels.
    ///
    /// # Shapes
    /// - images: `[rows, 3, image_size, image_size]`
    /// - output: `[rows, patches, 3 * patch_size^2]`
    pub fn patches(&self, images: Tensor<4>) -> Tensor<3> {
        let ([rows, channels, side, _], patch) = (images.dims(), self.patch);
        let grid = side / patch;
        // One axis after another, since six of them at once are more than backends move well.
        let strips = images.reshape([rows, channels, grid, patch * grid * patch]).swap_dims(1, 2);
        let strips = strips.reshape([rows * grid, channels * patch, grid, patch]).swap_dims(1, 2);
        let each = strips.reshape([rows * grid * grid, channels, patch * patch]).swap_dims(1, 2);
        each.reshape([rows, grid * grid, channels * patch * patch])
    }
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    Tensor::from_data(values.as_slice(), device)
}

/// Sines and cosines of a grid's columns, then of its rows, behind `prefix` tokens with zeros; `width` is a multiple of 4.
fn positions(width: usize, [height, columns]: [usize; 2], prefix: usize) -> Vec<f32> {
    let mut values = vec![0.0; prefix * width];
    let quarter = width / 4;
    for place in 0..height * columns {
        for coordinate in [place % columns, place / columns] {
            let angle = |step: usize| coordinate as f64 / 10_000_f64.powf(step as f64 / quarter as f64);
            values.extend((0..quarter).map(|step| angle(step).sin() as f32));
            values.extend((0..quarter).map(|step| angle(step).cos() as f32));
        }
    }
    values
}
