//! A cell of the grid: a run with a seed, its folder, and what is kept of its results.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use robustify_bench::{Cell as Measured, Outcome};
use robustify_data::place;
use robustify_device::Machine;
use robustify_methods::Config;
use robustify_report::{Row, read_json, write_atomic};
use robustify_watch::Watch;
use serde::{Deserialize, Serialize};

use super::{Job, Run, identity};
use crate::compare::Outcomes;
use crate::results::{Costs, Facts, Measurement};
use crate::train;

/// What says that a cell is finished, in its folder; written last.
const FINISHED: &str = "cell.json";

/// A run with a seed.
pub(super) struct Cell<'a> {
    pub run: &'a Run,
    /// The number of the seed, from 0.
    pub seed: u64,
    /// The configuration with this seed.
    pub config: Config,
    folder: PathBuf,
}

/// What is kept of a finished cell beside `results.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct Finished {
    /// Hash of what determined it.
    identity: String,
    /// What was measured.
    pub facts: Facts,
    /// What every model cost.
    pub costs: Vec<(String, Costs)>,
    /// Identities of images; cells share them.
    images: Vec<Vec<u64>>,
    /// Which images every model and route got right.
    cells: Vec<Packed>,
}

/// The outcomes of a cell of the benchmark.
#[derive(Serialize, Deserialize)]
struct Packed {
    name: String,
    /// Which of the lists of images.
    images: usize,
    /// Model, route, and a bit for each image, eight to a pair of hexadecimal digits, the first image lowest.
    right: Vec<(String, String, String)>,
}

impl<'a> Cell<'a> {
    pub fn new(folder: &Path, run: &'a Run, seed: u64) -> Self {
        let config = run.config.of_seed(seed);
        let folder = folder.join(&run.name).join(format!("seed-{}", run.config.tuning.seed + seed));
        Self { run, seed, config, folder }
    }

    pub fn name(&self) -> String {
        format!("{}, seed {}", self.run.name, self.run.config.tuning.seed + self.seed)
    }

    /// What the cell came to, if it is finished with these settings. A file that cannot be read is none: the cell is made again.
    pub fn finished(&self) -> Option<Finished> {
        let text = place::read_text(&self.folder.join(FINISHED)).ok()?;
        let finished: Finished = serde_json::from_str(&text).ok()?;
        (identity(&self.config).ok()? == finished.identity).then_some(finished)
    }

    /// The records of a finished cell.
    pub fn rows(&self) -> anyhow::Result<Vec<Row>> {
        Ok(read_json(&self.folder.join("results.json"))?.rows)
    }

    /// Fits and measures, from the stages that are there, and keeps what came of it.
    pub fn run(&self, job: &Job<'_>, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<()> {
        let (weights, teacher) = (job.weights)(&self.config)?;
        let one = train::Job {
            config: self.config.clone(),
            weights,
            teacher,
            splits: None,
            folder: self.folder.clone(),
            cache: job.cache.clone(),
            seeds: 1,
            fresh: false,
            overwrite: job.overwrite,
            report: false,
        };
        let measured = train::measured(one, machine, watch)?;
        let [measurement] = &measured[..] else { anyhow::bail!("one seed was measured {} times", measured.len()) };
        let finished = Finished::of(measurement, identity(&self.config)?)?;
        let path = self.folder.join(FINISHED);
        write_atomic(&path, serde_json::to_string(&finished)?.as_bytes()).with_context(|| path.display().to_string())
    }
}

impl Finished {
    fn of(measurement: &Measurement, identity: String) -> anyhow::Result<Self> {
        let (mut images, mut cells) = (Vec::<Vec<u64>>::new(), Vec::new());
        for (cell, outcomes) in &measurement.outcomes {
            let ids = |outcome: &Outcome| outcome.right.iter().map(|(id, _)| *id).collect::<Vec<_>>();
            let own = outcomes.first().map(ids).unwrap_or_default();
            ensure!(outcomes.iter().all(|outcome| ids(outcome) == own), "{}: models saw different images", cell.name);
            let place = images.iter().position(|known| *known == own).unwrap_or_else(|| {
                images.push(own);
                images.len() - 1
            });
            let right =
                outcomes.iter().map(|outcome| (outcome.model.clone(), outcome.route.clone(), packed(&outcome.right)));
            cells.push(Packed { name: cell.name.clone(), images: place, right: right.collect() });
        }
        Ok(Self { identity, facts: measurement.facts.clone(), costs: measurement.costs.clone(), images, cells })
    }

    /// Cell by cell, which images every model and route got right.
    pub fn outcomes(&self) -> anyhow::Result<Outcomes> {
        let cells = self.cells.iter().map(|packed| {
            let ids = self.images.get(packed.images).context("a list of images is missing")?;
            let outcome = |(model, route, bits): &(String, String, String)| {
                let right =
                    unpacked(bits, ids).with_context(|| format!("{model} {route}: outcomes of another length"))?;
                Ok(Outcome { model: model.clone(), route: route.clone(), right })
            };
            let outcomes = packed.right.iter().map(outcome).collect::<anyhow::Result<Vec<_>>>()?;
            let cell = Measured::named(&packed.name).with_context(|| format!("no cell is called `{}`", packed.name))?;
            Ok((cell, outcomes))
        });
        cells.collect()
    }
}

fn packed(right: &[(u64, bool)]) -> String {
    let byte = |chunk: &[(u64, bool)]| {
        chunk.iter().enumerate().fold(0, |byte, (bit, (_, right))| byte | (u8::from(*right) << bit))
    };
    right.chunks(8).map(|chunk| format!("{:02x}", byte(chunk))).collect()
}

fn unpacked(bits: &str, ids: &[u64]) -> Option<Vec<(u64, bool)>> {
    let byte = |index: usize| u8::from_str_radix(bits.get(2 * index..2 * index + 2)?, 16).ok();
    let of = |(index, &id): (usize, &u64)| Some((id, byte(index / 8)? >> (index % 8) & 1 == 1));
    ids.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_packed_without_loss() {
        let right: Vec<(u64, bool)> = (0..21).map(|id| (id * 7, id % 3 == 0)).collect();
        let ids: Vec<u64> = right.iter().map(|(id, _)| *id).collect();
        assert_eq!(unpacked(&packed(&right), &ids), Some(right.clone()));
        assert_eq!(packed(&right).len(), 6);
        assert_eq!(unpacked("00", &ids), None);
    }
}
