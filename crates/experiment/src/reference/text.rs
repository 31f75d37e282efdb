//! The reference as text: for a terminal, and as Markdown.

use serde_json::Value;

use super::find::{Chosen, Part};
use super::{Choice, Key, Kind};
use crate::wrap::wrapped as wrap;

/// Columns that a line has at most.
const WIDTH: usize = 100;

/// For a terminal: a heading a table, then a key with its type and default, and below it what it means.
pub(super) fn plain(chosen: &Chosen<'_>) -> String {
    render(chosen, &Plain)
}

/// As Markdown: a heading a table, and a list of its keys.
pub(super) fn markdown(chosen: &Chosen<'_>) -> String {
    render(chosen, &Markdown)
}

/// How parts of the reference look.
trait Form {
    fn heading(&self, title: &str, about: &str) -> String;
    fn key(&self, key: &Key) -> String;
}

struct Plain;
struct Markdown;

impl Form for Plain {
    fn heading(&self, title: &str, about: &str) -> String {
        let mut text = format!("{title}\n");
        if !about.is_empty() {
            text += &wrapped(about, "");
        }
        text + "\n"
    }

    fn key(&self, key: &Key) -> String {
        let mut text = format!("  {:<20} {}\n", key.name, facts(key)) + &wrapped(&key.about, "      ");
        for choice in choices(key) {
            text += &wrapped(&said(choice, ""), "        ");
        }
        text + &names(key).map(|names| wrapped(&names, "      ")).unwrap_or_default() + "\n"
    }
}

impl Form for Markdown {
    fn heading(&self, title: &str, about: &str) -> String {
        let about = if about.is_empty() { String::new() } else { format!("{about}\n\n") };
        format!("## {}\n\n{about}", if title.starts_with('[') { format!("`{title}`") } else { title.to_owned() })
    }

    fn key(&self, key: &Key) -> String {
        let mut text = format!("- **`{}`** ({})  \n  {}\n", key.name, facts(key), key.about);
        for choice in choices(key) {
            text += &format!("  - {}\n", said(choice, "`"));
        }
        text + &names(key).map(|names| format!("  {names}\n")).unwrap_or_default()
    }
}

fn render(chosen: &Chosen<'_>, form: &dyn Form) -> String {
    let mut text = String::new();
    match chosen.kind {
        Part::Key(key) => {
            text += &form.heading(&title(&chosen.path), "");
            text += &form.key(key);
        }
        Part::Forms(key) => forms(&mut text, &chosen.path, key, form),
        Part::Keys(keys) => table(&mut text, &chosen.path, chosen.about, keys, form),
    }
    text.trim_end().to_owned() + "\n"
}

/// A table, then the tables in it. A network is described once, where it is met first.
fn table(text: &mut String, path: &str, about: &str, keys: &[Key], form: &dyn Form) {
    let mut open = vec![(path.to_owned(), about, keys)];
    let mut networks: Vec<(String, &Key)> = Vec::new();
    while !open.is_empty() {
        let (path, about, keys) = open.remove(0);
        if path.is_empty() || keys.iter().any(|key| !matches!(key.kind, Kind::Table(_))) {
            *text += &form.heading(&title(&path), about);
        }
        let mut below = Vec::new();
        for key in keys {
            let inner = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
            match &key.kind {
                Kind::Table(keys) => below.push((inner, key.about.as_str(), keys.as_slice())),
                Kind::Tables(_) => {
                    let same = networks.iter().find(|(_, known)| known.kind == key.kind);
                    let at = same.map_or(&inner, |(path, _)| path).clone();
                    let about = format!("{} Its keys stand under [{at}].", key.about);
                    *text += &form.key(&Key { about, ..key.clone() });
                    if same.is_none() {
                        networks.push((inner, key));
                    }
                }
                _ => *text += &form.key(key),
            }
        }
        // The tables of a table follow it at once.
        below.append(&mut open);
        open = below;
    }
    for (path, key) in networks {
        forms(text, &path, key, form);
    }
}

/// A table of one of several forms.
fn forms(text: &mut String, path: &str, key: &Key, form: &dyn Form) {
    let Kind::Tables(variants) = &key.kind else { return };
    for variant in variants {
        let fixed = variant.keys.iter().find_map(|key| match &key.kind {
            Kind::Choice(choices) if choices.len() == 1 => {
                Some(format!(" with {} = \"{}\"", key.name, choices[0].name))
            }
            _ => None,
        });
        *text += &form.heading(&format!("[{path}]{}", fixed.unwrap_or_default()), &variant.about);
        for key in variant.keys.iter() {
            *text += &form.key(key);
        }
    }
}

fn title(path: &str) -> String {
    if path.is_empty() { "settings that stand in no table".into() } else { format!("[{path}]") }
}

/// Type and default of a key.
fn facts(key: &Key) -> String {
    let default = match (&key.default, key.required) {
        (Some(value), _) => format!("default {}", toml(value)),
        (None, true) => "must be given".into(),
        // The description says what happens, where it is not nothing.
        (None, false) => "may be left out".into(),
    };
    let kind = match &key.kind {
        Kind::Choice(choices) if choices.len() > 1 => "one of the texts below".into(),
        Kind::List { of, .. } if matches!(**of, Kind::Choice(_)) => "a list of the texts below".into(),
        kind => kind.words(),
    };
    format!("{kind}; {default}")
}

/// The texts that a key may have, where they are explained.
fn choices(key: &Key) -> &[Choice] {
    match in_choice(&key.kind) {
        Some(choices) if choices.len() > 1 && choices.iter().any(|choice| !choice.about.is_empty()) => choices,
        _ => &[],
    }
}

/// The texts that a key may have, where their names say it.
fn names(key: &Key) -> Option<String> {
    let choices = in_choice(&key.kind).filter(|choices| choices.len() > 1)?;
    let plain = choices.iter().all(|choice| choice.about.is_empty());
    plain.then(|| {
        format!("One of {}.", choices.iter().map(|choice| choice.name.as_str()).collect::<Vec<_>>().join(", "))
    })
}

fn in_choice(kind: &Kind) -> Option<&[Choice]> {
    match kind {
        Kind::Choice(choices) => Some(choices),
        Kind::List { of, .. } => in_choice(of),
        _ => None,
    }
}

fn said(choice: &Choice, quote: &str) -> String {
    format!("{quote}\"{}\"{quote}: {}", choice.name, choice.about)
}

/// A value as a configuration has it.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            if number != 0.0 && number.abs() < 1e-3 { format!("{number:e}") } else { format!("{number:?}") }
        }
        other => other.to_string(),
    }
}

fn wrapped(text: &str, indent: &str) -> String {
    wrap(text, indent, WIDTH)
}
