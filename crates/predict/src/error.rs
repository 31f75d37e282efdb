use std::path::PathBuf;

/// What can go wrong when a model is asked, read or written.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// Images that cannot be read or do not fit the preprocessing.
    #[error(transparent)]
    Data(#[from] robustify_data::DataError),
    /// A network that cannot be built or cut, or weights that do not fit it.
    #[error(transparent)]
    Zoo(#[from] robustify_zoo::ZooError),
    /// A file that cannot be written.
    #[error(transparent)]
    Report(#[from] robustify_report::ReportError),
    /// A CLIP whose texts cannot be made.
    #[error("{0}")]
    Texts(String),
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file that is no robust model.
    #[error("{path}: no model of this program: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found, and the way out.
        reason: String,
    },
    /// An ONNX file that cannot be asked about pictures.
    #[error("{path}: {reason}")]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What was found, and the way out.
        reason: String,
    },
}
