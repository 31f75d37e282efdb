//! Convolution in two dimensions.

use burn::tensor::Tensor;
use tch::IValue;

use super::{Array, script};
use crate::op::{self, Kernel};

/// See [`crate::conv2d`].
pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let conv = Conv2d { stride: stride.map(|step| step as i64), padding: padding.map(|width| width as i64) };
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    match bias {
        Some(bias) => op::run(conv, [x, weight, bias.into_dispatch()]),
        None => op::run(conv, [x, weight]),
    }
}

/// With three inputs the last is the bias.
#[derive(Clone, Debug)]
struct Conv2d {
    stride: [i64; 2],
    padding: [i64; 2],
}

impl<const N: usize> Kernel<N> for Conv2d {
    type Array = Array;
    /// `x` and the weight.
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Array; N]) -> (Array, [Array; 2]) {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let y = x.conv2d(weight, inputs.get(2).map(|bias| &**bias), self.stride, self.padding, 1, 1);
        (Array::new(y), [x.clone(), weight.clone()])
    }

    fn backward(&self, [x, weight]: [Array; 2], gradient: Array, wanted: [bool; N]) -> [Option<Array>; N] {
        let wants = |input: usize| wanted.get(input).copied().unwrap_or(false);
        let arguments = vec![
            script::tensor(&gradient),
            script::tensor(&x),
            script::tensor(&weight),
            if N == 3 { IValue::IntList(vec![weight.size()[0]]) } else { IValue::None },
            IValue::IntList(self.stride.into()),
            IValue::IntList(self.padding.into()),
            IValue::BoolList([0, 1, 2].map(wants).into()),
        ];
        let mut found = script::gradients("convolution", arguments).into_iter();
        std::array::from_fn(|_| found.next().flatten().map(Array::new))
    }
}
