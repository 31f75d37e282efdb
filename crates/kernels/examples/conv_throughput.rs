//! GFLOP per CPU-second of the convolution kernels on the layers of ResNet-18 (32 px), of small maps and of ResNet-50 (224 px),
//! by one thread. Products with padding count, though small maps leave them out.
//!
//! `cargo run --release -p robustify-kernels --example conv_throughput [batch] [part of a layer's name]`

use std::io::Write;

use cpu_time::ThreadTime;
use robustify_kernels::conv::{self, Geometry};

/// Name, channels, side, kernel, stride, padding.
type Layer = (&'static str, [usize; 2], usize, usize, usize, usize);

const LAYERS: [Layer; 19] = [
    ("stem 32", [3, 64], 32, 3, 1, 1),
    ("64 32", [64, 64], 32, 3, 1, 1),
    ("64-128 /2", [64, 128], 32, 3, 2, 1),
    ("128 16", [128, 128], 16, 3, 1, 1),
    ("256 8", [256, 256], 8, 3, 1, 1),
    ("512 4", [512, 512], 4, 3, 1, 1),
    ("1x1 64-128 /2", [64, 128], 32, 1, 2, 0),
    ("128-256 4 /2", [128, 256], 4, 3, 2, 1),
    ("256 2", [256, 256], 2, 3, 1, 1),
    ("512 1", [512, 512], 1, 3, 1, 1),
    ("stem 224", [3, 64], 224, 7, 2, 3),
    ("1x1 64-256 56", [64, 256], 56, 1, 1, 0),
    ("1x1 256-64 56", [256, 64], 56, 1, 1, 0),
    ("3x3 64 56", [64, 64], 56, 3, 1, 1),
    ("3x3 128 28", [128, 128], 28, 3, 1, 1),
    ("1x1 1024-256 14", [1024, 256], 14, 1, 1, 0),
    ("3x3 256 14", [256, 256], 14, 3, 1, 1),
    ("1x1 512-2048 7", [512, 2048], 7, 1, 1, 0),
    ("3x3 512 7", [512, 512], 7, 3, 1, 1),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = std::env::args().nth(1).map_or(Ok(8), |text| text.parse())?;
    let wanted = std::env::args().nth(2).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    writeln!(
        out,
        "| layer, batch {batch} | GFLOP | forward | input gradient | weight gradient |\n|---|---:|---:|---:|---:|"
    )?;
    for (name, [inputs, outputs], side, kernel, stride, padding) in
        LAYERS.into_iter().filter(|layer| layer.0.contains(&wanted))
    {
        let geometry = Geometry {
            batch,
            inputs,
            outputs,
            size: [side; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        };
        let [height, width] = geometry.output_size()?;
        let input = vec![0.5; batch * inputs * side * side];
        let weight = vec![0.5; outputs * inputs * kernel * kernel];
        let gradient = vec![0.5; batch * outputs * height * width];
        let flops = 2.0 * (gradient.len() * inputs * kernel * kernel) as f64 / 1e9;
        let forward = best(&pool, || conv::forward(&geometry, &input, &weight, None))?;
        let input_gradient = best(&pool, || conv::input_gradient(&geometry, &weight, &gradient))?;
        let weight_gradient = best(&pool, || conv::weight_gradient(&geometry, &input, &gradient))?;
        let [f, i, w] = [forward, input_gradient, weight_gradient].map(|seconds| flops / seconds);
        writeln!(out, "| {name} | {flops:.2} | {f:.0} | {i:.0} | {w:.0} |")?;
    }
    Ok(())
}

/// Seconds of the fastest of some runs, after one to warm up.
fn best<T, E: Send>(pool: &rayon::ThreadPool, mut work: impl FnMut() -> Result<T, E> + Send) -> Result<f64, E> {
    pool.install(|| {
        work()?;
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = ThreadTime::now();
            std::hint::black_box(work()?);
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    })
}
