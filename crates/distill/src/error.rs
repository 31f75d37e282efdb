use std::path::PathBuf;

use robustify_zoo::weights::NonFinite;

use crate::Teacher;

/// What can go wrong while training.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// Data that cannot be read.
    #[error(transparent)]
    Data(#[from] robustify_data::DataError),
    /// A model that cannot be built, cut or loaded.
    #[error(transparent)]
    Zoo(#[from] robustify_zoo::ZooError),
    /// A checkpoint that cannot be written.
    #[error(transparent)]
    Report(#[from] robustify_report::ReportError),
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A checkpoint that cannot be continued.
    #[error("{path}: cannot continue from this checkpoint: {reason}; delete it to start the stage over")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A feature or a logit that cannot be stored.
    #[error("{origin}: view {view} has a {what} of {value} from the {of}: {remedy}")]
    Value {
        /// Whose it is.
        of: Teacher,
        /// `feature` or `logit`.
        what: &'static str,
        /// The image.
        origin: String,
        /// Which of its views, from 0.
        view: usize,
        /// The value.
        value: f32,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A teacher is asked for that the cached views were not given.
    #[error("the cached views have no logits of the {0}, which distillation asks for; give them to `ViewCache::read`")]
    NoTeacher(Teacher),
    /// Settings that make no sense together.
    #[error("{0}")]
    Config(String),
    /// A loss or gradient that is no number.
    #[error(
        "training diverged: at step {step} the loss is {loss} and the gradients' norm {norm}; lower the learning rate, or \
         check the data and the initial weights for values that are no numbers"
    )]
    Diverged {
        /// The step, from one.
        step: usize,
        /// The batch's mean loss.
        loss: f64,
        /// Norm of all gradients together.
        norm: f64,
    },
    /// Weights that an update made too large.
    #[error("training diverged: after step {step}, tensor {tensor}: {found}; lower the learning rate")]
    DivergedWeights {
        /// The step, from one.
        step: usize,
        /// The parameter.
        tensor: String,
        /// What was found in it.
        found: NonFinite,
    },
    /// Whoever watches asked to stop.
    #[error("{0}")]
    Stopped(#[from] robustify_watch::Stopped),
}
