//! `manifest.jsonl`: what a folder of results holds and how it was made, one line of JSON a picture.
//!
//! While the work goes on, lines are appended as pictures are finished; at the end the file is sorted. A line that a kill
//! cut short is ignored, and its picture made again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use robustify_report::write_atomic;
use serde::{Deserialize, Serialize};

use crate::digest;

const NAME: &str = "manifest.jsonl";

/// The first line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    program: String,
    /// Of the pixels that corruptions and augmentations give.
    revision: u32,
    settings: serde_json::Value,
}

/// A line: a picture and the files made of it, or a file made of many pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The picture, or the file.
    pub name: String,
    /// SHA-256 of the picture, or of the list of pictures in the file.
    pub input: String,
    /// SHA-256 of every result by its path below the folder.
    pub outputs: BTreeMap<String, String>,
    /// What was drawn for a result, where the settings do not say it all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drawn: BTreeMap<String, String>,
}

/// The manifest of a folder, open for more.
pub struct Manifest {
    path: PathBuf,
    header: Header,
    records: BTreeMap<String, Record>,
    journal: File,
}

impl Manifest {
    /// Opens the manifest of `folder`, or begins one.
    ///
    /// # Errors
    /// If the folder holds the results of other settings, or files can't be written there.
    pub fn open(folder: &Path, settings: serde_json::Value) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made a folder", folder.display()))?;
        let path = folder.join(NAME);
        let (version, revision) = digest::PROGRAM;
        let header = Header { program: format!("robustify {version}"), revision, settings };
        if let Ok(old) = File::open(&path) {
            ensure!(
                !matches!(old.try_lock(), Err(TryLockError::WouldBlock)),
                "{}: another process is working in this folder; wait for it, or choose another folder",
                folder.display()
            );
        }
        let mut records = BTreeMap::new();
        if let Ok(text) = std::fs::read_to_string(&path) {
            let mut lines = text.lines();
            if let Some(found) = lines.next().and_then(|line| serde_json::from_str::<Header>(line).ok()) {
                ensure!(
                    found == header,
                    "{}: this folder holds results of other settings, {} by {} (revision {}); wanted are {} by {} \
                     (revision {}); choose another folder or remove this one",
                    folder.display(),
                    found.settings,
                    found.program,
                    found.revision,
                    header.settings,
                    header.program,
                    header.revision,
                );
                let lines = lines.filter_map(|line| serde_json::from_str::<Record>(line).ok());
                for record in lines {
                    merge(&mut records, record);
                }
            }
        } else {
            ensure!(!path.exists(), "{}: is no text; choose another folder or remove this one", path.display());
        }
        // What was readable is written anew, so that a line cut short does not swallow the next one.
        write_atomic(&path, text(&header, &records)?.as_bytes())?;
        let journal = OpenOptions::new().append(true).open(&path);
        let journal = journal.with_context(|| format!("{}: cannot be written", path.display()))?;
        // Held until the program ends, however it ends; where a file system knows no locks, nobody is kept out.
        let _ = journal.try_lock();
        Ok(Self { path, header, records, journal })
    }

    /// What was recorded when the manifest was opened or since then.
    pub fn known(&self) -> Known {
        Known(self.records.clone())
    }

    /// Adds results.
    pub fn add(&mut self, record: Record) -> anyhow::Result<()> {
        let line = serde_json::to_string(&record)? + "\n";
        let written = self.journal.write_all(line.as_bytes());
        written.with_context(|| format!("{}: cannot be written", self.path.display()))?;
        merge(&mut self.records, record);
        Ok(())
    }

    /// Sorts the file.
    pub fn finish(self) -> anyhow::Result<()> {
        Ok(write_atomic(&self.path, text(&self.header, &self.records)?.as_bytes())?)
    }
}

/// What is done.
pub struct Known(BTreeMap<String, Record>);

impl Known {
    /// The SHA-256 of a result as it was recorded for this input.
    pub fn find(&self, name: &str, input: &str, output: &str) -> Option<&str> {
        self.0.get(name).filter(|record| record.input == input)?.outputs.get(output).map(String::as_str)
    }
}

/// Results of another picture of the same name are forgotten.
fn merge(records: &mut BTreeMap<String, Record>, record: Record) {
    match records.get_mut(&record.name) {
        Some(known) if known.input == record.input => {
            known.outputs.extend(record.outputs);
            known.drawn.extend(record.drawn);
        }
        _ => {
            records.insert(record.name.clone(), record);
        }
    }
}

fn text(header: &Header, records: &BTreeMap<String, Record>) -> anyhow::Result<String> {
    let mut text = serde_json::to_string(header)? + "\n";
    for record in records.values() {
        text += &serde_json::to_string(record)?;
        text.push('\n');
    }
    Ok(text)
}
