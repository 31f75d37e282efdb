//! What can go wrong while data is found, read, shaped, or handed over.

use std::io;
use std::path::{Path, PathBuf};

use robustify_watch::shown;

use crate::Images;

/// Every failure of this crate. Each text names the place, what was expected, what was found, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Settings that make no sense together, or not for these images.
    #[error("{0}")]
    Settings(String),
    /// The file system refused.
    #[error("{}: cannot {action}: {source}", shown(path))]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried: "open", "read", "list".
        action: &'static str,
        /// The system's own error.
        source: io::Error,
    },
    /// A file is not what its format says it should be.
    #[error("{}: {what}: expected {expected}, found {found}; {remedy}", shown(path))]
    Format {
        /// File or folder.
        path: PathBuf,
        /// The part of the format that is wrong.
        what: &'static str,
        /// What the format asks for.
        expected: String,
        /// What is there.
        found: String,
        /// The way out.
        remedy: &'static str,
    },
    /// An image file cannot be used.
    #[error("{}: unusable image: {reason}; repair or remove the file, or let the reader skip bad files", shown(path))]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A data set without a single image.
    #[error("{}: no images: {reason}; {remedy}", shown(path))]
    Empty {
        /// Folder that was searched.
        path: PathBuf,
        /// What was found instead.
        reason: String,
        /// The way out.
        remedy: &'static str,
    },
    /// A preprocessing or view string that does not parse.
    #[error("{what} `{text}`, character {position}: {reason}; allowed: {allowed}")]
    Parse {
        /// What was being parsed.
        what: &'static str,
        /// The whole string.
        text: String,
        /// Position of the fault in characters, from 1.
        position: usize,
        /// The fault.
        reason: String,
        /// The steps or values allowed there.
        allowed: &'static str,
    },
    /// An image or buffer of a size that an operation cannot take.
    #[error("{op}: expected {expected}, found {found}; {remedy}")]
    Shape {
        /// The operation, as written in the preprocessing string.
        op: String,
        /// What it needs.
        expected: String,
        /// What it got.
        found: String,
        /// The way out.
        remedy: &'static str,
    },
    /// An image of a set that a preprocessing or a view cannot take.
    #[error("{origin}: {source}")]
    Unfit {
        /// Where the image comes from, as [`crate::ImageSet::origin`] says.
        origin: String,
        /// What does not fit: a [`DataError::Shape`].
        source: Box<Self>,
    },
    /// An argument outside its range.
    #[error("{name}: expected {expected}, found {found}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// The range or form allowed.
        expected: String,
        /// What was given.
        found: String,
    },
    /// An index past the end of a data set.
    #[error("{set}: index {index} is out of range: the set has {len} images")]
    Index {
        /// Name of the data set.
        set: String,
        /// The index asked for.
        index: usize,
        /// Number of images.
        len: usize,
    },
    /// A loader's job panicked.
    #[error(
        "loading item {item} (position {position} of the order) panicked: {message}; this is a defect, please report it"
    )]
    Panicked {
        /// Index in the data set.
        item: usize,
        /// Position in the order.
        position: usize,
        /// The panic's text.
        message: String,
    },
    /// A loader's thread could not be started.
    #[error("cannot start loader thread {number}: {source}; ask for fewer workers")]
    Spawn {
        /// Number of the thread, from 0.
        number: usize,
        /// The system's own error.
        source: io::Error,
    },
}

impl DataError {
    /// The same error, with the place of the image at `index` of `images` when it is about the image's size: operations on
    /// pixels do not know where those come from.
    #[must_use]
    pub fn of_image(self, images: &Images, index: usize) -> Self {
        match self {
            Self::Shape { .. } => Self::Unfit { origin: images.origin(index), source: Box::new(self) },
            other => other,
        }
    }
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, DataError>;

/// Makes an [`io::Error`] into a [`DataError::Io`] for `path`.
pub(crate) fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> DataError {
    move |source| DataError::Io { path: path.to_owned(), action, source }
}
