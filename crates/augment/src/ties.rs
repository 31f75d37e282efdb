//! Truncation of sums made in single precision, with the doubtful ones decided as the reference decides them.
//!
//! The references sum in double precision and truncate. A sum in single precision gives another level only where it
//! comes within its error of a whole number. Those samples, one in some thousand on a photograph, are computed again in
//! the reference's own order. On flat areas all of them are doubtful: there the level depends on that of the area
//! alone, and is looked up.

use crate::cell::View;
use crate::scratch::Scratch;

/// So much is spent on doubtful samples, in the unit of [`Reference::cost`], before it is worth the while to look for flat
/// areas.
const PATIENCE: usize = 200_000;

/// Truncates `sums + shift`, in levels, to `out`. `ties` becomes the list of the places within `margin` of a positive
/// whole number.
#[inline(always)]
pub(crate) fn truncate(sums: &[f32], shift: f32, margin: f32, out: &mut [u8], ties: &mut Vec<usize>) {
    const BLOCK: usize = 32;
    ties.clear();
    for (index, (sums, out)) in sums.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).enumerate() {
        let mut doubtful = 0;
        for (&sum, out) in sums.iter().zip(out) {
            let (level, tie) = split(sum + shift, margin);
            *out = level;
            doubtful |= tie;
        }
        if doubtful != 0 {
            let doubtful = sums.iter().enumerate().filter(|(_, sum)| split(**sum + shift, margin).1 != 0);
            ties.extend(doubtful.map(|(place, _)| BLOCK * index + place));
        }
    }
}

/// The whole part, at most 255, and one if the number is within `margin` of a positive whole number, else zero.
#[inline(always)]
fn split(value: f32, margin: f32) -> (u8, u32) {
    // Added to a smaller number, this leaves the nearest whole number in the low bits.
    const WHOLE: f32 = 8_388_608.0;
    let shifted = value.clamp(0.0, 300.0) + WHOLE;
    let nearest = shifted.to_bits() - WHOLE.to_bits();
    let above = value - (shifted - WHOLE);
    let whole = nearest - u32::from(above < 0.0 && nearest > 0);
    (whole.min(255) as u8, u32::from(above.abs() < margin) & u32::from(nearest > 0))
}

/// How the reference computes a sample.
pub(crate) trait Reference {
    /// The columns and rows, both ends included, that the pixel `(x, y)` is computed from. It may hold more. Asked for
    /// after [`Reference::flat`].
    fn window(&self, x: usize, y: usize) -> [[usize; 2]; 2];

    /// How many samples one is computed from.
    fn cost(&self) -> usize;

    /// The level of the sample `place` of row `y`.
    fn sample(&mut self, y: usize, place: usize) -> u8;

    /// The level that a flat area of each level gets.
    fn flat(&mut self) -> [u8; 256];

    /// Computes a whole row, if that is quicker than so many single samples.
    fn row(&mut self, _y: usize, _ties: usize, _out: &mut [u8]) -> bool {
        false
    }
}

/// Decides the doubtful samples of one image.
pub(crate) struct Ties<'a> {
    image: View<'a>,
    channels: usize,
    seen: usize,
    flat: [u8; 256],
    /// How many samples differ from the one to their left, or from the one above, in the rectangle that ends here. Empty
    /// until there are more than a few ties.
    changes: Vec<u32>,
    /// The doubtful samples of a row.
    pub places: Vec<usize>,
}

impl<'a> Ties<'a> {
    pub fn new(image: View<'a>, channels: usize, scratch: &mut Scratch) -> Self {
        let (changes, places) = (scratch.take_empty(), scratch.take_empty());
        Self { image, channels, seen: 0, flat: [0; 256], changes, places }
    }

    /// Returns the buffers.
    pub fn give(self, scratch: &mut Scratch) {
        scratch.give(self.changes);
        scratch.give(self.places);
    }

    /// Decides the samples `self.places` of row `y`.
    pub fn settle(&mut self, y: usize, reference: &mut impl Reference, out: &mut [u8]) {
        if self.places.is_empty() {
            return;
        }
        self.seen += self.places.len();
        let mut places = std::mem::take(&mut self.places);
        if self.seen * reference.cost() > PATIENCE {
            if self.changes.is_empty() {
                self.flat = reference.flat();
                self.count_changes();
            }
            let stride = self.image.width * self.channels;
            places.retain(|&place| {
                let flat = self.is_flat(reference.window(place / self.channels, y), place % self.channels);
                if flat {
                    out[place] = self.flat[usize::from(self.image.levels[y * stride + place])];
                }
                !flat
            });
        }
        if !reference.row(y, places.len(), out) {
            places.iter().for_each(|&place| out[place] = reference.sample(y, place));
        }
        self.places = places;
    }

    fn count_changes(&mut self) {
        let stride = self.image.width * self.channels;
        let levels = self.image.levels;
        self.changes.resize(levels.len(), 0);
        for (y, row) in levels.chunks_exact(stride).enumerate() {
            let (before, rest) = self.changes.split_at_mut(y * stride);
            let counts = &mut rest[..stride];
            for place in self.channels..stride {
                counts[place] = counts[place - self.channels] + u32::from(row[place] != row[place - self.channels]);
            }
            if y == 0 {
                continue;
            }
            let (row_above, counts_above) = (&levels[(y - 1) * stride..][..stride], &before[(y - 1) * stride..]);
            for channel in 0..self.channels {
                let mut run = 0;
                for place in (channel..stride).step_by(self.channels) {
                    run += u32::from(row[place] != row_above[place]);
                    counts[place] += run + counts_above[place];
                }
            }
        }
    }

    /// Whether the samples of the window, and those to its left and above, are the same.
    fn is_flat(&self, [[left, right], [top, bottom]]: [[usize; 2]; 2], channel: usize) -> bool {
        let stride = self.image.width * self.channels;
        let count = |x: usize, y: usize| match (x.checked_sub(1), y.checked_sub(1)) {
            (Some(x), Some(y)) => self.changes[y * stride + x * self.channels + channel],
            _ => 0,
        };
        let (right, bottom) = (right + 1, bottom + 1);
        count(right, bottom) + count(left, top) == count(right, top) + count(left, bottom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use image::RgbImage;
    use robustify_rng::Key;

    use super::*;

    /// A picture of flat areas, slopes and noise, with a channel that is flat throughout.
    pub(crate) fn awkward(width: u32, height: u32) -> RgbImage {
        let mut stream = Key::new(0, "awkward").stream();
        RgbImage::from_fn(width, height, |x, y| {
            let noise = stream.below(256) as u8;
            image::Rgb(match (2 * x / width, 2 * y / height) {
                (0, 0) => [255, 77, 255],
                (1, 0) => [noise, 77, 255 - noise],
                (0, _) => [(2 * x) as u8, 77, (x + y) as u8],
                _ => [0, 77, 128],
            })
        })
    }

    /// Asserts that every sample is that of the reference.
    pub(crate) fn assert_decided(reference: &mut impl Reference, image: View<'_>, out: &[u8]) {
        for (y, row) in out.chunks_exact(image.stride()).enumerate() {
            for (place, &level) in row.iter().enumerate() {
                assert_eq!(level, reference.sample(y, place), "sample {place} of row {y} of {}", image.width);
            }
        }
    }

    #[test]
    fn doubtful_sums_are_those_near_a_positive_whole_number() {
        let sums = [0.0, 1e-5, 0.5, 0.9999, 1.0, 1.0001, 1.001, 12.5, 254.9999, 255.0, 255.5, 299.0, 400.0, -1e-6];
        let (mut out, mut ties) = ([9; 14], vec![3]);
        truncate(&sums, 0.0, 2e-4, &mut out, &mut ties);
        assert_eq!(ties, [3, 4, 5, 8, 9, 11]);
        assert_eq!(out, [0, 0, 0, 0, 1, 1, 1, 12, 254, 255, 255, 255, 255, 0]);
    }
}
