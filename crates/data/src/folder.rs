//! A folder of class folders, the layout of torchvision's `ImageFolder`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn_dataset::Dataset;
use rayon::prelude::*;
use robustify_rng::Key;
use robustify_watch::shown;
use sha2::{Digest, Sha256};

use crate::decode;
use crate::error::{DataError, Result, io_error};
use crate::layout::{is_split_name, quoted};
use crate::place::what_is;
use crate::set::{ImageSet, Sample, Skipped, hex};

const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Deepest nesting below the root: no known set comes near it, and a link to its own parent goes past it.
const MAX_DEPTH: usize = 16;

/// Smallest side of an image from which anything can be learnt.
const MIN_SIDE: u32 = 2;

/// Why a folder is left out whose name is not among the classes that were given.
pub const OTHER_CLASS: &str = "is not in the list of classes";

/// Images in `<root>/<class>/**/*.{jpg,jpeg,png,webp}`, of any size.
///
/// The identity of an image is a hash of its path relative to the root, with `/` between the parts.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    name: String,
    classes: Vec<String>,
    files: Vec<Entry>,
    labels: Vec<usize>,
    skipped: Vec<Skipped>,
    fingerprint: String,
}

/// How a folder is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What happens when a file is found to be unusable.
    pub on_bad: OnBad,
    /// How thoroughly files are looked at before use.
    pub verify: Verify,
    /// The classes in the order of their labels, for sets that share a label map. Folders that are not in the list are left
    /// out. Without a list, the folders are the classes, sorted by name, or by value when all names are whole numbers.
    pub classes: Option<Vec<String>>,
}

/// What happens when a file is found to be unusable: broken, or with a side under 2 pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBad {
    /// It is left out and listed in [`ImageSet::skipped`].
    #[default]
    Skip,
    /// Opening fails and names it.
    Error,
}

/// How thoroughly files are looked at before use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Every file is decoded once, on all cores.
    #[default]
    Decode,
    /// Only headers are read, for large sets. A file that breaks later is an error of `get`, which names it.
    Header,
    /// No file is opened, for millions of them on a slow disk. `get` and `dimensions` find what is broken, and name it.
    Listing,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Relative to the root, with `/` between the parts.
    relative: String,
    path: PathBuf,
    bytes: u64,
    label: usize,
    /// Width and height; zeros until the file is verified.
    dimensions: (u32, u32),
}

impl ImageFolder {
    /// Lists the folder, sorts it, and verifies every file. See [`Options`].
    ///
    /// A folder without a usable image is no class, unless the classes are given. It is listed in [`ImageSet::skipped`], as is
    /// every file left out: unusable ones, files with other extensions, files outside a class folder. Hidden files, and what other programs
    /// leave behind ([`is_litter`]), are passed over.
    ///
    /// # Errors
    /// [`DataError::Settings`] where splits (`train`, `val`) would be taken for classes, or lie in what would be a class.
    /// [`DataError::Empty`] for a missing folder or one without a usable image, [`DataError::Io`] when it cannot be listed,
    /// [`DataError::Image`] for an unusable file with [`OnBad::Error`].
    pub fn open(root: &Path, options: Options) -> Result<Self> {
        if !root.is_dir() {
            let reason = what_is(root);
            return Err(DataError::Empty { path: root.to_owned(), reason, remedy: "check the path" });
        }
        let mut skipped = Vec::new();
        let folders = class_folders(root, &mut skipped)?;
        let given = options.classes.is_some();
        let classes = options.classes.unwrap_or_else(|| sorted_names(folders.keys().map(String::as_str)));
        refuse_splits(root, &folders, &classes, given)?;
        let mut files = Vec::new();
        for (name, path) in &folders {
            match classes.iter().position(|class| class == name) {
                Some(label) => list(root, path, label, &mut files, &mut skipped)?,
                None if visible(path)?.is_empty() => {}
                None => skipped.push(skip(path, OTHER_CLASS)),
            }
        }
        files.sort_by(|a, b| (a.label, &a.relative).cmp(&(b.label, &b.relative)));
        let mut files = verified(files, options.verify, options.on_bad, &mut skipped)?;
        if files.is_empty() {
            return Err(no_images(root, folders.len(), &skipped));
        }
        let classes = without_empty(root, classes, given, &mut files, &mut skipped);
        Ok(Self::from_files(root, classes, files, skipped))
    }

    fn from_files(root: &Path, classes: Vec<String>, files: Vec<Entry>, skipped: Vec<Skipped>) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("folder {classes:?}\n"));
        for file in &files {
            hash.update(format!("{:?} {}\n", file.relative, file.bytes));
        }
        let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
        let labels = files.iter().map(|file| file.label).collect();
        Self { root: root.to_owned(), name, classes, files, labels, skipped, fingerprint: hex(hash) }
    }

    /// The folder that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the image at `index` below the folder, with `/` between the parts.
    ///
    /// # Errors
    /// [`DataError::Index`] past the end.
    pub fn file(&self, index: usize) -> Result<&str> {
        Ok(&self.entry(index)?.relative)
    }

    fn entry(&self, index: usize) -> Result<&Entry> {
        let len = self.files.len();
        self.files.get(index).ok_or_else(|| DataError::Index { set: self.name.clone(), index, len })
    }
}

impl Dataset<Sample, DataError> for ImageFolder {
    fn get(&self, index: usize) -> Result<Sample> {
        let entry = self.entry(index)?;
        Ok(Sample { image: decode::decode(&entry.path)?, label: entry.label, id: identity(&entry.relative) })
    }

    fn len(&self) -> usize {
        self.files.len()
    }
}

impl ImageSet for ImageFolder {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, index: usize) -> Result<u64> {
        Ok(identity(&self.entry(index)?.relative))
    }

    fn dimensions(&self, index: usize) -> Result<(u32, u32)> {
        let entry = self.entry(index)?;
        if entry.dimensions == (0, 0) { decode::dimensions(&entry.path) } else { Ok(entry.dimensions) }
    }

    fn origin(&self, index: usize) -> String {
        self.entry(index).map(|entry| shown(&entry.path)).unwrap_or_default()
    }
}

/// The identity of an image by its path below the set's folder.
pub(crate) fn identity(relative: &str) -> u64 {
    Key::new(0, "path").with_str(relative).digest()
}

/// The visible folders in `root`, by name.
fn class_folders(root: &Path, skipped: &mut Vec<Skipped>) -> Result<BTreeMap<String, PathBuf>> {
    let mut folders = BTreeMap::new();
    for (name, path) in visible(root)? {
        let around = || fs::canonicalize(root).ok().zip(fs::canonicalize(&path).ok());
        if path.is_dir() && around().is_some_and(|(root, class)| root.starts_with(class)) {
            skipped.push(skip(&path, "is a link to a folder around it"));
        } else if path.is_dir() && path.file_name().is_some_and(|name| name.to_str().is_none()) {
            skipped.push(skip(&path, "has a name that is no UTF-8 text, so it cannot be that of a class; rename it"));
        } else if path.is_dir() {
            folders.insert(name, path);
        } else {
            skipped.push(skip(&path, "lies outside any class folder"));
        }
    }
    Ok(folders)
}

/// Names of classes in the order of their labels: by name, or by value where all are whole numbers, as ImageNet-V2's folders.
pub fn sorted_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    if names.iter().all(|name| name.parse::<u64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<u64>().ok());
    }
    names
}

/// Adds the images under `folder`, at any depth, to `files`.
fn list(root: &Path, folder: &Path, label: usize, files: &mut Vec<Entry>, skipped: &mut Vec<Skipped>) -> Result<()> {
    let mut open = vec![(folder.to_owned(), 1)];
    while let Some((folder, depth)) = open.pop() {
        for (_, path) in visible(&folder)? {
            if path.is_dir() {
                // Following links inside a class could walk in circles, and give one image to two classes.
                if path.is_symlink() {
                    skipped.push(skip(&path, "is a link to a folder; only class folders themselves may be links"));
                } else if depth == MAX_DEPTH {
                    skipped.push(skip(&path, format!("lies more than {MAX_DEPTH} folders deep")));
                } else {
                    open.push((path, depth + 1));
                }
                continue;
            }
            if !is_picture(&path) {
                skipped.push(skip(&path, format!("is not one of .{}", EXTENSIONS.join(" ."))));
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if !metadata.is_file() => skipped.push(skip(&path, what_is(&path))),
                Ok(metadata) => {
                    let relative = relative(root, &path);
                    files.push(Entry { relative, bytes: metadata.len(), label, path, dimensions: (0, 0) });
                }
                Err(error) => skipped.push(skip(&path, error)),
            }
        }
    }
    Ok(())
}

/// What programs leave behind in folders of others: macOS's archives, Synology's and QNAP's thumbnails, Windows Explorer's files, file
/// systems' lost files. Names are compared without regard to case.
const LITTER: [&str; 7] = ["__macosx", "@eadir", "@__thumb", "#recycle", "thumbs.db", "desktop.ini", "lost+found"];

/// Whether a file or folder of this name is no data: hidden, as `.DS_Store`, or left behind by another program, as `@eaDir`.
pub fn is_litter(name: &str) -> bool {
    name.starts_with('.') || LITTER.contains(&name.to_lowercase().as_str())
}

/// Names and paths of what is not hidden in `folder`, and was not left there by another program ([`is_litter`]), by name.
///
/// # Errors
/// A folder that cannot be listed.
pub fn visible(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder, "list"))? {
        let entry = entry.map_err(io_error(folder, "list"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_litter(&name) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The usable files. The others go to `skipped`, or the first of them is the error.
fn verified(files: Vec<Entry>, verify: Verify, on_bad: OnBad, skipped: &mut Vec<Skipped>) -> Result<Vec<Entry>> {
    if verify == Verify::Listing {
        return Ok(files);
    }
    let verdicts: Vec<Result<_>> = files.par_iter().map(|file| verdict(&file.path, verify)).collect();
    let mut usable = Vec::with_capacity(files.len());
    for (file, verdict) in files.into_iter().zip(verdicts) {
        match verdict {
            Ok(dimensions) => usable.push(Entry { dimensions, ..file }),
            Err(error) if on_bad == OnBad::Error => return Err(error),
            Err(DataError::Image { reason, .. }) => skipped.push(skip(&file.path, reason)),
            Err(DataError::Io { source, .. }) => skipped.push(skip(&file.path, source)),
            Err(other) => return Err(other),
        }
    }
    Ok(usable)
}

/// Width and height of a usable file.
fn verdict(path: &Path, verify: Verify) -> Result<(u32, u32)> {
    let (width, height) = match verify {
        Verify::Decode => decode::decode(path)?.dimensions(),
        Verify::Header | Verify::Listing => decode::dimensions(path)?,
    };
    if width.min(height) >= MIN_SIDE {
        return Ok((width, height));
    }
    let reason = format!("{width}x{height} pixels, at least {MIN_SIDE} a side are needed");
    Err(DataError::Image { path: path.to_owned(), reason })
}

/// The classes that have images: an empty folder is none, unless the classes were `given`. It is listed in any case.
fn without_empty(
    root: &Path,
    classes: Vec<String>,
    given: bool,
    files: &mut [Entry],
    skipped: &mut Vec<Skipped>,
) -> Vec<String> {
    let mut has_images = vec![false; classes.len()];
    files.iter().for_each(|file| has_images[file.label] = true);
    let reason = if given {
        "is a class without a usable image"
    } else {
        "holds no usable image, and does not count as a class"
    };
    let empty = classes.iter().zip(&has_images).filter(|(_, has_images)| !**has_images);
    skipped.extend(empty.map(|(class, _)| skip(&root.join(class), reason)));
    if given {
        return classes;
    }
    let new_label: Vec<usize> = has_images
        .iter()
        .scan(0, |next, &has_images| Some(std::mem::replace(next, *next + usize::from(has_images))))
        .collect();
    files.iter_mut().for_each(|file| file.label = new_label[file.label]);
    classes.into_iter().zip(has_images).filter(|(_, has_images)| *has_images).map(|(class, _)| class).collect()
}

/// Fails if splits would be taken for classes, or their images for those of one class.
fn refuse_splits(root: &Path, folders: &BTreeMap<String, PathBuf>, classes: &[String], given: bool) -> Result<()> {
    let names: Vec<String> = folders.keys().cloned().collect();
    if !given && !names.is_empty() && names.iter().all(|name| is_split_name(name)) {
        return Err(DataError::Settings(format!(
            "{}: its folders {} are splits, and no classes; in a split, a folder for each class is expected",
            shown(root),
            quoted(&names)
        )));
    }
    for (name, path) in folders.iter().filter(|(name, _)| classes.contains(name)) {
        let Some(splits) = nothing_but_splits(path)? else { continue };
        return Err(DataError::Settings(format!(
            "{}: `{name}` holds nothing but splits ({}), and is no class; give data.path={}",
            shown(root),
            quoted(&splits),
            shown(path)
        )));
    }
    Ok(())
}

/// The names of the splits in a folder that holds no other folder and no picture.
fn nothing_but_splits(folder: &Path) -> Result<Option<Vec<String>>> {
    let (folders, files): (Vec<_>, Vec<_>) = visible(folder)?.into_iter().partition(|(_, path)| path.is_dir());
    let splits = !folders.is_empty()
        && folders.iter().all(|(name, _)| is_split_name(name))
        && !files.iter().any(|(_, path)| is_picture(path));
    Ok(splits.then(|| folders.into_iter().map(|(name, _)| name).collect()))
}

/// Whether there is a picture in a folder, or in a folder in it.
pub fn holds_pictures(folder: &Path) -> bool {
    let entries = |folder: &Path| visible(folder).unwrap_or_default();
    entries(folder).iter().any(|(_, path)| {
        is_picture(path) || path.is_dir() && entries(path).iter().any(|(_, path)| is_picture(path) || path.is_dir())
    })
}

/// Whether a path has the extension of a picture that can be read.
pub fn is_picture(path: &Path) -> bool {
    EXTENSIONS.contains(&path.extension().unwrap_or_default().to_string_lossy().to_lowercase().as_str())
}

fn no_images(root: &Path, folders: usize, skipped: &[Skipped]) -> DataError {
    let first = skipped.first().map(|first| format!(", the first being {}: {}", shown(&first.path), first.reason));
    let reason =
        format!("{folders} class folders, {} files or folders left out{}", skipped.len(), first.unwrap_or_default());
    let remedy = "one folder a class is expected, with .jpg, .jpeg, .png or .webp files in it";
    DataError::Empty { path: root.to_owned(), reason, remedy }
}

fn skip(path: &Path, reason: impl std::fmt::Display) -> Skipped {
    Skipped { path: path.to_owned(), reason: reason.to_string() }
}
