//! Settings that are given beside a file, as `key=value`: text that a shell left without its quotes is understood.

use anyhow::bail;
use toml::{Table, Value};

use crate::reference::{Kind, Reference};

/// Puts a setting into a configuration, in place of what is there.
pub(super) fn set(table: &mut Table, pair: &str, reference: &Reference) -> anyhow::Result<()> {
    let Some((key, text)) = pair.split_once('=') else {
        bail!("`{pair}` is not a setting: expected key=value, as in seed=3");
    };
    let (key, text) = (key.trim(), text.trim());
    let Some(path) = parts(key) else {
        bail!("`{pair}` is not a setting: `{key}` is not a key, expected one like seed or benchmark.images");
    };
    let value = value(text, reference.key(&path.join(".")).map(|key| &key.kind));
    let Some((last, tables)) = path.split_last() else { return Ok(()) };
    let mut place = table;
    for part in tables {
        let below = place.entry(part.clone()).or_insert_with(|| Value::Table(Table::new()));
        // A value where a table belongs is replaced: what was given last counts.
        if !below.is_table() {
            *below = Value::Table(Table::new());
        }
        let Value::Table(below) = below else { unreachable!("it was made one") };
        place = below;
    }
    place.insert(last.clone(), value);
    Ok(())
}

/// The parts of a key as TOML writes it; nothing if it is none.
fn parts(key: &str) -> Option<Vec<String>> {
    let mut table: Table = toml::from_str(&format!("{key} = 0")).ok()?;
    let mut parts = Vec::new();
    loop {
        let (part, below) = table.into_iter().next()?;
        parts.push(part);
        match below {
            Value::Table(below) => table = below,
            _ => return Some(parts),
        }
    }
}

/// What a value means where a kind of value is wanted; a key that is not known gets what TOML says, or text.
fn value(text: &str, kind: Option<&Kind>) -> Value {
    let plain = || Value::String(text.to_owned());
    match kind {
        // A folder may be called 2024, so a number where text is wanted is text.
        Some(kind) if kind.is_text() => toml(text).filter(Value::is_str).unwrap_or_else(plain),
        Some(Kind::List { of, .. }) if of.is_text() => texts(text),
        Some(Kind::List { .. }) => {
            let list = |text: &str| toml(text).filter(Value::is_array);
            list(text).or_else(|| list(&format!("[{text}]"))).unwrap_or_else(plain)
        }
        _ => toml(text).unwrap_or_else(plain),
    }
}

/// A list of texts: `["fog", "snow"]`, or what a shell made of it, or what people write instead: `[fog, snow]`, `fog,snow`.
fn texts(text: &str) -> Value {
    let as_text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if let Some(Value::Array(values)) = toml(text) {
        return values.into_iter().map(as_text).map(Value::String).collect::<Vec<_>>().into();
    }
    let inner = toml(text).map_or_else(|| text.to_owned(), as_text);
    let inner = inner.strip_prefix('[').unwrap_or(&inner);
    let inner = inner.strip_suffix(']').unwrap_or(inner);
    let parts = inner.split(',').map(|part| part.trim().trim_matches(['"', '\'']).to_owned());
    parts.filter(|part| !part.is_empty()).map(Value::String).collect::<Vec<_>>().into()
}

/// A value as TOML has it; nothing if it is none.
fn toml(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok().filter(|table| table.len() == 1)?.remove("value")
}

#[cfg(test)]
mod tests {
    use robustify_methods::Config;

    use super::*;

    #[test]
    fn a_shell_without_quotes_is_understood() {
        let reference = Reference::of::<Config>();
        let set = |pair: &str| {
            let mut table: Table =
                "benchmark.severities = [3]\noriginal.network = { width = 3, depth = 2 }".parse().unwrap();
            set(&mut table, pair, &reference).map(|()| table)
        };
        for pair in ["=[fog,snow]", "=fog,snow", "=fog, snow", r#"=["fog","snow"]"#, r#"="fog,snow""#] {
            let table = set(&format!("benchmark.corruptions{pair}")).unwrap();
            assert_eq!(table["benchmark"]["corruptions"].to_string(), r#"["fog", "snow"]"#, "{pair}");
            assert_eq!(table["benchmark"]["severities"].to_string(), "[3]");
        }
        assert_eq!(set("benchmark.severities=1,5").unwrap()["benchmark"]["severities"].to_string(), "[1, 5]");
        assert_eq!(set("data.path=2024").unwrap()["data"]["path"].as_str(), Some("2024"));
        // A whole table replaces the one before.
        assert_eq!(set("original.network={width=5}").unwrap()["original"]["network"].to_string(), "{ width = 5 }");
        for wrong in ["tuning.epochs", "a b=1", "=3"] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
    }
}
