//! The safetensors format: a length, a JSON header, and the elements of all tensors.
//!
//! A file is read tensor by tensor at their positions and not mapped into memory. The peak is the same, mapping needs
//! `unsafe`, and a file that is cut short while it is read is an error instead of a signal that ends the program.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use safetensors::tensor::{Metadata, TensorInfo};

use super::checkpoint::Stored;
use super::raw::{Dtype, RawTensor};

/// An open file and where its tensors begin.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    file: Mutex<File>,
    start: u64,
}

/// Bytes that a header may have, as in the reference. A sparse file says nothing about what memory holds.
const MAX_HEADER: u64 = 100_000_000;

/// What the header says.
pub(super) type Header = (BTreeMap<String, Stored>, BTreeMap<String, String>);

impl SafetensorsFile {
    /// Reads and checks the header of a file of `length` bytes; every tensor lies inside of the file afterwards.
    pub(super) fn open(mut file: File, length: u64) -> Result<(Self, Header), String> {
        let mut size = [0; 8];
        read_at(&mut file, 0, &mut size)?;
        let claimed = u64::from_le_bytes(size);
        // Checked before anything is allocated.
        let Some(data) = claimed.checked_add(8).and_then(|start| length.checked_sub(start)) else {
            return Err(format!(
                "the header is said to have {claimed} bytes, the file has {length}; it may be truncated"
            ));
        };
        if claimed > MAX_HEADER {
            return Err(format!(
                "the header is said to have {claimed} bytes, the format allows {MAX_HEADER}; copy or download the file again"
            ));
        }
        let mut header = vec![0; claimed as usize];
        read_at(&mut file, 8, &mut header)?;
        let metadata = parse(&header)?;
        let expected = metadata.data_len() as u64;
        if expected != data {
            let advice = match data.checked_sub(expected) {
                None => "it may be truncated".to_owned(),
                Some(more) => {
                    format!("{more} bytes more than belong there; copy or download the file again, or save it anew")
                }
            };
            return Err(format!("the tensors need {expected} bytes, the file has {data} for them; {advice}"));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, stored(info))).collect();
        let extra = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok((Self { file: Mutex::new(file), start: claimed + 8 }, (tensors, extra)))
    }

    /// The bytes from `offset` behind the header on.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        read_at(&mut file, self.start + offset, &mut bytes)?;
        Ok(bytes)
    }
}

fn stored(info: &TensorInfo) -> Stored {
    let (start, end) = info.data_offsets;
    Stored { dtype: info.dtype, shape: info.shape.clone(), offset: start as u64, length: end - start }
}

/// The crate checks that the tensors follow each other without gaps, and that their sizes match types and shapes.
fn parse(header: &[u8]) -> Result<Metadata, String> {
    let text = std::str::from_utf8(header).map_err(|error| format!("the header is no text: {error}"))?;
    serde_json::from_str(text).map_err(|error| format!("the header is no list of tensors: {error}"))
}

fn read_at(file: &mut File, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(bytes));
    read.map_err(|error| format!("{} bytes at {offset} cannot be read: {error}", bytes.len()))
}

/// Writes a file tensor by tensor, in the order of the reference writer: larger elements first, then by name.
///
/// # Errors
/// What `read` says, and what `out` says, by way of `io`.
pub(super) fn write<E>(
    out: &mut impl Write,
    tensors: &BTreeMap<String, (Dtype, Vec<usize>)>,
    io: impl Fn(std::io::Error) -> E + Copy,
    mut read: impl FnMut(&str) -> Result<RawTensor, E>,
) -> Result<(), E> {
    let mut order: Vec<(&String, &(Dtype, Vec<usize>))> = tensors.iter().collect();
    order.sort_by_key(|(_, (dtype, _))| std::cmp::Reverse(*dtype));
    let mut offset = 0;
    let infos = order.iter().map(|(name, (dtype, shape))| {
        let start = offset;
        offset += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        ((*name).clone(), TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (start, offset) })
    });
    let framework = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(framework), infos.collect()).map_err(|error| io(std::io::Error::other(error)))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| io(std::io::Error::other(error)))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| out.write_all(&header)).map_err(io)?;
    for (name, _) in order {
        out.write_all(&read(name)?.bytes).map_err(io)?;
    }
    out.flush().map_err(io)
}
