//! The large model: its weights, and the classifier that a linear probe makes when the data has other classes.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use burn::tensor::Device;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::views::Report;
use robustify_distill::{Probe, ViewCache, ViewJob, ViewSpec};
use robustify_predict::{LabelSet, RobustModel};
use robustify_report::digest;
use robustify_select::{DropoutFrom, OneHead, SplitConfig};
use robustify_watch::Watch;
use robustify_zoo::weights::{self, Beside, Checkpoint, LoadOptions, Partial};
use robustify_zoo::{Model, ModelConfig};

use super::classes::{self, KnownClasses, Use};
use super::config::{Config, OriginalConfig};
use super::seal::{is_sealed, write_sealed};
use super::texts::{Towers, ZeroShotConfig};
use super::{Cost, Lab, Stage};

/// The large model, and a hash of what determines it.
#[derive(Clone)]
pub struct Pretrained {
    /// With its weights.
    pub model: Model,
    /// What the model is, its classifier included.
    pub network: ModelConfig,
    /// Of weights, network and preprocessing.
    pub hash: String,
    /// What its classifier cost, if one was probed.
    pub cost: Cost,
    /// What its classes are called, as far as something says it.
    pub classes: Option<KnownClasses>,
    /// The CLIP whose image tower it is, if its classes are texts.
    pub towers: Option<Arc<Towers>>,
    /// The texts that it can be asked about, if its classes are texts.
    pub label_set: Option<Arc<LabelSet>>,
}

/// Reads the large model from `file`, which is what `original.weights` names. What the file has for another size of the input
/// is mentioned, and what it does not have, where that is allowed.
///
/// # Errors
/// A file that cannot be read or does not fit the network.
pub fn read_original(config: &Config, file: &Path, device: &Device, watch: &dyn Watch) -> Result<Pretrained> {
    let (original, seed) = (&config.original, config.seed);
    let setting = || format!("original.weights `{}`", original.weights.display());
    if let Some(zero_shot) = &original.zero_shot {
        return zero_shot_original(original, zero_shot, file, device).with_context(setting);
    }
    let checkpoint = Checkpoint::open(file).with_context(setting)?;
    let classes = known_classes(original, file, device, watch).with_context(setting)?;
    let (network, partial) = match original.partial {
        true => (without_guesses(original, &checkpoint, device, watch).with_context(setting)?, Partial::Allow),
        false => (original.network.clone(), Partial::Refuse),
    };
    let model = match partial {
        Partial::Allow => Model::new(&network, seed, device)?,
        Partial::Refuse => Model::blank(&network, device)?,
    };
    let options = LoadOptions { from: original.from.as_deref(), partial };
    let (model, loaded) = weights::load_from(model, &checkpoint, options).with_context(setting)?;
    if !loaded.faults.is_empty() {
        watch.warn(&loaded.to_string());
    } else if !loaded.resized.is_empty() || !loaded.others.is_empty() {
        watch.say(&loaded.to_string());
    }
    let sha256 = digest::of_file(file).with_context(setting)?;
    let drawn = original.partial.then_some(seed);
    let hash = digest::of(&(sha256, &original.from, drawn, &original.network, &original.preprocess))?;
    Ok(Pretrained { model, network, hash, cost: Cost::default(), classes, towers: None, label_set: None })
}

/// Both towers of a CLIP; its classes are those of the data, which are not known yet.
fn zero_shot_original(
    original: &OriginalConfig,
    zero_shot: &ZeroShotConfig,
    file: &Path,
    device: &Device,
) -> Result<Pretrained> {
    let network = original.network.clone();
    let towers = Towers::read(&network, zero_shot, file, original.from.as_deref(), device)?;
    let hash = digest::of(&("zero-shot", towers.prompts(), &original.from, &network, &original.preprocess))?;
    let (model, towers) = (towers.clip.visual.clone(), Some(Arc::new(towers)));
    Ok(Pretrained { model, network, hash, cost: Cost::default(), classes: None, towers, label_set: None })
}

/// What the classes of the weights are called: as the configuration says, else as the weights themselves do, where they are a
/// robust model's, else as `config.json` beside them does.
fn known_classes(
    original: &OriginalConfig,
    file: &Path,
    device: &Device,
    watch: &dyn Watch,
) -> Result<Option<KnownClasses>> {
    let said = original.classes.as_ref().map(|names| KnownClasses::new(names, "original.classes"));
    if RobustModel::is_one(file)? {
        let model = RobustModel::read(file, device)?;
        ensure!(
            model.network.with_classes(0) == original.network.with_classes(0),
            "original.network is not the network of the model in this file, {}",
            serde_json::to_string(&model.network)?
        );
        let own = KnownClasses::new(&model.classes, "the header of the weights");
        if let Some(said) = said.filter(|said| said.names != own.names) {
            bail!(
                "original.classes names {}, and the file of the model {}; leave original.classes out",
                classes::list(&said.names.concat()),
                classes::list(&model.classes)
            );
        }
        return Ok(Some(own));
    }
    if said.is_some() {
        return Ok(said);
    }
    let Some(beside) = Beside::read(file)? else { return Ok(None) };
    let Some(names) = beside.classes else { return Ok(None) };
    let (named, has) = (names.len(), original.network.classes());
    if named != has {
        watch.warn(&format!(
            "{}: names {named} classes, and original.network has {has}, so it says nothing of these weights; original.classes can name \
             them",
            beside.path.display()
        ));
        return Ok(None);
    }
    Ok(Some(KnownClasses { names, from: beside.path.display().to_string() }))
}

/// The network without its classifier, if the file has none that fits: nobody could learn from one that was drawn.
fn without_guesses(
    config: &OriginalConfig,
    checkpoint: &Checkpoint,
    device: &Device,
    watch: &dyn Watch,
) -> Result<ModelConfig> {
    let wanted = config.network.classes();
    let found = config.network.classes_in(checkpoint, config.from.as_deref(), device)?;
    if found == wanted {
        return Ok(config.network.clone());
    }
    watch.warn(&format!(
        "{}: a classifier of {found} classes, the network has {wanted}; a linear probe makes one",
        config.weights.display()
    ));
    Ok(config.network.with_classes(0))
}

/// The large model for the classes of the data: with its own classifier, or some classes of it, where they are the same by name; a
/// linear probe replaces it otherwise.
pub(super) fn with_classes(lab: &Lab<'_>) -> Result<Pretrained> {
    let opened = &lab.opened;
    if let Some(towers) = &opened.towers {
        let (classes, sentences) = (lab.classes(), towers.zero_shot.templates().len());
        lab.watch.say(&format!("classes: texts, {sentences} sentences for each of {}", classes::list(classes)));
        let label_set = towers.label_set(&towers.clip, &lab.texts(), &lab.machine.workers)?;
        return zero_shot(lab, opened, opened.model.clone(), label_set, &opened.hash);
    }
    match classes::usage(opened.network.classifier(), opened.classes.as_ref(), lab.classes())
        .map_err(anyhow::Error::msg)?
    {
        Use::Whole(why) => {
            lab.watch.say(&format!("classes: {why}"));
            Ok(opened.clone())
        }
        Use::Chosen(chosen, why) => {
            lab.watch.say(&format!("classes: {why}"));
            let model = opened.model.clone().with_chosen_classes(&chosen, &lab.machine.device)?;
            let hash = digest::of(&("classes", &opened.hash, &chosen))?;
            let classes = Some(KnownClasses::new(lab.classes(), "the data"));
            Ok(Pretrained {
                model,
                network: opened.network.with_classes(chosen.len()),
                hash,
                classes,
                ..opened.clone()
            })
        }
        Use::Probe(why) => {
            lab.watch.say(&format!("classes: {why}; a linear probe makes the classifier"));
            probe(lab)
        }
    }
}

/// A CLIP's image tower with the data's classes of a label set in place of a classifier.
pub(super) fn zero_shot(
    lab: &Lab<'_>,
    of: &Pretrained,
    tower: Model,
    label_set: LabelSet,
    hash: &str,
) -> Result<Pretrained> {
    let classes = lab.classes();
    let texts = label_set.of(classes).map_err(anyhow::Error::msg)?;
    Ok(Pretrained {
        model: tower.with_texts(Some(&texts), &lab.machine.device)?,
        network: of.network.with_texts(classes.len()).context("original.network is no image tower of CLIP's")?,
        hash: digest::of(&("classes", hash, classes))?,
        classes: Some(KnownClasses::new(classes, "the data")),
        label_set: Some(Arc::new(label_set)),
        ..of.clone()
    })
}

/// The model with its probed classifier.
const CLASSIFIER: &str = "classifier.safetensors";

/// Fits a new classifier for the classes of the data on the model's features of clean views.
pub(super) fn probe(lab: &Lab<'_>) -> Result<Pretrained> {
    let Config { original, views, tuning, seed, .. } = &lab.config;
    let (workers, device, shard_rows) = (&lab.machine.workers, &lab.machine.device, lab.machine.shard_rows);
    let (images, epochs) = (lab.images(), original.probe_epochs);
    let classes = images.classes().len();
    let optimizer = AdamWConfig { learning_rate: 1e-2, ..tuning.optimizer.clone() };
    let model = lab.opened.model.clone().with_classifier(classes, device);
    let network = lab.opened.network.with_classifier(classes);
    let training = (epochs, &optimizer, seed);
    let clean = (views.clean, &views.clean_view, views.precision);
    let stage = lab.stage("probe", &(&lab.opened.hash, classes, training, clean, images.fingerprint(), shard_rows))?;
    let spec = ViewSpec { augmented: 0, ..super::views::spec(lab)? };
    let finished = stage.path(CLASSIFIER);
    if is_sealed(&finished, lab.watch) {
        stage.forget_views();
        let model = weights::load(model, &finished)?;
        return made(lab, &stage, model, network);
    }
    let name = "features for the probe";
    let mut progress = lab.watch.progress(name, images.len() * spec.count());
    let (base, cut) = (&stage.unfinished_views(), model.cut_before_last(0)?);
    let job = ViewJob { spec: &spec, images, workers, device, base, identity: stage.inputs() };
    let report = Report { name, watch: lab.watch, progress: &mut *progress };
    let written = stage.timed(|| job.features(&model, cut, report))??;
    progress.finish(&format!("{} views", images.len() * spec.count()));
    let cache = ViewCache::read(written.features(), &spec, images.labels().to_vec(), written.dims.clone(), [])?;
    let objective = Probe { cache: &cache, batch_size: 256, shard_rows, seed: *seed, device };
    let split = SplitConfig { shared_blocks: 0, head_blocks: 0, dropout_from: DropoutFrom::Heads };
    let (tail, _) = stage.trained(lab, &objective, OneHead::new(&model, split)?, epochs, &optimizer)?;
    let model = tail.into_model(model, split).map_err(|error| anyhow!("probe: {error}"))?;
    write_sealed(&finished, &weights::to_bytes(&weights::state(&model)))?;
    written.discard()?;
    made(lab, &stage, model, network)
}

/// A model with a classifier that was probed in a stage.
fn made(lab: &Lab<'_>, stage: &Stage, model: Model, network: ModelConfig) -> Result<Pretrained> {
    let classes = Some(KnownClasses::new(lab.classes(), "the data"));
    let hash = stage.result(&[CLASSIFIER])?;
    let towers = lab.opened.towers.clone();
    Ok(Pretrained { model, network, cost: stage.cost(), hash, classes, towers, label_set: None })
}
