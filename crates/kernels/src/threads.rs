//! Work cut at fixed places and shared among the threads of the current pool.

use rayon::prelude::*;

use crate::simd::vectorised;

/// Elements in a piece of elementwise work: enough to outweigh the hand-over to a thread.
pub(crate) const PIECE: usize = 32 * 1024;

/// Elements that are computed in the nearest cache before they go to memory.
const BLOCK: usize = 2 * 1024;

/// An array of `length` elements, which `work` fills from the element of the given index on, `unit` or a multiple of it at a
/// time. No element may depend on how many are filled together.
///
/// One thread computes in a small block and appends it, so that memory is written once and not first with zeros.
pub(crate) fn filled(length: usize, unit: usize, work: impl Fn(usize, &mut [f32]) + Sync + Send) -> Vec<f32> {
    let multiple = |elements: usize| (elements / unit).max(1) * unit;
    if rayon::current_num_threads() > 1 && length > PIECE {
        let mut output = vec![0.0; length];
        let size = multiple(PIECE);
        pieces(&mut output, size, |index, piece| work(index * size, piece));
        return output;
    }
    let mut output = Vec::with_capacity(length);
    let mut block = vec![0.0; multiple(BLOCK).min(length)];
    while output.len() < length {
        let count = block.len().min(length - output.len());
        work(output.len(), &mut block[..count]);
        output.extend_from_slice(&block[..count]);
    }
    output
}

/// Applies `work` to consecutive pieces of `size` elements of `output`, with their index.
///
/// The cut does not depend on the threads, so neither does anything that a piece computes by itself.
pub(crate) fn pieces<T: Send>(output: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync + Send) {
    pieces_with(output, size, &mut [(); 0], 0, |index, piece, _| work(index, piece));
}

/// The same, with a piece of `side` for every piece of `output`: where it leaves partial sums, or nothing if `side` is empty.
///
/// # Panics
/// `side` is neither empty nor as many pieces of `side_size` as `output` has of `size`.
pub(crate) fn pieces_with<T: Send, S: Send>(
    output: &mut [T],
    size: usize,
    side: &mut [S],
    side_size: usize,
    work: impl Fn(usize, &mut [T], &mut [S]) + Sync + Send,
) {
    let alone = rayon::current_num_threads() == 1 || output.len() <= size;
    if side.is_empty() {
        if alone {
            output.chunks_mut(size).enumerate().for_each(|(index, piece)| work(index, piece, &mut []));
        } else {
            output.par_chunks_mut(size).enumerate().for_each(|(index, piece)| work(index, piece, &mut []));
        }
        return;
    }
    assert_eq!(side.len(), output.len().div_ceil(size) * side_size, "a piece of one for every piece of the other");
    if alone {
        let both = output.chunks_mut(size).zip(side.chunks_mut(side_size));
        both.enumerate().for_each(|(index, (piece, side))| work(index, piece, side));
    } else {
        let both = output.par_chunks_mut(size).zip(side.par_chunks_mut(side_size));
        both.enumerate().for_each(|(index, (piece, side))| work(index, piece, side));
    }
}

/// Adds up consecutive rows of `width` elements, in their order.
pub(crate) fn sum_rows(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(width.max(1)) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += value;
                }
            }
        },
    );
    sums
}

/// The results of `work` for `0..count`, in order, computed by the threads of the current pool.
pub(crate) fn collect<R: Send>(count: usize, work: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if rayon::current_num_threads() == 1 || count <= 1 {
        (0..count).map(work).collect()
    } else {
        (0..count).into_par_iter().map(work).collect()
    }
}
