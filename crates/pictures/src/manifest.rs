//! `manifest.jsonl`: what a folder of results holds and how it was made, one line of JSON a picture.
//!
//! While the work goes on, lines are appended as pictures are finished; at the end the file is sorted. A last line that a
//! kill cut short is ignored, and its picture made again. A run that finds everything done writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use robustify_report::write_atomic;
use robustify_watch::shown;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Results of an earlier picture of this name, which were not made again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub outdated: BTreeSet<String>,
}

/// Records by name.
pub type Records = BTreeMap<String, Record>;

/// The manifest of a folder, open for more.
pub struct Manifest {
    folder: PathBuf,
    header: Header,
    /// What was recorded when the manifest was opened, and what has been since then.
    known: Arc<Records>,
    added: Records,
    /// Open for more, and locked until the program ends, however it ends.
    file: File,
    /// Why the file can be read only. No matter while nothing is added.
    refused: Option<io::Error>,
    /// Bytes of the file that are whole lines; the rest is cut off before more is added.
    whole: Option<u64>,
}

impl Manifest {
    /// Opens the manifest of `folder`, or begins one.
    ///
    /// # Errors
    /// If the folder holds the results of other settings, another process works there, or a line is no record.
    pub fn open(folder: &Path, settings: serde_json::Value) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let program = concat!("robustify ", env!("CARGO_PKG_VERSION")).to_owned();
        let header = Header { program, revision: robustify_augment::REVISION, settings };
        if !path.exists() {
            fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made a folder", shown(folder)))?;
            write_atomic(&path, text(&header, &Records::new())?.as_bytes())?;
        }
        let unreadable = || format!("{}: cannot be read", shown(&path));
        let (mut file, refused) = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => (file, None),
            Err(error) => (File::open(&path).with_context(unreadable)?, Some(error)),
        };
        ensure!(
            locks_in_time(&file),
            "{}: another process is working in this folder; wait for it, or choose another folder",
            shown(folder)
        );
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(unreadable)?;
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let found: Header = line(&path, 1, lines.next().unwrap_or_default())?;
        ensure!(
            found == header,
            "{}: this folder holds results of other settings, {} by {} (revision {}); wanted are {} by {} \
             (revision {}); choose another folder or remove this one",
            shown(folder),
            found.settings,
            found.program,
            found.revision,
            header.settings,
            header.program,
            header.revision,
        );
        let mut known = Records::new();
        for (index, bytes) in lines.enumerate() {
            merge(&mut known, line(&path, index + 2, bytes)?);
        }
        sweep(folder);
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map(|last| last as u64 + 1);
        let (folder, known, added) = (folder.to_owned(), Arc::new(known), Records::new());
        Ok(Self { folder, header, known, added, file, refused, whole })
    }

    /// Whether a folder has a manifest.
    pub fn exists(folder: &Path) -> bool {
        folder.join(NAME).exists()
    }

    /// What was recorded when the manifest was opened.
    pub fn known(&self) -> Arc<Records> {
        Arc::clone(&self.known)
    }

    /// Adds results.
    pub fn add(&mut self, record: Record) -> anyhow::Result<()> {
        let within = |part: &BTreeMap<_, _>, whole: &BTreeMap<_, _>| {
            part.iter().all(|(path, text)| whole.get(path) == Some(text))
        };
        let known = self.known.get(&record.name).filter(|known| known.input == record.input);
        if known.is_some_and(|known| within(&record.outputs, &known.outputs) && within(&record.drawn, &known.drawn)) {
            return Ok(());
        }
        let line = serde_json::to_string(&record)? + "\n";
        let written = self.append(line.as_bytes());
        written.with_context(|| format!("{}: cannot be written", shown(&self.folder.join(NAME))))?;
        merge(&mut self.added, record);
        Ok(())
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        if let Some(whole) = self.whole.take() {
            self.file.set_len(whole)?;
        }
        self.file.write_all(line)
    }

    /// Sorts the file and leaves out what is gone. Results, of all that were ever recorded here, whose picture is not
    /// `present` or was another one when they were made, are outdated; with `prune` they are deleted. Returns how many there
    /// were.
    pub fn finish(self, prune: bool, present: impl Fn(&Record) -> bool) -> anyhow::Result<usize> {
        let mut records = Arc::unwrap_or_clone(self.known);
        self.added.into_values().for_each(|record| merge(&mut records, record));
        let outdated = outdated(&self.folder, &records, &present);
        if prune {
            delete(&self.folder, &outdated)?;
        }
        let stays = |path: &String| !prune && outdated.contains(path);
        records.retain(|_, record| {
            record.outdated.retain(stays);
            let present = present(record);
            record.outputs.retain(|path, _| present || stays(path));
            record.drawn.retain(|path, _| present || stays(path));
            present || !record.outputs.is_empty() || !record.outdated.is_empty()
        });
        let (path, text) = (self.folder.join(NAME), text(&self.header, &records)?);
        if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            write_atomic(&path, text.as_bytes())?;
        }
        Ok(outdated.len())
    }
}

/// How long a lock is waited for: a process that was killed holds its own until all that it had is taken down.
const PATIENCE: Duration = Duration::from_secs(2);

/// Locks a file, unless another process holds the lock and keeps it. Where a file system knows no locks, nobody is kept out.
fn locks_in_time(file: &File) -> bool {
    let start = Instant::now();
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Removes what a killed run did not complete: manifests, arrays and archives. A single picture is written over.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.starts_with(&format!(".{NAME}.")) || name.ends_with(".npy.tmp") || name.ends_with(".tar.tmp");
        if ours && name.starts_with('.') && name.ends_with(".tmp") {
            // One that cannot be removed takes room and does no other harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The outdated results that exist.
fn outdated(folder: &Path, records: &Records, present: impl Fn(&Record) -> bool) -> BTreeSet<String> {
    let (here, gone): (Vec<&Record>, Vec<&Record>) = records.values().partition(|record| present(record));
    let mut outdated: BTreeSet<&String> = gone.iter().flat_map(|record| record.outputs.keys()).collect();
    outdated.extend(records.values().flat_map(|record| &record.outdated));
    if !outdated.is_empty() {
        // A picture of the same name and another extension may have taken the place.
        for path in here.iter().flat_map(|record| record.outputs.keys()) {
            outdated.remove(path);
        }
    }
    outdated.into_iter().filter(|path| folder.join(path).exists()).cloned().collect()
}

/// Deletes results, and the folders that are empty then.
fn delete(folder: &Path, results: &BTreeSet<String>) -> anyhow::Result<()> {
    for result in results {
        ensure!(
            Path::new(result).components().all(|part| matches!(part, Component::Normal(_))),
            "{}: lists `{result}`, which is no path below this folder; remove the line by hand",
            shown(&folder.join(NAME))
        );
        let path = folder.join(result);
        fs::remove_file(&path).with_context(|| format!("{}: cannot be deleted", shown(&path)))?;
        // Removing fails at the first folder that is not empty.
        let _ = path.ancestors().skip(1).take_while(|&above| above != folder).map(fs::remove_dir).find(Result::is_err);
    }
    Ok(())
}

/// Reads a line.
fn line<T: DeserializeOwned>(path: &Path, number: usize, line: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(line).map_err(|error| {
        let way_out = match number {
            1 => "choose another folder, or remove this file if the folder's results may be made again",
            _ => "remove the line, and its results are made again",
        };
        let (path, column) = (shown(path), error.column());
        anyhow!("{path}: line {number}, column {column}: this is not what this program writes; {way_out}")
    })
}

/// Adds a record to others. What was made of another picture of the same name is outdated, where it is not made again.
fn merge(records: &mut Records, mut record: Record) {
    match records.get_mut(&record.name) {
        Some(known) if known.input == record.input => {
            known.outputs.extend(record.outputs);
            known.drawn.extend(record.drawn);
            known.outdated.retain(|path| !known.outputs.contains_key(path));
        }
        Some(known) => {
            record.outdated.extend(std::mem::take(&mut known.outputs).into_keys());
            record.outdated.append(&mut known.outdated);
            record.outdated.retain(|path| !record.outputs.contains_key(path));
            *known = record;
        }
        None => {
            records.insert(record.name.clone(), record);
        }
    }
}

fn text(header: &Header, records: &Records) -> anyhow::Result<String> {
    let mut text = serde_json::to_string(header)? + "\n";
    for record in records.values() {
        text += &serde_json::to_string(record)?;
        text.push('\n');
    }
    Ok(text)
}
