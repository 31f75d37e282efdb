//! `corrupt`: the benchmark's corruptions into files.

use anyhow::{Context, ensure};
use robustify_augment::{Corruption, Profile, Severity};
use robustify_pictures::CorruptJob;

use crate::args::Corrupt;
use crate::console::Console;

/// Corrupts every picture of the input.
pub fn run(options: &Corrupt, console: &Console) -> anyhow::Result<()> {
    let profile: Profile = options.profile.parse()?;
    let job = CorruptJob {
        files: options.offline.files(),
        profile,
        corruptions: corruptions(&options.corruption, profile)?,
        severities: severities(&options.severity)?,
        frost_dir: options.frost_dir.clone(),
        noise_from: options.noise_from.clone(),
    };
    robustify_pictures::corrupt(&job, console)
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
