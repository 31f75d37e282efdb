use std::path::PathBuf;

use crate::weights::Naming;

/// What can go wrong when a model is built, loaded or cut.
#[derive(Debug, thiserror::Error)]
pub enum ZooError {
    /// A configuration that describes no network.
    #[error("model configuration: {0}")]
    Config(String),
    /// A name that the registry does not have.
    #[error("unknown model `{name}`; names that resemble it: {}; `robustify models list` shows all", .near.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// Names that share words with it.
        near: Vec<String>,
    },
    /// Token ids that a text tower cannot read.
    #[error("token ids: {0}")]
    Ids(String),
    /// A weights file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A weights file that is no checkpoint, or contradicts itself.
    #[error("{path}: no readable checkpoint: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found, and the way out.
        reason: String,
    },
    /// Names asked for that no other program gives such a model.
    #[error(
        "{path}: {naming} has no names for the tensors of this model; `timm` fits every image model, `open_clip` every whole CLIP"
    )]
    NoNames {
        /// The file to convert.
        path: PathBuf,
        /// Whose names were asked for.
        naming: Naming,
    },
    /// A tensor that cannot be computed with.
    #[error("{path}: tensor {tensor}: {reason}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// The tensor, as it is named in the file.
        tensor: String,
        /// What its elements are, what was expected, and the way out.
        reason: String,
    },
    /// A weights file that does not fit the model.
    #[error("{path}: does not fit the model:\n  {}", .faults.join("\n  "))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Every missing, unexpected and misshapen tensor.
        faults: Vec<String>,
    },
}
