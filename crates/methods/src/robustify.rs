//! Robustify: a shared tunable part and three heads on a frozen backbone, distilled from the original model on clean views
//! and from the small robust teacher on augmented ones.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499.

use anyhow::Result;
use robustify_distill::student;
use robustify_predict::Made;
use robustify_select::ThreeHeads;

use crate::{Fitted, Lab, Method};

/// Three tuned heads.
pub(crate) struct Robustify;

impl Method for Robustify {
    fn name(&self) -> &'static str {
        "robustify"
    }

    fn about(&self) -> &'static str {
        "clean, combined and robust head, distilled from the original model and the teacher"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["teacher"]
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let (original, views) = (lab.original()?, lab.views()?);
        let heads = ThreeHeads::new(&original.model, lab.config.split)?;
        let (heads, hash) = lab.tune(self.name(), &views, &student::Robustify(lab.pairs(&views)), heads)?;
        lab.warn_of_weak_teacher(&views, &heads)?;
        let mut fitted = lab.fitted(self.name(), original.model.clone(), hash)?;
        fitted.model.made = Made::ThreeHeads(heads, lab.config.monte_carlo());
        Ok(vec![fitted])
    }
}
