//! SHA-256 in hexadecimal: identities of stages and of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What results depend on besides their inputs: the version of the program, of the pixels that it makes, and of its training.
pub const PROGRAM: (&str, u32, u32) = (env!("CARGO_PKG_VERSION"), robustify_augment::REVISION, TRAINING);

/// Grows by one whenever training gives other weights for the same settings.
const TRAINING: u32 = 2;

/// Of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Of a file, which may be larger than the memory.
pub fn of_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of a value's JSON form.
pub fn of<T: Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(of_bytes(&serde_json::to_vec(value)?))
}
