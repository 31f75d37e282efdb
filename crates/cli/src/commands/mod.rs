//! One file a command.

pub mod augment;
pub mod bench_cost;
pub mod bench_models;
pub mod bench_robustness;
pub mod corrupt;
pub mod models;
mod offline;
pub mod pretrain;
pub mod train;

use std::path::Path;

use burn::tensor::Device;
use robustify_data::{Images, Preprocess};
use robustify_distill::ImageTraining;
use robustify_zoo::{ModelConfig, Workers};

use crate::args::Common;
use crate::config::ImageTrainingConfig;

/// Fails unless the folder is there that a file is to be written into.
fn expect_folder_of(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(folder.is_dir(), "there is no folder {}; make it first", folder.display());
    Ok(())
}

/// What a command computes on.
pub struct Machine {
    /// The device of the backend.
    pub device: Device,
    /// Threads for shards.
    pub workers: Workers,
    /// Rows of a shard: small on a CPU backend of one thread a kernel, unlimited where a kernel fills the device.
    pub shard_rows: usize,
}

impl Machine {
    /// Rows of a shard on flex: enough for efficient products, few enough to fill many cores from one batch.
    const FLEX_SHARD_ROWS: usize = 32;

    /// Opens the backend and starts the threads that the options ask for.
    pub fn open(options: &Common) -> anyhow::Result<Self> {
        let device = robustify_device::open(options.backend.as_deref())?;
        let flex = robustify_device::backend_of(&device) == "flex";
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = options.threads.map_or(cores, usize::from);
        let workers = Workers::new(if flex { threads } else { 1 })?;
        Ok(Self { device, workers, shard_rows: if flex { Self::FLEX_SHARD_ROWS } else { usize::MAX } })
    }

    /// The training that a section of a configuration describes: views and augmentations of the pixels of `preprocess`, which the
    /// model sees through its `own` one.
    pub fn image_training(
        &self,
        config: &ImageTrainingConfig,
        network: &ModelConfig,
        images: Images,
        [preprocess, own]: [Preprocess; 2],
        seed: u64,
    ) -> anyhow::Result<ImageTraining> {
        Ok(ImageTraining {
            images,
            preprocess,
            own,
            clean_view: config.clean_view.parse()?,
            policy: config.policy.as_deref().map(str::parse).transpose()?,
            jsd_weight: config.jsd_weight,
            batch_size: config.batch_size,
            shard_rows: self.shard_rows,
            norm_rows: network.has_batch_norm().then_some(config.norm_rows),
            freeze_norm: false,
            body_rate_scale: 1.0,
            label_smoothing: config.label_smoothing,
            seed,
            loader_threads: self.workers.threads(),
            device: self.device.clone(),
        })
    }
}
