//! The large model: its weights, and the classifier that a linear probe makes when the data has other classes.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use burn::tensor::Device;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::views::{self, Report};
use robustify_distill::{Probe, ViewCache, ViewSpec};
use robustify_report::{digest, write_atomic};
use robustify_select::{DropoutFrom, OneHead, SplitConfig};
use robustify_watch::Watch;
use robustify_zoo::weights::{self, Checkpoint, LoadOptions, Partial};
use robustify_zoo::{Model, ModelConfig};

use super::config::{Config, OriginalConfig};
use super::stage::{is_sealed, seal};
use super::{Cost, Lab};

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
}

/// Reads the large model from `file`, which is what `original.weights` names. What the file has for another size of the input
/// is mentioned, and what it does not have, where that is allowed.
///
/// # Errors
/// A file that cannot be read or does not fit the network.
pub fn read_original(config: &Config, file: &Path, device: &Device, watch: &dyn Watch) -> Result<Pretrained> {
    let (original, seed) = (&config.original, config.seed);
    let setting = || format!("original.weights `{}`", original.weights.display());
    let checkpoint = Checkpoint::open(file).with_context(setting)?;
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
    Ok(Pretrained { model, network, hash, cost: Cost::default() })
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

/// The large model; a linear probe replaces its classifier when the data has other classes.
pub(super) fn with_classes(lab: &Lab<'_>) -> Result<Pretrained> {
    let original = &lab.config.original;
    let images = lab.images();
    let classes = images.classes().len();
    let known = original.classes.as_ref().is_none_or(|known| known == images.classes());
    if lab.opened.model.classes() == classes && known {
        return Ok(lab.opened.clone());
    }
    lab.watch.say(&format!(
        "the {classes} classes of the data are not those of the weights: a linear probe makes the classifier"
    ));
    probe(lab)
}

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
    let finished = stage.path("classifier.safetensors");
    if is_sealed(&finished, lab.watch) {
        let model = weights::load(model, &finished)?;
        return Ok(Pretrained { model, network, cost: stage.cost(), hash: stage.hash });
    }
    let mut progress = lab.watch.progress("features for the probe", images.len() * spec.count());
    let (path, cut) = (stage.path("features"), model.cut_before_last(0)?);
    let report = Report { watch: lab.watch, progress: &mut *progress };
    let write = || views::write_features(&spec, images, &model, cut, &path, workers, device, report);
    let (_, dims) = stage.timed(write)??;
    progress.finish(&format!("{} views", images.len() * spec.count()));
    let cache = ViewCache::read(&path, &spec, images.labels().to_vec(), dims, [])?;
    let objective = Probe { cache: &cache, batch_size: 256, shard_rows, seed: *seed, device };
    let split = SplitConfig { shared_blocks: 0, head_blocks: 0, dropout_from: DropoutFrom::Heads };
    let tail = stage.trained(lab, &objective, OneHead::new(&model, split)?, epochs, &optimizer)?;
    let model = tail.into_model(model, split).map_err(|error| anyhow!("probe: {error}"))?;
    write_atomic(&finished, &weights::to_bytes(&weights::state(&model)))?;
    seal(&finished)?;
    std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
    Ok(Pretrained { model, network, cost: stage.cost(), hash: stage.hash })
}
