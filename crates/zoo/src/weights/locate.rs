//! Where a state dict lies in a file: under which key, and behind which prefixes of modules that wrapped the model.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Shapes};

/// Keys that programs put around a state dict, best first: where there are several, an average of the weights comes before
/// the weights, as in timm, and DINO's teacher before its student.
const WRAPPERS: &[&str] =
    &["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "student", "module", "net"];

/// Prefixes that wrapping modules leave, and why tensors without them are passed over; where there is no reason, all
/// tensors that a model needs must carry the prefix.
const PREFIXES: &[(&str, Option<&str>)] =
    &[("module.", None), ("_orig_mod.", None), ("model.", None), ("backbone.", Some(BESIDE))];

/// Why a tensor beside a `backbone.` is passed over.
pub(super) const BESIDE: &str = "is outside of the backbone";

/// Why tensors under other keys than that of the state dict are passed over.
const OUTSIDE: &str = "is outside of the state dict";

/// A state dict in a file.
pub(super) struct Located<'a> {
    /// Keys and prefixes in front of its names, with dots between and behind them.
    pub prefix: String,
    /// Its tensors without the prefix, and their names in the file. A classifier beside a backbone belongs to them.
    pub names: BTreeMap<&'a str, &'a str>,
    /// The other tensors of the file, and why they are passed over.
    pub passed_over: Vec<(String, String)>,
}

impl<'a> Located<'a> {
    /// Finds the state dict of a model with tensors of the names `expected` among `all` tensors of a file: under the key
    /// `from`, or without one under the usual ones.
    pub fn find(all: impl Iterator<Item = &'a str>, expected: &Shapes, from: Option<&str>) -> Result<Self, String> {
        let names = all.map(|name| (name, name)).collect();
        let mut found = Self { prefix: String::new(), names, passed_over: Vec::new() };
        let ours = |prefix: &str| expected.keys().any(|name| name.starts_with(prefix));
        let wrapper = match from {
            Some("") => {
                return Err("the key of a state dict is empty; leave it out, and the usual keys are tried".into());
            }
            Some(key) => Some(format!("{key}.")),
            None => WRAPPERS.iter().map(|key| format!("{key}.")).find(|key| found.carries(key) && !ours(key)),
        };
        if let Some(prefix) = wrapper {
            if !found.carries(&prefix) {
                let (key, there) = (prefix.trim_end_matches('.'), first_parts(found.names.into_keys()));
                return Err(format!("no tensors under {key}; there are {}", shortened(&there).join(", ")));
            }
            found.take(&prefix, |_| false, Some(OUTSIDE));
        }
        while let Some((prefix, why)) = PREFIXES.iter().find(|(prefix, why)| {
            found.carries(prefix) && !ours(prefix) && (why.is_some() || found.all_needed_carry(prefix))
        }) {
            found.take(prefix, |name| expected.contains_key(name), *why);
        }
        Ok(found)
    }

    fn carries(&self, prefix: &str) -> bool {
        self.names.keys().any(|name| name.starts_with(prefix))
    }

    /// Counters and the like may lie beside the module that was wrapped.
    fn all_needed_carry(&self, prefix: &str) -> bool {
        self.names.keys().all(|name| name.starts_with(prefix) || names::passed_over(name).is_some())
    }

    /// Takes a prefix from the names. What is without it is passed over, unless it `belongs` to the model as it is.
    fn take(&mut self, prefix: &str, belongs: impl Fn(&str) -> bool, why: Option<&str>) {
        let (inside, outside): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.names).into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.names = inside.into_iter().map(|(name, full)| (&name[prefix.len()..], full)).collect();
        for (name, full) in outside {
            if belongs(name) && !self.names.contains_key(name) {
                self.names.insert(name, full);
            } else {
                let why = why.or_else(|| names::passed_over(name)).unwrap_or_default();
                self.passed_over.push((full.to_owned(), why.to_owned()));
            }
        }
        self.prefix.push_str(prefix);
    }

    fn outside(&self) -> impl Iterator<Item = &str> {
        self.passed_over.iter().filter(|(_, why)| why == OUTSIDE).map(|(name, _)| name.as_str())
    }

    /// Keys beside that of the state dict.
    pub fn other_keys(&self) -> Vec<String> {
        first_parts(self.outside())
    }

    /// Those of them under which tensors lie that are named as those of the state dict.
    pub fn other_state_dicts(&self) -> Vec<String> {
        let known = |name: &str| name.contains('.') && self.names.contains_key(name);
        let is_like =
            |name: &&str| std::iter::successors(Some(*name), |rest| Some(rest.split_once('.')?.1)).skip(1).any(known);
        first_parts(self.outside().filter(is_like))
    }
}

/// What names begin with, up to a dot, in order.
pub(super) fn first_parts<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let parts: BTreeSet<&str> = names.filter_map(|name| name.split('.').next()).collect();
    parts.into_iter().map(str::to_owned).collect()
}

/// The first of a long list, and how many more there are.
pub(super) fn shortened(list: &[String]) -> Vec<String> {
    const SHOWN: usize = 20;
    let mut shown: Vec<String> = list.iter().take(SHOWN).cloned().collect();
    if list.len() > SHOWN {
        shown.push(format!("and {} more", list.len() - SHOWN));
    }
    shown
}
