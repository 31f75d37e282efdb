//! A complete training state in one safetensors file, written atomically.
//!
//! Tensors: `model.*` are the parameters, `adamw.m.*` and `adamw.v.*` the moments. The header's metadata holds the
//! format's version, the training's identity, its position (epoch, step, running sums, history) and its merged configuration.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use robustify_report::write_atomic;
use robustify_zoo::weights::{self, State};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::DistillError;
use crate::optimizer::AdamW;
use crate::trainer::EpochRecord;

const FORMAT: &str = "robustify-checkpoint-1";

/// Where a training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs done.
    pub epoch: usize,
    /// Steps done in the current epoch.
    pub step: usize,
    /// Optimizer steps done in all.
    pub optimizer_steps: usize,
    loss: f64,
    norms: f64,
    rows: usize,
    right: usize,
    /// Epochs so far.
    pub history: Vec<EpochRecord>,
}

impl Position {
    pub(crate) fn add(&mut self, loss: f64, rows: usize, right: usize) {
        self.loss += loss;
        self.rows += rows;
        self.right += right;
    }

    pub(crate) fn finish_step(&mut self, norm: f64) {
        self.step += 1;
        self.norms += norm;
        self.optimizer_steps += 1;
    }

    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.step.max(1) as f64
    }

    pub(crate) fn finish_epoch(&mut self, learning_rate: f64) -> EpochRecord {
        let record = EpochRecord {
            epoch: self.epoch + 1,
            loss: self.mean_loss(),
            accuracy: self.right as f64 / self.rows.max(1) as f64,
            learning_rate,
            gradient_norm: self.norms / self.step.max(1) as f64,
        };
        let mut history = std::mem::take(&mut self.history);
        history.push(record.clone());
        *self = Self { epoch: self.epoch + 1, optimizer_steps: self.optimizer_steps, history, ..Self::default() };
        record
    }
}

/// What lies at a checkpoint's path.
pub enum Found<M> {
    /// No file: the model as it was given.
    Nothing(M),
    /// A training to continue.
    Checkpoint(M, AdamW, Position),
}

/// Writes a checkpoint; the file is the old or the new one at any moment, whole.
///
/// # Errors
/// A folder that cannot be written.
pub fn save<M: Module>(
    path: &Path,
    identity: &str,
    config: &serde_json::Value,
    model: &M,
    optimizer: &AdamW,
    position: &Position,
) -> Result<(), DistillError> {
    let mut state: State = prefixed("model", weights::state(model));
    state.extend(prefixed("adamw", optimizer.state()));
    let metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("identity".to_owned(), identity.to_owned()),
        ("position".to_owned(), serde_json::to_string(position).expect("plain numbers")),
        ("config".to_owned(), config.to_string()),
    ]);
    let bytes = safetensors::serialize(&state, Some(metadata)).expect("names are unique and sizes match the shapes");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| DistillError::Io { path: path.into(), source })?;
    Ok(write_atomic(path, &bytes)?)
}

/// Reads a checkpoint into `model`, when there is one.
///
/// # Errors
/// A file that is no checkpoint, is of another training, or does not fit the model.
pub fn load<M: Module>(path: &Path, identity: &str, model: M, device: &Device) -> Result<Found<M>, DistillError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Nothing(model)),
        Err(source) => return Err(DistillError::Io { path: path.into(), source }),
    };
    let broken = |reason: String| DistillError::Checkpoint { path: path.into(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let field = |name: &str| metadata.get(name).ok_or_else(|| broken(format!("no {name} in its header")));
    if field("format")? != FORMAT {
        return Err(broken(format!("its format is {}, this version reads {FORMAT}", field("format")?)));
    }
    if field("identity")? != identity {
        return Err(broken("it belongs to a training with other settings or data".into()));
    }
    let position: Position = serde_json::from_str(field("position")?).map_err(|error| broken(error.to_string()))?;
    let mut model_state = State::new();
    let mut moments = State::new();
    for (name, entry) in weights::from_bytes(&bytes).map_err(broken)? {
        match name.split_once('.') {
            Some(("model", rest)) => model_state.insert(rest.to_owned(), entry),
            Some(("adamw", rest)) => moments.insert(rest.to_owned(), entry),
            _ => return Err(broken(format!("unexpected tensor {name}"))),
        };
    }
    for (name, moment) in &moments {
        let parameter = name.split_once('.').and_then(|(_, parameter)| model_state.get(parameter));
        if parameter.is_none_or(|parameter| parameter.values.len() != moment.values.len()) {
            return Err(broken(format!("its optimizer moment {name} fits no parameter")));
        }
    }
    let model = weights::with_state(model, model_state).map_err(|faults| broken(faults.join("; ")))?;
    let optimizer = AdamW::with_state(moments, position.optimizer_steps, device)
        .ok_or_else(|| broken("its optimizer moments are incomplete".into()))?;
    Ok(Found::Checkpoint(model, optimizer, position))
}

fn prefixed(prefix: &str, state: State) -> State {
    state.into_iter().map(|(name, entry)| (format!("{prefix}.{name}"), entry)).collect()
}
