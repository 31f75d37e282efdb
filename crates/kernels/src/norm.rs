//! Layer normalisation.

use burn::tensor::Tensor;

/// Normalises over the last axis, then scales by `weight` and shifts by `bias`. Source: Ba et al. 2016, arXiv:1607.06450.
///
/// # Shapes
/// - x: `[.., width]`
/// - weight, bias: `[width]`
/// - output: that of `x`
///
/// # Panics
/// When the shapes do not fit each other.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let width = x.dims()[D - 1];
    assert_eq!([weight.dims(), bias.dims()], [[width]; 2], "weight and bias are not as long as the last axis of x");
    #[cfg(feature = "flex")]
    if [crate::flex::serves(&x), crate::flex::serves(&weight), crate::flex::serves(&bias)] == [true; 3] {
        let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
        return crate::op::run(kernel::LayerNorm { eps: eps as f32 }, inputs);
    }
    #[cfg(feature = "tch")]
    if [crate::tch::serves(&x), crate::tch::serves(&weight), crate::tch::serves(&bias)] == [true; 3] {
        return crate::tch::layer_norm(x, weight, bias, eps);
    }
    burn::tensor::module::layer_norm(x, weight, Some(bias), eps)
}

/// Normalises over the last axis: mean zero, variance one but for `eps`.
///
/// # Shapes
/// - x: `[.., width]`
/// - output: that of `x`
pub fn normalise<const D: usize>(x: Tensor<D>, eps: f64) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if crate::flex::serves(&x) {
        return crate::op::run(kernel::LayerNorm { eps: eps as f32 }, [x.into_dispatch()]);
    }
    #[cfg(feature = "tch")]
    if crate::tch::serves(&x) {
        return crate::tch::normalise(x, eps);
    }
    let ones = Tensor::ones([x.dims()[D - 1]], (&x.device().without_autodiff(), x.dtype()));
    burn::tensor::module::layer_norm(x, ones, None, eps)
}

#[cfg(feature = "flex")]
mod kernel {
    use crate::flex::Array;
    use crate::op::Kernel;
    use crate::simd::{dot, fold, sum, vectorised};
    use crate::threads::{filled, pieces_with, sum_rows};

    /// Rows whose gradients of weight and bias are summed before they join those of other rows.
    const ROWS: usize = 64;

    /// With three inputs an affine map follows, with one it does not.
    #[derive(Clone, Debug)]
    pub(super) struct LayerNorm {
        pub(super) eps: f32,
    }

    impl<const N: usize> Kernel<N> for LayerNorm {
        type Array = Array;
        /// The inputs. Mean and deviation of a row cost less to find again than to keep.
        type Saved = [Array; N];

        fn forward(&self, inputs: [Array; N]) -> (Array, [Array; N]) {
            (self.infer(inputs.clone()), inputs)
        }

        fn infer(&self, inputs: [Array; N]) -> Array {
            let x = &inputs[0];
            let affine: Option<(&[f32], &[f32])> =
                inputs.get(1).zip(inputs.get(2)).map(|(weight, bias)| (&**weight, &**bias));
            let [_, width] = x.rows();
            let values = filled(x.len(), width.max(1), |at, block| {
                let x = &x[at..at + block.len()];
                vectorised(
                    #[inline(always)]
                    || {
                        for (out, x) in block.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                            let [mean, scale] = self.moments(x);
                            let Some((weight, bias)) = affine else {
                                normalise(x, mean, scale, out);
                                continue;
                            };
                            for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                                *out = (x - mean) * scale * weight + bias;
                            }
                        }
                    },
                );
            });
            Array::new(values, x.dims())
        }

        fn backward(&self, inputs: [Array; N], gradient: Array, wanted: [bool; N]) -> [Option<Array>; N] {
            let x = &inputs[0];
            let [rows, width] = x.rows();
            let weight = inputs.get(1);
            let keeps_sums = wanted[1..].contains(&true);
            let mut sums = vec![0.0; if keeps_sums { rows.div_ceil(ROWS) * 2 * width } else { 0 }];
            let mut gradient = gradient.owned();
            if let Some(values) = gradient.overwrite() {
                pieces_with(values, (ROWS * width).max(1), &mut sums, 2 * width, |index, piece, sums| {
                    let x = &x[index * ROWS * width..][..piece.len()];
                    let mut normalised = vec![0.0; width];
                    vectorised(
                        #[inline(always)]
                        || {
                            for (g, x) in piece.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                                self.backward_row(g, x, weight.map(|weight| &**weight), &mut normalised, sums);
                            }
                        },
                    );
                });
            }
            let sums = sum_rows(&sums, 2 * width);
            let (of_weight, of_bias) = sums.split_at(width);
            let mut gradient = Some(gradient);
            std::array::from_fn(|input| match input {
                _ if !wanted[input] => None,
                0 => gradient.take(),
                1 => Some(Array::new(of_weight.to_vec(), &[width])),
                _ => Some(Array::new(of_bias.to_vec(), &[width])),
            })
        }
    }

    impl LayerNorm {
        /// The mean of a row, and one over its deviation.
        #[inline(always)]
        fn moments(&self, x: &[f32]) -> [f32; 2] {
            let width = x.len() as f32;
            let mean = sum(x) / width;
            let squares = fold(x, 0.0, |sum, value| sum + (value - mean) * (value - mean), |a, b| a + b);
            [mean, 1.0 / (squares / width + self.eps).sqrt()]
        }

        /// Turns the gradient of a row of the result into that of the row of `x`, and adds it to `sums`: those of the weight,
        /// then those of the bias.
        #[inline(always)]
        fn backward_row(
            &self,
            g: &mut [f32],
            x: &[f32],
            weight: Option<&[f32]>,
            normalised: &mut [f32],
            sums: &mut [f32],
        ) {
            let [mean, scale] = self.moments(x);
            normalise(x, mean, scale, normalised);
            let (of_weight, of_bias) = sums.split_at_mut(sums.len() / 2);
            for (((of_weight, of_bias), &g), &n) in of_weight.iter_mut().zip(of_bias).zip(&*g).zip(&*normalised) {
                *of_weight += g * n;
                *of_bias += g;
            }
            if let Some(weight) = weight {
                for (g, &weight) in g.iter_mut().zip(weight) {
                    *g *= weight;
                }
            }
            let width = x.len() as f32;
            let (mean, slope) = (sum(g) / width, dot(g, normalised) / width);
            for (g, &n) in g.iter_mut().zip(&*normalised) {
                *g = (*g - mean - n * slope) * scale;
            }
        }
    }
    #[inline(always)]
    fn normalise(x: &[f32], mean: f32, scale: f32, out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (x - mean) * scale;
        }
    }
}
