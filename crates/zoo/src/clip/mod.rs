//! CLIP: an image tower and a text tower whose features are compared. Source: Radford et al. 2021, arXiv:2103.00020.
//!
//! The image tower is a [`Model`] like any other: a ViT with a norm before its blocks and the projection as its classifier
//! (timm's names), or CLIP's own residual network ([`ClipResNet`], open_clip's names). The ids that the text tower reads come
//! from the crate `robustify-tokenizer`.
//!
//! ```
//! use burn::tensor::Tensor;
//! use robustify_zoo::{Pass, clip::{Clip, ClipConfig}};
//!
//! let config = ClipConfig::from_open_clip(
//!     r#"{"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "patch_size": 8, "head_width": 8},
//!         "text_cfg": {"context_length": 8, "vocab_size": 100, "width": 24, "heads": 3, "layers": 2}}"#,
//! )?;
//! let device = robustify_device::open(Some("flex"))?;
//! let clip = Clip::new(&config, 1, &device)?;
//! let images = clip.encode_image(Tensor::zeros([2, 3, 32, 32], &device), &Pass::eval());
//! let texts = clip.encode_text(&[vec![98, 5, 7, 99], vec![98, 6, 99, 0], vec![98, 99, 0, 0]])?;
//! assert_eq!(clip.logits_per_image(images, texts).dims(), [2, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
pub mod names;
mod readout;
mod resnet;
mod text;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use config::ClipConfig;
pub(crate) use config::vit_tower;

pub use readout::{Readout, TextMatrix, text_matrix, zero_shot_logits};
pub use resnet::{AttentionPool, Bottleneck, ClipResNet, ClipResNetConfig, ClipResNetSegment};
pub use text::{TextConfig, TextTower};

use crate::layers::Init;
use crate::{Model, Pass, ZooError};

/// An image tower, a text tower, and how much their cosine counts.
#[derive(Module, Debug)]
pub struct Clip {
    /// The image tower.
    pub visual: Model,
    /// The text tower.
    pub text: TextTower,
    /// Logarithm of the factor of the cosine, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
}

impl Clip {
    /// Towers with fresh weights, drawn on the host from `seed`.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &ClipConfig, seed: u64, device: &Device) -> Result<Self, ZooError> {
        Self::build(config, &mut Init::new(seed, device))
    }

    /// Towers to load weights into; they take no memory for weights before that.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn blank(config: &ClipConfig, device: &Device) -> Result<Self, ZooError> {
        Self::build(config, &mut Init::blank(device))
    }

    fn build(config: &ClipConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        Ok(Self {
            visual: Model::build(&config.image, init)?,
            text: TextTower::new(&config.text, init)?,
            // The temperature of 0.07 with which training begins.
            logit_scale: init.constant([1], (1.0_f32 / 0.07).ln()),
        })
    }

    /// Features of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    /// - output: `[batch, embed_dim]`
    pub fn encode_image(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<2> {
        self.visual.forward(images, pass)
    }

    /// Features of texts, see [`TextTower::forward`].
    ///
    /// # Shapes
    /// - rows: ids, the same number in every row
    /// - output: `[rows, embed_dim]`
    ///
    /// # Errors
    /// Ids that the tower cannot read.
    pub fn encode_text(&self, rows: &[Vec<u32>]) -> Result<Tensor<2>, ZooError> {
        self.text.forward(rows)
    }

    /// The matrices that end both towers, `[width, embed_dim]` of the image tower's and of the text tower's width; of CLIP's residual
    /// network that of its attention pool. None for an image tower that ends otherwise.
    pub fn projections(&self) -> Option<[Tensor<2>; 2]> {
        let image = match &self.visual {
            Model::Vit(vit) => vit.head.as_ref()?.weight.val(),
            Model::ClipResNet(resnet) => resnet.attnpool.c_proj.weight.val(),
            Model::ResNet(_) | Model::Swin(_) => return None,
        };
        Some([image.transpose(), self.text.text_projection.val()])
    }

    /// The cosines of images and texts times the factor that was learned: the logits of images over texts as classes.
    ///
    /// # Shapes
    /// - images: `[images, embed_dim]`
    /// - texts: `[texts, embed_dim]`
    /// - output: `[images, texts]`
    pub fn logits_per_image(&self, images: Tensor<2>, texts: Tensor<2>) -> Tensor<2> {
        normalised(images).matmul(normalised(texts).transpose()) * self.logit_scale.val().exp().unsqueeze::<2>()
    }
}

/// Features of length one.
///
/// # Shapes
/// - features: `[rows, embed_dim]`
/// - output: that of `features`
pub fn normalised(features: Tensor<2>) -> Tensor<2> {
    let length = (features.clone() * features.clone()).sum_dim(1).sqrt();
    // A row of zeros stays one.
    features / length.clamp_min(1e-12)
}
