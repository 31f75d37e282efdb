//! Image corruptions (ImageNet-C, CIFAR-10-C, C-bar) and training augmentations (AugMix, PixMix, RandConv and the usual
//! ones) on plain pixel buffers.
//!
//! Images go in and come out as [`RgbImage`]: interleaved 8-bit RGB in rows, levels 0-255, any size. Nothing here
//! knows tensors, files or threads. Every draw comes from a [`robustify_rng::Key`] that the caller makes from the
//! seed and the sample, so neither the order of the calls nor the number of threads changes a pixel.
//!
//! - A [`Corruptor`] holds the constants of a [`Profile`] and applies a [`Corruption`] at a [`Severity`].
//! - A [`Policy`] is what training does to an image: [`AugMix`], [`PixMix`], [`RandConv`] and others or chains of them,
//!   written as a line of text. Steps that need a network are an [`Augmentation`] from outside.
//! - A [`MixingSet`] holds the pictures that PixMix mixes in: generated ones, or the caller's.
//! - [`MixUp`] and [`CutMix`] mix two images and say what their labels weigh.
//! - [`PillowOp`] is one of AugMix's operations, [`resize`] resizes; both give Pillow's bytes.
//!
//! ```
//! use robustify_augment::{Corruption, Corruptor, Policy, Profile, RgbImage, Severity};
//! use robustify_rng::Key;
//!
//! let image = RgbImage::from_fn(32, 32, |x, y| image::Rgb([8 * x as u8, 8 * y as u8, 128]));
//!
//! // A cell of the benchmark: sample 17 under seed 0, shot noise of severity 3.
//! let corruptor = Corruptor::new(Profile::CifarC);
//! let sample = Key::new(0, "benchmark").with(17);
//! let noisy = corruptor.apply(&image, Corruption::ShotNoise, Severity::try_from(3)?, sample);
//! assert_eq!(noisy.dimensions(), (32, 32));
//! assert_ne!(noisy, image);
//!
//! // A view for training: sample 17 in epoch 2.
//! let policy: Policy = "augmix(severity=3)|rand_conv|rand_conv+augmix".parse()?;
//! let view = policy.apply(&image, Key::new(0, "training").with(2).with(17));
//! assert_eq!(view.dimensions(), (32, 32));
//! # Ok::<(), robustify_augment::AugmentError>(())
//! ```
//!
//! # The corruptions
//!
//! Severities run from 1 to 5; the constants of a severity depend on the profile. Samples are in `[0, 1]`, lengths in
//! pixels. Not every corruption is worse for the eye or a model at a higher severity: glass blur, frost, elastic
//! transform, saturate and spatter are not monotone, in the reference neither.
//!
//! | corruption | group | constants | `cifar-c`, severity 1 and 5 | `imagenet-c`, severity 1 and 5 |
//! |---|---|---|---|---|
//! | `gaussian_noise` | noise | standard deviation | 0.04, 0.10 | 0.08, 0.38 |
//! | `shot_noise` | noise | photons at white | 500, 50 | 60, 3 |
//! | `impulse_noise` | noise | share of samples | 0.01, 0.07 | 0.03, 0.27 |
//! | `defocus_blur` | blur | radius of the disk, px | 0.3, 1.5 | 3, 10 |
//! | `glass_blur` | blur | deviation px, reach px, rounds | (0.05, 1, 1), (0.4, 1, 2) | (0.7, 1, 2), (1.5, 4, 2) |
//! | `motion_blur` | blur | radius px, deviation px | (6, 1), (9, 2.5) | (10, 3), (20, 15) |
//! | `zoom_blur` | blur | largest magnification | 1.06, 1.25 | 1.11, 1.30 |
//! | `snow` | weather | mean of the flakes, weight of the image | (0.1, 0.95), (0.3, 0.8) | (0.1, 0.8), (0.55, 0.55) |
//! | `frost` | weather | weights of image and texture | (1, 0.2), (0.75, 0.45) | (1, 0.4), (0.6, 0.75) |
//! | `fog` | weather | height in units of white | 0.2, 1.5 | 1.5, 3 |
//! | `brightness` | weather | added to the value of HSV | 0.05, 0.3 | 0.1, 0.5 |
//! | `contrast` | digital | factor about the channel mean | 0.75, 0.15 | 0.4, 0.05 |
//! | `elastic_transform` | digital | displacement px, its smoothing px, affine px | (0, 0, 2.56), (3.2, 0.96, 0.96) | (488, 170.8, 24.4), (29.28, 2.44, 4.88) |
//! | `pixelate` | digital | share of the side kept | 0.95, 0.65 | 0.6, 0.25 |
//! | `jpeg_compression` | digital | quality of libjpeg | 80, 40 | 25, 7 |
//! | `speckle_noise` | validation | deviation in units of the sample | 0.06, 0.2 | 0.15, 0.6 |
//! | `gaussian_blur` | validation | deviation, px | 0.4, 1.0 | 1, 6 |
//! | `spatter` | validation | smoothing of the liquid, px | 0.7, 0.5 | 4, 1 |
//! | `saturate` | validation | factor and offset of the saturation | (0.3, 0), (2.5, 0.2) | (0.3, 0), (20, 0.2) |
//!
//! The fifteen of C-bar ([`Corruption::IMAGENET_BAR`], [`Corruption::CIFAR_BAR`]) resemble no usual augmentation, so they
//! show what robustness is worth beyond the nineteen. Their levels run to 10; lengths are shares of the image's side.
//!
//! | corruption | what its level is | `cifar-c`, severity 1 and 5 | others, severity 1 and 5 |
//! |---|---|---|---|
//! | `caustic_refraction` | size of the waves of light | | 2.35, 9.15 |
//! | `inverse_sparkles` | reach of the rays around one centre | 1, 5 | 1, 10 |
//! | `sparkles` | strength of five bright stars | 0.7, 7 | 1, 6 |
//! | `perlin_noise` | weight of the turbulence | | 4.6, 8.8 |
//! | `blue_noise_sample` | threshold below which pixels turn black | 0.7, 4.2 | 0.8, 5.6 |
//! | `plasma_noise` | weight of the plasma | | 4.75, 10 |
//! | `checkerboard_cutout` | odds of a square to be grey, tenths | 1, 5 | 2, 6 |
//! | `cocentric_sine_waves` | amplitude | | 3, 10 |
//! | `single_frequency_greyscale` | amplitude | | 1, 5 |
//! | `brownish_noise` | deviation of the noise | 2.5, 7 | 1, 5 |
//! | `pinch_and_twirl` | angle and amount | 5.5, 10 | |
//! | `ripple` | amplitude of the displacement | 5.5, 8 | |
//! | `circular_motion_blur` | angle of the arc | 2.8, 6 | |
//! | `lines` | number of lines | 0.5, 2.5 | |
//! | `transverse_chromatic_abberation` | difference of the magnifications | 1, 10 | |
//!
//! Speed: [`Corruptor::apply_into`] works with buffers that the caller keeps ([`Scratch`]) and allocates nothing once they
//! have grown; the 75 cells of the benchmark take about 24 ms for an image of 224 pixels on one core of 2024.
//!
//! Given the same random draws ([`Corruptor::replay`]), results equal those of the authors' Python generators byte by byte on the golden data
//! of this crate. Two limits: the published ImageNet-C files were saved as JPEG of quality 85 after this, and frost
//! is drawn with procedural textures unless the caller has the authors' photographs ([`FrostSource`]), so a mean over
//! all corruptions is not the official number.
#![deny(missing_docs)]

/// Grows by one whenever a corruption or an augmentation gives other pixels for the same key. Whatever is cached should
/// depend on it.
pub const REVISION: u32 = 4;

mod affine;
mod augmix;
mod bar;
mod border;
mod cell;
mod colour;
mod corruption;
mod corruptor;
mod crop;
mod defocus;
mod draws;
mod elastic;
mod erase;
mod error;
mod filter;
mod fog;
mod frost;
mod gaussian_blur;
mod glass;
mod ifs;
mod jitter;
mod jpeg;
mod jpeg_file;
mod leaves;
mod magnify;
mod mixing;
mod mixture;
mod motion;
mod noise;
mod outside;
mod pairs;
#[cfg(test)]
mod parity;
mod pillow;
mod pillow_resize;
mod pixelate;
mod pixmix;
mod plasma;
mod pointwise;
mod policy;
mod profile;
mod rand_conv;
mod recipes;
mod resize;
mod rgbx;
mod rows;
mod scratch;
mod shape;
mod simd;
mod snow;
mod spatter;
mod step;
mod ties;
mod undulation;
mod zoom;

pub use augmix::{AugMix, OpSet};
pub use corruption::{Corruption, Group, Severity};
pub use corruptor::Corruptor;
pub use crop::{RandomResizedCrop, random_flip};
pub use draws::Trace;
pub use erase::{CutOut, Filling, RandomErasing};
pub use error::AugmentError;
pub use frost::FrostSource;
pub use image::RgbImage;
pub use jitter::ColourJitter;
pub use jpeg::encode_jpeg;
pub use mixing::{MixingKind, MixingSet};
pub use outside::{Augmentation, Operations};
pub use pairs::{CutBox, CutMix, MixUp};
pub use pillow::PillowOp;
pub use pillow_resize::{Filter, resize};
pub use pixmix::PixMix;
pub use policy::{Checks, Policy};
pub use profile::Profile;
pub use rand_conv::RandConv;
pub use recipes::{RECIPES, written_out};
pub use scratch::Scratch;
