//! Rules for Rust sources: library code does not print, does not read the environment, leaves nothing unfinished.

use super::Fault;

/// Past this many lines a file has more than one subject.
const MAX_LINES: usize = 600;

/// What the program alone may do, and why libraries may not.
const PROGRAM_ONLY: [(&str, &str); 7] = [
    ("println!", "library code does not print; return the text"),
    ("eprintln!", "library code does not print; return an error or a warning"),
    ("print!", "library code does not print; return the text"),
    ("eprint!", "library code does not print; return an error or a warning"),
    ("std::env", "library code does not read the environment; take an argument"),
    ("env::var", "library code does not read the environment; take an argument"),
    ("clap", "only the program parses arguments"),
];

/// What nobody may leave behind.
const NEVER: [(&str, &str); 3] = [
    ("todo!", "unfinished code must not look finished"),
    ("unimplemented!", "unfinished code must not look finished"),
    ("#[ignore", "a test that does not run proves nothing; make it fast, or remove it"),
];

/// Checks one file.
pub(super) fn check(path: &str, text: &str) -> Vec<Fault> {
    let code = code_only(text);
    let mut faults = find(path, &code, &NEVER);
    if is_library(path) {
        faults.extend(find(path, &without_tests(&code), &PROGRAM_ONLY));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        faults.push(Fault::warning(path, 0, format!("has {lines} lines; past {MAX_LINES}, split it by subject")));
    }
    faults
}

/// Everything the program is made of, but not the program.
fn is_library(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/") && !path.starts_with("crates/cli/")
}

fn find(path: &str, code: &str, patterns: &[(&str, &str)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        for (pattern, why) in patterns {
            if contains_word(line, pattern) {
                faults.push(Fault::new(path, number, format!("`{pattern}`: {why}")));
            }
        }
    }
    faults
}

/// Whether a pattern occurs without being the end, or the beginning, of a longer name.
fn contains_word(line: &str, pattern: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(pattern)
        .any(|(at, _)| !line[..at].ends_with(in_name) && !line[at + pattern.len()..].starts_with(in_name))
}

/// Blanks what `#[cfg(test)]` governs: up to the end of the next block, or to a `;` before it.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let mut depth = 0usize;
        let end = rest[at + MARK.len()..].char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        let end = end.map_or(rest.len(), |(offset, _)| at + MARK.len() + offset + 1);
        kept.extend(rest[at..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// The code without the inside of its comments, strings and characters; every line stays where it is.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest, '"'),
            'r' if !ends_in_name(&code) => raw_string(rest).unwrap_or(0),
            'b' | 'c' if !ends_in_name(&code) && rest[1..].starts_with('r') => {
                raw_string(&rest[1..]).map_or(0, |n| n + 1)
            }
            '\'' if is_character(rest) => quoted(rest, '\''),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        }
    }
    code
}

fn ends_in_name(code: &str) -> bool {
    code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Length of a comment that begins here; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of a literal that begins with a quote here, and ends with the next one that is not escaped.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `r"…"` or `r#"…"#`, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes;
    let inside = text[start..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(inside.find(&end).map_or(text.len(), |at| start + 1 + at + end.len()))
}

/// A quote begins a character, not a lifetime, if it is escaped or closed right behind one character.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text).into_iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn libraries_do_not_print_but_the_program_and_tests_do() {
        let text = "fn f() {\n    println!(\"x\");\n}\n#[cfg(test)]\nmod tests {\n    fn g() { println!(\"{}\", 1) }\n}\nfn h() { eprintln!() }\n";
        assert_eq!(lines("crates/zoo/src/vit.rs", text), [2, 8]);
        assert_eq!(lines("crates/cli/src/main.rs", text), [0_usize; 0]);
        assert_eq!(lines("crates/zoo/tests/a.rs", text), [0_usize; 0]);
    }

    #[test]
    fn the_environment_and_arguments_are_the_programs() {
        assert_eq!(
            lines("crates/data/src/a.rs", "use std::env;\nfn f() { std::env::args() }\nuse clap::Parser;"),
            [1, 2, 3]
        );
        assert_eq!(lines("crates/data/src/a.rs", "env!(\"A\"); let clapped = reprintln!();"), [0_usize; 0]);
    }

    #[test]
    fn comments_strings_and_lifetimes_are_no_code() {
        for text in [
            "// println!\n/// println!(\"x\")",
            "/* a /* println! */ println! */",
            "let a = \"\\\"println!\"; let b = r#\"todo!(\"println!\")\"#; let c = br\"todo!\";",
            "fn f<'a>(x: &'a str) -> char { '\"' } // todo!()",
            "let quote = '\\''; let text = \"println!\";",
        ] {
            assert_eq!(lines("crates/data/src/a.rs", text), [0_usize; 0], "{text}");
        }
        assert_eq!(lines("crates/data/src/a.rs", "let c = '\"'; println!(\"{c}\");"), [1]);
        assert_eq!(lines("crates/data/src/a.rs", "let s = \"a\nb\";\nprintln!();"), [3]);
    }

    #[test]
    fn unfinished_code_and_ignored_tests_are_found_anywhere() {
        assert_eq!(
            lines(
                "crates/cli/src/a.rs",
                "fn f() { todo!() }\n#[cfg(test)]\nmod t {\n#[ignore = \"slow\"]\nfn g() {}\n}"
            ),
            [1, 4]
        );
    }

    #[test]
    fn a_long_file_is_worth_a_warning() {
        let faults = check("crates/data/src/a.rs", &"\n".repeat(MAX_LINES + 1));
        assert!(faults.len() == 1 && faults[0].warning, "{faults:?}");
        assert_eq!(check("crates/data/src/a.rs", &"\n".repeat(MAX_LINES)), []);
    }
}
