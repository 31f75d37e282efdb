//! Files that are either the old ones or the new ones, whenever the program is killed.

use std::ffi::OsString;
use std::fs::{DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ReportError;

/// Replaces a file: writes a neighbour, brings it to the disk, and renames it. Readers see the old bytes or the new ones,
/// and never a part; so does the next start after a power cut.
///
/// # Errors
///
/// The folder does not exist, is not writable or is full. The old file is untouched then, and no neighbour is left.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let fault = |source| ReportError::writing(path, bytes.len() as u64, source);
    let neighbour = neighbour(path).map_err(fault)?;
    let written = write(&neighbour, bytes).and_then(|()| std::fs::rename(&neighbour, path));
    if let Err(error) = written {
        // What went wrong first is what the caller should hear of; a neighbour that is left over harms nobody.
        let _ = std::fs::remove_file(&neighbour);
        return Err(fault(error));
    }
    sync_folder(path).map_err(fault)
}

/// Removes neighbours that writers left in a folder when they were killed, if they are at least of this age: a folder that one
/// process has to itself needs none, elsewhere a writer may be at work. What cannot be removed takes room, and that is all.
pub fn remove_leftovers(folder: &Path, age: Duration) {
    let is_old = |entry: &DirEntry| {
        let changed = entry.metadata().and_then(|about| about.modified()).ok();
        changed.is_some_and(|changed| changed.elapsed().unwrap_or_default() >= age)
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_neighbour) && is_old(&entry) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is one that [`neighbour`] gives.
fn is_neighbour(name: &str) -> bool {
    let numbers =
        name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")?.rsplit_once('.')?.1.split_once('-'));
    numbers.is_some_and(|(process, count)| process.parse::<u32>().is_ok() && count.parse::<u64>().is_ok())
}

/// Fails unless the folder is there that a file is to be written into.
///
/// # Errors
/// [`ReportError::NoFolder`].
pub fn expect_folder_of(file: &Path) -> Result<(), ReportError> {
    let folder = folder_of(file);
    if folder.is_dir() { Ok(()) } else { Err(ReportError::NoFolder { folder: folder.to_owned() }) }
}

/// A name beside the file that no other thread or process uses.
fn neighbour(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(hidden))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without it the rename itself may be lost in a power cut. Elsewhere than on Unix a folder cannot be opened for this.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        for text in ["first, and longer", "second"] {
            write_atomic(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let left = neighbour(&folder.path().join("results.csv")).unwrap();
        let others = [".results.csv.tmp", "results.csv.1-1.tmp", ".gitignore", ".a.1-x.tmp"]
            .map(|name| folder.path().join(name));
        for file in others.iter().chain([&left]) {
            std::fs::write(file, "half").unwrap();
        }
        remove_leftovers(folder.path(), Duration::from_secs(3600));
        assert!(left.exists(), "a writer may be at work on it");
        let _lock = crate::lock_folder(folder.path()).unwrap();
        assert!(!left.exists() && others.iter().all(|other| other.exists()));
        remove_leftovers(&folder.path().join("absent"), Duration::ZERO);
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(&folder.path().join("missing/results.csv"), b"x").unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("missing"), "{error}");
        let error = expect_folder_of(&folder.path().join("missing/results.csv")).unwrap_err().to_string();
        assert!(error.ends_with("missing; make it first"), "{error}");
        assert!(
            expect_folder_of(&folder.path().join("results.csv")).is_ok() && expect_folder_of(Path::new("x")).is_ok()
        );
        // A folder cannot be replaced by a file, so here the rename fails, after the neighbour was written.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(write_atomic(&taken, b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
