//! The image operations of AugMix with the arithmetic of Pillow, which its reference uses, and chains of them.
//!
//! Sources: AutoAugment, Cubuk et al. 2019, arXiv:1805.09501; AugMix, Hendrycks et al. 2020, arXiv:1912.02781. Every
//! operation equals Pillow level by level.

use std::cell::OnceCell;

use image::RgbImage;

use crate::affine::{affine, rotation, translate};
use crate::pointwise::{self, Counts, Tables, blend, luma};
use crate::rgbx::{Pixel, Rgbx};
use crate::scratch::Scratch;

/// An operation of AugMix and AutoAugment with its parameters, level by level what Pillow gives for an RGB image.
///
/// Any finite parameters are fine: what moves out of the image leaves black, and levels are clipped to 0-255.
///
/// ```
/// use robustify_augment::{PillowOp, RgbImage, Scratch};
///
/// let image = RgbImage::from_fn(8, 8, |x, y| image::Rgb([30 * x as u8, 30 * y as u8, 0]));
/// let turned = PillowOp::Rotate(90.0).apply(&image, &mut Scratch::new());
/// assert_eq!(turned.get_pixel(0, 0), image.get_pixel(7, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PillowOp {
    /// Stretches every channel to the full range (`ImageOps.autocontrast`).
    Autocontrast,
    /// Equalises the histogram of every channel (`ImageOps.equalize`).
    Equalize,
    /// Keeps so many upper bits of every sample; 8 and more keep all (`ImageOps.posterize`).
    Posterize(u32),
    /// Inverts the samples from this level up; from 256 on it changes nothing (`ImageOps.solarize`).
    Solarize(u32),
    /// Rotates by so many degrees counter-clockwise about the centre, bilinearly; what comes in is black (`Image.rotate`).
    Rotate(f64),
    /// Moves every row to the left by so many times its place from the top, bilinearly (`Image.transform`, matrix
    /// `(1, slope, 0, 0, 1, 0)`).
    ShearX(f64),
    /// Moves every column up by so many times its place from the left, bilinearly (matrix `(1, 0, 0, slope, 1, 0)`).
    ShearY(f64),
    /// Moves the image to the left by whole pixels.
    TranslateX(i64),
    /// Moves the image up by whole pixels.
    TranslateY(i64),
    /// Blends with the grey image; a factor of 1 changes nothing (`ImageEnhance.Color`).
    Color(f64),
    /// Blends with the mean luma; a factor of 1 changes nothing (`ImageEnhance.Contrast`).
    Contrast(f64),
    /// Blends with black; a factor of 1 changes nothing (`ImageEnhance.Brightness`).
    Brightness(f64),
    /// Blends with a smoothed copy; a factor of 1 changes nothing (`ImageEnhance.Sharpness`).
    Sharpness(f64),
}

impl PillowOp {
    /// The operation on an image; the result has its size.
    pub fn apply(self, image: &RgbImage, scratch: &mut Scratch) -> RgbImage {
        let mut out = image.clone();
        if image.is_empty() {
            return out;
        }
        let original = Original::new(image, scratch);
        let mut chain = Chain::new(&original);
        chain.apply(self, scratch);
        match chain.tables() {
            Some(tables) => {
                let mut mapped = Rgbx::take(chain.image().width, chain.image().height, scratch);
                pointwise::map(chain.image(), tables, &mut mapped);
                mapped.store(&mut out);
                mapped.give(scratch);
            }
            None => chain.image().store(&mut out),
        }
        chain.give(scratch);
        original.image.give(scratch);
        out
    }
}

/// An image that chains start from. They may share its histogram.
pub(crate) struct Original {
    pub image: Rgbx,
    counts: OnceCell<Counts>,
}

impl Original {
    /// A copy of an image, neither side of which is zero.
    pub fn new(image: &RgbImage, scratch: &mut Scratch) -> Self {
        Self { image: Rgbx::load(image, scratch), counts: OnceCell::new() }
    }
}

/// An image on its way through operations. Those on levels alone wait as a table until an operation needs the pixels.
pub(crate) struct Chain<'a> {
    original: &'a Original,
    own: Option<Rgbx>,
    tables: Option<Tables>,
    /// Histogram of the pixels, before the tables.
    counts: Option<Counts>,
}

impl<'a> Chain<'a> {
    pub fn new(original: &'a Original) -> Self {
        Self { original, own: None, tables: None, counts: None }
    }

    /// The pixels; the result is these after [`Chain::tables`].
    pub fn image(&self) -> &Rgbx {
        self.own.as_ref().unwrap_or(&self.original.image)
    }

    /// What still has to be done to the levels.
    pub fn tables(&self) -> Option<&Tables> {
        self.tables.as_ref()
    }

    /// The pixels, if they are not those of the original, and what still has to be done to their levels.
    pub fn into_parts(self) -> (Option<Rgbx>, Option<Tables>) {
        (self.own, self.tables)
    }

    /// Returns the buffers.
    pub fn give(self, scratch: &mut Scratch) {
        if let Some(image) = self.own {
            image.give(scratch);
        }
    }

    /// Does one operation.
    pub fn apply(&mut self, op: PillowOp, scratch: &mut Scratch) {
        match op {
            PillowOp::Autocontrast => {
                let counts = self.histogram();
                self.then(pointwise::autocontrast(&counts));
            }
            PillowOp::Equalize => {
                let counts = self.histogram();
                self.then(pointwise::equalize(&counts));
            }
            PillowOp::Posterize(bits) => self.then(pointwise::posterize(bits)),
            PillowOp::Solarize(threshold) => self.then(pointwise::solarize(threshold)),
            PillowOp::Contrast(factor) => {
                self.then(pointwise::fade(pointwise::mean_luma(self.image(), self.tables()), factor));
            }
            PillowOp::Brightness(factor) => self.then(pointwise::fade(0, factor)),
            PillowOp::Color(factor) => self.replace(scratch, |from, to, _| grey(from, factor as f32, to)),
            PillowOp::Sharpness(factor) => self.replace(scratch, |from, to, _| sharpen(from, factor as f32, to)),
            PillowOp::Rotate(degrees) if degrees.rem_euclid(360.0) == 0.0 => {}
            PillowOp::Rotate(degrees) => self.replace(scratch, |from, to, scratch| {
                affine(from, rotation(degrees, from.width, from.height), to, scratch);
            }),
            PillowOp::ShearX(slope) => {
                self.replace(scratch, |from, to, scratch| affine(from, [1.0, slope, 0.0, 0.0, 1.0, 0.0], to, scratch));
            }
            PillowOp::ShearY(slope) => {
                self.replace(scratch, |from, to, scratch| affine(from, [1.0, 0.0, 0.0, slope, 1.0, 0.0], to, scratch));
            }
            PillowOp::TranslateX(0) | PillowOp::TranslateY(0) => {}
            PillowOp::TranslateX(right) => self.replace(scratch, |from, to, _| translate(from, right, 0, to)),
            PillowOp::TranslateY(below) => self.replace(scratch, |from, to, _| translate(from, 0, below, to)),
        }
    }

    /// The histogram after the tables.
    fn histogram(&mut self) -> Counts {
        let counts = match &self.own {
            None => self.original.counts.get_or_init(|| pointwise::count(&self.original.image)),
            Some(image) => &*self.counts.get_or_insert_with(|| pointwise::count(image)),
        };
        self.tables.as_ref().map_or_else(|| *counts, |tables| pointwise::count_mapped(counts, tables))
    }

    fn then(&mut self, next: Tables) {
        self.tables = Some(self.tables.map_or(next, |tables| pointwise::compose(&tables, &next)));
    }

    /// Replaces the pixels by what `work` makes of them.
    fn replace(&mut self, scratch: &mut Scratch, work: impl FnOnce(&Rgbx, &mut Rgbx, &mut Scratch)) {
        if let Some(tables) = self.tables.take() {
            let mut mapped = Rgbx::take(self.image().width, self.image().height, scratch);
            pointwise::map(self.image(), &tables, &mut mapped);
            self.swap(mapped, scratch);
        }
        let mut next = Rgbx::take(self.image().width, self.image().height, scratch);
        work(self.image(), &mut next, scratch);
        self.swap(next, scratch);
    }

    fn swap(&mut self, next: Rgbx, scratch: &mut Scratch) {
        self.counts = None;
        if let Some(old) = self.own.replace(next) {
            old.give(scratch);
        }
    }
}

/// Blends the grey image with the image.
fn grey(from: &Rgbx, factor: f32, to: &mut Rgbx) {
    for (to, &from) in to.pixels_mut().iter_mut().zip(from.pixels()) {
        let grey = luma(from);
        *to = from.map(|level| blend(grey, level, factor));
    }
}

/// Blends the 3x3 mean with a centre of five with the image; the outermost pixels are copied.
fn sharpen(from: &Rgbx, factor: f32, to: &mut Rgbx) {
    let (width, height) = (from.width, from.height);
    for y in 0..height {
        let row = from.row(y);
        let target = to.row_mut(y);
        target.copy_from_slice(row);
        if y == 0 || y + 1 == height || width < 3 {
            continue;
        }
        let triples = from.row(y - 1).windows(3).zip(row.windows(3)).zip(from.row(y + 1).windows(3));
        for (target, ((above, own), below)) in target[1..width - 1].iter_mut().zip(triples) {
            let sum =
                |pixels: &[Pixel], channel: usize| pixels.iter().map(|pixel| u32::from(pixel[channel])).sum::<u32>();
            *target = std::array::from_fn(|channel| {
                let level = own[1][channel];
                let all = sum(above, channel) + sum(own, channel) + sum(below, channel) + 4 * u32::from(level);
                blend(((2 * all + 13) / 26) as u8, level, factor)
            });
        }
    }
    to.extend();
}
