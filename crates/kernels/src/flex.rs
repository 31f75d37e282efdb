//! How a kernel becomes an op of Burn: on flex alone or under autodiff, with a backward pass of its own.
//!
//! A tensor of Burn carries its backend at run time. [`run`] takes the flex arrays out, applies the kernel, records it in the
//! graph if an input takes a gradient, and puts the result back. Burn's `#[backend_extension]` generates the same steps for a
//! trait with one method per op and one implementation per backend; here one function serves every kernel on the one backend
//! that has any.

use std::fmt::Debug;
use std::ops::Deref;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{
    AutodiffBackend, BackendTensor, DispatchAutodiffContext, DispatchKindConversion, DispatchTensor, Flex,
    GradientCheckpointingStrategy,
};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

/// An op with `N` inputs.
pub(crate) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass reads.
    type Saved: Clone + Debug + Send + 'static;

    /// The result, and what the backward pass will read.
    fn forward(&self, inputs: [Array; N]) -> (Array, Self::Saved);

    /// The result alone, where no backward pass will follow. To be overridden where inputs can be overwritten.
    fn infer(&self, inputs: [Array; N]) -> Array {
        self.forward(inputs).0
    }

    /// The gradients of the inputs that are `wanted`, from that of the result; `None` for the others.
    fn backward(&self, saved: Self::Saved, gradient: Array, wanted: [bool; N]) -> [Option<Array>; N];
}

/// Whether a tensor is an array of `f32` on flex, with or without autodiff.
pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex()
}

/// Applies `kernel` to inputs that [`serves`] has accepted.
///
/// # Panics
/// An input is on another backend or of another element type, or inputs have different strategies of checkpointing.
pub(crate) fn run<K: Kernel<N>, const N: usize, const D: usize>(kernel: K, inputs: [DispatchTensor; N]) -> Tensor<D> {
    use GradientCheckpointingStrategy::{Balanced, Disabled};
    let context = inputs.iter().fold(DispatchAutodiffContext::Disabled, |context, input| context.merge(input.autodiff));
    let output = match context {
        DispatchAutodiffContext::Disabled => {
            let output = kernel.infer(inputs.map(|input| Array::from(plain(input))));
            <DispatchTensor as DispatchKindConversion<Flex>>::from_backend(BackendTensor::Float(output.0))
        }
        DispatchAutodiffContext::Enabled(Disabled) => record::<K, NoCheckpointing, N>(kernel, inputs),
        DispatchAutodiffContext::Enabled(Balanced) => record::<K, BalancedCheckpointing, N>(kernel, inputs),
    };
    Tensor::from_dispatch(output)
}

fn plain(tensor: DispatchTensor) -> FlexTensor {
    match <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(tensor) {
        Ok(tensor) => tensor.float(),
        Err(error) => panic!("a kernel got a tensor that it does not serve: {error}"),
    }
}

/// Applies `kernel` under autodiff. What it saves is kept, whatever the strategy of checkpointing.
fn record<K: Kernel<N>, C: CheckpointStrategy, const N: usize>(kernel: K, inputs: [DispatchTensor; N]) -> DispatchTensor
where
    DispatchTensor: DispatchKindConversion<Autodiff<Flex, C>>,
{
    let parts = inputs.map(|input| {
        let tensor = if input.autodiff == DispatchAutodiffContext::Disabled {
            Autodiff::<Flex, C>::from_inner(plain(input))
        } else {
            match <DispatchTensor as DispatchKindConversion<Autodiff<Flex, C>>>::try_into_backend(input) {
                Ok(tensor) => tensor.float(),
                Err(error) => panic!("a kernel got a tensor that it does not serve: {error}"),
            }
        };
        tensor.into_parts()
    });
    let mut arrays = Vec::with_capacity(N);
    let nodes = parts.map(|(tensor, node)| {
        arrays.push(Array::from(tensor));
        node
    });
    let Ok(arrays) = <[Array; N]>::try_from(arrays) else { unreachable!("one array was pushed for every input") };
    let step = Step(kernel.clone());
    let output = match step.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = kernel.forward(arrays);
            prepared.finish(saved, output.0)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(kernel.infer(arrays).0),
    };
    <DispatchTensor as DispatchKindConversion<Autodiff<Flex, C>>>::from_backend(BackendTensor::Float(output))
}

/// A kernel in the graph.
#[derive(Debug)]
struct Step<K>(K);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K> {
    type State = K::Saved;

    fn backward(self, ops: Ops<K::Saved, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Array::from(gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(ops.state, gradient, wanted);
        for (parent, found) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<Flex>(parent.id, found.0);
            }
        }
    }
}

/// A contiguous array of `f32` that shares its elements with the tensor it came from.
#[derive(Clone, Debug)]
pub(crate) struct Array(FlexTensor);

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

    /// Half of what it gets; remembers nothing.
    #[derive(Clone, Debug)]
    struct Half;

    impl Kernel<1> for Half {
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
