//! What can go wrong with results, each with the file, what was expected and what was found.

use std::path::PathBuf;

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
