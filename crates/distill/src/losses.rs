//! Classification and distillation losses, each a sum over rows.

use burn::tensor::{Int, Tensor, activation};

/// Cross-entropy of labels.
///
/// # Shapes
/// - logits: `[rows, classes]`
/// - labels: `[rows]`
/// - output: `[1]`, summed over rows
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let rows = labels.dims()[0];
    -activation::log_softmax(logits, 1).gather(1, labels.reshape([rows, 1])).sum()
}

/// `tau^2 KL(softmax(teacher / tau) || softmax(student / tau))`. Source: Hinton et al. 2015, arXiv:1503.02531.
///
/// # Shapes
/// - student, teacher: logits `[rows, classes]`; no gradient flows to the teacher
/// - output: `[1]`, summed over rows
pub fn distillation(student: Tensor<2>, teacher: Tensor<2>, tau: f64) -> Tensor<1> {
    let target = activation::log_softmax(teacher.detach() / tau, 1);
    let log_student = activation::log_softmax(student / tau, 1);
    (target.clone().exp() * (target - log_student)).sum() * (tau * tau)
}

/// Rows whose largest logit is the label's.
pub fn right(logits: &Tensor<2>, labels: &Tensor<1, Int>) -> usize {
    let [rows, _] = logits.dims();
    let best = logits.clone().without_autodiff().argmax(1).reshape([rows]);
    best.equal(labels.clone()).int().sum().into_scalar::<i64>() as usize
}

/// Cross-entropy of labels mixed with the uniform distribution: `(1 - smoothing)` on the label. Source: Szegedy et al. 2016,
/// arXiv:1512.00567.
///
/// # Shapes
/// - logits: `[rows, classes]`
/// - labels: `[rows]`
/// - output: `[1]`, summed over rows
pub fn smoothed_cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, smoothing: f64) -> Tensor<1> {
    if smoothing == 0.0 {
        return cross_entropy(logits, labels);
    }
    let [rows, classes] = logits.dims();
    let log = activation::log_softmax(logits, 1);
    let label = log.clone().gather(1, labels.reshape([rows, 1])).sum();
    label * (smoothing - 1.0) - log.sum() * (smoothing / classes as f64)
}

/// Cross-entropy of distributions over the classes, such as those of [`mixing`](crate::mixing).
///
/// # Shapes
/// - logits, targets: `[rows, classes]`; no gradient flows to the targets
/// - output: `[1]`, summed over rows
pub fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    -(activation::log_softmax(logits, 1) * targets.detach()).sum()
}

/// `d^2 / (2 beta)` where `|d| < beta`, else `|d| - beta / 2`, of every difference `d`. Source: Girshick 2015, arXiv:1504.08083, with
/// PyTorch's `beta`.
///
/// # Shapes
/// - prediction, target: alike, and so is the output; no gradient flows to the target
pub fn smooth_l1<const D: usize>(prediction: Tensor<D>, target: Tensor<D>, beta: f64) -> Tensor<D> {
    let distance = (prediction - target.detach()).abs();
    // Both branches in one: the part below beta counts squared, the part beyond it as it is.
    let near = distance.clone().clamp_max(beta);
    near.clone() * near.clone() / (2.0 * beta) + (distance - near)
}

/// Jensen-Shannon divergence of the softmaxes of three views: the mean over the views of `KL(p_view || m)`, where `m` is the mean
/// of the three, clamped to `[1e-7, 1]`. Gradients flow through `m` too. Source: Hendrycks et al. 2020, arXiv:1912.02781, as in
/// the authors' code.
///
/// # Shapes
/// - views: logits `[rows, classes]` each
/// - output: `[1]`, summed over rows
pub fn jensen_shannon(views: [Tensor<2>; 3]) -> Tensor<1> {
    let logs = views.map(|logits| activation::log_softmax(logits, 1));
    let [p, q, r] = logs.each_ref().map(|log| log.clone().exp());
    let mixture = ((p + q + r) / 3.0).clamp(1e-7, 1.0).log();
    let [p, q, r] = logs.map(|log| (log.clone().exp() * (log - mixture.clone())).sum());
    (p + q + r) / 3.0
}
