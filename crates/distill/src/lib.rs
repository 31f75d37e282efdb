//! Losses, methods, trainer and checkpoints: robust teacher, Robustify and APT.
#![deny(missing_docs)]

pub mod checkpoint;
mod error;
pub mod images;
pub mod losses;
pub mod optimizer;
pub mod probe;
pub mod student;
pub mod trainer;
pub mod views;

pub use error::DistillError;
