//! What can go wrong with results, each with the file, what was expected and what was found.

use std::path::{Path, PathBuf};

/// Why results could not be written, read or brought together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file does not fit on its disk, or in what its writer may use of it.
    #[error(
        "cannot write {}: {source}; it takes {}: make room there, and the same command continues",
        path.display(),
        size(*wanted)
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes that are wanted.
        wanted: u64,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder is not there that a file is to be written into.
    #[error("there is no folder {}; make it first", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A row cannot be written, since it could not be read back as what it is.
    #[error("row {index}: {fault}")]
    Row {
        /// Its place among the rows, from 0.
        index: usize,
        /// What is wrong with it.
        fault: RowFault,
    },
    /// Text that is no table of results.
    #[error("{name}:{line}: {message}")]
    Parse {
        /// The file, or what the text was said to be.
        name: String,
        /// Line, from 1.
        line: u64,
        /// What was expected, and what was found.
        message: String,
    },
    /// A template of a page that cannot be used.
    #[error("template {place}: {reason}")]
    Template {
        /// Its name and line.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is no evaluation.
    #[error("{}: no evaluation: {reason}", path.display())]
    Evaluation {
        /// The file.
        path: PathBuf,
        /// What was expected, and what was found.
        reason: String,
    },
}

impl ReportError {
    /// Why a file could not be read.
    pub fn reading(path: &Path, source: std::io::Error) -> Self {
        Self::Io { action: "read", path: path.to_owned(), source }
    }

    /// Why a file of which `wanted` more bytes were to be written was not.
    pub fn writing(path: &Path, wanted: u64, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::NoRoom { path, wanted, source },
            _ => Self::Io { action: "write", path, source },
        }
    }
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// A name that must not be empty.
    #[error("`{0}` is empty; leave a corruption out instead, and name everything else")]
    Empty(&'static str),
    /// A value that is no finite number.
    #[error("`value` is {0}, expected a finite number; leave out what could not be measured")]
    NotFinite(f64),
    /// A severity outside the benchmark's range.
    #[error("`severity` is {0}, expected 1 to 5")]
    Severity(u8),
    /// A severity of nothing.
    #[error("`severity` is {0}, but there is no `corruption` to have it")]
    SeverityWithoutCorruption(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_faults_with_the_room_that_is_wanted() {
        let said = |kind: std::io::ErrorKind, wanted| {
            ReportError::writing(Path::new("runs/features"), wanted, kind.into()).to_string()
        };
        let full = std::io::ErrorKind::StorageFull;
        for (wanted, size) in [(12, "12 bytes"), (1_001, "2 kB"), (2_500_000, "2.5 MB"), (3_210_000_000, "3.2 GB")] {
            let said = said(full, wanted);
            assert!(
                said.starts_with("cannot write runs/features: ") && said.contains(&format!("takes {size}:")),
                "{said}"
            );
        }
        let said = said(std::io::ErrorKind::PermissionDenied, 12);
        assert!(said.starts_with("cannot write runs/features: ") && !said.contains("make room"), "{said}");
    }
}
