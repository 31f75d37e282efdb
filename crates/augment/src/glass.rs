//! Glass blur. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use robustify_rng::Stream;

use crate::cell::{Cell, View};
use crate::draws::Draws;
use crate::gaussian_blur::gaussian_blur;
use crate::profile::PerProfile;
use crate::scratch::Scratch;

/// Standard deviation in pixels, reach of the jitter in pixels, rounds; per severity 1-5.
const GLASS: PerProfile<[(f64, i64, usize); 5]> = PerProfile {
    cifar: [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    tiny: [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    imagenet: [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    inception: [(0.8, 1, 3), (1.0, 3, 1), (1.1, 2, 4), (1.2, 4, 2), (1.6, 5, 2)],
};

/// Glass blur of a cell: blur, let pixels be overwritten by neighbours, blur.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let (sigma, reach, rounds) = GLASS.get(cell.profile)[cell.index];
    let (sigma, reach) = (sigma * cell.scale(), ((reach as f64 * cell.scale()).round() as usize).max(1));
    let View { width, height, .. } = cell.image;
    gaussian_blur(cell.image, sigma, cell.scratch, cell.out);
    let mut pixels = cell.scratch.take_empty::<u32>();
    pixels.extend(cell.out.as_chunks().0.iter().map(|&[r, g, b]| u32::from_le_bytes([r, g, b, 0])));
    let walk = |side: usize| side.saturating_sub(2 * reach);
    let count = 2 * rounds * walk(width) * walk(height);
    let recorded = cell.draws.array(count, [-(reach as f64), reach as f64 - 1.0]);
    if let Draws::Fresh(stream) = &mut *cell.draws {
        let mut jitter = Jitter::new(reach, width, stream, cell.scratch);
        shuffle(&mut pixels, width, reach, rounds, |places| jitter.fill(places), cell.scratch);
        jitter.give(cell.scratch);
    } else {
        let mut pairs = recorded.unwrap_or_default().as_chunks().0.iter();
        let next = |places: &mut [usize]| {
            for (place, [dx, dy]) in places.iter_mut().zip(&mut pairs) {
                *place = (*dy as isize * width as isize + *dx as isize) as usize;
            }
        };
        shuffle(&mut pixels, width, reach, rounds, next, cell.scratch);
    }
    let mut shuffled = cell.scratch.take::<u8>(cell.out.len());
    for (rgb, pixel) in shuffled.as_chunks_mut::<3>().0.iter_mut().zip(&pixels) {
        let [r, g, b, _] = pixel.to_le_bytes();
        *rgb = [r, g, b];
    }
    gaussian_blur(View { levels: &shuffled, ..cell.image }, sigma, cell.scratch, cell.out);
    cell.scratch.give(pixels);
    cell.scratch.give(shuffled);
}

/// Lets every pixel, from the last to the first, be overwritten by a neighbour.
///
/// `jitter` gives for the pixels of a row, in the order of the walk, how much further on the neighbour is. The authors
/// meant to swap two pixels, but their swap of array views copies the neighbour and leaves it in place; every published
/// number was made with the copy, so this copies.
fn shuffle(
    pixels: &mut [u32],
    width: usize,
    reach: usize,
    rounds: usize,
    mut jitter: impl FnMut(&mut [usize]),
    scratch: &mut Scratch,
) {
    let height = pixels.len() / width;
    let mut places = scratch.take::<usize>(width.saturating_sub(2 * reach));
    for _ in 0..rounds {
        for y in (reach + 1..=height.saturating_sub(reach)).rev() {
            jitter(&mut places);
            let row = y * width + reach + 1;
            for (place, &step) in (row..row + places.len()).rev().zip(&places) {
                pixels[place] = pixels[place.wrapping_add(step)];
            }
        }
    }
    scratch.give(places);
}

/// Draws steps to a neighbour, uniform in `-reach..reach` in either direction.
struct Jitter<'s> {
    stream: &'s mut Stream,
    /// The steps among which one is drawn; a negative one is wrapped.
    steps: Vec<usize>,
    bytes: Vec<u8>,
}

impl<'s> Jitter<'s> {
    fn new(reach: usize, width: usize, stream: &'s mut Stream, scratch: &mut Scratch) -> Self {
        let mut steps = scratch.take_empty();
        let side = -(reach as isize)..reach as isize;
        steps.extend(side.clone().flat_map(|dy| side.clone().map(move |dx| (dy * width as isize + dx) as usize)));
        Self { stream, steps, bytes: scratch.take_empty() }
    }

    fn give(self, scratch: &mut Scratch) {
        scratch.give(self.steps);
        scratch.give(self.bytes);
    }

    /// By the method of `Stream::below`, with 16 bits for each while there are no more than 2^14 steps.
    fn fill(&mut self, places: &mut [usize]) {
        let count = self.steps.len() as u32;
        if count > 1 << 14 {
            places.iter_mut().for_each(|place| *place = self.steps[self.stream.below(count) as usize]);
            return;
        }
        self.bytes.resize(2 * places.len(), 0);
        self.stream.fill(&mut self.bytes);
        // So many of the 65536 draws are left over when the others are shared out evenly.
        let surplus = 65_536 % count;
        for (place, &bytes) in places.iter_mut().zip(self.bytes.as_chunks().0) {
            let product = u32::from(u16::from_le_bytes(bytes)) * count;
            let index = if product & 0xffff < surplus { self.stream.below(count) } else { product >> 16 };
            *place = self.steps[index as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;

    #[test]
    fn steps_are_uniform() {
        let mut stream = Key::new(0, "jitter").stream();
        let mut scratch = Scratch::new();
        let mut jitter = Jitter::new(3, 100, &mut stream, &mut scratch);
        let mut places = [0; 500];
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..720 {
            jitter.fill(&mut places);
            places.iter().for_each(|&place| *counts.entry(place as isize).or_insert(0.0) += 1.0);
        }
        // 360,000 draws among 36 steps: the statistic has 35 degrees of freedom, and exceeds 85 once in 200,000 times.
        let chi_squared: f64 = counts.values().map(|count| (count - 1e4_f64).powi(2) / 1e4).sum();
        assert!(counts.len() == 36 && chi_squared < 85.0, "{counts:?}");
        assert!(counts.contains_key(&-303) && counts.contains_key(&202));
    }
}
