//! Plain-text tables for terminals and Markdown.

/// A table: the first column is aligned to the left, the others, which are numbers, to the right. Nothing is truncated.
///
/// A character counts as one column wide. Cells may be fewer than the header, which leaves the others empty, or more, in
/// columns without a name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    left: Vec<usize>,
    /// Rows that a rule stands above.
    separators: Vec<usize>,
    /// Rows that are one text over all columns.
    headings: Vec<usize>,
}

/// How a [`Table`] is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Light box-drawing characters.
    Box,
    /// Two blanks between columns and a rule below the header, for tables that have to be narrow. A heading may be wider than its
    /// column.
    Plain,
    /// The same in ASCII, for terminals and logs that know nothing else.
    Ascii,
    /// Markdown, as GitHub understands it. It has no rules between rows, so separators are left out.
    Markdown,
}

/// The characters of a style: left, middle and right of a rule, and what it is drawn with.
type Rule = [char; 4];

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        let header = header.into_iter().map(cell).collect();
        Self { header, left: vec![0], ..Self::default() }
    }

    /// Aligns another column to the left, counted from 0.
    pub fn left(mut self, column: usize) -> Self {
        self.left.push(column);
        self
    }

    /// Adds a row. A line break within a cell becomes a blank.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Adds a row that is one text, above the rows that follow.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.headings.push(self.rows.len());
        self.row([text.into()]);
    }

    /// Draws a rule between the rows so far and those that follow, to tell groups apart.
    pub fn separator(&mut self) {
        self.separators.push(self.rows.len());
    }

    /// The table as text, with a line break at its end.
    pub fn render(&self, style: Style) -> String {
        match style {
            Style::Box => self.drawn('│', [['┌', '┬', '┐', '─'], ['├', '┼', '┤', '─'], ['└', '┴', '┘', '─']]),
            Style::Plain => self.plain(),
            Style::Ascii => self.drawn('|', [['+', '+', '+', '-']; 3]),
            Style::Markdown => self.markdown(),
        }
    }

    fn drawn(&self, bar: char, [top, middle, bottom]: [Rule; 3]) -> String {
        let widths = self.widths(&self.header, &self.rows);
        let rule = |[left, cross, right, dash]: Rule| {
            let dashes: Vec<_> = widths.iter().map(|width| dash.to_string().repeat(width + 2)).collect();
            format!("{left}{}{right}\n", dashes.join(&cross.to_string()))
        };
        let mut text = rule(top) + &self.line(bar, &self.header, &widths) + &rule(middle);
        for (index, row) in self.rows.iter().enumerate() {
            // A rule right below the header, or twice, would tell nothing apart.
            if index > 0 && self.separators.contains(&index) {
                text += &rule(middle);
            }
            text += &self.line(bar, row, &widths);
        }
        text + &rule(bottom)
    }

    fn plain(&self) -> String {
        let is_heading = |index: &usize| self.headings.contains(index);
        let aligned: Vec<Vec<String>> =
            (0..self.rows.len()).filter(|index| !is_heading(index)).map(|index| self.rows[index].clone()).collect();
        let widths = self.widths(&self.header, &aligned);
        let line = |cells: &[String]| self.padded(cells, &widths).join("  ").trim_end().to_owned() + "\n";
        let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)) + "\n";
        let mut text = line(&self.header) + &rule;
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 && self.separators.contains(&index) {
                text += &rule;
            }
            text += &if is_heading(&index) { row.concat() + "\n" } else { line(row) };
        }
        text
    }

    fn markdown(&self) -> String {
        let escaped = |cells: &Vec<String>| -> Vec<_> { cells.iter().map(|cell| cell.replace('|', "\\|")).collect() };
        let header = escaped(&self.header);
        let rows: Vec<_> = self.rows.iter().map(escaped).collect();
        let widths = self.widths(&header, &rows);
        let rules = widths.iter().enumerate().map(|(column, width)| {
            let dashes = "-".repeat(width + 1);
            if self.left.contains(&column) { format!(":{dashes}") } else { format!("{dashes}:") }
        });
        let rule = format!("|{}|\n", rules.collect::<Vec<_>>().join("|"));
        let rows: String = rows.iter().map(|row| self.line('|', row, &widths)).collect();
        self.line('|', &header, &widths) + &rule + &rows
    }

    fn widths(&self, header: &[String], rows: &[Vec<String>]) -> Vec<usize> {
        let lines = || std::iter::once(header).chain(rows.iter().map(Vec::as_slice));
        let columns = lines().map(<[_]>::len).max().unwrap_or_default();
        let width =
            |column: usize| lines().filter_map(|line| line.get(column)).map(|cell: &String| cell.chars().count()).max();
        (0..columns).map(|column| width(column).unwrap_or_default()).collect()
    }

    fn line(&self, bar: char, cells: &[String], widths: &[usize]) -> String {
        let cells = self.padded(cells, widths).into_iter().map(|cell| format!(" {cell} {bar}"));
        format!("{bar}{}\n", cells.collect::<String>())
    }

    /// Cells as wide as their columns, those that are not there empty.
    fn padded(&self, cells: &[String], widths: &[usize]) -> Vec<String> {
        let pad = |(column, &width): (usize, &usize)| {
            let cell = cells.get(column).map_or("", String::as_str);
            if self.left.contains(&column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        widths.iter().enumerate().map(pad).collect()
    }
}

fn cell(text: impl Into<String>) -> String {
    text.into().replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["model", "rule", "clean", "mean"]).left(1);
        table.separator();
        table.row(["original", "", "88.4", "61.0"]);
        table.separator();
        table.row(["robustify", "kl|only", "88.1 ± 0.2", "7.0"]);
        table.row(["apt"]);
        table
    }

    #[test]
    fn groups_are_told_apart_and_numbers_stand_below_each_other() {
        let expected = "\
┌───────────┬─────────┬────────────┬──────┐
│ model     │ rule    │      clean │ mean │
├───────────┼─────────┼────────────┼──────┤
│ original  │         │       88.4 │ 61.0 │
├───────────┼─────────┼────────────┼──────┤
│ robustify │ kl|only │ 88.1 ± 0.2 │  7.0 │
│ apt       │         │            │      │
└───────────┴─────────┴────────────┴──────┘
";
        assert_eq!(table().render(Style::Box), expected);
        let ascii = expected.replace('│', "|").replace('─', "-").replace(|c| "┌┬┐├┼┤└┴┘".contains(c), "+");
        assert_eq!(table().render(Style::Ascii), ascii);
    }

    #[test]
    fn a_plain_table_is_narrow_and_its_headings_widen_nothing() {
        let mut table = table();
        table.heading("all that follows");
        table.row(["  kl", "", "7.0"]);
        let expected = "\
model      rule          clean  mean
────────────────────────────────────
original                  88.4  61.0
────────────────────────────────────
robustify  kl|only  88.1 ± 0.2   7.0
apt
all that follows
  kl                       7.0
";
        assert_eq!(table.render(Style::Plain), expected);
    }

    #[test]
    fn markdown_escapes_its_bars() {
        let expected = "\
| model     | rule     |      clean | mean |
|:----------|:---------|-----------:|-----:|
| original  |          |       88.4 | 61.0 |
| robustify | kl\\|only | 88.1 ± 0.2 |  7.0 |
| apt       |          |            |      |
";
        assert_eq!(table().render(Style::Markdown), expected);
    }

    #[test]
    fn nothing_is_lost_to_a_long_row_or_a_line_break() {
        let mut table = Table::new(["a"]);
        table.row(["b\nc", "2"]);
        assert_eq!(table.render(Style::Ascii), "+-----+---+\n| a   |   |\n+-----+---+\n| b c | 2 |\n+-----+---+\n");
    }
}
