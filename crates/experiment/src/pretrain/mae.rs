//! Masked autoencoding (MAE): what a Vision Transformer learns from painting hidden patches.

use anyhow::bail;
use robustify_distill::mae::Masking;
use robustify_methods::config::check;
use robustify_zoo::vit::{MaeDecoder, MaskedAutoencoder};
use robustify_zoo::{Model, ModelConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Made, PretrainConfig, Pretraining, Session, unlabelled};

/// Hidden patches are to be painted.
pub(super) struct MaskedAutoencoding;

/// `[settings.mae]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "MaeSettings")]
struct Settings {
    /// Share of the patches that is hidden, in `(0, 1)`.
    masked: f64,
    /// Whether patches are compared at a mean of zero and a variance of one.
    normalised: bool,
    /// Width of the decoder (the authors' for a ViT-B: 512).
    width: usize,
    /// Its blocks (8).
    depth: usize,
    /// Its attention heads (16).
    heads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { masked: 0.75, normalised: true, width: 64, depth: 2, heads: 4 }
    }
}

impl Pretraining for MaskedAutoencoding {
    fn name(&self) -> &'static str {
        "mae"
    }

    fn about(&self) -> &'static str {
        "the pixels of hidden patches, by a light decoder and without labels"
    }

    fn faults(&self, config: &PretrainConfig) -> Vec<String> {
        let mut faults = unlabelled::faults(self.name(), config);
        if let ModelConfig::Vit(network) = &config.network {
            check(&mut faults, network.stem.is_empty(), || {
                "network.stem: its convolutions overlap, so that a token tells of hidden pixels beside its patch; mae needs a \
                 network without a stem"
                    .into()
            });
            check(&mut faults, network.prompts.is_none() && !network.distilled, || {
                "network: mae trains a network without prompts and without a distillation token".into()
            });
            let has_positions =
                network.absolute_positions && network.relative_positions == robustify_zoo::vit::RelativePositions::None;
            check(&mut faults, has_positions, || {
                "network: mae hides patches and tells where they are by absolute positions; relative_positions is to be \"none\" and \
                 absolute_positions true"
                    .into()
            });
        }
        match config.settings::<Settings>(self.name()) {
            Err(error) => faults.push(format!("{error:#}")),
            Ok(Settings { masked, width, depth, heads, .. }) => {
                check(&mut faults, masked > 0.0 && masked < 1.0, || {
                    format!("settings.mae.masked {masked} is not in (0, 1)")
                });
                let is_sound =
                    depth > 0 && heads > 0 && width > 0 && width.is_multiple_of(4) && width.is_multiple_of(heads);
                check(&mut faults, is_sound && width.max(depth) <= 1 << 20, || {
                    format!(
                        "settings.mae: width {width} is to be a multiple of 4 and of heads {heads}, and depth {depth} at least 1"
                    )
                });
            }
        }
        faults
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<Settings>())
    }

    fn train(&self, session: &Session<'_>) -> anyhow::Result<Made> {
        let config = session.config;
        let Settings { masked, normalised, width, depth, heads } = config.settings(self.name())?;
        let ModelConfig::Vit(network) = &config.network else { bail!("mae needs a Vision Transformer") };
        let decoder = MaeDecoder { width, depth, heads };
        let model = MaskedAutoencoder::new(network, decoder, config.seed, &session.machine.device)?;
        let [height, columns] = network.grid();
        let objective = Masking { images: session.image_training()?, masked, normalised, patches: height * columns };
        let (bytes, model) = session.written(Model::Vit(session.train(&objective, model)?.encoder))?;
        Ok(Made { bytes, scores: vec![unlabelled::score(session, &model)?] })
    }
}
