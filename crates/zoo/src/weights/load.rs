//! From a checkpoint into a module: find the state dict, rename, check every name and shape, then read tensor by tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use burn::module::Module;

use super::checkpoint::Checkpoint;
use super::module::{fill, misshapen, missing, shapes, unexpected_tensor};
use super::names::{self, Naming, Recipe, Recipes, Shapes};
use super::raw::{Change, Dtype, RawTensor};
use super::resize::{Fit, Resized, fit};
use super::{Entry, guess};
use crate::ZooError;

/// What to do with a checkpoint that does not fit in all tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partial {
    /// Refuse it, and name every tensor.
    #[default]
    Refuse,
    /// Load what fits. The other parameters stay as they are in the module.
    Allow,
}

/// How a checkpoint is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions<'a> {
    /// The key under which the state dict lies in a file that nests several; without it, the usual keys are tried.
    pub from: Option<&'a str>,
    /// Whether some tensors may be missing, unexpected or of another shape.
    pub partial: Partial,
}

/// What a load found and did.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Keys and prefixes in front of the names, with dots between and behind them; empty when there are none.
    pub prefix: String,
    /// Whose names they are.
    pub naming: Naming,
    /// Number of parameters that were loaded, in tensors.
    pub tensors: usize,
    /// Keys of other state dicts of such a model in the same file, which [`LoadOptions::from`] chooses.
    pub others: Vec<String>,
    /// What the checkpoint has for another size of the input than the model's. Loading fits it, [`super::convert`] keeps it.
    pub resized: Vec<Resized>,
    /// Tensors that no model needs, and why.
    pub passed_over: Vec<(String, String)>,
    /// What did not fit, as sentences; empty unless that was allowed.
    pub faults: Vec<String>,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} tensors", self.path.display(), self.tensors)?;
        if !self.prefix.is_empty() {
            write!(f, " under {}", self.prefix.trim_end_matches('.'))?;
        }
        if !self.others.is_empty() {
            write!(f, " (the file also has {})", shortened(&self.others).join(", "))?;
        }
        if self.naming != Naming::Timm {
            write!(f, ", named as {} does", self.naming)?;
        }
        let reasons: BTreeSet<&str> = self.passed_over.iter().map(|(_, why)| why.as_str()).collect();
        for reason in reasons {
            let count = self.passed_over.iter().filter(|(_, why)| why == reason).count();
            write!(f, "; {count} passed over ({reason})")?;
        }
        for resized in &self.resized {
            let Resized { what, unit, from, to, .. } = resized;
            write!(f, "; {what} fitted to the size of the input, from {from}x{from} {unit} to {to}x{to}")?;
        }
        if !self.faults.is_empty() {
            write!(f, "; left as they were: {}", shortened(&self.faults).join(", "))?;
        }
        Ok(())
    }
}

/// Loads a checkpoint of any kind and naming into a module.
///
/// # Errors
/// A file that cannot be read or is no checkpoint, and one that does not fit the module in every tensor.
pub fn load<M: Module>(module: M, path: &Path) -> Result<M, ZooError> {
    load_from(module, &Checkpoint::open(path)?, LoadOptions::default()).map(|(module, _)| module)
}

/// Loads an open checkpoint into a module; best one whose parameters are blank ([`crate::Model::blank`]), for they take no
/// memory before they are loaded.
///
/// # Errors
/// A file that cannot be read, and one that does not fit the module in every tensor unless that is allowed.
pub fn load_from<M: Module>(
    module: M,
    checkpoint: &Checkpoint,
    options: LoadOptions<'_>,
) -> Result<(M, Loaded), ZooError> {
    let expected = shapes(&module);
    let mut plan = Plan::new(checkpoint, &expected, options.from)?;
    let faults = plan.settle(&expected);
    if !faults.is_empty() && (options.partial == Partial::Refuse || plan.recipes.is_empty()) {
        return Err(plan.refusal(faults, expected.len()));
    }
    let mut failure = None;
    let module = fill(module, |name, shape| {
        if failure.is_some() {
            return None;
        }
        plan.entry(name, shape).unwrap_or_else(|error| {
            failure = Some(error);
            None
        })
    });
    match failure {
        Some(error) => Err(error),
        None => Ok((module, plan.loaded(&expected, faults))),
    }
}

/// Which tensors of a checkpoint become which of ours.
pub(super) struct Plan<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
    others: Vec<String>,
    naming: Naming,
    pub(super) recipes: Recipes,
    found: Shapes,
    passed_over: Vec<(String, String)>,
    fits: BTreeMap<String, Fit>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, expected: &Shapes, from: Option<&str>) -> Result<Self, ZooError> {
        let mut names: Vec<&str> = checkpoint.names().collect();
        let mut passed_over = Vec::new();
        let prefix = locate(&mut names, expected, from, &mut passed_over)
            .map_err(|reason| ZooError::Format { path: checkpoint.path().into(), reason })?;
        let others = other_state_dicts(&names, &passed_over);
        let shape = |name: &str| checkpoint.shape(&format!("{prefix}{name}")).unwrap_or_default().to_vec();
        let found: Shapes = names.iter().map(|&name| (name.to_owned(), shape(name))).collect();
        let as_is = expected.keys().all(|name| found.contains_key(name));
        let (naming, mut recipes) =
            if as_is { (names::own(expected), names::as_is(&found)) } else { names::import(&found, expected) };
        let in_tower = |name: &String| name.starts_with(IMAGE_TOWER);
        if recipes.keys().any(in_tower) && !expected.keys().any(in_tower) {
            recipes = image_tower(recipes, &mut passed_over);
        }
        Ok(Self { checkpoint, prefix, others, naming, recipes, found, passed_over, fits: BTreeMap::new() })
    }

    /// Compares names and shapes with those of a model. What does not fit is described and taken out of the plan.
    pub(super) fn settle(&mut self, expected: &Shapes) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, shape) in expected {
            let Some(recipe) = self.recipes.get(name) else {
                faults.push(missing(name, shape));
                continue;
            };
            let found = recipe.shape(&self.found);
            if found.as_ref() == Some(shape) {
                continue;
            }
            let found = found.unwrap_or_else(|| self.found[&recipe.from[0]].clone());
            if let Some(fit) = fit(name, &found, expected) {
                self.fits.insert(name.clone(), fit);
            } else {
                faults.push(misshapen(name, &found, shape));
                self.recipes.remove(name);
            }
        }
        for (name, recipe) in std::mem::take(&mut self.recipes) {
            if expected.contains_key(&name) {
                self.recipes.insert(name, recipe);
            } else if let Some(why) = names::passed_over(&name) {
                self.passed_over.push((name, why.to_owned()));
            } else {
                faults.push(unexpected_tensor(&recipe.from[0], &self.found[&recipe.from[0]]));
            }
        }
        faults
    }

    /// The counters of training steps that layers with running statistics carry.
    pub(super) fn counters(&self) -> Recipes {
        let is_counter = |(name, _): &(&String, &Recipe)| name.ends_with(".num_batches_tracked");
        self.recipes.iter().filter(is_counter).map(|(name, recipe)| (name.clone(), recipe.clone())).collect()
    }

    /// Reads one of our tensors; `None` when the checkpoint does not have it.
    pub(super) fn raw(&self, name: &str) -> Result<Option<RawTensor>, ZooError> {
        let Some(recipe) = self.recipes.get(name) else { return Ok(None) };
        let full = |name: &String| format!("{}{name}", self.prefix);
        let from: Result<Vec<RawTensor>, ZooError> =
            recipe.from.iter().map(|name| self.checkpoint.read_raw(&full(name))).collect();
        let made =
            recipe.change.apply(from?).map_err(|reason| self.checkpoint.fault(&full(&recipe.from[0]), &reason))?;
        Ok(Some(made))
    }

    /// Element type and dimensions of one of our tensors, before it is fitted to the model.
    pub(super) fn about(&self, name: &str) -> Option<(Dtype, Vec<usize>)> {
        let recipe = self.recipes.get(name)?;
        let dtype = match recipe.change {
            Change::AddFirstPosition => Dtype::F32,
            _ => self.checkpoint.dtype(&format!("{}{}", self.prefix, recipe.from[0]))?,
        };
        Some((dtype, recipe.shape(&self.found)?))
    }

    fn entry(&self, name: &str, shape: &[usize]) -> Result<Option<Entry>, ZooError> {
        let Some(raw) = self.raw(name)? else { return Ok(None) };
        let entry = raw.into_entry().map_err(|reason| self.checkpoint.fault(name, &reason))?;
        let fitted = match self.fits.get(name) {
            Some(fit) => fit.apply(&entry, shape).map_err(|reason| self.checkpoint.fault(name, &reason))?,
            None => entry,
        };
        Ok(Some(fitted))
    }

    pub(super) fn refusal(&self, faults: Vec<String>, expected: usize) -> ZooError {
        let mut listed = shortened(&faults);
        if faults.len() * 2 > expected {
            listed
                .extend(guess::architecture(&self.found).map(|what| format!("this looks like a checkpoint of {what}")));
        }
        ZooError::Mismatch { path: self.checkpoint.path().into(), faults: listed }
    }

    /// What is loaded of the plan, and what is not.
    pub(super) fn loaded(self, expected: &Shapes, faults: Vec<String>) -> Loaded {
        let mut resized: Vec<Resized> = Vec::new();
        for (name, fit) in &self.fits {
            let Some((_, found)) = self.about(name) else { continue };
            let one = fit.described(name, &found, &expected[name]);
            match resized.iter_mut().find(|known| known.is_like(&one)) {
                Some(known) => known.names.extend(one.names),
                None => resized.push(one),
            }
        }
        Loaded {
            path: self.checkpoint.path().into(),
            prefix: self.prefix,
            others: self.others,
            naming: self.naming,
            tensors: self.recipes.len(),
            resized,
            passed_over: self.passed_over,
            faults,
        }
    }
}

/// The tensors of the image tower of a whole CLIP.
fn image_tower(recipes: Recipes, passed_over: &mut Vec<(String, String)>) -> Recipes {
    let mut tower = Recipes::new();
    for (name, recipe) in recipes {
        match name.strip_prefix(IMAGE_TOWER) {
            Some(name) => drop(tower.insert(name.to_owned(), recipe)),
            None => passed_over.push((name, "belongs to the text tower".to_owned())),
        }
    }
    tower
}

/// The first of a long list, and how many more there are.
fn shortened(list: &[String]) -> Vec<String> {
    const SHOWN: usize = 20;
    let mut shown: Vec<String> = list.iter().take(SHOWN).cloned().collect();
    if list.len() > SHOWN {
        shown.push(format!("and {} more", list.len() - SHOWN));
    }
    shown
}

/// Keys that programs put around a state dict, best first: where there are several, an average of the weights comes before
/// the weights, as in timm, and DINO's teacher before its student.
const WRAPPERS: &[&str] =
    &["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "student", "module", "net"];

/// Prefixes that wrapping modules leave, and why tensors without them are passed over; where there is no reason, all
/// tensors must carry the prefix.
const PREFIXES: &[(&str, Option<&str>)] =
    &[("module.", None), ("_orig_mod.", None), ("model.", None), ("backbone.", Some("is outside of the backbone"))];

/// Where a whole CLIP keeps its image tower.
const IMAGE_TOWER: &str = "visual.";

/// Finds what is in front of the names of a state dict, and takes it from `names`.
fn locate(
    names: &mut Vec<&str>,
    expected: &Shapes,
    from: Option<&str>,
    passed_over: &mut Vec<(String, String)>,
) -> Result<String, String> {
    let ours = |prefix: &str| expected.keys().any(|name| name.starts_with(prefix));
    let mut found = String::new();
    let wrapper = match from {
        Some("") => return Err("the key of a state dict is empty; leave it out, and the usual keys are tried".into()),
        Some(key) => Some(format!("{key}.")),
        None => WRAPPERS
            .iter()
            .map(|key| format!("{key}."))
            .find(|key| names.iter().any(|name| name.starts_with(key)) && !ours(key)),
    };
    if let Some(prefix) = wrapper {
        if !names.iter().any(|name| name.starts_with(&prefix)) {
            let keys: BTreeSet<&str> = names.iter().filter_map(|name| name.split('.').next()).collect();
            let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
            let key = prefix.trim_end_matches('.');
            return Err(format!("no tensors under {key}; there are {}", shortened(&keys).join(", ")));
        }
        take(names, &prefix, OUTSIDE, passed_over);
        found.push_str(&prefix);
    }
    while let Some((prefix, why)) = PREFIXES.iter().find(|(prefix, why)| {
        let carry = names.iter().filter(|name| name.starts_with(prefix)).count();
        carry > 0 && !ours(prefix) && (carry == names.len() || why.is_some())
    }) {
        take(names, prefix, why.unwrap_or_default(), passed_over);
        found.push_str(prefix);
    }
    Ok(found)
}

/// Why tensors under other keys than that of the state dict are passed over.
const OUTSIDE: &str = "is outside of the state dict";

/// Keys under which tensors lie that are named as those of the state dict found.
fn other_state_dicts(names: &[&str], passed_over: &[(String, String)]) -> Vec<String> {
    let found: BTreeSet<&str> = names.iter().copied().filter(|name| name.contains('.')).collect();
    let mut keys = BTreeSet::new();
    for (name, _) in passed_over.iter().filter(|(_, why)| why == OUTSIDE) {
        let Some((key, mut rest)) = name.split_once('.') else { continue };
        while !found.contains(rest) {
            let Some((_, inner)) = rest.split_once('.') else { break };
            rest = inner;
        }
        if found.contains(rest) {
            keys.insert(key.to_owned());
        }
    }
    keys.into_iter().collect()
}

fn take<'a>(names: &mut Vec<&'a str>, prefix: &str, why: &str, passed_over: &mut Vec<(String, String)>) {
    names.retain_mut(|name: &mut &'a str| match name.strip_prefix(prefix) {
        Some(rest) => {
            *name = rest;
            true
        }
        None => {
            passed_over.push(((*name).to_owned(), why.to_owned()));
            false
        }
    });
}
