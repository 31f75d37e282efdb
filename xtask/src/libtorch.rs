//! LibTorch for `--backend tch`: found and checked before a build of minutes would fail for want of it.
//!
//! burn-tch 0.22.1 links LibTorch 2.9.0 and no other, taken from a Python environment with that PyTorch or from a folder
//! named by `LIBTORCH`. Neither leaves the path of its libraries in the program, so it is set here for every run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::Request;

/// The one version burn-tch 0.22.1 links.
const VERSION: &str = "2.9.0";

/// Where the dynamic loader looks for libraries.
const LOADER_PATH: &str = if cfg!(windows) {
    "PATH"
} else if cfg!(target_os = "macos") {
    "DYLD_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// What the build script of `torch-sys` imports, and where the libraries lie.
const QUESTION: &str =
    "import torch, torch.utils.cpp_extension as e; print(torch.__version__); print(e.library_paths()[0])";

const RECIPE: &str = "\
Either name a Python environment that has it,

    python3 -m venv .venv-torch
    .venv-torch/bin/pip install torch==2.9.0 numpy setuptools      # about 6 GB, with or without a GPU
    cargo xtask <subcommand> --backend tch --torch-venv .venv-torch

or activate such an environment and leave `--torch-venv` out; or unpack LibTorch 2.9.0 (C++11 ABI) and

    export LIBTORCH=<folder with include/ and lib/>

Without xtask, cargo needs the same and the path of the libraries by hand:

    export VIRTUAL_ENV=\"$PWD/.venv-torch\" PATH=\"$PWD/.venv-torch/bin:$PATH\" LIBTORCH_USE_PYTORCH=1
    cargo build --release --features tch
    export LD_LIBRARY_PATH=\"$(python -c 'import torch; print(torch.__path__[0])')/lib\"";

/// The environment that lets a request for `tch` build, link and run; nothing for other backends.
pub fn environment(request: &Request) -> Result<Vec<(&'static str, OsString)>> {
    if request.backend.as_ref().is_none_or(|backend| backend.name != "tch") {
        if request.torch_venv.is_some() {
            bail!("--torch-venv is for `--backend tch` alone");
        }
        return Ok(Vec::new());
    }
    let place = Place::choose(request.torch_venv.clone(), |name| std::env::var_os(name));
    let found = match &place {
        Place::Nowhere => Err(anyhow::anyhow!("no Python environment is active, and LIBTORCH is not set")),
        Place::Folder(folder) => in_folder(folder),
        Place::Python { venv } => in_python(venv.as_deref()),
    };
    found.map_err(|error| anyhow::anyhow!("`--backend tch` needs LibTorch {VERSION}: {error:#}.\n{RECIPE}"))
}

/// Where LibTorch is looked for.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// In Python: an environment, or whichever `python3` comes first.
    Python {
        venv: Option<PathBuf>,
    },
    /// In a folder with `include/` and `lib/`.
    Folder(PathBuf),
    Nowhere,
}

impl Place {
    /// What was named on the command line comes first; then what torch-sys itself goes by, `LIBTORCH_USE_PYTORCH` before
    /// `LIBTORCH`; then the active environment.
    fn choose(named: Option<PathBuf>, var: impl Fn(&str) -> Option<OsString>) -> Self {
        let venv = named.clone().or_else(|| var("VIRTUAL_ENV").map(PathBuf::from));
        match var("LIBTORCH") {
            _ if named.is_some() || var("LIBTORCH_USE_PYTORCH").is_some() => Self::Python { venv },
            Some(folder) => Self::Folder(folder.into()),
            None if venv.is_some() => Self::Python { venv },
            None => Self::Nowhere,
        }
    }
}

fn in_folder(folder: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let lib = folder.join("lib");
    for expected in [folder.join("include"), lib.join(library("torch_cpu"))] {
        if !expected.exists() {
            bail!("LIBTORCH is {}, which has no {}", folder.display(), expected.display());
        }
    }
    // Written by PyTorch's own archives; a folder put together by hand has none.
    if let Ok(version) = std::fs::read_to_string(folder.join("build-version")) {
        check_version(version.trim()).with_context(|| format!("LIBTORCH is {}", folder.display()))?;
    }
    Ok(vec![prepended(LOADER_PATH, &[&lib])?])
}

fn in_python(venv: Option<&Path>) -> Result<Vec<(&'static str, OsString)>> {
    let venv = match venv {
        Some(venv) => Some(std::path::absolute(venv).with_context(|| format!("cannot resolve {}", venv.display()))?),
        None => None,
    };
    let scripts = if cfg!(windows) { "Scripts" } else { "bin" };
    let python = match &venv {
        Some(venv) => venv.join(scripts).join(if cfg!(windows) { "python.exe" } else { "python" }),
        None => PathBuf::from("python3"),
    };
    let output = Command::new(&python)
        .args(["-c", QUESTION])
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} cannot import it: {}", python.display(), stderr.lines().last().unwrap_or("no message").trim());
    }
    let lib = libraries(&String::from_utf8_lossy(&output.stdout)).with_context(|| python.display().to_string())?;
    let mut env = vec![("LIBTORCH_USE_PYTORCH", "1".into()), prepended(LOADER_PATH, &[&lib])?];
    if let Some(venv) = venv {
        // torch-sys asks `python` of an active environment, so the environment is made the active one. On Windows this
        // sets the loader's path a second time, hence with both folders.
        let folders = [venv.join(scripts), lib];
        let both: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
        env.push(prepended("PATH", if LOADER_PATH == "PATH" { &both } else { &both[..1] })?);
        env.push(("VIRTUAL_ENV", venv.into_os_string()));
    }
    Ok(env)
}

/// Reads the answer to [`QUESTION`]: the version, then the folder of the libraries.
fn libraries(answer: &str) -> Result<PathBuf> {
    // Packages may greet on stdout while they are imported; the answer comes last.
    let lines: Vec<_> = answer.lines().collect();
    let [.., version, lib] = lines[..] else { bail!("has no version to tell: {answer:?}") };
    check_version(version)?;
    Ok(PathBuf::from(lib))
}

fn check_version(version: &str) -> Result<()> {
    match version.split('+').next() {
        Some(VERSION) => Ok(()),
        _ => bail!("has version {version}, expected {VERSION}"),
    }
}

/// Puts folders in front of those an environment variable lists already.
fn prepended(name: &'static str, folders: &[&Path]) -> Result<(&'static str, OsString)> {
    let others = std::env::var_os(name).unwrap_or_default();
    let others = std::env::split_paths(&others)
        .filter(|path| !path.as_os_str().is_empty() && !folders.contains(&path.as_path()));
    let joined = std::env::join_paths(folders.iter().map(|path| path.to_path_buf()).chain(others));
    Ok((name, joined.with_context(|| format!("{folders:?} cannot stand in {name}"))?))
}

fn library(name: &str) -> String {
    format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(named: Option<&str>, vars: &[(&str, &str)]) -> Place {
        let lookup = |name: &str| vars.iter().find(|var| var.0 == name).map(|var| OsString::from(var.1));
        Place::choose(named.map(PathBuf::from), lookup)
    }

    #[test]
    fn what_is_named_comes_before_what_is_set_and_that_before_what_is_active() {
        let python = |venv: Option<&str>| Place::Python { venv: venv.map(PathBuf::from) };
        let (active, folder, use_python) = (("VIRTUAL_ENV", "a"), ("LIBTORCH", "l"), ("LIBTORCH_USE_PYTORCH", "1"));
        assert_eq!(choose(Some("n"), &[active, folder]), python(Some("n")));
        assert_eq!(choose(None, &[active, folder, use_python]), python(Some("a")));
        assert_eq!(choose(None, &[active, folder]), Place::Folder("l".into()));
        assert_eq!(choose(None, &[active]), python(Some("a")));
        assert_eq!(choose(None, &[use_python]), python(None));
        assert_eq!(choose(None, &[]), Place::Nowhere);
    }

    #[test]
    fn pythons_answer_is_a_version_and_a_folder() {
        assert_eq!(libraries("hello\n2.9.0+cu128\nenv/torch/lib\n").unwrap(), Path::new("env/torch/lib"));
        assert_eq!(libraries("2.10.0\nlib\n").unwrap_err().to_string(), "has version 2.10.0, expected 2.9.0");
        assert!(libraries("").is_err());
    }

    #[test]
    fn a_folder_without_libraries_is_refused() {
        let error = in_folder(Path::new("no-such-folder")).unwrap_err().to_string();
        assert!(error.contains("LIBTORCH is no-such-folder, which has no"), "{error}");
    }

    #[test]
    fn other_backends_need_nothing_and_take_no_environment() {
        let request = |line: &str| Request::parse(line.split_whitespace().map(Into::into)).unwrap();
        assert!(environment(&request("train --backend cuda")).unwrap().is_empty());
        assert!(environment(&request("train --torch-venv x")).is_err());
    }
}
