//! Where a state dict lies in a file: under which key, and behind which prefixes of modules that wrapped the model.

use std::borrow::Cow;
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
    pub names: BTreeMap<Cow<'a, str>, &'a str>,
    /// The other tensors of the file, and why they are passed over.
    pub passed_over: Vec<(String, String)>,
}

impl<'a> Located<'a> {
    /// Finds the state dict of a model with tensors of the names `expected` among `all` tensors of a file: under the key
    /// `from`, or without one under the usual ones.
    pub fn find(all: impl Iterator<Item = &'a str>, expected: &Shapes, from: Option<&str>) -> Result<Self, String> {
        let names = all.map(|name| (Cow::Borrowed(name), name)).collect();
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
                let (key, there) = (prefix.trim_end_matches('.'), first_parts(found.names.values().copied()));
                return Err(format!("no tensors under {key}; there are {}", shortened(&there).join(", ")));
            }
            found.take(&prefix, |_| false, Some(OUTSIDE));
        }
        while let Some((prefix, why)) = PREFIXES.iter().find(|(prefix, why)| {
            found.carries(prefix) && !ours(prefix) && (why.is_some() || found.all_needed_carry(prefix))
        }) {
            found.take(prefix, |name| expected.contains_key(name), *why);
        }
        found.unchunk();
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
        let without = |(name, full): (Cow<'a, str>, _)| match name {
            Cow::Borrowed(name) => (Cow::Borrowed(&name[prefix.len()..]), full),
            Cow::Owned(name) => (Cow::Owned(name[prefix.len()..].to_owned()), full),
        };
        self.names = inside.into_iter().map(without).collect();
        for (name, full) in outside {
            if belongs(&name) && !self.names.contains_key(&name) {
                self.names.insert(name, full);
            } else {
                let why = why.or_else(|| names::passed_over(&name)).unwrap_or_default();
                self.passed_over.push((full.to_owned(), why.to_owned()));
            }
        }
        self.prefix.push_str(prefix);
    }

    /// DINOv2 trains with its blocks in chunks, as in `blocks.1.7.norm1.weight`; the second number counts over all of them.
    /// Source: dinov2's `models/vision_transformer.py`, `block_chunks`.
    fn unchunk(&mut self) {
        fn block(name: &str) -> Option<&str> {
            let (chunk, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
            let (block, _) = rest.split_once('.')?;
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            (is_number(chunk) && is_number(block)).then_some(rest)
        }
        let mut blocks = self.names.keys().filter(|name| name.starts_with("blocks.")).peekable();
        if blocks.peek().is_none() || !blocks.all(|name| block(name).is_some()) {
            return;
        }
        let names = std::mem::take(&mut self.names);
        self.names = names
            .into_iter()
            .map(|(name, full)| match block(&name) {
                Some(rest) => (Cow::Owned(format!("blocks.{rest}")), full),
                None => (name, full),
            })
            .collect();
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

/// Keys and prefixes under which at least `count` tensors lie, the outer ones first.
pub(super) fn prefixes<'n>(names: impl Iterator<Item = &'n str>, count: usize) -> Vec<&'n str> {
    let mut tensors: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        for (dot, _) in name.match_indices('.').take(MOST_LEVELS) {
            *tensors.entry(&name[..dot]).or_default() += 1;
        }
    }
    tensors.retain(|_, found| *found >= count);
    let mut all: Vec<&str> = tensors.into_keys().collect();
    all.sort_by_key(|prefix| prefix.matches('.').count());
    all
}

/// Levels of keys above a state dict.
const MOST_LEVELS: usize = 8;

/// How soon a key is taken where state dicts under several keys fit; later than all others where it is not a usual one.
pub(super) fn rank(prefix: &str) -> usize {
    let of =
        |part: &str| WRAPPERS.iter().position(|known| *known == part && *known != "model" && *known != "state_dict");
    prefix.split('.').filter_map(of).min().unwrap_or(WRAPPERS.len())
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
