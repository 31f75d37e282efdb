//! Work on image files, outside any training: every picture of a folder through a corruption or an augmentation.
//!
//! [`Inputs`] finds the pictures, a [`Work`] makes variants of one of them, and an `Output` keeps them: a tree of files,
//! arrays, or archives. Pictures are decoded once and worked on side by side; what comes out depends on the picture, its name and the
//! seed alone. Every finished file is listed with its SHA-256 in `manifest.jsonl`, by which the next start knows what is done.

mod inputs;
mod manifest;
mod output;
mod packed;
mod picture;
mod run;
pub mod sheet;
pub mod trace;

pub use inputs::Inputs;
pub use output::{Format, check_names, encode, replace};
pub use picture::{Picture, png};
pub use run::{Options, run, stopped};

use image::RgbImage;
use robustify_augment::Scratch;

/// What is made of every picture.
pub trait Work: Sync {
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
pub struct Variant {
    /// What it belongs to: the corruption. One array holds one group.
    pub group: String,
    /// Its part of the group: the severity. None if the group has but one.
    pub part: Option<String>,
}

impl Variant {
    /// The folder of its files, `group/part`; empty for work with one unnamed variant.
    pub fn folder(&self) -> String {
        match &self.part {
            Some(part) => format!("{}/{part}", self.group),
            None => self.group.clone(),
        }
    }
}
