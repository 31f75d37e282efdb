//! The weights of attention: who looks at them, and where the tokens that they join lie in an image.

use burn::tensor::Tensor;

use crate::ModelConfig;

/// Who looks at the weights of attention while a forward computes them, see [`Pass::with_attention`](crate::Pass::with_attention).
pub trait Onlooker: Sync {
    /// What a layer of a name from [`ModelConfig::attention`] gives each key's value for each query, after the softmax and before
    /// dropout. A layer's weights are gone when this returns, unless they are kept.
    ///
    /// # Shapes
    /// - weights: `[rows * windows, heads, queries, keys]`, the windows of an image next to each other
    fn saw(&self, layer: &str, weights: Tensor<4>);
}

/// A layer of self-attention, and the tokens of its windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionLayer {
    /// timm's name of the module.
    pub name: String,
    /// Its heads.
    pub heads: usize,
    /// Side in pixels of the square of the image that a patch stands for.
    pub pixels: usize,
    /// Tokens before the patches: class, distillation and register tokens, and prompts.
    pub prefix: usize,
    /// Rows and columns of a window, in patches; without windows those of the image.
    pub window: [usize; 2],
    /// For every window of an image, where each of its patches lies among all of the image, as row and column, in the order of
    /// the tokens. None for what only fills a window up.
    pub places: Vec<Vec<Option<[usize; 2]>>>,
}

impl AttentionLayer {
    /// Tokens of a window.
    pub fn tokens(&self) -> usize {
        self.prefix + self.window[0] * self.window[1]
    }
}

impl ModelConfig {
    /// The layers of self-attention in the order of a forward; none in residual networks. The pool of CLIP's is no such layer.
    pub fn attention(&self) -> Vec<AttentionLayer> {
        match self {
            Self::Vit(config) => {
                let [rows, columns] = config.grid();
                let place = |patch: usize| Some([patch / columns, patch % columns]);
                let places: Vec<_> = (0..rows * columns).map(place).collect();
                let layer = |block: usize| AttentionLayer {
                    name: format!("blocks.{block}.attn"),
                    heads: config.heads,
                    pixels: config.patch_size,
                    prefix: config.prefix() + config.prompt_tokens(),
                    window: [rows, columns],
                    places: vec![places.clone()],
                };
                (0..config.depth).map(layer).collect()
            }
            Self::Swin(config) => config.attention(),
            Self::ResNet(_) | Self::ClipResNet(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Model, Pass};

    #[derive(Default)]
    struct Kept(Mutex<Vec<(String, Tensor<4>)>>);

    impl Onlooker for Kept {
        fn saw(&self, layer: &str, weights: Tensor<4>) {
            self.0.lock().unwrap().push((layer.to_owned(), weights));
        }
    }

    /// Every layer is seen once, under its name and in its shape; rows are weights; and nobody's looking on changes an answer.
    #[test]
    fn every_layer_is_seen_and_answers_stay() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let vit = r#"{"architecture": "vit", "image_size": 16, "patch_size": 4, "width": 12, "depth": 2, "heads": 3, "classes": 5,
            "registers": 2, "prompts": {"tokens": 3, "deep": true, "projection": 0}}"#;
        let swin = |version: &str| {
            format!(
                r#"{{"architecture": "swin", "version": "{version}", "image_size": 40, "patch_size": 4, "width": 8, "depths": [2, 2],
                "heads": [2, 4], "windows": [4, 4], "classes": 5}}"#
            )
        };
        for text in [vit.to_owned(), swin("v1"), swin("v2")] {
            let config: ModelConfig = serde_json::from_str(&text).unwrap();
            let model = Model::new(&config, 1, &device).unwrap();
            let side = config.image_size();
            let count = (2 * 3 * side * side) as i64;
            let images = Tensor::<1, burn::tensor::Int>::arange(0..count, &device).float() / count;
            let images = images.reshape([2, 3, side, side]);
            let kept = Kept::default();
            let seen = model.forward(images.clone(), &Pass::eval().with_attention(&kept)).into_data();
            let alone = model.forward(images, &Pass::eval()).into_data();
            seen.assert_approx_eq::<f32>(&alone, burn::tensor::Tolerance::absolute(1e-5));
            let kept = kept.0.into_inner().unwrap();
            let layers = config.attention();
            assert_eq!(kept.len(), layers.len());
            for (layer, (name, weights)) in layers.iter().zip(kept) {
                assert_eq!(layer.name, name);
                let tokens = layer.tokens();
                assert_eq!(weights.dims(), [2 * layer.places.len(), layer.heads, tokens, tokens], "{name}");
                assert!(layer.places.iter().all(|places| places.len() + layer.prefix == tokens), "{name}");
                let sums: Vec<f32> = weights.sum_dim(3).into_data().try_to_vec().unwrap();
                assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{name}");
            }
        }
    }
}
