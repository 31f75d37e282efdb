//! Layer normalisation.

use burn::tensor::Tensor;
use tch::IValue;

use super::{Array, script};
use crate::op::{self, Kernel};

/// See [`crate::layer_norm`].
pub(crate) fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    op::run(LayerNorm { eps }, [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()])
}

/// See [`crate::normalise`].
pub(crate) fn normalise<const D: usize>(x: Tensor<D>, eps: f64) -> Tensor<D> {
    op::run(LayerNorm { eps }, [x.into_dispatch()])
}

/// With three inputs an affine map follows, with one it does not.
#[derive(Clone, Debug)]
struct LayerNorm {
    eps: f64,
}

#[derive(Clone, Debug)]
struct Saved<const N: usize> {
    inputs: [Array; N],
    /// Mean and reciprocal standard deviation of every row.
    moments: [Array; 2],
}

impl<const N: usize> Kernel<N> for LayerNorm {
    type Array = Array;
    type Saved = Saved<N>;

    fn forward(&self, inputs: [Array; N]) -> (Array, Saved<N>) {
        let [weight, bias] = affine(&inputs);
        let (y, mean, inverse) = inputs[0].native_layer_norm(width(&inputs[0]), weight, bias, self.eps);
        (Array::new(y), Saved { inputs, moments: [mean, inverse].map(Array::new) })
    }

    fn backward(&self, Saved { inputs, moments }: Saved<N>, gradient: Array, wanted: [bool; N]) -> [Option<Array>; N] {
        let [weight, bias] = affine(&inputs);
        let wants = |input: usize| wanted.get(input).copied().unwrap_or(false);
        let arguments = vec![
            script::tensor(&gradient),
            script::tensor(&inputs[0]),
            IValue::IntList(width(&inputs[0])),
            script::tensor(&moments[0]),
            script::tensor(&moments[1]),
            script::optional(weight),
            script::optional(bias),
            IValue::BoolList([0, 1, 2].map(wants).into()),
        ];
        let mut found = script::gradients("layer_norm", arguments).into_iter();
        std::array::from_fn(|_| found.next().flatten().map(Array::new))
    }
}

/// The shape that is normalised over.
fn width(x: &Array) -> Vec<i64> {
    x.size().last().copied().into_iter().collect()
}

fn affine<const N: usize>(inputs: &[Array; N]) -> [Option<&tch::Tensor>; 2] {
    [1, 2].map(|index| inputs.get(index).map(|row| &**row))
}
