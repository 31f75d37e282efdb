//! Stages: pieces of work whose results are kept in a folder named by a hash of everything that determines them.
//!
//! What came out of a stage, by its checksums, is part of what determines the stages that read it: if it is ever computed again and
//! comes out differently, what was made of the other result is not used any more.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cpu_time::ProcessTime;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::trainer::{self, EpochRecord, Objective, Plan};
use robustify_report::{Lock, digest, wait_for_folder, write_atomic};
use robustify_watch::{Stopped, Watch};
use robustify_zoo::weights;
use serde::{Deserialize, Serialize};

use super::Lab;
use super::seal::{checksum, is_sealed, write_sealed};

/// What results depend on besides their inputs: the version of the program, of the pixels that it makes, and of its training.
pub const PROGRAM: (&str, u32, u32) = (env!("CARGO_PKG_VERSION"), robustify_augment::REVISION, TRAINING);

/// Grows by one whenever training gives other weights for the same settings.
const TRAINING: u32 = 2;

/// A stage's folder: its hash, and what it is made from.
pub struct Stage {
    /// What it is called in messages.
    pub name: String,
    /// Hash of what determines it, before anything came out.
    inputs: String,
    folder: PathBuf,
    /// Keeps other runs that share the cache out of the stage.
    _lock: Option<Lock>,
}

/// A stage that a lab which computes nothing was asked for, by the name of its folder.
#[derive(Debug)]
pub struct Unfinished(pub String);

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: is not finished", self.0)
    }
}

impl std::error::Error for Unfinished {}

/// What a stage cost, over all processes that worked on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds of processor time, over all threads.
    pub cpu_seconds: f64,
    /// Seconds by the clock.
    pub seconds: f64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds + other.cpu_seconds, seconds: self.seconds + other.seconds }
    }
}

/// The trained weights.
const WEIGHTS: &str = "weights.safetensors";
/// The state of a training.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// What the names of files begin with that take rows of views while they are computed.
const VIEWS: &str = "views";

/// Whether a stage's folder has a result, and nothing that was begun and not ended.
fn is_finished(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    let is_begun = |name: &String| name == CHECKPOINT || *name == format!("{VIEWS}.progress");
    names.iter().any(|name| name.ends_with(".sha256")) && !names.iter().any(is_begun)
}

/// Keeps other runs that share the cache out of a stage's folder, and waits for one that works in it.
fn locked(name: &str, folder: &Path, watch: &dyn Watch) -> Result<Lock> {
    let mut is_said = false;
    let lock = wait_for_folder(folder, |holder| {
        if !std::mem::replace(&mut is_said, true) {
            let holder = holder.map_or_else(|| "another process".into(), |id| format!("process {id}"));
            watch.say(&format!("{name}: waits for {holder}, which works on it in {}", folder.display()));
        }
        !watch.is_stopped()
    })?;
    Ok(lock.ok_or(Stopped::Saved)?)
}

impl Stage {
    /// Makes the folder of the stage that `inputs` determine.
    pub(super) fn open(lab: &Lab<'_>, name: &str, inputs: &impl Serialize) -> Result<Self> {
        let backend = robustify_device::backend_of(&lab.machine.device);
        let hash = digest::of(&(PROGRAM, name, backend, inputs))?;
        let folder = lab.cache.join(format!("{name}-{}", &hash[..16]));
        if lab.peeks {
            return match is_finished(&folder) {
                true => Ok(Self { name: name.into(), inputs: hash, folder, _lock: None }),
                false => Err(Unfinished(format!("{name}-{}", &hash[..16])).into()),
            };
        }
        let lock = locked(name, &folder, lab.watch)?;
        let stage = Self { name: name.into(), inputs: hash, folder, _lock: Some(lock) };
        // A finished stage may lie where nothing can be written.
        let (path, text) = (stage.path("inputs.json"), serde_json::to_string_pretty(inputs)?);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            write_atomic(&path, text.as_bytes())?;
        }
        if lab.fresh {
            stage.remove_where(|name| name == CHECKPOINT || name == format!("{VIEWS}.progress"));
        }
        Ok(stage)
    }

    /// Hash of what determines the stage, before anything came out: for what is unfinished.
    pub fn inputs(&self) -> &str {
        &self.inputs
    }

    /// Hash of what determines the stage and of what came out of it, in sealed files: for whoever reads them.
    ///
    /// # Errors
    /// A file without a seal.
    pub fn result(&self, files: &[&str]) -> Result<String> {
        let sums = files.iter().map(|file| checksum(&self.path(file)));
        Ok(digest::of(&(&self.inputs, sums.collect::<Result<Vec<_>>>()?))?)
    }

    /// Where rows of views are kept while they are computed.
    pub fn unfinished_views(&self) -> PathBuf {
        self.path(VIEWS)
    }

    /// Removes what a kill may have left of views that are finished.
    pub fn forget_views(&self) {
        self.remove_where(|name| name.starts_with(VIEWS));
    }

    /// Removes files of no use. Those that cannot be removed take room, and that is all.
    fn remove_where(&self, is_useless: impl Fn(&str) -> bool) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(&is_useless) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// The path of a file of the stage.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Where the stage is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn checkpoint(&self) -> PathBuf {
        self.path(CHECKPOINT)
    }

    /// Trains, or reads what an earlier run trained. Besides the model it returns a hash of all that determined it, what came out
    /// included.
    ///
    /// # Errors
    /// As [`trainer::train`], and files that cannot be written.
    pub fn trained<O: Objective>(
        &self,
        lab: &Lab<'_>,
        objective: &O,
        model: O::Model,
        epochs: usize,
        optimizer: &AdamWConfig,
    ) -> Result<(O::Model, String)> {
        let weights_file = self.path(WEIGHTS);
        if is_sealed(&weights_file, lab.watch) {
            match weights::load(model.clone(), &weights_file) {
                Ok(model) => {
                    lab.watch.say(&format!("{}: done before, from {}", self.name, self.folder.display()));
                    return Ok((model, self.result(&[WEIGHTS])?));
                }
                Err(error) => lab.watch.warn(&format!("{error}; this stage is computed again")),
            }
        }
        let plan = Plan {
            name: self.name.clone(),
            epochs,
            optimizer: optimizer.clone(),
            checkpoint: self.checkpoint(),
            identity: self.inputs.clone(),
            config: serde_json::to_value(&lab.config)?,
            checkpoint_every: Duration::from_secs(lab.config.checkpoint_seconds),
        };
        let train = || trainer::train(objective, model, &plan, &lab.machine.workers, &lab.machine.device, lab.watch);
        let (model, history): (_, Vec<EpochRecord>) = self.timed(train)??;
        write_atomic(&self.path("history.json"), serde_json::to_string_pretty(&history)?.as_bytes())?;
        write_sealed(&weights_file, &weights::to_bytes(&weights::state(&model)))?;
        let checkpoint = self.checkpoint();
        if checkpoint.exists() {
            std::fs::remove_file(&checkpoint).with_context(|| checkpoint.display().to_string())?;
        }
        Ok((model, self.result(&[WEIGHTS])?))
    }

    /// Does some work, and adds the time that it took to that of earlier processes which worked on the stage.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn timed<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let (clock, processor) = (Instant::now(), ProcessTime::now());
        let done = work();
        let own = Cost { cpu_seconds: processor.elapsed().as_secs_f64(), seconds: clock.elapsed().as_secs_f64() };
        let cost = self.cost() + own;
        write_atomic(&self.path("cost.json"), serde_json::to_string_pretty(&cost)?.as_bytes())?;
        Ok(done)
    }

    /// What the stage cost so far; nothing if nobody wrote it down.
    pub fn cost(&self) -> Cost {
        let read = || serde_json::from_slice(&std::fs::read(self.path("cost.json")).ok()?).ok();
        read().unwrap_or_default()
    }
}
