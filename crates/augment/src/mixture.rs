//! The weighted sum of an image and of the ends of chains of operations, rounded to eight bits.

use image::RgbImage;

use crate::pillow::{Chain, Original};
use crate::pointwise::{self, rounded};
use crate::rgbx::{Pixel, Rgbx};
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// For every channel, what each level adds to the sum.
type Worths = [[f32; 256]; 3];

/// The image and the chains so far. Additions are made in single precision and in the order of the chains.
pub(crate) struct Mixture<'a> {
    original: &'a Original,
    /// Weight of the image alone.
    weight: f32,
    /// The image with the chains that come first and only map levels; none for the image alone.
    first: Option<Worths>,
    /// The chains after those.
    terms: Vec<Term>,
}

/// A chain.
pub(crate) struct Term {
    weight: f32,
    /// None for the original.
    image: Option<Rgbx>,
    /// Weighted levels, if they are mapped.
    worths: Option<Worths>,
}

impl<'a> Mixture<'a> {
    /// The image alone with a weight. To be ended with [`Mixture::finish`].
    pub fn new(original: &'a Original, weight: f32, scratch: &mut Scratch) -> Self {
        Self { original, weight, first: None, terms: std::mem::take(&mut scratch.terms) }
    }

    /// Adds a chain.
    pub fn add(&mut self, chain: Chain<'_>, weight: f32) {
        let (image, tables) = chain.into_parts();
        let plain = weighted(weight);
        let worths = tables.map(|tables| tables.map(|table| table.map(|level| plain[usize::from(level)])));
        if image.is_none() && self.terms.is_empty() {
            let worths = worths.unwrap_or([plain; 3]);
            let sums = self.first.get_or_insert_with(|| [weighted(self.weight); 3]);
            sums.iter_mut().flatten().zip(worths.iter().flatten()).for_each(|(sum, worth)| *sum += worth);
        } else {
            self.terms.push(Term { weight, image, worths });
        }
    }

    /// Writes the rounded sums and returns the buffers.
    pub fn finish(mut self, out: &mut RgbImage, scratch: &mut Scratch) {
        let width = self.original.image.width;
        let rows = out.chunks_exact_mut(width * 3).map(|row| row.as_chunks_mut::<3>().0).enumerate();
        if self.terms.is_empty() {
            let tables = self.first.unwrap_or_else(|| [weighted(self.weight); 3]).map(|table| table.map(rounded));
            for (y, row) in rows {
                for (target, &pixel) in row.iter_mut().zip(self.original.image.row(y)) {
                    let [red, green, blue, _] = pointwise::mapped(pixel, &tables);
                    *target = [red, green, blue];
                }
            }
        } else {
            let (mut sums, mut levels) = (scratch.take_any::<f32>(width * 4), scratch.take_any::<u8>(width * 4));
            for (y, row) in rows {
                vectorised(
                    #[inline(always)]
                    || self.mix_row(y, &mut sums, &mut levels, row),
                );
            }
            scratch.give(sums);
            scratch.give(levels);
        }
        self.terms.drain(..).filter_map(|term| term.image).for_each(|image| image.give(scratch));
        scratch.terms = self.terms;
    }

    #[inline(always)]
    fn mix_row(&self, y: usize, sums: &mut [f32], levels: &mut [u8], row: &mut [[u8; 3]]) {
        let original = self.original.image.row(y);
        match &self.first {
            Some(worths) => {
                for (sums, &pixel) in sums.as_chunks_mut::<4>().0.iter_mut().zip(original) {
                    *sums = looked_up(pixel, worths);
                }
            }
            None => {
                for (sum, &level) in sums.iter_mut().zip(original.as_flattened()) {
                    *sum = self.weight * f32::from(level);
                }
            }
        }
        for term in &self.terms {
            term.add_row(term.image.as_ref().map_or(original, |image| image.row(y)), sums);
        }
        for (level, &sum) in levels.iter_mut().zip(&*sums) {
            *level = rounded(sum);
        }
        for (target, levels) in row.iter_mut().zip(levels.as_chunks::<4>().0) {
            *target = [levels[0], levels[1], levels[2]];
        }
    }
}

impl Term {
    #[inline(always)]
    fn add_row(&self, row: &[Pixel], sums: &mut [f32]) {
        if let Some(worths) = &self.worths {
            for (sums, &pixel) in sums.as_chunks_mut::<4>().0.iter_mut().zip(row) {
                let worths = looked_up(pixel, worths);
                for channel in 0..4 {
                    sums[channel] += worths[channel];
                }
            }
        } else {
            for (sum, &level) in sums.iter_mut().zip(row.as_flattened()) {
                *sum += self.weight * f32::from(level);
            }
        }
    }
}

/// What each level is worth.
fn weighted(weight: f32) -> [f32; 256] {
    std::array::from_fn(|level| weight * level as f32)
}

#[inline(always)]
fn looked_up([red, green, blue, _]: Pixel, worths: &Worths) -> [f32; 4] {
    [worths[0][usize::from(red)], worths[1][usize::from(green)], worths[2][usize::from(blue)], 0.0]
}
