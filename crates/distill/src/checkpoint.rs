//! A complete training state in one safetensors file, written atomically.
//!
//! Tensors: `model.*` are the parameters, `adamw.m.*` and `adamw.v.*` the moments. The header's metadata holds the
//! format's version, the training's identity, its position (epoch, step, running sums, history), its merged configuration, and
//! as `sha256` the checksum of the whole file with zeros in the checksum's place.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use robustify_report::{digest, write_atomic};
use robustify_zoo::weights::{self, State};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::DistillError;
use crate::optimizer::AdamW;
use crate::trainer::EpochRecord;

const FORMAT: &str = "robustify-checkpoint-2";
/// What stands before the checksum in the header. Within the configuration, which is a text of its own, quotes have a backslash.
const CHECKSUM: &[u8] = br#""sha256":""#;
/// What stands for the checksum while it is computed.
const ZEROS: [u8; 64] = [b'0'; 64];

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
    /// A file that is damaged, and how that shows: the model as it was given.
    Damaged(M, String),
    /// A training to continue.
    Checkpoint(M, AdamW, Position),
}

/// Writes a checkpoint; the file is the old or the new one at any moment, whole.
///
/// # Errors
/// Weights that are no finite numbers, or a folder that cannot be written. The old file stays then.
pub fn save<M: Module>(
    path: &Path,
    identity: &str,
    config: &serde_json::Value,
    model: &M,
    optimizer: &AdamW,
    position: &Position,
) -> Result<(), DistillError> {
    let parameters = weights::state(model);
    if let Some((tensor, found)) = weights::non_finite(&parameters) {
        let (step, tensor) = (position.optimizer_steps, tensor.to_owned());
        return Err(DistillError::DivergedWeights { step, tensor, found });
    }
    let mut state: State = prefixed("model", parameters);
    state.extend(prefixed("adamw", optimizer.state()));
    let metadata = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("identity".to_owned(), identity.to_owned()),
        ("position".to_owned(), serde_json::to_string(position).expect("plain numbers")),
        ("config".to_owned(), config.to_string()),
        ("sha256".to_owned(), String::from_utf8_lossy(&ZEROS).into_owned()),
    ]);
    let mut bytes =
        safetensors::serialize(&state, Some(metadata)).expect("names are unique and sizes match the shapes");
    let place = checksum_place(&bytes).expect("it was written with the metadata");
    let sum = checksum(&bytes, &place);
    bytes[place].copy_from_slice(sum.as_bytes());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| DistillError::Io { path: path.into(), source })?;
    Ok(write_atomic(path, &bytes)?)
}

/// Where the checksum stands in a file.
fn checksum_place(bytes: &[u8]) -> Option<Range<usize>> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let header = bytes.get(8..)?.get(..usize::try_from(length).ok()?)?;
    let start = 8 + CHECKSUM.len() + header.windows(CHECKSUM.len()).position(|window| window == CHECKSUM)?;
    (start + ZEROS.len() <= 8 + header.len()).then_some(start..start + ZEROS.len())
}

/// The checksum of a file, whatever stands in its place.
fn checksum(bytes: &[u8], place: &Range<usize>) -> String {
    let mut running = digest::Running::default();
    for part in [&bytes[..place.start], &ZEROS, &bytes[place.end..]] {
        running.update(part);
    }
    running.so_far()
}

/// How damage of a file shows, if it is damaged. What has neither a format nor a checksum is not ours, and not for us to judge.
fn damage(bytes: &[u8]) -> Option<String> {
    let header = match SafeTensors::read_metadata(bytes) {
        Ok((_, header)) => header,
        Err(error) => return Some(error.to_string()),
    };
    let metadata = header.metadata().clone().unwrap_or_default();
    let place = checksum_place(bytes);
    let is_whole = |place: &Range<usize>| checksum(bytes, place).as_bytes() == &bytes[place.clone()];
    match (metadata.get("format").map(String::as_str), place) {
        (Some(FORMAT), Some(place)) if is_whole(&place) => None,
        (None, None) => None,
        (Some(other), _) if other != FORMAT => Some(format!("its format is {other}, this version reads {FORMAT}")),
        _ => Some("its checksum is not that of its content".into()),
    }
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
    if let Some(reason) = damage(&bytes) {
        return Ok(Found::Damaged(model, reason));
    }
    let broken = |reason: String| DistillError::Checkpoint { path: path.into(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let field = |name: &str| metadata.get(name).ok_or_else(|| broken(format!("no {name} in its header")));
    field("format")?;
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
