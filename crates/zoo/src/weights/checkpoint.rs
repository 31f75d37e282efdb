//! A checkpoint file of any kind, told by its content: what is in it is known at once, elements are read when asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Entry;
use super::folder::HubFolder;
use super::place::{expect_readable, read_text};
use super::pytorch::PytorchFile;
use super::raw::{Dtype, RawTensor};
use super::safetensors::SafetensorsFile;
use crate::ZooError;

/// An open checkpoint: safetensors, or what `torch.save` writes. Only names, types and shapes are in memory.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Safetensors(SafetensorsFile),
    Pytorch(PytorchFile),
    /// Several files, and which one each tensor is in.
    Shards(Vec<Checkpoint>, BTreeMap<String, usize>),
}

/// What a file says of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Where its elements begin, in files that know.
    pub(super) offset: u64,
    /// Size of its elements in bytes.
    pub(super) length: usize,
}

impl Checkpoint {
    /// Opens a file, or the weights in a folder as the Hugging Face hub has them ([`HubFolder`]).
    ///
    /// # Errors
    /// A file that cannot be read, is of another kind, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, ZooError> {
        let io = |source| ZooError::Io { path: path.into(), source };
        let format = |reason| ZooError::Format { path: path.into(), reason };
        let about = expect_readable(path)?;
        let file = File::open(path).map_err(io)?;
        if about.is_dir() {
            return Self::open(&HubFolder::open(path)?.weights);
        }
        let length = about.len();
        let mut start = Vec::new();
        (&file).take(64).read_to_end(&mut start).map_err(io)?;
        if path.to_string_lossy().ends_with(INDEX) {
            return Self::open_shards(path);
        }
        let (source, (tensors, metadata)) = match kind(&start).map_err(format)? {
            Kind::Safetensors => {
                let (file, header) = SafetensorsFile::open(file, length).map_err(format)?;
                (Source::Safetensors(file), header)
            }
            kind @ (Kind::Zip | Kind::LegacyPickle) => {
                let opened = PytorchFile::open(file, length, matches!(kind, Kind::Zip)).map_err(format)?;
                (Source::Pytorch(opened.0), (opened.1, BTreeMap::new()))
            }
        };
        Ok(Self { path: path.into(), tensors, metadata, source })
    }

    /// Opens the files that an index names, `{"weight_map": {TENSOR: FILE}}`, as one. Source: transformers, `modeling_utils.py`.
    fn open_shards(index: &Path) -> Result<Self, ZooError> {
        let format = |reason| ZooError::Format { path: index.into(), reason };
        let read: Index = serde_json::from_str(&read_text(index)?)
            .map_err(|error| format(format!("no index of weights in several files: {error}")))?;
        let mut files: Vec<&String> = read.weight_map.values().collect();
        files.sort();
        files.dedup();
        let folder = index.parent().unwrap_or(Path::new(""));
        let mut shards = Vec::with_capacity(files.len());
        for file in &files {
            if Path::new(file).components().count() != 1 {
                return Err(format(format!("it names `{file}`, which is not in the same folder")));
            }
            let shard = folder.join(file);
            if !shard.is_file() {
                return Err(format(format!("it names {file}, which is not there; download that file as well")));
            }
            shards.push(Self::open(&shard)?);
        }
        let (mut tensors, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (name, file) in &read.weight_map {
            let place = files.binary_search(&file).unwrap_or_default();
            let stored = shards[place].tensors.get(name).cloned();
            let stored = stored.ok_or_else(|| format(format!("it has {name} in {file}, which has no such tensor")))?;
            tensors.insert(name.clone(), stored);
            places.insert(name.clone(), place);
        }
        Ok(Self { path: index.into(), tensors, metadata: BTreeMap::new(), source: Source::Shards(shards, places) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, in order. What a pickle nests carries the names of all levels, with dots between them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Dimensions of a tensor; `None` when there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// Element type of a tensor; `None` when there is no such tensor.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|stored| stored.dtype)
    }

    /// The texts that a safetensors file carries beside its tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads one tensor as 32-bit floats.
    ///
    /// # Errors
    /// No such tensor, elements that are no numbers, or a file that cannot be read.
    pub fn read(&self, name: &str) -> Result<Entry, ZooError> {
        self.read_raw(name)?.into_entry().map_err(|reason| self.fault(name, &reason))
    }

    /// Reads one tensor as it is stored.
    ///
    /// # Errors
    /// No such tensor, or a file that cannot be read.
    pub fn read_raw(&self, name: &str) -> Result<RawTensor, ZooError> {
        let stored = self.tensors.get(name).ok_or_else(|| self.fault(name, "the file has no such tensor"))?;
        let bytes = match &self.source {
            Source::Safetensors(file) => file.read(stored.offset, stored.length),
            Source::Pytorch(file) => file.read(name),
            Source::Shards(shards, places) => return shards[places[name]].read_raw(name),
        };
        let bytes = bytes.map_err(|reason| self.fault(name, &reason))?;
        Ok(RawTensor { dtype: stored.dtype, shape: stored.shape.clone(), bytes })
    }

    /// An error about one tensor of this file.
    pub(super) fn fault(&self, name: &str, reason: &str) -> ZooError {
        ZooError::Format { path: self.path.clone(), reason: format!("tensor {name}: {reason}") }
    }
}

/// What the name of an index of weights in several files ends with.
const INDEX: &str = ".index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

enum Kind {
    Safetensors,
    Zip,
    LegacyPickle,
}

/// The first pickle of files that PyTorch 0.1.10 to 1.5 wrote, 0x1950a86a20f9469cfc6c as Python stores it.
/// Source: `torch/serialization.py`, `MAGIC_NUMBER`.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

fn kind(start: &[u8]) -> Result<Kind, String> {
    if start.starts_with(b"PK\x03\x04") {
        Ok(Kind::Zip)
    } else if start.get(8) == Some(&b'{') {
        Ok(Kind::Safetensors)
    } else if start.windows(LEGACY_MAGIC.len()).any(|bytes| bytes == LEGACY_MAGIC) {
        Ok(Kind::LegacyPickle)
    } else {
        Err(stranger(start).to_owned())
    }
}

/// What a file may be that is no checkpoint, and what to do about it.
fn stranger(start: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(start).to_lowercase();
    match start {
        [] => "the file is empty; copy or download it again",
        _ if text.starts_with("version https://git-lfs") => {
            "a placeholder of Git LFS, and not the weights; `git lfs pull` fetches them"
        }
        _ if text.trim_start().starts_with('<') => "a web page, and not the weights; download the file itself",
        [0x80, ..] => {
            "a pickle that PyTorch did not write; in Python, torch.save(state_dict, FILE) or safetensors' save_file make a \
             checkpoint"
        }
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file; safetensors or a PyTorch checkpoint is expected",
        _ => {
            "neither safetensors nor a PyTorch checkpoint (.pth, .pt, .bin). Files of PyTorch before 0.1.10 (tar archives) \
             are not read: load them in Python and torch.save them again"
        }
    }
}
