//! Image datasets, preprocessing, and a deterministic, ordered, prefetching loader.
//!
//! - [`Images`] is a shared [`ImageSet`]: IDX files ([`idx`]), CIFAR ([`cifar`]), folders of classes ([`ImageFolder`]), files that
//!   a list names ([`ImageList`]), WebDataset archives ([`Shards`]), images in memory ([`MemorySet`]), or a [`Subset`] of one, chosen
//!   by [`split`]. It gives a [`Sample`] an index; the sample's `id` is what randomness is keyed by.
//! - [`Preprocess`] is one string in two parts, pixels and normalisation; [`CleanView`] is the random geometry of training.
//!   Corruptions and augmentations run between the two parts.
//! - [`Loader`] runs all of that for one item on a worker thread, ahead of time, and hands out batches in order; [`batch`] makes
//!   them tensors.
//!
//! ```
//! use std::sync::Arc;
//! use robustify_data::{CleanView, Images, Loader, MemorySet, Preprocess, epoch_order};
//! use robustify_rng::Key;
//!
//! let image = image::RgbImage::from_pixel(40, 36, image::Rgb([255, 0, 0]));
//! let images: Images = Arc::new(MemorySet::from_images("red", &vec![image; 5], vec![0; 5], vec!["red".into()])?);
//! let view: CleanView = "random_crop(32)+hflip".parse()?;
//! let preprocess: Preprocess = "resize(36)|normalize(none)".parse()?;
//!
//! let (set, seed, epoch) = (Arc::clone(&images), 1, 0);
//! let job = Arc::new(move |index: usize, _position: usize| {
//!     let sample = set.get(index)?;
//!     let key = Key::new(seed, "train").with(epoch).with(sample.id);
//!     let pixels = view.apply(&preprocess.pixels(&sample.image)?, key)?;
//!     let mut row = vec![0.0; 3 * 32 * 32];
//!     preprocess.write_chw(&pixels, &mut row)?;
//!     Ok((row, sample.label))
//! });
//! let loader = Loader::new(epoch_order(images.len(), seed, epoch), 2, 2, job)?;
//! let sizes: Vec<usize> = loader.map(|batch| batch.map(|rows| rows.len())).collect::<Result<_, _>>()?;
//! assert_eq!(sizes, [2, 2, 1]);
//! # Ok::<(), robustify_data::DataError>(())
//! ```
#![deny(missing_docs)]

pub mod batch;
pub mod cifar;
pub mod decode;
mod error;
pub mod folder;
mod geometry;
pub mod idx;
pub mod layout;
mod left_out;
pub mod listed;
mod loader;
pub mod mat;
mod memory;
pub mod npy;
mod parse;
pub mod place;
mod preprocess;
mod relabelled;
mod scene;
mod set;
pub mod shards;
pub mod split;
pub mod splits;
mod view;
mod webp;

pub use burn_dataset::Dataset;

pub use error::{DataError, Result};
pub use folder::ImageFolder;
pub use geometry::{Fill, Filter, resize};
pub use layout::{Layout, Source};
pub use left_out::tell as tell_left_out;
pub use listed::ImageList;
pub use loader::{Job, Loader, epoch_order};
pub use memory::{MemorySet, Split, index_identity};
pub use preprocess::{Normalize, Preprocess, Step};
pub use relabelled::Relabelled;
pub use scene::Scene;
pub use set::{ImageSet, Images, Sample, Skipped, Subset};
pub use shards::Shards;
pub use splits::{DataConfig, DataFormat, Splits};
pub use view::CleanView;
