//! Configurations: the file, then settings over it; unknown keys and all faults are errors.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use config::{File, FileFormat};
use robustify_methods::Config;
use serde::de::DeserializeOwned;

/// A configuration that knows what is wrong with it.
pub trait Validate {
    /// All faults at once, each with the key it is under.
    fn faults(&self) -> Vec<String>;
}

impl Validate for Config {
    fn faults(&self) -> Vec<String> {
        Config::faults(self)
    }
}

/// Reads a configuration file and merges settings (`a.b=1`) into it, the last on top.
///
/// # Errors
/// A file that cannot be read, unknown keys, values of the wrong kind, and all faults of the settings at once.
pub fn load<T: DeserializeOwned + Validate>(path: &Path, given: &[String]) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("configuration file {}", path.display()))?;
    parse(text, &path.display().to_string(), given)
}

/// The same of a text that has no file; `name` stands for it in messages.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned + Validate>(text: String, name: &str, given: &[String]) -> anyhow::Result<T> {
    // The fault may be in the file or in what was set over it.
    let over = if given.is_empty() { String::new() } else { format!(" with {}", given.join(" ")) };
    let place = || format!("configuration {name}{over}");
    let mut documents = vec![text];
    for pair in given {
        let (as_toml, as_text) = override_documents(pair)?;
        if let Some(key) = key_of_table(&as_toml) {
            documents.iter_mut().for_each(|document| remove(document, &key));
        }
        let fits = |document: &str| merge::<T>(&[&documents[0], document]).is_ok();
        // A folder may be called 2024, so a number where text is wanted is text.
        documents.push(if !fits(&as_toml) && fits(&as_text) { as_text } else { as_toml });
    }
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let merged: T = merge(&documents).map_err(|error| anyhow!("{}: {error}", place()))?;
    let faults = merged.faults();
    if !faults.is_empty() {
        bail!("{}: {}", place(), faults.join("; "));
    }
    Ok(merged)
}

/// The parts of the key that a setting gives a whole table: it replaces the one before, where the merging of documents would mix
/// both.
fn key_of_table(document: &str) -> Option<Vec<String>> {
    let (key, value) = document.split_once('=')?;
    let parts = || key.trim().split('.').map(|part| part.trim().to_owned()).collect();
    value.trim_start().starts_with('{').then(parts)
}

/// Removes what stands under a key, if the document has it.
fn remove(document: &mut String, key: &[String]) {
    let Some((last, path)) = key.split_last() else { return };
    let Ok(mut table) = document.parse::<toml::Table>() else { return };
    let parent = path.iter().try_fold(&mut table, |table, part| table.get_mut(part)?.as_table_mut());
    if parent.and_then(|table| table.remove(last)).is_some() {
        *document = table.to_string();
    }
}

/// TOML documents over each other, the last on top.
fn merge<T: DeserializeOwned>(documents: &[&str]) -> Result<T, String> {
    let builder = documents.iter().fold(config::Config::builder(), |builder, document| {
        builder.add_source(File::from_str(document, FileFormat::Toml))
    });
    let table: Result<toml::Table, _> = builder.build().and_then(config::Config::try_deserialize);
    // The crate `config` would make 2 of 1.5 where a whole number is wanted; `toml` refuses.
    table.map_err(|error| error.to_string())?.try_into().map_err(|error| sentence(&error))
}

/// What `toml` says, without the names of Rust's types.
fn sentence(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let (mut words, mut sentence) = (text.split_whitespace(), Vec::new());
    while let Some(word) = words.next() {
        sentence.push(match word {
            "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number from 0 up",
            "i64" | "i32" => "a whole number",
            "f64" | "f32" => "a number",
            "struct" => {
                words.next();
                "a table"
            }
            word => word,
        });
    }
    sentence.join(" ")
}

/// `a.b=1` as a TOML document, and one in which the value is text. What is no TOML is text in both.
fn override_documents(pair: &str) -> anyhow::Result<(String, String)> {
    let Some((key, value)) = pair.split_once('=') else {
        bail!("`{pair}` is not a setting: expected key=value, as in seed=3");
    };
    let (key, value) = (key.trim(), value.trim());
    let is_toml = |document: &String| toml::from_str::<toml::Table>(document).is_ok();
    let text = format!("{key} = {}", toml::Value::String(value.to_owned()));
    if !is_toml(&text) {
        bail!("`{pair}` is not a setting: `{key}` is not a key, expected one like seed or benchmark.images");
    }
    let plain = format!("{key} = {value}");
    Ok((if is_toml(&plain) { plain } else { text.clone() }, text))
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
