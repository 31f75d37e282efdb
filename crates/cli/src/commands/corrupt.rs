//! `corrupt`: the benchmark's corruptions into files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use image::RgbImage;
use robustify_augment::{Corruption, Corruptor, FrostSource, Profile, Scratch, Severity, Trace};
use robustify_data::Preprocess;
use robustify_rng::Key;
use robustify_watch::Watch;
use serde_json::json;

use super::offline::{self, Job};
use crate::args::Corrupt;
use crate::offline::{Picture, Variant, Work, trace};
use crate::{digest, sizes};

/// Corrupts every picture of the input.
pub fn run(options: &Corrupt, watch: &dyn Watch) -> anyhow::Result<()> {
    let profile: Profile = options.profile.parse()?;
    let corruptions = corruptions(&options.corruption, profile)?;
    let severities = severities(&options.severity)?;
    let (corruptor, frost) = match &options.frost_dir {
        Some(folder) => {
            let (source, sha256) = frost(folder)?;
            (Corruptor::with_frost(profile, source), Some(sha256))
        }
        None => (Corruptor::new(profile), None),
    };
    let job = Job::open(&options.offline)?;
    let inputs = &job.inputs;
    warn_of_size(profile, &job, watch);
    let traces = match &options.noise_from {
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
                sha256: digest::of_file(path).with_context(|| path.display().to_string())?,
            })
        }
        None => None,
    };
    if corruptions.contains(&Corruption::Frost) && options.frost_dir.is_none() {
        watch.say("frost is drawn (frost-procedural): not the benchmark's pictures, for which see --frost-dir");
    }
    let work =
        CorruptWork { traces, frost, ..CorruptWork::new(corruptor, &corruptions, &severities, options.offline.seed) };
    if let Some(path) = &options.offline.sheet {
        sheet(&job, &work, path)?;
    }
    job.execute(&work, watch)
}

/// The corruptions that the names stand for, each once.
fn corruptions(names: &[String], profile: Profile) -> anyhow::Result<Vec<Corruption>> {
    let mut found = Vec::new();
    for name in names {
        let named = match name.as_str() {
            "all" => Corruption::TEST.to_vec(),
            "extra" => Corruption::VALIDATION.to_vec(),
            "bar" => Corruption::bar(profile).to_vec(),
            name => vec![name.parse::<Corruption>().context("--corruption (or `all`, `extra`, `bar`)")?],
        };
        for corruption in named {
            if !found.contains(&corruption) {
                found.push(corruption);
            }
        }
    }
    Ok(found)
}

/// `3`, `1-5`, `1,3,5`.
fn severities(text: &str) -> anyhow::Result<Vec<Severity>> {
    let fault =
        || format!("--severity {text}: expected a number from 0 to 5, a range as in 1-5, or a list as in 1,3,5");
    let level = |part: &str| -> anyhow::Result<u8> { part.trim().parse().with_context(fault) };
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (level(first)?, level(last)?),
            None => (level(part)?, level(part)?),
        };
        ensure!(first <= last, "{}", fault());
        for level in first..=last {
            let severity = Severity::try_from(level).with_context(fault)?;
            if !found.contains(&severity) {
                found.push(severity);
            }
        }
    }
    Ok(found)
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
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string());
        let picture = bytes.and_then(|bytes| Picture::decode(&bytes, &path, &untouched));
        let expected =
            || format!("--frost-dir {}: the benchmark's {} are expected", folder.display(), NAMES.join(", "));
        Ok(picture.with_context(expected)?.rgb)
    };
    let pictures: Vec<RgbImage> = NAMES.iter().map(|name| read(name)).collect::<anyhow::Result<_>>()?;
    let sha256 = digest::of_bytes(&pictures.iter().flat_map(|picture| picture.as_raw().clone()).collect::<Vec<_>>());
    Ok((FrostSource::from_pictures(pictures)?, sha256))
}

/// Says when the pictures are not of the size that the constants were made for.
fn warn_of_size(profile: Profile, job: &Job, watch: &dyn Watch) {
    let Ok((name, image)) = job.first() else { return };
    if let Some(warning) = sizes::misfit(profile, &name, image.dimensions(), "--preprocess and --profile scaled") {
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
                    format!("--noise-from {}, {corruption} at severity {severity}{hint}", traces.path.display())
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
fn sheet(job: &Job, work: &CorruptWork, path: &Path) -> anyhow::Result<()> {
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
    offline::save_sheet(path, &columns, &rows)
}
