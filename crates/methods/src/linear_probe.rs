//! Linear probe: the classifier alone is fitted anew, on features of clean views of the frozen model.
//!
//! Source: Radford et al. 2021, arXiv:2103.00020, section 3.2, with AdamW in place of L-BFGS.

use anyhow::Result;

use crate::{Fitted, Lab, Method, Work};

/// A new classifier on frozen features.
pub(crate) struct LinearProbe;

impl Method for LinearProbe {
    fn name(&self) -> &'static str {
        "linear_probe"
    }

    fn title(&self) -> &'static str {
        "linear probe"
    }

    fn about(&self) -> &'static str {
        "a new classifier on the frozen model's features of clean images"
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let views = (lab.images().len() * lab.config.views.clean) as f64;
        let network = &lab.config.original.network;
        let tuned = Some((network.feature_width() + 1) * lab.classes().len());
        Ok(Work { forwards: views, pictures: views, tuned, ..Work::default() })
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let probed = lab.probe()?;
        Ok(vec![lab.fitted(self.name(), &probed, probed.model.clone(), probed.hash.clone(), probed.cost)?])
    }
}
