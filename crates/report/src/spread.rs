//! Means over rows, and means with their spread over seeds.

use crate::Row;

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
}
