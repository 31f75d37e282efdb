//! What a benchmark data set is.

use image::RgbImage;
use robustify_augment::{Corruption, Severity};
use robustify_data::DataError;
use robustify_rng::Key;

use crate::suites::{Change, TRANSFER};
use crate::{ClassMap, ClassMapError};

/// What was done to the images of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Nothing: images like those that the model was trained on.
    Clean,
    /// A corruption at a severity.
    Corrupted(Corruption, Severity),
    /// Another background, or another rendition.
    Changed(Change),
    /// Other pictures of the same classes, as somebody collected them: ImageNet-V2, -R, -A, -Sketch, ObjectNet.
    Collected,
    /// Another task, with labels of its own.
    Transfer,
}

/// The name of [`Shift::Collected`].
const COLLECTED: &str = "collected";

/// One part of a suite that is measured by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `clean`, corruption and severity as in `fog-3`, or another shift: a name for files and progress.
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
            Shift::Changed(change) => change.name().to_owned(),
            Shift::Collected => COLLECTED.to_owned(),
            Shift::Transfer => TRANSFER.to_owned(),
        };
        Self { name, shift }
    }

    /// The cell of a name, as [`Cell::new`] gives it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let other =
            [Shift::Clean, Shift::Collected, Shift::Transfer].into_iter().chain(Change::ALL.map(Shift::Changed));
        let corrupted = || {
            let (corruption, level) = name.rsplit_once('-')?;
            Some(Self::new(Shift::Corrupted(
                corruption.parse().ok()?,
                Severity::try_from(level.parse::<u8>().ok()?).ok()?,
            )))
        };
        other.map(Self::new).find(|cell| cell.name == name).or_else(corrupted)
    }

    /// The identity of an image in this cell, for random draws that another cell must not repeat.
    pub fn keyed(&self, id: u64) -> u64 {
        Key::new(id, "cell").with_str(&self.name).digest()
    }

    /// Name of the corruption or other shift, for means in which every one weighs the same; `clean` for none.
    pub fn corruption(&self) -> &'static str {
        match self.shift {
            Shift::Clean => "clean",
            Shift::Corrupted(corruption, _) => corruption.name(),
            Shift::Changed(change) => change.name(),
            Shift::Collected => COLLECTED,
            Shift::Transfer => TRANSFER,
        }
    }

    /// Whether the images are other than those that models were trained on.
    pub fn is_shifted(&self) -> bool {
        self.shift != Shift::Clean
    }

    /// Whether the images are corrupted: what the mean over corruptions is of.
    pub fn is_corrupted(&self) -> bool {
        matches!(self.shift, Shift::Corrupted(..))
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

    /// The name for people.
    fn title(&self) -> &str {
        self.name()
    }

    /// What a reader of its results has to know, a sentence each: which logits were left out, what an accuracy is of, what was done to
    /// pictures. They are printed, and kept with the results.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Hash of everything that determines the pixels, their choice and their order.
    fn identity(&self) -> &str;

    /// Names of the classes, in the order of the labels.
    fn classes(&self) -> &[String];

    /// How the classes of a model answer for those of the suite, by the model's names of its own. Unless a suite says otherwise, they are
    /// the same in the same order.
    ///
    /// # Errors
    /// Classes that the model does not have.
    fn class_map(&self, model: &[String]) -> Result<ClassMap, ClassMapError> {
        ClassMap::same(self.classes(), model)
    }

    /// Where the pixels come from.
    fn origin(&self) -> Origin;

    /// All cells, the clean one first where there is one.
    fn cells(&self) -> &[Cell];

    /// The images of a cell, as indices for the other methods.
    fn images(&self, cell: &Cell) -> &[usize];

    /// Label and identity of an image. The same picture has the same identity in every cell.
    ///
    /// # Errors
    /// An index past the end.
    fn label(&self, index: usize) -> Result<(usize, u64), DataError>;

    /// Width and height of an image's file before anything was done to it, where that is known without reading it.
    fn dimensions(&self, _index: usize) -> Option<(u32, u32)> {
        None
    }

    /// What an image is called in messages.
    fn image(&self, index: usize) -> String {
        format!("image {index}")
    }

    /// The pixels of an image in a cell.
    ///
    /// # Errors
    /// An image that cannot be read, or that does not fit the suite's geometry.
    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError>;

    /// Forgets decoded images that it keeps for further cells; whoever is through with all cells of some images says so.
    fn release(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_found_by_its_name() {
        let fog = Shift::Corrupted(Corruption::Fog, Severity::try_from(3).unwrap());
        let shifts =
            [Shift::Clean, Shift::Collected, Shift::Transfer, fog].into_iter().chain(Change::ALL.map(Shift::Changed));
        for cell in shifts.map(Cell::new) {
            assert_eq!(Cell::named(&cell.name), Some(cell));
        }
        assert_eq!(Cell::named("fog-9"), None);
    }
}
