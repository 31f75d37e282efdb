//! Files and folders, and what is neither: opening a pipe would wait for somebody to write into it.

use std::fs::Metadata;
use std::path::Path;

use crate::ZooError;

/// What a path is, without opening it.
///
/// # Errors
/// Nothing there, or a pipe, socket or device.
pub(super) fn expect_readable(path: &Path) -> Result<Metadata, ZooError> {
    let about = path.metadata().map_err(|source| ZooError::Io { path: path.into(), source })?;
    if about.is_file() || about.is_dir() {
        return Ok(about);
    }
    let reason = format!("it {}, which is never read", special(about.file_type()));
    Err(ZooError::Format { path: path.into(), reason })
}

/// The text of a file.
///
/// # Errors
/// As [`expect_readable`], and a file that cannot be read or is no UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String, ZooError> {
    expect_readable(path)?;
    std::fs::read_to_string(path).map_err(|source| ZooError::Io { path: path.into(), source })
}

/// What is neither a file nor a folder.
#[cfg(unix)]
fn special(kind: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "is a pipe (FIFO)"
    } else if kind.is_socket() {
        "is a socket"
    } else {
        "is a device"
    }
}

#[cfg(not(unix))]
fn special(_: std::fs::FileType) -> &'static str {
    "is neither a file nor a folder"
}
