//! The benchmark data sets, one file each.

mod corrupted;

pub use corrupted::{Corrupted, CorruptedConfig};
