//! The reference implementations: a Python with the packages at the versions of `requirements.txt`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::Cmd;

use super::lines;
use crate::cargo;

/// What is installed; the environment is made anew when it changes.
const REQUIREMENTS: &str = include_str!("../../../crates/augment/peers/requirements.txt");

const SCRIPT: &str = "crates/augment/peers/references.py";

/// OpenMP and the linear algebra of numpy would take every core.
const ONE_THREAD: [(&str, &str); 3] =
    [("OMP_NUM_THREADS", "1"), ("OPENBLAS_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1")];

/// A Python that runs `references.py`.
pub(super) struct References {
    python: PathBuf,
}

impl References {
    /// The Python that was named, or else an environment under `cache`, which is filled if it is new.
    pub(super) fn prepare(named: Option<&Path>, cache: &Path) -> Result<Self> {
        let python = match named {
            // The script runs from the root of the workspace, wherever this was called from.
            Some(python) if python.components().count() > 1 => std::path::absolute(python)?,
            Some(python) => python.to_owned(),
            None => environment(&cache.join("venv"))?,
        };
        Ok(Self { python })
    }

    /// The versions, and why a peer is missing.
    pub(super) fn about(&self) -> Result<Value> {
        let text = self.run(["about"], &[]).with_context(|| {
            format!("{} does not have the packages of crates/augment/peers/requirements.txt", self.python.display())
        })?;
        lines(&text)?.pop().context("references.py said nothing about itself")
    }

    /// The photographs at a size, in the order of their names.
    pub(super) fn pictures(&self, side: u32, cache: &Path) -> Result<Vec<PathBuf>> {
        let folder = cache.join(format!("pictures-{side}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        self.run(["pictures", "--side", &side.to_string(), "--folder"], std::slice::from_ref(&folder))?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            files.push(entry?.path());
        }
        files.sort();
        Ok(files)
    }

    /// One round of every peer.
    pub(super) fn speed(&self, peers: &[&str], seconds: f64, pictures: &[PathBuf]) -> Result<Vec<Value>> {
        lines(&self.run(["speed", "--peers", &peers.join(","), "--seconds", &seconds.to_string()], pictures)?)
    }

    fn run<const N: usize>(&self, args: [&str; N], paths: &[PathBuf]) -> Result<String> {
        let shell = cargo::shell()?;
        let command = shell.cmd(&self.python).arg(SCRIPT).args(args).args(paths);
        let text = command.envs(ONE_THREAD).quiet().read();
        text.with_context(|| format!("{} {SCRIPT} failed", self.python.display()))
    }
}

/// The Python of a virtual environment with the packages; made and filled unless it is there already.
fn environment(folder: &Path) -> Result<PathBuf> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // Written last: an environment that was interrupted while it was filled has none.
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(python);
    }
    let shell = cargo::shell()?;
    let system = if cfg!(windows) { "python" } else { "python3" };
    let version = shell.cmd(system).args(["-c", "import sys; print(*sys.version_info[:2])"]).quiet().read();
    let version = version.with_context(|| format!("`{system}` does not run; name a Python by --python"))?;
    ensure!(
        matches!(version.as_str(), "3 9" | "3 10" | "3 11"),
        "`{system}` is Python {}; the references need 3.9 to 3.11. Install crates/augment/peers/requirements.txt with such a \
         one, and name it by --python",
        version.replace(' ', ".")
    );
    eprintln!("installing the reference implementations into {}", folder.display());
    let run = |command: Cmd<'_>, what: &str| command.quiet().run().with_context(|| what.to_owned());
    let made = shell.cmd(system).args(["-m", "venv", "--clear"]).arg(folder);
    run(made, "cannot make a virtual environment; Debian and Ubuntu keep what it needs in `python3-venv`")?;
    let pip = shell.cmd(&python).args(["-m", "pip", "install", "--quiet", "--no-deps", "--requirement"]);
    let list = cargo::root().join("crates/augment/peers/requirements.txt");
    run(pip.arg(list), "pip cannot install the reference implementations")?;
    std::fs::write(&stamp, REQUIREMENTS).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}
