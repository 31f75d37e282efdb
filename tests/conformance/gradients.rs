//! Gradients of the ops that models are made of.

use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Int, Tensor, activation, module};
use robustify_kernels::{Extras, Then};
use robustify_rng::Key;

use crate::{device, tensor};

type Inputs = Vec<Tensor<4>>;

/// An op with the shapes of its inputs.
struct Op {
    name: &'static str,
    shapes: &'static [[usize; 4]],
    forward: fn(Inputs) -> Tensor<4>,
}

const OPS: &[Op] = &[
    Op { name: "matmul", shapes: &[[2, 2, 3, 4], [2, 2, 4, 5]], forward: |x| x[0].clone().matmul(x[1].clone()) },
    Op {
        name: "matmul, transposed",
        shapes: &[[2, 2, 3, 4], [2, 2, 5, 4]],
        forward: |x| x[0].clone().matmul(x[1].clone().transpose()),
    },
    Op { name: "softmax", shapes: &[[2, 2, 3, 5]], forward: |x| activation::softmax(x[0].clone() * 2.0, 3) },
    Op { name: "log_softmax", shapes: &[[1, 1, 3, 5]], forward: |x| activation::log_softmax(x[0].clone() * 2.0, 3) },
    Op { name: "gelu", shapes: &[[1, 2, 3, 5]], forward: |x| robustify_kernels::gelu(x[0].clone()) },
    Op { name: "quick gelu", shapes: &[[1, 2, 3, 5]], forward: |x| robustify_kernels::quick_gelu(x[0].clone()) },
    Op { name: "layer_norm", shapes: &[[1, 2, 3, 8], [1, 1, 1, 8], [1, 1, 1, 8]], forward: layer_norm },
    Op { name: "normalise", shapes: &[[1, 2, 3, 8]], forward: |x| robustify_kernels::normalise(x[0].clone(), 1e-6) },
    Op { name: "linear", shapes: &[[1, 2, 3, 8], [1, 1, 5, 8], [1, 1, 1, 5]], forward: linear },
    Op { name: "batch_norm_train", shapes: &[[3, 2, 4, 4], [1, 1, 1, 2], [1, 1, 1, 2]], forward: batch_norm_train },
    Op {
        name: "batch_norm, shortcut and ReLU",
        shapes: &[[3, 2, 4, 4], [1, 1, 1, 2], [1, 1, 1, 2], [3, 2, 4, 4]],
        forward: batch_norm,
    },
    Op { name: "conv2d 3x3 stride 2", shapes: &[[2, 3, 7, 6], [4, 3, 3, 3]], forward: |x| conv(x, 2, 1) },
    Op { name: "conv2d 1x1", shapes: &[[2, 3, 4, 5], [4, 3, 1, 1]], forward: |x| conv(x, 1, 0) },
    Op { name: "conv2d, patches", shapes: &[[2, 3, 8, 8], [5, 3, 4, 4]], forward: |x| conv(x, 4, 0) },
    Op {
        name: "max_pool2d",
        shapes: &[[2, 2, 7, 7]],
        forward: |x| module::max_pool2d(x[0].clone(), MaxPoolOptions::new([3, 3]).with_stride([2, 2])),
    },
    Op {
        name: "avg_pool2d",
        shapes: &[[2, 2, 6, 6]],
        forward: |x| module::avg_pool2d(x[0].clone(), AvgPoolOptions::new([2, 2]).with_stride([2, 2])),
    },
    Op { name: "mean", shapes: &[[2, 3, 4, 5]], forward: |x| x[0].clone().mean_dim(2) },
    Op {
        name: "roll",
        shapes: &[[2, 4, 4, 3]],
        forward: |x| Tensor::cat(vec![x[0].clone().narrow(1, 1, 3), x[0].clone().narrow(1, 0, 1)], 1),
    },
    Op {
        name: "windows",
        shapes: &[[2, 4, 6, 3]],
        forward: |x| x[0].clone().reshape([2, 2, 2, 3, 2, 3]).permute([0, 1, 3, 2, 4, 5]).reshape([12, 2, 2, 3]),
    },
    Op { name: "embedding", shapes: &[[1, 1, 6, 4]], forward: embedding },
    Op {
        name: "unit length",
        shapes: &[[1, 2, 3, 5]],
        forward: |x| x[0].clone() / (x[0].clone() * x[0].clone()).sum_dim(3).sqrt(),
    },
    Op { name: "clamped exponent", shapes: &[[1, 2, 3, 5]], forward: |x| x[0].clone().clamp_max(4.0).exp() },
    Op { name: "attention", shapes: &[[1, 2, 5, 24]], forward: |x| attention(x, Extras::default()) },
    Op { name: "attention, bias and mask", shapes: &[[1, 2, 5, 24], [1, 2, 5, 5]], forward: attention_with_extras },
];

/// The slope of `sum(op(x) * probe)` along a direction is the scalar product of the direction with the gradient, and it
/// is also the limit of differences of values, which flex computes.
#[test]
fn gradients_are_slopes() {
    let device = device();
    let flex = robustify_device::open(Some("flex")).unwrap();
    for (index, op) in OPS.iter().enumerate() {
        let draw = |what: &str, device: &Device| inputs(op, Key::new(index as u64, what), device);
        let host = draw("inputs", &flex);
        let direction = draw("direction", &flex);
        let output = (op.forward)(host.clone());
        let probe = random(output.dims(), Key::new(index as u64, "probe"), &flex);

        const STEP: f32 = 2e-3;
        let value = |sign: f32| -> f64 {
            let moved = host.iter().zip(&direction).map(|(x, d)| x.clone() + d.clone() * (sign * STEP)).collect();
            f64::from(((op.forward)(moved) * probe.clone()).sum().into_scalar::<f32>())
        };
        // Fourth order: the error of the plain difference drops out.
        let wide = |step: f32| (value(step) - value(-step)) / f64::from(2.0 * step * STEP);
        let slope = (4.0 * wide(1.0) - wide(2.0)) / 3.0;

        let tracked: Inputs = draw("inputs", &device).into_iter().map(|x| x.autodiff().require_grad()).collect();
        let got = (op.forward)(tracked.clone());
        let far = largest_difference(got.clone().without_autodiff(), output);
        assert!(far <= crate::TOLERANCE, "{}: values differ by {far:e} from flex", op.name);
        let probe = random(got.dims(), Key::new(index as u64, "probe"), &device);
        let gradients = (got * probe).sum().backward();
        let along = |(x, d): (&Tensor<4>, Tensor<4>)| -> f64 {
            let gradient = x.grad(&gradients).unwrap_or_else(|| panic!("{}: an input has no gradient", op.name));
            f64::from((gradient * d).sum().into_scalar::<f32>())
        };
        let product: f64 = tracked.iter().zip(draw("direction", &device)).map(along).sum();
        let scale = slope.abs().max(1.0);
        assert!((product - slope).abs() <= 2e-3 * scale, "{}: gradient gives {product}, values give {slope}", op.name);
    }
}

fn inputs(op: &Op, key: Key, device: &Device) -> Inputs {
    op.shapes.iter().enumerate().map(|(place, shape)| random(*shape, key.with(place as u64), device)).collect()
}

fn random(shape: [usize; 4], key: Key, device: &Device) -> Tensor<4> {
    let mut stream = key.stream();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    tensor(device, shape, |index| values[index])
}

fn largest_difference(got: Tensor<4>, expected: Tensor<4>) -> f32 {
    let (got, expected) = (crate::golden::entry(got).values, crate::golden::entry(expected).values);
    let scale = expected.iter().fold(1e-6, |largest: f32, value| largest.max(value.abs()));
    // `max` would pass over what is no number.
    let larger = |largest: f32, next: f32| if next <= largest { largest } else { next };
    got.iter().zip(&expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, larger)
}

fn flat<const D: usize>(x: &Tensor<4>, shape: [usize; D]) -> Tensor<D> {
    x.clone().reshape(shape)
}

fn layer_norm(x: Inputs) -> Tensor<4> {
    robustify_kernels::layer_norm(x[0].clone(), flat(&x[1], [8]), flat(&x[2], [8]), 1e-6)
}

fn linear(x: Inputs) -> Tensor<4> {
    robustify_kernels::linear(x[0].clone(), flat(&x[1], [5, 8]), Some(flat(&x[2], [5])))
}

fn batch_norm_train(x: Inputs) -> Tensor<4> {
    robustify_kernels::batch_norm_train(x[0].clone(), [flat(&x[1], [2]), flat(&x[2], [2])], 1e-5, Then::Nothing).0
}

fn batch_norm(x: Inputs) -> Tensor<4> {
    let row = |values| Tensor::<1>::from_floats(values, &x[0].device().without_autodiff());
    let (affine, statistics) = ([flat(&x[1], [2]), flat(&x[2], [2])], [row([0.1, -0.2]), row([0.5, 2.0])]);
    robustify_kernels::batch_norm(x[0].clone(), affine, statistics, 1e-5, Then::AddRelu(x[3].clone()))
}

fn conv(x: Inputs, stride: usize, padding: usize) -> Tensor<4> {
    robustify_kernels::conv2d(x[0].clone(), x[1].clone(), None, [stride; 2], [padding; 2])
}

fn embedding(x: Inputs) -> Tensor<4> {
    let rows = Tensor::<1, Int>::from_data([3_i64, 0, 3, 5, 1], &x[0].device().without_autodiff());
    x[0].clone().select(2, rows)
}

fn attention(x: Inputs, extras: Extras) -> Tensor<4> {
    robustify_kernels::self_attention(flat(&x[0], [2, 5, 24]), 2, 0.5, extras).unsqueeze()
}

/// What is not to be attended to has a low bias, on any backend: LibTorch's fused attention reads a boolean mask the other way
/// round.
fn attention_with_extras(x: Inputs) -> Tensor<4> {
    let dropped = |index: usize| if index.is_multiple_of(3) { 0.0 } else { 1.5 };
    let mask = tensor(&x[0].device().without_autodiff(), [2, 2, 5, 5], dropped);
    attention(x.clone(), Extras { bias: Some(x[1].clone()), mask: Some(mask) })
}
