//! What lies where in the folder of an evaluation.

use std::path::{Path, PathBuf};

/// What was asked of whom: the [`Plan`](crate::Plan).
pub(crate) const PLAN: &str = "plan.json";
/// The folder of the answers.
pub(crate) const ANSWERS: &str = "answers";
/// The folder of what each shard took.
pub(crate) const SHARDS: &str = "shards";
/// The record of the evaluation.
pub(crate) const EVALUATION: &str = "evaluation.json";
/// Its numbers, a row each.
pub(crate) const RESULTS: [&str; 2] = ["results.csv", "results.json"];
/// Milliseconds by model.
pub(crate) const TIMES: &str = "times.json";

/// The file with the names of a part's images, by the identity of the part.
pub(crate) fn names(out: &Path, part: &str) -> PathBuf {
    out.join(ANSWERS).join(&part[..16.min(part.len())]).join("names.json")
}
