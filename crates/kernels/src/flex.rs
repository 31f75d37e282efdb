//! The arrays of flex, which kernels read and write as slices.

use std::ops::Deref;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use crate::op;

/// Whether a tensor is an array of `f32` on flex, with or without autodiff.
pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex()
}

/// A contiguous array of `f32` that shares its elements with the tensor it came from.
#[derive(Clone, Debug)]
pub(crate) struct Array(FlexTensor);

impl op::Array for Array {
    type Backend = Flex;
}

impl Array {
    /// # Panics
    /// There are more or fewer values than the shape has places.
    pub(crate) fn new(values: Vec<f32>, dims: &[usize]) -> Self {
        Self(FlexTensor::from_data(TensorData::new(values, Shape::from(dims))))
    }

    /// Lengths of the axes.
    pub(crate) fn dims(&self) -> &[usize] {
        self.0.layout().shape()
    }

    /// Length of the last axis, and how many rows of that length there are.
    pub(crate) fn rows(&self) -> [usize; 2] {
        let width = self.dims().last().copied().unwrap_or(1);
        [self.len() / width.max(1), width]
    }

    /// The same elements in a place where nothing else reads them; a copy if something does.
    pub(crate) fn owned(mut self) -> Self {
        if self.overwrite().is_some() { self } else { Self::new(self.to_vec(), self.dims()) }
    }

    /// The elements for overwriting, unless another tensor shares them.
    pub(crate) fn overwrite(&mut self) -> Option<&mut [f32]> {
        let (start, end) = self.0.layout().contiguous_offsets()?;
        Some(&mut self.0.try_storage_mut::<f32>()?[start..end])
    }
}

impl From<FlexTensor> for Array {
    fn from(tensor: FlexTensor) -> Self {
        if tensor.is_contiguous() { Self(tensor) } else { Self(tensor.to_contiguous()) }
    }
}

impl From<Array> for FlexTensor {
    fn from(array: Array) -> Self {
        array.0
    }
}

impl Deref for Array {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self.0.as_slice() {
            Some(values) => values,
            None => unreachable!("an array is contiguous and of `f32`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;
    use crate::op::{Kernel, run};

    /// Half of what it gets; remembers nothing.
    #[derive(Clone, Debug)]
    struct Half;

    impl Kernel<1> for Half {
        type Array = Array;
        type Saved = ();

        fn forward(&self, [x]: [Array; 1]) -> (Array, ()) {
            (Array::new(x.iter().map(|value| value / 2.0).collect(), x.dims()), ())
        }

        fn backward(&self, (): (), gradient: Array, wanted: [bool; 1]) -> [Option<Array>; 1] {
            assert_eq!(wanted, [true]);
            [Some(Array::new(gradient.iter().map(|value| value / 2.0).collect(), gradient.dims()))]
        }
    }

    #[test]
    fn kernels_serve_single_precision_on_flex() {
        for device in [Device::flex(), Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
            let x = Tensor::<1>::from_floats([1.0, -3.0], &device);
            assert!(serves(&x));
            assert!(!serves(&x.cast(FloatDType::F64)));
        }
    }

    #[test]
    fn a_kernel_keeps_device_and_gradients_with_and_without_checkpointing() {
        for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
            let x = Tensor::<1>::from_floats([1.0, -3.0], &device).require_grad();
            let y: Tensor<1> = run(Half, [x.clone().into_dispatch()]);
            let gradients = (y.clone() * y).sum().backward();
            let gradient = x.grad(&gradients).map(|gradient| gradient.into_data().try_to_vec::<f32>());
            // The derivative of (x / 2)^2.
            assert_eq!(gradient.and_then(Result::ok), Some(vec![0.5, -1.5]));
        }
        let y: Tensor<1> = run(Half, [Tensor::<1>::from_floats([4.0], &Device::flex()).into_dispatch()]);
        assert!(!y.device().is_autodiff() && y.into_scalar::<f32>() == 2.0);
    }
}
