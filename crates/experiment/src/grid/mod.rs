//! Experiments: grids of runs over shared stages, and the tables and figures that are drawn of their results.
//!
//! A file (see [`ExperimentConfig`]) names a base configuration, runs that are laid over it, and what is drawn. A *cell* is a run with a
//! seed; it has a folder of its own, and is finished when `cell.json` stands in it. So finished cells are passed over, a killed program
//! goes on where it was, and several may share the cells among them ([`Shard`]).

mod cell;
mod columns;
mod draw;
mod dry;
mod figures;
mod file;
mod numbers;
mod stand_in;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use robustify_device::Machine;
use robustify_methods::Config;
use robustify_report::digest;
use robustify_watch::{Stopped, Watch};

use crate::settings;

use cell::Cell;
pub use dry::dry_run;
pub use file::{
    Axis, ExperimentConfig, FigureConfig, FigureKind, FullConfig, Overlay, RowConfig, Run, Size, SizeConfig,
    TableConfig,
};

/// Finds the files of the large model's weights, and of a teacher's if it has any, that a configuration names.
pub type Weights<'a> = dyn Fn(&Config) -> anyhow::Result<(PathBuf, Option<PathBuf>)> + 'a;

/// What to do.
pub struct Job<'a> {
    /// The experiment's file.
    pub file: PathBuf,
    /// Which of its sizes.
    pub size: Size,
    /// Seeds of every run; as many as the file says without.
    pub seeds: Option<u64>,
    /// Settings that are laid over those of every run, `key=value`.
    pub settings: Vec<String>,
    /// The folder of the experiment. Default: `runs/experiment-NAME`, with the size behind it unless that is `mini`.
    pub folder: Option<PathBuf>,
    /// Where stages and answers are kept, which experiments and runs may share.
    pub cache: PathBuf,
    /// Which of the cells to run; all without, and then results are drawn.
    pub shard: Option<Shard>,
    /// Whether cells that were run with other settings or images may be replaced.
    pub overwrite: bool,
    /// A folder that gets the results as well, as `docs/results`.
    pub docs: Option<PathBuf>,
    /// Where the weights are that a configuration names: of the large model, and of a teacher.
    pub weights: &'a Weights<'a>,
}

/// One of several parts of the cells, for programs that work side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}`: expected NUMBER/OF, as in 1/4 for the first of four parts");
        let (number, of) = text.split_once('/').ok_or_else(fault)?;
        let shard = Self { number: number.parse().map_err(|_| fault())?, of: of.parse().map_err(|_| fault())? };
        if (1..=shard.of).contains(&shard.number) { Ok(shard) } else { Err(fault()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// An experiment that was read: its file, and the runs of a size.
struct Grid {
    pub config: ExperimentConfig,
    pub runs: Vec<Run>,
    pub seeds: u64,
    pub folder: PathBuf,
}

impl Grid {
    pub fn read(job: &Job<'_>) -> anyhow::Result<Self> {
        let config: ExperimentConfig = settings::load(&job.file, &[])?;
        let size = config.size(job.size)?;
        let seeds = job.seeds.unwrap_or(size.seeds);
        let runs = config.runs(size, &job.file, &job.settings).with_context(|| job.file.display().to_string())?;
        for run in &runs {
            ensure!(
                seeds <= 1 || !run.config.vary.is_empty(),
                "run {}: vary is empty, so {seeds} seeds would all be the same; name what they vary: teacher, views, heads, masks",
                run.name
            );
        }
        config.expect_rows(&runs)?;
        let behind = if job.size == Size::Mini { String::new() } else { format!("-{}", job.size.name()) };
        let folder = || Path::new("runs").join(format!("experiment-{}{behind}", config.name));
        Ok(Self { folder: job.folder.clone().unwrap_or_else(folder), runs, seeds, config })
    }

    /// All cells: the first seed of every run, then the second, so that a part of the results is a part of every run.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        (0..self.seeds).flat_map(|seed| self.runs.iter().map(move |run| Cell::new(&self.folder, run, seed))).collect()
    }
}

/// Runs the cells that are not finished, and unless it is a shard draws the results; returns what to show.
///
/// # Errors
/// A file with faults, whatever keeps a run from being computed, results that cannot be written, or an interruption.
pub fn run(job: &Job<'_>, machine: &Machine, watch: &dyn Watch) -> anyhow::Result<String> {
    let grid = Grid::read(job)?;
    let cells = grid.cells();
    let is_own = |index: usize| job.shard.is_none_or(|shard| index % shard.of == shard.number - 1);
    let own: Vec<&Cell<'_>> =
        cells.iter().enumerate().filter(|(index, _)| is_own(*index)).map(|(_, cell)| cell).collect();
    let done = own.iter().filter(|cell| cell.finished().is_some()).count();
    watch.say(&format!(
        "experiment {}: {} cells, {} runs with {} seeds; {done} of {} are done",
        grid.config.name,
        cells.len(),
        grid.runs.len(),
        grid.seeds,
        own.len()
    ));
    for (number, cell) in own.iter().enumerate() {
        watch.check(Stopped::Saved)?;
        if cell.finished().is_none() {
            watch.say(&format!("cell {} of {}: {}", number + 1, own.len(), cell.name()));
            cell.run(job, machine, watch).with_context(|| format!("cell {}", cell.name()))?;
        }
    }
    if let Some(shard) = job.shard {
        return Ok(format!(
            "shard {shard} is done: {} cells; the same command without --shard draws the results\n",
            own.len()
        ));
    }
    let folders = [Some(grid.folder.as_path()), job.docs.as_deref()];
    draw::draw(&grid, job, &folders.into_iter().flatten().collect::<Vec<_>>())
}

/// Hash of what determines a cell's results, but for the images.
fn identity(config: &Config) -> anyhow::Result<String> {
    Ok(digest::of(&(robustify_methods::lab::PROGRAM, robustify_bench::INFERENCE, config))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_several() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "3", "a/b", "1/"] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("as in 1/4"), "{wrong}");
        }
    }
}
