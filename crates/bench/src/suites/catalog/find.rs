//! Where a data set lies below the folder of all data sets.

use std::path::{Path, PathBuf};

use robustify_augment::Corruption;
use robustify_data::folder::{holds_pictures, is_picture, visible};
use robustify_data::{DataError, shards};

use super::{Classes, Declaration, Kind, Layout, Part};
use crate::BenchError;

/// A data set that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its folder.
    pub folder: PathBuf,
    /// The folder in it that holds what is read.
    pub place: PathBuf,
    /// How its files lie.
    pub layout: &'static Layout,
}

impl Declaration {
    /// Looks below `root`, the folder of all data sets, and into it where it has the data set's own name. None if there is nothing of it.
    ///
    /// # Errors
    /// A folder that cannot be listed, or one that holds its images in a way that is not read, with the way out.
    pub fn find(&self, root: &Path) -> Result<Option<Found>, BenchError> {
        self.find_part(root, Part::Test)
    }

    pub(super) fn find_part(&self, root: &Path, part: Part) -> Result<Option<Found>, BenchError> {
        let folders = self.candidates(root)?;
        for folder in &folders {
            for layout in self.layouts {
                if let Some(place) = self.place(layout, folder, part)? {
                    return Ok(Some(Found { folder: folder.clone(), place, layout }));
                }
            }
        }
        match folders.iter().find_map(|folder| self.misfit(folder)) {
            Some(found) => {
                let folder = folders[0].clone();
                let expected = self.layouts.iter().map(Layout::about).collect::<Vec<_>>().join(", or ");
                let remedy = "lay its files out so, as its source and its own tools do";
                Err(DataError::Format { path: folder, what: self.title, expected, found, remedy }.into())
            }
            None => Ok(None),
        }
    }

    /// The folders that may be the data set's, by name.
    fn candidates(&self, root: &Path) -> Result<Vec<PathBuf>, BenchError> {
        let mut found: Vec<PathBuf> = Vec::new();
        if !root.is_dir() {
            return Ok(found);
        }
        let own = root.file_name().map(|name| same(&name.to_string_lossy()));
        for name in self.folders {
            let mut places = vec![root.to_owned()];
            for part in name.split('/') {
                let mut below = Vec::new();
                for place in places {
                    let folders = visible(&place)?.into_iter().filter(|(_, path)| path.is_dir());
                    below.extend(folders.filter(|(name, _)| same(name) == same(part)).map(|(_, path)| path));
                }
                places = below;
            }
            found.extend(places);
        }
        if own
            .is_some_and(|own| self.folders.iter().any(|name| name.rsplit('/').next().map(same).as_ref() == Some(&own)))
        {
            found.push(root.to_owned());
        }
        found.dedup();
        Ok(found)
    }

    /// Where a layout has what is read, below a folder.
    fn place(&self, layout: &Layout, folder: &Path, part: Part) -> Result<Option<PathBuf>, DataError> {
        let first = |places: &[&str], holds: &dyn Fn(&Path) -> Result<bool, DataError>| {
            for place in places.iter().map(|place| folder.join(place)).filter(|place| place.is_dir()) {
                if holds(&place)? {
                    return Ok(Some(tidy(&place)));
                }
            }
            Ok(None)
        };
        let here = |fits: bool| Ok(fits.then(|| folder.to_owned()));
        match layout {
            Layout::Classes { test, train } => first(if part == Part::Test { test } else { train }, &|place| {
                Ok(self.holds_classes(&folders_in(place)?))
            }),
            Layout::Cells(places) => first(places, &|place| Ok(!corruptions_in(place)?.is_empty())),
            Layout::Arrays => here(
                folder.join("labels.npy").is_file()
                    && self.corruptions().iter().any(|corruption| folder.join(format!("{corruption}.npy")).is_file()),
            ),
            Layout::Cifar(classes) => {
                let names = if *classes == 10 { "batches.meta.txt" } else { "fine_label_names.txt" };
                let below = ["", "cifar-10-batches-bin", "cifar-100-binary"];
                first(&below, &|place| Ok(place.join(names).is_file()))
            }
            Layout::Idx => here(
                visible(folder)?.iter().any(|(name, _)| name.trim_end_matches(".gz").ends_with("-images-idx3-ubyte")),
            ),
            Layout::Shards(places) => {
                let places = if part == Part::Test { places } else { &["train"][..] };
                first(places, &|place| Ok(!shards::shards_in(place)?.is_empty()))
            }
            Layout::Own(own) => {
                let is_there = |mark: &&str| mark.split('|').any(|mark| folder.join(mark).exists());
                here(own.marks.iter().all(is_there))
            }
        }
    }

    /// Whether folders of these names are those of its classes.
    fn holds_classes(&self, folders: &[(String, PathBuf)]) -> bool {
        match self.classes {
            Classes::Own => folders.iter().any(|(_, path)| holds_pictures(path)),
            _ => {
                let names: Vec<String> = folders.iter().map(|(name, _)| name.clone()).collect();
                self.classes.folders(&names).is_some()
            }
        }
    }

    /// What a folder of the right name holds instead of the data set; none if it may hold anything else.
    fn misfit(&self, folder: &Path) -> Option<String> {
        let places = self.layouts.iter().flat_map(|layout| match layout {
            Layout::Classes { test, .. } => *test,
            _ => &[],
        });
        for place in places.map(|place| folder.join(place)).filter(|place| place.is_dir()) {
            let pictures = visible(&place).ok()?.iter().filter(|(_, path)| is_picture(path)).count();
            if pictures > 0 {
                return Some(format!("{pictures} pictures and no folders of classes in {}", tidy(&place).display()));
            }
        }
        let parquet =
            |place: &Path| visible(place).is_ok_and(|files| files.iter().any(|(name, _)| name.ends_with(".parquet")));
        if ["", "data", "test", "val"].iter().any(|place| parquet(&folder.join(place))) {
            return Some(
                "Parquet files, which are not read; take its WebDataset form, or write the images into folders"
                    .to_owned(),
            );
        }
        let pickles = ["data_batch_1", "test", "cifar-10-batches-py/data_batch_1", "cifar-100-python/test"];
        let pickled = self.layouts.iter().any(|layout| matches!(layout, Layout::Cifar(_)))
            && pickles.iter().any(|name| folder.join(name).is_file());
        pickled.then(|| "the version for Python, whose pickles are not read; fetch the binary version".to_owned())
    }

    /// The corruptions of its cells.
    pub(super) fn corruptions(&self) -> &'static [Corruption] {
        match self.kind {
            Kind::OnDisk { corruptions, .. } | Kind::Generated { corruptions, .. } => corruptions,
            _ => &[],
        }
    }
}

/// The names and paths of the folders in a folder.
pub(super) fn folders_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    Ok(visible(folder)?.into_iter().filter(|(_, path)| path.is_dir()).collect())
}

/// The folders of corruptions in a folder, or in a folder a group in it.
pub(super) fn corruptions_in(folder: &Path) -> Result<Vec<(Corruption, PathBuf)>, DataError> {
    let of = |name: &str| Corruption::every().find(|corruption| same(corruption.name()) == same(name));
    let mut found = Vec::new();
    for (name, path) in folders_in(folder)? {
        match of(&name) {
            Some(corruption) => found.push((corruption, path)),
            None => {
                let below = folders_in(&path)?.into_iter();
                found.extend(below.filter_map(|(name, path)| Some((of(&name)?, path))));
            }
        }
    }
    Ok(found)
}

/// A name without case and anything but letters and digits.
fn same(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A path without a separator at its end.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}
