//! The cached views that methods on the frozen backbone tune on.

use std::path::Path;

use anyhow::{Context as _, Result};
use robustify_distill::views::{self, Report, ViewCache, ViewSpec};
use robustify_report::write_atomic;
use robustify_zoo::weights::{self, Entry, State};

use super::config::Config;
use super::{Lab, Stage};

/// The cached views, and a hash of what determines them.
pub struct Views {
    /// Features and logits.
    pub cache: ViewCache,
    /// Hash of what determines them.
    pub hash: String,
}

/// The views that the configuration describes.
pub(super) fn spec(lab: &Lab<'_>) -> Result<ViewSpec> {
    let Config { views, original, seed, .. } = &lab.config;
    Ok(ViewSpec {
        preprocess: original.preprocess.parse()?,
        clean_view: views.clean_view.parse()?,
        policy: views.policy.parse()?,
        clean: views.clean,
        augmented: views.augmented,
        seed: *seed,
    })
}

/// The backbone's features and both teachers' logits of all views.
pub(super) fn cached(lab: &Lab<'_>) -> Result<Views> {
    let spec = spec(lab)?;
    let (own, dims, features) = features(lab, &spec)?;
    let path = features.path(FEATURES);
    let (said, taught) = taught(lab, &spec, &features)?;
    let cache = ViewCache::read(&path, &spec, lab.images().labels().to_vec(), dims, [own, said])?;
    Ok(Views { cache, hash: taught })
}

/// The file of the backbone's features.
const FEATURES: &str = "features.f16";

/// The original model's logits, the dimensions of a row of features, and the stage that has the features.
fn features(lab: &Lab<'_>, spec: &ViewSpec) -> Result<(Vec<f32>, Vec<usize>, Stage)> {
    let Config { views: config, split, seed, .. } = &lab.config;
    let (images, original) = (lab.images(), lab.original()?);
    let rows = images.len() * spec.count();
    let depth = split.shared_blocks + split.head_blocks;
    let stage = lab.stage("features", &(&original.hash, config, seed, depth, images.fingerprint()))?;
    let (features, said) = (stage.path(FEATURES), stage.path("original.safetensors"));
    if is_whole(lab, &features, &said, rows) {
        lab.watch.say(&format!("features of views: done before, from {}", stage.folder().display()));
    } else {
        let mut progress = lab.watch.progress("features of views", rows);
        let cut = split.backbone_end(&original.model)?;
        let (workers, device) = (&lab.machine.workers, &lab.machine.device);
        let report = Report { watch: lab.watch, progress: &mut *progress };
        let (logits, dims) =
            views::write_features(spec, images, &original.model, cut, &features, workers, device, report)?;
        let state = State::from([
            ("logits".into(), Entry { shape: vec![rows, logits.len() / rows], values: logits }),
            ("dims".into(), Entry { shape: vec![dims.len()], values: dims.iter().map(|&dim| dim as f32).collect() }),
        ]);
        write_atomic(&said, &weights::to_bytes(&state))?;
        progress.finish(&format!("{rows} views"));
    }
    let mut state = weights::read(&said)?;
    let mut take = |name: &str| {
        state.remove(name).map(|entry| entry.values).with_context(|| format!("{}: no {name}", said.display()))
    };
    Ok((take("logits")?, take("dims")?.into_iter().map(|dim| dim as usize).collect(), stage))
}

/// The teacher's logits, and the hash of the stage that has them.
fn taught(lab: &Lab<'_>, spec: &ViewSpec, features: &Stage) -> Result<(Vec<f32>, String)> {
    let (images, teacher) = (lab.images(), lab.teacher()?);
    let rows = images.len() * spec.count();
    let stage = lab.stage("teacher-logits", &(&features.hash, &teacher.hash))?;
    let path = stage.path("logits.safetensors");
    if !is_readable(lab, &path) {
        let mut progress = lab.watch.progress("teacher on views", rows);
        let (workers, device) = (&lab.machine.workers, &lab.machine.device);
        let preprocess = lab.config.teacher.preprocess.parse()?;
        let report = Report { watch: lab.watch, progress: &mut *progress };
        let logits = views::logits(spec, images, &teacher.model, &preprocess, workers, device, report)?;
        let entry = Entry { shape: vec![rows, logits.len() / rows], values: logits };
        write_atomic(&path, &weights::to_bytes(&State::from([("logits".into(), entry)])))?;
        progress.finish(&format!("{rows} views"));
    }
    let said = weights::read(&path)?.remove("logits").with_context(|| format!("{}: no logits", path.display()))?;
    Ok((said.values, stage.hash))
}

/// Whether the features and logits of `rows` views are there; damaged ones are computed again, with a warning.
fn is_whole(lab: &Lab<'_>, features: &Path, said: &Path, rows: usize) -> bool {
    if !is_readable(lab, said) {
        return false;
    }
    let dims = weights::read(said).ok().and_then(|mut state| state.remove("dims")).map(|entry| entry.values);
    let elements: f32 = dims.unwrap_or_default().iter().product();
    let expected = 2 * rows as u64 * elements as u64;
    let found = std::fs::metadata(features).map_or(0, |metadata| metadata.len());
    if found != expected {
        let text = format!("{}: {found} bytes instead of {expected}; this stage is computed again", features.display());
        lab.watch.warn(&text);
    }
    found == expected
}

/// Whether a file of tensors is there and whole; a damaged one is computed again, with a warning.
pub(super) fn is_readable(lab: &Lab<'_>, path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let read = weights::read(path);
    if let Err(error) = &read {
        lab.watch.warn(&format!("{error}; this stage is computed again"));
    }
    read.is_ok()
}
