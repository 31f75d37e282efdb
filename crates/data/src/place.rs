//! What lies at a path, so that an error can say it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use robustify_watch::shown;

use crate::error::{DataError, Result, io_error};

/// What lies at a path, as the end of a sentence: "there is no such file or folder", "is a pipe, which is never read".
/// Nothing is opened, since opening a pipe waits for whoever writes into it.
pub fn what_is(path: &Path) -> String {
    let kind = match path.metadata() {
        Ok(found) if found.is_dir() => "is a folder",
        Ok(found) if found.is_file() => "is a file",
        Ok(found) => special(found.file_type()),
        Err(_) if path.is_symlink() => "is a link to something that is not there",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is no such file or folder",
        Err(error) => return format!("cannot be looked at: {error}"),
    };
    kind.to_owned()
}

#[cfg(unix)]
fn special(kind: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "is a pipe (FIFO), which is never read"
    } else if kind.is_socket() {
        "is a socket, which is never read"
    } else {
        "is a device, which is never read"
    }
}

#[cfg(not(unix))]
fn special(_: std::fs::FileType) -> &'static str {
    "is neither a file nor a folder, and is never read"
}

/// Opens a file to be read. A pipe, socket or device is refused and never opened: that might wait for ever.
///
/// # Errors
/// [`DataError::Io`]; for what is no file, it says what it is.
pub fn open(path: &Path) -> Result<File> {
    let is_file = path.metadata().map_err(io_error(path, "read"))?.is_file();
    let stranger = || io_error(path, "read")(io::Error::other(format!("it {}", what_is(path))));
    if is_file { File::open(path).map_err(io_error(path, "read")) } else { Err(stranger()) }
}

/// The text of a file, which is opened as by [`open`].
///
/// # Errors
/// As for [`open`], and a file that cannot be read or is no UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text).map_err(io_error(path, "read"))?;
    Ok(text)
}

/// A path from the root on: what is stored beside a relative one, which means another place in another working folder.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A path as it was typed, with what it means here if it is relative: where it leads, and from where.
pub fn described(path: &Path) -> String {
    if path.is_absolute() {
        return shown(path);
    }
    let here = absolute(Path::new("."));
    format!("{} ({}, from the working folder {})", shown(path), shown(&absolute(path)), shown(&here))
}

/// Fails unless there is a folder; `what` is the setting that names it.
pub(crate) fn expect_folder(what: &'static str, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    Err(DataError::Settings(format!(
        "{what} {}: {}; was the folder moved, or the command started elsewhere? Give {what}=DIR",
        described(path),
        what_is(path)
    )))
}
