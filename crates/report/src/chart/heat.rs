//! A table whose numbers are colours as well.

use std::fmt::Write as _;

use super::frame::{WIDTH, escaped, page};
use super::label;

/// A table of two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// What stands above it.
    pub title: String,
    /// What its columns are.
    pub x: String,
    /// What its rows are.
    pub y: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Row by row, a number and its text; none where there is no number.
    pub cells: Vec<Vec<Option<(f64, String)>>>,
    /// Whether zero means that there is no difference, so that both sides have colours of their own.
    pub around_zero: bool,
}

/// Colours from the smallest to the greatest number; around zero from loss over none to gain.
const ONE_WAY: [[f64; 3]; 3] = [[238.0, 243.0, 248.0], [104.0, 163.0, 207.0], [12.0, 74.0, 130.0]];
const TWO_WAYS: [[f64; 3]; 3] = [[186.0, 84.0, 32.0], [242.0, 241.0, 238.0], [24.0, 104.0, 152.0]];

const ROW: f64 = 46.0;

impl Heat {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let widest = |names: &[String]| names.iter().map(|name| label::width(name)).fold(0.0, f64::max);
        let (left, top) = (28.0 + widest(&self.rows).min(220.0), 96.0);
        let wide = ((WIDTH - 20.0 - left) / self.columns.len().max(1) as f64).min(170.0);
        let mut body = String::new();
        let middle = left + wide * self.columns.len() as f64 / 2.0;
        let _ = writeln!(
            body,
            "<text class=\"soft\" x=\"{middle:.1}\" y=\"58\" text-anchor=\"middle\">{}</text>",
            escaped(&self.x)
        );
        let _ = writeln!(body, "<text class=\"soft\" x=\"20\" y=\"{:.1}\">{}</text>", top - 10.0, escaped(&self.y));
        for (index, name) in self.columns.iter().enumerate() {
            let at = left + wide * (index as f64 + 0.5);
            let _ = writeln!(
                body,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                top - 10.0,
                escaped(name)
            );
        }
        for (row, (name, cells)) in self.rows.iter().zip(&self.cells).enumerate() {
            let up = top + ROW * row as f64;
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                up + ROW / 2.0 + 4.5,
                escaped(name)
            );
            for (column, cell) in cells.iter().enumerate() {
                let at = left + wide * column as f64;
                let Some((value, text)) = cell else {
                    let _ = writeln!(
                        body,
                        "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">–</text>",
                        at + wide / 2.0,
                        up + ROW / 2.0 + 4.5
                    );
                    continue;
                };
                let colour = self.colour(*value);
                let [red, green, blue] = colour.map(|level| level.round() as u8);
                // Black or white, whichever is further from the colour.
                let ink = if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140.0 {
                    "#1b1f24"
                } else {
                    "#ffffff"
                };
                let _ = writeln!(
                    body,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\" fill=\"#{red:02x}{green:02x}{blue:02x}\"/>",
                    at + 1.0,
                    up + 1.0,
                    wide - 2.0,
                    ROW - 2.0
                );
                let _ = writeln!(
                    body,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"12.5\" style=\"fill: {ink}\">{}</text>",
                    at + wide / 2.0,
                    up + ROW / 2.0 + 4.5,
                    escaped(text)
                );
            }
        }
        page(&self.title, top + ROW * self.rows.len() as f64 + 20.0, &body)
    }

    fn colour(&self, value: f64) -> [f64; 3] {
        let values = self.cells.iter().flatten().flatten().map(|(value, _)| *value);
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high, colours) = match self.around_zero {
            true => (-low.abs().max(high.abs()), low.abs().max(high.abs()), TWO_WAYS),
            false => (low, high, ONE_WAY),
        };
        let place = if high > low { 2.0 * (value - low) / (high - low) } else { 1.0 };
        let first = (place as usize).min(1);
        let part = place - first as f64;
        std::array::from_fn(|channel| colours[first][channel] * (1.0 - part) + colours[first + 1][channel] * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_numbers() {
        let cell = |value: f64| Some((value, format!("{value:.1}")));
        let mut heat = Heat {
            title: "t".into(),
            x: "teacher".into(),
            y: "student".into(),
            columns: vec!["a".into(), "b".into()],
            rows: vec!["c".into(), "d".into()],
            cells: vec![vec![cell(1.0), cell(3.0)], vec![cell(2.0), None]],
            around_zero: false,
        };
        assert_eq!([1.0, 2.0, 3.0].map(|value| heat.colour(value)), ONE_WAY);
        heat.around_zero = true;
        assert_eq!((heat.colour(3.0), heat.colour(0.0)), (TWO_WAYS[2], TWO_WAYS[1]));
        assert!(heat.svg().contains("–") && heat.svg().matches("<rect").count() == 4);
    }
}
