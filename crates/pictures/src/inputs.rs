//! Which pictures there are: one file, a tree of them, or the rows of an array.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, DirEntry};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::RgbImage;
use npyz::{DType, TypeChar};
use robustify_data::place::what_is;
use robustify_data::{Preprocess, decode, folder, npy, place};
use robustify_report::digest;
use robustify_watch::shown;

use crate::picture::{Picture, fault};

const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Pictures in the order of their names.
pub struct Inputs {
    root: PathBuf,
    source: Source,
    /// What is no picture and was passed over, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
    /// Folders whose pictures are missing here, with the reason.
    pub unlisted: Vec<(PathBuf, String)>,
}

enum Source {
    /// Paths relative to the root, with `/` between the parts.
    Files(Vec<String>),
    /// Pictures one after the other.
    Rows { width: u32, height: u32, levels: Vec<u8> },
}

/// A picture as it was found.
pub struct Raw {
    bytes: Vec<u8>,
    /// SHA-256 of the file, or of the row; of the beginning of a file that is no picture, which is not read on.
    pub sha256: String,
}

impl Inputs {
    /// Finds the pictures of `path`: a JPEG, PNG or WebP file, a folder tree of them, or a `.npy` array of unsigned bytes,
    /// pictures x height x width x 3 (CIFAR-10-C's own format).
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Self::list(path);
        }
        ensure!(path.is_file(), "{}: {}", shown(path), what_is(path));
        if path.extension().is_some_and(|extension| extension == "npy") {
            return Ok(Self::of(path.to_owned(), read_rows(path)?));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::of(path.parent().unwrap_or(Path::new("")).to_owned(), Source::Files(vec![name])))
    }

    fn of(root: PathBuf, source: Source) -> Self {
        Self { root, source, skipped: Vec::new(), unlisted: Vec::new() }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Files(files) => files.len(),
            Source::Rows { width, height, levels } => levels.len() / (*width as usize * *height as usize * 3),
        }
    }

    /// The identity of a picture, from which its randomness is drawn: the path below the folder, or the number of the row.
    pub fn name(&self, index: usize) -> String {
        match &self.source {
            Source::Files(files) => files[index].clone(),
            Source::Rows { .. } => index.to_string(),
        }
    }

    /// Whether there is a picture of this name.
    pub fn contains(&self, name: &str) -> bool {
        match &self.source {
            Source::Files(files) => files.binary_search_by(|file| file.as_str().cmp(name)).is_ok(),
            Source::Rows { .. } => name.parse().is_ok_and(|row: usize| row < self.len()),
        }
    }

    /// The class folder of every picture as a number, in the order of [`folder::sorted_names`]; or why there are no classes.
    pub fn labels(&self) -> Result<Vec<usize>, String> {
        let Source::Files(files) = &self.source else { return Err("the rows of an array have no classes".to_owned()) };
        let mut classes = Vec::with_capacity(files.len());
        for file in files {
            let (class, _) = file.split_once('/').ok_or_else(|| format!("`{file}` lies in no class folder"))?;
            classes.push(class);
        }
        let distinct: BTreeSet<&str> = classes.iter().copied().collect();
        let sorted = folder::sorted_names(distinct.into_iter());
        let labels: BTreeMap<&str, usize> = sorted.iter().map(String::as_str).zip(0..).collect();
        Ok(classes.iter().map(|class| labels[class]).collect())
    }

    /// Reads a picture.
    pub fn read(&self, index: usize) -> anyhow::Result<Raw> {
        let bytes = match &self.source {
            Source::Files(files) => decode::read(&self.root.join(&files[index])).map_err(fault)?,
            Source::Rows { width, height, levels } => {
                let size = *width as usize * *height as usize * 3;
                levels[index * size..][..size].to_vec()
            }
        };
        let sha256 = digest::of_bytes(&bytes);
        Ok(Raw { bytes, sha256 })
    }

    /// Decodes and preprocesses what was read.
    pub fn decode(&self, index: usize, raw: Raw, preprocess: &Preprocess) -> anyhow::Result<Picture> {
        match &self.source {
            Source::Files(files) => Picture::decode(&raw.bytes, &self.root.join(&files[index]), preprocess),
            Source::Rows { width, height, .. } => {
                let rgb = RgbImage::from_raw(*width, *height, raw.bytes).context("the row was sized by the header")?;
                Picture { rgb, alpha: None }
                    .preprocessed(preprocess)
                    .with_context(|| format!("{}: row {index}", shown(&self.root)))
            }
        }
    }

    /// Finds the pictures below a folder. Every folder is read once, under its own name before that of a link, so that links
    /// lead into no loop and no picture is found twice.
    fn list(root: &Path) -> anyhow::Result<Self> {
        let mut inputs = Self::of(root.to_owned(), Source::Files(Vec::new()));
        let mut found = Found { folders: vec![String::new()], ..Found::default() };
        let mut read = HashSet::new();
        while let Some(below) = found.folders.pop().or_else(|| found.links.pop_first()) {
            let folder = if below.is_empty() { root.to_owned() } else { root.join(&below) };
            match folder.canonicalize().and_then(|real| Ok((entries(&folder)?, real))) {
                Ok((_, real)) if read.contains(&real) => {
                    inputs.skipped.push((folder, format!("it leads to {}, which is read already", shown(&real))));
                }
                Ok((entries, real)) => {
                    read.insert(real);
                    inputs.skipped.extend(entries.iter().filter_map(|entry| found.sort(&below, entry)));
                }
                Err(error) if below.is_empty() => {
                    return Err(error).with_context(|| format!("{}: cannot be listed", shown(root)));
                }
                Err(error) => inputs.unlisted.push((folder, error.to_string())),
            }
        }
        if found.files.is_empty() {
            let unlisted = inputs.unlisted.iter().map(|(folder, why)| format!("; {}: {why}", shown(folder)));
            let unlisted: String = unlisted.collect();
            bail!("{}: no picture in this folder; .jpg, .jpeg, .png and .webp files are read{unlisted}", shown(root));
        }
        found.files.sort();
        inputs.skipped.sort();
        inputs.unlisted.sort();
        inputs.source = Source::Files(found.files);
        Ok(inputs)
    }
}

fn entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    fs::read_dir(folder)?.collect()
}

/// Paths below the root.
#[derive(Default)]
struct Found {
    files: Vec<String>,
    /// Still to be read.
    folders: Vec<String>,
    /// Links to folders, still to be read.
    links: BTreeSet<String>,
}

impl Found {
    /// Puts an entry where it belongs, or says why it belongs nowhere. Hidden ones are not there.
    fn sort(&mut self, below: &str, entry: &DirEntry) -> Option<(PathBuf, String)> {
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Some((path, "its name is not UTF-8; rename it".to_owned()));
        };
        if name.starts_with('.') {
            return None;
        }
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() && entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            self.links.insert(name);
        } else if path.is_dir() {
            self.folders.push(name);
        } else if path.metadata().is_ok_and(|about| !about.is_file()) {
            return Some((path.clone(), format!("it {}", what_is(&path))));
        } else if EXTENSIONS.contains(&extension.as_str()) {
            self.files.push(name);
        } else {
            return Some((path, format!("it is not one of .{}", EXTENSIONS.join(" ."))));
        }
        None
    }
}

fn read_rows(path: &Path) -> anyhow::Result<Source> {
    let mut file = place::open(path)?;
    let stranger = || format!("{}: is no .npy array, or ends within its header", shown(path));
    let length = file.metadata().with_context(stranger)?.len();
    let (header, _) = npy::header(&mut file).map_err(anyhow::Error::msg).with_context(stranger)?;
    let array = npyz::NpyFile::new(header.as_slice()).with_context(stranger)?;
    let shape = array.shape().to_vec();
    let found = format!(
        "{}: an array of unsigned bytes, pictures x height x width x 3, in C order, is expected; found {} of {shape:?}",
        shown(path),
        array.dtype().descr()
    );
    let bytes_and_c = matches!(array.dtype(), DType::Plain(kind) if kind.type_char() == TypeChar::Uint && kind.size_field() == 1)
        && array.order() == npyz::Order::C;
    let sides = match shape[..] {
        [_, height, width, 3] if bytes_and_c => u32::try_from(width).ok().zip(u32::try_from(height).ok()),
        _ => None,
    };
    drop(array);
    let size = shape.iter().try_fold(1u64, |size, &side| size.checked_mul(side));
    let ((width, height), size) = sides.zip(size.filter(|&size| size > 0)).context(found)?;
    let there = length.saturating_sub(header.len() as u64);
    ensure!(
        there >= size,
        "{}: ends too early: {shape:?} are {size} bytes, {there} are there; copy or make the file again",
        shown(path)
    );
    let mut levels = Vec::with_capacity(usize::try_from(size)?);
    file.take(size).read_to_end(&mut levels).with_context(|| format!("{}: cannot be read", shown(path)))?;
    ensure!(levels.len() as u64 == size, "{}: was changed while it was read; start again", shown(path));
    Ok(Source::Rows { width, height, levels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_numbers_have_the_labels_of_their_values() {
        let labels = |names: [&str; 3]| {
            let folder = tempfile::tempdir().unwrap();
            for name in names {
                fs::create_dir(folder.path().join(name)).unwrap();
                RgbImage::new(2, 2).save(folder.path().join(name).join("a.png")).unwrap();
            }
            Inputs::open(folder.path()).unwrap().labels().unwrap()
        };
        // Pictures are in the order of their names: 10, 2, 9 and a, b, c.
        assert_eq!(labels(["2", "9", "10"]), [2, 0, 1]);
        assert_eq!(labels(["a", "b", "c"]), [0, 1, 2]);
    }
}
