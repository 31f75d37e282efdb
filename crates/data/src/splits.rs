//! From a data section of a configuration to sets of images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use robustify_rng::Key;
use robustify_watch::{Watch, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::folder::{OnBad, Options};
use crate::layout::{Layout, Source};
use crate::{ImageFolder, Images, Relabelled, Skipped, Subset, cifar, idx, left_out, split};

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// How the files are laid out. Default: as the names of the files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// Folder of the data set; the splits are files or folders in it.
    pub path: PathBuf,
    /// Name of the split to train on. This and the other two also stand for other spellings, see [`Layout::of`].
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
    /// The classes whose images are used, in the order of their labels; the images of others are passed over. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// MNIST's IDX files, plain or gzipped.
    Idx,
    /// A folder a class.
    Folder,
    /// CIFAR-10 or CIFAR-100 binary files.
    Cifar,
}

impl DataFormat {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idx => "idx",
            Self::Folder => "folder",
            Self::Cifar => "cifar",
        }
    }
}

impl std::fmt::Display for DataFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idx => "IDX files",
            Self::Folder => "folders of classes",
            Self::Cifar => "CIFAR's files",
        })
    }
}

/// The parts of a data set.
pub struct Splits {
    /// To train on.
    pub train: Images,
    /// To choose settings on.
    pub validation: Images,
    /// To report on.
    pub test: Images,
    /// Where the parts come from.
    pub layout: Layout,
    /// What was left out of them, each entry once.
    pub skipped: Vec<Skipped>,
}

impl Splits {
    /// Opens all parts, and says in one line what they were taken to be ([`Layout::of`]) and, by reasons, what was left out. A
    /// part of the training images stands in for a validation split that is not there, and a folder of classes without splits
    /// is divided: seven tenths to train on, one to choose settings on, two to report on. Where `data.test` asks for the
    /// validation part, that is reported on, held out or not.
    ///
    /// # Errors
    /// Files that cannot be read, splits that are not there, too few images to hold some out.
    pub fn open(config: &DataConfig, watch: &dyn Watch) -> Result<Self> {
        Self::open_listing(config, None, watch)
    }

    /// As [`Splits::open`]; the names of what was left out are written to `list` when they are too many for warnings.
    ///
    /// # Errors
    /// As for [`Splits::open`], or a list that cannot be written.
    pub fn open_listing(config: &DataConfig, list: Option<&Path>, watch: &dyn Watch) -> Result<Self> {
        let layout = Layout::of(config)?;
        if layout.train == layout.test {
            watch
                .warn(&format!("data.train and data.test are both `{}`: what is measured was trained on", config.test));
        }
        if layout.train == layout.validation {
            watch.warn(&format!(
                "data.train and data.validation are both `{}`: rules are fitted to what was trained on, and settings cannot be chosen",
                config.train
            ));
        }
        for (key, asked, found) in layout.respelled(config) {
            watch.warn(&format!(
                "{}: `{found}` is taken for data.{key}, `{asked}`; data.{key}={found} says so",
                shown(&config.path)
            ));
        }
        let opened = open_train(config, &layout)?;
        let (mut train, mut test) = (Arc::clone(&opened), None);
        if layout.divided {
            let (rest, reported) = divide(train, 5, "test images")?;
            (train, test) = (rest, Some(reported));
        }
        let (train, validation) = match &layout.validation {
            Source::HeldOut => divide(train, if layout.divided { 8 } else { 10 }, "validation images")?,
            source => (Arc::clone(&train), open_source(source, config, layout.format, Some(&train))?),
        };
        let test = match (&layout.test, test) {
            (Source::Validation, _) => Arc::clone(&validation),
            (Source::HeldOut, Some(reported)) => reported,
            (source, _) => open_source(source, config, layout.format, Some(&train))?,
        };
        let skipped = left_out::of([&opened, &validation, &test]);
        let [train, validation, test] = of_classes([train, validation, test], config)?;
        let splits = Self { train, validation, test, layout, skipped };
        watch.say(&splits.understood(config));
        left_out::tell(&splits.skipped, list, watch)?;
        Ok(splits)
    }

    /// What the parts are, in a line.
    fn understood(&self, config: &DataConfig) -> String {
        let place = |source: &Source| match source {
            Source::Folder(folder) => {
                let below = folder.strip_prefix(&config.path).unwrap_or(folder);
                if below.as_os_str().is_empty() { String::new() } else { format!(" of `{}`", shown(below)) }
            }
            Source::Files(split) => format!(" of `{split}`"),
            Source::HeldOut => " held out".to_owned(),
            Source::Validation => ", the validation part".to_owned(),
        };
        let Self { train, validation, test, layout, .. } = self;
        format!(
            "{}: {}{}: {} classes; training {}{}, validation {}{}, test {}{}",
            shown(&config.path),
            layout.format,
            if layout.divided { " without splits, divided 7:1:2" } else { "" },
            train.classes().len(),
            train.len(),
            place(&layout.train),
            validation.len(),
            place(&layout.validation),
            test.len(),
            place(&layout.test),
        )
    }
}

/// Opens the images to train on, without those to be left out, and says what they are.
///
/// # Errors
/// As for [`Splits::open`].
pub fn train(config: &DataConfig, watch: &dyn Watch) -> Result<Images> {
    let images = open_train(config, &Layout::of(config)?)?;
    left_out::tell(&left_out::of([&images]), None, watch)?;
    Ok(images)
}

/// Opens the images to train on, without those to be left out and with none held out, and those to report on.
///
/// # Errors
/// As for [`Splits::open`]; a data set without images of its own to report on.
pub fn train_and_test(config: &DataConfig, watch: &dyn Watch) -> Result<[Images; 2]> {
    let layout = Layout::of(config)?;
    let source = match &layout.test {
        Source::Validation => &layout.validation,
        source => source,
    };
    if *source == Source::HeldOut {
        return Err(DataError::Settings(format!(
            "{}: no test images beside the training images; folders `train` and `test` are expected",
            shown(&config.path)
        )));
    }
    let train = open_train(config, &layout)?;
    let test = open_source(source, config, layout.format, Some(&train))?;
    left_out::tell(&left_out::of([&train, &test]), None, watch)?;
    of_classes([train, test], config)
}

/// Opens what is reported on and nothing else, see [`layout::reported`](crate::layout::reported), and says what it is.
///
/// # Errors
/// As for [`Splits::open`]; that there are no training images is none.
pub fn reported(config: &DataConfig, watch: &dyn Watch) -> Result<Images> {
    let (source, format) = crate::layout::reported(config)?;
    let images = open_source(&source, config, format, None)?;
    left_out::tell(&left_out::of([&images]), None, watch)?;
    let [images] = of_classes([images], config)?;
    let place = match &source {
        Source::Folder(folder) => shown(folder),
        _ => shown(&config.path),
    };
    watch.say(&format!("{place}: {format}: {} images of {} classes", images.len(), images.classes().len()));
    Ok(images)
}

/// The parts with the images of [`DataConfig::only`] alone.
fn of_classes<const N: usize>(parts: [Images; N], config: &DataConfig) -> Result<[Images; N]> {
    let Some(only) = &config.only else { return Ok(parts) };
    let chosen = parts.into_iter().map(|part| Ok(Arc::new(Relabelled::only(part, only)?) as Images));
    let chosen: Vec<Images> = chosen.collect::<Result<_>>()?;
    Ok(chosen.try_into().unwrap_or_else(|_| unreachable!("as many as there were")))
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

fn open_train(config: &DataConfig, layout: &Layout) -> Result<Images> {
    let images = open_source(&layout.train, config, layout.format, None)?;
    let Some(file) = &config.leave_out else { return Ok(images) };
    let indices = split::read_indices(file).map_err(|error| DataError::Settings(format!("data.leave_out: {error}")))?;
    let kept = split::except(images.len(), &indices)
        .map_err(|error| DataError::Settings(format!("data.leave_out: {}: {error}", shown(file))))?;
    Ok(Arc::new(Subset::new(images, kept)?))
}

/// Opens one part, whose labels mean what those of the images that it is `like` mean.
fn open_source(source: &Source, config: &DataConfig, format: DataFormat, like: Option<&Images>) -> Result<Images> {
    let classes = config.classes.clone().or_else(|| like.map(|images| images.classes().to_vec()));
    Ok(match (source, format) {
        (Source::Folder(folder), _) => {
            let on_bad = if config.strict { OnBad::Error } else { OnBad::Skip };
            Arc::new(ImageFolder::open(folder, Options { on_bad, classes, ..Options::default() })?)
        }
        (Source::Files(split), DataFormat::Cifar) => Arc::new(cifar::open(&config.path, *split)?),
        (Source::Files(split), _) => Arc::new(idx::open(&config.path, *split, classes)?),
        (Source::HeldOut | Source::Validation, _) => {
            return Err(DataError::Settings("images that are held out have no files; please report it".to_owned()));
        }
    })
}
