//! MATLAB's files of version 5 (`save -v6` and `-v7`): the annotations of Flowers-102 and Stanford Cars.
//!
//! Source: MathWorks, "MAT-File Format", version R2022b, level 5. An element is a tag of type and length, then its bytes, filled up to a
//! multiple of eight; variables are elements of type `miMATRIX`, most of them inside compressed ones.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use crate::error::{DataError, Result, io_error};
use crate::place;

/// Most bytes of a file, and of what it unpacks to. Those of the data sets have less than a million.
const MOST_BYTES: u64 = 1 << 26;

/// Deepest nesting of cells and structures.
const DEEPEST: usize = 16;

const HEADER: usize = 128;

/// Types of elements.
mod kind {
    pub const INT8: u32 = 1;
    pub const UINT8: u32 = 2;
    pub const INT16: u32 = 3;
    pub const UINT16: u32 = 4;
    pub const INT32: u32 = 5;
    pub const UINT32: u32 = 6;
    pub const SINGLE: u32 = 7;
    pub const DOUBLE: u32 = 9;
    pub const INT64: u32 = 12;
    pub const UINT64: u32 = 13;
    pub const MATRIX: u32 = 14;
    pub const COMPRESSED: u32 = 15;
    pub const UTF8: u32 = 16;
}

/// A variable. Arrays are flat, column after column as MATLAB has them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Numbers of any type; the real parts of complex ones.
    Numbers(Vec<f64>),
    /// Characters.
    Text(String),
    /// A cell array.
    Cells(Vec<Self>),
    /// An array of structures: each field with its value in every one.
    Structures(Vec<(String, Vec<Self>)>),
    /// An object, a function, a sparse array: what data sets do not have.
    Other,
}

impl Value {
    /// Numbers, if it is such.
    pub fn numbers(&self) -> Option<&[f64]> {
        if let Self::Numbers(numbers) = self { Some(numbers) } else { None }
    }

    /// Text, if it is such; also that of a cell with one text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Cells(cells) if cells.len() == 1 => cells[0].text(),
            _ => None,
        }
    }

    /// All texts of a cell array of them.
    pub fn texts(&self) -> Option<Vec<String>> {
        let Self::Cells(cells) = self else { return None };
        cells.iter().map(|cell| cell.text().map(str::to_owned)).collect()
    }

    /// The values of a field of an array of structures.
    pub fn field(&self, name: &str) -> Option<&[Self]> {
        let Self::Structures(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, values)| values.as_slice())
    }
}

/// All variables of a file by name.
///
/// # Errors
/// [`DataError::Io`], and [`DataError::Format`] for what is no such file or is damaged.
pub fn read(path: &Path) -> Result<BTreeMap<String, Value>> {
    let mut file = place::open(path)?;
    let length = file.metadata().map_err(io_error(path, "read"))?.len();
    if length > MOST_BYTES {
        return Err(unlike(path, format!("at most {MOST_BYTES} bytes"), format!("{length} bytes")));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    (&mut file).take(MOST_BYTES).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    variables(&bytes).map_err(|found| unlike(path, "variables of a MATLAB file of version 5".to_owned(), found))
}

fn unlike(path: &Path, expected: String, found: String) -> DataError {
    let remedy = "fetch the file again, or save it in MATLAB with -v7";
    DataError::Format { path: path.to_owned(), what: "MATLAB file", expected, found, remedy }
}

type Parsed<T> = std::result::Result<T, String>;

fn variables(bytes: &[u8]) -> Parsed<BTreeMap<String, Value>> {
    if bytes.starts_with(b"MATLAB 7.3") || bytes.starts_with(b"\x89HDF") {
        return Err("version 7.3, which is HDF5".to_owned());
    }
    match bytes.get(126..HEADER) {
        Some(b"IM") if bytes.starts_with(b"MATLAB 5.0") => {}
        Some(b"MI") => return Err("numbers with their first byte first (big-endian)".to_owned()),
        _ => return Err("another beginning".to_owned()),
    }
    let mut rest = Elements { bytes: &bytes[HEADER..] };
    let (mut found, mut room) = (BTreeMap::new(), MOST_BYTES);
    while let Some((kind, data)) = rest.next()? {
        let unpacked;
        let data = match kind {
            kind::MATRIX => data,
            kind::COMPRESSED => {
                let mut inner = Vec::new();
                // What comes after the limit is not needed to know that it is too much.
                let read = ZlibDecoder::new(data).take(room + 1).read_to_end(&mut inner);
                read.map_err(|error| format!("a compressed variable that cannot be unpacked ({error})"))?;
                if inner.len() as u64 > room {
                    return Err(format!("variables that unpack to more than {MOST_BYTES} bytes"));
                }
                room -= inner.len() as u64;
                unpacked = inner;
                match (Elements { bytes: &unpacked }).next()? {
                    Some((kind::MATRIX, data)) => data,
                    _ => continue,
                }
            }
            _ => continue,
        };
        let (name, value) = matrix(data, 0)?;
        found.insert(name, value);
    }
    Ok(found)
}

/// Elements, one after the other.
struct Elements<'a> {
    bytes: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Type and bytes of the next one; none at the end.
    fn next(&mut self) -> Parsed<Option<(u32, &'a [u8])>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let cut = || "an element that is cut off".to_owned();
        let word = |at: usize| -> Parsed<u32> {
            let four = self.bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).ok_or_else(cut)?;
            Ok(u32::from_le_bytes(four))
        };
        let first = word(0)?;
        // A small element has type and length in four bytes, and its own four behind them.
        let (kind, start, length, end): (u32, usize, usize, usize) = match first >> 16 {
            0 => {
                let length = word(4)? as usize;
                let filled = if first == kind::COMPRESSED { length } else { length.div_ceil(8).saturating_mul(8) };
                (first, 8, length, 8usize.saturating_add(filled))
            }
            small => (first & 0xffff, 4, small as usize, 8),
        };
        if first >> 16 > 4 {
            return Err("a small element of more than four bytes".to_owned());
        }
        let data = self.bytes.get(start..start.saturating_add(length)).ok_or_else(cut)?;
        // The last one may lack what fills it up.
        self.bytes = self.bytes.get(end..).unwrap_or_default();
        Ok(Some((kind, data)))
    }

    fn expect(&mut self, what: &str) -> Parsed<(u32, &'a [u8])> {
        self.next()?.ok_or_else(|| format!("a variable without its {what}"))
    }
}

/// Name and value of a variable, or of an element of one.
fn matrix(data: &[u8], depth: usize) -> Parsed<(String, Value)> {
    if data.is_empty() {
        return Ok((String::new(), Value::Numbers(Vec::new())));
    }
    if depth > DEEPEST {
        return Err(format!("arrays more than {DEEPEST} deep"));
    }
    let mut parts = Elements { bytes: data };
    let (_, flags) = parts.expect("kind")?;
    let class = *flags.first().ok_or("a variable without its class")?;
    let (kind, sides) = parts.expect("size")?;
    let sides = numbers(kind, sides)?;
    let (_, name) = parts.expect("name")?;
    let name = String::from_utf8_lossy(name).into_owned();
    let count = sides.iter().try_fold(1u64, |count, &side| count.checked_mul(side as u64));
    let count = count.filter(|&count| count <= MOST_BYTES).ok_or_else(|| format!("an array of {sides:?}"))? as usize;
    let value = match class {
        1 => Value::Cells(values(&mut parts, count, depth)?),
        2 => structures(&mut parts, count, depth)?,
        4 => {
            let (kind, data) = parts.next()?.unwrap_or((kind::UTF8, &[]));
            Value::Text(text(kind, data)?)
        }
        6..=15 => {
            let (kind, data) = parts.next()?.unwrap_or((kind::DOUBLE, &[]));
            let numbers = numbers(kind, data)?;
            if numbers.len() != count {
                return Err(format!("{} numbers in an array of {sides:?}", numbers.len()));
            }
            Value::Numbers(numbers)
        }
        _ => Value::Other,
    };
    Ok((name, value))
}

/// So many elements of a cell array or of structures. Each takes eight bytes at least, so memory is taken for no more than there are.
fn values(parts: &mut Elements<'_>, count: usize, depth: usize) -> Parsed<Vec<Value>> {
    let mut values = Vec::with_capacity(count.min(parts.bytes.len() / 8));
    for _ in 0..count {
        let (kind, data) = parts.expect("elements")?;
        if kind != kind::MATRIX {
            return Err(format!("an element of type {kind} in a cell array"));
        }
        values.push(matrix(data, depth + 1)?.1);
    }
    Ok(values)
}

fn structures(parts: &mut Elements<'_>, count: usize, depth: usize) -> Parsed<Value> {
    let (kind, width) = parts.expect("fields")?;
    let width = numbers(kind, width)?.first().copied().unwrap_or_default() as usize;
    let (_, names) = parts.expect("names of fields")?;
    if width == 0 {
        return Err("a structure whose names have no length".to_owned());
    }
    let until_zero = |name: &[u8]| {
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    };
    let mut fields: Vec<(String, Vec<Value>)> =
        names.chunks(width).map(|name| (until_zero(name), Vec::new())).collect();
    // Of every structure, all fields.
    let all = count.checked_mul(fields.len()).ok_or("too many structures")?;
    for (at, value) in values(parts, all, depth)?.into_iter().enumerate() {
        let field = at % fields.len();
        fields[field].1.push(value);
    }
    Ok(Value::Structures(fields))
}

fn numbers(kind: u32, data: &[u8]) -> Parsed<Vec<f64>> {
    fn of<const N: usize>(data: &[u8], number: fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)).collect()
    }
    Ok(match kind {
        kind::INT8 => of(data, |bytes: [u8; 1]| f64::from(i8::from_le_bytes(bytes))),
        kind::UINT8 => of(data, |bytes: [u8; 1]| f64::from(bytes[0])),
        kind::INT16 => of(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
        kind::UINT16 => of(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
        kind::INT32 => of(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        kind::UINT32 => of(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
        kind::SINGLE => of(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        kind::DOUBLE => of(data, f64::from_le_bytes),
        kind::INT64 => of(data, |bytes| i64::from_le_bytes(bytes) as f64),
        kind::UINT64 => of(data, |bytes| u64::from_le_bytes(bytes) as f64),
        other => return Err(format!("numbers of type {other}")),
    })
}

fn text(kind: u32, data: &[u8]) -> Parsed<String> {
    Ok(match kind {
        kind::UINT16 => {
            let units: Vec<u16> = data.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect();
            String::from_utf16_lossy(&units)
        }
        kind::INT8 | kind::UINT8 | kind::UTF8 => String::from_utf8_lossy(data).into_owned(),
        other => return Err(format!("text of type {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> BTreeMap<String, Value> {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/mat").join(name)).unwrap()
    }

    #[test]
    fn what_scipy_wrote_is_read() {
        let labels = golden("labels.mat");
        assert_eq!(labels["labels"].numbers(), Some(&[77.0, 1.0, 102.0, 2.0, 300.0][..]));
        // Column after column.
        assert_eq!(labels["half"].numbers(), Some(&[0.5, 3.0, -2.0, 4.0][..]));
        for name in ["cars.mat", "cars-plain.mat"] {
            let cars = golden(name);
            let field = |field: &str| cars["annotations"].field(field).unwrap().to_vec();
            let classes: Vec<f64> = field("class").iter().map(|value| value.numbers().unwrap()[0]).collect();
            let files: Vec<String> = field("fname").iter().map(|value| value.text().unwrap().to_owned()).collect();
            assert_eq!((classes, files), (vec![181.0, 7.0], vec!["00001.jpg".to_owned(), "00002.jpg".to_owned()]));
            assert_eq!(cars["class_names"].texts().unwrap(), ["AM General Hummer SUV 2000", "Citroën"]);
            assert_eq!(cars["empty"].numbers(), Some(&[][..]));
        }
    }

    #[test]
    fn other_versions_and_cut_off_variables_are_said() {
        let whole = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/mat/cars-plain.mat")).unwrap();
        let cut = &whole[..whole.len() - 100];
        let hdf = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".to_vec();
        let mut other_end = whole.clone();
        other_end[126..128].copy_from_slice(b"MI");
        for (bytes, said) in
            [(cut, "cut off"), (&hdf, "version 7.3"), (&other_end, "big-endian"), (b"x", "another beginning")]
        {
            let error = variables(bytes).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
