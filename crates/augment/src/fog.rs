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
    let side = fog_side(cell.image.width, cell.image.height);
    let map = plasma(side, decay, cell.draws, cell.scratch);
    let lowest = map.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = map.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A map of a single height has no fog at all.
    let relief = if highest > lowest { 1.0 / (highest - lowest) } else { 0.0 };
    fog(cell, amount, side, &map, |height| (height - lowest) * relief);
    cell.scratch.give(map);
}

/// Fog of a map of heights, a square of `side` of which the top left corner is used; `normalise` takes its heights to
/// `[0, 1]`.
fn fog(cell: &mut Cell<'_, '_>, amount: f64, side: usize, map: &[f64], normalise: impl Fn(f64) -> f64) {
    // Levels with 23 bits of fraction.
    const ONE: f64 = (1 << 23) as f64;
    // What 255 roundings of the factor come to, so that whole results do not fall short.
    const ROUNDING: f64 = 128.0;
    let brightest = f64::from(cell.image.levels.iter().copied().max().unwrap_or(0)) / 255.0;
    let share = brightest / (brightest + amount);
    let factor = (share * ONE).round() as u32;
    let mut row = cell.scratch.take::<u32>(cell.image.width);
    let stride = cell.image.stride();
    vectorised(
        #[inline(always)]
        || {
            let lines = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for ((levels, out), heights) in lines.zip(map.chunks_exact(side)) {
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

/// Heights by diamond-square on a torus.
///
/// What is added is uniform in plus or minus the octave's scale, multiplied by the scale once more, so heights shrink by
/// the square of `decay` from octave to octave; that is the authors' arithmetic.
fn plasma(side: usize, decay: f64, draws: &mut Draws<'_>, scratch: &mut Scratch) -> Vec<f64> {
    let mut corners = scratch.take::<f64>(side * side);
    let mut finer = scratch.take::<f64>(side * side);
    let mut wobbles = [(); 3].map(|()| scratch.take::<f64>(side * side / 4));
    let (mut count, mut scale) = (1, 100.0);
    while count < side {
        for wobble in &mut wobbles {
            draws.uniforms(-scale, scale, &mut wobble[..count * count]);
        }
        let [centres, across, down] = wobbles.each_mut().map(|wobble| &mut wobble[..count * count]);
        vectorised(
            #[inline(always)]
            || {
                octave(
                    &corners[..count * count],
                    count,
                    scale,
                    [centres, across, down],
                    &mut finer[..4 * count * count],
                )
            },
        );
        std::mem::swap(&mut corners, &mut finer);
        count *= 2;
        scale /= decay;
    }
    scratch.give(finer);
    wobbles.into_iter().for_each(|wobble| scratch.give(wobble));
    corners
}

/// One octave: from `count` by `count` heights to twice as many on either side. The wobbles become the heights of the
/// centres and of the edges.
#[inline(always)]
fn octave(corners: &[f64], count: usize, scale: f64, [centres, across, down]: [&mut [f64]; 3], finer: &mut [f64]) {
    let row = |y: usize| &corners[y % count * count..][..count];
    for (y, centres) in centres.chunks_exact_mut(count).enumerate() {
        let (upper, lower) = (row(y), row(y + 1));
        displace(centres, scale, |x, right| upper[x] + lower[x] + (upper[right] + lower[right]));
    }
    let centre = |y: usize| &centres[y % count * count..][..count];
    for (y, (across, down)) in across.chunks_exact_mut(count).zip(down.chunks_exact_mut(count)).enumerate() {
        let (upper, lower, above, below) = (row(y), row(y + 1), centre(y + count - 1), centre(y));
        displace(across, scale, |x, right| below[x] + above[x] + (upper[x] + upper[right]));
        // The centre to the left of the first is the last.
        down[0] = (below[0] + below[count - 1] + (upper[0] + lower[0])) / 4.0 + scale * down[0];
        for x in 1..count {
            down[x] = (below[x] + below[x - 1] + (upper[x] + lower[x])) / 4.0 + scale * down[x];
        }
    }
    for (y, rows) in finer.chunks_exact_mut(4 * count).enumerate() {
        let (even, odd) = rows.split_at_mut(2 * count);
        interleave(even, row(y), &across[y * count..][..count]);
        interleave(odd, &down[y * count..][..count], centre(y));
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

#[inline(always)]
fn interleave(out: &mut [f64], even: &[f64], odd: &[f64]) {
    for ((pair, &even), &odd) in out.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
        *pair = [even, odd];
    }
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;

    #[test]
    fn height_maps_have_the_moments_of_the_reference() {
        for (decay, deviation) in [(3.0, 0.167), (1.4, 0.193)] {
            let maps = (0..30).map(|sample| {
                plasma(256, decay, &mut Draws::Fresh(Key::new(sample, "plasma").stream()), &mut Scratch::new())
            });
            let moments = maps.map(|map| {
                let lowest = map.iter().copied().fold(f64::INFINITY, f64::min);
                let range = map.iter().copied().fold(f64::NEG_INFINITY, f64::max) - lowest;
                let mean = map.iter().sum::<f64>() / map.len() as f64;
                let variance = map.iter().map(|height| (height - mean).powi(2)).sum::<f64>() / map.len() as f64;
                ((mean - lowest) / range, variance.sqrt() / range)
            });
            let (mean, spread) = moments.fold((0.0, 0.0), |sum, next| (sum.0 + next.0 / 30.0, sum.1 + next.1 / 30.0));
            assert!((mean - 0.5).abs() < 0.06 && (spread - deviation).abs() < 0.03, "decay {decay}: {mean} ± {spread}");
        }
    }

    #[test]
    fn maps_have_the_sides_of_the_benchmarks() {
        assert_eq!([32, 64, 224, 299].map(|side| fog_side(side, side)), [32, 64, 256, 512]);
        assert_eq!((fog_side(1, 1), fog_side(500, 333)), (2, 512));
    }
}
