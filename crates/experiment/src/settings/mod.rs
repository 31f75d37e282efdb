//! Configurations: the file, then settings over it; unknown keys and all faults are errors, each on a line of its own.

mod check;
mod given;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use config::{File, FileFormat};
use robustify_data::place;
use robustify_methods::Config;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::reference::Reference;

/// A configuration that knows what is wrong with it.
pub trait Validate {
    /// All faults at once, each beginning with the key it is under.
    fn faults(&self) -> Vec<String>;
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        Config::faults(self)
    }
}

impl Validate for robustify_eval::Settings {
    fn faults(&self) -> Vec<String> {
        Self::faults(self)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug)]
pub struct Faults {
    path: PathBuf,
    /// Whether settings were given beside the file, which may be at fault as well.
    beside: bool,
    /// Each begins with its key.
    faults: Vec<String>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = if self.beside { " with the settings given beside it" } else { "" };
        write!(f, "configuration {}{beside}:", self.path.display())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {}", fault.replace('\n', "\n  ")))
    }
}

impl std::error::Error for Faults {}

/// Reads a configuration file and merges settings (`a.b=1`) into it, the last on top. A setting that is a whole table replaces the
/// one before; what is no TOML is text, or a list of texts where one is wanted.
///
/// # Errors
/// A file that cannot be read or is no TOML, a setting that is none, and [`Faults`]: unknown keys, values of the wrong kind and
/// settings that are missing, all at once; then whatever does not fit together, all at once.
pub fn load<T: DeserializeOwned + JsonSchema + Validate>(path: &Path, given: &[String]) -> anyhow::Result<T> {
    let file = || format!("configuration file {}", path.display());
    parse(&place::read_text(path).with_context(file)?, path, given)
}

/// The same of a text that has no file; `path` stands for it in messages.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned + JsonSchema + Validate>(
    text: &str,
    path: &Path,
    given: &[String],
) -> anyhow::Result<T> {
    let fails = |faults| Faults { path: path.into(), beside: !given.is_empty(), faults };
    // The lowest layer, over which settings are laid one by one: the crate `config` would mix a table with the one before.
    let file = config::Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build();
    let mut table: toml::Table = file.and_then(config::Config::try_deserialize).map_err(|error| Faults {
        path: path.into(),
        beside: false,
        faults: vec![error.to_string().trim_end().to_owned()],
    })?;
    let reference = Reference::of::<T>();
    for pair in given {
        given::set(&mut table, pair, &reference)?;
    }
    let wrong = check::faults(&reference, &table);
    let merged: T = match toml::Value::Table(table).try_into() {
        Ok(merged) => merged,
        // The check knows types and names; what else cannot be read has a sentence of its own.
        Err(error) if wrong.is_empty() => return Err(fails(vec![check::sentence(&error)]).into()),
        Err(_) => return Err(fails(wrong).into()),
    };
    let faults = check::together(merged.faults(), wrong);
    if faults.is_empty() { Ok(merged) } else { Err(fails(faults).into()) }
}

/// The keys, by their paths, under which two tables differ.
pub(crate) fn differences(path: &str, one: &toml::Table, other: &toml::Table, found: &mut Vec<String>) {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (one.get(key), other.get(key)) {
            (Some(toml::Value::Table(one)), Some(toml::Value::Table(other))) => differences(&path, one, other, found),
            (one, other) if one != other => found.push(path),
            _ => {}
        }
    }
}
