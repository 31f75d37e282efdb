//! Where the time of a Vision Transformer's block and of a residual network's goes on one thread: milliseconds a forward and a
//! forward with backward of every op, of the kernels and of the compositions they replace, the op's share of the time, and the
//! share of the core's peak that it reaches. The peak is that of fused multiply-adds on registers alone. Products count with those
//! that meet padding, which kernels leave out on small maps: a share can exceed 1.
//!
//! ```text
//! cargo run --release -p robustify-kernels --example ops
//! OMP_NUM_THREADS=1 cargo run --release -p robustify -p robustify-kernels --features tch --example ops tch
//! ```
//!
//! The second is for LibTorch's CPU and needs the environment that `cargo xtask run --backend tch` would set up.
//!
//! With glibc, set MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ to 1073741824: freed memory then stays with the process,
//! as the program has it (see `crates/cli/src/allocator.rs`), and fresh pages are not part of what is measured.
#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation, module};
use cpu_time::ThreadTime;
use pulp::{Arch, Simd, WithSimd};
use robustify_kernels::{
    AdamWStep, Extras, Then, adamw, batch_norm_train, conv2d, gelu, layer_norm, linear, self_attention,
};

/// A block's shapes: rows (images), tokens, width and heads; the hidden layer is four times as wide.
const SHAPES: [(&str, [usize; 4]); 2] = [("32 px, d192 h3", [32, 65, 192, 3]), ("224 px, ViT-S/16", [8, 197, 384, 6])];

/// The four stages of ResNet-18 at 32 pixels: images, channels and the side of a map.
const MAPS: [(&str, [usize; 3]); 4] = [
    ("ResNet-18, 32 px, stage 1", [16, 64, 32]),
    ("ResNet-18, 32 px, stage 2", [16, 128, 16]),
    ("ResNet-18, 32 px, stage 3", [16, 256, 8]),
    ("ResNet-18, 32 px, stage 4", [16, 512, 4]),
];

/// Convolutions of 3x3 over maps of few pixels: images, channels of input and output, the side of a map and the stride.
const SMALL: [(&str, [usize; 5]); 5] = [
    ("64-64 8x8", [32, 64, 64, 8, 1]),
    ("128-128 4x4", [32, 128, 128, 4, 1]),
    ("128-256 4-2", [32, 128, 256, 4, 2]),
    ("256-256 2x2", [32, 256, 256, 2, 1]),
    ("512-512 1x1", [32, 512, 512, 1, 1]),
];

/// An op of a block.
struct Op {
    name: &'static str,
    /// How often a block has it.
    times: usize,
    /// Multiply-adds of a forward, in thousands of millions.
    products: f64,
    kernel: Box<dyn Fn(bool) + Send>,
    composed: Box<dyn Fn(bool) + Send>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = std::env::args().nth(1).unwrap_or_else(|| "flex".into());
    let device = robustify_device::open(Some(&backend))?;
    // One thread: what a shard gets in training.
    rayon::ThreadPoolBuilder::new().num_threads(1).build()?.install(|| {
        let peak = peak();
        println!("The peak of a core: {peak:.0} GFLOP/s.");
        optimizer(&device);
        for (name, shape) in SHAPES {
            println!("\n{name}, {} images: ms as a kernel, composed, ratio; share of the time, of the peak", shape[0]);
            table(&ops(shape, &device), peak);
        }
        for (name, shape) in MAPS {
            println!("\n{name}, {} images: ms as a kernel, composed, ratio; share of the time, of the peak", shape[0]);
            table(&residual_ops(shape, &device), peak);
        }
        println!("\nSmall maps, 32 images: ms as a kernel, composed, ratio; share of the time, of the peak");
        table(&SMALL.map(|(name, shape)| convolution(name, 1, shape, &device)), peak);
    });
    Ok(())
}

/// GFLOP/s of fused multiply-adds on registers, the best of several.
fn peak() -> f64 {
    const TIMES: usize = 1_000_000;
    /// Independent sums: more than a multiply-add takes cycles on any unit, and no more than there are registers.
    const SUMS: usize = 12;

    struct Loop;

    impl WithSimd for Loop {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> usize {
            let (factor, term) = (simd.splat_f32s(0.5), simd.splat_f32s(black_box(0.25)));
            let mut sums = [simd.splat_f32s(0.0); SUMS];
            for _ in 0..TIMES {
                for sum in &mut sums {
                    *sum = simd.mul_add_e_f32s(*sum, factor, term);
                }
            }
            for sum in sums {
                black_box(simd.reduce_sum_f32s(sum));
            }
            2 * TIMES * SUMS * S::F32_LANES
        }
    }

    let flops = Arch::new().dispatch(Loop) as f64;
    flops
        / 1e9
        / fastest(|| {
            black_box(Arch::new().dispatch(Loop));
        })
}

/// The shortest of many times in seconds of this thread's processor; a busy machine only ever adds to it.
fn fastest(work: impl Fn()) -> f64 {
    work();
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < Duration::from_millis(400) {
        let start = ThreadTime::now();
        work();
        best = best.min(start.elapsed());
    }
    best.as_secs_f64()
}

fn table(ops: &[Op], peak: f64) {
    for (work, backward) in [("forward", false), ("with backward", true)] {
        let times: Vec<[f64; 2]> = ops
            .iter()
            .map(|op| [&op.kernel, &op.composed].map(|run| fastest(|| run(backward)) * op.times as f64))
            .collect();
        let flops = |op: &Op| 2.0 * op.products * op.times as f64 * if backward { 3.0 } else { 1.0 };
        let total = [0, 1].map(|side| times.iter().map(|times| times[side]).sum::<f64>());
        let line = |name: &str, [kernel, composed]: [f64; 2], flops: f64| {
            let (ratio, time) = (composed / kernel, kernel / total[0]);
            let share = if flops > 0.0 { format!("{:.2}", flops / kernel / peak) } else { String::new() };
            let [kernel, composed] = [1e3 * kernel, 1e3 * composed];
            println!("{work:14} {name:13} {kernel:8.3} {composed:8.3} {ratio:6.2} {time:6.2} {share:>6}");
        };
        for (op, times) in ops.iter().zip(&times) {
            line(op.name, *times, flops(op));
        }
        line("block", total, ops.iter().map(flops).sum());
    }
}

/// A step of AdamW on a million parameters, as a kernel and as the ops that it replaces.
fn optimizer(device: &Device) {
    let random = || Tensor::<1>::random([1 << 20], Distribution::Uniform(0.0, 1.0), device);
    let [x, m, v, g] = [(); 4].map(|()| random());
    let step = AdamWStep { keep: 0.999, rate: 1e-3, betas: [0.9, 0.999], root_bias: 0.5, eps: 1e-8 };
    // A step owns what it changes, and works in place.
    let state = Cell::new(Some((x, [m, v])));
    let kernel = fastest(|| {
        state.set(state.take().map(|(x, moments)| adamw(x, moments, g.clone(), &step)));
    });
    let composed = fastest(|| {
        state.set(state.take().map(|(x, [m, v])| {
            let m = m * 0.9 + g.clone() * 0.1;
            let v = v * 0.999 + g.clone() * g.clone() * 0.001;
            let update = m.clone() / (v.clone().sqrt() / step.root_bias + step.eps) * step.rate;
            (x * step.keep - update, [m, v])
        }));
    });
    println!(
        "AdamW, a million parameters: {:.3} ms as a kernel, {:.3} composed, {:.2}",
        1e3 * kernel,
        1e3 * composed,
        composed / kernel
    );
}

/// The ops of a block in their order.
fn ops([rows, tokens, width, heads]: [usize; 4], device: &Device) -> Vec<Op> {
    let random = |dims: [usize; 3]| Tensor::<3>::random(dims, Distribution::Normal(0.0, 1.0), device);
    let affine = |name, inputs: usize, outputs: usize| {
        let weight = random([1, outputs, inputs]).reshape([outputs, inputs]);
        let parts = [random([rows, tokens, inputs]), weight.unsqueeze(), random([1, 1, outputs])];
        op(name, 1, (rows * tokens * inputs * outputs) as f64 / 1e9, parts, move |[x, weight, bias], kernels| {
            let (weight, bias) = (weight.reshape([outputs, inputs]), bias.reshape([outputs]));
            if kernels {
                return linear(x, weight, Some(bias));
            }
            let y = x.reshape([rows * tokens, inputs]).matmul(weight.transpose()) + bias.unsqueeze::<2>();
            y.reshape([rows, tokens, outputs])
        })
    };
    let one = || random([1, 1, 1]);
    let size = width / heads;
    let norm =
        op("LayerNorm", 2, 0.0, [random([rows, tokens, width]), random([1, 1, width]), random([1, 1, width])], {
            move |[x, weight, bias], kernels| {
                let (weight, bias) = (weight.reshape([width]), bias.reshape([width]));
                if kernels {
                    layer_norm(x, weight, bias, 1e-6)
                } else {
                    module::layer_norm(x, weight, Some(bias), 1e-6)
                }
            }
        });
    let products = (2 * rows * tokens * tokens * width) as f64 / 1e9;
    let attention = op("attention", 1, products, [random([rows, tokens, 3 * width]), one(), one()], {
        move |[qkv, _, _], kernels| {
            let scale = (size as f64).powf(-0.5);
            if kernels {
                return self_attention(qkv, heads, scale, Extras::default());
            }
            let qkv = qkv.reshape([rows, tokens, 3, heads, size]).permute([2, 0, 3, 1, 4]);
            let part = |index| qkv.clone().narrow(0, index, 1).reshape([rows, heads, tokens, size]);
            let weights = activation::softmax((part(0) * scale).matmul(part(1).transpose()), 3);
            weights.matmul(part(2)).swap_dims(1, 2).reshape([rows, tokens, width])
        }
    });
    let curve = op("GELU", 1, 0.0, [random([rows, tokens, 4 * width]), one(), one()], |[x, _, _], kernels| {
        if kernels { gelu(x) } else { activation::gelu(x) }
    });
    let sum = op("residual", 2, 0.0, [random([rows, tokens, width]), random([rows, tokens, width]), one()], {
        |[x, y, _], _| x + y
    });
    vec![
        norm,
        affine("qkv", width, 3 * width),
        attention,
        affine("proj", width, width),
        affine("fc1", width, 4 * width),
        curve,
        affine("fc2", 4 * width, width),
        sum,
    ]
}

/// A convolution of 3x3, which halves the map at a stride of 2.
fn convolution(
    name: &'static str,
    times: usize,
    [batch, inputs, outputs, side, stride]: [usize; 5],
    device: &Device,
) -> Op {
    let random = |dims: [usize; 3]| Tensor::<3>::random(dims, Distribution::Normal(0.0, 1.0), device);
    let parts = [random([batch, inputs, side * side]), random([outputs, inputs, 9]), random([1, 1, 1])];
    let pixels = (side / stride).max(1).pow(2);
    let products = (batch * inputs * outputs * pixels * 9) as f64 / 1e9;
    op(name, times, products, parts, move |[x, weight, _], kernels| {
        let (x, weight) = (x.reshape([batch, inputs, side, side]), weight.reshape([outputs, inputs, 3, 3]));
        let y = if kernels {
            conv2d(x, weight, None, [stride; 2], [1; 2])
        } else {
            module::conv2d(x, weight, None, ConvOptions::new([stride; 2], [1; 2], [1; 2], 1))
        };
        y.reshape([batch, outputs, pixels])
    })
}

/// The ops of a residual block with two convolutions.
fn residual_ops([batch, channels, side]: [usize; 3], device: &Device) -> Vec<Op> {
    let random = |dims: [usize; 3]| Tensor::<3>::random(dims, Distribution::Normal(0.0, 1.0), device);
    let (map, row) = ([batch, channels, side * side], [1, 1, channels]);
    let image = move |x: Tensor<3>| x.reshape([batch, channels, side, side]);
    let conv = convolution("conv 3x3", 2, [batch, channels, channels, side, 1], device);
    let norm = |name, shortcut: bool| {
        // The shortcut is the values themselves: an input of its own would cost no more.
        op(name, 1, 0.0, [random(map), random(row), random(row)], move |[x, weight, bias], kernels| {
            let (x, weight, bias) = (image(x), weight.reshape([channels]), bias.reshape([channels]));
            if kernels {
                let then = if shortcut { Then::AddRelu(x.clone()) } else { Then::Relu };
                return batch_norm_train(x, [weight, bias], 1e-5, then).0.reshape(map);
            }
            let y = module::batch_norm_train(x.clone(), weight, bias, 1e-5).output;
            activation::relu(if shortcut { y + x } else { y }).reshape(map)
        })
    };
    vec![conv, norm("norm, ReLU", false), norm("norm, +, ReLU", true)]
}

/// `run` computes the op from its inputs, with kernels or composed.
fn op(
    name: &'static str,
    times: usize,
    products: f64,
    inputs: [Tensor<3>; 3],
    run: impl Fn([Tensor<3>; 3], bool) -> Tensor<3> + Clone + Send + 'static,
) -> Op {
    let timed = |kernels: bool| {
        let (inputs, run) = (inputs.clone(), run.clone());
        Box::new(move |backward: bool| {
            if backward {
                let inputs = inputs.clone().map(|input| Tensor::from_inner(input).require_grad());
                drop(run(inputs, kernels).sum().backward());
            } else {
                drop(run(inputs.clone(), kernels));
            }
        })
    };
    Op { name, times, products, kernel: timed(true), composed: timed(false) }
}
