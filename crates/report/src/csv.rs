//! `results.csv`: a line for each row.

use std::path::Path;

use crate::row::check_all;
use crate::{ReportError, Row, write_atomic};

/// The columns, in order.
pub const CSV_HEADER: [&str; 8] = ["model", "suite", "corruption", "severity", "route", "metric", "value", "count"];

/// Writes rows in their order, atomically; see [`to_csv`].
///
/// # Errors
///
/// A row that could not be read back ([`Row::check`]), or the file cannot be written.
pub fn write_csv(path: &Path, rows: &[Row]) -> Result<(), ReportError> {
    write_atomic(path, to_csv(rows)?.as_bytes())
}

/// Reads what [`write_csv`] wrote.
///
/// # Errors
///
/// The file cannot be read, or [`from_csv`] does not understand it.
pub fn read_csv(path: &Path) -> Result<Vec<Row>, ReportError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReportError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    from_csv(&text, &path.display().to_string())
}

/// Rows as CSV with Unix line ends: a field that is not given is empty, a value has six decimals, and a name is quoted
/// only where it must be.
///
/// # Errors
///
/// A row that could not be read back ([`Row::check`]).
pub fn to_csv(rows: &[Row]) -> Result<String, ReportError> {
    check_all(rows)?;
    let mut text = CSV_HEADER.join(",") + "\n";
    for row in rows {
        let severity = row.severity.map(|severity| severity.to_string()).unwrap_or_default();
        let (value, count) = (row.formatted_value(), row.count.to_string());
        let corruption = row.corruption.as_deref().unwrap_or_default();
        let fields = [&row.model, &row.suite, corruption, &severity, &row.route, &row.metric, &value, &count];
        text.push_str(&fields.map(quoted).join(","));
        text.push('\n');
    }
    Ok(text)
}

/// Quotes a field as RFC 4180 has it, if it needs quotes.
pub(crate) fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Rows from CSV; `name` stands for the text in messages.
///
/// # Errors
///
/// The first line is not the header, or a line is not a row: the message names the line, the column, what was expected
/// and what was found.
pub fn from_csv(text: &str, name: &str) -> Result<Vec<Row>, ReportError> {
    let fault = |line: u64, message: String| ReportError::Parse { name: name.to_owned(), line, message };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    let mut has_header = false;
    for record in reader.records() {
        let record =
            record.map_err(|error| fault(error.position().map_or(1, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(1, csv::Position::line);
        if has_header {
            rows.push(parse(&record).map_err(|message| fault(line, message))?);
        } else if record.iter().eq(CSV_HEADER) {
            has_header = true;
        } else {
            let found = record.iter().collect::<Vec<_>>().join(",");
            return Err(fault(line, format!("expected the header `{}`, found `{found}`", CSV_HEADER.join(","))));
        }
    }
    match has_header {
        true => Ok(rows),
        false => Err(fault(1, format!("expected the header `{}`, found nothing", CSV_HEADER.join(",")))),
    }
}

fn parse(record: &csv::StringRecord) -> Result<Row, String> {
    let fields: Vec<&str> = record.iter().collect();
    let [model, suite, corruption, severity, route, metric, value, count] = fields[..] else {
        return Err(format!("expected {} fields, found {}", CSV_HEADER.len(), fields.len()));
    };
    let row = Row {
        model: model.to_owned(),
        suite: suite.to_owned(),
        corruption: (!corruption.is_empty()).then(|| corruption.to_owned()),
        severity: if severity.is_empty() { None } else { Some(number("severity", "a whole number", severity)?) },
        route: route.to_owned(),
        metric: metric.to_owned(),
        value: number("value", "a number", value)?,
        count: number("count", "a whole number", count)?,
    };
    row.check().map_err(|fault| fault.to_string())?;
    Ok(row)
}

fn number<T: std::str::FromStr>(column: &str, expected: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("column `{column}`: expected {expected}, found `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::row;

    const HEADER: &str = "model,suite,corruption,severity,route,metric,value,count\n";

    #[test]
    fn clean_rows_have_no_corruption_and_names_are_quoted_where_they_must_be() {
        let rows = [row("original", None, 0.875), row("a \"b\", c\nd", Some(("fog", 1)), 1.0 / 3.0)];
        let text = to_csv(&rows).unwrap();
        assert_eq!(
            text,
            HEADER.to_owned()
                + "original,fashion-c,,,single,accuracy,0.875000,100\n"
                + "\"a \"\"b\"\", c\nd\",fashion-c,fog,1,single,accuracy,0.333333,100\n"
        );
        let read = from_csv(&text, "results.csv").unwrap();
        assert_eq!(read[0], rows[0]);
        assert_eq!(read[1], Row { value: 0.333333, ..rows[1].clone() });
        assert_eq!(to_csv(&read).unwrap(), text);
    }

    #[test]
    fn a_value_that_is_no_number_is_not_written() {
        let error = to_csv(&[row("original", None, 0.5), row("original", None, f64::NAN)]).unwrap_err();
        assert!(error.to_string().starts_with("row 1: `value` is NaN, expected a finite number"), "{error}");
    }

    #[test]
    fn faults_name_the_file_the_line_and_the_column() {
        let good = "original,fashion-c,,,single,accuracy,0.875000,100\n";
        let message = |line: &str| from_csv(&(HEADER.to_owned() + good + line), "a.csv").unwrap_err().to_string();
        assert_eq!(message("m,s,fog,3,r,a,many,1"), "a.csv:3: column `value`: expected a number, found `many`");
        assert_eq!(message("m,s,fog,300,r,a,1,1"), "a.csv:3: column `severity`: expected a whole number, found `300`");
        assert_eq!(message("m,s,fog,9,r,a,1,1"), "a.csv:3: `severity` is 9, expected 1 to 5");
        assert_eq!(message("m,s,fog"), "a.csv:3: expected 8 fields, found 3");
        assert!(message("m,s,fog,3,r,a,inf,1").starts_with("a.csv:3: `value` is inf"));
        let header = from_csv("model,value\n", "a.csv").unwrap_err().to_string();
        assert!(
            header.starts_with("a.csv:1: expected the header `model,suite,") && header.ends_with("found `model,value`")
        );
        assert!(from_csv("", "a.csv").unwrap_err().to_string().ends_with("found nothing"));
    }
}
