//! What methods cost: both sides of every ratio measured in one go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use robustify_data::{Images, Preprocess, Subset, batch, split, splits};
use robustify_device::Machine;
use robustify_distill::trainer::{self, Objective, Plan};
use robustify_distill::views::Report;
use robustify_distill::{Apt, CachedPairs, Precision, Robustify, Teacher, ViewCache, ViewJob, ViewSpec};
use robustify_methods::Config;
use robustify_methods::config::ImageTrainingConfig;
use robustify_methods::lab::{image_training, policy, read_original};
use robustify_report::{Style, Table};
use robustify_rng::Key;
use robustify_select::{McConfig, OneHead, ThreeHeads, mc};
use robustify_watch::{Silent, Watch};
use robustify_zoo::{Model, Pass};

/// Images that training is measured on.
const IMAGES: usize = 512;
/// Images of a forward.
const ROWS: usize = 64;

/// Measures training steps and inference, and returns tables of the ratios. `weights` is the file that `original.weights`
/// names; each side is measured `rounds` times, and the fastest counts.
///
/// # Errors
/// Weights or images that cannot be read, or a temporary folder that cannot be made.
pub fn cost(
    config: &Config,
    weights: &Path,
    rounds: u16,
    machine: &Machine,
    watch: &dyn Watch,
) -> anyhow::Result<[String; 2]> {
    let original = read_original(config, weights, &machine.device, watch)?.model;
    let images = splits::train(&config.data, watch)?;
    let chosen = split::sample(&*images, IMAGES.min(images.len()), Key::new(0, "cost"))?;
    let images: Images = Arc::new(Subset::new(images, chosen)?);
    let training = training(config, machine, &original, &images, rounds)?;
    Ok([training, inference(config, machine, &original, &images, rounds)?])
}

/// Full fine-tuning against tuning on cached views: the same images, augmentations, batch size and optimizer.
fn training(
    config: &Config,
    machine: &Machine,
    original: &Model,
    images: &Images,
    rounds: u16,
) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let section = ImageTrainingConfig {
        epochs: 1,
        batch_size: 2 * config.tuning.pairs,
        clean_view: Some(config.views.clean_view.clone()),
        policy: Some(config.views.policy.clone()),
        label_smoothing: 0.0,
        jsd_weight: None,
        norm_rows: 32,
        optimizer: config.tuning.optimizer.clone(),
    };
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    let preprocesses = [preprocess.geometry(), preprocess.normalisation_only()];
    let full = image_training(machine, &section, &config.original.network, images.clone(), preprocesses, 0)?;
    let spec = ViewSpec {
        preprocess: preprocess.clone(),
        clean_view: config.views.clean_view.parse()?,
        policy: policy(&config.views.policy, &machine.device)?,
        clean: config.views.clean,
        augmented: config.views.augmented,
        seed: 0,
        precision: Precision::default(),
    };
    let cut = config.split.backbone_end(original)?;
    let base = &folder.path().join("views");
    let clock = Instant::now();
    let mut progress = Silent;
    let report = Report { name: "views", watch: &Silent, progress: &mut progress };
    let (workers, device) = (&machine.workers, &machine.device);
    let job = ViewJob { spec: &spec, images, workers, device, base, identity: "cost" };
    let written = job.features(original, cut, report)?;
    let caching = clock.elapsed();
    // Both teachers say the same here: what they say costs nothing.
    let said = [Teacher::Original, Teacher::Robust].map(|teacher| (teacher, written.logits.clone()));
    let cache = ViewCache::read(written.features(), &spec, images.labels().to_vec(), written.dims.clone(), said)?;
    let pairs = || CachedPairs {
        cache: &cache,
        config: &config.tuning,
        shard_pairs: machine.shard_rows,
        device: &machine.device,
    };

    let mut steps = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        let time = |name: &str| folder.path().join(format!("{name}-{round}"));
        steps[0].push(step(&full, original.clone(), config, machine, time("full"))?);
        steps[1].push(step(&Apt(pairs()), OneHead::new(original, config.split)?, config, machine, time("apt"))?);
        steps[2].push(step(
            &Robustify(pairs()),
            ThreeHeads::new(original, config.split)?,
            config,
            machine,
            time("robustify"),
        )?);
    }
    let [full, apt, robustify] = steps.map(|times| times.into_iter().fold(f64::INFINITY, f64::min));
    let mut table =
        Table::new(["training step".to_owned(), "ms".into(), "ms an image".into(), "of full fine-tuning".into()]);
    for (name, time) in [("full fine-tuning", full), ("APT, cached", apt), ("robustify, cached", robustify)] {
        let per_image = 1e3 * time / (2 * config.tuning.pairs) as f64;
        table.row([
            name.to_owned(),
            format!("{:.1}", 1e3 * time),
            format!("{per_image:.3}"),
            format!("{:.3}", time / full),
        ]);
    }
    let per_view = 1e3 * caching.as_secs_f64() / (images.len() * spec.count()) as f64;
    Ok(format!("{}caching a view once: {per_view:.3} ms\n", table.render(Style::Box)))
}

/// Seconds of one optimizer step, data included, over an epoch.
fn step<O: Objective>(
    objective: &O,
    model: O::Model,
    config: &Config,
    machine: &Machine,
    checkpoint: PathBuf,
) -> anyhow::Result<f64> {
    let plan = Plan {
        name: "cost".into(),
        epochs: 1,
        optimizer: config.tuning.optimizer.clone(),
        checkpoint,
        identity: String::new(),
        config: serde_json::Value::Null,
        checkpoint_every: Duration::MAX,
    };
    let clock = Instant::now();
    trainer::train(objective, model, &plan, &machine.workers, &machine.device, &Silent)?;
    Ok(clock.elapsed().as_secs_f64() / objective.steps().max(1) as f64)
}

/// The original model against T passes of three heads.
fn inference(
    config: &Config,
    machine: &Machine,
    original: &Model,
    images: &Images,
    rounds: u16,
) -> anyhow::Result<String> {
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    let cut = config.split.backbone_end(original)?;
    let tail = original.segment(cut, original.last_cut());
    let heads = ThreeHeads::new(original, config.split)?;
    let mut pixels = Vec::new();
    for index in 0..ROWS.min(images.len()) {
        pixels.push(preprocess.pixels(&images.get(index)?.image)?);
    }
    let input = batch::normalised(&pixels, &preprocess, &machine.device)?;
    let samples: Vec<u64> = (0..pixels.len() as u64).collect();
    let features = || original.features(input.clone(), cut);
    let best = |work: &(dyn Fn() + Sync)| {
        // One thread, like one shard of a benchmark.
        let times = machine.workers.map(vec![()], |()| {
            (0..4 * rounds)
                .map(|_| {
                    let clock = Instant::now();
                    work();
                    clock.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min)
        });
        1e3 * times[0] / samples.len() as f64
    };
    let reference = best(&|| drop(tail.forward(features(), &Pass::eval()).logits().into_data()));
    let mut table = Table::new(["inference, one thread".to_owned(), "ms an image".into(), "of the original".into()]);
    let mut row = |name: String, time: f64| table.row([name, format!("{time:.3}"), format!("{:.2}", time / reference)]);
    row("original".into(), reference);
    for passes in [1, config.select.passes] {
        let mc = McConfig { passes, dropout: config.tuning.dropout, seed: 0, common_masks: false };
        let time = best(&|| drop(mc::statistics(&heads, features(), &samples, &mc, &machine.device)));
        row(format!("robustify, T = {passes}"), time);
    }
    Ok(table.render(Style::Box))
}
