//! `report`, `compare`, `leaderboard`: what was evaluated, as pages, tables and sentences. No model is run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use robustify_report::compare::{Limits, Side, compare};
use robustify_report::evaluation::{Evaluation, Times};
use robustify_report::leaderboard::{self, EVALUATION};
use robustify_report::page::{self, Written};
use robustify_watch::Watch as _;

use crate::args::{Compare, Leaderboard, Report};
use crate::console::{self, Console};

/// Draws the page, the tables and the card of an evaluation again.
pub fn report(options: &Report) -> anyhow::Result<()> {
    let file = file_of(&options.evaluation);
    let evaluation = Evaluation::read(&file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let times = Times::beside(&file)?;
    let written = page::write(folder, &evaluation, times.as_ref(), &options.look.of())?;
    console::result(&lines(&written))
}

/// Where a report lies, for people.
pub fn lines(Written { page, tables, card }: &Written) -> String {
    format!("report: {}\ntables: {}\nmodel card: {}\n", page.display(), tables.display(), card.display())
}

/// The record of an evaluation that was named by its folder or itself.
fn file_of(named: &Path) -> PathBuf {
    if named.is_dir() { named.join(EVALUATION) } else { named.to_owned() }
}

/// Prints what got better and worse; fails where a limit does not hold.
pub fn run(options: &Compare) -> anyhow::Result<()> {
    let side = |named: &PathBuf| -> anyhow::Result<Side> {
        Ok(Side { name: named.display().to_string(), evaluation: Evaluation::read(&file_of(named))? })
    };
    let sides: Vec<Side> = options.evaluations.iter().map(side).collect::<anyhow::Result<_>>()?;
    let limits = Limits { worst: options.fail_below.clone(), drop: options.fail_drop.clone() };
    let found = compare(&sides, &limits)?;
    console::result(&found.text)?;
    if found.failures.is_empty() { Ok(()) } else { bail!("{}", found.failures.join("\n")) }
}

/// Writes the table of all evaluations below a folder, and prints it.
pub fn leaderboard(options: &Leaderboard, console: &Console) -> anyhow::Result<()> {
    let folder = &options.folder;
    let found = leaderboard::find(folder)?;
    for reason in &found.passed_over {
        console.warn(reason);
    }
    if found.entries.is_empty() {
        bail!("{}: there is no {EVALUATION} below it; `robustify eval` writes one into its --out", folder.display());
    }
    let grid = leaderboard::table(&found.entries, options.sort.as_deref()).context("--sort")?;
    let out = options.out.as_ref().unwrap_or(folder);
    let page = leaderboard::write(out, &grid, found.entries.len(), &options.look.of())?;
    console::result(&format!("{}\nleaderboard: {}\n", grid.markdown(), page.display()))
}
