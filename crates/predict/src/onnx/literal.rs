//! Lists of names in notes: JSON, what Python prints of a list or a dictionary, or lines.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The names in a text: of a list in its order, of a dictionary by its numbers, otherwise of lines or between commas. None if there are
/// fewer than two, or if the numbers are not 0, 1, 2, ….
pub(super) fn names(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if let Ok(found) = serde_json::from_str::<Json>(text) {
        return found.names().filter(|names| names.len() > 1);
    }
    let inside = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    let found = if let Some(inside) = inside('[', ']').or_else(|| inside('(', ')')) {
        parts(inside)?
    } else if let Some(inside) = inside('{', '}') {
        numbered(&parts(inside)?)?
    } else if text.starts_with(['[', '(', '{']) {
        // A list that does not end.
        return None;
    } else if text.contains('\n') {
        super::said::lines(text)
    } else {
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    (found.len() > 1 && found.iter().all(|name| !name.is_empty())).then_some(found)
}

/// JSON that names classes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    List(Vec<String>),
    Names(BTreeMap<usize, String>),
    Numbers(BTreeMap<String, usize>),
}

impl Json {
    fn names(self) -> Option<Vec<String>> {
        let by_number = match self {
            Self::List(names) => return Some(names),
            Self::Names(names) => names,
            Self::Numbers(numbers) => numbers.into_iter().map(|(name, number)| (number, name)).collect(),
        };
        by_number.keys().copied().eq(0..by_number.len()).then(|| by_number.into_values().collect())
    }
}

/// Strings and numbers of a text in their order; nothing but `,` and `:` may stand between them.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let mut part = String::new();
                loop {
                    match letters.next()? {
                        '\\' => part.push(letters.next()?),
                        end if end == letter => break,
                        other => part.push(other),
                    }
                }
                found.push(part);
            }
            digit if digit.is_ascii_digit() => {
                let mut part = digit.to_string();
                while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                    part.push(digit);
                }
                found.push(part);
            }
            ',' | ':' => {}
            space if space.is_whitespace() => {}
            _ => return None,
        }
    }
    Some(found)
}

/// Names of numbers and names in turn, if the numbers are those from 0 on.
fn numbered(parts: &[String]) -> Option<Vec<String>> {
    let pairs = parts.chunks(2).map(|pair| Some((pair[0].parse::<usize>().ok()?, pair.get(1)?.clone())));
    let found: BTreeMap<usize, String> = pairs.collect::<Option<_>>()?;
    (2 * found.len() == parts.len()).then(|| Json::Names(found).names())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_programs_write_them() {
        let expected = Some(vec!["cat, tabby".to_owned(), "dog's".to_owned()]);
        for text in [
            "{0: 'cat, tabby', 1: \"dog's\"}",
            "{\"1\": \"dog's\", \"0\": \"cat, tabby\"}",
            "{\"cat, tabby\": 0, \"dog's\": 1}",
            "['cat, tabby', 'dog\\'s']",
            "[\"cat, tabby\", \"dog's\"]",
            "cat, tabby\ndog's\n",
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        assert_eq!(names("cat,dog"), Some(vec!["cat".to_owned(), "dog".to_owned()]));
        for text in
            ["", "cat", "{0: 'cat', 2: 'dog'}", "{0: 'cat', 1: null}", "['cat', 'dog", "[cat, dog]", "{0: 'a', 0: 'b'}"]
        {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
