//! Products of matrices in slices, by the `gemm` crate that flex itself uses.

use gemm::Parallelism;

/// Multiply-adds below which threads cost more than they bring.
const ALONE: usize = 192 * 192 * 192;

/// A matrix in a slice: element `(i, j)` is `values[i * row + j * column]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that begin `stride` elements apart.
    pub(crate) fn new(values: &'a [f32], [rows, columns]: [usize; 2], stride: usize) -> Self {
        Self { values, rows, columns, row: stride, column: 1 }
    }

    /// The same elements, rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }
}

/// What becomes of the elements that a product is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// They are forgotten.
    Replace,
    /// The product is added to them.
    Add,
}

/// `out = factor * a b` or `out += factor * a b`; rows of `out` begin `stride` elements apart.
///
/// # Panics
/// A slice is too short for its matrix, or the shapes do not fit: a fault of the caller.
pub(crate) fn product(out: &mut [f32], stride: usize, old: Old, factor: f32, a: Matrix<'_>, b: Matrix<'_>) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "a product of {m}x{k} and {}x{n}", b.rows);
    for (length, rows, columns, row, column) in
        [(out.len(), m, n, stride, 1), (a.values.len(), m, k, a.row, a.column), (b.values.len(), k, n, b.row, b.column)]
    {
        let needed = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row + (columns - 1) * column + 1 };
        assert!(length >= needed, "a matrix of {rows}x{columns} needs {needed} elements, the slice has {length}");
    }
    assert!(stride >= n || m <= 1, "rows of {n} elements would overlap at a stride of {stride}");
    let threads =
        if m * n * k < ALONE || rayon::current_num_threads() == 1 { Parallelism::None } else { Parallelism::Rayon(0) };
    multiply(out, stride, old == Old::Add, factor, a, b, threads);
}

#[allow(unsafe_code, reason = "`gemm` takes pointers and strides")]
fn multiply(
    out: &mut [f32],
    stride: usize,
    add: bool,
    factor: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Parallelism,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    // SAFETY: `product` has checked that the last element of each matrix lies within its slice, and all strides are
    // non-negative, so every element does. `out` is borrowed mutably, so it overlaps neither input, and its rows do not
    // overlap each other. It is initialised, so it may be read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_agrees_with_its_definition_whatever_is_transposed() {
        let [m, n, k] = [7, 5, 9];
        let a: Vec<f32> = (0..m * k).map(|value| (value % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..k * n).map(|value| (value % 7) as f32 - 3.0).collect();
        let turn = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
            (0..columns * rows).map(|at| values[at % rows * columns + at / rows]).collect()
        };
        let (at, bt) = (turn(&a, m, k), turn(&b, k, n));
        let expected: Vec<f32> = (0..m * n)
            .map(|at| 1.0 + 2.0 * (0..k).map(|p| a[at / n * k + p] * b[p * n + at % n]).sum::<f32>())
            .collect();
        let plain = (Matrix::new(&a, [m, k], k), Matrix::new(&b, [k, n], n));
        let turned = (Matrix::new(&at, [k, m], m).transposed(), Matrix::new(&bt, [n, k], k).transposed());
        for (a, b) in [plain, turned] {
            let mut out = vec![1.0; m * n];
            product(&mut out, n, Old::Add, 2.0, a, b);
            assert_eq!(out, expected);
        }
    }
}
