//! A model from scratch: how the models that ship with the project were made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use robustify_bench::evaluate;
use robustify_data::{DataConfig, Preprocess, splits};
use robustify_device::Machine;
use robustify_distill::Precision;
use robustify_distill::trainer::{self, Plan};
use robustify_methods::config::{ImageTrainingConfig, parses};
use robustify_methods::lab::{PROGRAM, image_training, sizes};
use robustify_report::{digest, lock_file, write_atomic};
use robustify_watch::Watch;
use robustify_zoo::{Model, ModelConfig, network, network_schema, weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::Validate;

/// The configuration of a pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Seed of weights, order and views.
    pub seed: u64,
    /// The images.
    pub data: DataConfig,
    /// The network: its sizes, or `model` with a name of the registry.
    #[serde(deserialize_with = "network")]
    #[schemars(schema_with = "network_schema")]
    pub network: ModelConfig,
    /// From files to the network's input.
    pub preprocess: String,
    /// How to train.
    pub training: ImageTrainingConfig,
    /// Where to write the weights.
    pub output: PathBuf,
    /// How to write them: `f32`, or `f16` for half the size. The accuracy is that of the written weights.
    #[serde(default = "f32_weights")]
    pub precision: Precision,
}

fn f32_weights() -> Precision {
    Precision::F32
}

impl Validate for PretrainConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.training.faults("training");
        faults.extend(self.network.faults().into_iter().map(|fault| format!("network: {fault}")));
        parses::<Preprocess>(&mut faults, "preprocess", &self.preprocess);
        let view = self.training.clean_view.as_deref().unwrap_or("identity");
        faults.extend(sizes::training_faults("network", &self.network, "training.clean_view", view));
        faults
    }
}

/// What a pre-training came to.
pub struct Pretrained {
    /// Part of the test images that the model gets right.
    pub accuracy: f64,
    /// Number of test images.
    pub images: usize,
    /// SHA-256 of the weights' file.
    pub sha256: String,
}

/// Trains, tests and writes the model that a configuration describes into `output`.
///
/// # Errors
/// Images that cannot be read or do not fit the network, files that cannot be written, another program at work on the same
/// file, or an interruption.
pub fn pretrain(
    config: &PretrainConfig,
    output: &Path,
    machine: &Machine,
    watch: &dyn Watch,
) -> anyhow::Result<Pretrained> {
    let [images, test] = splits::train_and_test(&config.data, watch)?;
    for part in [&images, &test] {
        sizes::check_images("", &config.preprocess, &config.network, part)?;
    }
    let model = Model::new(&config.network, config.seed, &machine.device)?;
    let preprocess: Preprocess = config.preprocess.parse()?;
    let preprocesses = [preprocess.geometry(), preprocess.normalisation_only()];
    let training = image_training(machine, &config.training, &config.network, images, preprocesses, config.seed)?;
    let (checkpoint, locked) = (output.with_extension("checkpoint.safetensors"), output.with_extension("lock"));
    let parent = output.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let _lock = lock_file(&locked, || {
        let output = output.display();
        format!("another robustify is working on {output}; wait for it, or choose another file with --output")
    })?;
    let backend = robustify_device::backend_of(&machine.device);
    let fingerprint = training.images.fingerprint();
    let identified = PretrainConfig { training: config.training.identified(&machine.device)?, ..config.clone() };
    let plan = Plan {
        name: "pretrain".into(),
        epochs: config.training.epochs,
        optimizer: config.training.optimizer.clone(),
        checkpoint: checkpoint.clone(),
        identity: digest::of(&(PROGRAM, &identified, fingerprint, backend, machine.shard_rows))?,
        config: serde_json::to_value(config)?,
        checkpoint_every: Duration::from_secs(60),
    };
    let (model, _) = trainer::train(&training, model, &plan, &machine.workers, &machine.device, watch)?;
    let state = weights::state(&model);
    let bytes = match config.precision {
        Precision::F32 => weights::to_bytes(&state),
        Precision::F16 => weights::to_half_bytes(&state),
    };
    let written = weights::from_bytes(&bytes).map_err(anyhow::Error::msg)?;
    let model = weights::with_state(model, written).map_err(|faults| anyhow::anyhow!("{}", faults.join("; ")))?;
    let accuracy = evaluate::accuracy(&model, &test, &preprocess, &machine.workers, &machine.device)?;
    write_atomic(output, &bytes)?;
    for done in [&checkpoint, &locked] {
        std::fs::remove_file(done).with_context(|| done.display().to_string())?;
    }
    Ok(Pretrained { accuracy, images: test.len(), sha256: digest::of_bytes(&bytes) })
}
