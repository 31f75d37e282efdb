//! What `diagnose` does: models side by side, what is kept of them, and the record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use robustify_data::{Images, Subset, split};
use robustify_device::Machine;
use robustify_report::diagnosis::{
    AttentionRecord, CurvatureRecord, DIAGNOSIS_SCHEMA, Diagnosed, Diagnosis, LandscapeRecord,
};
use robustify_report::{digest, lock_folder, write_atomic};
use robustify_rng::Key;
use robustify_watch::Watch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::attention;
use crate::landscape::{self, Batch, Grid};
use crate::subject::{Subject, are_numbers};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Images whose attention is averaged; none leaves attention out. Of a smaller data set all are taken, unless it has to be `exact`.
    pub images: Option<usize>,
    /// Where the loss is looked at; none leaves it out.
    pub grid: Option<Grid>,
    /// Images of the landscape.
    pub landscape_images: usize,
    /// The most steps for the largest curvature; zero leaves it out.
    pub curvature_steps: usize,
    /// Whether a data set with fewer images than asked for is an error: for attention, and for the landscape.
    pub exact: [bool; 2],
    /// Of the choice of images, the directions and the start of the power iteration.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { images: Some(256), grid: None, landscape_images: 128, curvature_steps: 0, exact: [false; 2], seed: 0 }
    }
}

/// A diagnosis to be made.
pub struct Job<'a> {
    /// The models.
    pub subjects: &'a [Subject],
    /// What they are shown.
    pub images: &'a Images,
    /// What is asked for.
    pub settings: &'a Settings,
    /// The command that makes it again, for the record.
    pub command: String,
    /// Folder of the results, and of what is kept of unfinished ones.
    pub out: &'a Path,
}

/// Folder in that of the results for what is kept.
const KEPT: &str = "kept";
/// Grows when the same weights and images give other numbers.
const REVISION: u32 = 1;

/// Looks at all models. What is found is kept at once, so that the same job continues where it was stopped.
///
/// # Errors
/// Settings and images that do not go together, models of which there is nothing to be found, files that cannot be written, and a
/// stop that was asked for.
pub fn diagnose(job: &Job<'_>, machine: &Machine, watch: &dyn Watch) -> Result<Diagnosis> {
    let Job { subjects, settings, .. } = *job;
    let faults = settings.grid.map(|grid| grid.faults()).unwrap_or_default();
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    ensure!(!subjects.is_empty(), "no model is named");
    ensure!(settings.images.is_some() || settings.grid.is_some(), "neither attention nor a landscape is asked for");
    let looked =
        settings.images.map(|count| chosen(job, count, ("attention", settings.exact[0]), watch)).transpose()?;
    let judged = settings
        .grid
        .map(|_| chosen(job, settings.landscape_images, ("the landscape", settings.exact[1]), watch))
        .transpose()?;
    let kept = job.out.join(KEPT);
    let _lock = lock_folder(job.out)?;
    std::fs::create_dir_all(&kept).with_context(|| kept.display().to_string())?;
    let mut models: Vec<Diagnosed> = Vec::new();
    for subject in subjects {
        let one = One { subject, identity: subject.identity()?, settings, kept: &kept, machine, watch };
        let mut found = one.diagnosed();
        match &looked {
            Some(images) if !subject.network.attention().is_empty() => found.attention = Some(one.attention(images)?),
            Some(_) => found.notes.push("It has no layers of self-attention; they are left out.".to_owned()),
            None => {}
        }
        if let Some(images) = &judged {
            match subject.places(images.classes()) {
                Ok(places) => {
                    if subject.classes.is_some() && are_numbers(images.classes()) {
                        found.notes.push(
                            "The data's classes have numbers for names; they are taken for its own in their order."
                                .into(),
                        );
                    }
                    found.landscape = one.landscape(images, &places)?;
                }
                Err(why) => found.notes.push(format!("Its landscape is left out: {why}.")),
            }
        }
        for note in &found.notes {
            watch.warn(&format!("{}: {note}", subject.name));
        }
        models.push(found);
    }
    if models.iter().all(|model| model.attention.is_none() && model.landscape.is_none()) {
        let why: Vec<String> =
            models.iter().map(|model| format!("{}: {}", model.name, model.notes.join(" "))).collect();
        bail!("there is nothing to be found. {}", why.join(" "));
    }
    unique(&mut models);
    Ok(Diagnosis {
        schema: DIAGNOSIS_SCHEMA,
        title: format!("Diagnosis of {}", list(&models)),
        program: format!("robustify {}", env!("CARGO_PKG_VERSION")),
        command: job.command.clone(),
        settings: described(job, looked.as_ref(), judged.as_ref(), machine),
        models,
    })
}

/// One model.
struct One<'a> {
    subject: &'a Subject,
    identity: String,
    settings: &'a Settings,
    kept: &'a Path,
    machine: &'a Machine,
    watch: &'a dyn Watch,
}

impl One<'_> {
    fn diagnosed(&self) -> Diagnosed {
        let Subject { name, about, source, notes, .. } = self.subject;
        Diagnosed {
            name: name.clone(),
            about: about.clone(),
            source: source.clone(),
            identity: self.identity.clone(),
            notes: notes.clone(),
            ..Diagnosed::default()
        }
    }

    /// The file for what is determined by the model, the images and `more`.
    fn place(&self, what: &str, images: &Images, extension: &str, more: &impl Serialize) -> Result<PathBuf> {
        let backend = robustify_device::backend_of(&self.machine.device);
        let key = digest::of(&(REVISION, &self.identity, images.fingerprint(), backend, more))?;
        Ok(self.kept.join(format!("{what}-{}.{extension}", &key[..16])))
    }

    fn attention(&self, images: &Images) -> Result<AttentionRecord> {
        let path = self.place("attention", images, "json", &())?;
        self.once(&path, || attention::look(self.subject, images, self.machine, self.watch))
    }

    /// None where the model cannot say anything about any image.
    fn landscape(&self, images: &Images, places: &[usize]) -> Result<Option<LandscapeRecord>> {
        let (Some(grid), Settings { seed, curvature_steps, .. }) = (self.settings.grid, self.settings) else {
            return Ok(None);
        };
        let points = self.place("points", images, "csv", &(seed, places))?;
        let curvature = self.place("curvature", images, "json", &(seed, places, curvature_steps))?;
        let batches = self.batches(images, places)?;
        let (subject, machine, watch) = (self.subject, self.machine, self.watch);
        let about = (subject.name.as_str(), &subject.model);
        let mut record = landscape::landscape(about, (grid, *seed), &batches, &points, machine, watch)?;
        if *curvature_steps > 0 {
            let steps = (*curvature_steps, *seed);
            let find = || landscape::curvature(&subject.model, &batches, steps, &machine.workers, watch);
            let found: CurvatureRecord = self.once(&curvature, find)?;
            record.curvature = Some(found);
        }
        Ok(Some(record))
    }

    fn batches(&self, images: &Images, places: &[usize]) -> Result<Vec<Batch>> {
        let all: Vec<usize> = (0..images.len()).collect();
        let rows = self.machine.shard_rows.min(landscape::ROWS);
        let batch = |indices: &[usize]| -> Result<Batch> {
            Ok(Batch {
                images: self.subject.input(images, indices, &self.machine.device)?,
                labels: indices.iter().map(|&index| places[images.labels()[index]]).collect(),
            })
        };
        all.chunks(rows).map(batch).collect()
    }

    /// What a file keeps, or what is found and then kept in it.
    fn once<T: Serialize + DeserializeOwned>(&self, path: &Path, find: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Ok(bytes) = std::fs::read(path) {
            match serde_json::from_slice(&bytes) {
                Ok(found) => return Ok(found),
                Err(error) => self.watch.warn(&format!("{}: {error}; it is made anew", path.display())),
            }
        }
        let found = find()?;
        write_atomic(path, &serde_json::to_vec(&found)?)?;
        Ok(found)
    }
}

/// Some images of the data, chosen by `seed` and their identity.
fn chosen(job: &Job<'_>, count: usize, (purpose, exact): (&str, bool), watch: &dyn Watch) -> Result<Images> {
    let (images, settings) = (job.images, job.settings);
    let there = images.len();
    ensure!(count > 0, "no image is asked for, for {purpose}; at least one is needed");
    if count > there {
        ensure!(!exact, "{count} images are asked for, for {purpose}, and {} has {there}", images.name());
        watch.say(&format!("{}: all {there} images are taken for {purpose}", images.name()));
    }
    let indices = split::sample(&**images, count.min(there), Key::new(settings.seed, "diagnosis"))?;
    Ok(Arc::new(Subset::new(Arc::clone(images), indices)?))
}

/// Names that two models share get numbers.
fn unique(models: &mut [Diagnosed]) {
    for index in 1..models.len() {
        let (before, rest) = models.split_at_mut(index);
        let taken = |name: &str| before.iter().any(|other| other.name == name);
        let name = rest[0].name.clone();
        if taken(&name) {
            let free = (2..).map(|number| format!("{name}-{number}")).find(|free| !taken(free));
            rest[0].name = free.unwrap_or(name);
        }
    }
}

fn list(models: &[Diagnosed]) -> String {
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What numbers depend on, for people.
fn described(
    job: &Job<'_>,
    looked: Option<&Images>,
    judged: Option<&Images>,
    machine: &Machine,
) -> BTreeMap<String, String> {
    let Settings { grid, curvature_steps, seed, .. } = job.settings;
    let mut said = BTreeMap::from([
        ("data".to_owned(), job.images.name().to_owned()),
        ("seed".to_owned(), seed.to_string()),
        ("backend".to_owned(), robustify_device::backend_of(&machine.device)),
    ]);
    said.extend(looked.map(|images| ("images of attention".to_owned(), images.len().to_string())));
    said.extend(judged.map(|images| ("images of the landscape".to_owned(), images.len().to_string())));
    if let Some(Grid { plane, count, radius }) = grid {
        let shape = if *plane { format!("{count} x {count} points") } else { format!("{count} points on a line") };
        said.insert("landscape".to_owned(), format!("{shape} up to {radius} filter lengths away"));
        said.insert("most steps for the curvature".to_owned(), curvature_steps.to_string());
    }
    said
}
