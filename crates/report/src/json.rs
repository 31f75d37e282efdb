//! `results.json`: the rows, and what there is to know about the run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::row::check_all;
use crate::{ReportError, Row, write_atomic};

/// The layout this version writes and reads.
pub const JSON_SCHEMA: u32 = 1;

/// What there is to know about the run: command, configuration, seeds, versions.
pub type Meta = BTreeMap<String, Value>;

/// Rows with their run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// About the run.
    pub meta: Meta,
    /// Its numbers.
    pub rows: Vec<Row>,
}

/// Writes results atomically; see [`to_json`].
///
/// # Errors
///
/// A row that could not be read back ([`Row::check`]), or the file cannot be written.
pub fn write_json(path: &Path, results: &Results) -> Result<(), ReportError> {
    write_atomic(path, to_json(results)?.as_bytes())
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
///
/// The file cannot be read, or [`from_json`] does not understand it.
pub fn read_json(path: &Path) -> Result<Results, ReportError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReportError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    from_json(&text, &path.display().to_string())
}

/// Results as JSON, the same bytes for the same results: `schema`, then `meta` with sorted keys and one entry a line, then
/// `rows` in their order, one a line, with six decimals to a value and `null` for what is not given.
///
/// # Errors
///
/// A row that could not be read back ([`Row::check`]).
pub fn to_json(results: &Results) -> Result<String, ReportError> {
    check_all(&results.rows)?;
    let meta: Vec<_> = results
        .meta
        .iter()
        .map(|(key, value)| format!("    {}: {}", Value::from(key.as_str()), sorted(value)))
        .collect();
    let rows: Vec<_> = results.rows.iter().map(line).collect();
    let block = |open: char, lines: &[String], close: char| match lines {
        [] => format!("{open}{close}"),
        lines => format!("{open}\n{}\n  {close}", lines.join(",\n")),
    };
    let (meta, rows) = (block('{', &meta, '}'), block('[', &rows, ']'));
    Ok(format!("{{\n  \"schema\": {JSON_SCHEMA},\n  \"meta\": {meta},\n  \"rows\": {rows}\n}}\n"))
}

fn line(row: &Row) -> String {
    let text = |text: &str| Value::from(text).to_string();
    format!(
        "    {{\"model\": {}, \"suite\": {}, \"corruption\": {}, \"severity\": {}, \"route\": {}, \"metric\": {}, \
         \"value\": {}, \"count\": {}}}",
        text(&row.model),
        text(&row.suite),
        Value::from(row.corruption.clone()),
        Value::from(row.severity),
        text(&row.route),
        text(&row.metric),
        row.formatted_value(),
        row.count
    )
}

/// Sorts keys at every depth: serde_json keeps them sorted or in order of insertion, as the features of a build have it.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted_keys: BTreeMap<_, _> = map.iter().collect();
            Value::Object(sorted_keys.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Results from JSON; `name` stands for the text in messages.
///
/// # Errors
///
/// The text is no JSON, has another schema, or holds something that is no row: the message names the line.
pub fn from_json(text: &str, name: &str) -> Result<Results, ReportError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File<'a> {
        #[serde(rename = "schema")]
        _schema: u32,
        meta: Meta,
        #[serde(borrow)]
        rows: Vec<&'a RawValue>,
    }
    // Lines are counted from where a part begins in the whole: a row is parsed by itself, so that a fault of its contents
    // is not put down to the line the parser had reached when it was noticed.
    let fault = |part: &str, error: &serde_json::Error| {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        let line = line_at(text, start) + error.line().saturating_sub(1);
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        ReportError::Parse { name: name.to_owned(), line: line as u64, message: message.to_owned() }
    };
    // The schema is asked first: a later one may hold anything, and deserves a better answer than its first new field.
    let Version { schema } = serde_json::from_str(text).map_err(|error| fault(text, &error))?;
    if schema != JSON_SCHEMA {
        let line = line_at(text, text.find("\"schema\"").unwrap_or_default()) as u64;
        let message = format!("schema {schema}, expected {JSON_SCHEMA}; read it with the version that wrote it");
        return Err(ReportError::Parse { name: name.to_owned(), line, message });
    }
    let File { meta, rows, .. } = serde_json::from_str(text).map_err(|error| fault(text, &error))?;
    let row = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|error| fault(raw.get(), &error));
    Ok(Results { meta, rows: rows.into_iter().map(row).collect::<Result<_, _>>()? })
}

/// The line of a byte, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::row;
    use serde_json::json;

    fn results() -> Results {
        let meta = [("seeds", json!([0, 1])), ("config", json!({"lr": 0.001, "batch": {"z": 1, "a": null}}))];
        Results {
            meta: meta.map(|(key, value)| (key.to_owned(), value)).into(),
            rows: vec![row("original", None, 0.875), row("a \"b\"", Some(("fog", 3)), 2.0 / 3.0)],
        }
    }

    #[test]
    fn results_are_written_byte_for_byte_and_read_back() {
        let text = to_json(&results()).unwrap();
        let expected = r#"{
  "schema": 1,
  "meta": {
    "config": {"batch":{"a":null,"z":1},"lr":0.001},
    "seeds": [0,1]
  },
  "rows": [
    {"model": "original", "suite": "fashion-c", "corruption": null, "severity": null, "route": "single", "metric": "accuracy", "value": 0.875000, "count": 100},
    {"model": "a \"b\"", "suite": "fashion-c", "corruption": "fog", "severity": 3, "route": "single", "metric": "accuracy", "value": 0.666667, "count": 100}
  ]
}
"#;
        assert_eq!(text, expected);
        let read = from_json(&text, "results.json").unwrap();
        assert_eq!((&read.meta, &read.rows[0]), (&results().meta, &results().rows[0]));
        assert_eq!(to_json(&read).unwrap(), text);
        let empty = Results::default();
        assert_eq!(from_json(&to_json(&empty).unwrap(), "results.json").unwrap(), empty);
    }

    #[test]
    fn faults_name_the_file_and_the_line() {
        let text = to_json(&results()).unwrap();
        let message = |text: &str| from_json(text, "r.json").unwrap_err().to_string();
        assert!(message(&text.replace("\"severity\": 3", "\"severity\": 7")).starts_with("r.json:9: `severity` is 7"));
        assert!(message(&text.replace("0.666667", "\"many\"")).starts_with("r.json:9: invalid type: string \"many\""));
        assert!(
            message(&text.replace("\"count\": 100}\n", "\"count\": 100, \"x\": 1}\n")).starts_with("r.json:9: unknown")
        );
        assert!(message(&text[..text.len() / 2]).starts_with("r.json:"));
        assert_eq!(
            message("{\n  \"schema\": 2, \"tables\": []\n}"),
            "r.json:2: schema 2, expected 1; read it with the version that wrote it"
        );
    }

    #[test]
    fn a_value_that_is_no_number_is_not_written() {
        let results = Results { rows: vec![row("original", None, f64::INFINITY)], ..Results::default() };
        assert!(matches!(to_json(&results), Err(ReportError::Row { index: 0, .. })));
    }
}
