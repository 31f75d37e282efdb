//! The small robust teacher: an ordinary small classifier, trained on clean and augmented images, or one that is there already.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 3.

use anyhow::Result;
use robustify_predict::{Made, RobustModel};
use robustify_zoo::Model;

use crate::lab::TrainedTeacher;
use crate::{Fitted, Lab, Method};

/// The small robust model by itself.
pub(crate) struct Teacher;

impl Method for Teacher {
    fn name(&self) -> &'static str {
        "teacher"
    }

    fn about(&self) -> &'static str {
        "the small robust model that teaches, by itself"
    }

    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>> {
        let TrainedTeacher { model, network, preprocess: seen, hash, cost } = lab.teacher()?;
        let large = &lab.config.original.preprocess.parse::<robustify_data::Preprocess>()?;
        let model: Model = model.clone();
        let model = RobustModel {
            method: self.name().into(),
            network: network.clone(),
            model,
            preprocess: large.geometry().then(seen),
            seen: seen.clone(),
            classes: lab.classes().to_vec(),
            cut: None,
            made: Made::Classifier,
            trained_on: Some(lab.trained_on()),
        };
        Ok(vec![Fitted { model, hash: hash.clone(), cost: *cost }])
    }
}
