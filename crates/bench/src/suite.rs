//! What a benchmark data set is.

use image::RgbImage;
use robustify_augment::{Corruption, Severity};
use robustify_data::DataError;
use robustify_rng::Key;

/// What was done to the images of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Nothing: images like those that the model was trained on.
    Clean,
    /// A corruption at a severity.
    Corrupted(Corruption, Severity),
}

/// One part of a suite that is measured by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `clean`, or corruption and severity as in `fog-3`: a name for files and progress.
    pub name: String,
    /// What was done to the images.
    pub shift: Shift,
}

impl Cell {
    /// The cell of a shift.
    pub fn new(shift: Shift) -> Self {
        let name = match shift {
            Shift::Clean => "clean".to_owned(),
            Shift::Corrupted(corruption, severity) => format!("{corruption}-{}", severity.level()),
        };
        Self { name, shift }
    }

    /// The identity of an image in this cell, for random draws that another cell must not repeat.
    pub fn keyed(&self, id: u64) -> u64 {
        Key::new(id, "cell").with_str(&self.name).digest()
    }

    /// Name of the corruption, for means in which every corruption weighs the same; `clean` for none.
    pub fn corruption(&self) -> &'static str {
        match self.shift {
            Shift::Clean => "clean",
            Shift::Corrupted(corruption, _) => corruption.name(),
        }
    }

    /// Whether the images are other than those that models were trained on.
    pub fn is_shifted(&self) -> bool {
        self.shift != Shift::Clean
    }
}

/// Where the pixels of a suite come from. Results of the two kinds are never in one mean: files were compressed once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Files as they were published.
    OnDisk,
    /// Made in memory from clean images.
    Generated,
}

/// A benchmark data set: a file of `suites/`.
pub trait Suite: Sync {
    /// The name in records, as in `imagenet-c`.
    fn name(&self) -> &str;

    /// Hash of everything that determines the pixels, their choice and their order.
    fn identity(&self) -> &str;

    /// Names of the classes, in the order of the labels.
    fn classes(&self) -> &[String];

    /// Where the pixels come from.
    fn origin(&self) -> Origin;

    /// All cells, the clean one first.
    fn cells(&self) -> &[Cell];

    /// The images of a cell, as indices for the other methods.
    fn images(&self, cell: &Cell) -> &[usize];

    /// Label and identity of an image. The same picture has the same identity in every cell.
    ///
    /// # Errors
    /// An index past the end.
    fn label(&self, index: usize) -> Result<(usize, u64), DataError>;

    /// What an image is called in messages.
    fn image(&self, index: usize) -> String {
        format!("image {index}")
    }

    /// The pixels of an image in a cell.
    ///
    /// # Errors
    /// An image that cannot be read, or that does not fit the suite's geometry.
    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError>;
}
