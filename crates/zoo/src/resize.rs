//! Resizing of learned grids on the host, when a checkpoint was made for another input size than the model's.
//!
//! The filter is the bicubic one (Keys 1981, a = -1/2) that widens with the scale where a grid shrinks, as Pillow and
//! `torch.nn.functional.interpolate(mode="bicubic", antialias=True)` have it; timm resizes position embeddings with it
//! (`resample_abs_pos_embed`).

/// Position embeddings for another grid of patches. The rows of prefix tokens (class, distillation, registers) stay as they
/// are.
///
/// # Shapes
/// - values: `[prefix + rows * columns, width]`, row-major, for the grid `from = [rows, columns]`
/// - output: the same for the grid `to`
///
/// # Errors
/// A number of values that does not fit `from`, `width` and `prefix`, or a side of length 0; as a sentence.
///
/// ```
/// use robustify_zoo::resize::position_embedding;
///
/// // A class token's row, then a grid of 2 x 2, of width 1.
/// let resized = position_embedding(&[9.0, 0.0, 1.0, 0.0, 1.0], [2, 2], [2, 1], 1, 1)?;
/// assert_eq!(resized, [9.0, 0.5, 0.5]);
/// # Ok::<(), String>(())
/// ```
pub fn position_embedding(
    values: &[f32],
    from: [usize; 2],
    to: [usize; 2],
    width: usize,
    prefix: usize,
) -> Result<Vec<f32>, String> {
    let expected = from[0]
        .checked_mul(from[1])
        .and_then(|patches| patches.checked_add(prefix))
        .and_then(|rows| rows.checked_mul(width));
    if expected != Some(values.len()) || from.contains(&0) || to.contains(&0) || width == 0 {
        return Err(format!(
            "{} values are no position embedding of {prefix} + {} x {} tokens of width {width} that could become one of \
             {} x {}",
            values.len(),
            from[0],
            from[1],
            to[0],
            to[1]
        ));
    }
    let (kept, grid) = values.split_at(prefix * width);
    let mut resized = kept.to_vec();
    resized.extend(bicubic(grid, from, to, width));
    Ok(resized)
}

/// Resizes a picture of `channels` interleaved channels from `[height, width]` to another size.
fn bicubic(values: &[f32], from: [usize; 2], to: [usize; 2], channels: usize) -> Vec<f32> {
    let [height, width] = from;
    let (columns, rows) = (taps(width, to[1]), taps(height, to[0]));
    let mut narrow = Vec::with_capacity(height * to[1] * channels);
    for row in values.chunks_exact(width * channels) {
        for taps in &columns {
            weighted_sum(taps, |x| &row[x * channels..][..channels], &mut narrow);
        }
    }
    let run = to[1] * channels;
    let mut resized = Vec::with_capacity(to[0] * run);
    for taps in &rows {
        weighted_sum(taps, |y| &narrow[y * run..][..run], &mut resized);
    }
    resized
}

/// What one output sample reads: the first input sample and the weights from there on, which sum to one.
struct Taps {
    start: usize,
    weights: Vec<f64>,
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let taps = (0..to).map(|index| {
        let center = scale * (index as f64 + 0.5);
        let start = (center - 2.0 * stretch + 0.5).max(0.0) as usize;
        let end = ((center + 2.0 * stretch + 0.5) as usize).min(from);
        let mut weights: Vec<f64> = (start..end).map(|x| keys((x as f64 + 0.5 - center) / stretch)).collect();
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        Taps { start, weights }
    });
    taps.collect()
}

/// The cubic convolution kernel with a = -1/2.
fn keys(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

fn weighted_sum<'a>(taps: &Taps, sample: impl Fn(usize) -> &'a [f32], out: &mut Vec<f32>) {
    let mut sums = vec![0.0_f64; sample(taps.start).len()];
    for (offset, weight) in taps.weights.iter().enumerate() {
        for (sum, &value) in sums.iter_mut().zip(sample(taps.start + offset)) {
            *sum += weight * f64::from(value);
        }
    }
    out.extend(sums.into_iter().map(|sum| sum as f32));
}
