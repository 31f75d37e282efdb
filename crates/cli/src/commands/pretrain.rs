//! `pretrain`: a model from scratch.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use robustify_bench::evaluate;
use robustify_data::Preprocess;
use robustify_distill::ImageTraining;
use robustify_distill::trainer::{self, Objective, Plan};
use robustify_report::write_atomic;
use robustify_zoo::{Model, weights};

use crate::args::Pretrain;
use crate::config::{self, PretrainConfig};
use crate::console::{self, Console, Interrupt, TrainingProgress};
use crate::{commands, dataset, digest, rundir, sizes};

/// Trains, tests and writes the model that a configuration describes.
pub fn run(options: &Pretrain, interrupt: &Interrupt) -> anyhow::Result<()> {
    let config: PretrainConfig = config::load(&options.config, &options.overrides)?;
    let console = Console::new(options.common.quiet);
    let machine = commands::Machine::open(&options.common)?;
    let mut images = dataset::open(&config.data, &config.data.train, &console)?;
    if let Some(file) = &config.data.leave_out {
        images = dataset::leave_out(images, file)?;
    }
    let test = dataset::open_like(&images, &config.data, &config.data.test, &console)?;
    for part in [&images, &test] {
        sizes::check_images("", &config.preprocess, &config.network, part)?;
    }
    let model = Model::new(&config.network, config.seed, &machine.device)?;
    let preprocess: Preprocess = config.preprocess.parse()?;
    let training = machine.image_training(
        &config.training,
        &config.network,
        images,
        [preprocess.geometry(), preprocess.normalisation_only()],
        config.seed,
    )?;
    let output = options.output.clone().unwrap_or_else(|| config.output.clone());
    let checkpoint = output.with_extension("checkpoint.safetensors");
    let locked = output.with_extension("lock");
    let parent = output.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let _lock = rundir::lock_file(&locked, || {
        let output = output.display();
        format!("another robustify is working on {output}; wait for it, or choose another file with --output")
    })?;
    let backend = robustify_device::backend_of(&machine.device);
    let fingerprint = training.images.fingerprint();
    let identity = digest::of(&(digest::PROGRAM, &config, fingerprint, backend, machine.shard_rows))?;
    let plan = Plan {
        epochs: config.training.epochs,
        optimizer: config.training.optimizer.clone(),
        checkpoint: checkpoint.clone(),
        identity,
        config: serde_json::to_value(&config)?,
        checkpoint_every: Duration::from_secs(60),
    };
    let mut watch = TrainingProgress::new(&console, interrupt, "pretrain", training.steps() * plan.epochs);
    let (model, _) =
        trainer::train::<ImageTraining>(&training, model, &plan, &machine.workers, &machine.device, &mut watch)?;
    let accuracy = evaluate::accuracy(&model, &test, &preprocess, &machine.workers, &machine.device)?;
    let bytes = weights::to_bytes(&weights::state(&model));
    write_atomic(&output, &bytes)?;
    for done in [&checkpoint, &locked] {
        std::fs::remove_file(done).with_context(|| done.display().to_string())?;
    }
    let sum = digest::of_bytes(&bytes);
    console::result(&format!("test accuracy {accuracy:.4} on {} images\n{sum}  {}\n", test.len(), output.display()))?;
    Ok(())
}
