//! The benchmark's corruptions into files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use image::RgbImage;
use robustify_augment::{Corruption, Corruptor, FrostSource, Profile, Scratch, Severity, Trace};
use robustify_data::{Preprocess, decode};
use robustify_report::digest;
use robustify_rng::Key;
use robustify_watch::{Watch, shown};
use serde_json::json;

use crate::job::{Files, Job};
use crate::picture::Picture;
use crate::{Variant, Work, trace};

/// Which corruptions of which pictures.
#[derive(Clone, Debug)]
pub struct CorruptJob {
    /// The pictures, and where results go.
    pub files: Files,
    /// Constants of the corruptions.
    pub profile: Profile,
    /// The corruptions, each once.
    pub corruptions: Vec<Corruption>,
    /// The severities of each, each once.
    pub severities: Vec<Severity>,
    /// Folder with the benchmark's own pictures of frost; without it, frost is drawn.
    pub frost_dir: Option<PathBuf>,
    /// Arrays of random draws that another program recorded, for one picture and one corruption.
    pub noise_from: Option<PathBuf>,
}

/// Corrupts every picture of the input.
///
/// # Errors
/// Files that cannot be read or written or do not fit together; [`Ended`](crate::Ended) if a stop was asked for, or if some
/// pictures were unusable and everything else is done.
pub fn corrupt(job: &CorruptJob, watch: &dyn Watch) -> anyhow::Result<()> {
    let CorruptJob { files, profile, corruptions, severities, .. } = job;
    let (corruptor, frost) = match &job.frost_dir {
        Some(folder) => {
            let (source, sha256) = frost(folder)?;
            (Corruptor::with_frost(*profile, source), Some(sha256))
        }
        None => (Corruptor::new(*profile), None),
    };
    let opened = Job::open(files)?;
    let inputs = &opened.inputs;
    warn_of_size(*profile, &opened, watch);
    let traces = match &job.noise_from {
        Some(path) => {
            ensure!(inputs.len() == 1, "--noise-from holds the draws of one picture, INPUT has {}", inputs.len());
            ensure!(
                corruptions.len() == 1,
                "--noise-from holds the draws of one corruption; name it with --corruption"
            );
            let read = |&severity: &Severity| Ok((severity, trace::read(path, severity)?));
            Some(Traces {
                path: path.clone(),
                by_severity: severities.iter().map(read).collect::<anyhow::Result<_>>()?,
                sha256: digest::of_file(path).with_context(|| shown(path))?,
            })
        }
        None => None,
    };
    if corruptions.contains(&Corruption::Frost) && job.frost_dir.is_none() {
        watch.say("frost is drawn (frost-procedural): not the benchmark's pictures, for which see --frost-dir");
    }
    let work = CorruptWork { traces, frost, ..CorruptWork::new(corruptor, corruptions, severities, files.seed) };
    if let Some(path) = &files.sheet {
        sheet(&opened, &work, path)?;
    }
    opened.execute(&work, watch)
}

/// The benchmark's own pictures; the sixth was never used. A PNG goes before a JPEG of the same name, since decoders of JPEG
/// differ by a level or two.
fn frost(folder: &Path) -> anyhow::Result<(FrostSource, String)> {
    const NAMES: [&str; 5] = ["frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"];
    let untouched: Preprocess = "".parse()?;
    let read = |name: &str| {
        let path = folder.join(name);
        let lossless = path.with_extension("png");
        let path = if lossless.is_file() { lossless } else { path };
        let picture = decode::read(&path).map_err(anyhow::Error::from);
        let picture = picture.and_then(|bytes| Picture::decode(&bytes, &path, &untouched));
        let expected = || format!("--frost-dir {}: the benchmark's {} are expected", shown(folder), NAMES.join(", "));
        Ok(picture.with_context(expected)?.rgb)
    };
    let pictures: Vec<RgbImage> = NAMES.iter().map(|name| read(name)).collect::<anyhow::Result<_>>()?;
    let sha256 = digest::of_bytes(&pictures.iter().flat_map(|picture| picture.as_raw().clone()).collect::<Vec<_>>());
    Ok((FrostSource::from_pictures(pictures)?, sha256))
}

/// Says when the pictures are not of the size that the constants were made for.
fn warn_of_size(profile: Profile, job: &Job<'_>, watch: &dyn Watch) {
    let Ok((name, image)) = job.first() else { return };
    if let Some(warning) = profile.misfit(&name, image.dimensions(), "--preprocess and --profile scaled") {
        watch.warn(&warning);
    }
}

/// Recorded draws, and the SHA-256 of their file.
struct Traces {
    path: PathBuf,
    by_severity: BTreeMap<Severity, Trace>,
    sha256: String,
}

struct CorruptWork {
    corruptor: Corruptor,
    cells: Vec<(Corruption, Severity)>,
    variants: Vec<Variant>,
    seed: u64,
    traces: Option<Traces>,
    /// SHA-256 of the pictures of frost that were given.
    frost: Option<String>,
}

impl CorruptWork {
    fn new(corruptor: Corruptor, corruptions: &[Corruption], severities: &[Severity], seed: u64) -> Self {
        let cells: Vec<_> = corruptions
            .iter()
            .flat_map(|&corruption| severities.iter().map(move |&severity| (corruption, severity)))
            .collect();
        let variant = |(corruption, severity): &(Corruption, Severity)| Variant {
            group: corruption.name().to_owned(),
            part: Some(severity.to_string()),
        };
        Self { corruptor, variants: cells.iter().map(variant).collect(), cells, seed, traces: None, frost: None }
    }
}

impl Work for CorruptWork {
    fn settings(&self) -> serde_json::Value {
        json!({
            "command": "corrupt",
            "profile": self.corruptor.profile().name(),
            "seed": self.seed,
            "frost": self.corruptor.frost_source().name(),
            "frost_sha256": self.frost,
            "replayed": self.traces.as_ref().map(|traces| &traces.sha256),
        })
    }

    fn variants(&self) -> &[Variant] {
        &self.variants
    }

    fn make(
        &self,
        image: &RgbImage,
        name: &str,
        variant: usize,
        scratch: &mut Scratch,
        out: &mut RgbImage,
    ) -> anyhow::Result<()> {
        let (corruption, severity) = self.cells[variant];
        match &self.traces {
            Some(traces) => {
                let made = self.corruptor.replay(image, corruption, severity, &traces.by_severity[&severity]);
                *out = made.with_context(|| {
                    let drawn = corruption == Corruption::Frost && self.frost.is_none();
                    let hint =
                        if drawn { " (recorded for the benchmark's pictures of frost? give --frost-dir)" } else { "" };
                    format!("--noise-from {}, {corruption} at severity {severity}{hint}", shown(&traces.path))
                })?;
            }
            None => {
                let key = Key::new(self.seed, "corrupt").with_str(name);
                self.corruptor.apply_into(image, corruption, severity, key, scratch, out);
            }
        }
        Ok(())
    }
}

/// The first picture, corrupted: a row for each corruption, a column for each severity.
fn sheet(job: &Job<'_>, work: &CorruptWork, path: &Path) -> anyhow::Result<()> {
    let (name, image) = job.first()?;
    let mut columns = vec!["clean".to_owned()];
    let mut rows: Vec<(String, Vec<RgbImage>)> = Vec::new();
    for (index, &(corruption, severity)) in work.cells.iter().enumerate() {
        let column = severity.to_string();
        if !columns.contains(&column) {
            columns.push(column);
        }
        if rows.last().is_none_or(|row| row.0 != corruption.name()) {
            rows.push((corruption.name().to_owned(), vec![image.clone()]));
        }
        let mut out = RgbImage::new(0, 0);
        work.make(&image, &name, index, &mut Scratch::new(), &mut out)?;
        if let Some(row) = rows.last_mut() {
            row.1.push(out);
        }
    }
    job.save_sheet(path, &columns, &rows)
}
