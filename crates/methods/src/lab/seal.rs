//! Sealed results: beside a finished file stands its SHA-256, so that damage is noticed when it is read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use robustify_report::{digest, write_atomic};
use robustify_watch::Watch;
use robustify_zoo::weights::{self, State};

/// The file beside a finished one that has its checksum.
fn seal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Notes the checksum that a file has or will have. It comes first, so that a file that is there is a sealed one.
pub(super) fn seal(path: &Path, sha256: &str) -> Result<()> {
    Ok(write_atomic(&seal_of(path), sha256.as_bytes())?)
}

/// Writes a result with its seal, which is of the bytes in memory: what the disk does to them shows when they are read.
pub(crate) fn write_sealed(path: &Path, bytes: &[u8]) -> Result<()> {
    seal(path, &digest::of_bytes(bytes))?;
    Ok(write_atomic(path, bytes)?)
}

/// The checksum beside a sealed file.
pub(super) fn checksum(path: &Path) -> Result<String> {
    let seal = seal_of(path);
    std::fs::read_to_string(&seal).with_context(|| seal.display().to_string())
}

/// Whether a file is finished and as it was when it was sealed; a damaged one is computed again, with a warning.
pub(super) fn is_sealed(path: &Path, watch: &dyn Watch) -> bool {
    if !path.exists() {
        return false;
    }
    let sealed = std::fs::read_to_string(seal_of(path)).ok();
    let sound = sealed.is_some() && digest::of_file(path).ok() == sealed;
    if !sound {
        again(path, "its checksum is not that of its content", watch);
    }
    sound
}

/// The tensors of a sealed file; none if it is to be computed again, for a reason that a warning gives.
pub(crate) fn read_sealed(path: &Path, watch: &dyn Watch) -> Option<State> {
    if !is_sealed(path, watch) {
        return None;
    }
    let fault = match weights::read(path) {
        Ok(state) => match weights::non_finite(&state) {
            None => return Some(state),
            Some((name, found)) => format!("{name}: {found}"),
        },
        Err(error) => error.to_string(),
    };
    again(path, &fault, watch);
    None
}

fn again(path: &Path, fault: &str, watch: &dyn Watch) {
    watch.warn(&format!("{}: {fault}; this stage is computed again", path.display()));
}
