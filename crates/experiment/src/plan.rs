//! What a job will compute, about how long it takes and how much it writes: said before its first stage.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use robustify_bench::suites::CorruptedConfig;
use robustify_data::batch;
use robustify_methods::{Config, Lab, Method, Work};
use robustify_zoo::{Features, Pass};

/// Rows that one thread computes to be timed.
const ROWS: usize = 4;

/// Says what will be computed, for how long and how large, and refuses what the disk cannot hold.
pub(crate) fn tell(lab: &Lab<'_>, methods: &[&'static dyn Method]) -> Result<()> {
    let config = &lab.config;
    let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    let (cells, asked) = asked(&config.benchmark, lab)?;
    lab.watch.say(&format!(
        "plan: {} on {} images; {} test images, {cells} cells under corruptions; settings of methods and all else: config.toml in the run's \
         folder",
        names.join(", "),
        grouped(lab.images().len()),
        grouped(lab.splits.test.len()),
    ));
    let speed = Speed::measure(lab)?;
    let mut work = Vec::new();
    for method in methods {
        work.push(method.work(lab)?);
    }
    let views = if work.iter().any(|work| work.views) { lab.images().len() * views_each(config) } else { 0 };
    let seconds = seconds(lab, &speed, &work, views as f64, asked as f64);
    let bytes = views as u64 * speed.feature_bytes(config);
    let free = fs4::available_space(&lab.cache)?;
    lab.watch.say(&format!(
        "plan: about {}, and {} in {} ({} are free), if nothing of it is there yet",
        duration(seconds),
        size(bytes),
        lab.cache.display(),
        size(free),
    ));
    let there = features_there(&lab.cache);
    if bytes > free.saturating_add(there) {
        bail!(
            "the features of {} views of {} images take {}, and {} has {} left; fewer views (views.augmented={}, views.clean={}), or \
             another disk (--cache-dir DIR), or none of them stored (views.cached=false)",
            views_each(config),
            grouped(lab.images().len()),
            size(bytes),
            lab.cache.display(),
            size(free),
            config.views.augmented,
            config.views.clean
        );
    }
    Ok(())
}

/// Views of an image.
fn views_each(config: &Config) -> usize {
    config.views.clean + config.views.augmented
}

/// Corrupted cells, and images in all cells together.
fn asked(benchmark: &CorruptedConfig, lab: &Lab<'_>) -> Result<(usize, usize)> {
    let cells = benchmark.cells()?.len() - 1;
    let all = lab.splits.test.len();
    let some = |limit: usize| if limit == 0 { all } else { limit.min(all) };
    Ok((cells, some(benchmark.clean_images) + cells * some(benchmark.images) + lab.splits.validation.len()))
}

/// What was measured, all threads together.
struct Speed {
    /// Seconds for the pixels of an augmented view.
    picture: f64,
    /// Seconds for a forward of the original model.
    forward: f64,
    /// Numbers that the frozen backbone gives for a view.
    features: usize,
}

impl Speed {
    /// A few rows on every thread, once.
    fn measure(lab: &Lab<'_>) -> Result<Self> {
        let (images, spec, machine) = (lab.images(), lab.view_spec()?, lab.machine);
        let original = &lab.opened().model;
        let cut = lab.config.split.backbone_end(original)?;
        let rows: Vec<usize> = (0..machine.workers.threads() * ROWS).map(|row| row % images.len()).collect();
        let chunks: Vec<Vec<usize>> = rows.chunks(ROWS).map(<[usize]>::to_vec).collect();
        let clock = Instant::now();
        let pixels = machine.workers.map(chunks, |rows| {
            rows.into_iter().map(|row| spec.pixels(images, row, spec.clean)).collect::<Result<Vec<_>, _>>()
        });
        let picture = clock.elapsed().as_secs_f64() / rows.len() as f64;
        let pixels = pixels.into_iter().collect::<Result<Vec<_>, _>>()?;
        let clock = Instant::now();
        let sizes = machine.workers.map(pixels, |pixels| -> Result<usize> {
            let features = original.features(batch::normalised(&pixels, &spec.preprocess, &machine.device)?, cut);
            let size = numbers(&features) / pixels.len();
            // The result is waited for on backends that compute later.
            drop(original.segment(cut, original.last_cut()).forward(features, &Pass::eval()).logits().into_data());
            Ok(size)
        });
        let forward = clock.elapsed().as_secs_f64() / rows.len() as f64;
        let sizes = sizes.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Self { picture, forward, features: sizes.first().copied().unwrap_or(0) })
    }

    /// Bytes of the stored features of a view.
    fn feature_bytes(&self, config: &Config) -> u64 {
        (self.features * config.views.precision.bytes()) as u64
    }
}

fn numbers(features: &Features) -> usize {
    match features {
        Features::Tokens(tokens) => tokens.dims().iter().product(),
        Features::Map(map) => map.dims().iter().product(),
        Features::Rows(rows) => rows.dims().iter().product(),
    }
}

/// About how many seconds all of it takes.
fn seconds(lab: &Lab<'_>, speed: &Speed, work: &[Work], views: f64, asked: f64) -> f64 {
    let own: f64 = work.iter().map(|work| speed.forward * work.forwards + speed.picture * work.pictures).sum();
    // The backbone, and the teacher, see every view once.
    let cached = views * (speed.forward * (1.0 + lab.teacher_share()) + 2.0 * speed.picture);
    let answers: f64 = 1.0 + work.iter().map(|work| work.answer).sum::<f64>();
    own + cached + asked * (speed.forward * answers + speed.picture)
}

/// Bytes of features that the cache holds: they need no further room.
fn features_there(cache: &Path) -> u64 {
    let stages = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let files = stages.map(|stage| stage.path().join("features"));
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// A count with its thousands apart.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let parts: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(",")
}

/// A time for people, who will not hold us to it.
pub(crate) fn duration(seconds: f64) -> String {
    let (minutes, hours) = (seconds / 60.0, seconds / 3600.0);
    match seconds {
        ..1.5 => "1 second".into(),
        ..90.0 => format!("{seconds:.0} seconds"),
        ..5400.0 => format!("{minutes:.0} minutes"),
        ..172_800.0 => format!("{hours:.1} hours"),
        _ => format!("{:.0} days", hours / 24.0),
    }
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes @ ..1e6 => format!("{:.0} kB", bytes / 1e3),
        bytes @ ..1e9 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([7, 1000, 1234567].map(grouped), ["7", "1,000", "1,234,567"]);
        assert_eq!(
            [0.2, 80.0, 600.0, 9e3, 1e7].map(duration),
            ["1 second", "80 seconds", "10 minutes", "2.5 hours", "116 days"]
        );
        assert_eq!([900, 25_000_000, 3_500_000_000].map(size), ["1 kB", "25 MB", "3.5 GB"]);
    }
}
