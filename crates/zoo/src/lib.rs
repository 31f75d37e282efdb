//! Vision models that load timm checkpoints by key, and where each may be cut.
//!
//! A [`ModelConfig`] says which network; [`Model::new`] builds it with fresh weights and [`weights::load`] fills it from a
//! checkpoint of timm, torchvision or the models' authors. Every model is a chain of units (the stem, then blocks or stages, then the
//! classifier). [`Model::cut_points`] names the places between units, [`Model::features`] runs the part before a cut and
//! [`Model::segment`] clones the part after it, which is how a frozen backbone and its tunable rest are made.
//! A [`Pass`] tells a forward what is stochastic in it: the keyed dropout masks and where batch statistics go.
//!
//! Modules live on a plain device. Training takes `segment.clone().train()` for the time of a step, a clone for every
//! thread: graphs that share a leaf can deadlock. Inputs and masks may stay plain, since Burn treats a plain tensor as a
//! constant beside an autodiff one. Gradients come back as plain tensors.
//!
//! ```
//! use robustify_zoo::{Model, ModelConfig, Pass};
//!
//! let config: ModelConfig = serde_json::from_str(
//!     r#"{"architecture": "vit", "image_size": 32, "patch_size": 8, "width": 24, "depth": 2, "heads": 3, "classes": 10}"#,
//! )?;
//! let device = robustify_device::open(Some("flex"))?;
//! let model = Model::new(&config, 1, &device)?;
//! let images = burn::tensor::Tensor::<4>::zeros([2, 3, 32, 32], &device);
//! assert_eq!(model.forward(images.clone(), &Pass::eval()).dims(), [2, 10]);
//!
//! let cut = model.cut_points()[2];
//! let features = model.features(images, cut);
//! assert_eq!(model.segment(cut, model.last_cut()).forward(features, &Pass::eval()).logits().dims(), [2, 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod attention;
mod classes;
pub mod clip;
mod error;
mod features;
mod fine_tuning;
pub mod layers;
mod limits;
mod macs;
mod model;
mod pass;
pub mod registry;
pub mod resize;
pub mod resnet;
pub mod segmentation;
mod setting;
pub mod swin;
mod texts;
mod tokens;
pub mod transformers;
pub mod vit;
pub mod weights;

pub use attention::{AttentionLayer, Onlooker};
pub use error::ZooError;
pub use features::Features;
pub use model::{CutPoint, Model, ModelConfig, Segment, Unit};
pub use pass::{BatchStatistics, Masks, Pass, Trace};
pub use setting::{network, network_schema};
pub use tokens::LastTokens;
