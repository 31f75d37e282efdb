//! The published data sets: what each is called, how its files may lie, which of a model's classes it has, how its pictures are prepared, and
//! how many there have to be.
//!
//! A [`Declaration`] is a file of this folder and a line in [`SUITES`]. It is looked for under a folder of data sets ([`Declaration::find`]),
//! opened as a [`Suite`](crate::Suite) ([`Declaration::open`]), and compared with its official numbers ([`Declaration::check`]).

use std::path::Path;

use robustify_augment::{Corruption, Profile};
use robustify_data::{DataError, Images};

use crate::BenchError;

mod cells;
mod check;
mod cifar;
pub mod classes;
mod fashion_mnist;
mod find;
mod flowers;
mod food101;
mod imagenet;
mod imagenet_a;
mod imagenet_c;
mod imagenet_r;
mod imagenet_sketch;
mod imagenet_v2;
mod inaturalist;
mod objectnet;
mod open;
mod pets;
mod places205;
mod published;
mod stanford_cars;
mod sun397;
mod tiny_imagenet;

pub use check::{Check, Count};
pub use classes::Classes;
pub use find::Found;
pub use open::Opening;

/// Every suite, in the order of lists.
pub const SUITES: [&Declaration; 31] = [
    &imagenet::SUITE,
    &imagenet_c::ON_DISK,
    &imagenet_c::GENERATED,
    &imagenet_c::BAR,
    &imagenet_c::BAR_GENERATED,
    &imagenet_v2::MATCHED,
    &imagenet_v2::THRESHOLD,
    &imagenet_v2::TOP,
    &imagenet_r::SUITE,
    &imagenet_r::CLEAN,
    &imagenet_a::SUITE,
    &imagenet_a::CLEAN,
    &imagenet_sketch::SUITE,
    &objectnet::SUITE,
    &objectnet::CORRUPTED,
    &cifar::TEN,
    &cifar::TEN_C,
    &cifar::TEN_C_GENERATED,
    &cifar::HUNDRED,
    &cifar::HUNDRED_C,
    &cifar::HUNDRED_C_GENERATED,
    &fashion_mnist::SUITE,
    &fashion_mnist::CORRUPTED,
    &tiny_imagenet::SUITE,
    &flowers::SUITE,
    &places205::SUITE,
    &inaturalist::SUITE,
    &sun397::SUITE,
    &stanford_cars::SUITE,
    &food101::SUITE,
    &pets::SUITE,
];

/// The suite of a name.
///
/// # Errors
/// An unknown name, with the names that there are.
pub fn named(name: &str) -> Result<&'static Declaration, BenchError> {
    let lower = name.to_lowercase();
    SUITES.into_iter().find(|suite| suite.name == lower).ok_or_else(|| BenchError::UnknownSuite {
        name: name.to_owned(),
        known: SUITES.map(|suite| suite.name).join(", "),
    })
}

/// What is declared of a published data set.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// The name in commands and records.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// What its pictures are, with the paper.
    pub about: &'static str,
    /// What its folder may be called below that of all data sets, `/` between parts. Case and `-`, `_`, `.` make no difference.
    pub folders: &'static [&'static str],
    /// How its files may lie there; the first that fits is taken.
    pub layouts: &'static [Layout],
    /// Its classes, and which of a model's they are.
    pub classes: Classes,
    /// What is done to its pictures before the model's normalisation.
    pub geometry: Geometry,
    /// What its cells are, and where its pixels come from.
    pub kind: Kind,
    /// What is reported of it.
    pub metric: &'static str,
    /// How much of it was published.
    pub official: Official,
    /// Where to get it.
    pub source: &'static str,
    /// Licence, and what others have stumbled over; a sentence each.
    pub notes: &'static [&'static str],
}

/// A way in which the files of a data set lie. Paths are relative to the suite's folder; an empty one is that folder.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// A folder a class, in the first of these folders that has such.
    Classes {
        /// Of the images that are reported on.
        test: &'static [&'static str],
        /// Of those that a probe learns from.
        train: &'static [&'static str],
    },
    /// `<corruption>/<severity>/<class>/`, with or without a folder a group above the corruptions.
    Cells(&'static [&'static str]),
    /// `<corruption>.npy` with five severities one after the other, and `labels.npy`.
    Arrays,
    /// CIFAR's binary version with so many classes.
    Cifar(usize),
    /// IDX files, plain or gzipped.
    Idx,
    /// WebDataset archives in the first of these folders that has any; for training in `train`.
    Shards(&'static [&'static str]),
    /// What only this data set has.
    Own(&'static Own),
}

impl Layout {
    /// Folders of classes, those of training images in `train`.
    const fn classes(test: &'static [&'static str]) -> Self {
        Self::Classes { test, train: &["train"] }
    }

    /// What is expected there, for people.
    pub fn about(&self) -> String {
        let below = |places: &[&str], what: &str| match places {
            [] | ["", ..] => what.to_owned(),
            [place, ..] => format!("{place}/{what}"),
        };
        match self {
            Self::Classes { test, .. } => below(test, "<class>/*.jpg"),
            Self::Cells(places) => below(places, "<corruption>/<1-5>/<class>/*.JPEG"),
            Self::Arrays => "<corruption>.npy, labels.npy".to_owned(),
            Self::Cifar(10) => "data_batch_1.bin …, test_batch.bin, batches.meta.txt".to_owned(),
            Self::Cifar(_) => "train.bin, test.bin, fine_label_names.txt".to_owned(),
            Self::Idx => "t10k-images-idx3-ubyte[.gz], t10k-labels-idx1-ubyte[.gz]".to_owned(),
            Self::Shards(places) => below(places, "*.tar (WebDataset)"),
            Self::Own(own) => own.about.to_owned(),
        }
    }
}

/// A layout that one data set has.
#[derive(Debug)]
pub struct Own {
    /// What is expected, for people.
    pub about: &'static str,
    /// Files and folders that have to be there; `|` between those of which one is enough.
    pub marks: &'static [&'static str],
    /// Reads the list of a part's images.
    pub open: fn(&Path, Part) -> Result<Images, DataError>,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is reported on.
    Test,
    /// What a probe learns from.
    Train,
}

/// What is done to pictures before the model's normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// The model's own pixel steps; a corruption comes after them.
    Model,
    /// Pictures are finished: nothing where they have the size of the model's input, else one resize to it. No step is repeated.
    Finished,
    /// So many pixels off each side, then the model's own steps.
    WithoutBorder(u32),
    /// A corruption at the pictures' own size, then the model's own steps.
    Native,
}

/// What the cells of a suite are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One cell of images like those that models were trained on.
    Clean,
    /// One cell of other pictures of the same classes.
    Collected,
    /// One cell of another task, for probes and texts.
    Transfer,
    /// Published corrupted files.
    OnDisk {
        /// The corruptions.
        corruptions: &'static [Corruption],
        /// The data set that was corrupted: its images are the clean cell where they are found as well.
        clean: Option<&'static Declaration>,
    },
    /// The images of the layout, corrupted in memory.
    Generated {
        /// The corruptions.
        corruptions: &'static [Corruption],
        /// Their constants at the size that these were made for; at another size `scaled`.
        profile: Profile,
    },
}

/// How much of a data set was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Official {
    /// Classes.
    pub classes: usize,
    /// Images that are reported on, of a cell.
    pub images: usize,
    /// Whether every copy has exactly as many images.
    pub exact: bool,
    /// Images that a probe learns from.
    pub train: Option<usize>,
}

impl Official {
    const fn exactly(classes: usize, images: usize) -> Self {
        Self { classes, images, exact: true, train: None }
    }

    const fn about(classes: usize, images: usize) -> Self {
        Self { classes, images, exact: false, train: None }
    }

    const fn trained_on(self, images: usize) -> Self {
        Self { train: Some(images), ..self }
    }
}

/// A file or folder that is not what its data set has.
fn unlike(path: &Path, expected: &str, found: &str) -> DataError {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    DataError::Format { path: path.to_owned(), what: "data set", expected, found, remedy: "fetch it again" }
}

/// The same of a line, counted from 0.
fn numbered(path: &Path, line: usize, expected: &str, found: &str) -> DataError {
    unlike(path, expected, &format!("{found} in line {}", line + 1))
}
