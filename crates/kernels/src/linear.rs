//! Affine maps.

use burn::tensor::Tensor;

/// `x W^T + b`, one product over all rows.
///
/// # Shapes
/// - x: `[.., inputs]`
/// - weight: `[outputs, inputs]`, as PyTorch has it
/// - bias: `[outputs]`
/// - output: `[.., outputs]`
///
/// # Panics
/// When the shapes do not fit each other.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut dims = x.dims();
    let [outputs, inputs] = weight.dims();
    assert_eq!(dims[D - 1], inputs, "the last axis of x is not the weight's inputs");
    assert!(bias.as_ref().is_none_or(|bias| bias.dims() == [outputs]), "the bias is not as long as the outputs");
    #[cfg(feature = "flex")]
    if crate::flex::serves(&x) && crate::flex::serves(&weight) && bias.as_ref().is_none_or(crate::flex::serves) {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        return match bias {
            Some(bias) => crate::op::run(kernel::Linear, [x, weight, bias.into_dispatch()]),
            None => crate::op::run(kernel::Linear, [x, weight]),
        };
    }
    #[cfg(feature = "tch")]
    if crate::tch::serves(&x) && crate::tch::serves(&weight) && bias.as_ref().is_none_or(crate::tch::serves) {
        return crate::tch::linear(x, weight, bias);
    }
    let rows = dims[..D - 1].iter().product();
    // A batched product would sum the weight's gradient over the batch afterwards.
    let y = x.reshape([rows, inputs]).matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    };
    dims[D - 1] = outputs;
    y.reshape(dims)
}

#[cfg(feature = "flex")]
mod kernel {
    use crate::flex::Array;
    use crate::gemm::{Matrix, Old, product};
    use crate::op::Kernel;
    use crate::threads::{collect, sum_rows};

    /// Rows whose gradients of the bias are summed before they join those of other rows.
    const ROWS: usize = 256;

    /// With three inputs the last is the bias.
    #[derive(Clone, Debug)]
    pub(super) struct Linear;

    impl<const N: usize> Kernel<N> for Linear {
        type Array = Array;
        /// `x` and the weight.
        type Saved = [Array; 2];

        fn forward(&self, inputs: [Array; N]) -> (Array, [Array; 2]) {
            let saved = [inputs[0].clone(), inputs[1].clone()];
            (self.infer(inputs), saved)
        }

        fn infer(&self, inputs: [Array; N]) -> Array {
            let (x, weight) = (&inputs[0], &inputs[1]);
            let [outputs, width] = weight.rows();
            let [rows, _] = x.rows();
            let (mut y, old) = match inputs.get(2) {
                Some(bias) => (bias.repeat(rows), Old::Add),
                None => (vec![0.0; rows * outputs], Old::Replace),
            };
            let (a, b) = (Matrix::new(x, [rows, width], width), Matrix::new(weight, [outputs, width], width));
            product(&mut y, outputs, old, 1.0, a, b.transposed());
            let mut dims = x.dims().to_vec();
            if let Some(last) = dims.last_mut() {
                *last = outputs;
            }
            Array::new(y, &dims)
        }

        fn backward(&self, [x, weight]: [Array; 2], gradient: Array, wanted: [bool; N]) -> [Option<Array>; N] {
            let [outputs, inputs] = weight.rows();
            let [rows, _] = x.rows();
            let g = Matrix::new(&gradient, [rows, outputs], outputs);
            std::array::from_fn(|input| match input {
                _ if !wanted[input] => None,
                0 => {
                    let mut found = vec![0.0; rows * inputs];
                    product(&mut found, inputs, Old::Replace, 1.0, g, Matrix::new(&weight, [outputs, inputs], inputs));
                    Some(Array::new(found, x.dims()))
                }
                1 => {
                    let mut found = vec![0.0; outputs * inputs];
                    let x = Matrix::new(&x, [rows, inputs], inputs);
                    product(&mut found, inputs, Old::Replace, 1.0, g.transposed(), x);
                    Some(Array::new(found, &[outputs, inputs]))
                }
                _ => Some(Array::new(column_sums(&gradient, outputs), &[outputs])),
            })
        }
    }

    fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
        let size = (ROWS * width).max(1);
        let parts = collect(values.len().div_ceil(size), |index| {
            sum_rows(&values[index * size..values.len().min((index + 1) * size)], width)
        });
        sum_rows(&parts.concat(), width)
    }
}
