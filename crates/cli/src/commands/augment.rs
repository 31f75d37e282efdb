//! `augment`: training augmentations into files.

use robustify_augment::Policy;
use robustify_pictures::{AugmentJob, Deep};

use crate::args::Augment;
use crate::console::Console;

/// Augments every picture of the input.
pub fn run(options: &Augment, console: &Console) -> anyhow::Result<()> {
    let policy: Option<Policy> = match (&options.policy, options.deep) {
        (Some(policy), _) => Some(policy.parse()?),
        (None, Some(_)) => None,
        (None, None) => Some("augmix(severity=3)".parse()?),
    };
    let deep = options.deep.map(|network| Deep {
        method: network.into(),
        weights: options.deep_weights.clone(),
        epochs: options.deep_epochs as usize,
        backend: options.backend.clone(),
    });
    let job = AugmentJob { files: options.offline.files(), policy, deep, views: options.views };
    robustify_pictures::augment(&job, console)
}
