//! LibTorch's own ops with their own backward passes, where Burn's autodiff would compose the backward pass of many small ones.
//!
//! Burn differentiates a convolution by transposed and dilated convolutions, and a normalisation by a dozen passes over memory;
//! LibTorch has one op for either. A kernel here calls the op forward, keeps what LibTorch's own graph would keep, and calls
//! the op's derivative backward.

mod activation;
mod attention;
mod batch_norm;
mod conv2d;
mod linear;
mod norm;
mod script;

use std::ops::Deref;

pub(crate) use activation::{gelu, quick_gelu};
pub(crate) use attention::self_attention;
pub(crate) use batch_norm::{batch_norm, batch_norm_train};
use burn::backend::libtorch::{LibTorch, TchTensor};
use burn::backend::{BackendTensor, DispatchKindConversion, DispatchTensor};
use burn::tensor::{DType, Device, Tensor};
pub(crate) use conv2d::conv2d;
pub(crate) use linear::linear;
pub(crate) use norm::{layer_norm, normalise};

use crate::op;

/// Whether a tensor is an array of `f32` on LibTorch's CPU, with or without autodiff.
pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && tensor.device() == Device::libtorch()
}

/// A tensor of LibTorch. Burn overwrites one whose memory it finds in no other, so all that share memory are clones.
#[derive(Clone, Debug)]
struct Array(TchTensor);

impl Array {
    /// Of a tensor whose memory is its own, as the ops called here leave it.
    fn new(tensor: tch::Tensor) -> Self {
        Self(TchTensor::new(tensor))
    }

    /// Of a tensor that [`serves`] has accepted, without its place in the graph.
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        Self(op::float::<LibTorch>(tensor.without_autodiff().into_dispatch()))
    }

    /// As a tensor without a graph.
    fn tensor<const D: usize>(self) -> Tensor<D> {
        let tensor = BackendTensor::Float(self.0);
        Tensor::from_dispatch(<DispatchTensor as DispatchKindConversion<LibTorch>>::from_backend(tensor))
    }
}

impl op::Array for Array {
    type Backend = LibTorch;
}

impl From<TchTensor> for Array {
    fn from(tensor: TchTensor) -> Self {
        Self(tensor)
    }
}

impl From<Array> for TchTensor {
    fn from(array: Array) -> Self {
        array.0
    }
}

impl Deref for Array {
    type Target = tch::Tensor;

    fn deref(&self) -> &tch::Tensor {
        &self.0.tensor
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;

    #[test]
    fn kernels_serve_single_precision_on_the_cpu_of_libtorch() {
        for device in [Device::libtorch(), Device::libtorch().autodiff()] {
            let x = Tensor::<1>::from_floats([1.0, -3.0], &device);
            assert!(serves(&x));
            assert!(!serves(&x.cast(FloatDType::F64)));
        }
    }

    #[test]
    fn what_a_kernel_keeps_is_not_overwritten() {
        // Burn's own ops overwrite what no one else holds: the input of a kernel, and its result, are held for the backward pass.
        let device = Device::libtorch().autodiff();
        let x = Tensor::<4>::from_floats([[[[1.0, 2.0], [-1.0, 4.0]]]], &device).require_grad();
        let row = |value: f32| Tensor::<1>::from_floats([value], &device);
        let gradient = |spoil: bool| {
            let y = x.clone() * 2.0;
            let (z, [mean, variance]) =
                batch_norm_train(y.clone(), [row(1.0), row(0.5)], 1e-5, crate::batch_norm::Then::Relu);
            let sum = z.clone().powi_scalar(2).sum();
            if spoil {
                drop((y.inner() * 0.0, z.inner() * 0.0, mean * 0.0, variance * 0.0));
            }
            x.grad(&sum.backward()).map(|gradient| gradient.into_data())
        };
        assert!(gradient(false).is_some_and(|expected| gradient(true) == Some(expected)));
    }
}
