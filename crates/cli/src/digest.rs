//! SHA-256 in hexadecimal: identities of stages and of files.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What results depend on besides their inputs: the version of the program, and of the pixels that it makes.
pub const PROGRAM: (&str, u32) = (env!("CARGO_PKG_VERSION"), robustify_augment::REVISION);

/// Of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of a value's JSON form.
pub fn of<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(of_bytes(&serde_json::to_vec(value)?))
}
