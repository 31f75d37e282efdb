//! IDX files, plain or gzipped: MNIST, Fashion-MNIST, KMNIST, EMNIST.
//!
//! Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", section "File formats". All numbers are
//! big-endian: `[0, 0, 8 (unsigned byte), dimensions]`, one 32-bit size a dimension, then the bytes.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use robustify_watch::shown;

use crate::error::{DataError, Result, io_error};
use crate::folder::visible;
use crate::memory::{Layout, MemorySet, Split, class_names};
use crate::place;

/// Names of Fashion-MNIST's classes. Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747, table 2.
pub const FASHION_MNIST_CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;

/// Most bytes of pixels that a header may announce: a hundred times Fashion-MNIST, and far from filling a machine.
const MAX_BYTES: u64 = 1 << 33;

/// Reads one split of a folder: `<split>-images-idx3-ubyte[.gz]` and `<split>-labels-idx1-ubyte[.gz]`.
///
/// A plain file is taken before its gzipped twin. [`Split::Test`] takes `test-*`, or, when there is no such file, `t10k-*`,
/// which is the official name. Grey is replicated to RGB. Without `classes` there are ten, named "0" to "9".
///
/// # Errors
/// [`DataError::Io`] and [`DataError::Format`]: a missing file, a wrong magic number, a length that differs from the header,
/// bytes after the end, different numbers of images and labels, a label without a class.
pub fn open(folder: &Path, split: Split, classes: Option<Vec<String>>) -> Result<MemorySet> {
    let stems: &[&str] = if split == Split::Test { &["test", "t10k"] } else { &[split.name()] };
    let find = |kind: &str| {
        let names = stems.iter().flat_map(|stem| [format!("{stem}-{kind}"), format!("{stem}-{kind}.gz")]);
        names.map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| DataError::Format {
            path: folder.to_owned(),
            what: "IDX folder",
            expected: format!("{}-{kind} or {}-{kind}.gz", stems.join("|"), stems.join("|")),
            found: if folder.is_dir() { "neither file".to_owned() } else { "no such folder".to_owned() },
            remedy: "check the path and the split",
        })
    };
    open_pair(&find("images-idx3-ubyte")?, &find("labels-idx1-ubyte")?, classes)
}

/// The name of a file of images in a folder, if there is one.
pub(crate) fn file_in(folder: &Path) -> Option<String> {
    let names = visible(folder).unwrap_or_default().into_iter().map(|(name, _)| name);
    names.into_iter().find(|name| name.trim_end_matches(".gz").ends_with("-images-idx3-ubyte"))
}

/// Reads a file of images and a file of labels, of any name. See [`open`].
///
/// # Errors
/// As for [`open`].
pub fn open_pair(images: &Path, labels: &Path, classes: Option<Vec<String>>) -> Result<MemorySet> {
    let classes = class_names(classes, 10);
    let ([count, height, width], pixels) = read(images, IMAGES_MAGIC)?;
    let ([label_count], label_bytes) = read(labels, LABELS_MAGIC)?;
    if count != label_count {
        return Err(format_error(
            labels,
            "number of labels",
            format!("{count}, the number of images in {}", shown(images)),
            label_count.to_string(),
            "the two files do not belong together",
        ));
    }
    if count == 0 || width == 0 || height == 0 {
        let found = format!("{count} images of {width}x{height}");
        return Err(format_error(images, "sizes", "at least one image with pixels".to_owned(), found, RELOAD));
    }
    let labels_in_range = label_bytes.iter().enumerate().map(|(index, &label)| {
        let label = usize::from(label);
        let out_of_range = || {
            let expected = format!("below {}, the number of classes", classes.len());
            let found = format!("{label} at index {index}");
            format_error(labels, "label", expected, found, "name all classes, or repair the file")
        };
        if label < classes.len() { Ok(label) } else { Err(out_of_range()) }
    });
    let label_values = labels_in_range.collect::<Result<Vec<_>>>()?;
    let name = images.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(".gz").trim_end_matches("-images-idx3-ubyte");
    Ok(MemorySet::from_parts(name, (width, height), Layout::Grey, pixels, label_values, classes))
}

const RELOAD: &str = "fetch the file again";

/// The sizes in the header of `path`, and exactly the bytes they announce.
fn read<const D: usize>(path: &Path, magic: u32) -> Result<([u32; D], Vec<u8>)> {
    let mut file = BufReader::new(place::open(path)?);
    let length = file.get_ref().metadata().map_err(io_error(path, "read"))?.len();
    let gzipped = std::io::BufRead::fill_buf(&mut file).map_err(io_error(path, "read"))?.starts_with(&[0x1f, 0x8b]);
    let mut reader: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let found = read_u32(&mut reader, path)?;
    if found != magic {
        let expected = format!("{magic:#010x} (unsigned bytes, {D} dimensions)");
        return Err(format_error(path, "IDX magic number", expected, format!("{found:#010x}"), "give the right file"));
    }
    let mut sizes = [0; D];
    for size in &mut sizes {
        *size = read_u32(&mut reader, path)?;
    }
    let announced = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::from(size)));
    let announced = announced.filter(|&bytes| bytes <= MAX_BYTES).ok_or_else(|| {
        format_error(path, "sizes in the header", format!("at most {MAX_BYTES} bytes"), format!("{sizes:?}"), RELOAD)
    })?;
    // One byte more than announced shows a longer file, and reading to the end checks gzip's checksum. Memory is taken for
    // no more than a file can hold.
    let mut bytes = Vec::with_capacity(if gzipped { 0 } else { (announced + 1).min(length) as usize });
    reader.take(announced + 1).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    if bytes.len() as u64 != announced {
        let longer = bytes.len() as u64 > announced;
        let found = if longer { "more bytes after them".to_owned() } else { format!("{} bytes", bytes.len()) };
        let expected = format!("{announced} bytes for sizes {sizes:?}");
        return Err(format_error(path, "length after the header", expected, found, RELOAD));
    }
    Ok((sizes, bytes))
}

fn read_u32(reader: &mut impl Read, path: &Path) -> Result<u32> {
    let mut word = [0; 4];
    match reader.read_exact(&mut word) {
        Ok(()) => Ok(u32::from_be_bytes(word)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(format_error(path, "IDX header", "a full header".to_owned(), "the end of the file".to_owned(), RELOAD))
        }
        Err(error) => Err(io_error(path, "read")(error)),
    }
}

fn format_error(path: &Path, what: &'static str, expected: String, found: String, remedy: &'static str) -> DataError {
    DataError::Format { path: PathBuf::from(path), what, expected, found, remedy }
}
