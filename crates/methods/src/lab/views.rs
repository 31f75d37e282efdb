//! The cached views that methods on the frozen backbone tune on.

use anyhow::{Context as _, Result};
use robustify_distill::views::{self, Report};
use robustify_distill::{Teacher, ViewCache, ViewSpec};
use robustify_report::write_atomic;
use robustify_zoo::weights::{self, Entry, State};

use super::config::{Config, ViewsConfig};
use super::stage::{is_sealed, seal};
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
    let (own, dims, features) = features(lab, &spec)?;
    let path = features.path(FEATURES);
    let mut logits = vec![(Teacher::Original, own)];
    let mut hash = features.hash.clone();
    let untaught_cost = features.cost();
    let mut cost = untaught_cost;
    if crate::is_wanted(&lab.config, "teacher") {
        let (said, taught) = taught(lab, &spec, &features)?;
        logits.push((Teacher::Robust, said));
        cost = cost + taught.cost();
        hash = taught.hash;
    }
    let cache = ViewCache::read(&path, &spec, lab.images().labels().to_vec(), dims, logits)?;
    Ok(Views { cache, hash, untaught: features.hash, cost, untaught_cost })
}

/// The file of the backbone's features.
const FEATURES: &str = "features";

/// The original model's logits, the dimensions of a row of features, and the stage that has the features.
fn features(lab: &Lab<'_>, spec: &ViewSpec) -> Result<(Vec<f32>, Vec<usize>, Stage)> {
    let Config { views: config, split, .. } = &lab.config;
    let (images, original) = (lab.images(), lab.original()?);
    let rows = images.len() * spec.count();
    let depth = split.shared_blocks + split.head_blocks;
    let policy = policy_identity(&config.policy, &lab.machine.device)?;
    let config = ViewsConfig { policy, ..config.clone() };
    let stage = lab.stage("features", &(&original.hash, &config, spec.seed, depth, images.fingerprint()))?;
    let (features, said) = (stage.path(FEATURES), stage.path("original.safetensors"));
    if is_sealed(&said, lab.watch) && is_sealed(&features, lab.watch) {
        lab.watch.say(&format!("features of views: done before, from {}", stage.folder().display()));
    } else {
        let mut progress = lab.watch.progress("features of views", rows);
        let cut = split.backbone_end(&original.model)?;
        let (workers, device) = (&lab.machine.workers, &lab.machine.device);
        let report = Report { watch: lab.watch, progress: &mut *progress };
        let write = || views::write_features(spec, images, &original.model, cut, &features, workers, device, report);
        let (logits, dims) = stage.timed(write)??;
        let state = State::from([
            ("logits".into(), Entry { shape: vec![rows, logits.len() / rows], values: logits }),
            ("dims".into(), Entry { shape: vec![dims.len()], values: dims.iter().map(|&dim| dim as f32).collect() }),
        ]);
        seal(&features)?;
        write_atomic(&said, &weights::to_bytes(&state))?;
        seal(&said)?;
        progress.finish(&format!("{rows} views"));
    }
    let mut state = weights::read(&said)?;
    let mut take = |name: &str| {
        state.remove(name).map(|entry| entry.values).with_context(|| format!("{}: no {name}", said.display()))
    };
    Ok((take("logits")?, take("dims")?.into_iter().map(|dim| dim as usize).collect(), stage))
}

/// The teacher's logits, and the stage that has them.
fn taught(lab: &Lab<'_>, spec: &ViewSpec, features: &Stage) -> Result<(Vec<f32>, Stage)> {
    let (images, teacher) = (lab.images(), lab.teacher()?);
    let rows = images.len() * spec.count();
    let stage = lab.stage("teacher-logits", &(&features.hash, &teacher.hash))?;
    let path = stage.path("logits.safetensors");
    if !is_sealed(&path, lab.watch) {
        let mut progress = lab.watch.progress("teacher on views", rows);
        let (workers, device) = (&lab.machine.workers, &lab.machine.device);
        let report = Report { watch: lab.watch, progress: &mut *progress };
        let ask = || views::logits(spec, images, &teacher.model, &teacher.preprocess, workers, device, report);
        let logits = stage.timed(ask)??;
        let entry = Entry { shape: vec![rows, logits.len() / rows], values: logits };
        write_atomic(&path, &weights::to_bytes(&State::from([("logits".into(), entry)])))?;
        seal(&path)?;
        progress.finish(&format!("{rows} views"));
    }
    let said = weights::read(&path)?.remove("logits").with_context(|| format!("{}: no logits", path.display()))?;
    Ok((said.values, stage))
}
