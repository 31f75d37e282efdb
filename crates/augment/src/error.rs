//! What can go wrong: only names and numbers that a user typed. Images of any size are valid.

/// A name or a number that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AugmentError {
    /// No corruption of this name.
    #[error("unknown corruption `{name}`; known are {known}")]
    UnknownCorruption {
        /// What was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// No profile of this name.
    #[error("unknown corruption profile `{name}`; known are {known}")]
    UnknownProfile {
        /// What was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A severity above five.
    #[error("severity {level} is out of range; 0 is the clean image, 1 to 5 are the benchmark's severities")]
    SeverityOutOfRange {
        /// What was given.
        level: u8,
    },
    /// A record of random draws that is not of this corruption.
    #[error("the recorded draws do not fit: {problem}; see the table in the documentation of `Trace`")]
    Trace {
        /// What was expected and what was found.
        problem: String,
    },
    /// Pictures of frost that cannot stand for the benchmark's own.
    #[error("the pictures of frost do not fit: {problem}; the benchmark has five, of any size")]
    Frost {
        /// What was expected and what was found.
        problem: String,
    },
    /// An augmentation policy that does not parse.
    #[error(
        "augmentation policy `{policy}`: {problem}; write for example `augmix(severity=3)|rand_conv|rand_conv+augmix`"
    )]
    Policy {
        /// The whole text of the policy.
        policy: String,
        /// The part at fault, and why.
        problem: String,
    },
    /// A step of a policy that comes from outside and cannot be made; see [`Policy::parse_with`](crate::Policy::parse_with).
    #[error("`{step}`: {problem}")]
    Step {
        /// The step with its arguments.
        step: String,
        /// What is wrong with it; the file at fault, if there is one.
        problem: String,
    },
}
