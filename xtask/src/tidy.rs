//! `tidy`: the rules of the house that neither rustc nor clippy knows. It prints the crates, from top to bottom with what each is built
//! on, and reports every fault at once.

mod borders;
mod rust;
mod text;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::args::Request;
use crate::cargo;

/// Something that breaks a rule, and the rule's rationale.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    /// Path from the root of the workspace.
    path: String,
    /// Line, from 1; 0 for the file as a whole.
    line: usize,
    message: String,
    /// Worth a look, but no reason to fail.
    warning: bool,
}

impl Fault {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), warning: false }
    }

    fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::new(path, line, message) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        match self.line {
            0 => write!(f, "{}: {kind}{}", self.path, self.message),
            line => write!(f, "{}:{line}: {kind}{}", self.path, self.message),
        }
    }
}

/// Checks every file git tracks or would track.
pub fn run(request: &Request) -> Result<ExitCode> {
    request.expect_no_backend()?;
    request.expect_no_arguments()?;
    let shell = cargo::shell()?;
    let listed = cmd!(shell, "git ls-files --cached --others --exclude-standard -z").quiet().read();
    let listed = listed.context("tidy reads the list of files from git, which must be installed, in a git checkout")?;
    let root = cargo::root();
    let mut faults = Vec::new();
    let mut count = 0;
    // A file that is deleted but not yet committed as such is still listed.
    for path in listed.split('\0').filter(|path| !path.is_empty() && root.join(path).is_file()) {
        faults.extend(check_file(&root, path)?);
        count += 1;
    }
    ensure!(count > 0, "git lists no file under {}; tidy must run in a checkout", root.display());
    print!("{}", borders::table(|name| root.join("crates").join(name).is_dir()));
    Ok(report(faults, count))
}

fn report(mut faults: Vec<Fault>, files: usize) -> ExitCode {
    faults.sort();
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.iter().filter(|fault| !fault.warning).count() {
        0 => {
            println!("tidy: {files} files checked");
            ExitCode::SUCCESS
        }
        count => {
            eprintln!("error: tidy found {count} fault(s) in {files} files");
            ExitCode::FAILURE
        }
    }
}

fn check_file(root: &Path, path: &str) -> Result<Vec<Fault>> {
    let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    // Images, weights and archives are no text.
    let Ok(text) = String::from_utf8(bytes) else { return Ok(Vec::new()) };
    let mut faults = text::check(path, &text);
    if path.ends_with(".rs") {
        faults.extend(rust::check(path, &text));
    }
    if path.ends_with(".toml") {
        match text.parse::<toml::Table>() {
            Ok(table) if path.ends_with("Cargo.toml") => faults.extend(borders::check(path, &text, &table)),
            Ok(_) => {}
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start.min(text.len()));
                let line = text.get(..offset).map_or(0, |before| before.matches('\n').count() + 1);
                faults.push(Fault::new(path, line, format!("is no TOML: {}", error.message())));
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_where_and_a_warning_does_not_fail() {
        let fault = Fault::new("a/b.rs", 3, "is wrong");
        assert_eq!(fault.to_string(), "a/b.rs:3: is wrong");
        let warning = Fault::warning("a/b.rs", 0, "is long");
        assert_eq!(warning.to_string(), "a/b.rs: warning: is long");
        assert_eq!(report(vec![warning], 1), ExitCode::SUCCESS);
        assert_eq!(report(vec![fault], 1), ExitCode::FAILURE);
    }

    #[test]
    fn a_broken_config_is_named_with_its_line() {
        let folder = std::env::temp_dir().join(format!("xtask-tidy-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("configs")).unwrap();
        std::fs::write(folder.join("configs/a.toml"), "seed = 1\nepochs =\n").unwrap();
        let faults = check_file(&folder, "configs/a.toml").unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((faults.len(), faults[0].line), (1, 2), "{faults:?}");
    }
}
