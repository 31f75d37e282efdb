//! Learning rates that fall from the last layer to the first, with which a pre-trained encoder is fine-tuned as a whole.
//!
//! Source: Clark et al. 2020 (ELECTRA), arXiv:2003.10555, in the form of Bao et al. 2022 (BEiT), arXiv:2106.08254, and
//! SwinTransformer/Feature-Distillation, `optimizer.py`.

use robustify_zoo::ModelConfig;

use crate::optimizer::Group;

/// Which layer a parameter belongs to, and the factor on its learning rate. Layer 0 has the patch embedding, tokens and positions, layer
/// `i + 1` block `i` (of a residual network, residual block `i`), and the last one everything else: shared position biases, the last norm and
/// the classifier. Swin's patch merging belongs to the last block before it.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDecay {
    decay: f64,
    /// Blocks by stage; of a Vision Transformer there is one stage.
    depths: Vec<usize>,
}

/// First parts of the names of layer 0.
const EMBEDDING: [&str; 10] = [
    "patch_embed",
    "cls_token",
    "dist_token",
    "reg_token",
    "mask_token",
    "pos_embed",
    "norm_pre",
    "stem",
    "conv1",
    "bn1",
];

impl LayerDecay {
    /// A factor of `decay` from each layer to the one before it.
    pub fn new(decay: f64, network: &ModelConfig) -> Self {
        let depths = match network {
            ModelConfig::Vit(config) => vec![config.depth],
            ModelConfig::Swin(config) => config.depths.clone(),
            ModelConfig::ResNet(config) => config.layers.to_vec(),
            ModelConfig::ClipResNet(config) => config.layers.to_vec(),
        };
        Self { decay, depths }
    }

    /// The last layer's number.
    fn last(&self) -> usize {
        self.depths.iter().sum::<usize>() + 1
    }

    /// The number of a parameter's layer.
    pub fn layer(&self, name: &str) -> usize {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<usize>().ok());
        let before = |stage: usize| self.depths.iter().take(stage).sum::<usize>();
        match first {
            "blocks" => number(parts.next()).map_or(self.last(), |block| block + 1),
            "layers" => {
                let (stage, within) = (number(parts.next()).unwrap_or_default(), parts.next());
                match (within, number(parts.next())) {
                    (Some("blocks"), Some(block)) => before(stage) + block + 1,
                    (Some("downsample"), _) => before(stage),
                    _ => self.last(),
                }
            }
            _ if EMBEDDING.contains(&first) => 0,
            // `layer1` is the first stage of a residual network.
            _ => match (number(first.strip_prefix("layer")), number(parts.next())) {
                (Some(stage @ 1..), Some(block)) => before(stage - 1) + block + 1,
                _ => self.last(),
            },
        }
    }

    /// The factor on the learning rate of a parameter.
    pub fn scale(&self, name: &str) -> f64 {
        self.decay.powi((self.last() - self.layer(name).min(self.last())) as i32)
    }

    /// A group with that factor on its rate.
    #[must_use]
    pub fn of(&self, name: &str, group: Group) -> Group {
        Group { rate_scale: group.rate_scale * self.scale(name), ..group }
    }
}
