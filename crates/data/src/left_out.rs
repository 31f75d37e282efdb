//! Telling what was left out of a data set: each entry once, by reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use robustify_watch::{Watch, printable, shown};

use crate::error::{Result, io_error};
use crate::{Images, Skipped};

/// Most names that a warning lists.
const NAMED: usize = 5;

/// Every entry that was left out of some sets, once, however many of them share it.
pub(crate) fn of<'a>(sets: impl IntoIterator<Item = &'a Images>) -> Vec<Skipped> {
    let mut seen = BTreeSet::new();
    let all = sets.into_iter().flat_map(|set| set.skipped());
    all.filter(|skipped| seen.insert((&skipped.path, &skipped.reason))).cloned().collect()
}

/// Warns of what was left out, a line a reason. `list` is a file for all names, which is written when a line cannot hold
/// them, and removed if it is there and nothing was left out.
///
/// # Errors
/// The list cannot be written or removed.
pub fn tell(skipped: &[Skipped], list: Option<&Path>, watch: &dyn Watch) -> Result<()> {
    let mut by_reason: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
    for Skipped { path, reason } in skipped {
        by_reason.entry(reason).or_default().push(path);
    }
    let listed = by_reason.values().any(|paths| paths.len() > NAMED);
    match list {
        Some(list) if listed => {
            let mut text = String::new();
            for Skipped { path, reason } in skipped {
                let _ = writeln!(text, "{}: {}", shown(path), printable(reason));
            }
            fs::write(list, text).map_err(io_error(list, "write"))?;
        }
        Some(list) if list.exists() => fs::remove_file(list).map_err(io_error(list, "remove"))?,
        _ => {}
    }
    for (reason, paths) in by_reason {
        let names: Vec<String> = paths.iter().take(NAMED).map(|path| shown(path)).collect();
        let more = match (paths.len().saturating_sub(NAMED), list) {
            (0, _) => String::new(),
            (more, Some(list)) => format!(" and {more} more, all listed in {}", shown(list)),
            (more, None) => format!(" and {more} more"),
        };
        let text = match &names[..] {
            [name] => format!("{name}: {reason}"),
            names => format!("{} left out: {reason}: {}{more}", paths.len(), names.join(", ")),
        };
        watch.warn(&printable(&text));
    }
    Ok(())
}
