//! A data set against its official numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use robustify_watch::{Progress, Silent, Watch};

use super::{Declaration, Kind, Opening, Part};
use crate::BenchError;
use crate::suite::Suite;

/// What was found of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The suite.
    pub suite: &'static str,
    /// Where it lies.
    pub place: PathBuf,
    /// Numbers, each beside the official one.
    pub counts: Vec<Count>,
    /// Images that were opened.
    pub opened: usize,
    /// What is not as it was published.
    pub faults: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// A number of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Of what.
    pub what: &'static str,
    /// How many were published.
    pub official: usize,
    /// How many were found.
    pub found: usize,
}

impl Declaration {
    /// Counts classes, cells and images against the official numbers, and opens `sample` of the images, of all cells in turn.
    ///
    /// # Errors
    /// Data that is not there or cannot be opened at all. What merely differs is among [`Check::faults`].
    pub fn check(&'static self, root: &Path, sample: usize, watch: &dyn Watch) -> Result<Check, BenchError> {
        let place = self.found(root, Part::Test)?.place;
        let heard = Heard::default();
        let suite = self.open(root, &Opening::default(), &heard)?;
        let Heard { said, warned } = heard;
        let mut check = Check {
            suite: self.name,
            place,
            counts: Vec::new(),
            opened: 0,
            faults: Vec::new(),
            notes: said.into_inner().unwrap_or_default(),
        };
        check.notes.extend(warned.into_inner().unwrap_or_default());
        let cells = suite.cells();
        if let Kind::OnDisk { corruptions, .. } = self.kind {
            let corrupted = cells.iter().filter(|cell| cell.is_corrupted()).count();
            check.count("cells", 5 * corruptions.len(), corrupted, true);
        }
        if let Some(cell) = cells.last() {
            let images = suite.images(cell);
            let mut labels = BTreeSet::new();
            for &index in images {
                labels.insert(suite.label(index)?.0);
            }
            check.count("classes", self.official.classes, labels.len(), true);
            check.count("images", self.official.images, images.len(), self.official.exact);
        }
        self.check_training(root, &mut check);
        open_some(&*suite, sample, &mut check, watch);
        Ok(check)
    }

    /// Counts the images that a probe learns from, if there are any.
    fn check_training(&self, root: &Path, check: &mut Check) {
        let Kind::Transfer = self.kind else { return };
        match (self.images(root, Part::Train), self.official.train) {
            (Ok(images), Some(official)) => check.count("training images", official, images.labels().len(), true),
            (Ok(images), None) => check.notes.push(format!("{} training images", images.labels().len())),
            (Err(error), _) => check.notes.push(format!("no training images, so no linear probe: {error}")),
        }
    }
}

impl Check {
    fn count(&mut self, what: &'static str, official: usize, found: usize, exact: bool) {
        self.counts.push(Count { what, official, found });
        if official != found {
            let text = format!("{found} {what}, {official} were published");
            if exact { self.faults.push(text) } else { self.notes.push(format!("{text}; copies differ by some")) }
        }
    }
}

/// Opens some images of all cells in turn, evenly over each.
fn open_some(suite: &dyn Suite, sample: usize, check: &mut Check, watch: &dyn Watch) {
    // Cells that are made in memory are of the same files.
    let cells: Vec<_> = match suite.origin() {
        crate::Origin::OnDisk => suite.cells().iter().collect(),
        crate::Origin::Generated => suite.cells().iter().take(1).collect(),
    };
    let mut progress = watch.progress("opening", sample);
    for turn in 0..sample {
        let Some(cell) = cells.get(turn % cells.len().max(1)) else { break };
        let (images, round, rounds) = (suite.images(cell), turn / cells.len(), sample.div_ceil(cells.len()));
        if round >= images.len() {
            break;
        }
        let index = images[round * images.len() / rounds.min(images.len())];
        match suite.pixels(cell, index) {
            Ok(_) => check.opened += 1,
            Err(error) => check.faults.push(error.to_string()),
        }
        progress.set(turn + 1, &cell.name);
    }
    progress.finish(&format!("{} images", check.opened));
}

/// Keeps what is said.
#[derive(Default)]
struct Heard {
    said: Mutex<Vec<String>>,
    warned: Mutex<Vec<String>>,
}

impl Watch for Heard {
    fn say(&self, text: &str) {
        if let Ok(mut said) = self.said.lock() {
            said.push(text.to_owned());
        }
    }

    fn warn(&self, text: &str) {
        if let Ok(mut warned) = self.warned.lock() {
            warned.push(text.to_owned());
        }
    }

    fn progress(&self, _: &str, _: usize) -> Box<dyn Progress> {
        Box::new(Silent)
    }

    fn is_stopped(&self) -> bool {
        false
    }
}
