//! From one program's names to another's, bit for bit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use burn::module::Module;
use tempfile::NamedTempFile;

use super::checkpoint::Checkpoint;
use super::load::{Loaded, Plan};
use super::module::shapes;
use super::names::{self, Naming, Recipe};
use super::raw::{Change, Dtype, RawTensor};
use super::safetensors;
use crate::ZooError;

/// Writes a checkpoint as safetensors under another program's names. Element types and bits stay; one tensor is in memory
/// at a time. `module` tells which tensors there are, and may be blank. Position embeddings keep their size.
///
/// The file appears whole or not at all: it is written under a neighbouring name first, which no other file has. A link is
/// followed, and what is no file is left alone, as is, unless it may be replaced, a file that holds something else.
///
/// # Errors
/// A checkpoint that is not of such a module, a naming that has no names for it, or a file that cannot be read or written.
pub fn convert<M: Module>(
    module: &M,
    checkpoint: &Checkpoint,
    from: Option<&str>,
    to: Naming,
    out: &Path,
    existing: Existing,
) -> Result<Loaded, ZooError> {
    let expected = shapes(module);
    let mut plan = Plan::find(checkpoint, &expected, from)?;
    let counters = plan.counters();
    let faults = plan.settle(&expected);
    if !faults.is_empty() {
        return Err(plan.refusal(faults, expected.len()));
    }
    let no_names = || ZooError::NoNames { path: checkpoint.path().into(), naming: to };
    let mut recipes = names::export(to, &expected).ok_or_else(no_names)?;
    // Counters of training steps go along with the statistics of their layers.
    for (name, recipe) in counters {
        let mean = vec![sibling(&name, COUNTER, MEAN)];
        let theirs =
            recipes.iter().find(|(_, recipe)| recipe.from == mean).map(|(theirs, _)| sibling(theirs, MEAN, COUNTER));
        if let Some(theirs) = theirs {
            recipes.insert(theirs, Recipe { from: vec![name.clone()], change: Change::Keep });
            plan.recipes.insert(name, recipe);
        }
    }
    let mut tensors = BTreeMap::new();
    for (name, recipe) in &recipes {
        tensors.insert(name.clone(), about(&plan, recipe).ok_or_else(no_names)?);
    }
    let io = |source| ZooError::Io { path: out.into(), source };
    let target = target(out).map_err(io)?;
    let neighbour = neighbour(&target).map_err(io)?;
    let mut file = BufWriter::new(neighbour.as_file());
    safetensors::write(&mut file, &tensors, io, |name| produce(&plan, checkpoint, &recipes[name]))?;
    file.get_ref().sync_all().map_err(io)?;
    drop(file);
    if target.is_file() && same_bytes(neighbour.path(), &target).map_err(io)? {
        return Ok(plan.loaded(&expected, Vec::new()));
    }
    if target.is_file() && existing == Existing::Stays {
        let reason = "is there already, and holds something else; name another file, or replace it with --force";
        return Err(io(io::Error::other(reason)));
    }
    neighbour.persist(&target).map_err(|error| io(error.error))?;
    Ok(plan.loaded(&expected, Vec::new()))
}

/// What becomes of a file that stands where a result is to go, and holds something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing is an error.
    Stays,
    /// It is replaced.
    Goes,
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 || left[..length] != right[..length] {
            return Ok(left.len() == right.len() && length == 0);
        }
        one.consume(length);
        other.consume(length);
    }
}

const COUNTER: &str = "num_batches_tracked";
const MEAN: &str = "running_mean";

/// A name with another last part.
fn sibling(name: &str, last: &str, other: &str) -> String {
    format!("{}{other}", name.strip_suffix(last).unwrap_or(name))
}

/// Where a result under this name belongs.
fn target(out: &Path) -> io::Result<PathBuf> {
    match out.metadata() {
        Ok(about) if about.is_file() => out.canonicalize(),
        Ok(_) => Err(io::Error::other("exists and is no file; name another one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(out.to_owned()),
        Err(error) => Err(error),
    }
}

/// A new file beside another; it goes away when dropped.
fn neighbour(file: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    // Temporary files are their owner's alone; the result is for everybody whom the umask lets in.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    builder.tempfile_in(folder.unwrap_or(Path::new(".")))
}

fn about(plan: &Plan<'_>, recipe: &Recipe) -> Option<(Dtype, Vec<usize>)> {
    let from: Option<Vec<(Dtype, Vec<usize>)>> = recipe.from.iter().map(|name| plan.about(name)).collect();
    let from = from?;
    let shapes: Vec<&[usize]> = from.iter().map(|(_, shape)| shape.as_slice()).collect();
    Some((from[0].0, recipe.change.shape(&shapes)?))
}

fn produce(plan: &Plan<'_>, checkpoint: &Checkpoint, recipe: &Recipe) -> Result<RawTensor, ZooError> {
    let missing = |name: &String| checkpoint.fault(name, "it is missing");
    let from: Result<Vec<RawTensor>, ZooError> =
        recipe.from.iter().map(|name| plan.raw(name)?.ok_or_else(|| missing(name))).collect();
    recipe.change.apply(from?).map_err(|reason| checkpoint.fault(&recipe.from[0], &reason))
}
