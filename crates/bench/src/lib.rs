//! Robustness benchmark cells, metrics and result records.
#![deny(missing_docs)]

mod error;
pub mod evaluate;

pub use error::BenchError;
