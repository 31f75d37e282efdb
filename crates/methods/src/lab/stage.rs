//! Stages: pieces of work whose results are kept in a folder named by a hash of everything that determines them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cpu_time::ProcessTime;
use robustify_distill::optimizer::AdamWConfig;
use robustify_distill::trainer::{self, EpochRecord, Objective, Plan};
use robustify_report::{Lock, digest, lock_folder, write_atomic};
use robustify_watch::Watch;
use robustify_zoo::weights;
use serde::{Deserialize, Serialize};

use super::Lab;

/// What results depend on besides their inputs: the version of the program, of the pixels that it makes, and of its training.
pub const PROGRAM: (&str, u32, u32) = (env!("CARGO_PKG_VERSION"), robustify_augment::REVISION, TRAINING);

/// Grows by one whenever training gives other weights for the same settings.
const TRAINING: u32 = 2;

/// A stage's folder: its hash, and what it is made from.
pub struct Stage {
    /// What it is called in messages.
    pub name: String,
    /// Hash of what determines it.
    pub hash: String,
    folder: PathBuf,
    /// Keeps other runs that share the cache out of the stage.
    _lock: Lock,
}

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

impl Stage {
    /// Makes the folder of the stage that `inputs` determine.
    pub(super) fn open(lab: &Lab<'_>, name: &str, inputs: &impl Serialize) -> Result<Self> {
        let backend = robustify_device::backend_of(&lab.machine.device);
        let hash = digest::of(&(PROGRAM, name, backend, inputs))?;
        let folder = lab.cache.join(format!("{name}-{}", &hash[..16]));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let lock = lock_folder(&folder)?;
        let stage = Self { name: name.into(), hash, folder, _lock: lock };
        write_atomic(&stage.path("inputs.json"), serde_json::to_string_pretty(inputs)?.as_bytes())?;
        if lab.fresh && stage.checkpoint().exists() {
            std::fs::remove_file(stage.checkpoint()).with_context(|| stage.checkpoint().display().to_string())?;
        }
        Ok(stage)
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
        self.path("checkpoint.safetensors")
    }

    /// Trains, or reads what an earlier run trained.
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
    ) -> Result<O::Model> {
        let weights_file = self.path("weights.safetensors");
        if is_sealed(&weights_file, lab.watch) {
            match weights::load(model.clone(), &weights_file) {
                Ok(model) => {
                    lab.watch.say(&format!("{}: done before, from {}", self.name, self.folder.display()));
                    return Ok(model);
                }
                Err(error) => lab.watch.warn(&format!("{error}; this stage is computed again")),
            }
        }
        let plan = Plan {
            name: self.name.clone(),
            epochs,
            optimizer: optimizer.clone(),
            checkpoint: self.checkpoint(),
            identity: self.hash.clone(),
            config: serde_json::to_value(&lab.config)?,
            checkpoint_every: Duration::from_secs(lab.config.checkpoint_seconds),
        };
        let train = || trainer::train(objective, model, &plan, &lab.machine.workers, &lab.machine.device, lab.watch);
        let (model, history): (_, Vec<EpochRecord>) = self.timed(train)??;
        write_atomic(&self.path("history.json"), serde_json::to_string_pretty(&history)?.as_bytes())?;
        write_atomic(&weights_file, &weights::to_bytes(&weights::state(&model)))?;
        seal(&weights_file)?;
        let checkpoint = self.checkpoint();
        if checkpoint.exists() {
            std::fs::remove_file(&checkpoint).with_context(|| checkpoint.display().to_string())?;
        }
        Ok(model)
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

/// The file beside a finished one that has its checksum.
fn seal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Notes the checksum of a finished file beside it.
pub(super) fn seal(path: &Path) -> Result<()> {
    let sum = digest::of_file(path).with_context(|| path.display().to_string())?;
    Ok(write_atomic(&seal_of(path), sum.as_bytes())?)
}

/// Whether a file is finished and as it was when it was sealed; a damaged one is computed again, with a warning.
pub(super) fn is_sealed(path: &Path, watch: &dyn Watch) -> bool {
    if !path.exists() {
        return false;
    }
    let sealed = std::fs::read_to_string(seal_of(path)).ok();
    let sound = sealed.is_some() && digest::of_file(path).ok() == sealed;
    if !sound {
        watch.warn(&format!(
            "{}: its checksum is not that of its content; this stage is computed again",
            path.display()
        ));
    }
    sound
}
