//! Selective projection decay: a tensor is drawn back to where it began, but only by a step that leads away from there.
//!
//! For a tensor that a plain Adam step moves from `old` to `new`, with the gradient `g` at `old`: if `<g, old - start> > 0`, then
//! `new -= strength * clip((|new - start| - |old - start|) / |new - start|, 0, 1) * (new - start)`. Products and norms are over the whole
//! tensor; the learning rate is no factor. Source: Tian et al. 2024, arXiv:2411.01713; GT-RIPL/Selective-Projection-Decay, `adamSPD.py`.

use burn::tensor::Tensor;

/// What is known of a tensor before a step. Both stay on the device, so that no step waits for it.
pub(super) struct Away {
    /// One if a step against the gradient leads away from the start, zero otherwise; `[1]`.
    leads: Tensor<1>,
    /// Distance from the start; `[1]`.
    distance: Tensor<1>,
}

fn length(x: Tensor<1>) -> Tensor<1> {
    (x.clone() * x).sum().sqrt()
}

impl Away {
    /// # Shapes
    /// - start, old, gradient: `[elements]`
    pub fn new(start: &Tensor<1>, old: &Tensor<1>, gradient: &Tensor<1>) -> Self {
        let offset = old.clone() - start.clone();
        let leads = (gradient.clone() * offset.clone()).sum().greater_elem(0.0).float();
        Self { leads, distance: length(offset) }
    }

    /// The tensor after the projection.
    ///
    /// # Shapes
    /// - new, start: `[elements]`
    /// - output: that of `new`
    pub fn projected(self, new: Tensor<1>, start: &Tensor<1>, strength: f64) -> Tensor<1> {
        let offset = new.clone() - start.clone();
        let distance = length(offset.clone());
        let farther = (distance.clone() - self.distance).clamp_min(0.0);
        // At the start itself there is nothing to divide by, and nothing farther.
        let ratio = (farther / distance.clamp_min(f32::MIN_POSITIVE)).clamp_max(1.0);
        new - offset * (ratio * self.leads * strength)
    }
}
