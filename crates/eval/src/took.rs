//! How long models took, by shard: beside the evaluation, whose bytes no clock changes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use robustify_bench::Timings;
use robustify_report::evaluation::Times;
use robustify_report::write_atomic;
use serde::{Deserialize, Serialize};

use crate::{Shard, place};

/// What a shard took so far.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Took {
    shard: Shard,
    models: BTreeMap<String, Clock>,
}

/// Seconds of one thread.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Clock {
    images: usize,
    seconds: f64,
    /// Without Monte Carlo passes, of models that make them.
    seconds_one_pass: Option<f64>,
}

impl Took {
    /// Adds what was computed now to what a shard took before.
    pub fn write(out: &Path, shard: Shard, timings: &Timings) -> Result<()> {
        let folder = out.join(place::SHARDS);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(format!("{}.json", shard.to_string().replace('/', "-of-")));
        let before = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let mut models = before.map(|before| before.models).unwrap_or_default();
        for (name, timing) in timings {
            let clock = models.entry(name.clone()).or_default();
            clock.images += timing.images;
            clock.seconds += timing.time.as_secs_f64();
            if let Some(time) = timing.deterministic {
                *clock.seconds_one_pass.get_or_insert_default() += time.as_secs_f64();
            }
        }
        Ok(write_atomic(&path, (serde_json::to_string_pretty(&Self { shard, models })? + "\n").as_bytes())?)
    }

    /// Of all shards that left something in a folder, by their files' names; what cannot be read is passed over, since it is only time.
    fn read(out: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(out.join(place::SHARDS)) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok()).collect()
    }

    /// One of the shards of a folder, if several share its parts.
    pub fn shards(out: &Path) -> Option<Shard> {
        Self::read(out).into_iter().map(|took| took.shard).find(|shard| shard.count() > 1)
    }

    /// Milliseconds for an image by model, over all shards.
    pub fn all(out: &Path) -> Result<Times> {
        let mut sums: BTreeMap<String, Clock> = BTreeMap::new();
        for (name, clock) in Self::read(out).into_iter().flat_map(|took| took.models) {
            let sum = sums.entry(name).or_default();
            sum.images += clock.images;
            sum.seconds += clock.seconds;
            sum.seconds_one_pass =
                [sum.seconds_one_pass, clock.seconds_one_pass].into_iter().flatten().reduce(|a, b| a + b);
        }
        let mut times = Times::default();
        for (name, clock) in sums.into_iter().filter(|(_, clock)| clock.images > 0) {
            let per_image = |seconds: f64| 1e3 * seconds / clock.images as f64;
            times.ms_per_image.insert(name.clone(), per_image(clock.seconds));
            times.ms_per_image_one_pass.extend(clock.seconds_one_pass.map(|seconds| (name, per_image(seconds))));
        }
        Ok(times)
    }
}
