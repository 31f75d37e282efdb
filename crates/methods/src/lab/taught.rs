//! The small robust teacher's training, and whether it knows enough to teach.

use anyhow::Result;
use robustify_bench::evaluate;
use robustify_data::{Preprocess, batch};
use robustify_select::ThreeHeads;
use robustify_zoo::{Model, ModelConfig, Pass};

use super::{Cost, Lab, image_training};

/// The teacher with its weights.
pub struct TrainedTeacher {
    /// The model.
    pub model: Model,
    /// Its network.
    pub network: ModelConfig,
    /// Hash of what determines it.
    pub hash: String,
    /// What its training cost.
    pub cost: Cost,
}

/// Trains the small model to be robust.
pub(super) fn teacher(lab: &Lab<'_>) -> Result<TrainedTeacher> {
    let (config, seed) = (&lab.config.teacher, lab.config.seed);
    let images = lab.images();
    let network = config.network.with_classes(images.classes().len());
    let pixels = &lab.config.original.preprocess;
    let shard_rows = lab.machine.shard_rows;
    let inputs =
        (seed, &network, &config.preprocess, pixels, &config.training, images.fingerprint(), shard_rows);
    let stage = lab.stage("teacher", &inputs)?;
    // The teacher gets the large model's pixels, and sees them in its own way.
    let preprocesses = [pixels.parse::<Preprocess>()?.geometry(), config.preprocess.parse()?];
    let objective =
        image_training(lab.machine, &config.training, &network, images.clone(), preprocesses, seed)?;
    let model = Model::new(&network, seed, &lab.machine.device)?;
    let model = stage.trained(lab, &objective, model, config.training.epochs, &config.training.optimizer)?;
    Ok(TrainedTeacher { model, network, cost: stage.cost(), hash: stage.hash })
}

impl Lab<'_> {
    /// Says how well the teacher and the robust head do on augmented views of validation images, which neither was trained on. A
    /// teacher that knows less than its pupil teaches it nothing: miniature experiments lose 3 to 4 points to APT then.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn warn_of_weak_teacher(&self, heads: &ThreeHeads) -> Result<()> {
        let (images, spec, teacher) = (&self.splits.validation, super::views::spec(self)?, self.teacher()?);
        let (original, own) = (self.original()?, self.config.teacher.preprocess.parse::<Preprocess>()?);
        let cut = self.config.split.backbone_end(&original.model)?;
        let (workers, device) = (&self.machine.workers, &self.machine.device);
        let chunks = evaluate::chunks(images.len().min(CHECKED));
        let right = workers.map(chunks, |range| -> Result<[usize; 2]> {
            let labels = &images.labels()[range.clone()];
            let views = range.map(|index| spec.pixels(images, index, spec.clean)).collect::<Result<Vec<_>, _>>()?;
            let small = views.iter().map(|view| own.pixels(view)).collect::<Result<Vec<_>, _>>()?;
            let said = teacher.model.forward(batch::normalised(&small, &own, device)?, &Pass::eval());
            let features = original.model.features(batch::normalised(&views, &spec.preprocess, device)?, cut);
            let [_, _, robust] = heads.forward(features, 1, &Pass::eval());
            let count = |logits| evaluate::argmax(logits).iter().zip(labels).filter(|(a, b)| a == b).count();
            Ok([count(said), count(robust)])
        });
        let (mut taught, mut learnt) = (0, 0);
        for counts in right {
            let [teacher, head] = counts?;
            taught += teacher;
            learnt += head;
        }
        let percent = |right: usize| 100.0 * right as f64 / images.len().clamp(1, CHECKED) as f64;
        let text = format!(
            "augmented validation views: teacher {:.1} %, robust head {:.1} %",
            percent(taught),
            percent(learnt)
        );
        if taught < learnt {
            let way_out = "the teacher is the weaker one: train it longer, or on the views' augmentations";
            self.watch.warn(&format!("{text}; {way_out}"));
        } else {
            self.watch.say(&text);
        }
        Ok(())
    }
}

/// Validation images on which teacher and pupil are compared, at most.
const CHECKED: usize = 4096;
