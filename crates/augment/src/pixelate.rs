//! Pixelate: down and up again with Pillow's box filter. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261.

use crate::cell::Cell;
use crate::profile::{PerProfile, Profile};
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// The smaller side as a share of the side, per severity 1-5.
const PIXELATE: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.95, 0.9, 0.85, 0.75, 0.65],
    tiny: [0.9, 0.8, 0.7, 0.6, 0.5],
    imagenet: [0.6, 0.5, 0.4, 0.3, 0.25],
    inception: [0.5, 0.4, 0.3, 0.25, 0.2],
};

/// Pixelate of a cell: box filter to the severity's share of both sides, truncated to whole pixels, and back.
///
/// The length that [`Profile::Scaled`] multiplies is that of the large pixels, which are never made smaller than the
/// image's own.
pub(crate) fn apply(cell: &mut Cell<'_, '_>) {
    let share = (PIXELATE.get(cell.profile)[cell.index] / cell.scale()).min(1.0);
    let full = [cell.image.width, cell.image.height];
    let small = full.map(|side| ((side as f64 * share) as usize).max(1));
    let mut reduced = cell.scratch.take(small[0] * small[1] * 3);
    resize(cell.image.levels, (full, small), box_source, &mut reduced, cell.scratch);
    let enlarge = if cell.profile == Profile::Imagecorruptions { nearest_source } else { box_source };
    resize(&reduced, (small, full), enlarge, cell.out, cell.scratch);
    cell.scratch.give(reduced);
}

/// Fraction bits of the weights.
const PRECISION: u32 = 22;

/// For every target sample in turn: the first source, the number of sources, and the weight of each in fixed point.
type Taps<'a> = &'a [u32];

/// How the sources of the target samples along one side are found: appended to the list for sides `from` and `to`.
type Source = fn(from: usize, to: usize, taps: &mut Vec<u32>);

/// Two passes, across and then down, rounded to levels in between. Sides are width and height.
///
/// This is the order of Pillow up to 12, and of later versions too unless the image is much taller than wide: those turn
/// the order round there, which changes a level by one.
fn resize(levels: &[u8], (from, to): ([usize; 2], [usize; 2]), source: Source, out: &mut [u8], scratch: &mut Scratch) {
    let mut taps = scratch.take_empty::<u32>();
    let mut sums = scratch.take::<u32>(to[0] * 3);
    let mut narrow = scratch.take::<u8>(to[0] * from[1] * 3);
    source(from[0], to[0], &mut taps);
    for (source, target) in levels.chunks_exact(from[0] * 3).zip(narrow.chunks_exact_mut(to[0] * 3)) {
        across(source, &taps, target);
    }
    taps.clear();
    source(from[1], to[1], &mut taps);
    vectorised(
        #[inline(always)]
        || down(&narrow, &taps, &mut sums, out),
    );
    scratch.give(taps);
    scratch.give(sums);
    scratch.give(narrow);
}

fn across(source: &[u8], taps: Taps<'_>, target: &mut [u8]) {
    for (pixel, tap) in target.chunks_exact_mut(3).zip(taps.chunks_exact(3)) {
        let window = &source[tap[0] as usize * 3..][..tap[1] as usize * 3];
        if let [r, g, b] = *window {
            pixel.copy_from_slice(&[r, g, b]);
            continue;
        }
        let mut sums = [0; 3];
        for source in window.chunks_exact(3) {
            sums = [0, 1, 2].map(|channel| sums[channel] + u32::from(source[channel]));
        }
        pixel.copy_from_slice(&sums.map(|sum| round(sum * tap[2])));
    }
}

#[inline(always)]
fn down(levels: &[u8], taps: Taps<'_>, sums: &mut [u32], out: &mut [u8]) {
    let stride = sums.len();
    for (target, tap) in out.chunks_exact_mut(stride).zip(taps.chunks_exact(3)) {
        let rows = &levels[tap[0] as usize * stride..][..tap[1] as usize * stride];
        if rows.len() == stride {
            target.copy_from_slice(rows);
            continue;
        }
        sums.fill(0);
        for row in rows.chunks_exact(stride) {
            for (sum, &level) in sums.iter_mut().zip(row) {
                *sum += u32::from(level);
            }
        }
        for (level, &sum) in target.iter_mut().zip(sums.iter()) {
            *level = round(sum * tap[2]);
        }
    }
}

#[inline(always)]
fn round(sum: u32) -> u8 {
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).min(255) as u8
}

/// Pillow's box filter: the sources whose centre lies in the target's box, in equal parts. Decided in its arithmetic,
/// because centres on the edge of a box are common.
fn box_source(from: usize, to: usize, taps: &mut Vec<u32>) {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let (support, shrink) = (0.5 * stretch, 1.0 / stretch);
    for target in 0..to {
        let centre = (target as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let inside = |&source: &usize| {
            let offset = (source as f64 - centre + 0.5) * shrink;
            offset > -0.5 && offset <= 0.5
        };
        let count = (first..end).filter(inside).count();
        let start = (first..end).find(inside).unwrap_or(0);
        let weight = 1.0 / count.max(1) as f64 * f64::from(1 << PRECISION) + 0.5;
        taps.extend([start as u32, count as u32, weight as u32]);
    }
}

/// Pillow's nearest neighbour, which steps along and so adds up the error of its step.
fn nearest_source(from: usize, to: usize, taps: &mut Vec<u32>) {
    let step = from as f64 / to as f64;
    let mut place = 0.5 * step;
    for _ in 0..to {
        // Beyond the edge there is no source, and the sample is black.
        let source = place as usize;
        taps.extend(if source < from { [source as u32, 1, 1 << PRECISION] } else { [0; 3] });
        place += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_share_their_sources() {
        let mut taps = Vec::new();
        box_source(7, 4, &mut taps);
        // Boxes of 1.75 sources: the centres at 0.5, 1.5, ... fall two by two, and the last box has one.
        let counts: Vec<u32> = taps.chunks_exact(3).map(|tap| tap[1]).collect();
        assert_eq!(counts.iter().sum::<u32>(), 7);
        for (from, to) in [(3, 9), (1, 5), (67, 224)] {
            for source in [box_source as Source, nearest_source] {
                taps.clear();
                source(from, to, &mut taps);
                for (target, tap) in taps.chunks_exact(3).enumerate() {
                    assert_eq!(tap, [((2 * target + 1) * from / (2 * to)) as u32, 1, 1 << PRECISION], "{from} to {to}");
                }
            }
        }
    }
}
