//! Rows on disk while they are computed, so that a stop or a kill loses no more than the last moments.
//!
//! Files `*.part` take the rows, one after the other. A note beside them says how many rows are whole, and the checksums of
//! their bytes; it is replaced after the bytes are on the disk. Whoever continues checks them, cuts off what lies behind, and
//! goes on with the next row.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use robustify_report::{ReportError, digest, write_atomic};
use robustify_watch::Watch;
use serde::{Deserialize, Serialize};

use crate::DistillError;

/// Time between notes.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// What the note says.
#[derive(Serialize, Deserialize)]
struct Note {
    identity: String,
    rows: usize,
    dims: Vec<usize>,
    columns: Vec<Noted>,
}

/// What the note says of one file.
#[derive(Serialize, Deserialize)]
struct Noted {
    bytes: u64,
    sha256: String,
}

/// One of the files.
struct Column {
    path: PathBuf,
    file: File,
    bytes: u64,
    sum: digest::Running,
}

/// Files that grow by the same rows.
pub(crate) struct Growing {
    note: PathBuf,
    identity: String,
    /// Rows that the files will have.
    total: usize,
    rows: usize,
    /// Dimensions of a row, once one is known.
    pub dims: Vec<usize>,
    columns: Vec<Column>,
    noted: Instant,
}

impl Growing {
    /// Opens files `BASE.NAME.part`, with the rows that an earlier process wrote under the same identity. Damaged ones are named in
    /// a warning, and begin anew.
    pub fn open(
        base: &Path,
        identity: &str,
        total: usize,
        columns: &[&str],
        watch: &dyn Watch,
    ) -> Result<Self, DistillError> {
        let note = beside(base, "progress");
        let paths: Vec<PathBuf> = columns.iter().map(|name| beside(base, &format!("{name}.part"))).collect();
        let known = match read_note(&note).filter(|known| known.identity == identity && known.rows <= total) {
            Some(known) => continued(&paths, &known, watch)?.map(|columns| (known, columns)),
            None => None,
        };
        let (rows, dims, columns) = match known {
            Some((known, columns)) => (known.rows, known.dims, columns),
            None => {
                forget(&note)?;
                (0, Vec::new(), paths.into_iter().map(Column::create).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { note, identity: identity.to_owned(), total, rows, dims, columns, noted: Instant::now() })
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes rows behind those that are there: bytes for every file.
    pub fn append(&mut self, rows: usize, parts: &[&[u8]]) -> Result<(), DistillError> {
        let left = (self.total - self.rows) as u64;
        let wanted: u64 = parts.iter().map(|part| part.len() as u64).sum::<u64>() * left / rows.max(1) as u64;
        for (column, part) in self.columns.iter_mut().zip(parts) {
            let written = column.file.write_all(part);
            written.map_err(|source| ReportError::writing(&column.path, wanted, source))?;
        }
        for (column, part) in self.columns.iter_mut().zip(parts) {
            column.bytes += part.len() as u64;
            column.sum.update(part);
        }
        self.rows += rows;
        if self.noted.elapsed() >= NOTE_EVERY { self.keep() } else { Ok(()) }
    }

    /// Brings all rows to the disk, and notes them.
    pub fn keep(&mut self) -> Result<(), DistillError> {
        for column in &mut self.columns {
            // What was written of a row in part may be what filled the disk.
            let kept = column.file.set_len(column.bytes).and_then(|()| column.file.sync_data());
            kept.map_err(|source| ReportError::writing(&column.path, column.bytes, source))?;
        }
        let columns = self.columns.iter().map(|column| Noted { bytes: column.bytes, sha256: column.sum.so_far() });
        let note = Note {
            identity: self.identity.clone(),
            rows: self.rows,
            dims: self.dims.clone(),
            columns: columns.collect(),
        };
        write_atomic(&self.note, &serde_json::to_vec(&note).expect("plain numbers and texts"))?;
        self.noted = Instant::now();
        Ok(())
    }

    /// One of the files.
    pub fn path(&self, column: usize) -> &Path {
        &self.columns[column].path
    }

    /// The checksum of what one of the files has.
    pub fn sha256(&self, column: usize) -> String {
        self.columns[column].sum.so_far()
    }

    /// All numbers of a file of 32-bit floats.
    pub fn floats(&self, column: usize) -> Result<Vec<f32>, DistillError> {
        let path = self.path(column);
        let bytes = fs::read(path).map_err(|source| DistillError::Io { path: path.into(), source })?;
        if digest::of_bytes(&bytes) != self.sha256(column) {
            let source = io::Error::other("what was written just now comes back damaged; check the disk");
            return Err(DistillError::Io { path: path.into(), source });
        }
        Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Gives one of the files its lasting name, and removes the others.
    pub fn finish(self, column: usize, path: &Path) -> Result<(), DistillError> {
        let from = self.path(column);
        fs::rename(from, path).map_err(|source| DistillError::Io { path: path.into(), source })?;
        self.discard()
    }

    /// Removes the files; the note first, which speaks of them.
    pub fn discard(self) -> Result<(), DistillError> {
        forget(&self.note)?;
        self.columns.iter().try_for_each(|column| forget(&column.path))
    }
}

impl Column {
    fn create(path: PathBuf) -> Result<Self, DistillError> {
        let file = File::create(&path).map_err(|source| ReportError::writing(&path, 0, source))?;
        Ok(Self { path, file, bytes: 0, sum: digest::Running::default() })
    }

    /// A file whose first bytes are those of the note; none if they are not.
    fn continued(path: &Path, noted: &Noted) -> io::Result<Option<Self>> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (mut sum, mut left, mut buffer) = (digest::Running::default(), noted.bytes, vec![0; 1 << 16]);
        while left > 0 {
            let part = left.min(buffer.len() as u64) as usize;
            match file.read(&mut buffer[..part])? {
                0 => return Ok(None),
                read => {
                    sum.update(&buffer[..read]);
                    left -= read as u64;
                }
            }
        }
        if sum.so_far() != noted.sha256 {
            return Ok(None);
        }
        file.set_len(noted.bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Some(Self { path: path.to_owned(), file, bytes: noted.bytes, sum }))
    }
}

/// The files that a note speaks of, or none if one of them is damaged.
fn continued(paths: &[PathBuf], note: &Note, watch: &dyn Watch) -> Result<Option<Vec<Column>>, DistillError> {
    let mut columns = Vec::new();
    for (path, noted) in paths.iter().zip(&note.columns) {
        let column = Column::continued(path, noted);
        match column.map_err(|source| DistillError::Io { path: path.clone(), source })? {
            Some(column) => columns.push(column),
            None => {
                watch.warn(&format!(
                    "{}: its checksum is not that of the {} rows noted; they are computed again",
                    path.display(),
                    note.rows
                ));
                return Ok(None);
            }
        }
    }
    Ok((columns.len() == paths.len()).then_some(columns))
}

/// What a note says; none if it is not there or says nothing, for then nothing is known to be whole.
fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn beside(base: &Path, extension: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn forget(path: &Path) -> Result<(), DistillError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DistillError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}
