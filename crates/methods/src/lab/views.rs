//! The cached views that methods on the frozen backbone tune on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use robustify_distill::views::{Report, Written};
use robustify_distill::{DistillError, Teacher, ViewCache, ViewJob, ViewSpec};
use robustify_zoo::weights::{self, Entry, State};

use super::config::{Config, ViewsConfig};
use super::seal::{is_sealed, read_sealed, seal, write_sealed};
use super::{Cost, Lab, Stage, policy_identity};

/// The cached views, and a hash of what determines them.
pub struct Views {
    /// Features and logits.
    pub cache: ViewCache,
    /// Hash of what determines them, the teacher included when there is one.
    pub hash: String,
    /// Hash of what determines them without the teacher, for methods that do not listen to it.
    pub untaught: String,
    /// What features and logits cost.
    pub cost: Cost,
    /// Of it, without the teacher's logits.
    pub untaught_cost: Cost,
}

/// The views that the configuration describes.
pub(super) fn spec(lab: &Lab<'_>) -> Result<ViewSpec> {
    let Config { views, original, .. } = &lab.config;
    Ok(ViewSpec {
        preprocess: original.preprocess.parse()?,
        clean_view: views.clean_view.parse()?,
        policy: lab.policy(&views.policy)?,
        clean: views.clean,
        augmented: views.augmented,
        seed: lab.config.views_seed(),
        precision: views.precision,
    })
}

/// The backbone's features of all views with the original model's logits, and with the teacher's if a method asks for it.
pub(super) fn cached(lab: &Lab<'_>) -> Result<Views> {
    let spec = spec(lab)?;
    let Features { path, dims, logits, hash: untaught, cost: untaught_cost } = features(lab, &spec)?;
    let mut logits = vec![(Teacher::Original, logits)];
    let (mut hash, mut cost) = (untaught.clone(), untaught_cost);
    if crate::is_wanted(&lab.config, "teacher") {
        let taught = taught(lab, &spec, &untaught)?;
        logits.push((Teacher::Robust, taught.logits));
        cost = cost + taught.cost;
        hash = taught.hash;
    }
    let cache = ViewCache::read(&path, &spec, lab.images().labels().to_vec(), dims, logits)?;
    Ok(Views { cache, hash, untaught, cost, untaught_cost })
}

/// The file of the backbone's features, and that of the original model's logits.
const FEATURES: &str = "features";
const SAID: &str = "original.safetensors";
/// The file of the teacher's logits.
const TAUGHT: &str = "logits.safetensors";

/// Finished features. Their stage is open to others again.
struct Features {
    path: PathBuf,
    /// Dimensions of one row.
    dims: Vec<usize>,
    /// What the original model says of each.
    logits: Vec<f32>,
    hash: String,
    cost: Cost,
}

fn features(lab: &Lab<'_>, spec: &ViewSpec) -> Result<Features> {
    let Config { views: config, split, .. } = &lab.config;
    let (images, original) = (lab.images(), lab.original()?);
    let depth = split.shared_blocks + split.head_blocks;
    let policy = policy_identity(&config.policy, &lab.machine.device)?;
    let config = ViewsConfig { policy, ..config.clone() };
    let stage = lab.stage("features", &(&original.hash, &config, spec.seed, depth, images.fingerprint()))?;
    let (path, said) = (stage.path(FEATURES), stage.path(SAID));
    let mut state = match read_sealed(&said, lab.watch).filter(|_| is_sealed(&path, lab.watch)) {
        Some(state) => {
            lab.watch.say(&format!("features of views: done before, from {}", stage.folder().display()));
            stage.forget_views();
            state
        }
        None => {
            let cut = split.backbone_end(&original.model)?;
            let ask = |job: &ViewJob<'_>, report: Report<'_>| job.features(&original.model, cut, report);
            let written = computed(lab, spec, &stage, "features of views", ask)?;
            let dims = written.dims.iter().map(|&dim| dim as f32).collect::<Vec<_>>();
            let mut state = logits_of(lab, spec, &written);
            state.insert("dims".into(), Entry { shape: vec![dims.len()], values: dims });
            write_sealed(&said, &weights::to_bytes(&state))?;
            seal(&path, &written.sha256())?;
            written.finish(&path)?;
            state
        }
    };
    let dims = take(&mut state, "dims", &said)?.into_iter().map(|dim| dim as usize).collect();
    let (logits, hash) = (take(&mut state, "logits", &said)?, stage.result(&[FEATURES, SAID])?);
    Ok(Features { path, dims, logits, hash, cost: stage.cost() })
}

/// The teacher's logits.
struct Taught {
    logits: Vec<f32>,
    hash: String,
    cost: Cost,
}

fn taught(lab: &Lab<'_>, spec: &ViewSpec, features: &str) -> Result<Taught> {
    let teacher = lab.teacher()?;
    let stage = lab.stage("teacher-logits", &(features, &teacher.hash))?;
    let path = stage.path(TAUGHT);
    let mut state = match read_sealed(&path, lab.watch) {
        Some(state) => {
            stage.forget_views();
            state
        }
        None => {
            let ask = |job: &ViewJob<'_>, report: Report<'_>| {
                job.logits(Teacher::Robust, &teacher.model, &teacher.preprocess, report)
            };
            let written = computed(lab, spec, &stage, "teacher on views", ask)?;
            let state = logits_of(lab, spec, &written);
            write_sealed(&path, &weights::to_bytes(&state))?;
            written.discard()?;
            state
        }
    };
    Ok(Taught { logits: take(&mut state, "logits", &path)?, hash: stage.result(&[TAUGHT])?, cost: stage.cost() })
}

/// Computes something of every view of the training images, in a stage.
fn computed(
    lab: &Lab<'_>,
    spec: &ViewSpec,
    stage: &Stage,
    name: &str,
    ask: impl FnOnce(&ViewJob<'_>, Report<'_>) -> Result<Written, DistillError>,
) -> Result<Written> {
    let (images, workers, device) = (lab.images(), &lab.machine.workers, &lab.machine.device);
    let rows = images.len() * spec.count();
    let mut progress = lab.watch.progress(name, rows);
    let (base, identity) = (&stage.unfinished_views(), stage.inputs());
    let job = ViewJob { spec, images, workers, device, base, identity };
    let report = Report { name, watch: lab.watch, progress: &mut *progress };
    let written = stage.timed(|| ask(&job, report))??;
    progress.finish(&format!("{rows} views"));
    Ok(written)
}

/// Logits of all views as a tensor.
fn logits_of(lab: &Lab<'_>, spec: &ViewSpec, written: &Written) -> State {
    let rows = lab.images().len() * spec.count();
    let shape = vec![rows, written.logits.len() / rows.max(1)];
    State::from([("logits".into(), Entry { shape, values: written.logits.clone() })])
}

fn take(state: &mut State, name: &str, path: &Path) -> Result<Vec<f32>> {
    state.remove(name).map(|entry| entry.values).with_context(|| format!("{}: no {name}", path.display()))
}
