//! Fog. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the authors' code.

use crate::border::whole_part;
use crate::cell::Cell;
use crate::draws::Draws;
use crate::profile::PerProfile;
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Height of the fog in units of white, and the decay of its wobble from octave to octave; per severity 1-5.
const FOG: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)],
    tiny: [(0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)],
    imagenet: [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)],
    inception: [(1.5, 2.0), (2.0, 2.0), (2.5, 1.8), (2.5, 1.6), (3.0, 1.5)],
};

/// Fog of a cell.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let (amount, decay) = FOG.get(cell.profile)[cell.index];
    let Relief { heights, lowest, highest } =
        plasma([cell.image.width, cell.image.height], decay, cell.draws, cell.scratch);
    // A map of a single height has no fog at all.
    let relief = if highest > lowest { 1.0 / (highest - lowest) } else { 0.0 };
    fog(cell, amount, &heights, |height| (height - lowest) * relief);
    cell.scratch.give(heights);
}

/// Fog of the heights over the image's pixels; `normalise` takes them to `[0, 1]`.
fn fog(cell: &mut Cell<'_, '_>, amount: f64, heights: &[f64], normalise: impl Fn(f64) -> f64) {
    // Levels with 23 bits of fraction.
    const ONE: f64 = (1 << 23) as f64;
    // What 255 roundings of the factor come to, so that whole results do not fall short.
    const ROUNDING: f64 = 128.0;
    let brightest = f64::from(cell.image.levels.iter().copied().max().unwrap_or(0)) / 255.0;
    let share = brightest / (brightest + amount);
    let factor = (share * ONE).round() as u32;
    let width = cell.image.width;
    let mut row = cell.scratch.take::<u32>(width);
    let stride = cell.image.stride();
    vectorised(
        #[inline(always)]
        || {
            let lines = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for ((levels, out), heights) in lines.zip(heights.chunks_exact(width)) {
                for (fog, &height) in row.iter_mut().zip(heights) {
                    *fog = whole_part(normalise(height) * (amount * share * 255.0 * ONE) + ROUNDING);
                }
                for ((out, pixel), &fog) in
                    out.as_chunks_mut::<3>().0.iter_mut().zip(levels.as_chunks::<3>().0).zip(&row)
                {
                    *out = pixel.map(|level| ((u32::from(level) * factor + fog) >> 23).min(255) as u8);
                }
            }
        },
    );
    cell.scratch.give(row);
}

/// The side of the smallest height map that covers the image: 32, 64, 256 and 512 at the sizes of the benchmarks.
fn fog_side(width: usize, height: usize) -> usize {
    width.max(height).next_power_of_two().max(2)
}

/// What is needed of a map of heights, of which an image covers the top left corner.
struct Relief {
    /// The heights over the image's pixels, in rows.
    heights: Vec<f64>,
    /// The lowest of the whole map.
    lowest: f64,
    /// The highest of the whole map.
    highest: f64,
}

/// Heights by diamond-square on a torus, for an image of a width and a height.
///
/// What is added is uniform in plus or minus the octave's scale, multiplied by the scale once more, so heights shrink by
/// the square of `decay` from octave to octave; that is the authors' arithmetic.
///
/// No buffer holds the whole map: the last octave is made in three parts, and of each only what the image covers is kept.
fn plasma(window: [usize; 2], decay: f64, draws: &mut Draws<'_>, scratch: &mut Scratch) -> Relief {
    let [width, height] = window;
    let half = fog_side(width, height) / 2;
    let mut heights = scratch.take_any::<f64>(width * height);
    let [mut corners, mut finer, mut wobbles] = [(); 3].map(|()| scratch.take_any::<f64>(half * half));
    corners[0] = 0.0;
    let (mut count, mut scale) = (1, 100.0);
    while count < half {
        let coarse = Coarse { heights: &corners[..count * count], count, scale };
        octave(coarse, &mut wobbles[..3 * count * count], draws, &mut finer[..4 * count * count]);
        std::mem::swap(&mut corners, &mut finer);
        count *= 2;
        scale /= decay;
    }
    let coarse = Coarse { heights: &corners, count, scale };
    let [lowest, highest] = last_octave(coarse, [&mut finer, &mut wobbles], draws, width, &mut heights);
    [wobbles, finer, corners].into_iter().for_each(|buffer| scratch.give(buffer));
    Relief { heights, lowest, highest }
}

/// One octave: from `count` by `count` heights to twice as many on either side.
fn octave(coarse: Coarse<'_>, wobbles: &mut [f64], draws: &mut Draws<'_>, finer: &mut [f64]) {
    let count = coarse.count;
    let (centres, edges) = wobbles.split_at_mut(count * count);
    let (across, down) = edges.split_at_mut(count * count);
    for wobbles in [&mut *centres, &mut *across, &mut *down] {
        draws.uniforms(-coarse.scale, coarse.scale, wobbles);
    }
    vectorised(
        #[inline(always)]
        || {
            coarse.centres(centres);
            coarse.across(centres, across);
            coarse.down(centres, down);
            for (y, rows) in finer.chunks_exact_mut(4 * count).enumerate() {
                let (even, odd) = rows.split_at_mut(2 * count);
                interleave(even, coarse.row(y), &across[y * count..][..count]);
                interleave(odd, &down[y * count..][..count], &centres[y * count..][..count]);
            }
        },
    );
}

/// As [`octave`], but it keeps only the top left corner, in rows of `width`, and returns the lowest and the highest of all
/// heights. The buffers are as large as the coarse heights.
fn last_octave(
    coarse: Coarse<'_>,
    [centres, edges]: [&mut [f64]; 2],
    draws: &mut Draws<'_>,
    width: usize,
    corner: &mut [f64],
) -> [f64; 2] {
    let count = coarse.count;
    draws.uniforms(-coarse.scale, coarse.scale, centres);
    draws.uniforms(-coarse.scale, coarse.scale, edges);
    let upper = vectorised(
        #[inline(always)]
        || {
            coarse.centres(centres);
            coarse.across(centres, edges);
            for (y, even) in corner.chunks_exact_mut(width).step_by(2).enumerate() {
                interleave(even, coarse.row(y), &edges[y * count..][..count]);
            }
            [range(coarse.heights), range(centres), range(edges)]
        },
    );
    draws.uniforms(-coarse.scale, coarse.scale, edges);
    let lower = vectorised(
        #[inline(always)]
        || {
            coarse.down(centres, edges);
            for (y, odd) in corner.chunks_exact_mut(width).skip(1).step_by(2).enumerate() {
                interleave(odd, &edges[y * count..][..count], &centres[y * count..][..count]);
            }
            range(edges)
        },
    );
    upper.into_iter().fold(lower, |[lowest, highest], [low, high]| [lowest.min(low), highest.max(high)])
}

/// The heights that an octave refines, a square on a torus. Its methods turn wobbles into the heights between them.
#[derive(Clone, Copy)]
struct Coarse<'a> {
    heights: &'a [f64],
    count: usize,
    scale: f64,
}

impl<'a> Coarse<'a> {
    #[inline(always)]
    fn row(self, y: usize) -> &'a [f64] {
        &self.heights[y % self.count * self.count..][..self.count]
    }

    /// The heights amid four corners.
    #[inline(always)]
    fn centres(self, wobbles: &mut [f64]) {
        for (y, wobbles) in wobbles.chunks_exact_mut(self.count).enumerate() {
            let (upper, lower) = (self.row(y), self.row(y + 1));
            displace(wobbles, self.scale, |x, right| upper[x] + lower[x] + (upper[right] + lower[right]));
        }
    }

    /// The heights between a corner and the next one in its row.
    #[inline(always)]
    fn across(self, centres: &[f64], wobbles: &mut [f64]) {
        for (y, wobbles) in wobbles.chunks_exact_mut(self.count).enumerate() {
            let centre = |y: usize| &centres[y % self.count * self.count..][..self.count];
            let (upper, above, below) = (self.row(y), centre(y + self.count - 1), centre(y));
            displace(wobbles, self.scale, |x, right| below[x] + above[x] + (upper[x] + upper[right]));
        }
    }

    /// The heights between a corner and the next one in its column.
    #[inline(always)]
    fn down(self, centres: &[f64], wobbles: &mut [f64]) {
        let rows = wobbles.chunks_exact_mut(self.count).zip(centres.chunks_exact(self.count));
        for (y, (wobbles, centres)) in rows.enumerate() {
            let (upper, lower) = (self.row(y), self.row(y + 1));
            // The centre to the left of the first is the last.
            let sum = centres[0] + centres[self.count - 1] + (upper[0] + lower[0]);
            wobbles[0] = sum / 4.0 + self.scale * wobbles[0];
            for x in 1..self.count {
                let sum = centres[x] + centres[x - 1] + (upper[x] + lower[x]);
                wobbles[x] = sum / 4.0 + self.scale * wobbles[x];
            }
        }
    }
}

/// A quarter of the sum at every place and the one to its right, on a torus, plus the wobble times the scale.
#[inline(always)]
fn displace(wobbles: &mut [f64], scale: f64, sum: impl Fn(usize, usize) -> f64) {
    let last = wobbles.len() - 1;
    for (x, wobble) in wobbles[..last].iter_mut().enumerate() {
        *wobble = sum(x, x + 1) / 4.0 + scale * *wobble;
    }
    wobbles[last] = sum(last, 0) / 4.0 + scale * wobbles[last];
}

/// Writes values of `even` and `odd` in turn, as many as there is room for.
#[inline(always)]
fn interleave(out: &mut [f64], even: &[f64], odd: &[f64]) {
    let (pairs, rest) = out.as_chunks_mut::<2>();
    if let [last] = rest {
        *last = even[pairs.len()];
    }
    for ((pair, &even), &odd) in pairs.iter_mut().zip(even).zip(odd) {
        *pair = [even, odd];
    }
}

/// The lowest and the highest height.
#[inline(always)]
fn range(heights: &[f64]) -> [f64; 2] {
    // Several at a time, since each waits for the one before.
    const LANES: usize = 8;
    let mut lowest = [f64::INFINITY; LANES];
    let mut highest = [f64::NEG_INFINITY; LANES];
    for heights in heights.chunks(LANES) {
        for ((lowest, highest), &height) in lowest.iter_mut().zip(&mut highest).zip(heights) {
            *lowest = lowest.min(height);
            *highest = highest.max(height);
        }
    }
    [lowest.into_iter().fold(f64::INFINITY, f64::min), highest.into_iter().fold(f64::NEG_INFINITY, f64::max)]
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;

    fn draws(sample: u64) -> Draws<'static> {
        Draws::Fresh(Key::new(sample, "plasma").stream())
    }

    #[test]
    fn height_maps_have_the_moments_of_the_reference() {
        for (decay, deviation) in [(3.0, 0.167), (1.4, 0.193)] {
            let maps = (0..30).map(|sample| plasma([256; 2], decay, &mut draws(sample), &mut Scratch::new()));
            let moments = maps.map(|Relief { heights, lowest, highest }| {
                let range = highest - lowest;
                let mean = heights.iter().sum::<f64>() / heights.len() as f64;
                let variance = heights.iter().map(|height| (height - mean).powi(2)).sum::<f64>() / heights.len() as f64;
                ((mean - lowest) / range, variance.sqrt() / range)
            });
            let (mean, spread) = moments.fold((0.0, 0.0), |sum, next| (sum.0 + next.0 / 30.0, sum.1 + next.1 / 30.0));
            assert!((mean - 0.5).abs() < 0.06 && (spread - deviation).abs() < 0.03, "decay {decay}: {mean} ± {spread}");
        }
    }

    /// The whole map, place by place.
    fn whole_map(side: usize, decay: f64, draws: &mut Draws<'_>) -> Vec<f64> {
        let (mut map, mut count, mut scale) = (vec![0.0], 1, 100.0);
        while count < side {
            let [centres, across, down] = [(); 3].map(|()| {
                let mut wobbles = vec![0.0; count * count];
                draws.uniforms(-scale, scale, &mut wobbles);
                wobbles
            });
            let on_torus = |x: usize, y: usize| y % count * count + x % count;
            let corner = |x, y| map[on_torus(x, y)];
            let centre = |x, y| {
                let sum = corner(x, y) + corner(x, y + 1) + (corner(x + 1, y) + corner(x + 1, y + 1));
                sum / 4.0 + scale * centres[on_torus(x, y)]
            };
            let finer = |place: usize| {
                let (x, y) = (place % (2 * count) / 2, place / (2 * count) / 2);
                let (sum, wobbles) = match (place % 2, place / (2 * count) % 2) {
                    (0, 0) => return corner(x, y),
                    (1, 1) => return centre(x, y),
                    (1, _) => (centre(x, y) + centre(x, y + count - 1) + (corner(x, y) + corner(x + 1, y)), &across),
                    _ => (centre(x, y) + centre(x + count - 1, y) + (corner(x, y) + corner(x, y + 1)), &down),
                };
                sum / 4.0 + scale * wobbles[on_torus(x, y)]
            };
            map = (0..4 * count * count).map(finer).collect();
            (count, scale) = (2 * count, scale / decay);
        }
        map
    }

    #[test]
    fn reliefs_are_corners_of_whole_maps() {
        for (width, height) in [(1, 1), (2, 1), (1, 3), (5, 2), (33, 20), (61, 45), (7, 120), (128, 128)] {
            let relief = plasma([width, height], 1.7, &mut draws(7), &mut Scratch::new());
            let side = fog_side(width, height);
            let map = whole_map(side, 1.7, &mut draws(7));
            let [lowest, highest] = [f64::min, f64::max].map(|choose| map.iter().copied().reduce(choose).unwrap());
            assert_eq!([relief.lowest, relief.highest], [lowest, highest], "{width}x{height}");
            for (row, whole) in relief.heights.chunks_exact(width).zip(map.chunks_exact(side)) {
                assert_eq!(row, &whole[..width], "{width}x{height}");
            }
        }
    }

    #[test]
    fn maps_have_the_sides_of_the_benchmarks() {
        assert_eq!([32, 64, 224, 299].map(|side| fog_side(side, side)), [32, 64, 256, 512]);
        assert_eq!((fog_side(1, 1), fog_side(500, 333)), (2, 512));
    }
}
