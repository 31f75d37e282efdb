//! Which pictures there are: one file, a tree of them, or the rows of an array.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::RgbImage;
use robustify_data::Preprocess;

use super::picture::Picture;
use crate::digest;

const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// No known data set is nested deeper, and a link to its own parent is.
const MAX_DEPTH: usize = 16;

/// Pictures in the order of their names.
pub struct Inputs {
    root: PathBuf,
    source: Source,
    /// Files that were passed over, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
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
    /// SHA-256 of the file, or of the row.
    pub sha256: String,
}

impl Inputs {
    /// Finds the pictures of `path`: a JPEG, PNG or WebP file, a folder tree of them, or a `.npy` array of unsigned bytes,
    /// pictures x height x width x 3 (CIFAR-10-C's own format).
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            let (mut files, mut skipped) = (Vec::new(), Vec::new());
            list(path, "", 0, &mut files, &mut skipped)?;
            files.sort();
            if files.is_empty() {
                bail!("{}: no picture in this folder; .jpg, .jpeg, .png and .webp files are read", path.display());
            }
            return Ok(Self { root: path.to_owned(), source: Source::Files(files), skipped });
        }
        ensure!(path.is_file(), "{}: there is no such file or folder", path.display());
        if path.extension().is_some_and(|extension| extension == "npy") {
            return Ok(Self { root: path.to_owned(), source: read_rows(path)?, skipped: Vec::new() });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { root, source: Source::Files(vec![name]), skipped: Vec::new() })
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

    /// The class folder of every picture as a number, if all lie in one: the classes are sorted by name.
    pub fn labels(&self) -> Option<Vec<usize>> {
        let Source::Files(files) = &self.source else { return None };
        let classes: Vec<&str> =
            files.iter().map(|file| file.split_once('/').map(|(class, _)| class)).collect::<Option<_>>()?;
        let mut sorted = classes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        classes.into_iter().map(|class| sorted.binary_search(&class).ok()).collect()
    }

    /// Reads a picture.
    pub fn read(&self, index: usize) -> anyhow::Result<Raw> {
        let bytes = match &self.source {
            Source::Files(files) => {
                let path = self.root.join(&files[index]);
                fs::read(&path).with_context(|| format!("{}: cannot be read", path.display()))?
            }
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
                    .with_context(|| format!("{}: row {index}", self.root.display()))
            }
        }
    }
}

fn list(
    root: &Path,
    below: &str,
    depth: usize,
    files: &mut Vec<String>,
    skipped: &mut Vec<(PathBuf, String)>,
) -> anyhow::Result<()> {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).with_context(|| format!("{}: cannot be listed", folder.display()))?;
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            skipped.push((path, "its name is not UTF-8; rename it".to_owned()));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            if depth == MAX_DEPTH {
                skipped.push((path, format!("it lies more than {MAX_DEPTH} folders deep")));
            } else {
                list(root, &name, depth + 1, files, skipped)?;
            }
        } else if EXTENSIONS.contains(&extension.as_str()) {
            files.push(name);
        } else {
            skipped.push((path, format!("it is not one of .{}", EXTENSIONS.join(" ."))));
        }
    }
    Ok(())
}

fn read_rows(path: &Path) -> anyhow::Result<Source> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let array =
        npyz::NpyFile::new(bytes.as_slice()).with_context(|| format!("{}: is no .npy array", path.display()))?;
    let shape = array.shape().to_vec();
    let expected = "an array of unsigned bytes, pictures x height x width x 3, in C order, is expected";
    let found = || format!("{}: {expected}; found {} of {shape:?}", path.display(), array.dtype().descr());
    let sides = match shape[..] {
        [_, height, width, 3] => u32::try_from(width).ok().zip(u32::try_from(height).ok()),
        _ => None,
    };
    let (width, height) = sides.filter(|&(width, height)| width > 0 && height > 0).with_context(found)?;
    ensure!(array.order() == npyz::Order::C, "{}", found());
    let message = found();
    let levels = array.into_vec::<u8>().with_context(|| message.clone())?;
    ensure!(!levels.is_empty(), "{message}");
    Ok(Source::Rows { width, height, levels })
}
