//! Locks against a second program: a file that one process holds, for as long as it lives, however it ends.
//!
//! The system gives a lock up when the process ends, so a file that is left over holds nobody up. A process that is being killed
//! still has its locks until its memory is freed: so a held lock is tried again for a moment before it counts as held. The
//! file has the number of the process that holds it, for messages alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::remove_leftovers;

/// How long a process may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(100);

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
        "another robustify{} is working in {}; wait for it, or choose another folder with --run-dir or --cache-dir",
        holder.map(|id| format!(" (process {id})")).unwrap_or_default(),
        folder.display()
    )]
    FolderHeld {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, if it said so.
        holder: Option<u32>,
    },
    /// Another program holds the lock of a file; the text is what the caller says of that.
    #[error("{0}")]
    Held(String),
}

/// Keeps other programs out of a folder, which is made if it is not there, by a file `lock` in it, and removes what writers that
/// were killed left in it.
///
/// # Errors
/// The folder cannot be made or locked, or another program is working in it.
pub fn lock_folder(folder: &Path) -> Result<Lock, LockError> {
    lock_folder_within(folder, GRACE)
}

fn lock_folder_within(folder: &Path, grace: Duration) -> Result<Lock, LockError> {
    let (start, mut holder) = (Instant::now(), None);
    let lock = wait_for_folder(folder, |process| {
        holder = process;
        start.elapsed() < grace
    })?;
    lock.ok_or_else(|| LockError::FolderHeld { folder: folder.to_owned(), holder })
}

/// Keeps other programs out of a folder as [`lock_folder`] does, but waits for one that is working in it: `waiting` is asked again
/// and again, with the number of that process if it is known, whether to wait any longer. None if not.
///
/// # Errors
/// The folder cannot be made or locked.
pub fn wait_for_folder(folder: &Path, mut waiting: impl FnMut(Option<u32>) -> bool) -> Result<Option<Lock>, LockError> {
    std::fs::create_dir_all(folder).map_err(|source| LockError::Folder { folder: folder.to_owned(), source })?;
    let path = folder.join("lock");
    loop {
        if let (file, true) = try_lock(&path)? {
            remove_leftovers(folder, Duration::ZERO);
            return Ok(Some(Lock { _file: file }));
        }
        if !waiting(holder(&path)) {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Locks a file, which is made if it is not there; `held` is said of a lock that another program holds.
///
/// # Errors
/// The file cannot be made or locked, or another program holds it.
pub fn lock_file(path: &Path, held: impl FnOnce() -> String) -> Result<Lock, LockError> {
    lock_file_within(path, GRACE, held)
}

fn lock_file_within(path: &Path, grace: Duration, held: impl FnOnce() -> String) -> Result<Lock, LockError> {
    let start = Instant::now();
    loop {
        match try_lock(path)? {
            (file, true) => return Ok(Lock { _file: file }),
            (_, false) if start.elapsed() >= grace => return Err(LockError::Held(held())),
            (_, false) => std::thread::sleep(PAUSE),
        }
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
        sign(&file);
    }
    Ok((Lock { _file: file }, !locked))
}

/// A file to lock, and whether it is locked: another program may hold it.
fn try_lock(path: &Path) -> Result<(File, bool), LockError> {
    let fault = |source| LockError::Io { path: path.to_owned(), source };
    let file = open(path).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {
            sign(&file);
            Ok((file, true))
        }
        Err(TryLockError::WouldBlock) => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(fault(error)),
    }
}

/// The file, made if it is not there. One that may only be read, as in a cache that somebody else filled, can be locked as well.
fn open(path: &Path) -> io::Result<File> {
    // What the holder wrote stays.
    let error = match OpenOptions::new().write(true).create(true).truncate(false).open(path) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => File::open(path).map_err(|_| error),
        _ => Err(error),
    }
}

/// Writes this process's number into the file. Where that is not possible, others learn less, and that is all.
fn sign(mut file: &File) {
    let _ = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
}

/// The process that says that it holds a lock.
fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(150);

    #[test]
    fn a_lock_that_is_given_up_soon_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock_folder(folder.path()).unwrap();
        let path = folder.path().join("other");
        let other = lock_file(&path, String::new).unwrap();
        let end = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            drop((held, other));
        });
        // As when the process that had them is being killed.
        let _locks = (lock_folder(folder.path()).unwrap(), lock_file(&path, String::new).unwrap());
        end.join().unwrap();
    }

    #[test]
    fn a_file_that_is_left_over_keeps_nobody_out_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        for left in ["", "1", "no number at all"] {
            std::fs::write(folder.path().join("lock"), left).unwrap();
            drop(lock_folder_within(folder.path(), Duration::ZERO).unwrap());
        }
        let mut read_only = std::fs::metadata(folder.path().join("lock")).unwrap().permissions();
        read_only.set_readonly(true);
        std::fs::set_permissions(folder.path().join("lock"), read_only).unwrap();
        drop(lock_folder_within(folder.path(), Duration::ZERO).unwrap());
    }

    #[test]
    fn whoever_waits_for_a_folder_hears_for_whom_and_may_give_up() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock_folder(folder.path()).unwrap();
        let mut heard = Vec::new();
        let given_up = wait_for_folder(folder.path(), |holder| {
            heard.push(holder);
            heard.len() < 2
        });
        assert!(given_up.unwrap().is_none());
        assert_eq!(heard, [Some(std::process::id()); 2]);
        let mut held = Some(held);
        let lock = wait_for_folder(folder.path(), |_| {
            held = None;
            true
        });
        assert!(lock.unwrap().is_some());
    }

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs/one");
        let lock = lock_folder(&run).unwrap();
        let refused = lock_folder_within(&run, SHORT).unwrap_err();
        assert!(
            matches!(refused, LockError::FolderHeld { holder: Some(_), .. })
                && refused.to_string().contains("runs/one"),
            "{refused}"
        );
        let refused = lock_file_within(&run.join("lock"), SHORT, || "in use".to_owned()).unwrap_err();
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
