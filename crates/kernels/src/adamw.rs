//! A step of AdamW.

use burn::tensor::Tensor;

/// Numbers of a step that all elements share.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// What is left of the parameter before the update: 1 less learning rate times weight decay.
    pub keep: f64,
    /// Learning rate, divided by the bias of the first moment.
    pub rate: f64,
    /// Decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// The root of the second moment's bias.
    pub root_bias: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// The parameter and both moments after a step. Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, as in PyTorch.
///
/// On flex one pass over memory does it, in place where nothing else reads the arrays; elsewhere Burn's ops are composed. Both
/// round alike.
///
/// # Shapes
/// - x, gradient, moments: `[elements]`, without autodiff
///
/// # Panics
/// When the lengths differ.
pub fn adamw(
    x: Tensor<1>,
    moments: [Tensor<1>; 2],
    gradient: Tensor<1>,
    step: &AdamWStep,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let length = x.dims();
    assert_eq!([moments[0].dims(), moments[1].dims(), gradient.dims()], [length; 3], "moments and gradient of x");
    #[cfg(feature = "flex")]
    {
        let served = |tensor: &Tensor<1>| crate::flex::serves(tensor) && !tensor.device().is_autodiff();
        if [&x, &moments[0], &moments[1], &gradient].into_iter().all(served) {
            return kernel::run(x, moments, gradient, step);
        }
    }
    let [beta1, beta2] = step.betas;
    let [m, v] = moments;
    let m = m * beta1 + gradient.clone() * (1.0 - beta1);
    let v = v * beta2 + gradient.clone() * gradient * (1.0 - beta2);
    let update = m.clone() / (v.clone().sqrt() / step.root_bias + step.eps) * step.rate;
    (x * step.keep - update, [m, v])
}

#[cfg(feature = "flex")]
mod kernel {
    use burn::backend::Flex;
    use burn::backend::flex::FlexTensor;
    use burn::backend::{BackendTensor, DispatchKindConversion, DispatchTensor};
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use super::AdamWStep;
    use crate::flex::Array;
    use crate::op;
    use crate::simd::vectorised;
    use crate::threads::PIECE;

    pub(super) fn run(
        x: Tensor<1>,
        [m, v]: [Tensor<1>; 2],
        gradient: Tensor<1>,
        step: &AdamWStep,
    ) -> (Tensor<1>, [Tensor<1>; 2]) {
        let array = |tensor: Tensor<1>| Array::from(op::float::<Flex>(tensor.into_dispatch()));
        let [mut x, mut m, mut v] = [x, m, v].map(|tensor| array(tensor).owned());
        let gradient = array(gradient);
        if let (Some(x), Some(m), Some(v)) = (x.overwrite(), m.overwrite(), v.overwrite()) {
            let state = x.par_chunks_mut(PIECE).zip(m.par_chunks_mut(PIECE)).zip(v.par_chunks_mut(PIECE));
            state.zip(gradient.par_chunks(PIECE)).for_each(|(((x, m), v), gradient)| piece(x, m, v, gradient, step));
        }
        let tensor = |array: Array| {
            let inner = BackendTensor::Float(FlexTensor::from(array));
            Tensor::from_dispatch(<DispatchTensor as DispatchKindConversion<Flex>>::from_backend(inner))
        };
        (tensor(x), [tensor(m), tensor(v)])
    }

    fn piece(x: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], step: &AdamWStep) {
        let [beta1, beta2] = step.betas.map(|beta| beta as f32);
        let [new1, new2] = step.betas.map(|beta| (1.0 - beta) as f32);
        let [keep, rate, root_bias, eps] = [step.keep, step.rate, step.root_bias, step.eps].map(|value| value as f32);
        vectorised(
            #[inline(always)]
            || {
                for (((x, m), v), &g) in x.iter_mut().zip(&mut *m).zip(&mut *v).zip(gradient) {
                    *m = *m * beta1 + g * new1;
                    *v = *v * beta2 + g * g * new2;
                    *x = *x * keep - *m / (v.sqrt() / root_bias + eps) * rate;
                }
            },
        );
    }
}
