//! What `torch.save` writes: a pickle that describes tensors, and their elements beside it.
//!
//! Since PyTorch 1.6 that is an archive, in which the pickle and every storage are files; before, one pickle after another, and then the
//! storages. Archives of TorchScript hold modules as objects, which are named like a state dict ([`super::state`]); their program is not
//! looked at. Names, types and shapes are in memory, elements are read when they are asked for. Source: PyTorch's
//! `torch/serialization.py`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::checkpoint::Stored;
use super::pickle::Pickle;
use super::raw::Dtype;
use super::state::{Laid, State};

/// Pickles before the object in a file of PyTorch 1.5 and before: magic number, version of the format, machine.
const BEFORE_THE_OBJECT: usize = 3;

/// An open file.
#[derive(Debug)]
pub(super) struct PytorchFile {
    file: Mutex<File>,
    length: u64,
    tensors: BTreeMap<String, Laid>,
    storages: HashMap<String, Storage>,
    /// Whether the machine that wrote it put the highest byte of a number first.
    is_big_endian: bool,
}

/// Where the elements of a storage lie in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Storage {
    start: u64,
    bytes: u64,
}

impl PytorchFile {
    /// Reads names, types and shapes of all tensors of a file of `length` bytes.
    pub(super) fn open(file: File, length: u64, zip: bool) -> Result<(Self, BTreeMap<String, Stored>), String> {
        let mut reader = BufReader::new(file);
        reader.rewind().map_err(|error| error.to_string())?;
        let found = if zip { open_archive(reader, length)? } else { open_legacy(reader, length)? };
        let about = found.tensors.iter().map(|(name, laid)| (name.clone(), stored(laid))).collect();
        Ok((found, about))
    }

    /// The elements of a tensor, in row-major order however the file has them, the lowest byte first.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let laid = self.tensors.get(name).ok_or("the file has no such tensor")?;
        let size = laid.dtype.bitsize() / 8;
        let wanted = elements(&laid.shape).and_then(|count| count.checked_mul(size));
        // A view repeats elements at no cost to the file (`expand`).
        let Some(wanted) = wanted.filter(|&bytes| bytes as u64 <= self.length) else {
            return Err(format!(
                "it has more bytes than the whole file ({}); save its `.contiguous()` copy",
                self.length
            ));
        };
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let storage =
            self.storages.get(&laid.storage).ok_or_else(|| format!("the file has no storage {}", laid.storage))?;
        let span = span(laid).and_then(|span| span.checked_mul(size));
        let first = laid.first.checked_mul(size);
        let end = first.zip(span).and_then(|(first, span)| first.checked_add(span));
        let (Some(first), Some(span)) = (first.filter(|_| end.is_some_and(|end| end as u64 <= storage.bytes)), span)
        else {
            return Err(format!(
                "its elements lie outside of storage {}; copy or download the file again",
                laid.storage
            ));
        };
        let mut bytes = vec![0; span];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(storage.start + first as u64))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|error| format!("its elements cannot be read: {error}"))?;
        }
        let mut bytes = if is_row_major(laid) { bytes } else { gathered(laid, size, &bytes) };
        if self.is_big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }
}

fn stored(laid: &Laid) -> Stored {
    let length = elements(&laid.shape).and_then(|count| count.checked_mul(laid.dtype.bitsize() / 8));
    Stored { dtype: laid.dtype, shape: laid.shape.clone(), offset: 0, length: length.unwrap_or(usize::MAX) }
}

fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size))
}

/// Elements of the storage from a tensor's first to its last; none if there are more than numbers. Of a tensor with elements.
fn span(laid: &Laid) -> Option<usize> {
    let mut sizes = laid.shape.iter().zip(&laid.strides);
    sizes.try_fold(1_usize, |span, (&size, &stride)| span.checked_add((size - 1).checked_mul(stride)?))
}

fn is_row_major(laid: &Laid) -> bool {
    let mut step = 1;
    laid.shape.iter().zip(&laid.strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == step;
        step *= size;
        fits
    })
}

/// Row-major elements of a tensor from the part of its storage that begins with its first one.
fn gathered(laid: &Laid, size: usize, span: &[u8]) -> Vec<u8> {
    let count = elements(&laid.shape).unwrap_or(0);
    let mut bytes = Vec::with_capacity(count * size);
    let mut index = vec![0; laid.shape.len()];
    for _ in 0..count {
        let at: usize = index.iter().zip(&laid.strides).map(|(index, stride)| index * stride).sum();
        bytes.extend_from_slice(&span[at * size..(at + 1) * size]);
        for (position, &dim) in index.iter_mut().zip(&laid.shape).rev() {
            *position += 1;
            if *position < dim {
                break;
            }
            *position = 0;
        }
    }
    bytes
}

/// What to say of an archive that cannot be read.
fn damaged(error: ZipError) -> String {
    format!("the archive is damaged ({error}); copy or download it again")
}

/// Opens an archive. Those that only cost memory are refused: nothing in it is compressed, or lies in something else.
fn open_archive(file: BufReader<File>, length: u64) -> Result<PytorchFile, String> {
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    let (mut storages, mut pickle, mut order, mut total) = (HashMap::new(), None, None, 0_u64);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        // Of every entry the file has bytes of its own.
        total = total.saturating_add(entry.compressed_size());
        if total > length {
            return Err(format!("the archive is damaged ({name} lies in other entries); copy or download it again"));
        }
        // Relative to the folder that the archive has everything in.
        let inner = name.split_once('/').map_or(name.as_str(), |(_, inner)| inner);
        let storage = inner.strip_prefix("data/");
        if inner != "data.pkl" && inner != "byteorder" && storage.is_none() {
            continue;
        }
        if entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size() {
            return Err(format!(
                "{name} is compressed or of two sizes, which torch.save never writes; load the file in Python and torch.save \
                 it again"
            ));
        }
        let start = entry
            .data_start()
            .ok_or_else(|| format!("the archive is damaged ({name} has no beginning); copy or download it again"))?;
        match storage {
            Some(key) => drop(storages.insert(key.to_owned(), Storage { start, bytes: entry.size() })),
            None if inner == "data.pkl" => pickle = Some(index),
            None => order = Some(index),
        }
    }
    let pickle = pickle.ok_or("a ZIP archive without data.pkl; PyTorch did not write it")?;
    let pickle = Pickle::read(&mut BufReader::new(archive.by_index(pickle).map_err(damaged)?))?;
    let mut text = String::new();
    if let Some(order) = order {
        archive
            .by_index(order)
            .map_err(damaged)?
            .take(16)
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    }
    let tensors = State::of(&pickle)?.tensors;
    let file = Mutex::new(archive.into_inner().into_inner());
    Ok(PytorchFile { file, length, tensors, storages, is_big_endian: text.trim() == "big" })
}

/// Opens a file of pickles and storages. Each storage is its number of elements, in 64 bits, and the elements.
fn open_legacy(mut file: BufReader<File>, length: u64) -> Result<PytorchFile, String> {
    for _ in 0..BEFORE_THE_OBJECT {
        Pickle::read(&mut file)?;
    }
    let state = State::of(&Pickle::read(&mut file)?)?;
    let keys = Pickle::read(&mut file)?;
    let mut storages = HashMap::new();
    for &key in keys.sequence(keys.root).unwrap_or_default() {
        let Some(key) = keys.text(key) else { continue };
        // A storage that no tensor names has elements of an unknown size: what comes behind it cannot be found.
        let Some(dtype) = state.storages.get(key) else { break };
        let mut count = [0; 8];
        file.read_exact(&mut count).map_err(|_| truncated(key))?;
        let bytes = u64::from_le_bytes(count).checked_mul(size_of(*dtype));
        let start = file.stream_position().map_err(|error| error.to_string())?;
        let bytes = bytes
            .filter(|bytes| start.checked_add(*bytes).is_some_and(|end| end <= length))
            .ok_or_else(|| truncated(key))?;
        storages.insert(key.to_owned(), Storage { start, bytes });
        file.seek_relative(bytes as i64).map_err(|error| error.to_string())?;
    }
    let tensors = state.tensors;
    Ok(PytorchFile { file: Mutex::new(file.into_inner()), length, tensors, storages, is_big_endian: false })
}

fn size_of(dtype: Dtype) -> u64 {
    dtype.bitsize() as u64 / 8
}

fn truncated(key: &str) -> String {
    format!("the file ends before storage {key} does; copy or download it again")
}
