//! MixUp and CutMix: two images and their labels become one.
//!
//! Sources: Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899; timm's way of drawing.
//!
//! Which image is mixed with which is the caller's business: timm draws once a batch and takes the batch in reverse as
//! the partners. The target is `weight * first + (1 - weight) * second` of the labels' one-hot vectors, where the
//! weight is what the functions here return.

use image::RgbImage;
use robustify_rng::Stream;

/// Blends two images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixUp {
    /// Parameter of the Beta weight, above 0. timm's recipes use 0.8, the authors 0.2 for ImageNet.
    pub alpha: f64,
}

impl Default for MixUp {
    fn default() -> Self {
        Self { alpha: 0.8 }
    }
}

impl MixUp {
    /// The weight of the first image and of its label.
    pub fn draw(&self, stream: &mut Stream) -> f64 {
        stream.beta(self.alpha, self.alpha)
    }

    /// Blends `second` into `first`, which has the weight `weight` in `[0, 1]`. Of images of different sizes, the part
    /// that both have, from the upper left.
    pub fn blend(first: &mut RgbImage, second: &RgbImage, weight: f64) {
        let weight = weight.clamp(0.0, 1.0) as f32;
        let count = first.width().min(second.width()) as usize * 3;
        for (first, second) in first.rows_mut().zip(second.rows()) {
            let samples = first.flat_map(|pixel| &mut pixel.0).zip(second.flat_map(|pixel| &pixel.0));
            for (first, second) in samples.take(count) {
                *first = (weight * f32::from(*first) + (1.0 - weight) * f32::from(*second) + 0.5) as u8;
            }
        }
    }
}

/// Pastes a rectangle of one image into another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutMix {
    /// Parameter of the Beta share of the first image, above 0. The authors and timm use 1.
    pub alpha: f64,
}

impl Default for CutMix {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

/// A rectangle of pixels, from the upper left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl CutMix {
    /// A rectangle of the image's shape around a uniform centre, cut off at the image's edges, for images of one size;
    /// and the weight of the first image and of its label: the share that is left of it.
    pub fn draw(&self, width: u32, height: u32, stream: &mut Stream) -> (CutBox, f64) {
        let side = (1.0 - stream.beta(self.alpha, self.alpha)).max(0.0).sqrt();
        let mut span = |length: u32| {
            let half = (f64::from(length) * side) as u32 / 2;
            let centre = stream.below(length);
            let start = centre.saturating_sub(half);
            (start, centre.saturating_add(half).min(length) - start)
        };
        let ((top, high), (left, wide)) = (span(height), span(width));
        let area = f64::from(width) * f64::from(height);
        let weight = if area > 0.0 { 1.0 - f64::from(wide) * f64::from(high) / area } else { 1.0 };
        (CutBox { left, top, width: wide, height: high }, weight)
    }

    /// Copies the rectangle from `second` into the same place of `first`, as far as both reach.
    pub fn paste(first: &mut RgbImage, second: &RgbImage, area: CutBox) {
        let end =
            |start: u32, length: u32, first: u32, second: u32| start.saturating_add(length).min(first).min(second);
        for y in area.top..end(area.top, area.height, first.height(), second.height()) {
            for x in area.left..end(area.left, area.width, first.width(), second.width()) {
                first.put_pixel(x, y, *second.get_pixel(x, y));
            }
        }
    }
}
