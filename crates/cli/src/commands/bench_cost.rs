//! `bench-cost`: what the method costs, both sides of every ratio measured in one go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use robustify_data::{Images, Preprocess, Subset, batch, split};
use robustify_distill::trainer::{self, Event, Objective, Plan, Watch};
use robustify_distill::views;
use robustify_distill::{Apt, CachedPairs, Robustify, Teacher, ViewCache, ViewSpec};
use robustify_report::{Style, Table};
use robustify_rng::Key;
use robustify_select::{McConfig, OneHead, ThreeHeads, mc};
use robustify_zoo::{Model, Pass};

use crate::args::BenchCost;
use crate::commands::Machine;
use crate::config::{self, Config, ImageTrainingConfig};
use crate::console::{self, Console};
use crate::{dataset, network};

/// Images that training is measured on.
const IMAGES: usize = 512;
/// Images of a forward.
const ROWS: usize = 64;

/// Measures training steps and inference, and prints the ratios.
pub fn run(options: &BenchCost) -> anyhow::Result<()> {
    let config: Config = config::load(&options.config, &options.overrides)?;
    let console = Console::new(options.common.quiet);
    let machine = Machine::open(&options.common)?;
    let (original, _) = network::original(&config.original, config.seed, &machine.device, &console)?;
    let images = dataset::open(&config.data, &config.data.train, &console)?;
    let chosen = split::sample(&*images, IMAGES.min(images.len()), Key::new(0, "cost"))?;
    let images: Images = Arc::new(Subset::new(images, chosen)?);
    console::result(&training(&config, &machine, &original, &images, options.rounds)?)?;
    console::result(&inference(&config, &machine, &original, &images, options.rounds)?)?;
    Ok(())
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
        clean_view: config.views.clean_view.clone(),
        policy: Some(config.views.policy.clone()),
        jsd_weight: None,
        label_smoothing: 0.0,
        norm_rows: config.teacher.training.norm_rows,
        optimizer: config.tuning.optimizer.clone(),
    };
    let preprocess: Preprocess = config.original.preprocess.parse()?;
    let full = machine.image_training(
        &section,
        &config.original.network,
        images.clone(),
        [preprocess.geometry(), preprocess.normalisation_only()],
        0,
    )?;
    let spec = ViewSpec {
        preprocess: preprocess.clone(),
        clean_view: section.clean_view.parse()?,
        policy: config.views.policy.parse()?,
        clean: config.views.clean,
        augmented: config.views.augmented,
        seed: 0,
        precision: config.views.precision,
    };
    let cut = config.split.backbone_end(original)?;
    let path = folder.path().join("features");
    let clock = Instant::now();
    let mut go_on = |_| false;
    let (said, dims) =
        views::write_features(&spec, images, original, cut, &path, &machine.workers, &machine.device, &mut go_on)?;
    let caching = clock.elapsed();
    let logits = [(Teacher::Original, said.clone()), (Teacher::Robust, said)];
    let cache = ViewCache::read(&path, &spec, images.labels().to_vec(), dims, logits)?;
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
    checkpoint: std::path::PathBuf,
) -> anyhow::Result<f64> {
    struct Clock(f64);
    impl Watch for Clock {
        fn event(&mut self, event: Event) {
            if let Event::Done { seconds, steps, .. } = event {
                self.0 = seconds / steps.max(1) as f64;
            }
        }
    }
    let plan = Plan {
        epochs: 1,
        optimizer: config.tuning.optimizer.clone(),
        checkpoint,
        identity: String::new(),
        config: serde_json::Value::Null,
        checkpoint_every: Duration::MAX,
    };
    let mut clock = Clock(0.0);
    trainer::train(objective, model, &plan, &machine.workers, &machine.device, &mut clock)?;
    Ok(clock.0)
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
        let mc = McConfig { passes, dropout: config.tuning.dropout, seed: 0 };
        let time = best(&|| drop(mc::statistics(&heads, features(), &samples, &mc, &machine.device)));
        row(format!("robustify, T = {passes}"), time);
    }
    Ok(table.render(Style::Box))
}
