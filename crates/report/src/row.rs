//! The record: one number, and what it is a number of.

use serde::{Deserialize, Serialize};

use crate::{ReportError, RowFault};

/// One measured number. Reading one from JSON checks it as [`Row::check`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Row {
    /// Who was measured: `original`, `teacher`, `apt`, `robustify`, ….
    pub model: String,
    /// Which benchmark: a data set and a family of corruptions.
    pub suite: String,
    /// Which corruption or other shift, or which group of them; `None` for clean images.
    pub corruption: Option<String>,
    /// How strong it is, 1 to 5; `None` for clean images, for means over severities, and for shifts that have none.
    pub severity: Option<u8>,
    /// How the answer was chosen: `selected`, `clean`, `robust`, `combined`, `oracle`, …, or `single` for one-headed models.
    pub route: String,
    /// What was measured: `accuracy` as a fraction, `ms_per_image` in milliseconds, ….
    pub metric: String,
    /// The number, finite.
    pub value: f64,
    /// How many images it is taken over.
    pub count: u64,
}

impl Row {
    /// Checks that the row reads back as what it is.
    ///
    /// # Errors
    ///
    /// A name is empty, the value is not finite, or the severity is out of range or of nothing.
    pub fn check(&self) -> Result<(), RowFault> {
        let named = [("model", &self.model), ("suite", &self.suite), ("route", &self.route), ("metric", &self.metric)];
        let corruption = self.corruption.iter().map(|name| ("corruption", name));
        if let Some((field, _)) = named.into_iter().chain(corruption).find(|(_, name)| name.is_empty()) {
            return Err(RowFault::Empty(field));
        }
        if !self.value.is_finite() {
            return Err(RowFault::NotFinite(self.value));
        }
        match self.severity {
            Some(severity) if !(1..=5).contains(&severity) => Err(RowFault::Severity(severity)),
            Some(severity) if self.corruption.is_none() => Err(RowFault::SeverityWithoutCorruption(severity)),
            _ => Ok(()),
        }
    }

    /// The value as it is stored: six decimals, and no negative zero, which would print differently from zero.
    pub(crate) fn formatted_value(&self) -> String {
        let text = format!("{:.6}", self.value);
        if text == "-0.000000" { text[1..].to_owned() } else { text }
    }
}

/// Checks every row, for writers.
pub(crate) fn check_all(rows: &[Row]) -> Result<(), ReportError> {
    match rows.iter().enumerate().find_map(|(index, row)| Some((index, row.check().err()?))) {
        Some((index, fault)) => Err(ReportError::Row { index, fault }),
        None => Ok(()),
    }
}

/// A row as it stands in JSON, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    model: String,
    suite: String,
    corruption: Option<String>,
    severity: Option<u8>,
    route: String,
    metric: String,
    value: f64,
    count: u64,
}

impl TryFrom<Unchecked> for Row {
    type Error = RowFault;

    fn try_from(row: Unchecked) -> Result<Self, RowFault> {
        let Unchecked { model, suite, corruption, severity, route, metric, value, count } = row;
        let row = Self { model, suite, corruption, severity, route, metric, value, count };
        row.check().map(|()| row)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(model: &str, corruption: Option<(&str, u8)>, value: f64) -> Row {
        Row {
            model: model.to_owned(),
            suite: "fashion-c".to_owned(),
            corruption: corruption.map(|(name, _)| name.to_owned()),
            severity: corruption.map(|(_, severity)| severity),
            route: "single".to_owned(),
            metric: "accuracy".to_owned(),
            value,
            count: 100,
        }
    }

    #[test]
    fn rows_that_could_not_be_read_back_are_refused() {
        let good = row("original", Some(("fog", 5)), 0.5);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Row { severity: None, ..good.clone() }.check(), Ok(()));
        assert_eq!(Row { model: String::new(), ..good.clone() }.check(), Err(RowFault::Empty("model")));
        assert_eq!(Row { corruption: Some(String::new()), ..good.clone() }.check(), Err(RowFault::Empty("corruption")));
        assert_eq!(Row { corruption: None, ..good.clone() }.check(), Err(RowFault::SeverityWithoutCorruption(5)));
        assert_eq!(Row { severity: Some(0), ..good.clone() }.check(), Err(RowFault::Severity(0)));
        assert!(matches!(Row { value: f64::NAN, ..good.clone() }.check(), Err(RowFault::NotFinite(_))));
        assert!(matches!(Row { value: f64::INFINITY, ..good }.check(), Err(RowFault::NotFinite(_))));
    }

    #[test]
    fn values_have_six_decimals_and_one_zero() {
        let formatted = |value| row("original", None, value).formatted_value();
        assert_eq!([formatted(0.1), formatted(2.0 / 3.0)], ["0.100000", "0.666667"]);
        assert_eq!([formatted(-1e-9), formatted(-0.0), formatted(0.0)], ["0.000000"; 3]);
        assert_eq!(formatted(-12.5), "-12.500000");
    }
}
