//! Strings of steps such as `resize(36,bicubic)|center_crop(32)`: a name, and arguments in brackets.

use crate::error::{DataError, Result};

/// The string being parsed, for error messages.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub what: &'static str,
    pub text: &'a str,
    pub allowed: &'static str,
}

/// One step: its name and arguments, with their byte offsets in the string.
pub(crate) struct Step<'a> {
    source: Source<'a>,
    pub name: &'a str,
    pub at: usize,
    pub arguments: Vec<(&'a str, usize)>,
}

impl<'a> Source<'a> {
    pub fn error(self, at: usize, reason: String) -> DataError {
        self.error_among(at, reason, self.allowed)
    }

    fn error_among(self, at: usize, reason: String, allowed: &'static str) -> DataError {
        let position = self.text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        DataError::Parse { what: self.what, text: self.text.to_owned(), position, reason, allowed }
    }

    /// Splits the string into steps at `separator`, and their arguments at `,` and `;`.
    pub fn steps(self, separator: char) -> Result<Vec<Step<'a>>> {
        let mut at = 0;
        self.text
            .split(separator)
            .map(|part| {
                let step = self.step(part, at);
                at += part.len() + separator.len_utf8();
                step
            })
            .collect()
    }

    fn step(self, part: &'a str, at: usize) -> Result<Step<'a>> {
        let (trimmed, at) = trim(part, at);
        if trimmed.is_empty() {
            return Err(self.error(at, "a step is missing".to_owned()));
        }
        let Some((name, rest)) = trimmed.split_once('(') else {
            return Ok(Step { source: self, name: trimmed, at, arguments: Vec::new() });
        };
        let Some(inner) = rest.strip_suffix(')') else {
            return Err(self.error(at + trimmed.len(), "`)` is missing at the end of the step".to_owned()));
        };
        let mut argument_at = at + name.len() + 1;
        let arguments = inner.split([',', ';']).map(|argument| {
            let located = trim(argument, argument_at);
            argument_at += argument.len() + 1;
            located
        });
        let arguments = arguments.collect();
        Ok(Step { source: self, name: name.trim_end(), at, arguments })
    }
}

impl Step<'_> {
    /// An error at the step's name.
    pub fn error(&self, reason: String) -> DataError {
        self.source.error(self.at, reason)
    }

    /// An error when the number of arguments is not in `range`.
    pub fn expect(&self, range: std::ops::RangeInclusive<usize>) -> Result<()> {
        let found = self.arguments.len();
        if range.contains(&found) {
            return Ok(());
        }
        let (start, end) = range.into_inner();
        let expected = if start == end { start.to_string() } else { format!("{start} to {end}") };
        Err(self.error(format!("`{}` takes {expected} arguments, found {found}", self.name)))
    }

    /// Argument `index` as a whole number in `range`.
    pub fn whole(&self, index: usize, range: std::ops::RangeInclusive<u32>) -> Result<u32> {
        let (text, at) = self.arguments[index];
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            let reason = format!("expected a whole number from {} to {}, found `{text}`", range.start(), range.end());
            self.source.error(at, reason)
        })
    }

    /// Argument `index` as a finite number that passes `test`.
    pub fn number<N: std::str::FromStr>(&self, index: usize, expected: &str, test: impl Fn(&N) -> bool) -> Result<N> {
        let (text, at) = self.arguments[index];
        let value = text.parse().ok().filter(test);
        value.ok_or_else(|| self.source.error(at, format!("expected {expected}, found `{text}`")))
    }

    /// Argument `index` as a word, or `default` when there are fewer arguments.
    pub fn word<W>(&self, index: usize, default: W, allowed: &'static str, parse: fn(&str) -> Option<W>) -> Result<W> {
        let Some(&(text, at)) = self.arguments.get(index) else { return Ok(default) };
        parse(text).ok_or_else(|| self.source.error_among(at, format!("`{text}` is not known here"), allowed))
    }

    /// Whether argument `index` is there and is a whole number.
    pub fn is_whole(&self, index: usize) -> bool {
        self.arguments.get(index).is_some_and(|(text, _)| text.parse::<u32>().is_ok())
    }
}

fn trim(text: &str, at: usize) -> (&str, usize) {
    let start = text.len() - text.trim_start().len();
    (text.trim(), at + start)
}
