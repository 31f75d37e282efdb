//! Corrupted images that were published: a folder, or a part of an array, for every cell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use robustify_augment::{Corruption, Severity};
use robustify_data::folder::{Options, Verify};
use robustify_data::npy::{self, Pictures};
use robustify_data::{
    DataError, Dataset, Filter, ImageFolder, ImageSet, Images, Preprocess, Skipped, Step, decode, index_identity,
    resize,
};
use robustify_report::digest;

use super::find::{corruptions_in, folders_in};
use super::published::unfit;
use super::{Classes, unlike};
use crate::BenchError;
use crate::suite::{Cell, Origin, Shift, Suite};

/// Severities of an array.
const SEVERITIES: usize = 5;

/// Where the corrupted pictures come from.
enum Source {
    /// A folder of classes for every cell, with the same files in each.
    Folders { files: ImageFolder, roots: BTreeMap<String, PathBuf> },
    /// An array for every corruption: severities one after the other, the same pictures in each.
    Arrays { arrays: BTreeMap<&'static str, Pictures>, labels: Vec<usize> },
}

/// Published corrupted images.
pub(super) struct CellFiles {
    name: String,
    classes: Vec<String>,
    identity: String,
    source: Source,
    /// Pictures that are not corrupted, in the same order, and what is done to them.
    clean: Option<(Images, Preprocess)>,
    /// What is done to a corrupted picture.
    finish: Finish,
    cells: Vec<Cell>,
    chosen: Vec<usize>,
}

/// What is done to a picture that is published as networks are to see it.
#[derive(Clone)]
pub(super) enum Finish {
    /// One resize to the size that these steps would give, and none if it has it.
    Resize(Preprocess),
    /// These steps.
    Steps(Preprocess),
}

impl Finish {
    fn apply(&self, image: RgbImage) -> Result<RgbImage, DataError> {
        match self {
            Self::Steps(steps) if steps.steps().is_empty() => Ok(image),
            Self::Steps(steps) => steps.pixels(&image),
            Self::Resize(steps) => {
                let (width, height) = steps.size(image.dimensions())?;
                if (width, height) == image.dimensions() {
                    Ok(image)
                } else {
                    resize(&image, width, height, filter(steps))
                }
            }
        }
    }

    /// For people.
    pub fn about(&self) -> String {
        match self {
            Self::Steps(steps) if steps.steps().is_empty() => "as they are".to_owned(),
            Self::Steps(steps) => steps.geometry().to_string(),
            Self::Resize(_) => {
                "as they are where they have the size of the model's input, else resized to it once; no crop is repeated".to_owned()
            }
        }
    }
}

/// The filter of the first resize, or Pillow's usual one.
fn filter(steps: &Preprocess) -> Filter {
    let of = |step: &Step| match step {
        Step::ResizeShort(_, filter) | Step::ResizeTo(_, _, filter) => Some(*filter),
        _ => None,
    };
    steps.steps().iter().find_map(of).unwrap_or(Filter::Bicubic)
}

/// What is asked of the published cells.
pub(super) struct Asked<'a> {
    pub classes: &'a Classes,
    pub names: Vec<String>,
    pub corruptions: Vec<Corruption>,
    pub severities: &'a [u8],
    pub finish: Finish,
    /// Clean images of the same data set, if they were found.
    pub clean: Option<(Images, Preprocess)>,
    /// Which images are measured, of all by their identities.
    pub choose: &'a dyn Fn(&[u64]) -> Vec<usize>,
}

impl Asked<'_> {
    /// All cells that are asked for.
    fn cells(&self) -> Result<Vec<Cell>, BenchError> {
        let mut cells = Vec::new();
        for &corruption in &self.corruptions {
            for &level in self.severities {
                cells.push(Cell::new(Shift::Corrupted(corruption, Severity::try_from(level)?)));
            }
        }
        Ok(cells)
    }
}

impl CellFiles {
    /// Opens folders of corruptions. Gives the cells that are missing, and what was left out.
    pub fn folders(place: &Path, asked: Asked<'_>) -> Result<(Self, Vec<String>, Vec<Skipped>), BenchError> {
        let mut roots = BTreeMap::new();
        for (corruption, folder) in corruptions_in(place)? {
            for (name, path) in folders_in(&folder)? {
                if let Some(level) = level(&name) {
                    let cell = Cell::new(Shift::Corrupted(corruption, Severity::try_from(level)?));
                    roots.insert(cell.name, path);
                }
            }
        }
        let (present, missing): (Vec<Cell>, Vec<Cell>) =
            asked.cells()?.into_iter().partition(|cell| roots.contains_key(&cell.name));
        let missing = missing.into_iter().map(|cell| cell.name).collect();
        let (mut first, mut prints) = (None::<ImageFolder>, Vec::new());
        for cell in &present {
            let root = &roots[&cell.name];
            let names: Vec<String> = folders_in(root)?.into_iter().map(|(name, _)| name).collect();
            let classes = asked.classes.folders(&names);
            let classes = classes.ok_or_else(|| unlike(root, "folders of its classes", "none of them"))?;
            let options = Options { verify: Verify::Listing, classes: Some(classes), ..Options::default() };
            let files = ImageFolder::open(root, options)?;
            prints.push(files.fingerprint());
            match &first {
                None => first = Some(files),
                Some(first) => expect_twins(first, &files)?,
            }
        }
        let Some(files) = first else {
            let found = "none of the cells that are asked for";
            return Err(unlike(place, "folders `<corruption>/<severity>`", found).into());
        };
        let skipped = files.skipped().to_vec();
        let ids: Vec<u64> = (0..files.len()).map(|index| files.id(index)).collect::<Result<_, _>>()?;
        let (chosen, labels) = ((asked.choose)(&ids), files.labels().to_vec());
        let clean = asked.clean.filter(|(clean, _)| same_pictures(clean, &files, &labels));
        let parts = Parts { name: place, names: asked.names, finish: asked.finish, clean, cells: present, chosen };
        Ok((parts.with(Source::Folders { files, roots }, &prints), missing, skipped))
    }

    /// Opens arrays. Gives the cells that are missing; nothing is left out of an array.
    pub fn arrays(place: &Path, asked: Asked<'_>) -> Result<(Self, Vec<String>, Vec<Skipped>), BenchError> {
        let (mut arrays, mut prints) = (BTreeMap::new(), Vec::new());
        for corruption in &asked.corruptions {
            let path = place.join(format!("{corruption}.npy"));
            if path.is_file() {
                let pictures = Pictures::open(&path)?;
                prints.push(print(&pictures, &path)?);
                arrays.insert(corruption.name(), pictures);
            }
        }
        let labels = labels(&place.join("labels.npy"), &arrays, asked.names.len())?;
        let is_there = |cell: &Cell| arrays.contains_key(cell.corruption());
        let (present, missing): (Vec<Cell>, Vec<Cell>) = asked.cells()?.into_iter().partition(is_there);
        let missing = missing.into_iter().map(|cell| cell.name).collect();
        prints.push(digest::of(&labels).expect("numbers have a JSON form"));
        let ids: Vec<u64> = (0..labels.len()).map(index_identity).collect();
        let chosen = (asked.choose)(&ids);
        let clean = asked.clean.filter(|(clean, _)| clean.labels() == labels);
        let parts =
            Parts { name: place, names: asked.names.clone(), finish: asked.finish, clean, cells: present, chosen };
        Ok((parts.with(Source::Arrays { arrays, labels: labels.clone() }, &prints), missing, Vec::new()))
    }

    /// Whether the clean images are measured beside the corrupted ones.
    pub fn has_clean(&self) -> bool {
        self.clean.is_some()
    }

    /// How many images each cell has in all.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Folders { files, .. } => files.len(),
            Source::Arrays { labels, .. } => labels.len(),
        }
    }
}

/// What the two kinds of sources have in common.
struct Parts<'a> {
    name: &'a Path,
    names: Vec<String>,
    finish: Finish,
    clean: Option<(Images, Preprocess)>,
    cells: Vec<Cell>,
    chosen: Vec<usize>,
}

impl Parts<'_> {
    fn with(self, source: Source, prints: &[String]) -> CellFiles {
        let Self { name, names, finish, clean, mut cells, chosen } = self;
        if clean.is_some() {
            cells.insert(0, Cell::new(Shift::Clean));
        }
        let named: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        let clean_print = clean.as_ref().map(|(images, steps)| (images.fingerprint(), steps.to_string()));
        let steps = match &finish {
            Finish::Resize(steps) => format!("resize to the size of {}", steps.geometry()),
            Finish::Steps(steps) => steps.geometry().to_string(),
        };
        let identity = digest::of(&("cells", prints, named, clean_print, steps, &chosen));
        let identity = identity.expect("settings and strings have a JSON form");
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
        CellFiles { name, classes: names, identity, source, clean, finish, cells, chosen }
    }
}

/// The severity that a folder's name says: `3`, `3.0`, `severity_3`.
fn level(name: &str) -> Option<u8> {
    let number = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let value = number.parse::<f64>().ok()?;
    (value.fract() == 0.0 && (1.0..=5.0).contains(&value)).then_some(value as u8)
}

/// Fails unless two cells hold the same files: a picture has one identity in all of them.
fn expect_twins(first: &ImageFolder, other: &ImageFolder) -> Result<(), DataError> {
    let differs = (0..first.len().max(other.len())).find(|&index| first.file(index).ok() != other.file(index).ok());
    let Some(index) = differs else { return Ok(()) };
    let name = |set: &ImageFolder| set.file(index).unwrap_or("nothing more").to_owned();
    let expected = format!("the {} files of {}, as `{}`", first.len(), first.root().display(), name(first));
    let found = format!("{} files, there `{}`; or leave this corruption out", other.len(), name(other));
    Err(unlike(other.root(), &expected, &found))
}

/// Whether clean images are those that were corrupted, in the same order.
fn same_pictures(clean: &Images, files: &ImageFolder, labels: &[usize]) -> bool {
    clean.labels() == labels && (0..labels.len()).all(|index| clean.id(index).ok() == files.id(index).ok())
}

/// A hash of an array's size and of some of its pictures: all of them are gigabytes.
fn print(pictures: &Pictures, path: &Path) -> Result<String, DataError> {
    const LOOKED_AT: usize = 64;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut bytes = format!("{name} {} {:?}", pictures.len(), pictures.dimensions()).into_bytes();
    for part in 0..LOOKED_AT.min(pictures.len()) {
        bytes.extend(pictures.get(part * pictures.len() / LOOKED_AT.min(pictures.len()))?.as_raw());
    }
    Ok(digest::of_bytes(&bytes))
}

/// The labels of the pictures of one severity. Files have them once, or once for every severity.
fn labels(path: &Path, arrays: &BTreeMap<&str, Pictures>, classes: usize) -> Result<Vec<usize>, BenchError> {
    let Some((name, first)) = arrays.first_key_value() else {
        return Err(unlike(path, "an array of a corruption beside it", "none that is asked for").into());
    };
    let (rows, values) = (first.len(), npy::integers(path)?);
    if let Some((other, pictures)) = arrays.iter().find(|(_, pictures)| pictures.len() != rows) {
        let expected = format!("{rows} pictures in every array, as in {name}.npy");
        return Err(unlike(path, &expected, &format!("{} in {other}.npy", pictures.len())).into());
    }
    let count = rows / SEVERITIES;
    if rows == 0 || rows % SEVERITIES != 0 || ![count, rows].contains(&values.len()) {
        let expected = "five severities in every array, and a label for every picture of one or of all of them";
        return Err(unlike(path, expected, &format!("{rows} pictures and {} labels", values.len())).into());
    }
    if let Some(wrong) = values.chunks(count).find(|block| *block != &values[..count]) {
        let at = wrong.iter().zip(&values).position(|(one, other)| one != other).unwrap_or_default();
        let expected = "the same labels in every severity";
        return Err(unlike(path, expected, &format!("others, first of picture {at}")).into());
    }
    let label = |&value: &i64| usize::try_from(value).ok().filter(|&label| label < classes);
    let found: Option<Vec<usize>> = values[..count].iter().map(label).collect();
    Ok(found.ok_or_else(|| {
        let strange = values.iter().find(|value| label(value).is_none()).copied().unwrap_or_default();
        unlike(path, &format!("labels from 0 to {}", classes - 1), &strange.to_string())
    })?)
}

impl Suite for CellFiles {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn origin(&self) -> Origin {
        Origin::OnDisk
    }

    fn cells(&self) -> &[Cell] {
        &self.cells
    }

    fn images(&self, _: &Cell) -> &[usize] {
        &self.chosen
    }

    fn label(&self, index: usize) -> Result<(usize, u64), DataError> {
        match &self.source {
            Source::Folders { files, .. } => {
                let id = files.id(index)?;
                Ok((files.labels()[index], id))
            }
            Source::Arrays { labels, .. } => {
                let past = || DataError::Index { set: self.name.clone(), index, len: labels.len() };
                // The identity of the same picture in CIFAR's own files.
                labels.get(index).map(|&label| (label, index_identity(index))).ok_or_else(past)
            }
        }
    }

    fn image(&self, index: usize) -> String {
        match &self.source {
            Source::Folders { files, .. } => files.file(index).unwrap_or_default().to_owned(),
            Source::Arrays { .. } => format!("{}[{index}]", self.name),
        }
    }

    fn pixels(&self, cell: &Cell, index: usize) -> Result<RgbImage, DataError> {
        let origin = || format!("{} in {}", self.image(index), cell.name);
        let Shift::Corrupted(corruption, severity) = cell.shift else {
            let Some((images, steps)) = &self.clean else { return Err(unknown(&self.name, cell)) };
            let sample = images.get(index)?;
            return steps.pixels(&sample.image).map_err(|error| unfit(error, images.origin(index)));
        };
        let picture = match &self.source {
            Source::Folders { files, roots } => {
                let root = roots.get(&cell.name).ok_or_else(|| unknown(&self.name, cell))?;
                decode::decode(&root.join(files.file(index)?))?
            }
            Source::Arrays { arrays, labels } => {
                let pictures = arrays.get(corruption.name()).ok_or_else(|| unknown(&self.name, cell))?;
                let block = usize::from(severity.level()).saturating_sub(1);
                pictures.get(block * labels.len() + index)?
            }
        };
        self.finish.apply(picture).map_err(|error| unfit(error, origin()))
    }
}

fn unknown(name: &str, cell: &Cell) -> DataError {
    DataError::Settings(format!("{name}: there is no cell {}", cell.name))
}
