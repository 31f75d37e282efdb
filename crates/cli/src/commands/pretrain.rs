//! `pretrain`: a model from scratch.

use robustify_experiment::pretrain::{PretrainConfig, pretrain};
use robustify_experiment::settings as files;

use crate::args::Pretrain;
use crate::console::{self, Console};
use crate::settings;

/// Trains, tests and writes the model that a configuration describes.
pub fn run(options: &Pretrain, console: &Console) -> anyhow::Result<()> {
    let mut given = settings::given(&options.overrides)?;
    given.extend(options.objective.iter().map(|objective| format!("objective={objective}")));
    let config: PretrainConfig = files::load(&options.config, &given)?;
    let machine = options.common.machine()?;
    let output = options.output.clone().unwrap_or_else(|| config.output.clone());
    let made = pretrain(&config, &output, &machine, console)?;
    let scores =
        made.scores.iter().map(|score| format!("{} {:.4} on {} images\n", score.measure, score.value, score.images));
    console::result(&format!("{}{}  {}\n", scores.collect::<String>(), made.sha256, output.display()))
}
