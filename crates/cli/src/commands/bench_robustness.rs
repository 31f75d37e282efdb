//! `bench-robustness`: the numbers of a finished run, measured again.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, ensure};
use robustify_report::{lock_folder, write_atomic};
use robustify_watch::Watch as _;

use crate::args::BenchRobustness;
use crate::config::{self, Config};
use crate::console::{self, Console};
use crate::dataset::Splits;
use crate::{results, rundir, stages, summary};

/// Measures the models in a run's folder and prints the table.
pub fn run(options: &BenchRobustness, console: &Console) -> anyhow::Result<()> {
    let file = options.run.join(rundir::CONFIG);
    let config: Config = config::load(&file, &options.overrides)?;
    expect_effect(&file, &config)?;
    let machine = options.common.machine()?;
    let out = options.out.clone().unwrap_or_else(|| options.run.join("bench"));
    let _lock = lock_folder(&out)?;
    let context = stages::Context { config, machine, cache: out.clone(), console: console.clone(), fresh: false };
    let trained = stages::load(&context, &options.run)?;
    let images = Splits::open(&context.config.data, &context.console)?.test;
    stages::check_images(&context, &images)?;
    let (rows, timings) =
        results::measure(&context, &trained.entrants, &trained.identity, &images, &out.join("cells"))?;
    write_atomic(&out.join("benchmark.toml"), toml::to_string_pretty(&context.config)?.as_bytes())?;
    results::write(&out, &context, &trained.identity, &rows)?;
    results::write_timings(&out, &timings)?;
    console::result(&summary::Runs::new(&[&rows]).table())?;
    context.console.say(&results::timing_table(&timings));
    Ok(())
}

/// Where settings are that a finished run can be measured with; the others were used up in training.
const EFFECTIVE: [&str; 10] = [
    "name",
    "data",
    "benchmark",
    "select",
    "split",
    "tuning.dropout",
    "original.network",
    "original.preprocess",
    "teacher.network",
    "teacher.preprocess",
];

/// An error if a setting was replaced that changes nothing: its value would stand beside results that it has no part in.
fn expect_effect(file: &Path, given: &Config) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut changed = Vec::new();
    differences("", &toml::from_str(&text)?, &toml::Table::try_from(given)?, &mut changed);
    let within =
        |key: &str, part: &str| key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    changed.retain(|key| !EFFECTIVE.iter().any(|part| within(key, part)));
    ensure!(
        changed.is_empty(),
        "{} without effect on a finished run: it is measured as it was trained; `cargo xtask train` trains with other settings",
        changed.join(", ")
    );
    Ok(())
}

/// The keys, by their paths, under which two tables differ.
fn differences(path: &str, one: &toml::Table, other: &toml::Table, found: &mut Vec<String>) {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (one.get(key), other.get(key)) {
            (Some(toml::Value::Table(one)), Some(toml::Value::Table(other))) => differences(&path, one, other, found),
            (one, other) if one != other => found.push(path),
            _ => {}
        }
    }
}
