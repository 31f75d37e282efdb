/// Sweeps over all pairs, at most; ten are enough for thousands of rows.
const SWEEPS: usize = 50;

/// Eigenvalues and eigenvectors (one a row, in the order of the values) of a symmetric matrix `[size, size]`.
///
/// Source: Jacobi 1846, cyclic by rows; the rotation is that of Golub & Van Loan, "Matrix Computations", algorithm 8.5.1. A sweep takes
/// about `6 size³` operations.
pub(crate) fn eigen(mut matrix: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|k| vectors[k * size + k] = 1.0);
    let norm: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..size).flat_map(|p| (0..p).map(move |q| p * size + q)).map(|at| matrix[at].powi(2)).sum();
        if off <= 1e-24 * norm {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                if let Some(turn) = rotation(&matrix, size, p, q) {
                    turn_rows(&mut matrix, size, [p, q], turn);
                    turn_columns(&mut matrix, size, [p, q], turn);
                    turn_rows(&mut vectors, size, [p, q], turn);
                }
            }
        }
    }
    ((0..size).map(|k| matrix[k * size + k]).collect(), vectors)
}

/// Cosine and sine of the angle that makes the element at `p`, `q` zero; none where it is zero.
fn rotation(matrix: &[f64], size: usize, p: usize, q: usize) -> Option<[f64; 2]> {
    let off = matrix[p * size + q];
    if off == 0.0 {
        return None;
    }
    let tau = (matrix[q * size + q] - matrix[p * size + p]) / (2.0 * off);
    // The smaller of both roots, which turns by at most 45 degrees.
    let tangent = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    Some([cosine, tangent * cosine])
}

fn turn_rows(matrix: &mut [f64], size: usize, [p, q]: [usize; 2], [c, s]: [f64; 2]) {
    let (above, below) = matrix.split_at_mut(q * size);
    for (x, y) in above[p * size..(p + 1) * size].iter_mut().zip(&mut below[..size]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

fn turn_columns(matrix: &mut [f64], size: usize, [p, q]: [usize; 2], [c, s]: [f64; 2]) {
    for row in matrix.chunks_exact_mut(size) {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_orthonormal_and_make_the_matrix_again() {
        let size = 7;
        let element = |i: usize, j: usize| ((3 * i * i + 5 * i * j + 3 * j * j) % 11) as f64 - 4.0;
        let matrix: Vec<f64> = (0..size * size).map(|at| element(at / size, at % size)).collect();
        let (values, vectors) = eigen(matrix.clone(), size);
        let row = |k: usize| &vectors[k * size..(k + 1) * size];
        for a in 0..size {
            for b in 0..size {
                let product: f64 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
                assert!((product - f64::from(u8::from(a == b))).abs() < 1e-12, "rows {a} and {b}: {product}");
                let again: f64 = (0..size).map(|k| values[k] * row(k)[a] * row(k)[b]).sum();
                assert!((again - matrix[a * size + b]).abs() < 1e-11, "{again}");
            }
        }
        assert_eq!(eigen(vec![2.0, 0.0, 0.0, 3.0], 2), (vec![2.0, 3.0], vec![1.0, 0.0, 0.0, 1.0]));
    }
}
