//! Commands of cargo: described, then run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xshell::Shell;

/// One cargo command, run from the root of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables set for it.
    pub env: Vec<(&'static str, OsString)>,
}

impl Step {
    /// A command from words that hold no blank, such as `clippy --workspace`.
    pub fn new(words: &str) -> Self {
        Self { args: words.split_whitespace().map(str::to_owned).collect(), env: Vec::new() }
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Sets environment variables.
    pub fn envs(mut self, vars: impl IntoIterator<Item = (&'static str, OsString)>) -> Self {
        self.env.extend(vars);
        self
    }

    /// Runs it and waits. `Err` only if it could not be started.
    pub fn status(&self) -> Result<ExitCode> {
        println!("$ cargo {}", self.args.join(" "));
        let status = self.command()?.status().context("cannot start cargo")?;
        Ok(match status.code() {
            Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
            None => ExitCode::FAILURE,
        })
    }

    /// Becomes the command, so that signals and the exit code are the program's own: Ctrl-C reaches a training run, which
    /// saves its state, and nothing above it returns to the shell before it is done.
    #[cfg(unix)]
    pub fn exec(&self) -> Result<ExitCode> {
        use std::os::unix::process::CommandExt;
        Err(self.command()?.exec()).context("cannot start cargo")
    }

    /// Runs the command and outlives it: Ctrl-C goes to every process of a console, and this one ignores it.
    #[cfg(not(unix))]
    pub fn exec(&self) -> Result<ExitCode> {
        ctrlc::set_handler(|| {}).context("cannot ignore Ctrl-C while the program runs")?;
        let status = self.command()?.status().context("cannot start cargo")?;
        // Codes on Windows have 32 bits, which `ExitCode` has no room for.
        std::process::exit(status.code().unwrap_or(1))
    }

    fn command(&self) -> Result<Command> {
        let shell = shell()?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let vars = self.env.iter().map(|(name, value)| (*name, value.as_os_str()));
        Ok(shell.cmd(cargo).args(&self.args).envs(vars).into())
    }
}

/// A shell at the root of the workspace.
pub fn shell() -> Result<Shell> {
    let shell = Shell::new().context("cannot read the current folder")?;
    shell.change_dir(root());
    Ok(shell)
}

/// The root of the workspace: the folder above this package, wherever the checkout lies now.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().map_or_else(|| PathBuf::from(".."), Path::to_path_buf)
}
