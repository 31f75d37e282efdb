//! The report of a run: the record of its evaluation, the page, the tables and the card.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use robustify_bench::Suite as _;
use robustify_device::Machine;
use robustify_eval::Run;
use robustify_methods::Config;
use robustify_predict::RobustModel;
use robustify_report::evaluation::{TIMES, Times};
use robustify_report::leaderboard::EVALUATION;
use robustify_report::page::{self, Look, PAGE};
use robustify_report::write_atomic;
use robustify_watch::{Stopped, Watch};

use crate::results::Measurement;

impl Measurement {
    /// Writes `evaluation.json`, `times.json`, `report.html`, `tables` and `card.md` into a run's folder. What keeps it from being drawn is a
    /// warning: the run is finished without it.
    ///
    /// # Errors
    /// An interruption.
    pub fn report(
        &self,
        folder: &Path,
        config: &Config,
        models: &[RobustModel],
        cache: &Path,
        machine: &Machine,
        watch: &dyn Watch,
    ) -> anyhow::Result<()> {
        match self.drawn(folder, config, models, cache, machine, watch) {
            Err(error) if !error.chain().any(|cause| cause.is::<Stopped>()) => {
                watch.warn(&format!("there is no report of this run: {error:#}"));
                Ok(())
            }
            drawn => drawn,
        }
    }

    fn drawn(
        &self,
        folder: &Path,
        config: &Config,
        models: &[RobustModel],
        cache: &Path,
        machine: &Machine,
        watch: &dyn Watch,
    ) -> anyhow::Result<()> {
        // Models whose classes were replaced for measuring are not those that are given.
        anyhow::ensure!(
            config.benchmark.classes.is_none(),
            "its models were measured on other classes than they were tuned on"
        );
        let facts = &self.facts;
        let settings = [
            ("seed", config.seed.to_string()),
            ("tuning seed", config.tuning.seed.to_string()),
            ("constants of the corruptions", config.benchmark.profile.clone()),
            ("frost", facts.frost.clone()),
            ("passes", facts.passes.to_string()),
            ("answers", "kept in 32 bits".to_owned()),
        ];
        let notes = vec![
            format!("{} of the data; corrupted in memory, no official files.", facts.part),
            "Rows that are made of several models' answers, and rules that are fitted on validation images, are in results.csv.".to_owned(),
        ];
        let suite = &self.suite;
        let run = Run {
            title: config.name.clone(),
            command: "robustify train --config config.toml".to_owned(),
            settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
            notes,
            name: suite.name().to_owned(),
            suite,
            models,
            select: config.select.rule,
            cache,
        };
        let evaluation = run.evaluation(&machine.device, machine.workers.threads(), watch)?;
        suite.release();
        evaluation.write(&folder.join(EVALUATION))?;
        let times = self.times();
        write_atomic(&folder.join(TIMES), (serde_json::to_string_pretty(&times)? + "\n").as_bytes())?;
        page::write(folder, &evaluation, Some(&times), &Look::default()).context("report")?;
        Ok(())
    }

    fn times(&self) -> Times {
        let of = |cost: fn(&crate::results::Costs) -> Option<f64>| {
            self.costs.iter().filter_map(|(model, costs)| Some((model.clone(), cost(costs)?))).collect()
        };
        Times { ms_per_image: of(|costs| costs.inference), ms_per_image_one_pass: of(|costs| costs.inference_one_pass) }
    }
}

/// The pages of a run: its own, or those of its seeds.
#[must_use]
pub fn pages(run: &Path) -> Vec<PathBuf> {
    let seeds = std::fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_seed =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("seed-"));
    let mut folders: Vec<PathBuf> = seeds.filter(is_seed).collect();
    folders.sort();
    folders.insert(0, run.to_owned());
    folders.into_iter().map(|folder| folder.join(PAGE)).filter(|page| page.is_file()).collect()
}
