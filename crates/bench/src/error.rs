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
    /// A model that cannot be asked.
    #[error(transparent)]
    Predict(#[from] robustify_predict::PredictError),
    /// A file that cannot be written.
    #[error(transparent)]
    Report(#[from] robustify_report::ReportError),
    /// The user asked to stop.
    #[error(transparent)]
    Stopped(#[from] robustify_watch::Stopped),
    /// A name that no suite has.
    #[error("no suite is called `{name}`; known: {known}")]
    UnknownSuite {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A data set that is not where it is looked for.
    #[error(
        "{title} is not in {root}: looked for a folder {folders} that holds {layouts}; get it from {origin}, or name the folder of all \
         data sets with --data-root DIR or ROBUSTIFY_DATA"
    )]
    NoSuite {
        /// The suite's name for people.
        title: &'static str,
        /// The folder of all data sets.
        root: String,
        /// The names that its folder may have.
        folders: String,
        /// How its files may lie there.
        layouts: String,
        /// Where to get it.
        origin: &'static str,
    },
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
    /// Stored answers that cannot be used.
    #[error("{path}: not usable as stored answers ({reason})")]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model whose classes are not those of the data.
    #[error(
        "{model} cannot be measured on {suite}: {reason}; a model is measured on data with its own classes in its own order, or on a \
         published data set whose classes it has"
    )]
    Classes {
        /// The model's name.
        model: String,
        /// The suite's name.
        suite: String,
        /// Where they differ.
        reason: String,
    },
    /// Features or answers that are no finite numbers.
    #[error(
        "{model}: its {what} of {image} in {cell} are no finite numbers; its weights are finite, so they are too large for this \
         network: train it again at a lower learning rate, or check that they belong to this network and preprocessing"
    )]
    NoNumbers {
        /// The model's name.
        model: String,
        /// `features` or `answers`.
        what: &'static str,
        /// The image.
        image: String,
        /// The cell's name.
        cell: String,
    },
}
