//! SHA-256 in hexadecimal: identities of stages and of files.

pub use robustify_report::digest::{of, of_bytes, of_file};

/// What results depend on besides their inputs: the version of the program, of the pixels that it makes, and of its training.
pub const PROGRAM: (&str, u32, u32) = (env!("CARGO_PKG_VERSION"), robustify_augment::REVISION, TRAINING);

/// Grows by one whenever training gives other weights for the same settings.
const TRAINING: u32 = 2;
