//! A published data set as a suite.

use image::RgbImage;
use robustify_data::{DataError, Images, Preprocess};
use robustify_report::digest;

use super::Declaration;
use crate::suite::{Cell, Origin, Suite};
use crate::{ClassMap, ClassMapError};

/// A suite under its declaration: with its name, its class map, and what has to be known of it.
pub(super) struct Published {
    about: &'static Declaration,
    notes: Vec<String>,
    identity: String,
    inner: Box<dyn Suite>,
    /// Pixel steps behind those of the suite.
    after: Preprocess,
}

impl Published {
    pub fn new(about: &'static Declaration, notes: Vec<String>, inner: Box<dyn Suite>, after: Preprocess) -> Self {
        let identity = digest::of(&("published", about.name, inner.identity(), after.to_string()))
            .expect("settings and strings have a JSON form");
        Self { about, notes, identity, inner, after }
    }
}

impl Suite for Published {
    fn name(&self) -> &str {
        self.about.name
    }

    fn title(&self) -> &str {
        self.about.title
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        self.inner.classes()
    }

    fn class_map(&self, model: &[String]) -> Result<ClassMap, ClassMapError> {
        self.about.classes.map(self.inner.classes(), model)
    }

    fn origin(&self) -> Origin {
        self.inner.origin()
    }

    fn cells(&self) -> &[Cell] {
        self.inner.cells()
    }

    fn images(&self, cell: &Cell) -> &[usize] {
        self.inner.images(cell)
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        self.inner.label(index)
    }

    fn dimensions(&self, index: usize) -> Option<(u32, u32)> {
        self.inner.dimensions(index)
    }

    fn image(&self, index: usize) -> String {
        self.inner.image(index)
    }

    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let pixels = self.inner.pixels(cell, index)?;
        if self.after.steps().is_empty() {
            return Ok(pixels);
        }
        self.after.pixels(&pixels).map_err(|error| unfit(error, self.inner.image(index)))
    }

    fn release(&self) {
        self.inner.release();
    }
}

/// An error about the size of an image, with its place.
pub(super) fn unfit(error: DataError, origin: String) -> DataError {
    match error {
        DataError::Shape { .. } => DataError::Unfit { origin, source: Box::new(error) },
        other => other,
    }
}

/// Images as they are: one cell.
pub(super) struct Plain {
    pub images: Images,
    pub geometry: Preprocess,
    pub cells: [Cell; 1],
    pub chosen: Vec<usize>,
    identity: String,
}

impl Plain {
    pub fn new(images: Images, geometry: Preprocess, cell: Cell, chosen: Vec<usize>) -> Self {
        let identity = digest::of(&("plain", images.fingerprint(), geometry.to_string(), &cell.name, &chosen))
            .expect("settings and strings have a JSON form");
        Self { images, geometry, cells: [cell], chosen, identity }
    }
}

impl Suite for Plain {
    fn name(&self) -> &str {
        self.images.name()
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn origin(&self) -> Origin {
        Origin::OnDisk
    }

    fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn images(&self, _: &Cell) -> &[usize] {
        &self.chosen
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        let id = self.images.id(index)?;
        Ok((self.images.labels()[index], id))
    }

    fn image(&self, index: usize) -> String {
        self.images.origin(index)
    }

    fn pixels(&self, _: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let sample = self.images.get(index)?;
        self.geometry.pixels(&sample.image).map_err(|error| unfit(error, self.images.origin(index)))
    }
}
