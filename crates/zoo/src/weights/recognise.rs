//! Which models of the registry a checkpoint fits, by the names and shapes of its tensors alone.

use burn::tensor::Device;

use super::load::Plan;
use super::{Checkpoint, shapes};
use crate::registry::{self, Entry};
use crate::{Model, ModelConfig, ZooError};

/// How well a checkpoint fits a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitting {
    /// Tensors are missing, unexpected, or of another shape.
    No,
    /// Every tensor is there; positions or the like are of another size of the input.
    Resized,
    /// Every tensor is there as it is needed.
    Exact,
}

impl ModelConfig {
    /// How well a checkpoint fits the network with as many classes as the checkpoint has. No element is read.
    ///
    /// # Errors
    /// A network with faults, or no state dict under the key `from`.
    pub fn fitting(&self, checkpoint: &Checkpoint, from: Option<&str>, device: &Device) -> Result<Fitting, ZooError> {
        let model = Model::blank(&self.as_in(checkpoint, from, device)?, device)?;
        let expected = shapes(&model);
        let mut plan = Plan::find(checkpoint, &expected, from)?;
        Ok(match plan.settle(&expected).is_empty() {
            false => Fitting::No,
            true if plan.is_resized() => Fitting::Resized,
            true => Fitting::Exact,
        })
    }
}

/// The models of the registry that a checkpoint fits best, in the order of the registry: exactly, or if there are none, but
/// for the size of the input. Many share their tensors and differ in how images are prepared.
///
/// # Errors
/// No state dict under the key `from`.
pub fn recognise(
    checkpoint: &Checkpoint,
    from: Option<&str>,
    device: &Device,
) -> Result<Vec<&'static Entry>, ZooError> {
    let mut tried: Vec<(ModelConfig, Fitting)> = Vec::new();
    let mut found: Vec<(Fitting, &'static Entry)> = Vec::new();
    for entry in registry::entries() {
        let config = (entry.config)().with_classes(0);
        let known = tried.iter().find(|(other, _)| *other == config).map(|(_, fitting)| *fitting);
        let fitting = match known {
            Some(fitting) => fitting,
            None => {
                // A file without anything of this kind is no fault here.
                let fitting = (entry.config)().fitting(checkpoint, from, device).unwrap_or(Fitting::No);
                tried.push((config, fitting));
                fitting
            }
        };
        found.push((fitting, entry));
    }
    let best = found.iter().map(|(fitting, _)| *fitting).max().unwrap_or(Fitting::No);
    Ok(match best {
        Fitting::No => Vec::new(),
        best => found.into_iter().filter(|(fitting, _)| *fitting == best).map(|(_, entry)| entry).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights;

    #[test]
    fn a_checkpoint_is_recognised_by_its_tensors() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let config = (registry::find("test_vit").unwrap().config)().with_classes(7);
        let model = Model::new(&config, 1, &device).unwrap();
        std::fs::write(&path, weights::to_bytes(&weights::state(&model))).unwrap();
        let names = |from| -> Vec<String> {
            let checkpoint = Checkpoint::open(&path).unwrap();
            recognise(&checkpoint, from, &device).unwrap().iter().map(|entry| entry.name()).collect()
        };
        let found = names(None);
        assert!(found.iter().all(|name| name.starts_with("test_vit.")) && !found.is_empty(), "{found:?}");
        // Nothing of an unknown network is taken for a known one.
        let mut state = weights::state(&model);
        state.remove("blocks.0.norm1.weight");
        std::fs::write(&path, weights::to_bytes(&state)).unwrap();
        assert_eq!(names(None), Vec::<String>::new());
    }
}
