//! Batch normalisation and what follows it.

use burn::tensor::Tensor;
use tch::IValue;

use super::{Array, script};
use crate::batch_norm::Then;
use crate::op::{self, Kernel};

/// See [`crate::batch_norm`].
pub(crate) fn batch_norm(
    x: Tensor<4>,
    affine: [Tensor<1>; 2],
    statistics: [Tensor<1>; 2],
    eps: f64,
    then: Then,
) -> Tensor<4> {
    run(x, affine, Norm { statistics: statistics.map(Array::of), of_batch: false, eps, relu: false }, then)
}

/// See [`crate::batch_norm_train`]; there must be two values or more in a channel.
pub(crate) fn batch_norm_train(
    x: Tensor<4>,
    affine: [Tensor<1>; 2],
    eps: f64,
    then: Then,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let [batch, channels, height, width] = x.dims();
    let count = (batch * height * width) as f64;
    let row = || Array::new(tch::Tensor::zeros([channels as i64], (tch::Kind::Float, tch::Device::Cpu)));
    let norm = Norm { statistics: [row(), row()], of_batch: true, eps, relu: false };
    let [mean, variance] = norm.statistics.clone();
    let y = run(x, affine, norm, then);
    // LibTorch divides by one less than the count where it keeps statistics, though not where it normalises.
    (y, [mean.tensor(), variance.tensor() * ((count - 1.0) / count)])
}

fn run(x: Tensor<4>, [weight, bias]: [Tensor<1>; 2], norm: Norm, then: Then) -> Tensor<4> {
    let norm = Norm { relu: !matches!(then, Then::Nothing), ..norm };
    let [x, weight, bias] = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    match then {
        Then::AddRelu(shortcut) => op::run(norm, [x, weight, bias, shortcut.into_dispatch()]),
        _ => op::run(norm, [x, weight, bias]),
    }
}

/// Inputs are values, weight, bias and perhaps a shortcut.
#[derive(Clone, Debug)]
struct Norm {
    /// Mean and variance, each `[channels]`. With `of_batch` a forward writes them, the variance unbiased.
    statistics: [Array; 2],
    of_batch: bool,
    eps: f64,
    relu: bool,
}

#[derive(Clone, Debug)]
struct Saved {
    x: Array,
    weight: Array,
    /// Mean and reciprocal standard deviation of the batch; empty unless they were needed.
    moments: [Array; 2],
    /// Whose zeros tell where a ReLU was shut.
    output: Option<Array>,
}

impl<const N: usize> Kernel<N> for Norm {
    type Array = Array;
    type Saved = Saved;

    fn forward(&self, inputs: [Array; N]) -> (Array, Saved) {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let [mean, variance] = &self.statistics;
        // A momentum of one makes the statistics kept those of the batch.
        let (mut y, batch_mean, batch_inverse) = x.native_batch_norm(
            Some(&**weight),
            Some(&*inputs[2]),
            Some(&**mean),
            Some(&**variance),
            self.of_batch,
            1.0,
            self.eps,
        );
        if let Some(shortcut) = inputs.get(3) {
            y = y.g_add_(shortcut);
        }
        if self.relu {
            y = y.relu_();
        }
        let y = Array::new(y);
        let output = self.relu.then(|| y.clone());
        (
            y,
            Saved {
                x: x.clone(),
                weight: weight.clone(),
                moments: [batch_mean, batch_inverse].map(Array::new),
                output,
            },
        )
    }

    fn backward(&self, saved: Saved, gradient: Array, wanted: [bool; N]) -> [Option<Array>; N] {
        let gradient = match &saved.output {
            Some(output) => Array::new(output.threshold_backward(&gradient, 0.0)),
            None => gradient,
        };
        let arguments = vec![
            script::tensor(&gradient),
            script::tensor(&saved.x),
            script::tensor(&saved.weight),
            script::tensor(&self.statistics[0]),
            script::tensor(&self.statistics[1]),
            script::tensor(&saved.moments[0]),
            script::tensor(&saved.moments[1]),
            IValue::Bool(self.of_batch),
            IValue::Double(self.eps),
            IValue::BoolList(wanted[..3].to_vec()),
        ];
        let mut found = script::gradients("batch_norm", arguments).map(|found| found.map(Array::new)).into_iter();
        std::array::from_fn(|input| match input {
            3 => wanted[3].then(|| gradient.clone()),
            _ => found.next().flatten(),
        })
    }
}
