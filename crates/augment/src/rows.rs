//! Weighted sums of shifted rows: the inner loops of the blurs.
//!
//! Sixty-four neighbouring sums stay in registers while every tap is added to them, so that a tap costs one load, one
//! product and one sum.

use std::array;
use std::ops::{Add, Mul};

use crate::border::Border;

/// Single or double precision.
pub(crate) trait Real: Copy + Default + Add<Output = Self> + Mul<Output = Self> {}

impl Real for f32 {}

impl Real for f64 {}

/// Appends rows of `width` pixels to `out`, level by level as `sample` says, with `margin` pixels of border at either side.
#[inline(always)]
pub(crate) fn pad_sides<T: Real>(
    levels: &[u8],
    [width, channels]: [usize; 2],
    margin: usize,
    border: Border,
    sample: impl Fn(u8) -> T + Copy,
    out: &mut Vec<T>,
) {
    out.reserve(levels.len() / width * (width + 2 * margin));
    for row in levels.chunks_exact(width * channels) {
        let pixel = |index: i64| row[border.resolve(index, width) * channels..][..channels].iter().map(|&l| sample(l));
        out.extend((-(margin as i64)..0).flat_map(pixel));
        out.extend(row.iter().map(|&level| sample(level)));
        out.extend((width as i64..(width + margin) as i64).flat_map(pixel));
    }
}

/// Taps of which two share a weight.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<'a, T> {
    pub left: &'a [usize],
    pub right: &'a [usize],
    pub weights: &'a [T],
}

const WIDE: usize = 64;
const NARROW: usize = 8;

/// Cuts `out` into blocks of 64, 8 and 1.
macro_rules! blocks {
    ($out:ident, |$at:ident, $block:ident| $work:expr) => {{
        let (wide, rest) = $out.as_chunks_mut::<WIDE>();
        let start = WIDE * wide.len();
        let (narrow, single) = rest.as_chunks_mut::<NARROW>();
        let middle = start + NARROW * narrow.len();
        for (index, $block) in wide.iter_mut().enumerate() {
            let $at = WIDE * index;
            $work;
        }
        for (index, $block) in narrow.iter_mut().enumerate() {
            let $at = start + NARROW * index;
            $work;
        }
        for (index, sample) in single.iter_mut().enumerate() {
            let ($at, $block) = (middle + index, array::from_mut(sample));
            $work;
        }
    }};
}

/// `out[i]` = the sum of `weights[t] * source[starts[t] + i]`, in the order of the taps.
#[inline(always)]
pub(crate) fn weighted<T: Real>(source: &[T], starts: &[usize], weights: &[T], out: &mut [T]) {
    blocks!(out, |at, block| *block = weighted_block(&source[at..], starts, weights));
}

#[inline(always)]
fn weighted_block<T: Real, const N: usize>(source: &[T], starts: &[usize], weights: &[T]) -> [T; N] {
    let mut sums = [T::default(); N];
    for (&start, &weight) in starts.iter().zip(weights) {
        let samples = &source[start..][..N];
        for (sum, &sample) in sums.iter_mut().zip(samples) {
            *sum = *sum + weight * sample;
        }
    }
    sums
}

/// `out[i]` = `centre.1 * source[centre.0 + i]` plus the sum of `weights[t] * (source[left[t] + i] + source[right[t] + i])`,
/// in the order of the taps.
#[inline(always)]
pub(crate) fn folded<T: Real>(source: &[T], centre: (usize, T), pairs: Pairs<'_, T>, out: &mut [T]) {
    blocks!(out, |at, block| *block = folded_block(&source[at..], centre, pairs));
}

#[inline(always)]
fn folded_block<T: Real, const N: usize>(source: &[T], centre: (usize, T), pairs: Pairs<'_, T>) -> [T; N] {
    let mut sums = [T::default(); N];
    for (sum, &sample) in sums.iter_mut().zip(&source[centre.0..][..N]) {
        *sum = sample * centre.1;
    }
    for ((&left, &right), &weight) in pairs.left.iter().zip(pairs.right).zip(pairs.weights) {
        let (left, right) = (&source[left..][..N], &source[right..][..N]);
        for ((sum, &l), &r) in sums.iter_mut().zip(left).zip(right) {
            *sum = *sum + (l + r) * weight;
        }
    }
    sums
}
