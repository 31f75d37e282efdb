//! `pretrain`: a model from scratch.

use robustify_experiment::pretrain::{PretrainConfig, pretrain};
use robustify_experiment::settings as files;

use crate::args::Pretrain;
use crate::console::{self, Console};
use crate::settings;

/// Trains, tests and writes the model that a configuration describes.
pub fn run(options: &Pretrain, console: &Console) -> anyhow::Result<()> {
    let config: PretrainConfig = files::load(&options.config, &settings::given(&options.overrides)?)?;
    let machine = options.common.machine()?;
    let output = options.output.clone().unwrap_or_else(|| config.output.clone());
    let made = pretrain(&config, &output, &machine, console)?;
    let (accuracy, images, sum) = (made.accuracy, made.images, made.sha256);
    console::result(&format!("test accuracy {accuracy:.4} on {images} images\n{sum}  {}\n", output.display()))
}
