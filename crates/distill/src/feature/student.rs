//! What learns: an encoder, and a linear map from its tokens to the teacher's.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use robustify_rng::Key;
use robustify_zoo::layers::{Init, Linear};
use robustify_zoo::{Model, ModelConfig};

use crate::DistillError;

/// An encoder with its projector, which is of no use once the encoder is trained.
#[derive(Module, Debug)]
pub struct FeatureStudent {
    /// What is kept.
    pub encoder: Model,
    projector: Linear,
}

impl FeatureStudent {
    /// A student with fresh weights for targets of a width. Those of the projector are drawn uniformly up to the inverse root of the
    /// encoder's width, as PyTorch draws those of a convolution.
    ///
    /// # Errors
    /// A configuration with faults, one with a classifier, which would learn nothing, and one with BatchNorm.
    pub fn new(network: &ModelConfig, width: usize, seed: u64, device: &Device) -> Result<Self, DistillError> {
        if network.classes() > 0 {
            let fault =
                format!("a student learns tokens and has no classifier: classes is {}, not 0", network.classes());
            return Err(DistillError::Config(fault));
        }
        if network.has_batch_norm() {
            let fault = "a student is a Vision Transformer or a Swin Transformer: those with BatchNorm learn in other groups of rows";
            return Err(DistillError::Config(fault.into()));
        }
        let encoder = Model::new(network, seed, device)?;
        let own = network.token_width();
        // A stream of its own, since that of the seed made the network.
        let mut init = Init::new(Key::new(seed, "feature projector").digest(), device);
        let bound = (own as f64).powf(-0.5);
        let (weight, bias) = (init.uniform([width, own], bound), init.uniform([width], bound));
        Ok(Self { encoder, projector: Linear { weight, bias: Some(bias) } })
    }

    /// A student of parts that exist.
    ///
    /// # Shapes
    /// - weight: `[target width, token width]`
    /// - bias: `[target width]`
    pub fn with_projector(encoder: Model, weight: Tensor<2>, bias: Tensor<1>) -> Self {
        let projector = Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) };
        Self { encoder, projector }
    }

    /// Tokens as the teacher would have them.
    ///
    /// # Shapes
    /// - tokens: `[rows, tokens, token width]`
    /// - output: `[rows, tokens, target width]`
    pub fn projected(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.projector.forward(tokens)
    }
}
