//! Work on picture files, outside any training: every picture of a folder through a corruption or an augmentation.
//!
//! A [`CorruptJob`] or an [`AugmentJob`] says what is made of which [`Files`]; [`corrupt`] and [`augment`] do it. Within, `Inputs` finds
//! the pictures, a `Work` makes variants of one of them, and an `Output` keeps them: a tree of files, arrays, or archives. Pictures
//! are decoded once and worked on side by side; what comes out depends on the picture, its name and the seed alone. Every finished
//! file is listed with its SHA-256 in `manifest.jsonl`, by which the next start knows what is done.
//!
//! ```
//! use robustify_augment::{Corruption, Profile, Severity};
//! use robustify_pictures::{CorruptJob, Files, corrupt};
//! use robustify_watch::Silent;
//!
//! let folder = tempfile::tempdir()?;
//! let (input, output) = (folder.path().join("in"), folder.path().join("out"));
//! std::fs::create_dir(&input)?;
//! image::RgbImage::from_pixel(32, 32, image::Rgb([200, 100, 50])).save(input.join("plain.png"))?;
//! let job = CorruptJob {
//!     files: Files::new(&input, &output),
//!     profile: Profile::CifarC,
//!     corruptions: vec![Corruption::Fog],
//!     severities: vec![Severity::try_from(3)?],
//!     frost_dir: None,
//!     noise_from: None,
//! };
//! corrupt(&job, &Silent)?;
//! assert!(output.join("fog/3/plain.png").is_file() && output.join("manifest.jsonl").is_file());
//! # Ok::<(), anyhow::Error>(())
//! ```
#![deny(missing_docs)]

mod augment;
mod corrupt;
mod inputs;
mod job;
mod manifest;
mod output;
mod packed;
mod picture;
mod run;
mod sheet;
mod trace;

pub use augment::{AugmentJob, Deep, DeepMethod, augment};
pub use corrupt::{CorruptJob, corrupt};
pub use job::Files;
pub use output::Format;

use inputs::Inputs;

/// How many pictures there are in `input`, as [`corrupt`] and [`augment`] take it. None is decoded.
///
/// # Errors
/// What is no picture, array or folder of pictures, or cannot be read.
pub fn count(input: &std::path::Path) -> anyhow::Result<usize> {
    Ok(Inputs::open(input)?.len())
}

/// An end that is no fault: why not everything was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// A stop was asked for; the text says what becomes of the work.
    #[error("{0}")]
    Stopped(String),
    /// The work is done, but some of its inputs were unusable; the text says how many.
    #[error("{0}")]
    Partial(String),
}

use image::RgbImage;
use robustify_augment::Scratch;

/// What is made of every picture.
trait Work: Sync {
    /// Everything that determines the pixels besides the picture itself. A folder holds the results of one such setting.
    fn settings(&self) -> serde_json::Value;

    /// What is made of a picture, in order.
    fn variants(&self) -> &[Variant];

    /// Makes one variant of a picture into `out`, which may hold anything. `name` is the identity of the picture.
    fn make(
        &self,
        image: &RgbImage,
        name: &str,
        variant: usize,
        scratch: &mut Scratch,
        out: &mut RgbImage,
    ) -> anyhow::Result<()>;

    /// What was drawn for a picture, in a line for the manifest, where the settings do not say it all.
    fn describe(&self, _name: &str, _variant: usize) -> Option<String> {
        None
    }
}

/// One of the results of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variant {
    /// What it belongs to: the corruption. One array holds one group.
    group: String,
    /// Its part of the group: the severity. None if the group has but one.
    part: Option<String>,
}

impl Variant {
    /// The folder of its files, `group/part`; empty for work with one unnamed variant.
    fn folder(&self) -> String {
        match &self.part {
            Some(part) => format!("{}/{part}", self.group),
            None => self.group.clone(),
        }
    }
}
