//! Functions of single elements.

use crate::flex::Array;
use crate::simd::vectorised;
use crate::threads::{PIECE, filled, pieces};

/// `f` of every element, in place where nothing else reads it.
pub(crate) fn map(mut x: Array, f: impl Fn(f32) -> f32 + Copy + Sync + Send) -> Array {
    if let Some(values) = x.overwrite() {
        pieces(values, PIECE, |_, piece| {
            vectorised(
                #[inline(always)]
                || {
                    piece.iter_mut().for_each(
                        #[inline(always)]
                        |value| *value = f(*value),
                    )
                },
            );
        });
        return x;
    }
    let values = filled(x.len(), 1, |at, block| {
        let x = &x[at..at + block.len()];
        vectorised(
            #[inline(always)]
            || {
                for (out, &value) in block.iter_mut().zip(x) {
                    *out = f(value);
                }
            },
        );
    });
    Array::new(values, x.dims())
}

/// `f` of every pair of elements, in the place of `a` where nothing else reads it.
///
/// # Panics
/// The arrays differ in length.
pub(crate) fn zip(mut a: Array, b: &[f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync + Send) -> Array {
    assert_eq!(a.len(), b.len(), "arrays of one length");
    if let Some(values) = a.overwrite() {
        pieces(values, PIECE, |index, piece| {
            let b = &b[index * PIECE..][..piece.len()];
            vectorised(
                #[inline(always)]
                || {
                    for (a, &b) in piece.iter_mut().zip(b) {
                        *a = f(*a, b);
                    }
                },
            );
        });
        return a;
    }
    let values = filled(a.len(), 1, |at, block| {
        let (a, b) = (&a[at..at + block.len()], &b[at..at + block.len()]);
        vectorised(
            #[inline(always)]
            || {
                for ((out, &a), &b) in block.iter_mut().zip(a).zip(b) {
                    *out = f(a, b);
                }
            },
        );
    });
    Array::new(values, a.dims())
}
