//! Which folders or files the parts of a data set are: what a configuration names, and what other programs call the same.

use std::path::{Path, PathBuf};

use robustify_watch::shown;

use crate::error::{DataError, Result};
use crate::folder::{holds_pictures, visible};
use crate::memory::Split;
use crate::place::{self, expect_folder};
use crate::splits::{DataConfig, DataFormat};
use crate::{cifar, idx};

/// Where a part of a data set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of classes.
    Folder(PathBuf),
    /// A split of IDX or CIFAR files in the data set's folder.
    Files(Split),
    /// Images held out of the training images.
    HeldOut,
    /// The images of the validation part, since `data.test` asks for them.
    Validation,
}

/// Where all parts of a data set come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The data set's folder, absolute, however it was typed.
    pub folder: PathBuf,
    /// How the files are laid out.
    pub format: DataFormat,
    /// To train on.
    pub train: Source,
    /// To choose settings on.
    pub validation: Source,
    /// To report on.
    pub test: Source,
    /// Whether the data set's folder has no splits, so that its own folders are the classes.
    pub divided: bool,
}

impl Layout {
    /// Looks into the folder of a data set. A name that is there means what has that name. `train`, `validation` and `test`
    /// also stand for other spellings of these, in any case: `Training`, `val`, `valid`, `Testing`. Folders `train` and `val`
    /// alone are ImageNet's layout, in which `val` is reported on, so that validation images are held out of the training
    /// images. `data.test=validation` is always the validation part.
    ///
    /// # Errors
    /// No such folder, a layout that can be read in two ways, or one without a part that is asked for.
    pub fn of(config: &DataConfig) -> Result<Self> {
        expect_folder("data.path", &config.path)?;
        let format = config.format.map_or_else(|| format_of(&config.path), Ok)?;
        let reports_validation = config.test == Split::Validation.name();
        if format == DataFormat::Folder {
            return Folders { config, reports_validation }.layout();
        }
        let files = |name: &str| name.parse().map(Source::Files);
        let validation = config.validation.as_deref().map_or(Ok(Source::HeldOut), files)?;
        let test = if reports_validation { Source::Validation } else { files(&config.test)? };
        let folder = place::absolute(&config.path);
        Ok(Self { folder, format, train: files(&config.train)?, validation, test, divided: false })
    }
}

/// What is reported on of a data set whose other parts nobody asks for: the test images, or in ImageNet's layout those called
/// `val`; of a folder of classes without splits, and of one without such images, all of it.
///
/// # Errors
/// As for [`Layout::of`]; that there are no training images is none.
pub fn reported(config: &DataConfig) -> Result<(Source, DataFormat)> {
    expect_folder("the data", &config.path)?;
    let format = config.format.map_or_else(|| format_of(&config.path), Ok)?;
    if format != DataFormat::Folder {
        return Ok((config.test.parse().map(Source::Files)?, format));
    }
    let folders = Folders { config, reports_validation: false };
    let found = match folders.find(&config.test)? {
        Some(test) => Some(test),
        None if split_of(&config.test) == Some(Split::Test) => folders.find(Split::Validation.name())?,
        None => return Err(folders.missing("test", &config.test)),
    };
    let path = &config.path;
    Ok((Source::Folder(found.map_or_else(|| path.clone(), |name| path.join(name))), format))
}

impl Layout {
    /// Splits of a folder whose names are other spellings of what a configuration asks for, beyond capital letters: the key, what is asked
    /// for, and the folder's name.
    pub(crate) fn respelled<'a>(&self, config: &'a DataConfig) -> Vec<(&'static str, &'a str, String)> {
        let parts = [("train", config.train.as_str(), &self.train), ("test", config.test.as_str(), &self.test)];
        let other = |(key, asked, source): (&'static str, &'a str, &Source)| {
            let Source::Folder(folder) = source else { return None };
            let found = folder.file_name()?.to_string_lossy().into_owned();
            let is_other = split_of(asked).is_some() && split_of(&found) == split_of(asked);
            (is_other && !found.eq_ignore_ascii_case(asked)).then_some((key, asked, found))
        };
        parts.into_iter().filter_map(other).collect()
    }
}

/// What lies in a folder, by the names of its files.
///
/// # Errors
/// Files of two formats.
fn format_of(folder: &Path) -> Result<DataFormat> {
    let mut found = Vec::new();
    if let Some(file) = idx::file_in(folder) {
        found.push((DataFormat::Idx, file));
    }
    if let Some(file) = cifar::file_in(folder) {
        found.push((DataFormat::Cifar, file));
    }
    if let Some((class, _)) = visible(folder)?.into_iter().find(|(_, path)| path.is_dir() && holds_pictures(path)) {
        found.push((DataFormat::Folder, format!("{class}/")));
    }
    match found[..] {
        [] => Ok(DataFormat::Folder),
        [(format, _)] => Ok(format),
        [(one, ref first), (other, ref second), ..] => Err(DataError::Settings(format!(
            "{}: holds {one} (`{first}`) and {other} (`{second}`); say which is meant with data.format={} or data.format={}",
            shown(folder),
            one.name(),
            other.name()
        ))),
    }
}

/// Other programs' names of the splits, in lower case. Sources: torchvision's and timm's ImageNet (`train`, `val`), Kaggle's
/// data sets (`valid`, `Training`, `Testing`).
const SPELLINGS: [(Split, &[&str]); 3] = [
    (Split::Train, &["train", "training"]),
    (Split::Validation, &["validation", "val", "valid"]),
    (Split::Test, &["test", "testing"]),
];

/// The split that a name stands for.
fn split_of(name: &str) -> Option<Split> {
    let lower = name.to_lowercase();
    SPELLINGS.iter().find(|(_, names)| names.contains(&lower.as_str())).map(|(split, _)| *split)
}

/// Whether a folder of this name is more likely a split than a class.
pub(crate) fn is_split_name(name: &str) -> bool {
    split_of(name).is_some()
}

/// A data set of folders.
struct Folders<'a> {
    config: &'a DataConfig,
    reports_validation: bool,
}

impl Folders<'_> {
    fn layout(&self) -> Result<Layout> {
        let DataConfig { path, train, test, validation, .. } = self.config;
        let usual = validation.as_deref().unwrap_or(Split::Validation.name());
        let (train_folder, test_folder) = (self.find(train)?, self.find(self.reported())?);
        let validation_folder = self.find(usual)?;
        let Some(train_folder) = train_folder else {
            if test_folder.is_some() || validation_folder.is_some() {
                return Err(self.missing("train", train));
            }
            return self.divided();
        };
        if validation.is_some() && validation_folder.is_none() {
            return Err(self.missing("validation", usual));
        }
        // ImageNet's layout: what is called validation there is what everybody reports on.
        let stands_in = validation.is_none() && split_of(self.reported()) == Some(Split::Test);
        let test_folder = test_folder.or_else(|| validation_folder.clone().filter(|_| stands_in));
        let chosen_on = validation_folder
            .filter(|folder| validation.is_some() || Some(folder) != test_folder.as_ref() && *folder != train_folder);
        let folder = |name: String| Source::Folder(path.join(name));
        let test = match (self.reports_validation, test_folder) {
            (true, _) => Source::Validation,
            (false, Some(name)) => folder(name),
            (false, None) => return Err(self.missing("test", test)),
        };
        Ok(Layout {
            folder: place::absolute(path),
            format: DataFormat::Folder,
            train: folder(train_folder),
            validation: chosen_on.map_or(Source::HeldOut, folder),
            test,
            divided: false,
        })
    }

    /// The name of what is reported on unless `data.test` asks for the validation part.
    fn reported(&self) -> &str {
        if self.reports_validation { Split::Test.name() } else { &self.config.test }
    }

    /// The folder of a split: the one of this name, or else the one with another spelling of it.
    fn find(&self, name: &str) -> Result<Option<String>> {
        let path = &self.config.path;
        let Some(split) = split_of(name) else {
            return Ok(path.join(name).is_dir().then(|| name.to_owned()));
        };
        if holds_folders(&path.join(name)) {
            return Ok(Some(name.to_owned()));
        }
        let mut found = self.splits()?;
        found.retain(|folder| split_of(folder) == Some(split));
        match &found[..] {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            several => Err(DataError::Settings(format!(
                "{}: {} may all be `{split}`; say which is meant with data.{split}=NAME, or rename the others",
                shown(path),
                quoted(several)
            ))),
        }
    }

    /// Folders that are named like splits and hold folders, as those of classes.
    fn splits(&self) -> Result<Vec<String>> {
        let folders = visible(&self.config.path)?.into_iter();
        Ok(folders.filter(|(name, path)| is_split_name(name) && holds_folders(path)).map(|(name, _)| name).collect())
    }

    fn missing(&self, part: &str, name: &str) -> DataError {
        let path = &self.config.path;
        let why = match (path.join(name).is_dir(), self.splits().unwrap_or_default()) {
            (true, _) => format!("`{name}` holds no folders of classes"),
            (false, found) if found.is_empty() => format!("there is no folder `{name}`"),
            (false, found) => format!("there is no folder `{name}`, but {}", quoted(&found)),
        };
        DataError::Settings(format!(
            "{}: no {part} images: {why}; name the folder with data.{part}=NAME, or give a folder of classes as data.path, which is \
             then divided",
            shown(path)
        ))
    }

    /// Folders that are splits more likely than classes, by a part of their names as in `seg_train`: of two splits or more, or none.
    fn alike_splits(&self) -> Result<Vec<String>> {
        let part = |name: &str| name.split(|letter: char| !letter.is_alphanumeric()).find_map(split_of);
        let folders =
            visible(&self.config.path)?.into_iter().filter(|(name, path)| !is_split_name(name) && path.is_dir());
        let found: Vec<(Split, String)> = folders.filter_map(|(name, _)| Some((part(&name)?, name))).collect();
        let is_one = found.iter().all(|(split, _)| *split == found[0].0);
        Ok(if is_one { Vec::new() } else { found.into_iter().map(|(_, name)| name).collect() })
    }

    /// A folder whose folders are the classes.
    fn divided(&self) -> Result<Layout> {
        let DataConfig { path, train, test, leave_out, validation, .. } = self.config;
        let splits = self.alike_splits()?;
        if let [one, ..] = &splits[..] {
            return Err(DataError::Settings(format!(
                "{}: {} look like splits, and would be taken for classes; name the folders with classes in them with data.train={one}/… and \
                 data.test=…, or rename those that are classes",
                shown(path),
                quoted(&splits)
            )));
        }
        let parts = [Split::Test, Split::Validation].map(Split::name);
        if leave_out.is_some() || validation.is_some() || !parts.contains(&test.as_str()) {
            return Err(DataError::Settings(format!(
                "{}: no folders `{train}` and `{test}` in it, so it is divided; then data.leave_out and data.validation have no \
                 meaning, and data.test is `{}`",
                shown(path),
                parts.join("` or `")
            )));
        }
        Ok(Layout {
            folder: place::absolute(path),
            format: DataFormat::Folder,
            train: Source::Folder(path.clone()),
            validation: Source::HeldOut,
            test: if self.reports_validation { Source::Validation } else { Source::HeldOut },
            divided: true,
        })
    }
}

fn holds_folders(folder: &Path) -> bool {
    folder.is_dir() && visible(folder).is_ok_and(|entries| entries.iter().any(|(_, path)| path.is_dir()))
}

/// Names in backquotes.
pub(crate) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
