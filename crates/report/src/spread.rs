//! Means over rows, and means with their spread over seeds.

use std::collections::BTreeMap;

use crate::{ReportError, Row};

/// The mean of some values and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divided by n - 1), which one value alone does not have.
    pub deviation: Option<f64>,
    /// How many values.
    pub count: usize,
}

impl Spread {
    /// Over values, in their order; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() {
            return None;
        }
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        Some(Self { mean, deviation, count })
    }

    /// Over the values of the rows that are wanted, each counting once, however many images it is taken over: the mean
    /// corruption accuracy is the mean of its cells. `None` if no row is wanted.
    pub fn of_rows<'a>(rows: impl IntoIterator<Item = &'a Row>, wanted: impl Fn(&Row) -> bool) -> Option<Self> {
        Self::of(rows.into_iter().filter(|row| wanted(row)).map(|row| row.value))
    }

    /// As text, `0.769 ± 0.003`, or the mean alone for one value.
    pub fn plain(&self, decimals: usize) -> String {
        self.scaled(1.0, decimals)
    }

    /// A fraction as a percentage without its sign: `76.9 ± 0.3`.
    pub fn percent(&self, decimals: usize) -> String {
        self.scaled(100.0, decimals)
    }

    fn scaled(&self, factor: f64, decimals: usize) -> String {
        let mean = format!("{:.decimals$}", self.mean * factor);
        match self.deviation {
            Some(deviation) => format!("{mean} ± {:.decimals$}", deviation * factor),
            None => mean,
        }
    }
}

/// Brings runs with different seeds together: for each row of the first, in its order, the spread of its value over all
/// runs. The row that is returned holds the mean, and counts the images of all runs.
///
/// # Errors
///
/// A run has a row twice, or one that not every run has.
pub fn across_runs(runs: &[Vec<Row>]) -> Result<Vec<(Row, Spread)>, ReportError> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let mut same: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for (run, rows) in runs.iter().enumerate() {
        for row in rows {
            let others = same.entry(row.key()).or_default();
            // Every run before this one has brought its row; a second one of this run, or a row that is new now, shows.
            if others.len() != run {
                return Err(mismatch(row, runs));
            }
            others.push(row);
        }
    }
    let mut combined = Vec::with_capacity(first.len());
    for row in first {
        let all = &same[&row.key()];
        match Spread::of(all.iter().map(|row| row.value)) {
            Some(spread) if spread.count == runs.len() => {
                let count = all.iter().map(|row| row.count).sum();
                combined.push((Row { value: spread.mean, count, ..row.clone() }, spread));
            }
            _ => return Err(mismatch(row, runs)),
        }
    }
    Ok(combined)
}

/// Names the first run that does not have a row exactly once.
fn mismatch(row: &Row, runs: &[Vec<Row>]) -> ReportError {
    let counts = runs.iter().map(|rows| rows.iter().filter(|other| other.key() == row.key()).count());
    let (run, found) = counts.enumerate().find(|(_, count)| *count != 1).unwrap_or_default();
    ReportError::Mismatch { run, found, what: describe(row) }
}

fn describe(row: &Row) -> String {
    let Row { model, suite, route, metric, .. } = row;
    let corruption = row.corruption.as_deref().unwrap_or("clean");
    let severity = row.severity.map(|severity| format!(" severity {severity}")).unwrap_or_default();
    format!("{model}, {suite}, {corruption}{severity}, {route}, {metric}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::row;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        let spread = Spread::of([0.766, 0.769, 0.772]).unwrap();
        assert_eq!((spread.percent(1), spread.plain(3)), ("76.9 ± 0.3".to_owned(), "0.769 ± 0.003".to_owned()));
        assert_eq!(Spread::of([0.5]).unwrap().percent(1), "50.0");
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn cells_count_alike_however_many_images_they_have() {
        let rows = [
            row("original", None, 0.9),
            Row { count: 1, ..row("original", Some(("fog", 1)), 0.25) },
            row("original", Some(("snow", 1)), 0.75),
        ];
        assert_eq!(Spread::of_rows(&rows, |row| row.corruption.is_some()).unwrap().mean, 0.5);
        assert_eq!(Spread::of_rows(&rows, |row| row.model == "apt"), None);
    }

    #[test]
    fn runs_are_brought_together_row_by_row_whatever_their_order() {
        let (fog, clean) = (Some(("fog", 2)), None);
        let runs = [
            vec![row("original", clean, 0.75), row("original", fog, 0.25)],
            vec![row("original", fog, 0.75), row("original", clean, 0.75)],
        ];
        let combined = across_runs(&runs).unwrap();
        assert_eq!(combined[0].0, Row { count: 200, ..row("original", clean, 0.75) });
        assert_eq!((combined[0].1.deviation, combined[1].1.mean), (Some(0.0), 0.5));
        assert!((combined[1].1.deviation.unwrap() - 0.125f64.sqrt()).abs() < 1e-12);
        assert!(across_runs(&[]).unwrap().is_empty());
    }

    #[test]
    fn runs_that_were_not_evaluated_alike_are_not_brought_together() {
        let (clean, fog) = (row("original", None, 0.75), row("original", Some(("fog", 2)), 0.25));
        let message = |runs: &[Vec<Row>]| across_runs(runs).unwrap_err().to_string();
        let (both, one) = (vec![clean.clone(), fog.clone()], vec![clean.clone()]);
        let fog_is_missing = "run 1 has 0 row(s) for original, fashion-c, fog severity 2, single, accuracy";
        assert!(message(&[both.clone(), one.clone()]).starts_with(fog_is_missing));
        assert!(message(&[one.clone(), both.clone()]).starts_with(&fog_is_missing.replace("run 1", "run 0")));
        assert!(
            message(&[one, vec![clean.clone(), clean]])
                .starts_with("run 1 has 2 row(s) for original, fashion-c, clean")
        );
    }
}
