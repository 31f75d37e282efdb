//! How a kernel becomes an op of Burn: on a backend alone or under autodiff, with a backward pass of its own.
//!
//! A tensor of Burn carries its backend at run time. [`run`] takes the backend's arrays out, applies the kernel, records it in
//! the graph if an input takes a gradient, and puts the result back. Burn's `#[backend_extension]` generates the same steps
//! for a trait with one method per op and one implementation per backend; here one function serves every kernel.

use std::fmt::Debug;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    AutodiffBackend, Backend, BackendTensor, DispatchAutodiffContext, DispatchKindConversion, DispatchTensor,
    GradientCheckpointingStrategy,
};
use burn::tensor::Tensor;

/// What kernels read and write: the arrays of one backend.
pub(crate) trait Array:
    Clone + Debug + Send + From<FloatTensor<Self::Backend>> + Into<FloatTensor<Self::Backend>> + 'static
{
    /// Whose arrays they are.
    type Backend: Backend;
}

/// An op with `N` inputs.
pub(crate) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// Inputs and result.
    type Array: Array;
    /// What the backward pass reads.
    type Saved: Clone + Debug + Send + 'static;

    /// The result, and what the backward pass will read.
    fn forward(&self, inputs: [Self::Array; N]) -> (Self::Array, Self::Saved);

    /// The result alone, where no backward pass will follow. To be overridden where inputs can be overwritten.
    fn infer(&self, inputs: [Self::Array; N]) -> Self::Array {
        self.forward(inputs).0
    }

    /// The gradients of the inputs that are `wanted`, from that of the result; `None` for the others.
    fn backward(&self, saved: Self::Saved, gradient: Self::Array, wanted: [bool; N]) -> [Option<Self::Array>; N];
}

/// The backend of a kernel's arrays.
type Of<K, const N: usize> = <<K as Kernel<N>>::Array as Array>::Backend;

/// Applies `kernel` to inputs of `f32` on its backend.
///
/// # Panics
/// An input is on another backend or of another element type, or inputs have different strategies of checkpointing.
pub(crate) fn run<K: Kernel<N>, const N: usize, const D: usize>(kernel: K, inputs: [DispatchTensor; N]) -> Tensor<D>
where
    DispatchTensor: DispatchKindConversion<Of<K, N>>
        + DispatchKindConversion<Autodiff<Of<K, N>, NoCheckpointing>>
        + DispatchKindConversion<Autodiff<Of<K, N>, BalancedCheckpointing>>,
{
    use GradientCheckpointingStrategy::{Balanced, Disabled};
    let context = inputs.iter().fold(DispatchAutodiffContext::Disabled, |context, input| context.merge(input.autodiff));
    let output = match context {
        DispatchAutodiffContext::Disabled => {
            let output = kernel.infer(inputs.map(|input| float::<Of<K, N>>(input).into()));
            <DispatchTensor as DispatchKindConversion<Of<K, N>>>::from_backend(BackendTensor::Float(output.into()))
        }
        DispatchAutodiffContext::Enabled(Disabled) => record::<K, NoCheckpointing, N>(kernel, inputs),
        DispatchAutodiffContext::Enabled(Balanced) => record::<K, BalancedCheckpointing, N>(kernel, inputs),
    };
    Tensor::from_dispatch(output)
}

/// The array of a backend in a tensor.
pub(crate) fn float<B: Backend>(tensor: DispatchTensor) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    match <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(tensor) {
        Ok(tensor) => tensor.float(),
        Err(error) => panic!("a kernel got a tensor that it does not serve: {error}"),
    }
}

/// Applies `kernel` under autodiff. What it saves is kept, whatever the strategy of checkpointing.
fn record<K: Kernel<N>, C: CheckpointStrategy, const N: usize>(kernel: K, inputs: [DispatchTensor; N]) -> DispatchTensor
where
    DispatchTensor: DispatchKindConversion<Of<K, N>> + DispatchKindConversion<Autodiff<Of<K, N>, C>>,
{
    let parts = inputs.map(|input| {
        let tensor = if input.autodiff == DispatchAutodiffContext::Disabled {
            Autodiff::<Of<K, N>, C>::from_inner(float::<Of<K, N>>(input))
        } else {
            float::<Autodiff<Of<K, N>, C>>(input)
        };
        tensor.into_parts()
    });
    let mut arrays = Vec::with_capacity(N);
    let nodes = parts.map(|(tensor, node)| {
        arrays.push(K::Array::from(tensor));
        node
    });
    let Ok(arrays) = <[K::Array; N]>::try_from(arrays) else { unreachable!("one array was pushed for every input") };
    let step = Step(kernel.clone());
    let output = match step.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = kernel.forward(arrays);
            prepared.finish(saved, output.into())
        }
        OpsKind::UnTracked(prepared) => prepared.finish(kernel.infer(arrays).into()),
    };
    <DispatchTensor as DispatchKindConversion<Autodiff<Of<K, N>, C>>>::from_backend(BackendTensor::Float(output))
}

/// A kernel in the graph.
#[derive(Debug)]
struct Step<K>(K);

impl<K: Kernel<N>, const N: usize> Backward<Of<K, N>, N> for Step<K> {
    type State = K::Saved;

    fn backward(self, ops: Ops<K::Saved, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = K::Array::from(gradients.consume::<Of<K, N>>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(ops.state, gradient, wanted);
        for (parent, found) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<Of<K, N>>(parent.id, found.into());
            }
        }
    }
}
