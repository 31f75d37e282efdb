//! A teacher from a file: the robust model of another run, or a checkpoint of a network.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use burn::tensor::Device;
use robustify_data::Preprocess;
use robustify_predict::{Made, RobustModel};
use robustify_report::digest;
use robustify_watch::Watch;
use robustify_zoo::weights::{self, Checkpoint, LoadOptions, Partial};
use robustify_zoo::{Model, ModelConfig};

use super::classes::{KnownClasses, list};
use super::config::{Config, TeacherConfig};
use super::sizes;

/// A teacher as its file has it.
#[derive(Clone, Debug)]
pub struct LoadedTeacher {
    /// With its weights.
    pub model: Model,
    /// Its network.
    pub network: ModelConfig,
    /// From the large model's pixels to its input.
    pub preprocess: Preprocess,
    /// Of the file, and of what the configuration says about it.
    pub hash: String,
}

/// Reads the teacher from `file`, which is what `teacher.weights` names; `classes` are the names of the data's classes.
///
/// # Errors
/// A file that cannot be read, does not fit the network that the configuration names or the large model's pixels, or has three
/// heads. A teacher that is not trained any further has to know the classes of the data: by their names if the file has them,
/// else as many.
pub fn read_teacher(
    config: &Config,
    file: &Path,
    classes: &[String],
    device: &Device,
    watch: &dyn Watch,
) -> Result<LoadedTeacher> {
    let teacher = &config.teacher;
    let named = teacher.weights.as_deref().unwrap_or(file);
    read(teacher, file, classes, device, watch)
        .and_then(|read| {
            let faults = sizes::check_loaded(config, &read.network, &read.preprocess);
            ensure!(faults.is_empty(), faults.join("; "));
            Ok(read)
        })
        .with_context(|| format!("teacher.weights `{}`", named.display()))
}

fn read(
    teacher: &TeacherConfig,
    file: &Path,
    classes: &[String],
    device: &Device,
    watch: &dyn Watch,
) -> Result<LoadedTeacher> {
    let (model, network, own, chosen) = if RobustModel::is_one(file)? {
        let (RobustModel { model, network, seen, .. }, chosen) = robust_model(teacher, file, classes, device)?;
        (model, network, Some(seen), chosen)
    } else {
        let (model, network) = checkpoint(teacher, file, classes, device, watch)?;
        (model, network, None, None)
    };
    let preprocess = match (&teacher.preprocess, own) {
        (Some(text), _) => text.parse()?,
        (None, Some(own)) => own,
        (None, None) => {
            bail!("teacher.preprocess is missing; this file does not say it, as one of a robust model would")
        }
    };
    let sha256 = digest::of_file(file).with_context(|| file.display().to_string())?;
    let hash = digest::of(&(sha256, &teacher.from, &network, preprocess.to_string()))?;
    let hash = chosen.map_or(Ok(hash.clone()), |chosen| digest::of(&("classes", hash, chosen)))?;
    Ok(LoadedTeacher { model, network, preprocess, hash })
}

/// A model that this program wrote, and which of its classes the data has, if not all in its own order.
fn robust_model(
    teacher: &TeacherConfig,
    file: &Path,
    classes: &[String],
    device: &Device,
) -> Result<(RobustModel, Option<Vec<usize>>)> {
    let read = RobustModel::read(file, device)?;
    ensure!(
        matches!(read.made, Made::Classifier),
        "the model `{}` in it has three heads, or adapts while it answers, and a teacher is a plain classifier; give the file of one, \
         such as those of APT or of a teacher",
        read.method
    );
    ensure!(
        teacher.from.is_none(),
        "teacher.from names a part of a file, but a robust model is all of its file; leave it out"
    );
    if let Some(network) = &teacher.network {
        let own = &read.network;
        ensure!(
            network.with_classes(0) == own.with_classes(0),
            "teacher.network is not the network of the model in it ({}); leave teacher.network out",
            serde_json::to_string(own)?
        );
    }
    if teacher.training.is_some() || read.classes == classes {
        return Ok((read, None));
    }
    let known = KnownClasses::new(&read.classes, "the header of the weights");
    let chosen = known.all_places(classes).map_err(|unknown| {
        let (own, unknown) = (list(&read.classes), list(&unknown));
        anyhow!("it tells the classes {own} apart, and not the data's {unknown}; {WAY_OUT}")
    })?;
    let model = read.model.with_chosen_classes(&chosen, device)?;
    let network = read.network.with_classes(chosen.len());
    Ok((RobustModel { network, classes: classes.to_vec(), model, ..read }, Some(chosen)))
}

/// What to do when a teacher knows other classes.
const WAY_OUT: &str = "a teacher has to know the data's classes: take another one, set data.classes, or give \
                       [teacher.training], which makes a new classifier";

/// Weights of the network that the configuration names.
fn checkpoint(
    teacher: &TeacherConfig,
    file: &Path,
    classes: &[String],
    device: &Device,
    watch: &dyn Watch,
) -> Result<(Model, ModelConfig)> {
    let network = teacher
        .network
        .as_ref()
        .context("teacher.network is missing; this file does not say it, as one of a robust model would")?;
    let (checkpoint, from) = (Checkpoint::open(file)?, teacher.from.as_deref());
    let found = network.classes_in(&checkpoint, from, device)?;
    ensure!(
        teacher.training.is_some() || found == classes.len(),
        "it has a classifier of {found} classes, and the data has {} ({}); {WAY_OUT}",
        classes.len(),
        list(classes)
    );
    let network = network.with_classes(found);
    let options = LoadOptions { from, partial: Partial::Refuse };
    let (model, loaded) = weights::load_from(Model::blank(&network, device)?, &checkpoint, options)?;
    if !loaded.resized.is_empty() || !loaded.others.is_empty() {
        watch.say(&loaded.to_string());
    }
    Ok((model, network))
}
