use std::path::PathBuf;

/// What can go wrong in a benchmark.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Images that cannot be read.
    #[error(transparent)]
    Data(#[from] robustify_data::DataError),
    /// A name or number that names no corruption, profile or severity.
    #[error(transparent)]
    Augment(#[from] robustify_augment::AugmentError),
    /// A severity of zero, which is no corruption.
    #[error("severity 0 is the clean cell, which is always measured; severities are 1 to 5")]
    SeverityZero,
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A stored cell that cannot be used.
    #[error("{path}: not a usable benchmark cell ({reason})")]
    Cell {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
