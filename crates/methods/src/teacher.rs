//! The small robust teacher: an ordinary small classifier, trained on clean and augmented images, or one that is there already.
//!
//! Source: Jain et al. 2023, arXiv:2309.07499, section 3.

use anyhow::Result;
use robustify_predict::{Attached, Made, RobustModel};
use robustify_zoo::Model;

use crate::lab::{STEP, TrainedTeacher};
use crate::{Fitted, Lab, Method, Work};

/// The small robust model by itself.
pub(crate) struct Teacher;

impl Method for Teacher {
    fn name(&self) -> &'static str {
        "teacher"
    }

    fn about(&self) -> &'static str {
        "the small robust model that teaches, by itself"
    }

    fn work(&self, lab: &Lab<'_>) -> Result<Work> {
        let (answer, images) = (lab.teacher_share(), lab.images().len() as f64);
        let Some(training) = &lab.config.teacher.training else { return Ok(Work { answer, ..Work::default() }) };
        let rows = images * training.epochs as f64 * if training.policy.is_some() { 2.0 } else { 1.0 };
        let network = lab.config.teacher.network.as_ref();
        let blank = network.and_then(|network| Model::blank(network, &lab.machine.device).ok());
        let tuned = blank.map(|model| robustify_zoo::weights::parameters(&model));
        Ok(Work { forwards: STEP * answer * rows, pictures: rows, answer, tuned, ..Work::default() })
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
            attached: Attached::default(),
            trained_on: Some(lab.trained_on()),
            label_set: None,
        };
        Ok(vec![Fitted { model, hash: hash.clone(), cost: *cost }])
    }
}
