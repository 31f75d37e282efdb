//! Affine maps.

use burn::tensor::Tensor;

use super::Array;
use crate::op::{self, Kernel};

/// See [`crate::linear`].
pub(crate) fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    match bias {
        Some(bias) => op::run(Linear, [x, weight, bias.into_dispatch()]),
        None => op::run(Linear, [x, weight]),
    }
}

/// With three inputs the last is the bias.
#[derive(Clone, Debug)]
struct Linear;

impl<const N: usize> Kernel<N> for Linear {
    type Array = Array;
    /// `x` and the weight.
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Array; N]) -> (Array, [Array; 2]) {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let y = x.linear(weight, inputs.get(2).map(|bias| &**bias));
        (Array::new(y), [x.clone(), weight.clone()])
    }

    fn backward(&self, [x, weight]: [Array; 2], gradient: Array, wanted: [bool; N]) -> [Option<Array>; N] {
        let [outputs, inputs] = [weight.size()[0], weight.size()[1]];
        let rows = gradient.reshape([-1, outputs]);
        std::array::from_fn(|input| {
            wanted[input].then(|| {
                Array::new(match input {
                    0 => rows.mm(&weight).view_(x.size()),
                    1 => rows.tr().mm(&x.reshape([-1, inputs])),
                    _ => rows.sum_dim_intlist(0, false, None),
                })
            })
        })
    }
}
