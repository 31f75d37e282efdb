//! From a checkpoint into a module: find the state dict, rename, check every name and shape, then read tensor by tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use burn::module::Module;

use super::checkpoint::Checkpoint;
use super::locate::{BESIDE, Located, first_parts, prefixes, rank, shortened};
use super::module::{fill, misshapen, missing, shapes, unexpected_tensor};
use super::names::{self, Naming, Recipe, Recipes, Shapes};
use super::raw::{Change, Dtype, RawTensor};
use super::resize::{Fit, Resized, fit};
use super::sound::{is_float, no_floats, sound};
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

impl Loaded {
    /// Tensors that lie beside the backbone that was taken, and are of no use to it: perhaps a classifier by another name. Of
    /// many the first, and how many more.
    pub fn beside(&self) -> Vec<String> {
        let names = self.passed_over.iter().filter(|(_, why)| why == BESIDE).map(|(name, _)| name.clone());
        shortened(&names.collect::<Vec<_>>())
    }
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
/// A file that cannot be read or is no checkpoint, one that does not fit the module in every tensor, and one with weights that
/// are no floats or not finite.
pub fn load<M: Module>(module: M, path: &Path) -> Result<M, ZooError> {
    load_from(module, &Checkpoint::open(path)?, LoadOptions::default()).map(|(module, _)| module)
}

/// Loads an open checkpoint into a module; best one whose parameters are blank ([`crate::Model::blank`]), for they take no
/// memory before they are loaded.
///
/// # Errors
/// A file that cannot be read, one that does not fit the module in every tensor unless that is allowed, and one with weights that
/// are no floats or not finite.
pub fn load_from<M: Module>(
    module: M,
    checkpoint: &Checkpoint,
    options: LoadOptions<'_>,
) -> Result<(M, Loaded), ZooError> {
    let expected = shapes(&module);
    let mut plan = Plan::find(checkpoint, &expected, options.from)?;
    let faults = plan.settle(&expected);
    if !faults.is_empty() && (options.partial == Partial::Refuse || plan.recipes.is_empty()) {
        return Err(plan.refusal(faults, expected.len()));
    }
    plan.expect_floats()?;
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

/// The number of classes of the classifier that a checkpoint has for a model with these tensors; 0 without a classifier.
///
/// # Errors
/// No state dict under the key `from`.
pub fn classes(checkpoint: &Checkpoint, model: &Shapes, from: Option<&str>) -> Result<usize, ZooError> {
    let plan = Plan::find_with(checkpoint, model, from, Plan::fits_but_for_classes)?;
    Ok(CLASSIFIERS.iter().find_map(|name| plan.about(&format!("{name}.weight"))?.1.first().copied()).unwrap_or(0))
}

/// Last layers of classifiers.
const CLASSIFIERS: [&str; 3] = ["head", "fc", "head.fc"];

/// Whether a mean over the patches is what the classifier of a checkpoint reads, by the norm behind it: the file has `fc_norm` and no
/// `norm`, as timm's models with a mean pool and MAE's fine-tuned ones. `model` are the tensors of such a model.
///
/// # Errors
/// No state dict under the key `from`.
pub(crate) fn has_pooled_norm(checkpoint: &Checkpoint, model: &Shapes, from: Option<&str>) -> Result<bool, ZooError> {
    let plan = Plan::find_with(checkpoint, model, from, Plan::fits_but_for_classes)?;
    Ok(plan.recipes.contains_key("fc_norm.weight") && !plan.recipes.contains_key("norm.weight"))
}

/// Which tensors of a checkpoint become which of ours.
pub(super) struct Plan<'a> {
    checkpoint: &'a Checkpoint,
    located: Located<'a>,
    /// Whether the user chose the key under which the state dict lies.
    chosen: bool,
    naming: Naming,
    pub(super) recipes: Recipes,
    found: Shapes,
    fits: BTreeMap<String, Fit>,
}

impl<'a> Plan<'a> {
    /// The plan for the state dict under `from`, or for the one under a usual key; where that does not fit whole, for the only one in the
    /// file that does.
    ///
    /// # Errors
    /// No state dict under `from`, or several that fit, of which none comes before the others.
    pub(super) fn find(checkpoint: &'a Checkpoint, expected: &Shapes, from: Option<&str>) -> Result<Self, ZooError> {
        Self::find_with(checkpoint, expected, from, Self::fits_whole)
    }

    fn find_with(
        checkpoint: &'a Checkpoint,
        expected: &Shapes,
        from: Option<&str>,
        fits: impl Fn(&Self, &Shapes) -> bool,
    ) -> Result<Self, ZooError> {
        let usual = Self::new(checkpoint, expected, from)?;
        if from.is_some() || fits(&usual, expected) {
            return Ok(usual);
        }
        let mut found: Vec<Self> = Vec::new();
        for key in prefixes(checkpoint.names(), expected.len() / 2) {
            // Wherever one fits, so does what is above it, if nothing else is there.
            let Ok(plan) = Self::new(checkpoint, expected, Some(key)) else { continue };
            let is_new = found.iter().all(|other| other.located.prefix != plan.located.prefix);
            if is_new && fits(&plan, expected) {
                found.push(Self { chosen: false, ..plan });
            }
        }
        let best = found.iter().map(|plan| rank(&plan.located.prefix)).min().unwrap_or_default();
        found.retain(|plan| rank(&plan.located.prefix) == best);
        match found.len() {
            0 => Ok(usual),
            1 => Ok(found.swap_remove(0)),
            _ => {
                let keys: Vec<String> =
                    found.iter().map(|plan| format!("--from {}", plan.located.prefix.trim_end_matches('.'))).collect();
                let reason = format!(
                    "several state dicts in it fit the model; choose one with {}",
                    shortened(&keys).join(" or ")
                );
                Err(ZooError::Format { path: checkpoint.path().into(), reason })
            }
        }
    }

    /// Whether every tensor is there as the model needs it, and none besides.
    fn fits_whole(&self, expected: &Shapes) -> bool {
        let mut trial = Self {
            located: Located { prefix: String::new(), names: BTreeMap::new(), passed_over: Vec::new() },
            recipes: self.recipes.clone(),
            found: self.found.clone(),
            fits: BTreeMap::new(),
            ..*self
        };
        trial.settle(expected).is_empty()
    }

    /// The same where the model may have another number of classes, or none.
    fn fits_but_for_classes(&self, expected: &Shapes) -> bool {
        let mut expected = expected.clone();
        for name in CLASSIFIERS.iter().flat_map(|name| [format!("{name}.weight"), format!("{name}.bias")]) {
            match self.recipes.get(&name).and_then(|recipe| recipe.shape(&self.found)) {
                Some(shape) => drop(expected.insert(name, shape)),
                None => drop(expected.remove(&name)),
            }
        }
        self.fits_whole(&expected)
    }

    pub(super) fn new(checkpoint: &'a Checkpoint, expected: &Shapes, from: Option<&str>) -> Result<Self, ZooError> {
        let mut located = Located::find(checkpoint.names(), expected, from)
            .map_err(|reason| ZooError::Format { path: checkpoint.path().into(), reason })?;
        let shape = |full: &str| checkpoint.shape(full).unwrap_or_default().to_vec();
        let found: Shapes = located.names.iter().map(|(name, &full)| (name.to_string(), shape(full))).collect();
        let as_is = expected.keys().all(|name| found.contains_key(name));
        let (naming, mut recipes) =
            if as_is { (names::own(expected), names::as_is(&found)) } else { names::import(&found, expected) };
        let in_tower = |name: &String| name.starts_with(IMAGE_TOWER);
        if recipes.keys().any(in_tower) && !expected.keys().any(in_tower) {
            recipes = image_tower(recipes, &mut located.passed_over);
        }
        Ok(Self { checkpoint, located, chosen: from.is_some(), naming, recipes, found, fits: BTreeMap::new() })
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
                self.located.passed_over.push((name, why.to_owned()));
            } else {
                faults.push(unexpected_tensor(&recipe.from[0], &self.found[&recipe.from[0]]));
            }
        }
        faults
    }

    /// Whether something is of another size of the input, once the plan is settled.
    pub(super) fn is_resized(&self) -> bool {
        !self.fits.is_empty()
    }

    /// The counters of training steps that layers with running statistics carry.
    pub(super) fn counters(&self) -> Recipes {
        let is_counter = |(name, _): &(&String, &Recipe)| name.ends_with(".num_batches_tracked");
        self.recipes.iter().filter(is_counter).map(|(name, recipe)| (name.clone(), recipe.clone())).collect()
    }

    /// The name in the file of a tensor of the state dict.
    fn in_file<'n>(&'n self, name: &'n str) -> &'n str {
        self.located.names.get(name).copied().unwrap_or(name)
    }

    /// Reads one of our tensors; `None` when the checkpoint does not have it.
    pub(super) fn raw(&self, name: &str) -> Result<Option<RawTensor>, ZooError> {
        let Some(recipe) = self.recipes.get(name) else { return Ok(None) };
        let from: Result<Vec<RawTensor>, ZooError> =
            recipe.from.iter().map(|name| self.checkpoint.read_raw(self.in_file(name))).collect();
        let made = recipe
            .change
            .apply(from?)
            .map_err(|reason| self.checkpoint.fault(self.in_file(&recipe.from[0]), &reason))?;
        Ok(Some(made))
    }

    /// Element type and dimensions of one of our tensors, before it is fitted to the model.
    pub(super) fn about(&self, name: &str) -> Option<(Dtype, Vec<usize>)> {
        let recipe = self.recipes.get(name)?;
        let dtype = match recipe.change {
            Change::AddFirstPosition => Dtype::F32,
            _ => self.checkpoint.dtype(self.in_file(&recipe.from[0]))?,
        };
        Some((dtype, recipe.shape(&self.found)?))
    }

    /// An error if weights are stored as something else than floats. Counters of training steps are no weights, and gone by now.
    fn expect_floats(&self) -> Result<(), ZooError> {
        let types = self.recipes.values().flat_map(|recipe| &recipe.from).filter_map(|name| {
            let name = self.in_file(name);
            Some((name, self.checkpoint.dtype(name)?))
        });
        let others: Vec<(&str, Dtype)> = types.filter(|(_, dtype)| !is_float(*dtype)).collect();
        let Some(&(tensor, dtype)) = others.first() else { return Ok(()) };
        let more = if others.len() > 1 {
            format!(" (as are those of {} more tensors)", others.len() - 1)
        } else {
            String::new()
        };
        let reason = no_floats(dtype) + &more;
        Err(ZooError::Weights { path: self.checkpoint.path().into(), tensor: tensor.to_owned(), reason })
    }

    fn entry(&self, name: &str, shape: &[usize]) -> Result<Option<Entry>, ZooError> {
        let Some(raw) = self.raw(name)? else { return Ok(None) };
        let in_file = self.recipes.get(name).map_or(name, |recipe| self.in_file(&recipe.from[0]));
        let entry = sound(self.checkpoint, in_file, raw)?;
        let fitted = match self.fits.get(name) {
            Some(fit) => fit.apply(&entry, shape).map_err(|reason| self.checkpoint.fault(name, &reason))?,
            None => entry,
        };
        Ok(Some(fitted))
    }

    pub(super) fn refusal(&self, faults: Vec<String>, expected: usize) -> ZooError {
        // What the file is says more than what it lacks, if that is most of it.
        let mut listed = if faults.len() * 2 > expected { self.instead() } else { Vec::new() };
        let is_of = |norm: &str, what: &str| {
            faults.iter().any(|fault| fault.starts_with(&format!("{what} tensor {norm}.weight")))
        };
        if is_of("fc_norm", "unexpected") && is_of("norm", "missing") {
            listed.push("its classifier reads the mean of the patches (fc_norm): set pool = \"mean\" and fc_norm = true for the network".into());
        }
        listed.extend(shortened(&faults));
        ZooError::Mismatch { path: self.checkpoint.path().into(), faults: listed }
    }

    /// What the file has instead of the model, and how another part of it is taken.
    fn instead(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let (guess, keys) = (guess::architecture(&self.found), self.located.other_keys());
        let mut parts_are_keys = false;
        match (guess, self.found.keys().next()) {
            (Some(what), _) => sentences.push(format!("this looks like a checkpoint of {what}")),
            (None, Some(example)) => {
                let under = match self.located.prefix.trim_end_matches('.') {
                    "" => String::new(),
                    prefix => format!(" under {prefix}"),
                };
                let parts = shortened(&first_parts(self.found.keys().map(String::as_str))).join(", ");
                sentences.push(format!("its tensors{under} begin with {parts}, such as {example}"));
                parts_are_keys = under.is_empty();
            }
            (None, None) => {}
        }
        if !keys.is_empty() {
            sentences.push(format!("the file also has {}", shortened(&keys).join(", ")));
        }
        if !self.chosen && (parts_are_keys || !keys.is_empty()) {
            sentences.push("`robustify models convert --from KEY` takes the state dict under one of them".into());
        }
        sentences
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
            others: self.located.other_state_dicts(),
            prefix: self.located.prefix,
            naming: self.naming,
            tensors: self.recipes.len(),
            resized,
            passed_over: self.located.passed_over,
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

/// Where a whole CLIP keeps its image tower.
const IMAGE_TOWER: &str = "visual.";
