//! What a backend must compute as any other does: the models' forward and backward against stored outputs of timm, the ops
//! they are made of against numbers worked out on the host, the gradients of these ops against differences of their values,
//! and steps of training against the same steps on flex. `ROBUSTIFY_TEST_BACKEND` names the backend; without it, flex.

#[path = "../../crates/zoo/tests/zoo/golden.rs"]
mod golden;
mod gradients;
mod training;

use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Int, Tensor, TensorData, activation, module};

/// Relative to the largest element of a tensor: what backends promise of values.
const TOLERANCE: f32 = 1e-4;
/// The same of gradients, in which a GPU's shorter exponentials and other orders of summing add up.
const GRADIENT_TOLERANCE: f32 = 5e-4;

fn device() -> Device {
    let name = std::env::var("ROBUSTIFY_TEST_BACKEND").unwrap_or_else(|_| "flex".into());
    robustify_device::open(Some(&name)).unwrap_or_else(|error| panic!("ROBUSTIFY_TEST_BACKEND: {error}"))
}

/// A test for each model, so that one that differs hides no other.
mod golden_models {
    macro_rules! tests {
        ($($name:ident)*) => {
            $(#[test]
            fn $name() {
                let case = crate::golden::read(stringify!($name));
                case.check(&crate::device(), crate::TOLERANCE, crate::GRADIENT_TOLERANCE);
            })*

            #[test]
            fn none_is_left_out() {
                let stored: Vec<String> = crate::golden::all().into_iter().map(|case| case.name).collect();
                assert_eq!(stored, [$(stringify!($name)),*]);
            }
        };
    }

    tests! {
        clip_resnet
        resnet_cifar_basic
        resnet_imagenet_basic
        resnet_imagenet_bottleneck
        swin_padded
        swin_shifted
        swinv2_padded
        swinv2_shifted
        vit_clip
        vit_cls
        vit_distilled
        vit_fc_norm
        vit_features
        vit_mean
        vit_registers
    }
}

fn tensor<const D: usize>(device: &Device, shape: [usize; D], value: impl Fn(usize) -> f32) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn expect<const D: usize>(what: &str, got: Tensor<D>, expected: &[f32]) {
    let got = golden::entry(got).values;
    assert_eq!(got.len(), expected.len(), "{what}: {got:?}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= TOLERANCE * expected.abs().max(1.0), "{what}: {got} is not {expected}");
    }
}

#[test]
fn elementwise_ops_and_reductions() {
    let device = device();
    let x = tensor(&device, [2, 3], |index| index as f32 - 2.0);
    expect("gelu", robustify_kernels::gelu(x.clone()), &[-0.0455, -0.158_655, 0.0, 0.841_345, 1.9545, 2.995_95]);
    expect("relu", activation::relu(x.clone()), &[0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
    let row = [0.090_030_6, 0.244_728, 0.665_241];
    expect("softmax", activation::softmax(x.clone(), 1), &[row, row].concat());
    let row = row.map(f32::ln);
    expect("log_softmax", activation::log_softmax(x.clone(), 1), &[row, row].concat());
    expect("sum_dim", x.clone().sum_dim(1), &[-3.0, 6.0]);
    expect("mean_dim", x.clone().mean_dim(0), &[-0.5, 0.5, 1.5]);
    expect("argmax", x.clone().argmax(1).float(), &[2.0, 2.0]);
    let labels = Tensor::<1, Int>::from_data([2_i64, 0], &device).unsqueeze_dim::<2>(1);
    expect("gather", x.clone().gather(1, labels), &[0.0, 1.0]);
    let mask = tensor(&device, [2, 3], |index| if index % 2 == 0 { 0.0 } else { 2.0 });
    expect("mask", x * mask, &[0.0, -2.0, 0.0, 2.0, 0.0, 6.0]);
}

#[test]
fn movements_of_elements() {
    let device = device();
    let x = tensor(&device, [2, 3], |index| index as f32);
    expect("transpose", x.clone().transpose(), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    expect("narrow", x.clone().narrow(1, 1, 2), &[1.0, 2.0, 4.0, 5.0]);
    expect(
        "cat",
        Tensor::cat(vec![x.clone(), x.clone().narrow(1, 0, 1)], 1),
        &[0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 3.0],
    );
    let repeated = x.clone().unsqueeze_dim::<3>(1).expand([2, 2, 3]).reshape([4, 3]);
    expect("expand", repeated, &[0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
    let permuted = x.reshape([1, 2, 3]).permute([2, 0, 1]);
    expect("permute", permuted, &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn products_norms_and_convolutions() {
    let device = device();
    let a = tensor(&device, [2, 2, 3], |index| index as f32);
    let b = tensor(&device, [2, 3, 1], |index| 1.0 + index as f32);
    expect("batched matmul", a.matmul(b), &[8.0, 26.0, 107.0, 152.0]);
    let weight = tensor(&device, [3], |index| 1.0 + index as f32);
    let x = tensor(&device, [1, 3], |index| index as f32);
    let normed = module::layer_norm(x, weight, None, 1e-6);
    expect("layer_norm", normed, &[-1.224_744, 0.0, 3.674_233]);
    let image = tensor(&device, [1, 1, 3, 3], |index| index as f32);
    let kernel = tensor(&device, [1, 1, 3, 3], |index| if index < 4 { 1.0 } else { 0.0 });
    let options = || ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
    expect("conv2d", module::conv2d(image.clone(), kernel, None, options()), &[0.0, 1.0, 7.0, 16.0]);
    let padded = (image - 4.0).pad((1, 1, 1, 1), PadMode::Constant(0.0));
    let pool = burn::tensor::ops::MaxPoolOptions::new([3, 3]).with_stride([2, 2]);
    expect("pad and max_pool2d", module::max_pool2d(padded, pool), &[0.0, 1.0, 3.0, 4.0]);
}
