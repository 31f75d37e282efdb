//! Every kernel against the composition of Burn's ops, and its gradients against the composition's, over odd sizes and inputs
//! that are not contiguous.

use burn::tensor::{DType, Device, Tensor, TensorData, activation};
use robustify_kernels::{AdamWStep, Extras, Then};

/// Every backend in this build that has kernels, under autodiff: they run where the inputs are `f32`.
fn devices() -> impl Iterator<Item = Device> {
    let compiled = robustify_device::compiled().into_iter().filter(|backend| backend.runs_on_cpu());
    compiled.map(|backend| robustify_device::open(Some(backend.as_str())).unwrap().autodiff())
}

/// Values in [-3, 3] that look like noise but are the same in every run.
fn noise<const D: usize>(dims: [usize; D], seed: u32) -> TensorData {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 6.0 - 3.0
    };
    let count = dims.iter().product();
    TensorData::new((0..count).map(|_| next()).collect::<Vec<f32>>(), dims)
}

/// The largest difference over the largest element of `expected`.
fn difference<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let scale = expected.clone().abs().max().into_scalar::<f32>().max(1e-30);
    (found - expected).abs().max().into_scalar::<f32>() / scale
}

#[test]
fn gelu_and_quick_gelu_agree_with_their_compositions() {
    for device in devices() {
        type Function = fn(Tensor<3>) -> Tensor<3>;
        let pairs: [(Function, Function); 2] = [
            (robustify_kernels::gelu, activation::gelu),
            (robustify_kernels::quick_gelu, |x| activation::sigmoid(x.clone() * 1.702) * x),
        ];
        for (kernel, composed) in pairs {
            for dims in [[1, 1, 1], [3, 5, 7], [9, 65, 193]] {
                // A view whose axes are exchanged.
                let x = Tensor::<3>::from_data(noise(dims, 1), &device).swap_dims(0, 2).require_grad();
                let weights = Tensor::<3>::from_data(noise(x.dims(), 2), &device);
                let both = [kernel, composed].map(|function| {
                    let y = function(x.clone());
                    let gradients = (y.clone() * weights.clone()).sum().backward();
                    (y.inner(), x.grad(&gradients).unwrap())
                });
                let [(y, gradient), (expected, expected_gradient)] = both;
                assert!(difference(y, expected) < 1e-5);
                assert!(difference(gradient, expected_gradient) < 1e-4);
            }
        }
    }
}

/// Compares a kernel with its composition in the result and in the gradients of all inputs.
///
/// The composition runs on the same inputs and is made of Burn's own ops.
struct Comparison {
    name: String,
    /// Result and gradients; every array flat.
    kernel: Vec<Tensor<1>>,
    composed: Vec<Tensor<1>>,
}

impl Comparison {
    fn check(self) {
        for (index, (found, expected)) in self.kernel.into_iter().zip(self.composed).enumerate() {
            let bound = if index == 0 { 1e-5 } else { 1e-4 };
            let difference = difference(found, expected);
            assert!(difference < bound, "{}, array {index}: {difference}", self.name);
        }
    }
}

/// Flat copies of a result and of the gradients of its inputs, for random weights of the result's elements.
macro_rules! result_and_gradients {
    ($y:expr, $($input:expr),*) => {{
        let y = $y;
        let weights = Tensor::from_data(noise(y.dims(), 99), &y.device());
        let gradients = (y.clone() * weights).sum().backward();
        vec![y.inner().flatten::<1>(0, -1), $($input.grad(&gradients).unwrap().flatten::<1>(0, -1)),*]
    }};
}

fn input<const D: usize>(device: &Device, dims: [usize; D], seed: u32) -> Tensor<D> {
    Tensor::from_data(noise(dims, seed), device).require_grad()
}

#[test]
fn layer_norm_agrees_with_its_composition() {
    use burn::tensor::module::layer_norm;
    for device in devices() {
        for [rows, width] in [[1, 1], [3, 7], [130, 192], [65, 33]] {
            let (x, weight, bias) =
                (input(&device, [width, rows], 1), input(&device, [width], 2), input(&device, [width], 3));
            let view = || x.clone().transpose().unsqueeze::<3>();
            let name = format!("{rows} rows of {width}");
            let kernel = robustify_kernels::layer_norm(view(), weight.clone(), bias.clone(), 1e-6);
            let composed = layer_norm(view(), weight.clone(), Some(bias.clone()), 1e-6);
            let kernel = result_and_gradients!(kernel, x, weight, bias);
            let composed = result_and_gradients!(composed, x, weight, bias);
            // A single element is its own mean: all that is left is rounding.
            if width > 1 {
                Comparison { name: name.clone(), kernel, composed }.check();
            }
            let kernel = robustify_kernels::normalise(view(), 1e-2);
            let composed = layer_norm(view(), Tensor::ones([width], &device), None, 1e-2);
            let kernel = result_and_gradients!(kernel, x);
            let composed = result_and_gradients!(composed, x);
            if width > 1 {
                Comparison { name, kernel, composed }.check();
            }
        }
    }
}

#[test]
fn linear_agrees_with_its_composition() {
    for device in devices() {
        for [rows, inputs, outputs] in [[1, 1, 1], [7, 5, 3], [300, 65, 130]] {
            let (x, weight, bias) = (
                input(&device, [inputs, rows, 2], 1),
                input(&device, [inputs, outputs], 2),
                input(&device, [outputs], 3),
            );
            let view = || (x.clone().swap_dims(0, 2), weight.clone().transpose());
            let name = format!("{rows} rows of {inputs} to {outputs}");
            let kernel = |bias| {
                let (x, weight) = view();
                robustify_kernels::linear(x, weight, bias)
            };
            let composed = || {
                let (x, weight) = view();
                x.matmul(weight.transpose().unsqueeze::<3>())
            };
            let shifted = composed() + bias.clone().unsqueeze::<3>();
            let pairs = [
                (result_and_gradients!(kernel(None), x, weight), result_and_gradients!(composed(), x, weight)),
                (
                    result_and_gradients!(kernel(Some(bias.clone())), x, weight, bias),
                    result_and_gradients!(shifted, x, weight, bias),
                ),
            ];
            for (kernel, composed) in pairs {
                Comparison { name: name.clone(), kernel, composed }.check();
            }
        }
    }
}

#[test]
fn a_step_of_adamw_is_that_of_its_formula_and_leaves_what_others_read() {
    let step = AdamWStep { keep: 0.99, rate: 0.1, betas: [0.9, 0.999], root_bias: 0.5, eps: 1e-8 };
    for device in devices() {
        let device = device.without_autodiff();
        for length in [1, 33, 70_001] {
            let [x, m, gradient] = [1, 2, 3].map(|seed| Tensor::<1>::from_data(noise([length], seed), &device));
            let v = m.clone().abs();
            let (new, moments) = robustify_kernels::adamw(x.clone(), [m.clone(), v.clone()], gradient.clone(), &step);
            assert_eq!(x.clone().into_data(), noise([length], 1));
            let expected_m = m * 0.9 + gradient.clone() * 0.1;
            let expected_v = v * 0.999 + gradient.clone() * gradient * 0.001;
            let expected = x * 0.99 - expected_m.clone() / (expected_v.clone().sqrt() / 0.5 + 1e-8) * 0.1;
            let [m, v] = moments;
            for (found, expected) in [(new, expected), (m, expected_m), (v, expected_v)] {
                assert!(difference(found, expected) < 1e-6);
            }
        }
    }
}

/// Attention as the paper writes it.
fn composed_attention(qkv: Tensor<3>, heads: usize, scale: f64, extras: Extras) -> Tensor<3> {
    let [rows, tokens, width] = qkv.dims();
    let size = width / 3 / heads;
    let part = |index| {
        let part: Tensor<3> = qkv.clone().narrow(2, index * heads * size, heads * size);
        part.reshape([rows, tokens, heads, size]).swap_dims(1, 2)
    };
    let mut scores = part(0).matmul(part(1).transpose()) * scale;
    if let Some(bias) = extras.bias {
        let windows = bias.dims()[0];
        scores = scores + bias.repeat_dim(0, rows / windows);
    }
    let mut weights = activation::softmax(scores, 3);
    if let Some(mask) = extras.mask {
        weights = weights * mask;
    }
    weights.matmul(part(2)).swap_dims(1, 2).reshape([rows, tokens, width / 3])
}

#[test]
fn attention_agrees_with_its_composition() {
    for device in devices() {
        // The last has several blocks of queries; the one before it several pieces of rows.
        for (rows, tokens, heads, size, windows) in
            [(1, 1, 1, 1, 1), (4, 7, 3, 5, 2), (36, 9, 2, 4, 4), (1, 230, 1, 8, 1)]
        {
            let scale = (size as f64).powf(-0.5);
            let qkv = input(&device, [tokens, rows, 3 * heads * size], 1);
            let bias = input(&device, [windows, heads, tokens, tokens], 2);
            let plain = device.clone().without_autodiff();
            let mask: Tensor<4> =
                Tensor::<4>::from_data(noise([rows, heads, tokens, tokens], 3), &plain).greater_elem(-1.0).float();
            let view = || qkv.clone().swap_dims(0, 1);
            for (biased, masked) in [(false, false), (true, false), (false, true), (true, true)] {
                let extras = Extras { bias: biased.then(|| bias.clone()), mask: masked.then(|| mask.clone()) };
                let kernel = robustify_kernels::self_attention(view(), heads, scale, extras.clone());
                let composed = composed_attention(view(), heads, scale, extras);
                let name = format!("{rows}x{tokens}, bias {biased}, mask {masked}");
                let (kernel, composed) = if biased {
                    (result_and_gradients!(kernel, qkv, bias), result_and_gradients!(composed, qkv, bias))
                } else {
                    (result_and_gradients!(kernel, qkv), result_and_gradients!(composed, qkv))
                };
                Comparison { name, kernel, composed }.check();
            }
        }
    }
}

/// In `f64` every function composes Burn's ops, which is what a GPU runs: the kernels of flex against these.
#[test]
fn compositions_agree_with_the_kernels() {
    let device = robustify_device::open(Some("flex")).unwrap().autodiff();
    let of_tokens = |dtype: DType| {
        let (x, weight, bias) = (input(&device, [4, 5, 12], 1), input(&device, [18, 12], 2), input(&device, [18], 3));
        let (scale, shift, table) = (input(&device, [12], 4), input(&device, [12], 5), input(&device, [2, 2, 5, 5], 6));
        let [wide_scale, wide_shift, wide_bias] = [&scale, &shift, &bias].map(|row| row.clone().cast(dtype));
        let y = robustify_kernels::layer_norm(x.clone().cast(dtype), wide_scale, wide_shift, 1e-6);
        let y = robustify_kernels::normalise(robustify_kernels::gelu(y), 1e-3);
        let y = robustify_kernels::linear(y, weight.clone().cast(dtype), Some(wide_bias));
        let mask = Tensor::<4>::from_data(noise([4, 2, 5, 5], 7), &device.clone().without_autodiff());
        let mask = mask.greater_elem(-1.0).float().cast(dtype);
        let extras = Extras { bias: Some(table.clone().cast(dtype)), mask: Some(mask) };
        let y = robustify_kernels::quick_gelu(robustify_kernels::self_attention(y, 2, 0.5, extras));
        result_and_gradients!(y.cast(DType::F32), x, weight, bias, scale, shift, table)
    };
    let of_pixels = |dtype: DType| {
        let (x, kernel, shortcut) =
            (input(&device, [2, 3, 5, 6], 8), input(&device, [4, 3, 3, 3], 9), input(&device, [2, 4, 5, 6], 10));
        let (weight, bias) = (input(&device, [4], 11), input(&device, [4], 12));
        let affine = || [&weight, &bias].map(|row| row.clone().cast(dtype));
        let y = robustify_kernels::conv2d(x.clone().cast(dtype), kernel.clone().cast(dtype), None, [1, 1], [1, 1]);
        let (y, statistics) = robustify_kernels::batch_norm_train(y, affine(), 1e-5, Then::Relu);
        let then = Then::AddRelu(shortcut.clone().cast(dtype));
        let y = robustify_kernels::batch_norm(y, affine(), statistics, 1e-5, then);
        result_and_gradients!(y.cast(DType::F32), x, kernel, shortcut, weight, bias)
    };
    for (name, kernel, composed) in [
        ("tokens", of_tokens(DType::F32), of_tokens(DType::F64)),
        ("pixels", of_pixels(DType::F32), of_pixels(DType::F64)),
    ] {
        Comparison { name: name.into(), kernel, composed }.check();
    }
}

#[test]
fn threads_change_no_bit() {
    let device = robustify_device::open(Some("flex")).unwrap().autodiff();
    let of_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (x, weight, bias) =
                (input(&device, [5, 131, 96], 1), input(&device, [288, 96], 2), input(&device, [288], 3));
            let (scale, shift) = (input(&device, [96], 4), input(&device, [96], 5));
            let table = input(&device, [1, 3, 131, 131], 6);
            let y = robustify_kernels::layer_norm(x.clone(), scale.clone(), shift.clone(), 1e-6);
            let y = robustify_kernels::linear(y, weight.clone(), Some(bias.clone()));
            let extras = Extras { bias: Some(table.clone()), mask: None };
            let y = robustify_kernels::gelu(robustify_kernels::self_attention(y, 3, 0.2, extras));
            let all = result_and_gradients!(y, x, weight, bias, scale, shift, table);
            all.into_iter().map(|array| array.into_data().try_to_vec::<f32>().unwrap()).collect::<Vec<_>>()
        })
    };
    let one = of_threads(1);
    for threads in [2, 3, 5] {
        assert!(of_threads(threads) == one, "{threads} threads");
    }
}
