//! Some images of a suite, by their places in each cell: what is asked, and kept, at a time.

use std::ops::Range;

use image::RgbImage;
use robustify_data::DataError;
use robustify_report::digest;

use crate::{Cell, ClassMap, ClassMapError, Origin, Suite};

/// The images of another suite at a range of places, in the cells that have any there.
pub struct Part<'a> {
    suite: &'a dyn Suite,
    range: Range<usize>,
    identity: String,
    cells: Vec<Cell>,
}

impl<'a> Part<'a> {
    /// The images of `suite` at the places `range` of each of its cells. A range may end beyond the images.
    pub fn new(suite: &'a dyn Suite, range: Range<usize>) -> Self {
        let identity = Self::identity_of(suite.identity(), &range);
        let has_any = |cell: &&Cell| suite.images(cell).len() > range.start;
        let cells = suite.cells().iter().filter(has_any).cloned().collect();
        Self { suite, range, identity, cells }
    }

    /// Identity of a part of a suite by that of the suite.
    pub fn identity_of(suite: &str, range: &Range<usize>) -> String {
        digest::of_bytes(format!("part {suite} {}..{}", range.start, range.end).as_bytes())
    }
}

impl Suite for Part<'_> {
    fn name(&self) -> &str {
        self.suite.name()
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        self.suite.classes()
    }

    /// Answers about a part are kept, and judged elsewhere: they stay in the model's classes.
    fn class_map(&self, model: &[String]) -> Result<ClassMap, ClassMapError> {
        Ok(ClassMap::subset((0..model.len()).collect()))
    }

    fn origin(&self) -> Origin {
        self.suite.origin()
    }

    fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn images(&self, cell: &Cell) -> &[usize] {
        let all = self.suite.images(cell);
        &all[self.range.start.min(all.len())..self.range.end.min(all.len())]
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        self.suite.label(index)
    }

    fn dimensions(&self, index: usize) -> Option<(u32, u32)> {
        self.suite.dimensions(index)
    }

    fn image(&self, index: usize) -> String {
        self.suite.image(index)
    }

    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError> {
        self.suite.pixels(cell, index)
    }

    fn release(&self) {
        self.suite.release();
    }
}
