//! APT, augmentation-based partial tuning: one head on the same layers and the same cached views as Robustify, cross-entropy
//! alone, no teacher.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 4, where it is the rival that shows what the teachers add.

use anyhow::Result;
use robustify_distill::Apt as Objective;
use robustify_select::OneHead;

use crate::lab::STEP;
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
        let tail = lab.tail();
        Ok(Work { forwards: STEP * tail * lab.tuned_rows(), views: true, answer: tail, ..Work::default() })
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let split = lab.config.split;
        let (original, views) = (lab.original()?, lab.views()?);
        let head = OneHead::new(&original.model, split)?;
        let tuned = lab.tune(self.name(), &views.untaught, &Objective(lab.pairs(&views)), head)?;
        let model = tuned.model.into_model(original.model.clone(), split)?;
        let cost = views.untaught_cost + tuned.cost;
        Ok(vec![lab.fitted(self.name(), original, model, tuned.hash, cost)?])
    }
}
