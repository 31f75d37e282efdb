//! The layers that the models share. Fields carry PyTorch's names and layouts, so weights load by key alone.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use robustify_kernels::Then;
use robustify_rng::{Key, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Pass;

/// Where the weights of a new model come from, and the device they go to.
pub struct Init {
    /// Absent when weights will be loaded.
    stream: Option<Stream>,
    device: Device,
    /// Standard deviations at which normals are cut off.
    cut: f64,
    /// Whether kernels of convolutions come from the normal of linear maps.
    plain_kernels: bool,
}

/// Where normals are cut off, in standard deviations, unless a network says otherwise.
const CUT: f64 = 2.0;

impl Init {
    /// Weights that depend on `seed` alone, on any backend.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { stream: Some(Key::new(seed, "weights").stream()), ..Self::blank(device) }
    }

    /// Weights that take no memory before they are loaded; one that is read before that is zero.
    pub fn blank(device: &Device) -> Self {
        Self { stream: None, device: device.clone(), cut: CUT, plain_kernels: false }
    }

    /// What `build` makes while normals are cut off at one standard deviation, and kernels of convolutions drawn as linear maps are.
    pub(crate) fn cut_at_one<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        (self.cut, self.plain_kernels) = (1.0, true);
        let built = build(self);
        (self.cut, self.plain_kernels) = (CUT, false);
        built
    }

    /// Where the weights go.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Normal with mean zero, cut off at two standard deviations (in BEiT's form of a network at one).
    pub fn truncated_normal<const D: usize>(&mut self, shape: [usize; D], std: f64) -> Param<Tensor<D>> {
        let Some(stream) = &mut self.stream else { return self.zeros(shape) };
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            let draw = stream.normal();
            if draw.abs() <= self.cut {
                values.push((draw * std) as f32);
            }
        }
        Param::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Uniform between `-bound` and `bound`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let Some(stream) = &mut self.stream else { return self.zeros(shape) };
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| stream.uniform(-bound, bound) as f32).collect();
        Param::from_data(TensorData::new(values, shape), &self.device)
    }

    /// All elements equal to `value`.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        if self.stream.is_none() {
            return self.zeros(shape);
        }
        Param::from_tensor(Tensor::full(shape, value, &self.device))
    }

    fn zeros<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        let zeros = move |device: &Device, tracked: bool| Tensor::zeros(shape, device).set_require_grad(tracked);
        Param::uninitialized(ParamId::new(), zeros, self.device.clone(), true, shape.into())
    }
}

/// Standard deviation of the weights of new linear maps.
pub(crate) const STD: f64 = 0.02;

/// An affine map. `weight` is `[outputs, inputs]`, as PyTorch has it.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Weights truncated normal with standard deviation 0.02, bias zero (timm's initialisation of ViT).
    pub fn new(init: &mut Init, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self::with_std(init, inputs, outputs, bias, STD)
    }

    /// The same with another standard deviation.
    pub fn with_std(init: &mut Init, inputs: usize, outputs: usize, bias: bool, std: f64) -> Self {
        let weight = init.truncated_normal([outputs, inputs], std);
        Self { weight, bias: bias.then(|| init.constant([outputs], 0.0)) }
    }

    /// # Shapes
    /// - x: `[.., inputs]`
    /// - output: `[.., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        robustify_kernels::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}

/// What fvcore 0.1.5 counts for one element that a LayerNorm puts out.
pub(crate) const LAYER_NORM_MACS: usize = 5;
/// What fvcore 0.1.5 counts for one element that a BatchNorm puts out in evaluation.
pub(crate) const BATCH_NORM_MACS: usize = 2;

/// Layer normalisation over the last axis. Source: Ba et al. 2016, arXiv:1607.06450.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
    eps: f64,
}

impl LayerNorm {
    /// The identity map after normalisation.
    pub fn new(init: &mut Init, width: usize, eps: f64) -> Self {
        Self { weight: init.constant([width], 1.0), bias: init.constant([width], 0.0), eps }
    }

    /// # Shapes
    /// - x: `[.., width]`
    /// - output: `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        robustify_kernels::layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }

    /// The normalisation without weight and bias, which several layers on one input can share.
    ///
    /// # Shapes
    /// - x: `[.., width]`
    /// - output: `[.., width]`
    pub fn normalise<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        robustify_kernels::normalise(x, self.eps)
    }
}

/// The activation between the two layers of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * Phi(x)`, exact (Hendrycks & Gimpel 2016, arXiv:1606.08415).
    #[default]
    Gelu,
    /// `x * sigmoid(1.702 x)`, with which OpenAI trained CLIP.
    QuickGelu,
}

impl Activation {
    /// # Shapes
    /// - x: any
    /// - output: that of `x`
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => robustify_kernels::gelu(x),
            Self::QuickGelu => robustify_kernels::quick_gelu(x),
        }
    }
}

/// A convolution in two dimensions, padding as PyTorch counts it.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[outputs, inputs, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// Weights normal with variance `2 / (outputs * kernel^2)` (He et al. 2015, fan-out, as torchvision's ResNet).
    pub fn new(init: &mut Init, io: [usize; 2], kernel: usize, stride: usize, padding: usize, bias: bool) -> Self {
        let [inputs, outputs] = io;
        let std = if init.plain_kernels { STD } else { (2.0 / (outputs * kernel * kernel) as f64).sqrt() };
        let weight = init.truncated_normal([outputs, inputs, kernel, kernel], std);
        Self { weight, bias: bias.then(|| init.constant([outputs], 0.0)), stride, padding }
    }

    /// # Shapes
    /// - x: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        robustify_kernels::conv2d(x, self.weight.val(), bias, [self.stride; 2], [self.padding; 2])
    }
}

/// Batch normalisation. Source: Ioffe & Szegedy 2015, arXiv:1502.03167; momentum 0.1 and unbiased running variance as PyTorch.
///
/// A forward never changes the running statistics; see [`crate::BatchStatistics`].
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// `[channels]`; takes no gradient.
    pub running_mean: Param<Tensor<1>>,
    /// `[channels]`; takes no gradient.
    pub running_var: Param<Tensor<1>>,
}

impl BatchNorm2d {
    const EPS: f64 = 1e-5;
    const MOMENTUM: f64 = 0.1;

    /// The identity map after normalisation.
    pub fn new(init: &mut Init, channels: usize) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: init.constant([channels], 0.0).set_require_grad(false),
            running_var: init.constant([channels], 1.0).set_require_grad(false),
        }
    }

    /// The normalisation and what follows it.
    ///
    /// # Shapes
    /// - x: `[batch, channels, height, width]`
    /// - output: that of `x`
    pub fn forward(&self, x: Tensor<4>, then: Then, pass: &Pass<'_>) -> Tensor<4> {
        let affine = [self.weight.val(), self.bias.val()];
        let Some(statistics) = pass.statistics() else {
            let running = [self.running_mean.val(), self.running_var.val()];
            return robustify_kernels::batch_norm(x, affine, running, Self::EPS, then);
        };
        let [batch, _, height, width] = x.dims();
        let count = (batch * height * width) as f64;
        let (output, [mean, variance]) = robustify_kernels::batch_norm_train(x, affine, Self::EPS, then);
        let unbiased = variance * (count / (count - 1.0).max(1.0));
        statistics.push(mean.without_autodiff(), unbiased.without_autodiff());
        output
    }

    /// Moves the running statistics towards those of a batch.
    #[must_use]
    pub fn moved(self, mean: Tensor<1>, variance: Tensor<1>) -> Self {
        let mix = |old: Param<Tensor<1>>, new: Tensor<1>| {
            old.map(|old| (old * (1.0 - Self::MOMENTUM) + new * Self::MOMENTUM).set_require_grad(false))
        };
        Self { running_mean: mix(self.running_mean, mean), running_var: mix(self.running_var, variance), ..self }
    }
}
