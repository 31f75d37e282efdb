//! NumPy's arrays: pictures as CIFAR-10-C has them, and whole numbers, as its labels are.
//!
//! `npyz` takes any description of records that NumPy may write: brackets within brackets, which it follows for minutes, and
//! shapes whose product overflows. Arrays of plain numbers have neither, so a header is looked at before it is read.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::RgbImage;
use npyz::{DType, NpyFile, Order, TypeChar};

use crate::error::{DataError, Result, io_error};
use crate::place;

/// Longest header that is read; those of plain arrays have about a hundred bytes.
const LONGEST: usize = 1 << 12;

/// Most whole numbers that are read as labels.
const MOST_NUMBERS: usize = 1 << 27;

const REMEDY: &str = "copy or make the file again";

/// The header of a `.npy` file, with its magic number, of an array of plain numbers, and how many there are. Source: NumPy
/// enhancement proposal 1.
///
/// # Errors
/// Why a file is no array of plain numbers, or that it ends too early.
pub fn header(file: &mut impl Read) -> std::result::Result<(Vec<u8>, usize), String> {
    let mut header = vec![0; 10];
    let short = |error: std::io::Error| error.to_string();
    file.read_exact(&mut header).map_err(short)?;
    if !header.starts_with(b"\x93NUMPY") {
        return Err("it does not begin as one".to_owned());
    }
    // From version 2 on, the length has four bytes.
    if header[6] >= 2 {
        header.resize(12, 0);
        file.read_exact(&mut header[10..]).map_err(short)?;
    }
    let length = header[8..].iter().rev().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
    if length > LONGEST {
        return Err(format!("a header of {length} bytes, at most {LONGEST} are read"));
    }
    let start = header.len();
    header.resize(start + length, 0);
    file.read_exact(&mut header[start..]).map_err(short)?;
    let count = count(&header[start..])?;
    Ok((header, count))
}

/// The product of the shape, of a text that is one dictionary with one tuple in it.
fn count(text: &[u8]) -> std::result::Result<usize, String> {
    let count = |letters: &[u8]| text.iter().filter(|letter| letters.contains(letter)).count();
    if count(b"{") != 1 || count(b"(") != 1 || count(b"[") != 0 {
        return Err("plain numbers are expected".to_owned());
    }
    let inner = |open: u8, close: u8| {
        let start = text.iter().position(|&letter| letter == open)? + 1;
        let length = text[start..].iter().position(|&letter| letter == close)?;
        std::str::from_utf8(&text[start..start + length]).ok()
    };
    let shape = inner(b'(', b')').ok_or("the shape has no end")?;
    // The largest plain numbers have 32 bytes.
    let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
    let size = sides.map(|side| side.parse::<usize>()).try_fold(32usize, |size, side| size.checked_mul(side.ok()?));
    size.map(|size| size / 32).ok_or_else(|| format!("the shape ({shape}) cannot be counted"))
}

fn unlike(path: &Path, expected: &str, found: String) -> DataError {
    let expected = expected.to_owned();
    DataError::Format { path: path.to_owned(), what: ".npy array", expected, found, remedy: REMEDY }
}

/// An array of unsigned bytes, pictures x height x width x 3 (or without the last, grey), whose pictures are read one by one.
#[derive(Clone, Debug)]
pub struct Pictures {
    path: PathBuf,
    /// Where the first picture begins.
    start: u64,
    count: usize,
    width: u32,
    height: u32,
    channels: usize,
}

impl Pictures {
    /// Looks at the header, and whether the file is as long as it says.
    ///
    /// # Errors
    /// [`DataError::Io`], and [`DataError::Format`] for what is no such array.
    pub fn open(path: &Path) -> Result<Self> {
        const EXPECTED: &str = "unsigned bytes, pictures x height x width x 3, in C order";
        let mut file = place::open(path)?;
        let length = file.metadata().map_err(io_error(path, "read"))?.len();
        let (header, _) = header(&mut file).map_err(|reason| unlike(path, EXPECTED, reason))?;
        let array = NpyFile::new(header.as_slice()).map_err(|error| unlike(path, EXPECTED, error.to_string()))?;
        let shape = array.shape().to_vec();
        let bytes =
            matches!(array.dtype(), DType::Plain(kind) if kind.type_char() == TypeChar::Uint && kind.size_field() == 1);
        let sides = match shape[..] {
            [count, height, width, 3] => Some((count, height, width, 3)),
            [count, height, width] => Some((count, height, width, 1)),
            _ => None,
        };
        let strange = || unlike(path, EXPECTED, format!("{} of {shape:?}", array.dtype().descr()));
        let (count, height, width, channels) =
            sides.filter(|_| bytes && array.order() == Order::C).ok_or_else(strange)?;
        let small = |side: u64| u32::try_from(side).ok().filter(|side| (1..=1 << 14).contains(side));
        let (width, height) = small(width).zip(small(height)).ok_or_else(strange)?;
        let size = (u64::from(width) * u64::from(height) * channels).checked_mul(count).ok_or_else(strange)?;
        let (start, there) = (header.len() as u64, length.saturating_sub(header.len() as u64));
        if there < size {
            return Err(unlike(path, &format!("{size} bytes for {shape:?}"), format!("{there} bytes")));
        }
        let count = usize::try_from(count).map_err(|_| strange())?;
        Ok(Self { path: path.to_owned(), start, count, width, height, channels: channels as usize })
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Width and height of every picture.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The picture at an index; grey is replicated.
    ///
    /// # Errors
    /// [`DataError::Index`] past the end, [`DataError::Io`] when it cannot be read.
    pub fn get(&self, index: usize) -> Result<RgbImage> {
        if index >= self.count {
            let set = self.path.display().to_string();
            return Err(DataError::Index { set, index, len: self.count });
        }
        let mut stored = vec![0; self.width as usize * self.height as usize * self.channels];
        let mut file = place::open(&self.path)?;
        let place = self.start + index as u64 * stored.len() as u64;
        file.seek(SeekFrom::Start(place)).map_err(io_error(&self.path, "read"))?;
        file.read_exact(&mut stored).map_err(io_error(&self.path, "read"))?;
        let rgb = if self.channels == 1 { stored.iter().flat_map(|&grey| [grey; 3]).collect() } else { stored };
        let lost = || unlike(&self.path, "a whole picture", "less".to_owned());
        RgbImage::from_raw(self.width, self.height, rgb).ok_or_else(lost)
    }
}

/// An array of whole numbers of any width, as labels are.
///
/// # Errors
/// [`DataError::Io`], and [`DataError::Format`] for what is no such array.
pub fn integers(path: &Path) -> Result<Vec<i64>> {
    const EXPECTED: &str = "whole numbers in one dimension";
    let mut file = place::open(path)?;
    let length = file.metadata().map_err(io_error(path, "read"))?.len();
    let (header, count) = header(&mut file).map_err(|reason| unlike(path, EXPECTED, reason))?;
    let described = NpyFile::new(header.as_slice()).map_err(|error| unlike(path, EXPECTED, error.to_string()))?;
    let kind = match described.dtype() {
        DType::Plain(kind) if described.shape().len() == 1 => (kind.type_char(), kind.size_field()),
        other => return Err(unlike(path, EXPECTED, format!("{} of {:?}", other.descr(), described.shape()))),
    };
    if count > MOST_NUMBERS || (count as u64).saturating_mul(kind.1) > length {
        return Err(unlike(path, EXPECTED, format!("{count} numbers in {length} bytes")));
    }
    let mut bytes = header;
    file.take(length).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    let array = NpyFile::new(bytes.as_slice()).map_err(|error| unlike(path, EXPECTED, error.to_string()))?;
    let broken = |error: std::io::Error| unlike(path, EXPECTED, error.to_string());
    Ok(match kind {
        (TypeChar::Int, 8) => array.into_vec::<i64>().map_err(broken)?,
        (TypeChar::Int, 4) => array.into_vec::<i32>().map_err(broken)?.into_iter().map(i64::from).collect(),
        (TypeChar::Uint, 1) => array.into_vec::<u8>().map_err(broken)?.into_iter().map(i64::from).collect(),
        (TypeChar::Uint, 2) => array.into_vec::<u16>().map_err(broken)?.into_iter().map(i64::from).collect(),
        (other, size) => return Err(unlike(path, EXPECTED, format!("numbers of type {other:?} and {size} bytes"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn headers_that_take_for_ever_or_cannot_be_counted_are_refused() {
        let plain = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4, 3), }\n";
        assert_eq!(header(&mut file(plain).as_slice()).unwrap(), (file(plain), 72));
        let scalar = plain.replace("(2, 3, 4, 3)", "()");
        assert_eq!(header(&mut file(&scalar).as_slice()).unwrap().1, 1);
        for (text, said) in [
            (plain.replace("(2", &format!("{}2", "(".repeat(64))), "plain numbers"),
            (plain.replace("'|u1'", "[('a', '|u1')]"), "plain numbers"),
            (plain.replace("(2", "(9223372036854775808"), "cannot be counted"),
            (plain.replace("(2", "(-2"), "cannot be counted"),
            (plain.replace(')', ""), "no end"),
            (" ".repeat(5000), "5000 bytes"),
        ] {
            let error = header(&mut file(&text).as_slice()).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
