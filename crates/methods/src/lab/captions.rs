//! The tuning images with captions: the name of the class in one of the sentences.

use std::sync::Arc;

use anyhow::Result;
use robustify_augment::Policy;
use robustify_data::{CleanView, DataError, Images, Job, Preprocess};
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::{CaptionBatches, Captioned, TuningConfig};
use robustify_rng::Key;
use robustify_tokenizer::prompts;
use serde::Serialize;

use super::config::{Config, EPOCHS, ROWS, within};
use super::{Lab, Stage, policy_identity};

/// How both towers of a CLIP are tuned.
pub(crate) struct TowerTuning {
    pub epochs: usize,
    pub batch_size: usize,
    pub group_rows: usize,
    pub augmented: bool,
    pub optimizer: AdamWConfig,
}

/// Makes views of the tuning images, and their captions.
pub(crate) struct TuningCaptions {
    images: Images,
    preprocess: Preprocess,
    view: CleanView,
    policy: Option<Policy>,
    /// The ids of every sentence of every class.
    rows: Vec<Vec<Vec<u32>>>,
    seed: u64,
}

impl TuningCaptions {
    /// Those of a lab; half of the views augmented, or none.
    ///
    /// # Errors
    /// A large model without a text tower, and a name with a word that it does not know.
    pub fn new(lab: &Lab<'_>, augmented: bool) -> Result<Arc<Self>> {
        let towers = lab.towers()?;
        let row = |class: &String| {
            let name = towers.zero_shot.name(class);
            let filled = towers.zero_shot.templates().into_iter().map(|template| prompts::fill(template, name));
            filled.map(|text| towers.texts.row(&text)).collect::<Result<Vec<_>, _>>()
        };
        let config = &lab.config;
        Ok(Arc::new(Self {
            images: lab.images().clone(),
            preprocess: config.original.preprocess.parse()?,
            view: config.views.clean_view.parse()?,
            policy: augmented.then(|| lab.policy(&config.views.policy)).transpose()?,
            rows: lab.classes().iter().map(row).collect::<Result<_, _>>()?,
            seed: config.tuning.seed,
        }))
    }

    /// The stage of a method that trains both towers on captions, with settings of its own.
    pub fn stage(lab: &Lab<'_>, method: &str, settings: &impl Serialize, tuning: &TowerTuning) -> Result<Stage> {
        let config = &lab.config;
        let policy =
            tuning.augmented.then(|| policy_identity(&config.views.policy, &lab.machine.device)).transpose()?;
        let data = (&config.views.clean_view, policy, lab.images().fingerprint(), lab.classes());
        lab.stage(method, &(&lab.original()?.hash, data, settings, &tuning.optimizer, config.tuning.seed))
    }

    /// The captioned images of an epoch.
    pub fn job(self: &Arc<Self>, epoch: usize) -> Job<Captioned> {
        let captions = Arc::clone(self);
        Arc::new(move |index, _| captions.captioned(epoch, index))
    }

    /// In batches, as an objective reads them.
    pub fn batches<'a>(
        &self,
        lab: &Lab<'_>,
        tuning: &TowerTuning,
        items: &'a (dyn Fn(usize) -> Job<Captioned> + Sync),
    ) -> CaptionBatches<'a> {
        CaptionBatches {
            items,
            images: self.images.len(),
            batch_size: tuning.batch_size,
            group_rows: tuning.group_rows,
            image_size: lab.config.original.network.image_size(),
            seed: self.seed,
            loader_threads: lab.machine.workers.threads(),
            device: lab.machine.device.clone(),
        }
    }

    fn captioned(&self, epoch: usize, index: usize) -> robustify_data::Result<Captioned> {
        let misfit = |error: DataError| error.of_image(&self.images, index);
        let sample = self.images.get(index)?;
        let pixels = self.preprocess.geometry().pixels(&sample.image).map_err(misfit)?;
        let key = |purpose| Key::new(self.seed, purpose).with(epoch as u64).with(sample.id);
        let mut view = self.view.apply(&pixels, key("clean view")).map_err(misfit)?;
        let stream = &mut key("caption").stream();
        if let Some(policy) = self.policy.as_ref().filter(|_| stream.chance(0.5)) {
            view = policy.apply(&view, key("augmentation"));
        }
        let sentences = &self.rows[sample.label];
        let ids = sentences[stream.below(sentences.len() as u32) as usize].clone();
        let mut values = vec![0.0; 3 * (view.width() * view.height()) as usize];
        self.preprocess.write_chw(&view, &mut values).map_err(misfit)?;
        Ok(Captioned { pixels: values, ids, meaning: sample.label as u64 })
    }
}

impl TowerTuning {
    /// Faults, each with its key behind `at`.
    pub fn faults(&self, at: &str) -> Vec<String> {
        let mut faults: Vec<String> =
            self.optimizer.faults().into_iter().map(|fault| format!("{at}.optimizer.{fault}")).collect();
        within(&mut faults, &format!("{at}.epochs"), self.epochs, 1..=TuningConfig::MOST_EPOCHS, EPOCHS);
        within(&mut faults, &format!("{at}.batch_size"), self.batch_size, 2..=TuningConfig::MOST_ROWS, ROWS);
        within(&mut faults, &format!("{at}.group_rows"), self.group_rows, 2..=TuningConfig::MOST_ROWS, ROWS);
        faults
    }
}

impl Config {
    /// The optimizer's settings for a network that is tuned as a whole: as given, else those of `tuning.optimizer` at a quarter of
    /// its learning rate.
    pub(crate) fn gentle(&self, given: Option<&AdamWConfig>) -> AdamWConfig {
        let tuning = &self.tuning.optimizer;
        let usual = || AdamWConfig { learning_rate: tuning.learning_rate / 4.0, ..tuning.clone() };
        given.cloned().unwrap_or_else(usual)
    }
}
