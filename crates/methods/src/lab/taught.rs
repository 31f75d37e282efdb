//! The small robust teacher, loaded or trained or both, and whether it knows enough to teach.

use anyhow::{Context as _, Result};
use robustify_bench::evaluate;
use robustify_data::{Preprocess, batch};
use robustify_select::ThreeHeads;
use robustify_zoo::{Model, ModelConfig, Pass};

use super::config::ImageTrainingConfig;
use super::{Cost, Lab, LoadedTeacher, image_training, read_teacher};

/// The teacher with its weights.
pub struct TrainedTeacher {
    /// The model.
    pub model: Model,
    /// Its network.
    pub network: ModelConfig,
    /// From the large model's pixels to its input.
    pub preprocess: Preprocess,
    /// Hash of what determines it, its weights included.
    pub hash: String,
    /// What its training cost here; nothing if it came from a file and stayed as it was.
    pub cost: Cost,
}

/// The small robust model: trained, unless it comes from a file and there is no training for it.
pub(super) fn teacher(lab: &Lab<'_>) -> Result<TrainedTeacher> {
    let loaded = loaded(lab)?;
    match (&lab.config.teacher.training, loaded) {
        (Some(training), loaded) => trained(lab, training, loaded),
        (None, Some(LoadedTeacher { model, network, preprocess, hash })) => {
            Ok(TrainedTeacher { model, network, preprocess, hash, cost: Cost::default() })
        }
        (None, None) => {
            anyhow::bail!("teacher has neither weights nor training; give teacher.weights or [teacher.training]")
        }
    }
}

/// What `teacher.weights` names, if it names anything.
fn loaded(lab: &Lab<'_>) -> Result<Option<LoadedTeacher>> {
    if lab.loaded.is_some() {
        return Ok(lab.loaded.clone());
    }
    let read = |file| read_teacher(&lab.config, file, lab.classes(), &lab.machine.device, lab.watch);
    lab.config.teacher.weights.as_deref().map(read).transpose()
}

/// Trains the small model to be robust, from drawn weights or from those of a file.
fn trained(lab: &Lab<'_>, training: &ImageTrainingConfig, loaded: Option<LoadedTeacher>) -> Result<TrainedTeacher> {
    let (config, seed) = (&lab.config.teacher, lab.config.teacher_seed());
    // It learns on the geometry on which it will teach, unless it has one of its own.
    let clean_view = training.clean_view.clone().or_else(|| Some(lab.config.views.clean_view.clone()));
    let training = &ImageTrainingConfig { clean_view, ..training.clone() };
    let (images, device) = (lab.images(), &lab.machine.device);
    let classes = images.classes().len();
    let network = match &loaded {
        Some(loaded) => &loaded.network,
        None => config.network.as_ref().context("teacher.network is missing")?,
    };
    let network = network.with_classes(classes);
    let own = match (&config.preprocess, &loaded) {
        (Some(text), _) => text.clone(),
        (None, Some(loaded)) => loaded.preprocess.to_string(),
        (None, None) => anyhow::bail!("teacher.preprocess is missing"),
    };
    let pixels = &lab.config.original.preprocess;
    let (shard_rows, identified) = (lab.machine.shard_rows, training.identified(device)?);
    let inputs = (seed, &network, &own, pixels, &identified, images.fingerprint(), shard_rows);
    let stage = match &loaded {
        None => lab.stage("teacher", &inputs)?,
        Some(loaded) => lab.stage("teacher", &(&inputs, &loaded.hash))?,
    };
    // The teacher gets the large model's pixels, and sees them in its own way.
    let own: Preprocess = own.parse()?;
    let preprocesses = [pixels.parse::<Preprocess>()?.geometry(), own.clone()];
    let objective = image_training(lab.machine, training, &network, images.clone(), preprocesses, seed)?;
    let model = match loaded {
        None => Model::new(&network, seed, device)?,
        Some(loaded) if loaded.network.classes() == classes => loaded.model,
        Some(loaded) => {
            lab.watch.say(&format!(
                "the teacher's weights have a classifier of {} classes, the data has {classes}: training begins with a new one",
                loaded.network.classes()
            ));
            loaded.model.with_classifier(classes, device)
        }
    };
    let (model, hash) = stage.trained(lab, &objective, model, training.epochs, &training.optimizer)?;
    Ok(TrainedTeacher { model, network, preprocess: own, cost: stage.cost(), hash })
}

impl Lab<'_> {
    /// Says how well the teacher and the robust head do on augmented views of validation images, which neither was trained on. A
    /// teacher that knows less than its pupil teaches it nothing: miniature experiments lose 3 to 4 points to APT then.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn warn_of_weak_teacher(&self, heads: &ThreeHeads) -> Result<()> {
        let (images, spec, teacher) = (&self.splits.validation, super::views::spec(self)?, self.teacher()?);
        let (original, own) = (self.original()?, &teacher.preprocess);
        let cut = self.config.split.backbone_end(&original.model)?;
        let (workers, device) = (&self.machine.workers, &self.machine.device);
        let chunks = evaluate::chunks(images.len().min(CHECKED));
        let right = workers.map(chunks, |range| -> Result<[usize; 2]> {
            let labels = &images.labels()[range.clone()];
            let views = range.map(|index| spec.pixels(images, index, spec.clean)).collect::<Result<Vec<_>, _>>()?;
            let small = views.iter().map(|view| own.pixels(view)).collect::<Result<Vec<_>, _>>()?;
            let said = teacher.model.forward(batch::normalised(&small, own, device)?, &Pass::eval());
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
