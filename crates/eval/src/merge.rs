//! Answers of several folders in one, and new records of answers that are there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use robustify_report::evaluation::Evaluation;
use robustify_report::lock_folder;
use robustify_select::SelectConfig;
use robustify_watch::{Stopped, Watch};

use crate::engine::{finish, missing};
use crate::{Plan, place};

/// Puts the answers of shards that wrote into several folders into one, and judges them.
///
/// # Errors
/// Folders of different evaluations, with what differs; parts that no folder has, each with the shard that computes it.
pub fn merge(from: &[PathBuf], into: &Path, threads: usize, watch: &dyn Watch) -> Result<Evaluation> {
    let Some((first, others)) = from.split_first() else { bail!("no folder is named") };
    let plan = Plan::read(first)?;
    for other in others {
        let differs = differences(&plan, &Plan::read(other)?)?;
        ensure!(
            differs.is_empty(),
            "{} and {} are not of one evaluation: they differ in {}",
            first.display(),
            other.display(),
            differs.join(", ")
        );
    }
    std::fs::create_dir_all(into).with_context(|| into.display().to_string())?;
    let _lock = lock_folder(into)?;
    for folder in from {
        if std::fs::canonicalize(folder).ok() != std::fs::canonicalize(into).ok() {
            for part in [place::ANSWERS, place::SHARDS] {
                copy(&folder.join(part), &into.join(part), watch)?;
            }
        }
    }
    plan.write(into)?;
    whole(&plan, into)?;
    finish(&plan, into, threads, watch)
}

/// Judges the answers of a folder again, with another rule for models with three heads if one is given. No model and no pixel is needed.
///
/// # Errors
/// A folder of no evaluation, parts that are missing, or a rule that reads what no answer has.
pub fn rescore(out: &Path, rule: Option<&SelectConfig>, threads: usize, watch: &dyn Watch) -> Result<Evaluation> {
    let mut plan = Plan::read(out)?;
    whole(&plan, out)?;
    if let Some(rule) = rule {
        ensure!(
            !plan.rules.is_empty(),
            "{}: none of its models has three heads, so a rule has no effect",
            out.display()
        );
        plan.rules.values_mut().for_each(|own| *own = *rule);
    }
    finish(&plan, out, threads, watch)
}

/// An error unless all answers are there.
fn whole(plan: &Plan, out: &Path) -> Result<()> {
    let missing = missing(plan, out, None);
    if missing.is_empty() {
        return Ok(());
    }
    let shown = missing.iter().take(10).map(|line| format!("\n  {line}")).collect::<String>();
    let more = if missing.len() > 10 { format!("\n  and {} more", missing.len() - 10) } else { String::new() };
    bail!("{}: {} parts are missing:{shown}{more}\n  ({})", out.display(), missing.len(), plan.command)
}

/// The keys in which two plans differ.
fn differences(one: &Plan, other: &Plan) -> Result<Vec<String>> {
    let [one, other] = [serde_json::to_value(one)?, serde_json::to_value(other)?];
    let keys = one.as_object().into_iter().flat_map(|object| object.keys());
    Ok(keys.filter(|key| one.get(*key) != other.get(*key)).cloned().collect())
}

/// Copies the files of a folder that are not there yet. Their content says what they are, so a damaged one is found when it is read.
fn copy(from: &Path, into: &Path, watch: &dyn Watch) -> Result<()> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| from.display().to_string())?,
    };
    std::fs::create_dir_all(into).with_context(|| into.display().to_string())?;
    for entry in entries {
        watch.check(Stopped::Saved)?;
        let path = entry.with_context(|| from.display().to_string())?.path();
        let target = into.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target, watch)?;
        } else if !target.exists() {
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            robustify_report::write_atomic(&target, &bytes)?;
        }
    }
    Ok(())
}
