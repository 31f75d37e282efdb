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

/// A term of a sum: the row of vectors, and the place of the scalars.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    row: u32,
    place: u32,
}

impl Step {
    /// # Panics
    /// Either is larger than 32 bits, which no row or place in a cache is.
    pub(super) fn new(row: usize, place: usize) -> Self {
        let [row, place] = [row, place].map(|index| u32::try_from(index).expect("an index within a cache"));
        Self { row, place }
    }
}

/// As [`product`], over the rows of `a` that `steps` name, with the scalars at the places they name in `NR` rows of `b`.
#[inline(always)]
pub(super) fn product_of_steps<S: Simd, const MV: usize, const USED: usize, const NR: usize>(
    simd: S,
    a: &[f32],
    b: [&[f32]; NR],
    steps: &[Step],
    sums: &mut [[S::f32s; USED]; NR],
) {
    let mut tile = *sums;
    let rows = S::as_simd_f32s(a).0.as_chunks::<MV>().0;
    let count = b[0].len();
    let b = cut(b, count);
    for step in steps {
        let (vectors, place) = (&rows[step.row as usize], step.place as usize);
        for (sums, row) in tile.iter_mut().zip(&b) {
            let scalar = simd.splat_f32s(row[place]);
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = simd.mul_add_e_f32s(*vector, scalar, *sum);
            }
        }
    }
    *sums = tile;
}

/// As [`product_of_steps`], with the scalars of a place side by side.
#[inline(always)]
pub(super) fn product_of_packed_steps<S: Simd, const MV: usize, const NR: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
    steps: &[Step],
    sums: &mut [[S::f32s; MV]; NR],
) {
    let mut tile = *sums;
    let (rows, places) = (S::as_simd_f32s(a).0.as_chunks::<MV>().0, b.as_chunks::<NR>().0);
    for step in steps {
        let (vectors, scalars) = (&rows[step.row as usize], &places[step.place as usize]);
        for (sums, scalar) in tile.iter_mut().zip(scalars) {
            let scalar = simd.splat_f32s(*scalar);
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
