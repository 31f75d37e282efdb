//! A table of numbers that becomes HTML, CSV, Markdown and LaTeX.

use serde::Serialize;

use super::number::{GAP, fixed};
use crate::{Style, Table};

/// What makes a column's numbers good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub enum Better {
    /// Neither end.
    #[default]
    Neither,
    /// Large ones.
    High,
    /// Small ones.
    Low,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Column {
    /// Its name for people.
    pub title: String,
    /// Its name in CSV.
    pub key: String,
    /// Which of its numbers is marked.
    pub better: Better,
    /// Whether it holds text, which is aligned to the left.
    pub text: bool,
    /// What its numbers are multiplied with to be shown.
    pub factor: f64,
    /// Decimals that are shown.
    pub decimals: usize,
    /// Whether numbers have a plus.
    pub signed: bool,
}

impl Column {
    /// A column of text.
    pub fn text(title: &str) -> Self {
        Self { title: title.into(), key: title.into(), text: true, factor: 1.0, ..Self::default() }
    }

    /// A column of fractions that are shown in percent.
    pub fn percent(title: &str, key: &str) -> Self {
        Self { better: Better::High, factor: 100.0, decimals: 1, ..Self::number(title, key, 1) }
    }

    /// A column of numbers.
    pub fn number(title: &str, key: &str, decimals: usize) -> Self {
        Self { title: title.into(), key: key.into(), factor: 1.0, decimals, ..Self::default() }
    }

    /// The same, small numbers being good.
    pub fn low(self) -> Self {
        Self { better: Better::Low, ..self }
    }

    /// The same, no number being good.
    pub fn neutral(self) -> Self {
        Self { better: Better::Neither, ..self }
    }

    /// The same, as a difference with its sign.
    pub fn signed(self) -> Self {
        Self { signed: true, ..self }
    }
}

/// A place of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Place {
    /// A text.
    Text(String),
    /// A number, if there is one, and what stands behind it in small type.
    Number(Option<f64>, String),
}

impl From<&str> for Place {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Place {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Option<f64>> for Place {
    fn from(value: Option<f64>) -> Self {
        Self::Number(value.filter(|value| value.is_finite()), String::new())
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Grid {
    /// What it is called as a file, without extension.
    pub file: String,
    /// What it shows, a sentence.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each as long as there are columns.
    pub rows: Vec<Vec<Place>>,
}

/// A place as a page shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Its text.
    pub text: String,
    /// What stands behind it in small type.
    pub note: String,
    /// Whether it is the best of its column.
    pub best: bool,
    /// Whether it is a number.
    pub number: bool,
}

impl Grid {
    /// Without columns that hold nothing.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        let is_filled = |column: usize| {
            self.rows.iter().any(|row| match row.get(column) {
                Some(Place::Text(text)) => !text.is_empty(),
                Some(Place::Number(value, _)) => value.is_some(),
                None => false,
            })
        };
        let kept: Vec<bool> = (0..self.columns.len()).map(|column| column == 0 || is_filled(column)).collect();
        let mut index = 0..;
        self.columns.retain(|_| kept[index.next().unwrap_or_default()]);
        for row in &mut self.rows {
            let mut index = 0..;
            row.retain(|_| kept.get(index.next().unwrap_or_default()).copied().unwrap_or(false));
        }
        self
    }

    /// The places as text.
    pub fn shown(&self) -> Vec<Vec<Shown>> {
        let best: Vec<Option<f64>> = (0..self.columns.len()).map(|column| self.best(column)).collect();
        let place = |(column, place): (usize, &Place)| {
            let about = &self.columns[column];
            match place {
                Place::Text(text) => {
                    Shown { text: text.clone(), note: String::new(), best: false, number: !about.text }
                }
                Place::Number(value, note) => Shown {
                    text: value.map_or_else(|| GAP.to_owned(), |value| about.shown(value)),
                    note: note.clone(),
                    // Equal as printed is equal.
                    best: best[column].zip(*value).is_some_and(|(best, value)| about.shown(best) == about.shown(value)),
                    number: true,
                },
            }
        };
        self.rows.iter().map(|row| row.iter().take(self.columns.len()).enumerate().map(place).collect()).collect()
    }

    /// The best number of a column in which some are better than others.
    fn best(&self, column: usize) -> Option<f64> {
        let values: Vec<f64> = self.rows.iter().filter_map(|row| row.get(column)?.value()).collect();
        let better = self.columns[column].better;
        if values.len() < 2 || better == Better::Neither {
            return None;
        }
        let best = values
            .iter()
            .copied()
            .reduce(|best, next| if better == Better::High { best.max(next) } else { best.min(next) });
        let is_one = |value: &f64| Some(*value) == best;
        (!values.iter().all(is_one)).then_some(best).flatten()
    }

    /// As CSV: fractions stay fractions, with six decimals, counts are whole, and what is missing is empty.
    pub fn csv(&self) -> String {
        let line = |fields: Vec<String>| {
            fields.iter().map(|field| crate::csv::quoted(field)).collect::<Vec<_>>().join(",") + "\n"
        };
        let mut text = line(self.columns.iter().map(|column| column.key.clone()).collect());
        for row in &self.rows {
            let field = |(place, column): (&Place, &Column)| match place {
                Place::Text(text) => text.clone(),
                Place::Number(value, _) => {
                    let decimals = if column.decimals == 0 && column.factor == 1.0 { 0 } else { 6 };
                    value.map(|value| format!("{value:.decimals$}")).unwrap_or_default()
                }
            };
            text += &line(row.iter().zip(&self.columns).map(field).collect());
        }
        text
    }

    /// As Markdown, with the caption above, the best numbers bold.
    pub fn markdown(&self) -> String {
        let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let mut table = Table::new(self.columns.iter().map(|column| plain(&column.title)));
        for (index, _) in self.columns.iter().enumerate().filter(|(_, column)| column.text) {
            table = table.left(index);
        }
        for row in self.shown() {
            table.row(row.into_iter().map(|shown| {
                let text = plain(&shown.text);
                let note = if shown.note.is_empty() { String::new() } else { format!(" {}", plain(&shown.note)) };
                if shown.best { format!("**{text}**{note}") } else { text + &note }
            }));
        }
        format!("{}\n\n{}", plain(&self.caption), table.render(Style::Markdown))
    }

    /// As LaTeX with the package `booktabs`, the best numbers bold.
    pub fn latex(&self) -> String {
        let kinds: String = self.columns.iter().map(|column| if column.text { 'l' } else { 'r' }).collect();
        let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
        let header = line(self.columns.iter().map(|column| latex(&column.title)).collect());
        let rows: String = self
            .shown()
            .into_iter()
            .map(|row| {
                line(
                    row.into_iter()
                        .map(|shown| {
                            let text = latex(&shown.text);
                            let note = if shown.note.is_empty() {
                                String::new()
                            } else {
                                format!(" {{\\small {}}}", latex(&shown.note))
                            };
                            if shown.best { format!("\\textbf{{{text}}}{note}") } else { text + &note }
                        })
                        .collect(),
                )
            })
            .collect();
        format!(
            "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{}}}\n\\begin{{tabular}}{{{kinds}}}\n\\toprule\n{header}\\midrule\n{rows}\\bottomrule\n\
             \\end{{tabular}}\n\\end{{table}}\n",
            latex(&self.caption)
        )
    }
}

impl Place {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Number(value, _) => *value,
        }
    }
}

impl Column {
    fn shown(&self, value: f64) -> String {
        let text = fixed(value * self.factor, self.decimals);
        let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
        if self.signed && value > 0.0 && !is_zero { format!("+{text}") } else { text }
    }
}

/// A text as LaTeX sets it, letter for letter.
fn latex(text: &str) -> String {
    let mut written = String::new();
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => written.extend(['\\', letter]),
            '~' => written += "\\textasciitilde{}",
            '^' => written += "\\textasciicircum{}",
            '\\' => written += "\\textbackslash{}",
            '<' => written += "\\textless{}",
            '>' => written += "\\textgreater{}",
            '−' => written += "$-$",
            '–' => written += "--",
            '\n' | '\r' => written.push(' '),
            _ => written.push(letter),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let row =
            |name: &str, mean: Option<f64>, mce: Option<f64>| vec![name.into(), mean.into(), mce.into(), None.into()];
        Grid {
            file: "summary".into(),
            caption: "Accuracy in %".into(),
            columns: vec![
                Column::text("model"),
                Column::percent("mean", "mean_accuracy"),
                Column::number("mCE", "mce", 1).low(),
                Column::percent("noise", "noise"),
            ],
            rows: vec![
                row("a_b|<c>", Some(0.786), Some(76.7)),
                row("d, e", None, Some(60.0)),
                row("f", Some(0.851), None),
            ],
        }
        .without_empty_columns()
    }

    #[test]
    fn one_table_in_three_languages() {
        assert_eq!(
            grid().csv(),
            "model,mean_accuracy,mce\na_b|<c>,0.786000,76.700000\n\"d, e\",,60.000000\nf,0.851000,\n"
        );
        let markdown = grid().markdown();
        assert!(markdown.contains("| a_b\\|&lt;c> |     78.6 |     76.7 |"), "{markdown}");
        assert!(markdown.contains("| d, e        |        – | **60.0** |"), "{markdown}");
        let latex = grid().latex();
        assert!(latex.contains("a\\_b|\\textless{}c\\textgreater{} & 78.6 & 76.7 \\\\"), "{latex}");
        assert!(latex.contains("\\begin{tabular}{lrr}") && latex.contains("f & \\textbf{85.1} & -- \\\\"), "{latex}");
    }

    #[test]
    fn the_best_of_equal_numbers_is_none() {
        let mut grid = grid();
        grid.rows.truncate(1);
        assert!(grid.shown().iter().flatten().all(|shown| !shown.best));
        grid.rows.push(grid.rows[0].clone());
        assert!(grid.shown().iter().flatten().all(|shown| !shown.best));
        assert_eq!(Column::percent("Δ", "d").signed().shown(0.012), "+1.2");
    }
}
