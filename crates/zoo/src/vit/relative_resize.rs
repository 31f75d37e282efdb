//! BEiT's relative position biases for another grid of patches.

use crate::swin::geometric_points;

/// Entries of a table that belong to the class token.
const KEPT: usize = 3;

/// The fewest points of a cubic spline whose end conditions are those of its neighbours.
const LEAST_POINTS: usize = 4;

/// A table of relative position biases for another square of patches: the old positions are put at distances that grow as a geometric
/// series, so that near ones stay near, and a bicubic spline goes through them. The last three rows, the class token's, stay as they
/// are.
///
/// The series' ratio is sought in `[1.01, 1.5]`, as in the reference. Where no such ratio puts the outermost old position on the outermost
/// new one, which is so when the grid shrinks and when it grows by about half or more, the nearer limit is taken, and new positions beyond the
/// outermost old one get its bias.
///
/// Source: Bao et al. 2022 (BEiT), arXiv:2106.08254, microsoft/unilm, `beit/run_class_finetuning.py`; SwinTransformer/Feature-Distillation,
/// `utils.py`; the spline is SciPy's `interp2d(kind="cubic")`, a tensor product with not-a-knot ends.
///
/// # Shapes
/// - values: `[(2 from - 1)^2 + 3, heads]` in row-major order
/// - output: `[(2 to - 1)^2 + 3, heads]` in row-major order
///
/// # Errors
/// A number of values that does not fit, and a grid of less than 3 by 3 patches, through which no such spline goes, as a sentence.
pub fn resize_relative_positions(values: &[f32], heads: usize, from: usize, to: usize) -> Result<Vec<f32>, String> {
    let (old, new) = (2 * from.max(1) - 1, 2 * to.max(1) - 1);
    if values.len() != (old * old + KEPT) * heads {
        let count = values.len();
        return Err(format!("{count} values are no table of {heads} heads for {from} x {from} patches"));
    }
    if old == new {
        return Ok(values.to_vec());
    }
    if old < LEAST_POINTS {
        return Err(format!("a table for {from} x {from} patches is too small for a cubic spline; 3 x 3 is the least"));
    }
    let points = relative_points(from, to);
    let targets: Vec<f64> = (0..new).map(|place| place as f64 - (new / 2) as f64).collect();
    let weights = spline(&points, &targets);
    let (grid, kept) = values.split_at(old * old * heads);
    // Along the rows' axis, then along the columns'.
    let mut tall = vec![0.0; new * old * heads];
    for (row, out) in weights.iter().zip(tall.chunks_exact_mut(old * heads)) {
        for (weight, line) in row.iter().zip(grid.chunks_exact(old * heads)) {
            out.iter_mut().zip(line).for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
    }
    let mut resized = Vec::with_capacity((new * new + KEPT) * heads);
    for line in tall.chunks_exact(old * heads) {
        for row in &weights {
            resized.extend((0..heads).map(|head| {
                let sum: f64 =
                    row.iter().enumerate().map(|(column, weight)| weight * line[column * heads + head]).sum();
                sum as f32
            }));
        }
    }
    resized.extend_from_slice(kept);
    Ok(resized)
}

/// Where the positions of a table for `from` by `from` patches are put among those of one for `to` by `to`, which lie at whole numbers.
pub fn relative_points(from: usize, to: usize) -> Vec<f64> {
    geometric_points(2 * from.max(1) - 1, 2 * to.max(1) - 1)
}

/// For every target the weights with which a spline through values at `points` gives its value there; targets beyond the points are taken
/// to the outermost ones.
fn spline(points: &[f64], targets: &[f64]) -> Vec<Vec<f64>> {
    let count = points.len();
    let curvatures = curvatures(points);
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let weights = |&target: &f64| {
        let at = target.clamp(points[0], points[count - 1]);
        let left = points.partition_point(|&point| point <= at).clamp(1, count - 1) - 1;
        let step = steps[left];
        let (before, after) = (at - points[left], points[left + 1] - at);
        let mut row = vec![0.0; count];
        row[left] = after / step;
        row[left + 1] = before / step;
        for (node, rest) in [(left, after), (left + 1, before)] {
            let share = rest * rest * rest / (6.0 * step) - step * rest / 6.0;
            row.iter_mut().zip(&curvatures[node]).for_each(|(weight, curvature)| *weight += share * curvature);
        }
        row
    };
    targets.iter().map(weights).collect()
}

/// The second derivatives of a cubic spline at its points, each as weights of the values there. At the second and the last but one point
/// the third derivative does not jump ("not a knot").
fn curvatures(points: &[f64]) -> Vec<Vec<f64>> {
    let count = points.len();
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A linear system, and behind its matrix the values' weights on the right side.
    let mut system = vec![vec![0.0; 2 * count]; count];
    for (row, (first, offset)) in [(0, (0, 0)), (count - 1, (count - 3, count - 3))] {
        let (near, far) = (steps[first], steps[first + 1]);
        system[row][offset] = far;
        system[row][offset + 1] = -(near + far);
        system[row][offset + 2] = near;
    }
    for row in 1..count - 1 {
        let (before, after) = (steps[row - 1], steps[row]);
        let line = &mut system[row];
        (line[row - 1], line[row], line[row + 1]) = (before, 2.0 * (before + after), after);
        line[count + row - 1] = 6.0 / before;
        line[count + row] = -6.0 / before - 6.0 / after;
        line[count + row + 1] = 6.0 / after;
    }
    solve(&mut system);
    system.into_iter().map(|row| row[count..].to_vec()).collect()
}

/// Gaussian elimination with the largest pivot of a column; the right sides become the solutions.
fn solve(system: &mut [Vec<f64>]) {
    for column in 0..system.len() {
        let size = |row: &usize| system[*row][column].abs();
        let pivot = (column..system.len()).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(column);
        system.swap(column, pivot);
        let scale = system[column][column];
        system[column].iter_mut().for_each(|value| *value /= scale);
        let line = system[column].clone();
        for (row, other) in system.iter_mut().enumerate() {
            let factor = other[column];
            if row != column && factor != 0.0 {
                other.iter_mut().zip(&line).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spline_repeats_cubics_and_its_own_points() {
        let points = [-4.0, -2.0, -1.0, 0.5, 2.0, 3.5];
        let cubic = |x: f64| 0.5 * x * x * x - x * x + 2.0;
        let targets = [-4.0, -3.1, 0.5, 1.9, 3.5, 9.0];
        for (weights, target) in spline(&points, &targets).iter().zip(targets) {
            let value: f64 = weights.iter().zip(points).map(|(weight, point)| weight * cubic(point)).sum();
            let expected = cubic(target.clamp(-4.0, 3.5));
            assert!((value - expected).abs() < 1e-9, "{value} at {target}, {expected} is expected");
        }
    }

    #[test]
    fn a_table_of_the_same_size_stays_and_one_that_is_too_small_is_refused() {
        let table = vec![0.5; (7 * 7 + 3) * 2];
        assert_eq!(resize_relative_positions(&table, 2, 4, 4).unwrap(), table);
        let grown = resize_relative_positions(&table, 2, 4, 5).unwrap();
        assert!(grown.len() == (9 * 9 + 3) * 2 && grown.iter().all(|value| (value - 0.5).abs() < 1e-6));
        assert!(resize_relative_positions(&[0.0; 12], 1, 2, 4).unwrap_err().contains("2 x 2 patches"));
        assert!(resize_relative_positions(&table, 3, 4, 5).unwrap_err().contains("3 heads"));
    }
}
