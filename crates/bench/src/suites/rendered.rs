use image::RgbImage;
use robustify_data::{DataError, Images};

use crate::{Cell, Origin, Suite};

/// Pixels of an image, by its index, in the cell at a place.
type Pixels<'a> = Box<dyn Fn(usize, usize) -> Result<RgbImage, DataError> + Sync + 'a>;

/// Images as somebody makes them, a cell for each way: views under a training policy, say, from which rules are fitted. Nothing of it is
/// reported.
pub struct Rendered<'a> {
    name: String,
    identity: String,
    images: Images,
    indices: Vec<usize>,
    cells: Vec<Cell>,
    pixels: Pixels<'a>,
}

impl<'a> Rendered<'a> {
    /// All images in each of these cells.
    ///
    /// # Arguments
    /// - identity: a hash of everything that determines the pixels, but for the images, whose fingerprint it is to cover as well
    /// - pixels: of an image, by its index, in the cell at a place of `cells`
    pub fn new(
        name: &str,
        identity: String,
        images: Images,
        cells: Vec<Cell>,
        pixels: impl Fn(usize, usize) -> Result<RgbImage, DataError> + Sync + 'a,
    ) -> Self {
        let indices = (0..images.len()).collect();
        Self { name: name.to_owned(), identity, images, indices, cells, pixels: Box::new(pixels) }
    }
}

impl Suite for Rendered<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn origin(&self) -> Origin {
        Origin::Generated
    }

    fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn images(&self, _: &Cell) -> &[usize] {
        &self.indices
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        Ok((self.images.labels()[index], self.images.id(index)?))
    }

    fn image(&self, index: usize) -> String {
        self.images.origin(index)
    }

    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let place = self.cells.iter().position(|known| known == cell).unwrap_or_default();
        (self.pixels)(place, index)
    }
}
