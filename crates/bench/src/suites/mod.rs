//! The benchmark data sets, one file each.

pub mod catalog;
mod corrupted;
mod drawn;
mod part;
mod rendered;
mod shifted;
mod transfer;

pub use corrupted::{Corrupted, CorruptedConfig};
pub use part::Part;
pub use rendered::Rendered;
pub use shifted::{Change, Shifted};
pub use transfer::Turned;

/// The name in records of what a linear probe of a model's features says in another task.
pub const TRANSFER: &str = "transfer";
