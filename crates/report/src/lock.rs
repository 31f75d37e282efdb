//! Locks against a second program: a file that one process holds, for as long as it lives, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A file that nobody else can lock until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is given up when this is dropped"]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file to lock cannot be made, or the system cannot lock it.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder to lock cannot be made.
    #[error("run folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another program holds the lock of a folder.
    #[error(
        "another robustify is working in {}; wait for it, or choose another folder with --run-dir or --cache-dir",
        folder.display()
    )]
    FolderHeld {
        /// The folder.
        folder: PathBuf,
    },
    /// Another program holds the lock of a file; the text is what the caller says of that.
    #[error("{0}")]
    Held(String),
}

/// Keeps other programs out of a folder, which is made if it is not there, by a file `lock` in it.
///
/// # Errors
/// The folder cannot be made or locked, or another program is working in it.
pub fn lock_folder(folder: &Path) -> Result<Lock, LockError> {
    std::fs::create_dir_all(folder).map_err(|source| LockError::Folder { folder: folder.to_owned(), source })?;
    match try_lock(&folder.join("lock"))? {
        (file, true) => Ok(Lock { _file: file }),
        (_, false) => Err(LockError::FolderHeld { folder: folder.to_owned() }),
    }
}

/// Locks a file, which is made if it is not there; `held` is said of a lock that another program holds.
///
/// # Errors
/// The file cannot be made or locked, or another program holds it.
pub fn lock_file(path: &Path, held: impl FnOnce() -> String) -> Result<Lock, LockError> {
    match try_lock(path)? {
        (file, true) => Ok(Lock { _file: file }),
        (_, false) => Err(LockError::Held(held())),
    }
}

/// Locks a file, and says whether that took waiting for another program; `waiting` is called before.
///
/// # Errors
/// The file cannot be made or locked.
pub fn wait_for_lock(path: &Path, waiting: impl FnOnce()) -> Result<(Lock, bool), LockError> {
    let (file, locked) = try_lock(path)?;
    if !locked {
        waiting();
        file.lock().map_err(|source| LockError::Io { path: path.to_owned(), source })?;
    }
    Ok((Lock { _file: file }, !locked))
}

/// A file to lock, and whether it is locked: another program may hold it.
fn try_lock(path: &Path) -> Result<(File, bool), LockError> {
    let fault = |source| LockError::Io { path: path.to_owned(), source };
    let file = File::create(path).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(fault(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs/one");
        let lock = lock_folder(&run).unwrap();
        let refused = lock_folder(&run).unwrap_err();
        assert!(
            matches!(refused, LockError::FolderHeld { .. }) && refused.to_string().contains("runs/one"),
            "{refused}"
        );
        let refused = lock_file(&run.join("lock"), || "in use".to_owned()).unwrap_err();
        assert_eq!(refused.to_string(), "in use");
        drop(lock);
        let (_lock, waited) = wait_for_lock(&run.join("lock"), || panic!("nobody holds it")).unwrap();
        assert!(!waited);
    }

    #[test]
    fn whoever_waits_is_told_and_gets_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock_file(&path, String::new).unwrap();
        let (_lock, waited) = wait_for_lock(&path, || drop(held)).unwrap();
        assert!(waited);
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let said = lock_folder(&file).unwrap_err().to_string();
        assert!(said.starts_with(&format!("run folder {}: ", file.display())), "{said}");
        let missing = folder.path().join("missing/lock");
        let said = lock_file(&missing, String::new).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{}: ", missing.display())), "{said}");
    }
}
