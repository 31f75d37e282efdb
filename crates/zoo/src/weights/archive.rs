//! Copies of ZIP archives with some entries changed, for a reader that takes a file.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};

use tempfile::NamedTempFile;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// What becomes of an entry.
pub(super) enum Part {
    /// It is in the copy as it is.
    Stays,
    /// It is not in the copy.
    Goes,
    /// It has other bytes in the copy.
    Becomes(Vec<u8>),
}

/// An entry to be read.
pub(super) struct Entry<'a, 'b>(&'a mut ZipFile<'b, BufReader<File>>);

impl Entry<'_, '_> {
    /// All of its bytes.
    pub fn all(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).map_err(|error| damaged(error.into()))?;
        Ok(bytes)
    }
}

/// A copy of an archive in the system's folder for temporary files; it goes away when dropped.
pub(super) fn copy(
    archive: &mut ZipArchive<BufReader<File>>,
    mut part: impl FnMut(&str, &mut Entry<'_, '_>) -> Result<Part, String>,
) -> Result<NamedTempFile, String> {
    let copy = temporary()?;
    let mut writer = ZipWriter::new(BufWriter::new(copy.as_file()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        match part(&name, &mut Entry(&mut entry))? {
            Part::Goes => {}
            Part::Stays => writer.raw_copy_file(entry).map_err(|error| full(&copy, error))?,
            Part::Becomes(bytes) => {
                writer.start_file(name, stored).map_err(|error| full(&copy, error))?;
                writer.write_all(&bytes).map_err(|error| full(&copy, error))?;
            }
        }
    }
    writer.finish().map_err(|error| full(&copy, error))?.flush().map_err(|error| full(&copy, error))?;
    Ok(copy)
}

/// A file for a copy.
pub(super) fn temporary() -> Result<NamedTempFile, String> {
    NamedTempFile::new().map_err(|error| format!("its copy for reading cannot be made: {error}"))
}

/// What to say of a copy that cannot be written.
pub(super) fn full(copy: &NamedTempFile, error: impl std::fmt::Display) -> String {
    format!("{}: its copy for reading cannot be written: {error}", copy.path().display())
}

/// What to say of an archive that cannot be read.
pub(super) fn damaged(error: ZipError) -> String {
    format!("the archive is damaged ({error}); copy or download it again")
}
