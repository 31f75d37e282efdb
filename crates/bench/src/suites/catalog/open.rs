//! A published data set, opened.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use robustify_augment::{Corruption, Profile};
use robustify_data::folder::{OTHER_CLASS, Options, Verify, is_picture, visible};
use robustify_data::{
    DataError, ImageFolder, Images, Preprocess, Relabelled, Shards, Skipped, Split, cifar, idx, listed, split,
    tell_left_out,
};
use robustify_rng::Key;
use robustify_watch::{Watch, shown};

use super::cells::{Asked, CellFiles, Finish};
use super::find::{Found, folders_in};
use super::published::{Plain, Published};
use super::{Classes, Declaration, Geometry, Kind, Layout, Part, unlike};
use crate::BenchError;
use crate::suite::{Cell, Shift, Suite};
use crate::suites::{Corrupted, CorruptedConfig};

/// How a suite is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// The model's pixel steps; its normalisation is not used.
    pub geometry: Preprocess,
    /// Images of every cell, drawn by key; 0 for all.
    pub images: usize,
    /// Severities of corrupted cells.
    pub severities: Vec<u8>,
    /// Corruptions, of those that the suite has; all of them for none.
    pub corruptions: Option<Vec<Corruption>>,
    /// Seed of the choice of images, and of corruptions that are made in memory.
    pub seed: u64,
}

impl Default for Opening {
    fn default() -> Self {
        let geometry = "".parse().expect("nothing is a preprocessing");
        Self { geometry, images: 0, severities: vec![1, 2, 3, 4, 5], corruptions: None, seed: 0 }
    }
}

impl Opening {
    fn choose(&self, ids: &[u64]) -> Vec<usize> {
        let count = if self.images == 0 { ids.len() } else { self.images };
        split::sample_of(ids, count, Key::new(self.seed, "benchmark images"))
    }
}

impl Declaration {
    /// Opens the suite below `root`. Says how many images it has and what a reader has to know of it; warns of files that were left out, and of
    /// cells that are missing.
    ///
    /// # Errors
    /// Data that is not there or does not fit its description, a corruption that the suite does not have, or a severity outside 1 to 5.
    pub fn open(
        &'static self,
        root: &Path,
        opening: &Opening,
        watch: &dyn Watch,
    ) -> Result<Box<dyn Suite>, BenchError> {
        let found = self.found(root, Part::Test)?;
        let mut said = Vec::new();
        let (inner, after): (Box<dyn Suite>, Preprocess) = match self.kind {
            Kind::OnDisk { clean, .. } => {
                (Box::new(self.cells(&found, root, opening, clean, &mut said, watch)?), Opening::default().geometry)
            }
            Kind::Generated { profile, .. } => self.generated(&found, opening, profile, &mut said, watch)?,
            Kind::Clean | Kind::Collected | Kind::Transfer => {
                (Box::new(self.plain(&found, opening, &mut said, watch)?), Opening::default().geometry)
            }
        };
        said.extend(self.about_classes());
        for line in &said {
            watch.say(&format!("{}: {line}", self.title));
        }
        said.extend(self.notes.iter().map(|&note| note.to_owned()));
        Ok(Box::new(Published::new(self, said, inner, after)))
    }

    /// Images as they are.
    fn plain(
        &self,
        found: &Found,
        opening: &Opening,
        said: &mut Vec<String>,
        watch: &dyn Watch,
    ) -> Result<Plain, BenchError> {
        let images = self.part(found, Part::Test)?;
        self.tell(found, &images, said, watch)?;
        let ids: Vec<u64> = (0..images.len()).map(|index| images.id(index)).collect::<Result<_, _>>()?;
        let steps = self.steps(&opening.geometry.geometry())?;
        said.push(format!("pictures: {}", steps_said(&steps)));
        let shift = match self.kind {
            Kind::Clean => Shift::Clean,
            Kind::Transfer => Shift::Transfer,
            _ => Shift::Collected,
        };
        Ok(Plain::new(images, steps, Cell::new(shift), opening.choose(&ids)))
    }

    /// Images corrupted in memory, and the pixel steps behind the corruption.
    fn generated(
        &self,
        found: &Found,
        opening: &Opening,
        profile: Profile,
        said: &mut Vec<String>,
        watch: &dyn Watch,
    ) -> Result<(Box<dyn Suite>, Preprocess), BenchError> {
        let images = self.part(found, Part::Test)?;
        self.tell(found, &images, said, watch)?;
        let geometry = opening.geometry.geometry();
        let (before, after) = match self.geometry {
            Geometry::Native => (Opening::default().geometry, geometry),
            _ => (self.steps(&geometry)?, Opening::default().geometry),
        };
        let config = self.corrupted(opening, profile, &before, &images)?;
        let corrupted = Corrupted::new(self.name, &config, images, before.clone())?;
        let then = if after.steps().is_empty() { String::new() } else { format!(", then {after}") };
        said.push(format!(
            "made in memory: pictures {}, then corruptions with the constants `{}`, frost from {}{then}",
            steps_said(&before),
            config.profile,
            corrupted.frost(),
        ));
        Ok((Box::new(corrupted), after))
    }

    /// The images of a part, for probes and checks, with the suite's classes; not of suites that are corrupted on disk.
    ///
    /// # Errors
    /// As for [`Declaration::open`].
    pub fn images(&self, root: &Path, part: Part) -> Result<Images, BenchError> {
        let found = self.found(root, part)?;
        self.part(&found, part)
    }

    pub(super) fn found(&self, root: &Path, part: Part) -> Result<Found, BenchError> {
        self.find_part(root, part)?.ok_or_else(|| BenchError::NoSuite {
            title: self.title,
            root: shown(root),
            folders: self.folders.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            layouts: self.layouts.iter().map(Layout::about).collect::<Vec<_>>().join(", or "),
            origin: self.source,
        })
    }

    /// The images of a part that was found.
    fn part(&self, found: &Found, part: Part) -> Result<Images, BenchError> {
        let names = self.classes.names();
        let split = if part == Part::Test { Split::Test } else { Split::Train };
        let images: Images = match found.layout {
            Layout::Classes { .. } => {
                let folders: Vec<String> = folders_in(&found.place)?.into_iter().map(|(name, _)| name).collect();
                let classes = self.classes.folders(&folders);
                let options = Options { verify: Verify::Listing, classes, ..Options::default() };
                Arc::new(ImageFolder::open(&found.place, options)?)
            }
            Layout::Cifar(_) => Arc::new(cifar::open(&found.place, split)?),
            Layout::Idx => Arc::new(idx::open(&found.place, split, names.clone())?),
            Layout::Shards(_) => {
                let names = names.clone().map_or_else(|| class_names(&found.place), Ok)?;
                Arc::new(Shards::open(&found.place, names)?)
            }
            Layout::Own(own) => (own.open)(&found.folder, part)?,
            Layout::Cells(_) | Layout::Arrays => {
                return Err(unlike(&found.place, "images without corruptions", "cells of corruptions").into());
            }
        };
        match names {
            Some(names) if images.classes() != names => {
                if images.classes().len() != names.len() {
                    let (expected, there) = (format!("{} classes", names.len()), images.classes().len().to_string());
                    return Err(unlike(&found.place, &expected, &there).into());
                }
                let places = (0..names.len()).collect();
                Ok(Arc::new(Relabelled::new(images, names, places)?))
            }
            _ => Ok(images),
        }
    }

    /// The published cells.
    fn cells(
        &self,
        found: &Found,
        root: &Path,
        opening: &Opening,
        clean: Option<&'static Self>,
        said: &mut Vec<String>,
        watch: &dyn Watch,
    ) -> Result<CellFiles, BenchError> {
        let geometry = opening.geometry.geometry();
        let finish = match self.geometry {
            Geometry::Finished => Finish::Resize(geometry.clone()),
            _ => Finish::Steps(geometry.clone()),
        };
        said.push(format!("pictures: {}", finish.about()));
        let clean = match clean.map(|clean| clean.uncorrupted(root, &geometry)) {
            Some(Ok(clean)) => clean,
            // Without them there is no clean cell, and everything else goes on.
            Some(Err(error)) => {
                watch.warn(&format!("{}: {error}", self.title));
                None
            }
            None => None,
        };
        let had_clean = clean.is_some();
        let asked = Asked {
            classes: &self.classes,
            names: self.classes.names().unwrap_or_default(),
            corruptions: self.chosen(opening)?,
            severities: &opening.severities,
            finish,
            clean,
            choose: &|ids: &[u64]| opening.choose(ids),
        };
        let (cells, missing, skipped) = match found.layout {
            Layout::Arrays => CellFiles::arrays(&found.place, asked)?,
            _ => CellFiles::folders(&found.place, asked)?,
        };
        tell_left_out(&skipped, None, watch)?;
        if !missing.is_empty() {
            let text =
                format!("{} cells are missing, and no mean is over all of them: {}", missing.len(), missing.join(", "));
            watch.warn(&format!("{}: {text}", self.title));
            said.push(text);
        }
        said.push(format!("{} images in every cell", cells.len()));
        let about = match (cells.has_clean(), had_clean) {
            (true, _) => "the clean cell is of the same images without corruption",
            (false, true) => "without a clean cell: the clean images that were found are others, or some are missing",
            (false, false) => "without a clean cell: the clean images were not found beside it",
        };
        said.push(about.to_owned());
        Ok(cells)
    }

    /// Its images and what is done to them, for the clean cell of a data set that was made of them; none if they are not there.
    fn uncorrupted(&self, root: &Path, geometry: &Preprocess) -> Result<Option<(Images, Preprocess)>, BenchError> {
        let Some(found) = self.find(root)? else { return Ok(None) };
        Ok(Some((self.part(&found, Part::Test)?, self.steps(geometry)?)))
    }

    /// The corruptions that are asked for.
    fn chosen(&self, opening: &Opening) -> Result<Vec<Corruption>, BenchError> {
        let own = self.corruptions();
        let Some(asked) = &opening.corruptions else { return Ok(own.to_vec()) };
        match asked.iter().find(|corruption| !own.contains(corruption)) {
            Some(other) => {
                let known: Vec<&str> = own.iter().map(|corruption| corruption.name()).collect();
                let text = format!("{} has no corruption `{other}`; it has {}", self.title, known.join(", "));
                Err(DataError::Settings(text).into())
            }
            None => Ok(asked.clone()),
        }
    }

    /// The pixel steps before a corruption.
    fn steps(&self, geometry: &Preprocess) -> Result<Preprocess, DataError> {
        match self.geometry {
            Geometry::WithoutBorder(border) => {
                Ok(format!("crop_border({border})").parse::<Preprocess>()?.then(geometry))
            }
            _ => Ok(geometry.clone()),
        }
    }

    fn corrupted(
        &self,
        opening: &Opening,
        profile: Profile,
        before: &Preprocess,
        images: &Images,
    ) -> Result<CorruptedConfig, BenchError> {
        let size = match images.is_empty() {
            true => None,
            false => Some(before.size(images.dimensions(0)?).map_err(|error| error.of_image(images, 0))?),
        };
        // Away from the size that constants were made for, lengths are scaled: the official ones would be another benchmark anyway.
        let native = self.geometry == Geometry::Native
            || profile.native_side().is_none_or(|side| size.is_none_or(|size| size == (side, side)));
        let profile = if native { profile } else { Profile::Scaled };
        Ok(CorruptedConfig {
            profile: profile.name().to_owned(),
            severities: opening.severities.clone(),
            corruptions: Some(self.chosen(opening)?.iter().map(ToString::to_string).collect()),
            classes: None,
            images: opening.images,
            clean_images: opening.images,
            seed: opening.seed,
            shifts: Vec::new(),
            transfer: 0,
        })
    }

    /// What a mask or a map does to a model's logits.
    fn about_classes(&self) -> Option<String> {
        let names = self.classes.names()?.len();
        match self.classes {
            Classes::Subset(_) => {
                let others = super::classes::imagenet().len() - names;
                Some(format!(
                    "of ImageNet's 1,000 logits the {others} of other classes are left out before the largest is sought"
                ))
            }
            Classes::ObjectNet => Some(format!(
                "each of the {names} classes has the largest of the logits of ImageNet's classes that it stands for"
            )),
            _ => None,
        }
    }

    /// Says how many images there are, and warns of what was left out.
    fn tell(&self, found: &Found, images: &Images, said: &mut Vec<String>, watch: &dyn Watch) -> Result<(), DataError> {
        let there: BTreeSet<usize> = images.labels().iter().copied().collect();
        said.push(format!("{} images of {} classes in {}", images.len(), there.len(), shown(&found.place)));
        // Folders of classes that the suite does not have are no mistake of anybody.
        let others: Vec<&Skipped> = images.skipped().iter().filter(|skipped| is_other_class(skipped)).collect();
        if matches!(self.classes, Classes::ObjectNet) && !others.is_empty() {
            let mut count = 0;
            for folder in &others {
                count += visible(&folder.path)?.iter().filter(|(_, path)| is_picture(path)).count();
            }
            said.push(format!(
                "an accuracy is of these {} images: {count} images of {} classes that ImageNet does not have are in no denominator",
                images.len(),
                others.len()
            ));
        }
        let left: Vec<Skipped> = images.skipped().iter().filter(|skipped| !is_other_class(skipped)).cloned().collect();
        tell_left_out(&left, None, watch)
    }
}

/// Whether a folder was left out since the suite does not have its class.
fn is_other_class(skipped: &Skipped) -> bool {
    skipped.reason == OTHER_CLASS
}

fn steps_said(steps: &Preprocess) -> String {
    if steps.steps().is_empty() { "as they are".to_owned() } else { steps.to_string() }
}

/// Names of classes beside shards that do not name them.
fn class_names(place: &Path) -> Result<Vec<String>, DataError> {
    let around = place.parent().unwrap_or(place);
    let files = [place, around].map(|folder| [folder.join("classnames.txt"), folder.join("classes.txt")]);
    match files.as_flattened().iter().find(|path| path.is_file()) {
        Some(path) => listed::lines(path),
        None => Err(unlike(place, "classnames.txt beside the shards, with a name a line", "no such file")),
    }
}
