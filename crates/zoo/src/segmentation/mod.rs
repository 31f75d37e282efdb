//! From the features of an image to a class for every pixel: the neck that makes a pyramid of a ViT's maps, and UPerNet.
//!
//! Fields carry the names of the transformers port (`decode_head.psp_modules.0.1.conv`, `fpn1.0`), so that weights load by key.
//!
//! ```
//! use burn::tensor::Tensor;
//! use robustify_zoo::segmentation::{SegmentationHead, UperConfig};
//! use robustify_zoo::{Pass, layers::Init};
//!
//! let device = robustify_device::open(Some("flex"))?;
//! let config = UperConfig { inputs: [4, 4, 8, 8], ..UperConfig::new(6, 5) };
//! let head = SegmentationHead::new(&config, &mut Init::new(1, &device));
//! let map = |channels, side| Tensor::zeros([1, channels, side, side], &device);
//! let logits = head.forward([map(4, 8), map(4, 4), map(8, 2), map(8, 1)], &Pass::eval());
//! assert_eq!(logits.dims(), [1, 5, 8, 8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod neck;
mod resample;
mod upernet;

pub use neck::{Deconvolution, Gelu, Neck, Neck8, Neck16};
pub use resample::{average_pool, resize_bilinear};
pub use upernet::{AveragePool, ConvBlock, FcnHead, SegmentationHead, UperConfig, UperHead};
