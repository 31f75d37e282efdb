//! What objectives share: the images, the training loop, and the weights as they will be written.

use std::path::Path;
use std::time::Duration;

use burn::module::Module;
use robustify_data::{Images, Preprocess};
use robustify_device::Machine;
use robustify_distill::ImageTraining;
use robustify_distill::Precision;
use robustify_distill::trainer::{self, Objective, Plan};
use robustify_methods::lab::{PROGRAM, image_training};
use robustify_report::digest;
use robustify_watch::Watch;
use robustify_zoo::{Model, weights};

use super::PretrainConfig;

/// A pre-training that is under way.
pub struct Session<'a> {
    /// The configuration.
    pub config: &'a PretrainConfig,
    /// The training images.
    pub images: Images,
    /// The test images.
    pub test: Images,
    /// Where tensors go, and the threads.
    pub machine: &'a Machine,
    /// Told of progress, asked about an interruption.
    pub watch: &'a dyn Watch,
    pub(super) checkpoint: &'a Path,
}

/// What an objective made.
pub struct Made {
    /// The file: safetensors.
    pub bytes: Vec<u8>,
    /// How good the model is, as it was written.
    pub scores: Vec<Score>,
}

/// A measure of a pre-trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// What was measured, as in `test accuracy`.
    pub measure: String,
    /// What it came to.
    pub value: f64,
    /// On how many images.
    pub images: usize,
}

impl Session<'_> {
    /// The network with fresh weights.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn network(&self) -> anyhow::Result<Model> {
        Ok(Model::new(&self.config.network, self.config.seed, &self.machine.device)?)
    }

    /// From files to the network's input.
    ///
    /// # Errors
    /// A preprocessing that is none.
    pub fn preprocess(&self) -> anyhow::Result<Preprocess> {
        Ok(self.config.preprocess.parse()?)
    }

    /// The training of a classifier that the configuration describes.
    ///
    /// # Errors
    /// A view or policy that is none.
    pub fn image_training(&self) -> anyhow::Result<ImageTraining> {
        let (config, preprocess) = (self.config, self.preprocess()?);
        let preprocesses = [preprocess.geometry(), preprocess.normalisation_only()];
        let images = self.images.clone();
        image_training(self.machine, &config.training, &config.network, images, preprocesses, config.seed)
    }

    /// Trains `model`, which may hold more than one network (a student and its teacher): all of its parameters are in the
    /// checkpoint, from which an interrupted training goes on to the same bits.
    ///
    /// # Errors
    /// Whatever ends a training, see [`trainer::train`].
    pub fn train<O: Objective>(&self, objective: &O, model: O::Model) -> anyhow::Result<O::Model> {
        self.train_with(objective, model, None)
    }

    /// The same for an objective that reads files: a checkpoint is that of one `identity`, a hash of what they hold, only.
    ///
    /// # Errors
    /// As [`Self::train`].
    pub fn train_with<O: Objective>(
        &self,
        objective: &O,
        model: O::Model,
        identity: Option<&str>,
    ) -> anyhow::Result<O::Model> {
        let Self { config, machine, .. } = *self;
        let backend = robustify_device::backend_of(&machine.device);
        let fingerprint = self.images.fingerprint();
        let identified = PretrainConfig { training: config.training.identified(&machine.device)?, ..config.clone() };
        let own = digest::of(&(PROGRAM, &identified, fingerprint, backend, machine.shard_rows))?;
        let plan = Plan {
            name: "pretrain".into(),
            epochs: config.training.epochs,
            optimizer: config.training.optimizer.clone(),
            checkpoint: self.checkpoint.into(),
            identity: identity.map_or_else(|| Ok(own.clone()), |identity| digest::of(&(&own, identity)))?,
            config: serde_json::to_value(config)?,
            checkpoint_every: Duration::from_secs(60),
        };
        Ok(trainer::train(objective, model, &plan, &machine.workers, &machine.device, self.watch)?.0)
    }

    /// The file of a model, and the model that a reader of the file gets: the one to measure.
    ///
    /// # Errors
    /// Weights that are no finite numbers, or none once they have 16 bits.
    pub fn written<M: Module>(&self, model: M) -> anyhow::Result<(Vec<u8>, M)> {
        let state = weights::state(&model);
        let bytes = match self.config.precision {
            Precision::F32 => weights::to_bytes(&state),
            Precision::F16 => weights::to_half_bytes(&state),
        };
        let read = weights::from_bytes(&bytes).map_err(anyhow::Error::msg)?;
        let model = weights::with_state(model, read).map_err(|faults| anyhow::anyhow!("{}", faults.join("; ")))?;
        Ok((bytes, model))
    }
}
