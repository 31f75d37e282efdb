//! Position biases for windows of another size.

/// Resizes a table of relative position biases as timm's `resize_rel_pos_bias_table` does: the old positions are put at
/// distances that grow as a geometric series, so that the outermost ones of both tables meet and near ones stay near, and
/// the biases in between are interpolated linearly along rows and columns. The idea is that of BEiT's fine-tuning
/// (Bao et al. 2022, arXiv:2106.08254), which interpolates with cubic splines.
///
/// `None` when a table is not that of a square window: its positions are no odd square, or `values` is of another length.
///
/// # Shapes
/// - values: `[positions, heads]` in row-major order, as `shape` says
/// - output: `[new_positions, heads]` in row-major order
pub fn resize_bias_table(values: &[f32], shape: [usize; 2], new_positions: usize) -> Option<Vec<f32>> {
    let [positions, heads] = shape;
    let (old, new) = (span(positions)?, span(new_positions)?);
    if values.len() != positions.checked_mul(heads)? {
        return None;
    }
    if old == new {
        return Some(values.to_vec());
    }
    let places = places(old, new);
    let mut resized = Vec::with_capacity(new_positions * heads);
    for row in &places {
        for column in &places {
            resized.extend((0..heads).map(|head| {
                let value = |row: usize, column: usize| f64::from(values[(row * old + column) * heads + head]);
                let along = |row: usize| column.mix(value(row, column.left), value(row, column.right));
                row.mix(along(row.left), along(row.right)) as f32
            }));
        }
    }
    Some(resized)
}

/// Differences of rows (or columns) within a window: the root of the number of positions.
fn span(positions: usize) -> Option<usize> {
    let root = positions.isqrt();
    (root * root == positions && root % 2 == 1).then_some(root)
}

/// Where a new position lies among the old ones.
struct Place {
    left: usize,
    right: usize,
    /// Weight of the right one.
    weight: f64,
}

impl Place {
    fn mix(&self, left: f64, right: f64) -> f64 {
        left * (1.0 - self.weight) + right * self.weight
    }
}

/// Where `old` positions (an odd number) are put among `new` ones, which lie at whole distances: at zero, and on both sides of it at
/// distances that grow as a geometric series, the first of them 1 and the last, if a ratio in `[1.01, 1.5]` gives it, `new / 2`.
pub(crate) fn geometric_points(old: usize, new: usize) -> Vec<f64> {
    let ratio = ratio(old / 2, new / 2);
    let mut distances = vec![0.0];
    for step in 0..old / 2 {
        distances.push(distances[step] + ratio.powi(step as i32));
    }
    distances[1..].iter().rev().map(|distance| -distance).chain(distances.iter().copied()).collect()
}

/// The place of each of `new` positions, which lie at whole distances, among `old` ones.
fn places(old: usize, new: usize) -> Vec<Place> {
    let points = geometric_points(old, new);
    let place = |index: usize| {
        let at = index as f64 - (new / 2) as f64;
        let right = points.partition_point(|&point| point < at).min(old - 1);
        let left = right.saturating_sub(1);
        // Beyond the outermost position its bias holds.
        let (before, after) = ((at - points[left]).max(0.0), (points[right] - at).max(0.0));
        let weight = if before + after > 0.0 { before / (before + after) } else { 1.0 };
        Place { left, right, weight }
    };
    (0..new).map(place).collect()
}

/// The ratio of a geometric series of `steps` distances, the first of them 1, that add up to `reach`; at least 1.01.
fn ratio(steps: usize, reach: usize) -> f64 {
    let (mut low, mut high, mut ratio) = (1.01_f64, 1.5_f64, 1.01);
    while high - low > 1e-6 {
        ratio = f64::midpoint(low, high);
        let sum = (1.0 - ratio.powi(steps as i32)) / (1.0 - ratio);
        if sum > reach as f64 {
            high = ratio;
        } else {
            low = ratio;
        }
    }
    ratio
}
