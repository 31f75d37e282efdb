//! Activations, element by element.

use burn::tensor::{Tensor, activation};

/// The exact GELU, `x` times the standard normal probability below `x`. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
///
/// # Shapes
/// - x: any
/// - output: that of `x`
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if crate::flex::serves(&x) {
        return crate::op::run(kernel::Activation(kernel::Curve::Gelu), [x.into_dispatch()]);
    }
    #[cfg(feature = "tch")]
    if crate::tch::serves(&x) {
        return crate::tch::gelu(x);
    }
    // Burn's own `gelu` takes the gradient of another function, the approximation by tanh, on every backend that has no kernel
    // for it (burn-backend 0.22.1, `gelu_backward`): off by up to 1e-3, and by more in the parameters of a network.
    (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0) * x * 0.5
}

/// `x` times the logistic function of `1.702 x`, as CLIP's first networks have it in place of GELU (arXiv:1606.08415, 2).
///
/// # Shapes
/// - x: any
/// - output: that of `x`
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if crate::flex::serves(&x) {
        return crate::op::run(kernel::Activation(kernel::Curve::QuickGelu), [x.into_dispatch()]);
    }
    #[cfg(feature = "tch")]
    if crate::tch::serves(&x) {
        return crate::tch::quick_gelu(x);
    }
    activation::sigmoid(x.clone() * QUICK) * x
}

pub(crate) const QUICK: f32 = 1.702;

#[cfg(feature = "flex")]
mod kernel {
    use super::QUICK;
    use crate::each::{map, zip};
    use crate::flex::Array;
    use crate::maths::{exp, normal};
    use crate::op::Kernel;

    /// Which function of one variable.
    #[derive(Clone, Copy, Debug)]
    pub(super) enum Curve {
        Gelu,
        QuickGelu,
    }

    #[derive(Clone, Debug)]
    pub(super) struct Activation(pub(super) Curve);

    impl Kernel<1> for Activation {
        type Array = Array;
        type Saved = Array;

        fn forward(&self, [x]: [Array; 1]) -> (Array, Array) {
            (self.infer([x.clone()]), x)
        }

        fn infer(&self, [x]: [Array; 1]) -> Array {
            match self.0 {
                Curve::Gelu => map(
                    x,
                    #[inline(always)]
                    |x| x * normal(x)[0],
                ),
                Curve::QuickGelu => map(
                    x,
                    #[inline(always)]
                    |x| x / (1.0 + exp(-QUICK * x)),
                ),
            }
        }

        fn backward(&self, x: Array, gradient: Array, _: [bool; 1]) -> [Option<Array>; 1] {
            let found = match self.0 {
                Curve::Gelu => zip(
                    gradient,
                    &x,
                    #[inline(always)]
                    |g, x| {
                        let [below, density] = normal(x);
                        g * (below + x * density)
                    },
                ),
                Curve::QuickGelu => zip(
                    gradient,
                    &x,
                    #[inline(always)]
                    |g, x| {
                        let open = 1.0 / (1.0 + exp(-QUICK * x));
                        g * open * (1.0 + QUICK * x * (1.0 - open))
                    },
                ),
            };
            [Some(found)]
        }
    }
}
