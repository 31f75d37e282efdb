//! What an image data set is, and a subset of one.

use std::path::PathBuf;
use std::sync::Arc;

use burn_dataset::Dataset;
use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};

/// One labelled image.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The image, 8 bits a channel, at the size it is stored in.
    pub image: RgbImage,
    /// Class, an index into [`ImageSet::classes`].
    pub label: usize,
    /// Identity for keyed randomness: stays the same in every subset and order.
    pub id: u64,
}

/// A shared data set of any kind.
pub type Images = Arc<dyn ImageSet>;

/// A finite, indexed set of labelled images.
///
/// `get` gives [`DataError::Index`] past the end, where Burn's trait would allow a panic.
pub trait ImageSet: Dataset<Sample, DataError> {
    /// Names of the classes; a label is an index into them.
    fn classes(&self) -> &[String];

    /// A name for messages and reports.
    fn name(&self) -> &str;

    /// Hexadecimal SHA-256 that changes when the images do; part of every cache key.
    ///
    /// It covers the content for IDX and CIFAR files, and the sorted listing (relative path and size) for folders.
    fn fingerprint(&self) -> String;

    /// Files and folders left out, with the reason; to be shown as warnings.
    fn skipped(&self) -> &[Skipped];

    /// The label of every image, in order, without decoding any.
    fn labels(&self) -> &[usize];

    /// The identity of the image at `index`, without decoding it.
    ///
    /// # Errors
    /// [`DataError::Index`] past the end.
    fn id(&self, index: usize) -> Result<u64>;

    /// Width and height of the image at `index` as `get` gives it, without decoding it.
    ///
    /// # Errors
    /// [`DataError::Index`] past the end.
    fn dimensions(&self, index: usize) -> Result<(u32, u32)>;

    /// Where the image at `index` comes from (a path, a file and a position), for messages. Empty past the end.
    fn origin(&self, index: usize) -> String;
}

/// Something that a reader left out, or that deserves a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// File or folder.
    pub path: PathBuf,
    /// Why, in a few words.
    pub reason: String,
}

/// Some images of a data set, in a given order. Classes, labels and identities are those of the whole set.
#[derive(Clone)]
pub struct Subset {
    whole: Images,
    indices: Vec<usize>,
    labels: Vec<usize>,
    name: String,
}

impl Subset {
    /// The images of `whole` at `indices`, in that order.
    ///
    /// # Errors
    /// [`DataError::Index`] when an index is past the end of `whole`.
    pub fn new(whole: Images, indices: Vec<usize>) -> Result<Self> {
        let len = whole.len();
        let past_the_end = |&index: &usize| index >= len;
        if let Some(index) = indices.iter().copied().find(past_the_end) {
            return Err(DataError::Index { set: whole.name().to_owned(), index, len });
        }
        let labels = indices.iter().map(|&index| whole.labels()[index]).collect();
        let name = format!("{} ({} of {len})", whole.name(), indices.len());
        Ok(Self { whole, indices, labels, name })
    }

    /// The indices into the whole set, in order.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    fn whole_index(&self, index: usize) -> Result<usize> {
        let past_the_end = || DataError::Index { set: self.name.clone(), index, len: self.indices.len() };
        self.indices.get(index).copied().ok_or_else(past_the_end)
    }
}

impl Dataset<Sample, DataError> for Subset {
    fn get(&self, index: usize) -> Result<Sample> {
        self.whole.get(self.whole_index(index)?)
    }

    fn len(&self) -> usize {
        self.indices.len()
    }
}

impl ImageSet for Subset {
    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"subset ");
        hash.update(self.whole.fingerprint());
        for &index in &self.indices {
            hash.update((index as u64).to_le_bytes());
        }
        hex(hash)
    }

    fn skipped(&self) -> &[Skipped] {
        self.whole.skipped()
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64> {
        self.whole.id(self.whole_index(index)?)
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32)> {
        self.whole.dimensions(self.whole_index(index)?)
    }

    fn origin(&self, index: usize) -> String {
        self.whole_index(index).map(|index| self.whole.origin(index)).unwrap_or_default()
    }
}

/// The finished hash in lower-case hexadecimal.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
