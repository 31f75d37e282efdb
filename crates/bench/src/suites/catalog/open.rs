//! A published data set, opened.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use robustify_augment::{Corruption, Profile};
use robustify_data::folder::{Options, Verify, is_picture, visible};
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
        let geometry = opening.geometry.geometry();
        let mut notes: Vec<String> = self.notes.iter().map(|&note| note.to_owned()).collect();
        let mut said = Vec::new();
        let suite: Published = match self.kind {
            Kind::OnDisk { clean, .. } => {
                let (cells, more) = self.cells(&found, root, opening, clean, watch)?;
                said.extend(more);
                let classes = cells.classes().to_vec();
                Published::new(self, classes, Vec::new(), Box::new(cells), Opening::default().geometry)
            }
            Kind::Generated { profile, .. } => {
                let images = self.part(&found, Part::Test)?;
                self.tell(&found, &images, &mut said, watch)?;
                let (before, after) = match self.geometry {
                    Geometry::Native => (Opening::default().geometry, geometry),
                    _ => (self.steps(&geometry)?, Opening::default().geometry),
                };
                let config = self.corrupted(opening, profile, &before, &images)?;
                let classes = images.classes().to_vec();
                let corrupted = Corrupted::new(self.name, &config, images, before.clone())?;
                said.push(format!(
                    "made in memory: pictures {}, then corruptions with the constants `{}`, frost from {}{}",
                    steps_said(&before),
                    config.profile,
                    corrupted.frost(),
                    if after.steps().is_empty() { String::new() } else { format!(", then {}", after.geometry()) }
                ));
                Published::new(self, classes, Vec::new(), Box::new(corrupted), after)
            }
            Kind::Clean | Kind::Collected | Kind::Transfer => {
                let images = self.part(&found, Part::Test)?;
                self.tell(&found, &images, &mut said, watch)?;
                let ids: Vec<u64> = (0..images.len()).map(|index| images.id(index)).collect::<Result<_, _>>()?;
                let steps = self.steps(&geometry)?;
                said.push(format!("pictures: {}", steps_said(&steps)));
                let shift = match self.kind {
                    Kind::Clean => Shift::Clean,
                    Kind::Transfer => Shift::Transfer,
                    _ => Shift::Collected,
                };
                let classes = images.classes().to_vec();
                let plain = Plain::new(images, steps, Cell::new(shift), opening.choose(&ids));
                Published::new(self, classes, Vec::new(), Box::new(plain), Opening::default().geometry)
            }
        };
        said.extend(self.about_classes());
        for line in &said {
            watch.say(&format!("{}: {line}", self.title));
        }
        said.append(&mut notes);
        Ok(Box::new(Published { notes: said, ..suite }))
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

    /// The published cells, and what has to be said of them.
    fn cells(
        &self,
        found: &Found,
        root: &Path,
        opening: &Opening,
        clean: Option<&'static Self>,
        watch: &dyn Watch,
    ) -> Result<(CellFiles, Vec<String>), BenchError> {
        let geometry = opening.geometry.geometry();
        let finish = match self.geometry {
            Geometry::Finished => Finish::Resize(geometry.clone()),
            _ => Finish::Steps(geometry.clone()),
        };
        let mut said = vec![format!("pictures: {}", finish.about())];
        let clean = match clean.map(|clean| clean.find(root).map(|found| (clean, found))) {
            Some(Ok((clean, Some(found)))) => Some((clean.part(&found, Part::Test)?, clean.steps(&geometry)?)),
            Some(Err(error)) => return Err(error),
            _ => None,
        };
        let had_clean = clean.is_some();
        let choose = |ids: &[u64]| opening.choose(ids);
        let names = self.classes.names().unwrap_or_default();
        let asked = Asked {
            classes: &self.classes,
            names,
            corruptions: self.chosen(opening)?,
            severities: &opening.severities,
            finish,
            clean,
            choose: &choose,
        };
        let (cells, missing) = match found.layout {
            Layout::Arrays => CellFiles::arrays(&found.place, asked)?,
            _ => {
                let (cells, missing, skipped) = CellFiles::folders(&found.place, asked)?;
                tell_left_out(&skipped, None, watch)?;
                (cells, missing)
            }
        };
        if !missing.is_empty() {
            let text =
                format!("{} cells are missing, and no mean is over all of them: {}", missing.len(), missing.join(", "));
            watch.warn(&format!("{}: {text}", self.title));
            said.push(text);
        }
        said.push(format!("{} images in every cell", cells.len()));
        said.push(match (cells.has_clean(), had_clean) {
            (true, _) => "the clean cell is of the same images without corruption".to_owned(),
            (false, true) => {
                "without a clean cell: the clean images that were found are others, or some are missing".to_owned()
            }
            (false, false) => "without a clean cell: the clean images were not found beside it".to_owned(),
        });
        Ok((cells, said))
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
    skipped.reason == "is not in the list of classes"
}

fn steps_said(steps: &Preprocess) -> String {
    if steps.steps().is_empty() { "as they are".to_owned() } else { steps.geometry().to_string() }
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
