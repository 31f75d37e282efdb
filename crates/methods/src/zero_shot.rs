//! Zero-shot CLIP: the untouched model, whose classes are texts. Source: Radford et al. 2021, arXiv:2103.00020.

use anyhow::Result;

use crate::{Fitted, Lab, Method};

/// The untouched CLIP.
pub(crate) struct ZeroShot;

impl Method for ZeroShot {
    fn name(&self) -> &'static str {
        "zero_shot"
    }

    fn title(&self) -> &'static str {
        "zero-shot CLIP"
    }

    fn about(&self) -> &'static str {
        "the untouched CLIP, which compares images with the names of the classes in sentences"
    }

    fn needs_texts(&self) -> bool {
        true
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        // It is the original by the name that the tables of papers have.
        let (original, _) = (lab.original()?, lab.towers()?);
        Ok(vec![lab.fitted(self.name(), original, original.model.clone(), original.hash.clone(), original.cost)?])
    }
}
