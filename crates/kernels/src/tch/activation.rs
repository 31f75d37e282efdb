//! Activations, element by element.

use burn::tensor::Tensor;

use super::Array;
use crate::activation::QUICK;
use crate::op::{self, Kernel};

/// See [`crate::gelu`].
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    op::run(Gelu, [x.into_dispatch()])
}

/// See [`crate::quick_gelu`].
pub(crate) fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    op::run(QuickGelu, [x.into_dispatch()])
}

#[derive(Clone, Debug)]
struct Gelu;

impl Kernel<1> for Gelu {
    type Array = Array;
    type Saved = Array;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Array) {
        (Array::new(x.gelu("none")), x)
    }

    fn backward(&self, x: Array, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        [Some(Array::new(x.gelu_backward(&gradient, "none")))]
    }
}

/// With `t = 1.702 x`, the result is `silu(t) / 1.702`, and so its derivative that of `silu` at `t`.
#[derive(Clone, Debug)]
struct QuickGelu;

impl Kernel<1> for QuickGelu {
    type Array = Array;
    /// 1.702 x.
    type Saved = Array;

    fn forward(&self, [x]: [Array; 1]) -> (Array, Array) {
        let scaled = &*x * f64::from(QUICK);
        (Array::new(scaled.silu().g_mul_scalar_(1.0 / f64::from(QUICK))), Array::new(scaled))
    }

    fn backward(&self, scaled: Array, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
        [Some(Array::new(scaled.silu_backward(&gradient)))]
    }
}
