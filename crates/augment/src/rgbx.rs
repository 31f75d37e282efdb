//! Working copies of images for the operations of AugMix: four bytes a pixel and a margin, so that loops are simple.

use image::RgbImage;

use crate::scratch::Scratch;

/// A pixel: red, green, blue, and a byte that means nothing.
pub(crate) type Pixel = [u8; 4];

/// An image with a margin of one pixel on every side, which repeats the outermost pixels. Neither side is zero.
///
/// Bilinear samples of any place inside the image then need no clamping.
pub(crate) struct Rgbx {
    pub width: usize,
    pub height: usize,
    bytes: Vec<u8>,
}

impl Rgbx {
    /// An image of arbitrary pixels. [`Rgbx::give`] it back.
    pub fn take(width: usize, height: usize, scratch: &mut Scratch) -> Self {
        Self { width, height, bytes: scratch.take_any((width + 2) * (height + 2) * 4) }
    }

    /// A copy of an image.
    pub fn load(image: &RgbImage, scratch: &mut Scratch) -> Self {
        let mut copy = Self::take(image.width() as usize, image.height() as usize, scratch);
        for (y, row) in image.as_raw().chunks_exact(copy.width * 3).enumerate() {
            for (to, from) in copy.row_mut(y).iter_mut().zip(row.as_chunks::<3>().0) {
                *to = [from[0], from[1], from[2], 0];
            }
        }
        copy.extend();
        copy
    }

    /// Writes the image into interleaved RGB levels of the same size.
    pub fn store(&self, levels: &mut [u8]) {
        for (y, row) in levels.chunks_exact_mut(self.width * 3).enumerate() {
            for (to, from) in row.as_chunks_mut::<3>().0.iter_mut().zip(self.row(y)) {
                *to = [from[0], from[1], from[2]];
            }
        }
    }

    /// Returns the buffer.
    pub fn give(self, scratch: &mut Scratch) {
        scratch.give(self.bytes);
    }

    /// Pixels from one row to the next.
    pub fn stride(&self) -> usize {
        self.width + 2
    }

    /// Index of a pixel among all pixels with the margin.
    pub fn place(&self, x: usize, y: usize) -> usize {
        (y + 1) * self.stride() + x + 1
    }

    /// All pixels with the margin.
    pub fn pixels(&self) -> &[Pixel] {
        self.bytes.as_chunks().0
    }

    /// All pixels with the margin.
    pub fn pixels_mut(&mut self) -> &mut [Pixel] {
        self.bytes.as_chunks_mut().0
    }

    /// A row without the margin.
    pub fn row(&self, y: usize) -> &[Pixel] {
        &self.pixels()[self.place(0, y)..][..self.width]
    }

    /// A row without the margin.
    pub fn row_mut(&mut self, y: usize) -> &mut [Pixel] {
        let (width, start) = (self.width, self.place(0, y));
        &mut self.pixels_mut()[start..][..width]
    }

    /// The rows without the margin.
    pub fn rows(&self) -> impl Iterator<Item = &[Pixel]> {
        (0..self.height).map(|y| self.row(y))
    }

    /// Makes the margin. To be called when the rows are written.
    pub fn extend(&mut self) {
        let (stride, height, width) = (self.stride(), self.height, self.width);
        let pixels = self.pixels_mut();
        for row in pixels.chunks_exact_mut(stride) {
            row[0] = row[1];
            row[width + 1] = row[width];
        }
        pixels.copy_within(stride..2 * stride, 0);
        pixels.copy_within(height * stride..(height + 1) * stride, (height + 1) * stride);
    }
}
