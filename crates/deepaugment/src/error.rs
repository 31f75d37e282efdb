use std::path::PathBuf;

/// What can go wrong when images are augmented, or networks built, trained, loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum DeepAugmentError {
    /// No operation of this name.
    #[error("unknown {kind} operation `{name}`; known are {known}")]
    UnknownOp {
        /// Weight or latent.
        kind: &'static str,
        /// What was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// There must be one key an image.
    #[error("{images} images were given with {keys} keys; every image needs its own")]
    Keys {
        /// Number of images.
        images: usize,
        /// Number of keys.
        keys: usize,
    },
    /// A tensor that is no batch of images with three channels and at least one pixel.
    #[error("images have shape {found:?}; expected [batch, 3, height, width] with no dimension of zero")]
    Shape {
        /// What was given.
        found: [usize; 4],
    },
    /// A configuration that describes no network or no training.
    #[error("{what}: {}", .faults.join("; "))]
    Config {
        /// Which configuration.
        what: &'static str,
        /// Every fault.
        faults: Vec<String>,
    },
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Bytes that are no safetensors file, or lack the metadata of this kind of network.
    #[error("{origin}: not readable as {expected} ({reason})")]
    Format {
        /// The file, or where the bytes came from.
        origin: String,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Weights that do not fit the network.
    #[error("{origin}: does not fit the network: {}", .faults.join("; "))]
    Mismatch {
        /// The file, or where the bytes came from.
        origin: String,
        /// Every missing, unexpected and misshapen tensor.
        faults: Vec<String>,
    },
    /// An image of the training set could not be had.
    #[error("image {index} of the training set: {source}")]
    Source {
        /// Its index.
        index: usize,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The training's loss is no finite number any more.
    #[error("the loss became {loss} in epoch {epoch}; a lower learning rate than {learning_rate} may help")]
    Diverged {
        /// Epoch, from one.
        epoch: usize,
        /// The loss.
        loss: f64,
        /// The learning rate in use.
        learning_rate: f64,
    },
}
