//! What `torch.save` writes: a pickle that describes tensors, and their elements beside it.
//!
//! `pytorch-reader`, Burn's own, reads it. It knows what state dicts are made of (`OrderedDict`, `_rebuild_tensor_v2`,
//! storages and views of them); every other call and object becomes an inert name, and nothing is ever executed. It checks
//! the lengths a file claims, too. What it leaves open is the memory that a pickle of many tiny objects takes, and
//! compressed archives that grow: a look at the file beforehand refuses both. And it reads a container that the pickle has
//! twice as empty the second time, which the same look finds and a changed copy of the file avoids.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use pytorch_reader::{DType, OpCode, PytorchReader, Tensor};
use tempfile::NamedTempFile;
use zip::{CompressionMethod, ZipArchive};

use super::archive::{self, Part, damaged};
use super::checkpoint::Stored;
use super::raw::Dtype;
use super::shared::{self, Stale, Watch};
use super::torchscript;

/// Instructions that one pickle may have. A tensor takes about 50; an object of the reader, of which an instruction makes
/// at most one, 100 bytes.
const MAX_INSTRUCTIONS: u64 = 1 << 20;

/// Pickles in a file of PyTorch 1.5 and before: magic number, version, machine, object, keys of the storages.
const LEGACY_PICKLES: usize = 5;

/// An open file.
#[derive(Debug)]
pub(super) struct PytorchFile {
    tensors: HashMap<String, Tensor>,
    length: u64,
}

impl PytorchFile {
    /// Reads names, types and shapes of all tensors of a file of `length` bytes.
    pub(super) fn open(
        path: &Path,
        file: File,
        length: u64,
        zip: bool,
    ) -> Result<(Self, BTreeMap<String, Stored>), String> {
        let mut file = BufReader::new(file);
        file.rewind().map_err(|error| error.to_string())?;
        let copy = if zip { inspect_zip(file, length)? } else { inspect_legacy(file)? };
        // The reader keeps the file open, so that the copy is there as long as it is needed.
        let path = copy.as_ref().map_or(path, NamedTempFile::path);
        let tensors = PytorchReader::new(path).map_err(|error| error.to_string())?.into_tensors();
        let about = tensors.iter().map(|(name, tensor)| (name.clone(), stored(tensor))).collect();
        Ok((Self { tensors, length }, about))
    }

    /// The elements of a tensor, in row-major order however the file has them.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let tensor = self.tensors.get(name).ok_or("the file has no such tensor")?;
        // A view repeats elements at no cost to the file (`expand`).
        if tensor.byte_len() as u64 > self.length {
            return Err(format!(
                "it has {} bytes, more than the whole file ({}); save its `.contiguous()` copy",
                tensor.byte_len(),
                self.length
            ));
        }
        tensor.read().map_err(|error| error.to_string())
    }
}

fn stored(tensor: &Tensor) -> Stored {
    let dtype = match tensor.dtype() {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    };
    Stored { dtype, shape: tensor.shape().to_vec(), offset: 0, length: tensor.byte_len() }
}

/// Refuses archives that only cost memory. A copy comes back when the archive holds a program, which becomes a state dict,
/// or a container twice.
fn inspect_zip(file: BufReader<File>, length: u64) -> Result<Option<NamedTempFile>, String> {
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    let names = archive.file_names().collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    let is_program = names.iter().any(|name| name.ends_with("/constants.pkl"));
    drop(names);
    let (mut pickles, mut total) = (Vec::new(), 0_u64);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        // Of every entry the file has bytes of its own, or a few of them would fill the disk with copies.
        total = total.saturating_add(entry.compressed_size());
        if total > length {
            return Err(format!("the archive is damaged ({name} lies in other entries); copy or download it again"));
        }
        // The code of a program is compressed; it is not read.
        let is_code = is_program && name.contains("/code/");
        if !is_code && (entry.compression() != CompressionMethod::Stored || entry.size() != entry.compressed_size()) {
            return Err(format!(
                "{name} is compressed or of two sizes, which torch.save never writes; load the file in Python and torch.save \
                 it again"
            ));
        }
        if name == "data.pkl" || name.ends_with("/data.pkl") {
            pickles.push((index, name));
        }
    }
    if pickles.is_empty() {
        return Err("a ZIP archive without data.pkl; PyTorch did not write it".into());
    }
    let mut stale = HashMap::new();
    for (index, name) in pickles {
        let entry = BufReader::new(archive.by_index(index).map_err(damaged)?);
        stale.insert(name, inspect_pickle(&mut Counted { inner: entry, position: 0 })?);
    }
    if is_program {
        return torchscript::state_dict(&mut archive).map(Some);
    }
    if stale.values().all(Vec::is_empty) {
        return Ok(None);
    }
    let copy = archive::copy(&mut archive, |name, entry| {
        let Some(stale) = stale.get(name) else { return Ok(Part::Stays) };
        let mut pickle = Vec::new();
        shared::renewed(&mut entry.all()?.as_slice(), stale, &mut pickle).map_err(|error| error.to_string())?;
        Ok(Part::Becomes(pickle))
    });
    copy.map(Some)
}

/// Refuses files that only cost memory. A copy comes back when the file has a container twice.
fn inspect_legacy(file: BufReader<File>) -> Result<Option<NamedTempFile>, String> {
    let mut file = Counted { inner: file, position: 0 };
    let mut stale = Vec::new();
    for _ in 0..LEGACY_PICKLES {
        stale.extend(inspect_pickle(&mut file)?);
    }
    if stale.is_empty() {
        return Ok(None);
    }
    let copy = archive::temporary()?;
    let mut file = file.inner;
    file.rewind().map_err(|error| error.to_string())?;
    let mut out = BufWriter::new(copy.as_file());
    shared::renewed(&mut file, &stale, &mut out)
        .and_then(|()| out.flush())
        .map_err(|error| archive::full(&copy, error))?;
    drop(out);
    Ok(Some(copy))
}

/// Walks through one pickle without building anything, and finds the containers that it has twice.
fn inspect_pickle(pickle: &mut Counted<impl BufRead>) -> Result<Vec<Stale>, String> {
    let mut watch = Watch::default();
    for _ in 0..MAX_INSTRUCTIONS {
        let damaged =
            |error: std::io::Error| format!("the pickle is damaged ({error}); copy or download the file again");
        let [byte] = array(pickle).map_err(damaged)?;
        let code = OpCode::try_from(byte)
            .map_err(|byte| format!("the pickle is damaged: byte {byte:#04x} is no instruction"))?;
        if code == OpCode::Stop {
            return Ok(watch.finish());
        }
        let memo = memo_argument(code, pickle).map_err(damaged)?;
        watch.pass(code, memo, pickle.position).ok_or_else(|| {
            format!("the pickle is damaged: its stack is empty at {code:?}; copy or download the file again")
        })?;
    }
    Err(format!(
        "the pickle has more than {MAX_INSTRUCTIONS} instructions, which no state dict needs; save the state dict alone"
    ))
}

/// The number in the memo that belongs to an instruction. What belongs to others is passed over.
fn memo_argument(code: OpCode, pickle: &mut impl BufRead) -> std::io::Result<Option<u32>> {
    use OpCode::*;
    let memo = match code {
        BinGet | BinPut => array::<1>(pickle)?[0].into(),
        LongBinGet | LongBinPut => u32::from_le_bytes(array(pickle)?),
        Get | Put => {
            let mut line = String::new();
            pickle.take(16).read_line(&mut line)?;
            line.trim_end().parse().map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?
        }
        _ => {
            pass_argument(code, pickle)?;
            return Ok(Option::None);
        }
    };
    Ok(Some(memo))
}

/// Passes over what belongs to an instruction. Source: Python's `pickletools.py`.
pub(super) fn pass_argument(code: OpCode, pickle: &mut impl BufRead) -> std::io::Result<()> {
    use OpCode::*;
    let lines = match code {
        Global => 2,
        Int | Long | Float | Unicode | Get | Put | PersId => 1,
        _ => 0,
    };
    for _ in 0..lines {
        pickle.skip_until(b'\n')?;
    }
    let bytes = match code {
        BinInt1 | BinGet | BinPut | Proto | Ext1 => 1,
        BinInt2 | Ext2 => 2,
        BinInt | LongBinGet | LongBinPut | Ext4 => 4,
        BinFloat | Frame => 8,
        ShortBinString | ShortBinUnicode | Long1 | ShortBinBytes => u64::from(array::<1>(pickle)?[0]),
        BinString | BinUnicode | Long4 | BinBytes => u64::from(u32::from_le_bytes(array(pickle)?)),
        BinUnicode8 | BinBytes8 | ByteArray8 => u64::from_le_bytes(array(pickle)?),
        _ => 0,
    };
    let passed = std::io::copy(&mut pickle.by_ref().take(bytes), &mut std::io::sink())?;
    if passed == bytes { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

fn array<const N: usize>(pickle: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    pickle.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A reader that knows how far it is.
struct Counted<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.position += count as u64;
    }
}
