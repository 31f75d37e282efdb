//! One file a command.

pub mod augment;
pub mod bench_cost;
pub mod bench_models;
pub mod bench_robustness;
pub mod corrupt;
pub mod models;
pub mod pretrain;
pub mod train;

use robustify_data::{Images, Preprocess};
use robustify_device::Machine;
use robustify_distill::images::ImageTraining;

use crate::config::ImageTrainingConfig;

/// The training that a section of a configuration describes.
pub fn image_training(
    machine: &Machine,
    config: &ImageTrainingConfig,
    images: Images,
    preprocess: Preprocess,
    seed: u64,
) -> anyhow::Result<ImageTraining> {
    Ok(ImageTraining {
        images,
        preprocess,
        clean_view: config.clean_view.parse()?,
        policy: config.policy.as_deref().map(str::parse).transpose()?,
        batch_size: config.batch_size,
        shard_rows: machine.shard_rows,
        label_smoothing: config.label_smoothing,
        seed,
        loader_threads: machine.workers.threads(),
        device: machine.device.clone(),
    })
}
