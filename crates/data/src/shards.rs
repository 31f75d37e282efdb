//! WebDataset shards: tar archives in which the files of a sample share a name, `000123.jpg` beside `000123.cls`.
//!
//! Source: the webdataset package's format, https://github.com/webdataset/webdataset. An image is read at its place in the archive;
//! nothing is unpacked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use robustify_watch::shown;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use crate::error::{DataError, Result, io_error};
use crate::folder::{identity, is_litter, is_picture, visible};
use crate::set::{ImageSet, Sample, Skipped, hex};
use crate::{decode, place};

/// Most bytes of a label: of `.cls`, a number or a name, of `.json`, a description of the sample.
const LONGEST_LABEL: u64 = 1 << 16;

/// Bytes of a block of an archive.
const BLOCK: u64 = 512;

const REMEDY: &str = "fetch the shard again";

/// Images in tar archives. The identity of an image is a hash of its sample's name.
#[derive(Clone, Debug)]
pub struct Shards {
    name: String,
    classes: Vec<String>,
    files: Vec<PathBuf>,
    entries: Vec<Entry>,
    labels: Vec<usize>,
    skipped: Vec<Skipped>,
    fingerprint: String,
}

/// Where an image lies.
#[derive(Clone, Debug)]
struct Entry {
    shard: usize,
    offset: u64,
    bytes: u64,
    /// The name of the image's file in the archive.
    file: Box<str>,
    id: u64,
}

/// What was found of a sample.
#[derive(Default)]
struct Found {
    image: Option<Entry>,
    label: Option<String>,
}

/// The shards of a folder, `*.tar`, by name; none if there is none.
///
/// # Errors
/// A folder that cannot be listed, and compressed shards, in which no image can be reached by itself.
pub fn shards_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<(String, PathBuf)> = visible(folder)?.into_iter().filter(|(_, path)| path.is_file()).collect();
    let ends = |name: &str, endings: &[&str]| {
        let name = name.to_lowercase();
        endings.iter().any(|ending| name.ends_with(ending))
    };
    let shards: Vec<PathBuf> =
        files.iter().filter(|(name, _)| ends(name, &[".tar"])).map(|(_, path)| path.clone()).collect();
    let packed = files.iter().find(|(name, _)| ends(name, &[".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"]));
    match packed {
        Some((_, path)) if shards.is_empty() => Err(compressed(path)),
        _ => Ok(shards),
    }
}

fn compressed(path: &Path) -> DataError {
    DataError::Format {
        path: path.to_owned(),
        what: "shard",
        expected: "an archive that is not compressed, so that every image can be reached by itself".to_owned(),
        found: "a compressed one".to_owned(),
        remedy: "unpack the compression alone (`gunzip FILE`), or all images into folders",
    }
}

impl Shards {
    /// Lists all archives of `folder`, or the one that it is. A label is a number from 0 or a name of a class, in `.cls`, or in `.json`
    /// under `label`, `cls` or `class`. Images without a label, and labels without an image, are listed in [`ImageSet::skipped`].
    ///
    /// # Errors
    /// [`DataError::Format`] for an archive that is damaged, cut off or compressed, and a label without a class; [`DataError::Empty`]
    /// without any image.
    pub fn open(folder: &Path, classes: Vec<String>) -> Result<Self> {
        let files = if folder.is_file() { vec![folder.to_owned()] } else { shards_in(folder)? };
        let places: HashMap<&str, usize> =
            classes.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let label = |text: &str| {
            let number = text.parse::<usize>().ok().filter(|&number| number < classes.len());
            number.or_else(|| places.get(text).copied())
        };
        let (mut entries, mut labels, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let mut hash = Sha256::new();
        hash.update(format!("shards {classes:?}\n"));
        for (shard, path) in files.iter().enumerate() {
            for (key, Found { image, label: text }) in list(path, shard, &mut skipped)? {
                let Some((entry, text)) = image.zip(text) else {
                    let reason = format!("`{key}` is an image without a label, or a label without an image");
                    skipped.push(Skipped { path: path.clone(), reason });
                    continue;
                };
                let class = label(&text).ok_or_else(|| {
                    let expected = format!("a number below {}, or the name of a class", classes.len());
                    unlike(path, "label", expected, format!("`{text}` of `{key}`"))
                })?;
                hash.update(format!("{key:?} {} {class}\n", entry.bytes));
                entries.push(entry);
                labels.push(class);
            }
        }
        if entries.is_empty() {
            let reason = format!("{} archives without an image and its label", files.len());
            let remedy = "one image (.jpg, .png, .webp) and one .cls or .json of each sample are expected";
            return Err(DataError::Empty { path: folder.to_owned(), reason, remedy });
        }
        let mut ids: Vec<u64> = entries.iter().map(|entry: &Entry| entry.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            let expected = "samples with names of their own in all archives".to_owned();
            return Err(unlike(folder, "shards", expected, "two of one name".to_owned()));
        }
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, classes, files, entries, labels, skipped, fingerprint: hex(hash) })
    }

    fn entry(&self, index: usize) -> Result<&Entry> {
        let past = || DataError::Index { set: self.name.clone(), index, len: self.entries.len() };
        self.entries.get(index).ok_or_else(past)
    }

    /// The image's own name for messages: that of the archive, and its name there.
    fn path(&self, entry: &Entry) -> PathBuf {
        self.files[entry.shard].join(&*entry.file)
    }

    fn bytes(&self, entry: &Entry) -> Result<Vec<u8>> {
        let path = &self.files[entry.shard];
        let mut file = place::open(path)?;
        file.seek(SeekFrom::Start(entry.offset)).map_err(io_error(path, "read"))?;
        let mut bytes = Vec::new();
        file.take(entry.bytes).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
        Ok(bytes)
    }
}

/// The samples of an archive, in its order.
fn list(path: &Path, shard: usize, skipped: &mut Vec<Skipped>) -> Result<Vec<(String, Found)>> {
    let mut file = place::open(path)?;
    let length = file.metadata().map_err(io_error(path, "read"))?.len();
    let mut magic = [0; 4];
    let begun = (&mut file).take(4).read(&mut magic).map_err(io_error(path, "read"))?;
    if magic[..begun].starts_with(&[0x1f, 0x8b]) || magic[..begun] == [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(compressed(path));
    }
    file.rewind().map_err(io_error(path, "read"))?;
    let damaged = |error: std::io::Error| unlike(path, "shard", "a tar archive".to_owned(), error.to_string());
    let mut archive: Archive<File> = Archive::new(file);
    let (mut order, mut places): (Vec<(String, Found)>, HashMap<String, usize>) = Default::default();
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        end = offset.saturating_add(bytes.div_ceil(BLOCK).saturating_mul(BLOCK));
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if offset.saturating_add(bytes) > length {
            let expected = format!("{bytes} bytes of `{name}`");
            return Err(unlike(path, "shard", expected, "the end of the file".to_owned()));
        }
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let Some((key, ending)) = split(&name) else { continue };
        let (key, ending) = (key.to_owned(), ending.to_lowercase());
        let is_image = is_picture(Path::new(&format!("x.{ending}"))) && !ending.contains('.');
        let text = match ending.as_str() {
            "cls" | "json" => label_of(entry, &ending, path)?,
            _ if is_image => None,
            _ => continue,
        };
        let place = *places.entry(key.clone()).or_insert_with(|| {
            order.push((key.clone(), Found::default()));
            order.len() - 1
        });
        let found = &mut order[place].1;
        if is_image {
            let id = identity(&key);
            found.image = Some(Entry { shard, offset, bytes, file: name.into_boxed_str(), id });
        } else if text.is_some() {
            found.label = text;
        }
    }
    if end.saturating_add(BLOCK) > length {
        let reason = "ends without the mark of an archive's end, and may be cut off";
        skipped.push(Skipped { path: path.to_owned(), reason: reason.to_owned() });
    }
    Ok(order)
}

/// Name of the sample and ending, which begins behind the first dot of the file's name.
fn split(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    if name.split('/').any(is_litter) {
        return None;
    }
    let dot = start + name[start..].find('.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

/// The label that a file of a sample holds, if it does.
fn label_of(entry: impl Read, ending: &str, path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    let read = entry.take(LONGEST_LABEL).read_to_string(&mut text);
    read.map_err(|error| unlike(path, "label", "a text".to_owned(), error.to_string()))?;
    if ending == "cls" {
        return Ok(Some(text.trim().to_owned()));
    }
    let Ok(about) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(None) };
    let value = ["label", "cls", "class"].into_iter().find_map(|key| about.get(key));
    Ok(value.and_then(|value| match value {
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::String(name) => Some(name.clone()),
        _ => None,
    }))
}

fn unlike(path: &Path, what: &'static str, expected: String, found: String) -> DataError {
    DataError::Format { path: path.to_owned(), what, expected, found, remedy: REMEDY }
}

impl Dataset<Sample, DataError> for Shards {
    fn get(&self, index: usize) -> Result<Sample> {
        let entry = self.entry(index)?;
        let image = decode::decode_bytes(&self.bytes(entry)?, &self.path(entry))?;
        Ok(Sample { image, label: self.labels[index], id: entry.id })
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

impl ImageSet for Shards {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64> {
        Ok(self.entry(index)?.id)
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32)> {
        let entry = self.entry(index)?;
        decode::dimensions_of(&self.bytes(entry)?, &self.path(entry))
    }

    fn origin(&self, index: usize) -> String {
        self.entry(index).map(|entry| shown(&self.path(entry))).unwrap_or_default()
    }
}
