//! From a data section of a configuration to sets of images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use robustify_rng::Key;
use robustify_watch::Watch;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::folder::{OnBad, Options};
use crate::{ImageFolder, Images, Split, Subset, cifar, idx, split};

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// How the files are laid out.
    pub format: DataFormat,
    /// Folder of the data set; the splits are files or folders in it.
    pub path: PathBuf,
    /// Name of the split to train on.
    #[serde(default = "train_split")]
    pub train: String,
    /// Name of the split to choose settings on. Without it, a tenth of the training split is held out.
    #[serde(default)]
    pub validation: Option<String>,
    /// Name of the split to report on.
    #[serde(default = "test_split")]
    pub test: String,
    /// Names of the classes, in the order of their labels. Default: the folders' names, or numbers.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// File with indices of training images to leave out, one a line.
    #[serde(default)]
    pub leave_out: Option<PathBuf>,
    /// Whether an unusable file is an error instead of a warning.
    #[serde(default)]
    pub strict: bool,
}

fn train_split() -> String {
    "train".into()
}

fn test_split() -> String {
    "test".into()
}

/// Layouts of data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// MNIST's IDX files, plain or gzipped.
    Idx,
    /// A folder a class.
    Folder,
    /// CIFAR-10 or CIFAR-100 binary files.
    Cifar,
}

/// The parts of a data set.
pub struct Splits {
    /// To train on.
    pub train: Images,
    /// To choose settings on.
    pub validation: Images,
    /// To report on.
    pub test: Images,
}

impl Splits {
    /// Opens all parts. A part of the training images stands in for a validation split that is not there, and a folder of
    /// classes without splits is divided: seven tenths to train on, one to choose settings on, two to report on. Where
    /// `data.test` asks for the validation part, that is reported on, held out or not.
    ///
    /// # Errors
    /// Files that cannot be read, splits that are not there, too few images to hold some out.
    pub fn open(config: &DataConfig, watch: &dyn Watch) -> Result<Self> {
        if config.train == config.test {
            watch
                .warn(&format!("data.train and data.test are both `{}`: what is measured was trained on", config.test));
        }
        let whole = &config.path;
        let has = |name: &str| whole.join(name).is_dir();
        if config.format == DataFormat::Folder && whole.is_dir() && !has(&config.train) && !has(&config.test) {
            return Self::divided(config, watch);
        }
        let mut train = open(config, &config.train, watch)?;
        if let Some(file) = &config.leave_out {
            train = leave_out(train, file)?;
        }
        let validation_part = Split::Validation.name();
        let usual = (config.format == DataFormat::Folder && has(validation_part)).then_some(validation_part);
        let (train, validation) = match config.validation.as_deref().or(usual) {
            Some(name) => {
                let validation = open_like(&train, config, name, watch)?;
                (train, validation)
            }
            None => divide(train, 10, "validation images")?,
        };
        let held_out = config.validation.is_none() && usual.is_none();
        let test = if config.test == validation_part && held_out {
            Arc::clone(&validation)
        } else {
            open_like(&train, config, &config.test, watch)?
        };
        Ok(Self { train, validation, test })
    }

    /// A folder whose folders are the classes.
    fn divided(config: &DataConfig, watch: &dyn Watch) -> Result<Self> {
        let DataConfig { path, train, test, .. } = config;
        let parts = [Split::Test, Split::Validation].map(Split::name);
        watch.say(&format!(
            "{}: no folders `{train}` and `{test}` in it, so its folders are the classes, divided into train, validation and \
             test 7:1:2",
            path.display()
        ));
        if config.leave_out.is_some() || !parts.contains(&test.as_str()) {
            return Err(DataError::Settings(format!(
                "{}: no folders `{train}` and `{test}` in it, so it is divided; then data.leave_out has no meaning, and data.test is \
                 `{}`",
                path.display(),
                parts.join("` or `")
            )));
        }
        let (rest, reported) = divide(open_folder(config, path, "images", watch)?, 5, "test images")?;
        let (train, validation) = divide(rest, 8, "validation images")?;
        let test = if test == Split::Validation.name() { Arc::clone(&validation) } else { reported };
        Ok(Self { train, validation, test })
    }
}

/// Opens a split whose labels mean what those of the training images mean.
///
/// # Errors
/// As [`open`], and classes that the training images do not have.
pub fn open_like(train: &Images, config: &DataConfig, name: &str, watch: &dyn Watch) -> Result<Images> {
    let classes = config.classes.clone().or_else(|| Some(train.classes().to_vec()));
    open(&DataConfig { classes, ..config.clone() }, name, watch)
}

/// All but one in `parts` images, and that one, chosen by identity.
fn divide(images: Images, parts: usize, purpose: &str) -> Result<(Images, Images)> {
    let held = split::sample(&*images, images.len() / parts, Key::new(0, purpose))?;
    if held.is_empty() {
        return Err(DataError::Settings(format!("{} images are too few to hold out {purpose}", images.len())));
    }
    let kept = split::except(images.len(), &held)?;
    Ok((Arc::new(Subset::new(Arc::clone(&images), kept)?), Arc::new(Subset::new(images, held)?)))
}

/// Opens one split and says what was left out of it.
///
/// # Errors
/// Files that cannot be read or are not of the format.
pub fn open(config: &DataConfig, name: &str, watch: &dyn Watch) -> Result<Images> {
    let images: Images = match config.format {
        DataFormat::Idx => Arc::new(idx::open(&config.path, name.parse::<Split>()?, config.classes.clone())?),
        DataFormat::Cifar => Arc::new(cifar::open(&config.path, name.parse::<Split>()?)?),
        DataFormat::Folder => return open_folder(config, &config.path.join(name), name, watch),
    };
    Ok(images)
}

fn open_folder(config: &DataConfig, folder: &Path, name: &str, watch: &dyn Watch) -> Result<Images> {
    let on_bad = if config.strict { OnBad::Error } else { OnBad::Skip };
    let options = Options { on_bad, classes: config.classes.clone(), ..Options::default() };
    let images: Images = Arc::new(ImageFolder::open(folder, options)?);
    for skipped in images.skipped() {
        watch.warn(&format!("{}: {}", skipped.path.display(), skipped.reason));
    }
    if !images.skipped().is_empty() {
        watch.warn(&format!(
            "{name}: {} images used, {} entries left out or empty",
            images.len(),
            images.skipped().len()
        ));
    }
    Ok(images)
}

/// The set without the images whose indices a file lists.
///
/// # Errors
/// A file that cannot be read, or an index past the end.
pub fn leave_out(images: Images, file: &Path) -> Result<Images> {
    let indices = split::read_indices(file)?;
    let kept = split::except(images.len(), &indices)?;
    Ok(Arc::new(Subset::new(images, kept)?))
}
