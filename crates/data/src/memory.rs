//! A data set of equally large images held in memory.

use burn_dataset::Dataset;
use image::RgbImage;
use robustify_rng::Key;
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};
use crate::set::{ImageSet, Sample, Skipped, hex};

/// How the bytes of one image lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One byte a pixel (IDX).
    Grey,
    /// A plane of red, one of green, one of blue (CIFAR).
    Planes,
    /// Red, green, blue, pixel by pixel.
    Interleaved,
}

impl Layout {
    pub(crate) fn channels(self) -> usize {
        if self == Self::Grey { 1 } else { 3 }
    }
}

/// Equally large images in memory. The identity of an image is a hash of its index in the file.
#[derive(Clone, Debug)]
pub struct MemorySet {
    name: String,
    classes: Vec<String>,
    labels: Vec<usize>,
    width: u32,
    height: u32,
    layout: Layout,
    bytes: Vec<u8>,
    fingerprint: String,
}

impl MemorySet {
    /// A set of images made by a program: a generated set, a test.
    ///
    /// # Errors
    /// [`DataError::Argument`] when the images differ in size, have no pixels, are not as many as the labels, or a label
    /// is not an index into `classes`.
    pub fn from_images(name: &str, images: &[RgbImage], labels: Vec<usize>, classes: Vec<String>) -> Result<Self> {
        let argument = |name, expected: String, found: String| Err(DataError::Argument { name, expected, found });
        let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
        if images.len() != labels.len() {
            return argument("labels", format!("{} labels, one an image", images.len()), labels.len().to_string());
        }
        if let Some(odd) = images.iter().find(|image| image.dimensions() != (width, height) || image.is_empty()) {
            let size = |(w, h): (u32, u32)| format!("{w}x{h}");
            let expected = format!("images of one size ({}) with pixels", size((width, height)));
            return argument("images", expected, size(odd.dimensions()));
        }
        if let Some(label) = labels.iter().find(|&&label| label >= classes.len()) {
            return argument("labels", format!("labels below {}", classes.len()), label.to_string());
        }
        let bytes = images.iter().flat_map(|image| image.as_raw()).copied().collect();
        Ok(Self::from_parts(name, (width, height), Layout::Interleaved, bytes, labels, classes))
    }

    /// The caller has checked that `bytes` holds one image a label.
    pub(crate) fn from_parts(
        name: &str,
        (width, height): (u32, u32),
        layout: Layout,
        bytes: Vec<u8>,
        labels: Vec<usize>,
        classes: Vec<String>,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{width} {height} {layout:?} {} {classes:?} ", labels.len()));
        hash.update(&bytes);
        hash.update(labels.iter().flat_map(|&label| (label as u64).to_le_bytes()).collect::<Vec<_>>());
        let fingerprint = hex(hash);
        Self { name: name.to_owned(), classes, labels, width, height, layout, bytes, fingerprint }
    }

    fn check(&self, index: usize) -> Result<()> {
        let len = self.labels.len();
        if index < len { Ok(()) } else { Err(DataError::Index { set: self.name.clone(), index, len }) }
    }
}

impl Dataset<Sample, DataError> for MemorySet {
    fn get(&self, index: usize) -> Result<Sample> {
        self.check(index)?;
        let pixels = self.width as usize * self.height as usize;
        let size = pixels * self.layout.channels();
        let stored = &self.bytes[index * size..(index + 1) * size];
        let rgb: Vec<u8> = match self.layout {
            Layout::Grey => stored.iter().flat_map(|&grey| [grey; 3]).collect(),
            Layout::Planes => (0..pixels).flat_map(|at| [0, 1, 2].map(|c| stored[c * pixels + at])).collect(),
            Layout::Interleaved => stored.to_vec(),
        };
        let image = RgbImage::from_raw(self.width, self.height, rgb).ok_or_else(|| DataError::Shape {
            op: format!("{}: image {index}", self.name),
            expected: format!("{} bytes", pixels * 3),
            found: format!("{size} bytes"),
            remedy: "this is a defect, please report it",
        })?;
        Ok(Sample { image, label: self.labels[index], id: self.id(index)? })
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

impl ImageSet for MemorySet {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn skipped(&self) -> &[Skipped] {
        &[]
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64> {
        self.check(index).map(|()| index_identity(index))
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32)> {
        self.check(index).map(|()| (self.width, self.height))
    }

    fn origin(&self, index: usize) -> String {
        if index < self.labels.len() { format!("{}[{index}]", self.name) } else { String::new() }
    }
}

/// The identity of the image at a place of a file that holds many.
pub fn index_identity(index: usize) -> u64 {
    Key::new(0, "index").with(index as u64).digest()
}

/// The names given, or "0", "1", …, for `count` classes.
pub(crate) fn class_names(given: Option<Vec<String>>, count: usize) -> Vec<String> {
    given.unwrap_or_else(|| (0..count).map(|class| class.to_string()).collect())
}

/// A part of a data set with an official split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// `train`
    Train,
    /// `validation`
    Validation,
    /// `test`
    Test,
}

impl Split {
    /// The name of the split in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Split {
    type Err = DataError;

    /// `train`, `validation`, `test`, and `t10k`, MNIST's name for its test set.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "train" => Ok(Self::Train),
            "validation" => Ok(Self::Validation),
            "test" | "t10k" => Ok(Self::Test),
            _ => {
                let expected = "train, validation, test or t10k".to_owned();
                Err(DataError::Argument { name: "split", expected, found: format!("`{text}`") })
            }
        }
    }
}
