//! The small robust teacher's training, and whether it knows enough to teach.

use anyhow::Result;
use robustify_bench::evaluate;
use robustify_data::Preprocess;
use robustify_distill::views::Teacher;
use robustify_select::ThreeHeads;
use robustify_zoo::{Model, ModelConfig, Pass};

use super::{Lab, Views, image_training};

/// The teacher with its weights.
pub struct TrainedTeacher {
    /// The model.
    pub model: Model,
    /// Its network.
    pub network: ModelConfig,
    /// Hash of what determines it.
    pub hash: String,
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
    // The teacher gets the large model's pixels, normalised in its own way.
    let preprocess = pixels.parse::<Preprocess>()?.geometry().then(&config.preprocess.parse()?);
    let objective = image_training(lab.machine, &config.training, images.clone(), preprocess, seed)?;
    let model = Model::new(&network, seed, &lab.machine.device)?;
    let model = stage.trained(lab, &objective, model, config.training.epochs, &config.training.optimizer)?;
    Ok(TrainedTeacher { model, network, hash: stage.hash })
}

impl Lab<'_> {
    /// A teacher that knows less than its pupil teaches it nothing: miniature experiments lose 3 to 4 points to APT then.
    ///
    /// # Errors
    /// None so far.
    pub fn warn_of_weak_teacher(&self, views: &Views, heads: &ThreeHeads) -> Result<()> {
        let cache = &views.cache;
        let rows: Vec<usize> = cache.augmented_rows().collect();
        let step = (rows.len() / 4096).max(1);
        let rows: Vec<usize> = rows.into_iter().step_by(step).collect();
        let (workers, device) = (&self.machine.workers, &self.machine.device);
        let chunks: Vec<&[usize]> = rows.chunks(evaluate::ROWS).collect();
        let right = workers.map(chunks, |chunk| {
            let [_, _, robust] = heads.forward(cache.features(chunk, device), 1, &Pass::eval());
            let predictions = evaluate::argmax(robust);
            predictions.iter().zip(chunk).filter(|(class, row)| **class == cache.labels[**row / cache.views()]).count()
        });
        let robust = right.into_iter().sum::<usize>() as f64 / rows.len().max(1) as f64;
        let teacher = cache.teacher_accuracy(Teacher::Robust, rows.iter().copied());
        let (own, pupil) = (100.0 * teacher, 100.0 * robust);
        let text = format!("augmented tuning views: teacher {own:.1} %, robust head {pupil:.1} %");
        if teacher < robust {
            self.watch
                .warn(&format!("{text}; the teacher is the weaker one: train it longer, or on the views' augmentations"));
        } else {
            self.watch.say(&text);
        }
        Ok(())
    }
}
