//! MixUp and CutMix of whole batches: images and targets mixed with the same batch in reverse order.
//!
//! Sources: Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899; timm's `Mixup` in its batch mode, which draws one
//! weight for a batch. How weights and rectangles are drawn is in `robustify_augment`'s `MixUp` and `CutMix`.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

/// One-hot targets mixed with the uniform distribution: `(1 - smoothing)` of a row on its label, `smoothing / classes` on every class.
///
/// # Shapes
/// - labels: `[rows]`
/// - output: `[rows, classes]`
pub fn targets(labels: Tensor<1, Int>, classes: usize, smoothing: f64) -> Tensor<2> {
    let hot: Tensor<2> = labels.one_hot(classes).float();
    hot * (1.0 - smoothing) + smoothing / classes as f64
}

/// `weight` of each row and `1 - weight` of the row that stands at its place from the end: the images of MixUp, and the targets of both.
///
/// # Shapes
/// - rows: `[rows, …]`, and so is the output
pub fn blended<const D: usize>(rows: Tensor<D>, weight: f64) -> Tensor<D> {
    rows.clone() * weight + rows.flip([0]) * (1.0 - weight)
}

/// Images with a rectangle of the image that stands at their place from the end, and the weight that is left for their own label: the
/// part of the area that is theirs.
///
/// # Shapes
/// - images: `[rows, channels, height, width]`, and so is the output
/// - rows_within, columns_within: the rectangle, within the image
pub fn pasted(images: Tensor<4>, rows_within: Range<usize>, columns_within: Range<usize>) -> (Tensor<4>, f64) {
    let [count, channels, height, width] = images.dims();
    let area = (rows_within.len() * columns_within.len()) as f64 / (height * width) as f64;
    let place = [0..count, 0..channels, rows_within, columns_within];
    let patch = images.clone().flip([0]).slice(place.clone());
    (images.slice_assign(place, patch), 1.0 - area)
}
