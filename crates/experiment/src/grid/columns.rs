//! What a column of a table, or an axis of a figure, may be: accuracies, choices of heads, and costs.

use robustify_augment::{Corruption, Group};
use robustify_bench::suites::{Change, TRANSFER};
use robustify_bench::{Cell, Shift};
use schemars::{Schema, SchemaGenerator, json_schema};

/// In what a column's numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A fraction, in percent.
    Percent,
    /// Milliseconds of processor time for each training image.
    Milliseconds,
    /// A time over that of the original model.
    Ratio,
    /// Multiply-accumulates, in thousands of millions.
    Giga,
    /// Parameters, in millions.
    Mega,
}

/// Columns that are no accuracy under a shift, with their units and headings.
const OTHERS: [(&str, Unit, &str); 9] = [
    ("f_correct", Unit::Percent, "F_correct"),
    ("f_correct_clean", Unit::Percent, "F_correct, clean"),
    ("f_correct_shifted", Unit::Percent, "F_correct, shifted"),
    ("right_choice", Unit::Percent, "right choice"),
    ("training", Unit::Milliseconds, "training, ms an image"),
    ("inference", Unit::Ratio, "inference"),
    ("macs", Unit::Giga, "GMACs, one pass"),
    ("macs_passes", Unit::Giga, "GMACs, T passes"),
    ("tuned", Unit::Mega, "tuned, M"),
];

/// Means over several kinds of generated shifts.
pub(super) const FAMILIES: [&str; 3] = ["shifts", "background", "rendition"];

/// Every column by name.
pub(super) fn names() -> Vec<&'static str> {
    let mut names = vec!["clean"];
    names.extend(Group::TEST.map(Group::name));
    names.push("mean");
    names.extend(FAMILIES);
    names.extend(Change::ALL.map(Change::name));
    names.push(TRANSFER);
    names.extend(OTHERS.map(|(name, ..)| name));
    names.extend(Corruption::ALL.map(Corruption::name));
    names
}

/// The schema of a list of columns.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "enum": names() } })
}

/// The schema of one column.
pub(super) fn one(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "enum": names() })
}

/// The unit of a column.
pub(super) fn unit(column: &str) -> Unit {
    OTHERS.iter().find(|(name, ..)| *name == column).map_or(Unit::Percent, |(_, unit, _)| *unit)
}

/// The heading of a column.
pub(super) fn heading(column: &str) -> String {
    let known = OTHERS.iter().find(|(name, ..)| *name == column).map(|(.., heading)| (*heading).to_owned());
    known.unwrap_or_else(|| column.replace('_', " "))
}

/// Whether a cell's images count in a column that is an accuracy.
pub(super) fn counts(column: &str, cell: &Cell) -> bool {
    match (cell.shift, column) {
        (Shift::Clean, column) => column == "clean",
        (Shift::Corrupted(..), "mean") => true,
        (Shift::Corrupted(corruption, _), column) => corruption.group().name() == column || corruption.name() == column,
        (Shift::Changed(_), "shifts") => true,
        (Shift::Changed(change), column) => change.family() == column || change.name() == column,
        (Shift::Collected, column) => column == cell.name,
        (Shift::Transfer, column) => column == TRANSFER,
    }
}

/// Whether a column is an accuracy, of which images a pairing knows.
pub(super) fn is_accuracy(column: &str) -> bool {
    OTHERS.iter().all(|(name, ..)| *name != column)
}

/// A number as a table shows it, with half of its interval behind it.
pub(super) fn shown(unit: Unit, mean: f64, half: Option<f64>) -> String {
    let (factor, decimals) = match unit {
        Unit::Percent => (100.0, 1),
        Unit::Milliseconds if mean >= 10.0 => (1.0, 0),
        Unit::Milliseconds => (1.0, 1),
        Unit::Ratio => (1.0, 2),
        Unit::Giga if mean < 0.1e9 => (1e-9, 4),
        Unit::Giga => (1e-9, 2),
        Unit::Mega => (1e-6, 2),
    };
    let mean = format!("{:.decimals$}", factor * mean);
    let half = half.map(|half| format!("{:.decimals$}", factor * half));
    // What rounds to nothing is left out.
    match half.filter(|half| !half.trim_matches(['0', '.']).is_empty()) {
        Some(half) => format!("{mean} ± {half}"),
        None => mean,
    }
}
