//! SHA-256 in hexadecimal: identities of stages and of files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Of a file, which may be larger than the memory.
///
/// # Errors
/// A file that cannot be read.
pub fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut running = Running::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(running.so_far()),
            read => running.update(&buffer[..read]),
        }
    }
}

/// Of bytes that come one after the other.
#[derive(Clone, Debug, Default)]
pub struct Running(Sha256);

impl Running {
    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far; more may follow.
    pub fn so_far(&self) -> String {
        hexadecimal(&self.0.clone().finalize())
    }
}

/// Of a value's JSON form.
///
/// # Errors
/// A value that has no JSON form.
pub fn of<T: Serialize>(value: &T) -> serde_json::Result<String> {
    Ok(of_bytes(&serde_json::to_vec(value)?))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: NIST, FIPS 180-4 example values.
    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_files_and_values_have_the_digest_of_their_bytes() {
        assert_eq!(of_bytes(b"abc"), OF_ABC);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(of_file(&path).unwrap(), OF_ABC);
        let long = vec![7; (1 << 17) + 1];
        std::fs::write(&path, &long).unwrap();
        assert_eq!(of_file(&path).unwrap(), of_bytes(&long));
        let mut running = Running::default();
        running.update(b"ab");
        assert_eq!(running.so_far(), of_bytes(b"ab"));
        running.update(b"c");
        assert_eq!(running.so_far(), OF_ABC);
        assert_eq!(of(&("a", 1)).unwrap(), of_bytes(br#"["a",1]"#));
    }
}
