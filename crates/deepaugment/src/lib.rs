//! DeepAugment: training images made by networks that are random, or trained and then broken.
//!
//! Source: Hendrycks et al. 2021, "The Many Faces of Robustness", arXiv:2006.16241.
//!
//! [`DeepAugment`] turns 8-bit images into augmented images of the same sizes, each by its own [`Key`]: an image comes out
//! the same in any batch and any order. It works in one of two ways:
//!
//! - [`Noise2Net`] sends an image through a small residual network with fresh random weights. It needs no training, and can
//!   also be used on tensors alone, in the middle of a training.
//! - A [`Network`] that restores its input is perturbed: a [`WeightPerturb`] draws [`WeightOp`]s for some layers, and
//!   [`LatentOp`]s change the features on their way. The network is an [`Autoencoder`] that [`train`] fits to the user's own
//!   images, or one of those that the authors perturbed, [`Cae`] and [`Edsr`], for users who have the weights.
//!
//! [`operations`] offers both as steps of a training policy, beside those of the crate `robustify-augment`.
//!
//! Everything here runs on the device it is given. Nothing is drawn on a device, so all backends see the same networks; their
//! outputs differ by rounding.
//!
//! ```
//! use image::RgbImage;
//! use robustify_deepaugment::{AutoencoderConfig, DeepAugment, DeepAugmentError, Key, Noise2Net, TrainConfig, train};
//!
//! let device = robustify_device::open(Some("flex"))?;
//! let photos: Vec<RgbImage> = (1..5)
//!     .map(|n| RgbImage::from_fn(20, 16, |x, y| image::Rgb([(x * 12) as u8, (y * 15) as u8, (x * y * n) as u8])))
//!     .collect();
//! let keys: Vec<Key> = (0..4).map(|id| Key::new(7, "deepaugment").with(id)).collect();
//!
//! let random = DeepAugment::noise2net(Noise2Net::default(), &device).apply(&photos, &keys)?;
//! assert_eq!(random[0].dimensions(), (20, 16));
//!
//! let network = AutoencoderConfig { width: 8, code: 4 };
//! let config = TrainConfig { network, epochs: 2, crop: 16, ..TrainConfig::default() };
//! let trained = train(photos.len(), |index| Ok::<_, DeepAugmentError>(photos[index].clone()), &config, &device)?;
//! assert_eq!(trained.losses.len(), 2);
//!
//! let augment = DeepAugment::perturbed(trained.network);
//! let perturbed = augment.apply(&photos, &keys)?;
//! assert_eq!(perturbed[3], augment.apply(&photos[3..], &keys[3..])?[0]);
//! assert!(augment.describe(keys[3]).contains("coder_"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod autoencoder;
mod cae;
mod deep_augment;
mod edsr;
mod error;
mod latent_op;
mod layers;
mod noise2net;
mod operation;
mod pixels;
mod recipe;
mod state;
#[cfg(test)]
mod testing;
mod train;
mod weight_op;

pub use autoencoder::{Autoencoder, AutoencoderConfig};
pub use cae::{Cae, CaeConfig};
pub use deep_augment::{DeepAugment, Network};
pub use edsr::{Edsr, EdsrConfig};
pub use error::DeepAugmentError;
pub use latent_op::LatentOp;
pub use noise2net::Noise2Net;
pub use operation::{check_operation, operations};
pub use recipe::{Recipe, WeightPerturb};
pub use robustify_rng::Key;
pub use state::{Entry, State};
pub use train::{TrainConfig, Trained, train};
pub use weight_op::WeightOp;
