//! APT, augmentation-based partial tuning: one head on the same layers and the same cached views as Robustify, cross-entropy
//! alone, no teacher.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 4, where it is the rival that shows what the teachers add.

use anyhow::Result;
use robustify_distill::Apt as Objective;
use robustify_select::OneHead;

use crate::{Fitted, Lab, Method, Work};

/// One tuned head.
pub(crate) struct Apt;

impl Method for Apt {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn title(&self) -> &'static str {
        "APT"
    }

    fn about(&self) -> &'static str {
        "augmentation-based partial tuning: one head on the tunable part, by labels alone, on clean and augmented views"
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        Ok(Work { answer: lab.tail(), ..lab.tuning_work(1.0, 1.0, false) })
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let split = lab.config.split;
        let (original, source) = (lab.original()?, lab.pair_source(false)?);
        let head = OneHead::new(&original.model, split)?;
        let tuned = lab.tune(self.name(), &source.hash, &Objective(source.pairs(lab, &lab.config.tuning)?), head)?;
        let model = tuned.model.into_model(original.model.clone(), split)?;
        let fitted = lab.fitted(self.name(), original, model, tuned.hash, source.cost + tuned.cost)?;
        Ok(vec![lab.attached(fitted)?])
    }
}
