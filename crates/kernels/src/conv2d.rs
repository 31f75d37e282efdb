//! Convolution in two dimensions.

use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

/// The convolution of `x` with `weight`, plus `bias`.
///
/// # Shapes
/// - x: `[batch, inputs, height, width]`
/// - weight: `[outputs, inputs, kernel, kernel]`
/// - bias: `[outputs]`
/// - output: `[batch, outputs, height', width']`
///
/// # Panics
/// As Burn's own op, when the shapes do not fit each other.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(kernel) = kernel::Conv2d::of(&x, &weight, bias.as_ref(), stride, padding) {
        return kernel.run(x, weight, bias);
    }
    #[cfg(feature = "tch")]
    if crate::tch::serves(&x) && crate::tch::serves(&weight) && bias.as_ref().is_none_or(crate::tch::serves) {
        return crate::tch::conv2d(x, weight, bias, stride, padding);
    }
    burn::tensor::module::conv2d(x, weight, bias, ConvOptions::new(stride, padding, [1; 2], 1))
}

#[cfg(feature = "flex")]
mod kernel {
    use burn::tensor::Tensor;

    use crate::conv::{self, ConvError, Geometry};
    use crate::flex::{self, Array};
    use crate::op::{self, Kernel};

    /// A convolution that exists; its inputs are input and weight, and perhaps a bias.
    #[derive(Clone, Debug)]
    pub(super) struct Conv2d {
        geometry: Geometry,
        output: [usize; 4],
    }

    impl Conv2d {
        /// `None` for what another must compute, or refuse.
        pub(super) fn of(
            x: &Tensor<4>,
            weight: &Tensor<4>,
            bias: Option<&Tensor<1>>,
            stride: [usize; 2],
            padding: [usize; 2],
        ) -> Option<Self> {
            let ([batch, inputs, height, width], [outputs, weight_inputs, rows, columns]) = (x.dims(), weight.dims());
            let biased = bias.is_none_or(|bias| flex::serves(bias) && bias.dims() == [outputs]);
            let served = flex::serves(x) && flex::serves(weight) && biased && inputs == weight_inputs;
            let geometry =
                Geometry { batch, inputs, outputs, size: [height, width], kernel: [rows, columns], stride, padding };
            let [height, width] = geometry.output_size().ok().filter(|_| served)?;
            Some(Self { geometry, output: [batch, outputs, height, width] })
        }

        pub(super) fn run(self, x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
            let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
            match bias {
                Some(bias) => op::run(self, [x, weight, bias.into_dispatch()]),
                None => op::run(self, [x, weight]),
            }
        }

        fn apply(&self, x: &Array, weight: &Array, bias: Option<&Array>) -> Array {
            let bias = bias.map(|bias| &**bias);
            Array::new(fits(conv::forward(&self.geometry, x, weight, bias)), &self.output)
        }

        fn gradients(&self, [x, weight]: &[Array; 2], gradient: &Array, wanted: [bool; 2]) -> [Option<Array>; 2] {
            [
                wanted[0].then(|| Array::new(fits(conv::input_gradient(&self.geometry, weight, gradient)), x.dims())),
                wanted[1].then(|| Array::new(fits(conv::weight_gradient(&self.geometry, x, gradient)), weight.dims())),
            ]
        }
    }

    /// The slices are those whose shapes [`Conv2d::of`] has seen.
    fn fits(result: Result<Vec<f32>, ConvError>) -> Vec<f32> {
        match result {
            Ok(values) => values,
            Err(error) => unreachable!("{error}"),
        }
    }

    impl Kernel<2> for Conv2d {
        type Array = Array;
        type Saved = [Array; 2];

        fn forward(&self, [x, weight]: [Array; 2]) -> (Array, [Array; 2]) {
            (self.apply(&x, &weight, None), [x, weight])
        }

        fn backward(&self, saved: [Array; 2], gradient: Array, wanted: [bool; 2]) -> [Option<Array>; 2] {
            self.gradients(&saved, &gradient, wanted)
        }
    }

    impl Kernel<3> for Conv2d {
        type Array = Array;
        type Saved = [Array; 2];

        fn forward(&self, [x, weight, bias]: [Array; 3]) -> (Array, [Array; 2]) {
            (self.apply(&x, &weight, Some(&bias)), [x, weight])
        }

        fn backward(&self, saved: [Array; 2], gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
            let [x, weight] = self.gradients(&saved, &gradient, [wanted[0], wanted[1]]);
            let bias = || fits(conv::bias_gradient(&self.geometry, &gradient));
            [x, weight, wanted[2].then(|| Array::new(bias(), &[self.geometry.outputs]))]
        }
    }
}
