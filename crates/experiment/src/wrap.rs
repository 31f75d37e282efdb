//! Text in lines that are not too long.

/// Text in lines of at most `width` columns where its words allow it, each indented, with a line break at the end.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => *line += &format!(" {word}"),
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_line_is_longer_and_no_word_is_lost() {
        assert_eq!(super::wrapped("one two  three", "  ", 9), "  one two\n  three\n");
        assert_eq!(super::wrapped("", "  ", 9), "");
    }
}
