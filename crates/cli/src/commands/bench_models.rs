//! `bench-models`: the speed of one backend on the models of `crates/bench/peers/models.json`, one line of JSON a measurement.
//!
//! `cargo xtask bench-models` runs it for several backends, and PyTorch by `models.py` beside that file, and compares them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use cpu_time::ProcessTime;
use robustify_device::{Machine, Workers};
use robustify_distill::losses;
use robustify_distill::optimizer::{self, AdamW, AdamWConfig, DecayTo, Group};
use robustify_rng::Key;
use robustify_zoo::{BatchStatistics, Model, ModelConfig, Pass};
use serde::Serialize;

use crate::args::BenchModels;
use crate::console;

const MODELS: &str = include_str!("../../../bench/peers/models.json");

/// Images of a batch: at 224 pixels a quarter of what it is at 32, so that 8 GB of memory are enough.
fn batch(image_size: usize) -> usize {
    if image_size < 128 { 64 } else { 16 }
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Measurement<'a> {
    peer: String,
    model: &'a str,
    work: &'static str,
    threads: usize,
    images_per_second: f64,
    images_per_cpu_second: f64,
}

/// Measures the wanted models, every one by a forward and by a step of training with cross-entropy and AdamW.
pub fn run(options: &BenchModels) -> anyhow::Result<()> {
    let configs: BTreeMap<String, ModelConfig> =
        serde_json::from_str(MODELS).context("crates/bench/peers/models.json")?;
    if let Some(unknown) = options.models.iter().find(|name| !configs.contains_key(*name)) {
        let known: Vec<&str> = configs.keys().map(String::as_str).collect();
        anyhow::bail!("unknown model `{unknown}`; expected some of {}", known.join(", "));
    }
    anyhow::ensure!(options.seconds > 0.0, "--seconds {} is not positive", options.seconds);
    let machine = options.common.machine()?;
    for (name, config) in configs.iter().filter(|(name, _)| options.models.is_empty() || options.models.contains(name))
    {
        // Shards as the trainer makes them, then Burn's own way with a whole batch, where that is another.
        let model = Model::new(config, 1, &machine.device)?;
        let batch = batch(model.image_size());
        let shard_rows = if machine.shard_rows < usize::MAX { machine.shard_rows.min(batch / 2) } else { batch };
        measure_model(name, model.clone(), &machine, shard_rows, options.seconds)?;
        if shard_rows < batch {
            measure_model(name, model, &machine, batch, options.seconds)?;
        }
    }
    Ok(())
}

fn measure_model(name: &str, model: Model, machine: &Machine, shard_rows: usize, seconds: f64) -> anyhow::Result<()> {
    let batch = batch(model.image_size());
    let sharded = shard_rows < batch;
    let backend = robustify_device::backend_of(&machine.device);
    let peer = if sharded { format!("{backend}, shards of {shard_rows}") } else { backend };
    let mut bench = Bench::new(model, machine, shard_rows);
    for work in ["forward", "train"] {
        let mut step = || match work {
            "forward" => bench.forward(),
            _ => bench.train(),
        };
        step()?;
        let (start, processor, mut images) = (Instant::now(), ProcessTime::now(), 0);
        while start.elapsed() < Duration::from_secs_f64(seconds) || images < 2 * batch {
            step()?;
            images += batch;
        }
        let per = |time: Duration| images as f64 / time.as_secs_f64();
        let line = Measurement {
            peer: peer.clone(),
            model: name,
            work,
            threads: machine.workers.threads(),
            images_per_second: per(start.elapsed()),
            images_per_cpu_second: per(processor.elapsed()),
        };
        console::result(&format!("{}\n", serde_json::to_string(&line)?))?;
    }
    Ok(())
}

/// A model, a batch in shards, and what a step of training changes.
struct Bench<'a> {
    /// Absent only within a step.
    model: Option<Model>,
    optimizer: AdamW,
    shards: Vec<(Tensor<4>, Tensor<1, Int>)>,
    /// Images in all shards.
    batch: usize,
    /// `None` for the whole batch on the calling thread, where kernels use what threads they like.
    workers: Option<&'a Workers>,
    device: &'a Device,
}

impl<'a> Bench<'a> {
    fn new(model: Model, machine: &'a Machine, shard_rows: usize) -> Self {
        let (size, classes) = (model.image_size(), model.classes());
        let mut stream = Key::new(1, "bench-models").stream();
        let mut shard = |rows: std::ops::Range<usize>| {
            let values: Vec<f32> = (0..rows.len() * 3 * size * size).map(|_| stream.normal() as f32).collect();
            let images = TensorData::new(values, [rows.len(), 3, size, size]);
            let labels: Vec<i64> = rows.map(|row| (row % classes) as i64).collect();
            (Tensor::from_data(images, &machine.device), Tensor::from_data(labels.as_slice(), &machine.device))
        };
        let batch = batch(size);
        let shards = (0..batch).step_by(shard_rows).map(|from| shard(from..batch.min(from + shard_rows)));
        let shards = shards.collect();
        let workers = (shard_rows < batch).then_some(&machine.workers);
        Self { model: Some(model), optimizer: AdamW::default(), shards, batch, workers, device: &machine.device }
    }

    fn each<R: Send>(&self, work: impl Fn((Tensor<4>, Tensor<1, Int>)) -> R + Sync) -> Vec<R> {
        match self.workers {
            Some(workers) => workers.map(self.shards.clone(), work),
            None => self.shards.iter().cloned().map(work).collect(),
        }
    }

    fn forward(&mut self) -> anyhow::Result<()> {
        let model = self.model.as_ref().context("the model is present between steps")?;
        drop(self.each(|(images, _)| model.forward(images, &Pass::eval())));
        self.device.sync().context("the backend cannot finish a forward")
    }

    fn train(&mut self) -> anyhow::Result<()> {
        let model = self.model.take().context("the model is present between steps")?;
        let batch = self.batch as f64;
        let results = self.each(|(images, labels)| {
            // Leaves of its own for every shard, as in the trainer.
            let trained = model.clone().train();
            let statistics = BatchStatistics::default();
            let logits = trained.forward(images, &Pass::eval().with_statistics(&statistics));
            let mut backward = (losses::cross_entropy(logits, labels) / batch).backward();
            (optimizer::gradients(&trained, &mut backward), statistics)
        });
        let (gradients, statistics): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let config = AdamWConfig {
            learning_rate: 1e-3,
            weight_decay: 0.05,
            decay_to: DecayTo::Zero,
            betas: [0.9, 0.999],
            eps: 1e-8,
            warmup_fraction: 0.0,
            clip_norm: 1.0,
        };
        let (gradients, _) = optimizer::clip(optimizer::sum(gradients), config.clip_norm);
        let model = self.optimizer.step(&config, config.learning_rate, &Group::by_shape, model, gradients);
        self.model = Some(model.with_statistics(BatchStatistics::average(statistics)));
        self.device.sync().context("the backend cannot finish a step")
    }
}
