//! The tile of the product: `MV` vectors of pixels (or channels) times `NR` scalars, held in registers.

use pulp::{Arch, Simd, WithSimd};

/// Work that is compiled for the vectors of the machine. `run` and all it calls must be `#[inline(always)]`.
pub(super) trait Kernel {
    type Output;

    /// Runs with tiles of `MV` vectors times `NR` scalars.
    fn run<S: Simd, const MV: usize, const NR: usize>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` with the widest vectors of the machine, and the tile that fills its registers.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    Arch::new().dispatch(Pick(kernel))
}

struct Pick<K>(K);

impl<K: Kernel> WithSimd for Pick<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> K::Output {
        // AVX2 has 16 registers, and must load every scalar into one of them; AVX-512 and NEON have 32.
        if S::F32_LANES == 8 { self.0.run::<S, 2, 6>(simd) } else { self.0.run::<S, 2, 8>(simd) }
    }
}

/// Adds to `sums` the products of `USED` of the `MV` vectors in every row of `a` with the `NR` scalars in that of `b`.
#[inline(always)]
pub(super) fn product<S: Simd, const MV: usize, const USED: usize, const NR: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
    sums: &mut [[S::f32s; USED]; NR],
) {
    // A copy, which the compiler keeps in registers.
    let mut tile = *sums;
    let rows = S::as_simd_f32s(a).0.as_chunks::<MV>().0;
    for (vectors, scalars) in rows.iter().zip(b.as_chunks::<NR>().0) {
        for (sums, scalar) in tile.iter_mut().zip(scalars) {
            let scalar = simd.splat_f32s(*scalar);
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = simd.mul_add_e_f32s(*vector, scalar, *sum);
            }
        }
    }
    *sums = tile;
}

/// As [`product`], with the scalars side by side in `NR` rows instead of one below the other.
#[inline(always)]
pub(super) fn product_of_rows<S: Simd, const MV: usize, const NR: usize>(
    simd: S,
    a: &[f32],
    b: [&[f32]; NR],
    sums: &mut [[S::f32s; MV]; NR],
) {
    let mut tile = *sums;
    let rows = S::as_simd_f32s(a).0.as_chunks::<MV>().0;
    let count = rows.len();
    let b = cut(b, count);
    for (index, vectors) in rows.iter().enumerate() {
        for (sums, row) in tile.iter_mut().zip(&b) {
            let scalar = simd.splat_f32s(row[index]);
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = simd.mul_add_e_f32s(*vector, scalar, *sum);
            }
        }
    }
    *sums = tile;
}

/// Writes `N` rows of one length as columns: element `i` of row `j` to `target[i * pitch + j]`.
#[inline(always)]
pub(super) fn transpose<const N: usize>(rows: [&[f32]; N], target: &mut [f32], pitch: usize) {
    let count = rows[0].len();
    let rows = cut(rows, count);
    for (index, target) in target.chunks_mut(pitch).take(count).enumerate() {
        for (value, row) in target[..N].iter_mut().zip(&rows) {
            *value = row[index];
        }
    }
}

/// The beginnings of rows. `array::map` would not be inlined into code for the machine's vectors.
#[inline(always)]
fn cut<const N: usize>(mut rows: [&[f32]; N], count: usize) -> [&[f32]; N] {
    for row in &mut rows {
        *row = &row[..count];
    }
    rows
}
