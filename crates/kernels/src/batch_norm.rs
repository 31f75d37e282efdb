//! Batch normalisation, with what follows it in a residual network in the same pass over memory.

use burn::tensor::module::{batch_norm as composed, batch_norm_train as composed_train};
use burn::tensor::{Tensor, activation};

/// What follows a normalisation.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a call, and a tensor cannot be boxed")]
pub enum Then {
    /// Nothing.
    Nothing,
    /// A ReLU.
    Relu,
    /// The addition of a shortcut of the same shape, and a ReLU of the sum.
    AddRelu(Tensor<4>),
}

impl Then {
    /// Whether `serves` accepts whatever tensor there is.
    #[cfg(any(feature = "flex", feature = "tch"))]
    fn all(&self, serves: impl Fn(&Tensor<4>) -> bool) -> bool {
        if let Self::AddRelu(shortcut) = self { serves(shortcut) } else { true }
    }

    fn check(&self, x: &Tensor<4>, rows: &[&Tensor<1>]) {
        let [_, channels, _, _] = x.dims();
        assert!(
            rows.iter().all(|row| row.dims() == [channels]),
            "a row is not as long as there are {channels} channels"
        );
        if let Self::AddRelu(shortcut) = self {
            assert_eq!(shortcut.dims(), x.dims(), "the shortcut has another shape than x");
        }
    }

    fn apply(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Nothing => x,
            Self::Relu => activation::relu(x),
            Self::AddRelu(shortcut) => activation::relu(x + shortcut),
        }
    }
}

/// Normalisation by given statistics, `(x - mean) / sqrt(variance + eps) * weight + bias`, and then `then`.
/// Mean and variance take no gradient.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`
/// - weight, bias: `[channels]`
/// - statistics: mean and variance, each `[channels]`
/// - output: that of `x`
///
/// # Panics
/// When the shapes do not fit each other.
pub fn batch_norm(
    x: Tensor<4>,
    [weight, bias]: [Tensor<1>; 2],
    [mean, variance]: [Tensor<1>; 2],
    eps: f64,
    then: Then,
) -> Tensor<4> {
    then.check(&x, &[&weight, &bias, &mean, &variance]);
    #[cfg(feature = "flex")]
    if kernel::serves(&x, [&weight, &bias, &mean, &variance], &then)
        && let Some(statistics) = kernel::Statistics::of(mean.clone(), variance.clone(), eps)
    {
        return kernel::run(x, [weight, bias], statistics, false, then);
    }
    #[cfg(feature = "tch")]
    if then.all(crate::tch::serves)
        && [&weight, &bias, &mean, &variance].into_iter().all(crate::tch::serves)
        && crate::tch::serves(&x)
    {
        return crate::tch::batch_norm(x, [weight, bias], [mean, variance], eps, then);
    }
    then.apply(composed(x, weight, bias, mean.detach(), variance.detach(), eps))
}

/// Normalisation by the statistics of the batch itself, and then `then`; and these statistics, the mean and the biased
/// variance, which take no gradient.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`
/// - weight, bias: `[channels]`
/// - output: that of `x`; `[channels]`; `[channels]`
///
/// # Panics
/// When the shapes do not fit each other.
pub fn batch_norm_train(
    x: Tensor<4>,
    [weight, bias]: [Tensor<1>; 2],
    eps: f64,
    then: Then,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    then.check(&x, &[&weight, &bias]);
    #[cfg(feature = "flex")]
    if kernel::serves(&x, [&weight, &bias, &weight, &bias], &then) {
        let [mean, variance] = kernel::of_batch(x.clone());
        if let Some(statistics) = kernel::Statistics::of(mean.clone(), variance.clone(), eps) {
            return (kernel::run(x, [weight, bias], statistics, true, then), [mean, variance]);
        }
    }
    // A single value has no unbiased variance, which is what LibTorch keeps.
    #[cfg(feature = "tch")]
    if then.all(crate::tch::serves)
        && [&weight, &bias].into_iter().all(crate::tch::serves)
        && crate::tch::serves(&x)
        && x.shape().num_elements() > x.dims()[1]
    {
        return crate::tch::batch_norm_train(x, [weight, bias], eps, then);
    }
    let result = composed_train(x, weight, bias, eps);
    (then.apply(result.output), [result.mean, result.variance])
}

#[cfg(feature = "flex")]
mod kernel {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use super::Then;
    use crate::flex::{self, Array};
    use crate::op::{self, Kernel};
    use crate::simd::{LANES, vectorised};
    use crate::threads::{collect, filled, pieces};

    /// Whether all tensors are arrays of `f32` on flex.
    pub(super) fn serves(x: &Tensor<4>, rows: [&Tensor<1>; 4], then: &Then) -> bool {
        flex::serves(x) && rows.into_iter().all(flex::serves) && then.all(flex::serves)
    }

    pub(super) fn run(
        x: Tensor<4>,
        [weight, bias]: [Tensor<1>; 2],
        statistics: Statistics,
        of_batch: bool,
        then: Then,
    ) -> Tensor<4> {
        let norm = Norm { statistics, of_batch, relu: !matches!(then, Then::Nothing) };
        let [x, weight, bias] = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
        match then {
            Then::AddRelu(shortcut) => op::run(norm, [x, weight, bias, shortcut.into_dispatch()]),
            _ => op::run(norm, [x, weight, bias]),
        }
    }

    /// Mean and biased variance of every channel, without gradients.
    pub(super) fn of_batch(x: Tensor<4>) -> [Tensor<1>; 2] {
        let [_, channels, _, _] = x.dims();
        let both: Tensor<2> = op::run(Moments, [x.without_autodiff().into_dispatch()]);
        [0, 1].map(|row| both.clone().slice([row..row + 1, 0..channels]).reshape([channels]))
    }

    /// Mean and reciprocal standard deviation of every channel.
    #[derive(Clone, Debug)]
    pub(super) struct Statistics(Arc<[[f32; 2]]>);

    impl Statistics {
        /// `None` unless both are of `f32`.
        pub(super) fn of(mean: Tensor<1>, variance: Tensor<1>, eps: f64) -> Option<Self> {
            let [mean, variance] = [mean, variance].map(|row| row.into_data().try_to_vec::<f32>().ok());
            let inverse = |variance: f32| (1.0 / (f64::from(variance) + eps).sqrt()) as f32;
            Some(Self(mean?.into_iter().zip(variance?).map(|(mean, variance)| [mean, inverse(variance)]).collect()))
        }
    }

    /// Mean and biased variance of every channel: `[2, channels]`.
    #[derive(Clone, Debug)]
    struct Moments;

    impl Kernel<1> for Moments {
        type Array = Array;
        type Saved = ();

        fn forward(&self, [x]: [Array; 1]) -> (Array, ()) {
            let planes = Planes::of(&x);
            let moments = collect(planes.channels, |channel| {
                let count = (planes.batch * planes.pixels) as f64;
                let [sum] = planes.sums(
                    channel,
                    [&x],
                    #[inline(always)]
                    |[x]| [x],
                );
                let mean = sum / count;
                let centre = mean as f32;
                let [squares] = planes.sums(
                    channel,
                    [&x],
                    #[inline(always)]
                    |[x]| [(x - centre) * (x - centre)],
                );
                // The squares are about the rounded mean.
                let off = mean - f64::from(centre);
                [mean, (squares / count - off * off).max(0.0)]
            });
            let rows = [0, 1].map(|row| moments.iter().map(move |moment| moment[row] as f32));
            (Array::new(rows.into_iter().flatten().collect(), &[2, planes.channels]), ())
        }

        fn backward(&self, (): (), _: Array, _: [bool; 1]) -> [Option<Array>; 1] {
            [None]
        }
    }

    /// The normalisation, and what follows it; its inputs are values, weight and bias, and perhaps a shortcut.
    #[derive(Clone, Debug)]
    struct Norm {
        statistics: Statistics,
        /// Whether the statistics depend on the input.
        of_batch: bool,
        relu: bool,
    }

    #[derive(Clone, Debug)]
    struct Saved {
        x: Array,
        weight: Array,
        bias: Array,
        /// With a shortcut, since the sign of the result can then not be told from the input.
        output: Option<Array>,
    }

    impl Kernel<3> for Norm {
        type Array = Array;
        type Saved = Saved;

        fn forward(&self, [x, weight, bias]: [Array; 3]) -> (Array, Saved) {
            let output = self.apply(x.clone(), [&weight, &bias], None);
            (output, Saved { x, weight, bias, output: None })
        }

        fn infer(&self, [x, weight, bias]: [Array; 3]) -> Array {
            self.apply(x, [&weight, &bias], None)
        }

        fn backward(&self, saved: Saved, gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
            self.gradients(&saved, gradient, wanted)
        }
    }

    impl Kernel<4> for Norm {
        type Array = Array;
        type Saved = Saved;

        fn forward(&self, [x, weight, bias, shortcut]: [Array; 4]) -> (Array, Saved) {
            let output = self.apply(x.clone(), [&weight, &bias], Some(&shortcut));
            (output.clone(), Saved { x, weight, bias, output: Some(output) })
        }

        fn infer(&self, [x, weight, bias, shortcut]: [Array; 4]) -> Array {
            self.apply(x, [&weight, &bias], Some(&shortcut))
        }

        fn backward(&self, saved: Saved, gradient: Array, wanted: [bool; 4]) -> [Option<Array>; 4] {
            let gradient = match &saved.output {
                Some(output) => crate::each::zip(
                    gradient,
                    output,
                    #[inline(always)]
                    #[allow(clippy::redundant_closure, reason = "the attribute above keeps it in the vector code")]
                    |gradient, output| open(gradient, output),
                ),
                None => gradient,
            };
            let of_shortcut = wanted[3].then(|| gradient.clone());
            let [x, weight, bias] = self.gradients(&saved, gradient, [wanted[0], wanted[1], wanted[2]]);
            [x, weight, bias, of_shortcut]
        }
    }

    impl Norm {
        fn apply(&self, mut x: Array, [weight, bias]: [&[f32]; 2], shortcut: Option<&Array>) -> Array {
            let planes = Planes::of(&x);
            let value = |channel: usize| self.value(channel, weight, bias);
            let (relu, dims) = (self.relu, x.dims().to_vec());
            if let (Some(values), None) = (x.overwrite(), shortcut) {
                let size = planes.piece();
                pieces(values, size, |index, piece| {
                    planes.each(index * size, piece, |channel, _, piece| {
                        let value = value(channel);
                        vectorised(
                            #[inline(always)]
                            || {
                                piece.iter_mut().for_each(
                                    #[inline(always)]
                                    |x| *x = finish(relu, value(*x)),
                                )
                            },
                        );
                    });
                });
                return x;
            }
            let values = filled(x.len(), planes.pixels.max(1), |at, block| {
                planes.each(at, block, |channel, at, block| {
                    let (value, x) = (value(channel), &x[at..at + block.len()]);
                    vectorised(
                        #[inline(always)]
                        || match shortcut {
                            Some(shortcut) => {
                                let shortcut = &shortcut[at..at + block.len()];
                                for ((out, x), shortcut) in block.iter_mut().zip(x).zip(shortcut) {
                                    *out = finish(relu, value(*x) + shortcut);
                                }
                            }
                            None => {
                                for (out, x) in block.iter_mut().zip(x) {
                                    *out = finish(relu, value(*x));
                                }
                            }
                        },
                    );
                });
            });
            Array::new(values, &dims)
        }

        /// What a channel's values become before the ReLU.
        #[inline(always)]
        fn value(&self, channel: usize, weight: &[f32], bias: &[f32]) -> impl Fn(f32) -> f32 + Copy + use<> {
            let [mean, inverse] = self.statistics.0[channel];
            let (slope, bias) = (inverse * weight[channel], bias[channel]);
            #[inline(always)]
            move |x| (x - mean) * slope + bias
        }

        /// The gradients of values, weight and bias. With a shortcut, `gradient` is that before the ReLU.
        fn gradients(&self, saved: &Saved, gradient: Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
            let Saved { x, weight, bias, output } = saved;
            let planes = Planes::of(x);
            let mask = self.relu && output.is_none();
            // Sums of the gradient, and of its products with the normalised values.
            let read = wanted[1] || wanted[2] || (wanted[0] && self.of_batch);
            let sums = collect(if read { planes.channels } else { 0 }, |channel| {
                let value = self.value(channel, weight, bias);
                let [mean, inverse] = self.statistics.0[channel];
                planes.sums(
                    channel,
                    [&gradient, x],
                    #[inline(always)]
                    |[gradient, x]| {
                        let gradient = if mask { open(gradient, value(x)) } else { gradient };
                        [gradient, gradient * ((x - mean) * inverse)]
                    },
                )
            });
            let row = |index: usize| Array::new(sums.iter().map(|sums| sums[index] as f32).collect(), weight.dims());
            let rows = [wanted[1].then(|| row(1)), wanted[2].then(|| row(0))];
            let values = wanted[0].then(|| self.input_gradient(saved, gradient, mask, &sums));
            let [weight, bias] = rows;
            [values, weight, bias]
        }

        fn input_gradient(&self, saved: &Saved, mut gradient: Array, mask: bool, sums: &[[f64; 2]]) -> Array {
            let Saved { x, weight, bias, .. } = saved;
            let planes = Planes::of(x);
            let count = (planes.batch * planes.pixels) as f64;
            let map = |channel: usize| {
                let value = self.value(channel, weight, bias);
                let [mean, inverse] = self.statistics.0[channel];
                let slope = inverse * weight[channel];
                // Statistics that were given do not move with the input.
                let sums = if self.of_batch { sums[channel] } else { [0.0; 2] };
                let [shift, tilt] = sums.map(|sum| (f64::from(slope) * sum / count) as f32);
                let tilt = tilt * inverse;
                #[inline(always)]
                move |gradient: f32, x: f32| {
                    let gradient = if mask { open(gradient, value(x)) } else { gradient };
                    slope * gradient - shift - (x - mean) * tilt
                }
            };
            if let Some(values) = gradient.overwrite() {
                let size = planes.piece();
                pieces(values, size, |index, piece| {
                    planes.each(index * size, piece, |channel, at, piece| {
                        let (map, x) = (map(channel), &x[at..at + piece.len()]);
                        vectorised(
                            #[inline(always)]
                            || {
                                piece.iter_mut().zip(x).for_each(
                                    #[inline(always)]
                                    |(out, x)| *out = map(*out, *x),
                                )
                            },
                        );
                    });
                });
                return gradient;
            }
            let values = filled(x.len(), planes.pixels.max(1), |at, block| {
                planes.each(at, block, |channel, at, block| {
                    let (map, x) = (map(channel), &x[at..at + block.len()]);
                    let gradient = &gradient[at..at + block.len()];
                    vectorised(
                        #[inline(always)]
                        || {
                            for ((out, gradient), x) in block.iter_mut().zip(gradient).zip(x) {
                                *out = map(*gradient, *x);
                            }
                        },
                    );
                });
            });
            Array::new(values, x.dims())
        }
    }

    /// Perhaps a ReLU; what is no number stays so.
    #[inline(always)]
    fn finish(relu: bool, value: f32) -> f32 {
        if relu && value <= 0.0 { 0.0 } else { value }
    }

    /// The gradient before a ReLU.
    #[inline(always)]
    fn open(gradient: f32, value: f32) -> f32 {
        if value <= 0.0 { 0.0 } else { gradient }
    }

    /// An array as planes of pixels, one for every picture and channel.
    #[derive(Clone, Copy)]
    struct Planes {
        batch: usize,
        channels: usize,
        pixels: usize,
    }

    impl Planes {
        /// Elements after which strands of `f32` go into a sum of `f64`.
        const TRUSTED: usize = 32 * 1024;

        fn of(x: &Array) -> Self {
            let dims = x.dims();
            Self { batch: dims[0], channels: dims[1], pixels: dims[2..].iter().product() }
        }

        /// Whole planes worth handing to a thread.
        fn piece(&self) -> usize {
            (crate::threads::PIECE / self.pixels.max(1)).max(1) * self.pixels.max(1)
        }

        /// Applies `work` to the planes in `values`, which begin at element `at` of the array: channel, first element, values.
        fn each(&self, at: usize, values: &mut [f32], work: impl Fn(usize, usize, &mut [f32])) {
            for (index, plane) in values.chunks_mut(self.pixels).enumerate() {
                let at = at + index * self.pixels;
                work(at / self.pixels % self.channels, at, plane);
            }
        }

        /// Sums over a channel of terms of `N` arrays' elements, in an order that depends on the shape alone.
        #[inline(always)]
        fn sums<const N: usize, const M: usize>(
            &self,
            channel: usize,
            arrays: [&[f32]; N],
            term: impl Fn([f32; N]) -> [f32; M] + Copy,
        ) -> [f64; M] {
            let mut sums = [0.0; M];
            let group = (Self::TRUSTED / self.pixels.max(1)).max(1);
            for first in (0..self.batch).step_by(group) {
                let mut strands = [[0.0f32; LANES]; M];
                vectorised(
                    #[inline(always)]
                    || {
                        for picture in first..self.batch.min(first + group) {
                            let at = (picture * self.channels + channel) * self.pixels;
                            add(
                                &mut strands,
                                arrays.map(
                                    #[inline(always)]
                                    |array| &array[at..at + self.pixels],
                                ),
                                term,
                            );
                        }
                    },
                );
                for (sum, strands) in sums.iter_mut().zip(strands) {
                    *sum += strands.into_iter().map(f64::from).sum::<f64>();
                }
            }
            sums
        }
    }

    /// Adds the terms of `N` rows of one length to strands, element `i` to strand `i % LANES`.
    #[inline(always)]
    fn add<const N: usize, const M: usize>(
        strands: &mut [[f32; LANES]; M],
        rows: [&[f32]; N],
        term: impl Fn([f32; N]) -> [f32; M],
    ) {
        let mut local = *strands;
        let parts = rows.map(
            #[inline(always)]
            |row| row.as_chunks::<LANES>(),
        );
        let count = parts[0].0.len();
        for index in 0..count {
            for lane in 0..LANES {
                let terms = term(parts.map(
                    #[inline(always)]
                    |(chunks, _)| chunks[index][lane],
                ));
                for (strands, term) in local.iter_mut().zip(terms) {
                    strands[lane] += term;
                }
            }
        }
        for lane in 0..parts[0].1.len() {
            let terms = term(parts.map(
                #[inline(always)]
                |(_, rest)| rest[lane],
            ));
            for (strands, term) in local.iter_mut().zip(terms) {
                strands[lane] += term;
            }
        }
        *strands = local;
    }
}
