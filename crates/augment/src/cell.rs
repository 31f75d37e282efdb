//! What every corruption is given: an image, where to put the result, and what it may use on the way.

use image::RgbImage;

use crate::draws::Draws;
use crate::profile::Profile;
use crate::scratch::Scratch;

/// One corruption of one image.
pub(crate) struct Cell<'a, 'd> {
    pub image: View<'a>,
    /// The result: interleaved levels, as many as the image's. What it holds beforehand is arbitrary.
    pub out: &'a mut [u8],
    pub profile: Profile,
    /// Severity less one: the place in a table of five.
    pub index: usize,
    pub draws: &'a mut Draws<'d>,
    pub scratch: &'a mut Scratch,
}

impl Cell<'_, '_> {
    /// What lengths in pixels are multiplied by: one, except for [`Profile::Scaled`].
    pub fn scale(&self) -> f64 {
        self.profile.length_scale(self.image.width, self.image.height)
    }
}

/// Interleaved RGB levels in rows. Neither side is zero.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub width: usize,
    pub height: usize,
    pub levels: &'a [u8],
}

impl<'a> View<'a> {
    pub fn new(image: &'a RgbImage) -> Self {
        Self { width: image.width() as usize, height: image.height() as usize, levels: image.as_raw() }
    }

    /// Number of pixels.
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Number of levels in a row.
    pub fn stride(&self) -> usize {
        self.width * 3
    }
}
