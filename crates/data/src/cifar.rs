//! CIFAR-10 and CIFAR-100 in their binary versions.
//!
//! Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and its download page: a record is the
//! label (CIFAR-100: coarse, then fine) and 3,072 bytes: planes of red, green and blue, 32×32, row by row.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result, io_error};
use crate::memory::{Layout, MemorySet, Split};
use crate::place;

const SIDE: usize = 32;
const PIXEL_BYTES: usize = 3 * SIDE * SIDE;

/// Most bytes of a list of names; CIFAR-100's has 1,200.
const LONGEST_NAMES: u64 = 1 << 16;

/// One of the two sets.
struct Variant {
    name: &'static str,
    folder: &'static str,
    names: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    classes: usize,
    /// Bytes before the pixels; the last of them is the label used.
    label_bytes: usize,
}

const VARIANTS: [Variant; 2] = [
    Variant {
        name: "cifar10",
        folder: "cifar-10-batches-bin",
        names: "batches.meta.txt",
        train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        test: &["test_batch.bin"],
        classes: 10,
        label_bytes: 1,
    },
    Variant {
        name: "cifar100",
        folder: "cifar-100-binary",
        names: "fine_label_names.txt",
        train: &["train.bin"],
        test: &["test.bin"],
        classes: 100,
        label_bytes: 2,
    },
];

/// Reads one split of CIFAR-10 (`data_batch_1..5.bin`, `test_batch.bin`, `batches.meta.txt`) or CIFAR-100 (`train.bin`,
/// `test.bin`, `fine_label_names.txt`; fine labels). `folder` is the folder with these files or the one around it.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::Format`]: a missing or empty file, a length that is no whole number of records, a label
/// without a class, a list of another number of class names. [`DataError::Argument`] for [`Split::Validation`], which CIFAR
/// does not have.
pub fn open(folder: &Path, split: Split) -> Result<MemorySet> {
    let (variant, folder) = find(folder)?;
    let files = match split {
        Split::Train => variant.train,
        Split::Test => variant.test,
        Split::Validation => {
            return Err(DataError::Argument {
                name: "split",
                expected: "train or test, since CIFAR has no validation set: hold out a part of train".to_owned(),
                found: "validation".to_owned(),
            });
        }
    };
    let classes = read_names(&folder.join(variant.names), variant.classes)?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        read_records(&folder.join(file), variant, &mut pixels, &mut labels)?;
    }
    let name = format!("{}-{split}", variant.name);
    Ok(MemorySet::from_parts(&name, (SIDE as u32, SIDE as u32), Layout::Planes, pixels, labels, classes))
}

/// The name of a file of one of the sets in a folder, if there is one.
pub(crate) fn file_in(folder: &Path) -> Option<String> {
    VARIANTS.iter().find_map(|variant| {
        let names = [variant.names, variant.train[0]].map(str::to_owned);
        let below = names.each_ref().map(|name| format!("{}/{name}", variant.folder));
        names.into_iter().chain(below).find(|name| folder.join(name).is_file())
    })
}

fn find(folder: &Path) -> Result<(&'static Variant, PathBuf)> {
    let places =
        VARIANTS.iter().flat_map(|variant| [(variant, folder.to_owned()), (variant, folder.join(variant.folder))]);
    let mut found = places.filter(|(variant, place)| place.join(variant.names).is_file());
    found.next().ok_or_else(|| DataError::Format {
        path: folder.to_owned(),
        what: "CIFAR folder",
        expected: "batches.meta.txt (CIFAR-10) or fine_label_names.txt (CIFAR-100)".to_owned(),
        found: if folder.is_dir() { "neither file".to_owned() } else { "no such folder".to_owned() },
        remedy: "unpack the binary version, not the one for Python or Matlab",
    })
}

fn read_names(path: &Path, count: usize) -> Result<Vec<String>> {
    let mut text = String::new();
    place::open(path)?.take(LONGEST_NAMES).read_to_string(&mut text).map_err(io_error(path, "read"))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() == count {
        return Ok(names);
    }
    Err(DataError::Format {
        path: path.to_owned(),
        what: "class names",
        expected: format!("{count} lines"),
        found: format!("{} lines", names.len()),
        remedy: "unpack the archive again",
    })
}

fn read_records(path: &Path, variant: &Variant, pixels: &mut Vec<u8>, labels: &mut Vec<usize>) -> Result<()> {
    let mut file = BufReader::new(place::open(path)?);
    let length = file.get_ref().metadata().map_err(io_error(path, "read"))?.len();
    let record_bytes = variant.label_bytes + PIXEL_BYTES;
    let format_error = |what, expected, found| {
        Err(DataError::Format { path: path.to_owned(), what, expected, found, remedy: "unpack the archive again" })
    };
    if length == 0 || length % record_bytes as u64 != 0 {
        let expected = format!("a positive multiple of {record_bytes} bytes");
        return format_error("length", expected, format!("{length} bytes"));
    }
    let mut record = vec![0; record_bytes];
    pixels.reserve_exact((length as usize / record_bytes) * PIXEL_BYTES);
    for index in 0..length / record_bytes as u64 {
        file.read_exact(&mut record).map_err(io_error(path, "read"))?;
        let label = usize::from(record[variant.label_bytes - 1]);
        if label >= variant.classes {
            let expected = format!("below {}", variant.classes);
            return format_error("label", expected, format!("{label} in record {index}"));
        }
        labels.push(label);
        pixels.extend_from_slice(&record[variant.label_bytes..]);
    }
    Ok(())
}
