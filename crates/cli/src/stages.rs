//! The stages of a run. Each is cached in a folder named by a hash of everything that determines it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use robustify_bench::{Entrants, evaluate};
use robustify_data::{Images, Preprocess};
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::trainer::{self, EpochRecord, Objective, Plan};
use robustify_distill::views;
use robustify_distill::{Apt, CachedPairs, Probe, Robustify, Teacher, ViewCache, ViewSpec};
use robustify_report::write_atomic;
use robustify_select::{DropoutFrom, McConfig, OneHead, SplitConfig, ThreeHeads};
use robustify_zoo::Model;
use robustify_zoo::weights::{self, Checkpoint, Entry, State};
use serde::Serialize;

use crate::commands::Machine;
use crate::config::{Config, OriginalConfig};
use crate::console::{Console, Interrupt, TrainingProgress};
use crate::dataset::Splits;
use crate::{digest, network, rundir, sizes};

/// What every stage works with.
pub struct Context {
    /// The merged configuration.
    pub config: Config,
    /// What to compute on.
    pub machine: Machine,
    /// Where stages are cached.
    pub cache: PathBuf,
    /// Where messages go.
    pub console: Console,
    /// Whether to stop.
    pub interrupt: Interrupt,
    /// Whether to start unfinished stages over instead of continuing them.
    pub fresh: bool,
}

/// What training leaves.
pub struct Trained {
    /// All models, ready to be measured.
    pub entrants: Entrants,
    /// Hash of everything that determines them and how they are sampled.
    pub identity: String,
}

impl Trained {
    /// Writes the weights into a run's folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let write = |name: &str, state: State| write_atomic(&folder.join(name), &weights::to_bytes(&state));
        write(rundir::ORIGINAL, weights::state(&self.entrants.original))?;
        if let Some((teacher, _)) = &self.entrants.teacher {
            write(rundir::TEACHER, weights::state(teacher))?;
        }
        if let Some(apt) = &self.entrants.apt {
            write(rundir::APT, weights::state(apt))?;
        }
        if let Some(heads) = &self.entrants.robustify {
            write(rundir::WEIGHTS, weights::state(heads))?;
        }
        Ok(())
    }
}

/// The models of a finished run, from its folder.
pub fn load(context: &Context, folder: &Path) -> anyhow::Result<Trained> {
    let Config { original, teacher, split, select, tuning, .. } = &context.config;
    let device = &context.machine.device;
    let bytes = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| {
            format!("{}: is this a finished run? Each of several seeds has its own folder", path.display())
        })
    };
    let mut hashes = Vec::new();
    for name in [rundir::ORIGINAL, rundir::TEACHER, rundir::APT, rundir::WEIGHTS] {
        hashes.push(digest::of_bytes(&bytes(name)?));
    }
    let file = folder.join(rundir::ORIGINAL);
    let classes = network::classes_for(&original.network, &Checkpoint::open(&file)?, None, device)?;
    anyhow::ensure!(classes > 0, "{}: no classifier", file.display());
    // The classifier of another number of classes is what the linear probe made.
    let model = match original.network.classes() == classes {
        true => Model::blank(&original.network, device)?,
        false => Model::blank(&original.network.with_classifier(classes), device)?,
    };
    let model = weights::load(model, &folder.join(rundir::ORIGINAL))?;
    let small =
        weights::load(Model::blank(&teacher.network.with_classes(classes), device)?, &folder.join(rundir::TEACHER))?;
    let entrants = Entrants {
        cut: split.backbone_end(&model)?,
        preprocess: original.preprocess.parse()?,
        teacher: Some((small, teacher.preprocess.parse()?)),
        apt: Some(weights::load(OneHead::new(&model, *split)?, &folder.join(rundir::APT))?),
        robustify: Some(weights::load(ThreeHeads::new(&model, *split)?, &folder.join(rundir::WEIGHTS))?),
        mc: McConfig { passes: select.passes, dropout: tuning.dropout, seed: select.mask_seed },
        original: model,
    };
    let networks = [(&original.network, &original.preprocess), (&teacher.network, &teacher.preprocess)];
    let identity = digest::of(&(hashes, split, &entrants.mc, networks))?;
    Ok(Trained { entrants, identity })
}

/// The large model as its file has it, and a hash of what determines it.
pub type Original = (Model, String);

/// Checks what can be checked before anything is computed, and reads the large model.
pub fn open(context: &Context, Splits { train, validation, test }: &Splits) -> anyhow::Result<Original> {
    for part in [train, validation, test] {
        check_images(context, part)?;
    }
    let classes = train.classes();
    anyhow::ensure!(
        classes.len() > 1,
        "{}: one class, `{}`, is nothing to tell apart; a folder for each class is expected",
        context.config.data.path.display(),
        classes.join("")
    );
    let config = &context.config.original;
    let seed = context.config.seed;
    let (model, file) = network::original(config, seed, &context.machine.device, &context.console)?;
    let sha256 = digest::of_file(&file).with_context(|| format!("weights {}", file.display()))?;
    let drawn = config.partial.then_some(seed);
    Ok((model, digest::of(&(sha256, &config.from, drawn, &config.network, &config.preprocess))?))
}

/// Runs or reads every stage up to the tuned heads.
pub fn train(
    context: &Context,
    Splits { train: images, validation, .. }: &Splits,
    opened: Original,
) -> anyhow::Result<Trained> {
    let Config { original: original_config, teacher: teacher_config, select, tuning, split: cut_config, .. } =
        &context.config;
    let device = &context.machine.device;
    let classes = images.classes().len();
    let (original, original_hash) = original(context, images, opened)?;
    let preprocess: Preprocess = original_config.preprocess.parse()?;
    let (teacher, teacher_hash) = teacher(context, images, classes)?;
    let teacher_preprocess: Preprocess = teacher_config.preprocess.parse()?;

    let cut = cut_config.backbone_end(&original)?;
    let (cache, views_hash) = cached_views(context, images, (&original, &original_hash), (&teacher, &teacher_hash))?;
    let pairs = || CachedPairs { cache: &cache, config: tuning, shard_pairs: context.machine.shard_rows, device };
    let inputs = (&views_hash, cut_config);
    let (apt, apt_hash) = tune(context, "apt", &inputs, &Apt(pairs()), OneHead::new(&original, *cut_config)?)?;
    let robustify = Robustify(pairs());
    let (heads, heads_hash) =
        tune(context, "robustify", &inputs, &robustify, ThreeHeads::new(&original, *cut_config)?)?;
    warn_of_weak_teacher(context, &cache, &heads)?;

    let mc = McConfig { passes: select.passes, dropout: tuning.dropout, seed: select.mask_seed };
    let identity = digest::of(&(&original_hash, &teacher_hash, &apt_hash, &heads_hash, &mc))?;
    let entrants = Entrants {
        original,
        preprocess,
        cut,
        teacher: Some((teacher, teacher_preprocess)),
        apt: Some(apt),
        robustify: Some(heads),
        mc,
    };
    say_validation(context, &entrants, validation)?;
    Ok(Trained { entrants, identity })
}

/// An error unless all images come out of the preprocessing at the size that the model takes.
pub fn check_images(context: &Context, images: &Images) -> anyhow::Result<()> {
    let OriginalConfig { preprocess, network, .. } = &context.config.original;
    sizes::check_images("original.", preprocess, network, images)
}

/// Settings are chosen on these numbers, never on the test images.
fn say_validation(context: &Context, entrants: &Entrants, validation: &Images) -> anyhow::Result<()> {
    let Machine { workers, device, .. } = &context.machine;
    let original = evaluate::accuracy(&entrants.original, validation, &entrants.preprocess, workers, device)?;
    context.console.say(&format!(
        "validation: the original model is right on {:.1} % of {} clean images",
        100.0 * original,
        validation.len()
    ));
    Ok(())
}

/// A stage's folder: its hash, and what it is made from.
struct Stage {
    name: String,
    hash: String,
    folder: PathBuf,
    /// Keeps other runs that share the cache out of the stage.
    _lock: std::fs::File,
}

impl Stage {
    /// Makes the folder of the stage that `inputs` determine.
    fn open(context: &Context, name: &str, inputs: &impl Serialize) -> anyhow::Result<Self> {
        let backend = robustify_device::backend_of(&context.machine.device);
        let hash = digest::of(&(digest::PROGRAM, name, backend, inputs))?;
        let folder = context.cache.join(format!("{name}-{}", &hash[..16]));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let lock = rundir::lock(&folder)?;
        let stage = Self { name: name.into(), hash, folder, _lock: lock };
        write_atomic(&stage.path("inputs.json"), serde_json::to_string_pretty(inputs)?.as_bytes())?;
        if context.fresh && stage.checkpoint().exists() {
            std::fs::remove_file(stage.checkpoint()).with_context(|| stage.checkpoint().display().to_string())?;
        }
        Ok(stage)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn checkpoint(&self) -> PathBuf {
        self.path("checkpoint.safetensors")
    }

    fn weights(&self) -> PathBuf {
        self.path("weights.safetensors")
    }

    /// Trains, or reads what an earlier run trained.
    fn trained<O: Objective>(
        &self,
        context: &Context,
        objective: &O,
        model: O::Model,
        epochs: usize,
        optimizer: &AdamWConfig,
    ) -> anyhow::Result<O::Model> {
        if self.weights().exists() {
            match weights::load(model.clone(), &self.weights()) {
                Ok(model) => {
                    context.console.say(&format!("{}: done before, from {}", self.name, self.folder.display()));
                    return Ok(model);
                }
                Err(error) => context.console.warn(&format!("{error}; this stage is computed again")),
            }
        }
        let plan = Plan {
            epochs,
            optimizer: optimizer.clone(),
            checkpoint: self.checkpoint(),
            identity: self.hash.clone(),
            config: serde_json::to_value(&context.config)?,
            checkpoint_every: Duration::from_secs(context.config.checkpoint_seconds),
        };
        let mut watch =
            TrainingProgress::new(&context.console, &context.interrupt, &self.name, objective.steps() * epochs);
        let Machine { workers, device, .. } = &context.machine;
        let (model, history): (_, Vec<EpochRecord>) =
            trainer::train(objective, model, &plan, workers, device, &mut watch)?;
        write_atomic(&self.path("history.json"), serde_json::to_string_pretty(&history)?.as_bytes())?;
        write_atomic(&self.weights(), &weights::to_bytes(&weights::state(&model)))?;
        std::fs::remove_file(self.checkpoint()).with_context(|| self.checkpoint().display().to_string())?;
        Ok(model)
    }
}

/// The large model; a linear probe replaces its classifier when the data has other classes.
fn original(context: &Context, images: &Images, (model, hash): Original) -> anyhow::Result<Original> {
    let Config { original: config, views, tuning, seed, .. } = &context.config;
    let Machine { workers, device, shard_rows, .. } = &context.machine;
    let classes = images.classes().len();
    let known = config.classes.as_ref().is_none_or(|known| known == images.classes());
    if model.classes() == classes && known {
        return Ok((model, hash));
    }
    let model = model.with_classifier(classes, device);
    let optimizer = AdamWConfig { learning_rate: 1e-2, ..tuning.optimizer.clone() };
    let training = (config.probe_epochs, &optimizer, seed);
    let views = (views.clean, &views.clean_view, views.precision);
    let inputs = (&hash, classes, training, views, images.fingerprint(), shard_rows);
    let stage = Stage::open(context, "probe", &inputs)?;
    let text =
        format!("the {classes} classes of the data are not those of the weights: a linear probe makes the classifier");
    context.console.say(&text);
    let spec = ViewSpec { augmented: 0, ..view_spec(context)? };
    let finished = stage.path("classifier.safetensors");
    if is_readable(context, &finished) {
        return Ok((weights::load(model, &finished)?, stage.hash));
    }
    let mut progress = context.console.progress("features for the probe", images.len() * spec.count());
    let mut report = |done: usize| {
        progress.set(done, "");
        context.interrupt.is_set()
    };
    let (path, cut) = (stage.path("features"), model.cut_before_last(0)?);
    let (_, dims) = views::write_features(&spec, images, &model, cut, &path, workers, device, &mut report)?;
    let cache = ViewCache::read(&path, &spec, images.labels().to_vec(), dims, [])?;
    let objective = Probe { cache: &cache, batch_size: 256, shard_rows: *shard_rows, seed: *seed, device };
    let tail =
        OneHead::new(&model, SplitConfig { shared_blocks: 0, head_blocks: 0, dropout_from: DropoutFrom::Heads })?;
    let tail = stage.trained(context, &objective, tail, config.probe_epochs, &optimizer)?;
    let mut state = weights::state(&model);
    for (name, entry) in weights::state(&tail) {
        state.insert(name.trim_start_matches("tail.").to_owned(), entry);
    }
    write_atomic(&finished, &weights::to_bytes(&state))?;
    std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
    let model = weights::with_state(model, state).map_err(|faults| anyhow::anyhow!("probe: {}", faults.join("; ")))?;
    Ok((model, stage.hash))
}

/// The views that the configuration describes.
fn view_spec(context: &Context) -> anyhow::Result<ViewSpec> {
    let Config { views, original, seed, .. } = &context.config;
    Ok(ViewSpec {
        preprocess: original.preprocess.parse()?,
        clean_view: views.clean_view.parse()?,
        policy: views.policy.parse()?,
        clean: views.clean,
        augmented: views.augmented,
        seed: *seed,
        precision: views.precision,
    })
}

/// The small model, trained to be robust.
fn teacher(context: &Context, images: &Images, classes: usize) -> anyhow::Result<(Model, String)> {
    let config = &context.config.teacher;
    let network = config.network.with_classes(classes);
    let pixels = &context.config.original.preprocess;
    let inputs = (
        context.config.seed,
        &network,
        &config.preprocess,
        pixels,
        &config.training,
        images.fingerprint(),
        context.machine.shard_rows,
    );
    let stage = Stage::open(context, "teacher", &inputs)?;
    // The teacher gets the large model's pixels, and sees them in its own way.
    let pixels = pixels.parse::<Preprocess>()?.geometry();
    let preprocesses = [pixels, config.preprocess.parse()?];
    let objective = context.machine.image_training(
        &config.training,
        &network,
        images.clone(),
        preprocesses,
        context.config.seed,
    )?;
    let model = Model::new(&network, context.config.seed, &context.machine.device)?;
    let model = stage.trained(context, &objective, model, config.training.epochs, &config.training.optimizer)?;
    Ok((model, stage.hash))
}

/// The backbone's features and both teachers' logits of all views.
fn cached_views(
    context: &Context,
    images: &Images,
    (original, original_hash): (&Model, &str),
    (teacher, teacher_hash): (&Model, &str),
) -> anyhow::Result<(ViewCache, String)> {
    let Config { views: config, split, teacher: small, seed, .. } = &context.config;
    let Machine { workers, device, .. } = &context.machine;
    let spec = view_spec(context)?;
    let rows = images.len() * spec.count();
    let depth = split.shared_blocks + split.head_blocks;
    let stage = Stage::open(context, "features", &(original_hash, config, seed, depth, images.fingerprint()))?;
    let (features, said) = (stage.path("features"), stage.path("original.safetensors"));
    if !is_whole(context, &features, &said, rows * spec.precision.bytes()) {
        let mut progress = context.console.progress("features of views", rows);
        let mut report = |done: usize| {
            progress.set(done, "");
            context.interrupt.is_set()
        };
        let cut = split.backbone_end(original)?;
        let (logits, dims) =
            views::write_features(&spec, images, original, cut, &features, workers, device, &mut report)?;
        let state = State::from([
            ("logits".into(), Entry { shape: vec![rows, logits.len() / rows], values: logits }),
            ("dims".into(), Entry { shape: vec![dims.len()], values: dims.iter().map(|&dim| dim as f32).collect() }),
        ]);
        write_atomic(&said, &weights::to_bytes(&state))?;
        progress.finish(&format!("{rows} views"));
    } else {
        context.console.say(&format!("features of views: done before, from {}", stage.folder.display()));
    }
    let mut state = weights::read(&said)?;
    let mut take = |name: &str| {
        state.remove(name).map(|entry| entry.values).with_context(|| format!("{}: no {name}", said.display()))
    };
    let (own, dims) = (take("logits")?, take("dims")?.into_iter().map(|dim| dim as usize).collect());

    let taught = Stage::open(context, "teacher-logits", &(&stage.hash, teacher_hash))?;
    let path = taught.path("logits.safetensors");
    if !is_readable(context, &path) {
        let mut progress = context.console.progress("teacher on views", rows);
        let mut report = |done: usize| {
            progress.set(done, "");
            context.interrupt.is_set()
        };
        let logits = views::logits(&spec, images, teacher, &small.preprocess.parse()?, workers, device, &mut report)?;
        let entry = Entry { shape: vec![rows, logits.len() / rows], values: logits };
        write_atomic(&path, &weights::to_bytes(&State::from([("logits".into(), entry)])))?;
        progress.finish(&format!("{rows} views"));
    }
    let said = weights::read(&path)?.remove("logits").with_context(|| format!("{}: no logits", path.display()))?.values;
    let logits = [(Teacher::Original, own), (Teacher::Robust, said)];
    let cache = ViewCache::read(&features, &spec, images.labels().to_vec(), dims, logits)?;
    Ok((cache, taught.hash))
}

/// Whether the logits are there, and features of `bytes` for all that stand at one place of their rows; damaged ones are computed
/// again, with a warning.
fn is_whole(context: &Context, features: &Path, said: &Path, bytes: usize) -> bool {
    if !is_readable(context, said) {
        return false;
    }
    let dims = weights::read(said).ok().and_then(|mut state| state.remove("dims")).map(|entry| entry.values);
    let elements: f32 = dims.unwrap_or_default().iter().product();
    let expected = bytes as u64 * elements as u64;
    let found = std::fs::metadata(features).map_or(0, |metadata| metadata.len());
    if found != expected {
        let text = format!("{}: {found} bytes instead of {expected}; this stage is computed again", features.display());
        context.console.warn(&text);
    }
    found == expected
}

/// Whether a file of tensors is there and whole; a damaged one is computed again, with a warning.
fn is_readable(context: &Context, path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let read = weights::read(path);
    if let Err(error) = &read {
        context.console.warn(&format!("{error}; this stage is computed again"));
    }
    read.is_ok()
}

/// A method on cached views.
fn tune<O: Objective>(
    context: &Context,
    name: &str,
    inputs: &impl Serialize,
    objective: &O,
    model: O::Model,
) -> anyhow::Result<(O::Model, String)> {
    let config = &context.config.tuning;
    let stage = Stage::open(context, name, &(inputs, config, context.machine.shard_rows))?;
    let model = stage.trained(context, objective, model, config.epochs, &config.optimizer)?;
    Ok((model, stage.hash))
}

/// A teacher that knows less than its pupil teaches it nothing: miniature experiments lose 3 to 4 points to APT then.
fn warn_of_weak_teacher(context: &Context, cache: &ViewCache, heads: &ThreeHeads) -> anyhow::Result<()> {
    let rows: Vec<usize> = cache.augmented_rows().collect();
    let step = (rows.len() / 4096).max(1);
    let rows: Vec<usize> = rows.into_iter().step_by(step).collect();
    let Machine { workers, device, .. } = &context.machine;
    let chunks: Vec<&[usize]> = rows.chunks(evaluate::ROWS).collect();
    let right: usize = workers
        .map(chunks, |chunk| {
            let logits = heads.forward(cache.features(chunk, device), 1, &robustify_zoo::Pass::eval());
            let [_, _, robust] = logits;
            let predictions = evaluate::argmax(robust);
            predictions.iter().zip(chunk).filter(|(class, row)| **class == cache.labels[**row / cache.views()]).count()
        })
        .into_iter()
        .sum();
    let robust = right as f64 / rows.len().max(1) as f64;
    let teacher = cache.teacher_accuracy(Teacher::Robust, rows.iter().copied())?;
    let text = format!("augmented tuning views: teacher {:.1} %, robust head {:.1} %", 100.0 * teacher, 100.0 * robust);
    if teacher < robust {
        context
            .console
            .warn(&format!("{text}; the teacher is the weaker one: train it longer, or on the views' augmentations"));
    } else {
        context.console.say(&text);
    }
    Ok(())
}
