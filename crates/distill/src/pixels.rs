//! Cross-entropy of label maps.

use burn::tensor::{Int, Tensor, activation};

/// What a loss of pixels is averaged over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// Pixels that count.
    #[default]
    Counted,
    /// All pixels, those that are ignored too: mmsegmentation's default in training, by which a picture with much that is ignored counts
    /// less.
    All,
}

/// Mean cross-entropy of a class for every pixel.
///
/// # Shapes
/// - logits: `[batch, classes, rows, columns]`
/// - labels: `[batch, rows, columns]`; pixels of class `ignored` have no loss
/// - output: `[1]`; zero where no pixel counts
pub fn pixel_cross_entropy(logits: Tensor<4>, labels: Tensor<3, Int>, ignored: i64, over: Over) -> Tensor<1> {
    let [batch, classes, rows, columns] = logits.dims();
    let pixels = batch * rows * columns;
    let logits = logits.permute([0, 2, 3, 1]).reshape([pixels, classes]);
    let labels = labels.reshape([pixels, 1]);
    let is_ignored = labels.clone().equal_elem(ignored);
    let chosen = activation::log_softmax(logits, 1).gather(1, labels.mask_fill(is_ignored.clone(), 0));
    let counts = is_ignored.bool_not().float();
    let total = (chosen * counts.clone()).sum().neg();
    match over {
        Over::Counted => total / counts.sum().clamp_min(1.0),
        Over::All => total / pixels as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_pixels_have_no_loss_and_count_where_all_do() {
        let device = robustify_device::open(Some("flex")).unwrap();
        // Two classes that are as likely: ln 2 for each of two pixels, and a third that is ignored.
        let logits = Tensor::<4>::zeros([1, 2, 1, 3], &device);
        let labels = Tensor::<3, Int>::from_data([[[0, 255, 1]]], &device);
        let loss =
            |over| f64::from(pixel_cross_entropy(logits.clone(), labels.clone(), 255, over).into_scalar::<f32>());
        let ln2 = std::f64::consts::LN_2;
        assert!((loss(Over::Counted) - ln2).abs() < 1e-6 && (loss(Over::All) - 2.0 * ln2 / 3.0).abs() < 1e-6);
        let nothing = Tensor::<3, Int>::from_data([[[255, 255, 255]]], &device);
        assert_eq!(pixel_cross_entropy(logits, nothing, 255, Over::Counted).into_scalar::<f32>(), 0.0);
    }
}
