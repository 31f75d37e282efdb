//! What methods work with: data, machine, the pre-trained model, the teacher, cached views, and stages that keep results.

mod attached;
pub(crate) mod captions;
pub mod config;
mod loaded;
mod policy;
mod pretrained;
mod seal;
pub mod sizes;
mod source;
mod stage;
mod taught;
mod told;
mod views;
mod work;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow};
use robustify_data::{Images, Preprocess, Splits};
use robustify_device::Machine;
use robustify_distill::trainer::Objective;
use robustify_distill::{CachedPairs, ImageTraining, ViewSpec};
use robustify_predict::{Attached, Made, RobustModel, TrainedOn};
use robustify_select::McConfig;
use robustify_watch::Watch;
use robustify_zoo::clip::Clip;
use robustify_zoo::{Model, ModelConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;

use config::{Config, ImageTrainingConfig};

pub use loaded::{LoadedTeacher, read_teacher};
pub use policy::{policy, policy_identity};
pub use pretrained::{Pretrained, read_original};
pub use robustify_predict::{classes, texts};
pub(crate) use seal::{read_sealed, write_sealed};
pub use source::PairSource;
pub use stage::{Cost, PROGRAM, Stage, Unfinished};
pub use taught::TrainedTeacher;
pub use texts::Towers;
pub use told::clean_validation;
pub use views::Views;
pub use work::{STEP, Work};

/// What methods work with. Everything that several of them need is made once, by whoever asks first.
pub struct Lab<'a> {
    /// The merged configuration.
    pub config: Config,
    /// The images.
    pub splits: &'a Splits,
    /// What to compute on.
    pub machine: &'a Machine,
    /// Who hears how it goes.
    pub watch: &'a dyn Watch,
    /// Where stages are kept.
    pub cache: PathBuf,
    /// Whether to start unfinished stages over instead of continuing them.
    pub fresh: bool,
    /// Whether nothing may be computed, see [`Lab::peeking`].
    peeks: bool,
    /// The large model as its file has it.
    opened: Pretrained,
    /// The teacher as its file has it, if that was read already.
    loaded: Option<LoadedTeacher>,
    original: OnceCell<Pretrained>,
    teacher: OnceCell<TrainedTeacher>,
    views: OnceCell<Rc<Views>>,
    fits: RefCell<BTreeMap<&'static str, Rc<Vec<Fitted>>>>,
}

/// What training on cached views gave.
pub struct Tuned<M> {
    /// The tuned part.
    pub model: M,
    /// Hash of everything that determined it.
    pub hash: String,
    /// What the tuning cost, without the views.
    pub cost: Cost,
}

/// A model that a method made.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The model, under its name in tables.
    pub model: RobustModel,
    /// Hash of everything that determined it.
    pub hash: String,
    /// What it cost to make, from the pre-trained model (and, where there is one, the teacher) on.
    pub cost: Cost,
}

impl<'a> Lab<'a> {
    /// A lab for one configuration; `opened` is the large model as its file has it, see [`read_original`].
    pub fn new(
        config: Config,
        splits: &'a Splits,
        machine: &'a Machine,
        watch: &'a dyn Watch,
        cache: PathBuf,
        fresh: bool,
        opened: Pretrained,
    ) -> Self {
        let (original, teacher, views) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let fits = RefCell::default();
        let (peeks, loaded) = (false, None);
        Self { config, splits, machine, watch, cache, fresh, peeks, opened, loaded, original, teacher, views, fits }
    }

    /// The same, but a stage that is not finished is an error, [`Unfinished`], and neither made nor waited for.
    #[must_use]
    pub fn peeking(self) -> Self {
        Self { peeks: true, ..self }
    }

    /// The same with a teacher that was read before, see [`read_teacher`]; without it, `teacher.weights` is read as a path when a
    /// method asks for the teacher.
    #[must_use]
    pub fn with_teacher(self, loaded: Option<LoadedTeacher>) -> Self {
        Self { loaded, ..self }
    }

    /// The large model as its file has it.
    pub fn opened(&self) -> &Pretrained {
        &self.opened
    }

    /// The training images.
    pub fn images(&self) -> &Images {
        &self.splits.train
    }

    /// The mark of the training images in the file of a model.
    pub fn trained_on(&self) -> TrainedOn {
        TrainedOn { images: self.images().len(), fingerprint: self.images().fingerprint() }
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        self.splits.train.classes()
    }

    /// The CLIP whose image tower the large model is.
    ///
    /// # Errors
    /// Weights that were opened without their text tower.
    pub fn towers(&self) -> Result<&Towers> {
        let without = || {
            anyhow!("the large model has no text tower; set original.zero_shot={{}} with the weights of a whole CLIP")
        };
        self.opened.towers.as_deref().ok_or_else(without)
    }

    /// Every class that models with texts shall know: those of the data, those that are measured, and those that are asked for.
    pub fn texts(&self) -> Vec<String> {
        let zero_shot = self.config.original.zero_shot.iter().flat_map(|zero_shot| &zero_shot.classes);
        let measured = self.config.benchmark.classes.iter().flatten();
        let mut texts = Vec::new();
        for class in self.classes().iter().chain(measured).chain(zero_shot) {
            if !texts.contains(class) {
                texts.push(class.clone());
            }
        }
        texts
    }

    /// The row of a CLIP of which both towers were tuned: the texts of the classes come from its own text tower.
    ///
    /// # Errors
    /// As for [`Self::towers`] and [`Self::fitted`].
    pub fn fitted_towers(&self, name: &str, clip: Clip, hash: String, cost: Cost) -> Result<Fitted> {
        let label_set = self.towers()?.label_set(&clip, &self.texts(), &self.machine.workers)?;
        let tuned = pretrained::zero_shot(self, &self.opened, clip.visual, label_set, &hash)?;
        let mut fitted = self.fitted(name, &tuned, tuned.model.clone(), tuned.hash.clone(), cost)?;
        // Nothing of it is as it was, so it shares no trunk.
        fitted.model.cut = None;
        Ok(fitted)
    }

    /// The large model, with a probed classifier if the data has other classes than the weights.
    ///
    /// # Errors
    /// A probe that cannot be trained.
    pub fn original(&self) -> Result<&Pretrained> {
        self.once(&self.original, || pretrained::with_classes(self))
    }

    /// The teacher, loaded or trained.
    ///
    /// # Errors
    /// A teacher that cannot be read or trained.
    pub fn teacher(&self) -> Result<&TrainedTeacher> {
        self.once(&self.teacher, || taught::teacher(self))
    }

    /// A linear probe on the frozen model: trained by whoever asks first, read by the others.
    ///
    /// # Errors
    /// A probe that cannot be trained.
    pub fn probe(&self) -> Result<Pretrained> {
        pretrained::probe(self)
    }

    /// The views that the configuration describes.
    ///
    /// # Errors
    /// A view or policy that is none.
    pub fn view_spec(&self) -> Result<ViewSpec> {
        views::spec(self)
    }

    /// What a method made, fitted by whoever asks first.
    ///
    /// # Errors
    /// A name that no method has, and what keeps the method from being fitted.
    pub fn fits(&self, method: &str) -> Result<Rc<Vec<Fitted>>> {
        let method = crate::find(method)?;
        if let Some(fits) = self.fits.borrow().get(method.name()) {
            return Ok(Rc::clone(fits));
        }
        let fits = Rc::new(method.fit(self).with_context(|| format!("method {}", method.name()))?);
        self.fits.borrow_mut().insert(method.name(), Rc::clone(&fits));
        Ok(fits)
    }

    /// Rows that BatchNorm of the large model normalises together, if it has any that looks at the batch.
    pub fn norm_rows(&self, rows: usize, frozen: bool) -> Option<usize> {
        (self.config.original.network.has_batch_norm() && !frozen).then_some(rows)
    }

    /// The cached views: features of the backbone, and logits of the original model and of the teacher.
    ///
    /// # Errors
    /// Images that cannot be read, or files that cannot be written.
    pub fn views(&self) -> Result<Rc<Views>> {
        self.once(&self.views, || views::cached(self).map(Rc::new)).cloned()
    }

    fn once<'b, T>(&self, place: &'b OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&'b T> {
        if let Some(made) = place.get() {
            return Ok(made);
        }
        let made = make()?;
        Ok(place.get_or_init(|| made))
    }

    /// The stage that `inputs` determine, beside program and backend. What another program works in is waited for.
    ///
    /// # Errors
    /// A folder that cannot be made or locked, or an interruption while waiting.
    pub fn stage(&self, name: &str, inputs: &impl Serialize) -> Result<Stage> {
        Stage::open(self, name, inputs)
    }

    /// A method's own settings, from `[method.NAME]`; the defaults without such a table.
    ///
    /// # Errors
    /// Settings that are not those of the method.
    pub fn settings<T: DeserializeOwned + Default>(&self, method: &str) -> Result<T> {
        self.config.settings(method)
    }

    /// Cached views in batches of pairs, as methods on the frozen backbone read them.
    pub fn pairs<'b>(&'b self, views: &'b Views) -> CachedPairs<'b> {
        CachedPairs {
            cache: &views.cache,
            config: &self.config.tuning,
            shard_pairs: self.machine.shard_rows,
            device: &self.machine.device,
        }
    }

    /// Trains on cached views, of which `views` is the hash, with the settings of `tuning`; returns what came out.
    ///
    /// # Errors
    /// As [`Stage::trained`].
    pub fn tune<O: Objective>(
        &self,
        name: &str,
        views: &str,
        objective: &O,
        model: O::Model,
    ) -> Result<Tuned<O::Model>> {
        let (config, split) = (&self.config.tuning, &self.config.split);
        let stage = self.stage(name, &((views, split), config, self.machine.shard_rows))?;
        let (model, hash) = stage.trained(self, objective, model, config.epochs, &config.optimizer)?;
        Ok(Tuned { model, cost: stage.cost(), hash })
    }

    /// A model of the network of `of` as a fitted model of one head, which shares the trunk with all others that have the same
    /// weights before the cut.
    ///
    /// # Errors
    /// A preprocessing that is none.
    pub fn fitted(&self, name: &str, of: &Pretrained, model: Model, hash: String, cost: Cost) -> Result<Fitted> {
        let preprocess: Preprocess = self.config.original.preprocess.parse()?;
        let model = RobustModel {
            method: name.into(),
            network: of.network.clone(),
            seen: preprocess.normalisation_only(),
            preprocess,
            model,
            classes: self.classes().to_vec(),
            cut: Some(self.config.split),
            made: Made::Classifier,
            attached: Attached::default(),
            trained_on: Some(self.trained_on()),
            label_set: of.label_set.as_deref().filter(|_| of.network.texts() > 0).cloned(),
        };
        Ok(Fitted { model, hash, cost })
    }
}

impl Config {
    /// A method's own settings, from `[method.NAME]`; the defaults without such a table.
    ///
    /// # Errors
    /// Settings that are not those of the method.
    pub fn settings<T: DeserializeOwned + Default>(&self, method: &str) -> Result<T> {
        match self.method.get(method) {
            None => Ok(T::default()),
            Some(table) => table.clone().try_into().with_context(|| format!("method.{method}")),
        }
    }

    /// How three heads are sampled.
    pub fn monte_carlo(&self) -> McConfig {
        McConfig {
            passes: self.select.passes,
            dropout: self.tuning.dropout,
            seed: self.select.mask_seed,
            common_masks: self.select.common_masks,
        }
    }
}

/// The training that a section of a configuration describes. Views and augmentations work on the pixels of the first
/// preprocessing; the network sees them through the second.
///
/// # Errors
/// A view or policy that is none.
pub fn image_training(
    machine: &Machine,
    config: &ImageTrainingConfig,
    network: &ModelConfig,
    images: Images,
    [preprocess, own]: [Preprocess; 2],
    seed: u64,
) -> Result<ImageTraining> {
    Ok(ImageTraining {
        images,
        preprocess,
        own,
        clean_view: config.clean_view.as_deref().unwrap_or("identity").parse()?,
        policy: config.policy.as_deref().map(|text| policy(text, &machine.device)).transpose()?,
        jsd_weight: config.jsd_weight,
        batch_size: config.batch_size,
        shard_rows: machine.shard_rows,
        norm_rows: network.has_batch_norm().then_some(config.norm_rows),
        freeze_norm: false,
        body_rate_scale: 1.0,
        label_smoothing: config.label_smoothing,
        seed,
        loader_threads: machine.workers.threads(),
        device: machine.device.clone(),
    })
}
