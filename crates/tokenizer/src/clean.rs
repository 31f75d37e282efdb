//! What becomes of a text before it is cut into words: open_clip 3.3.0's `basic_clean`, `whitespace_clean` and lower case.
//! The first calls `fix_text` of ftfy 6.3.1 and then Python's `html.unescape`, twice.
//!
//! Of ftfy's repairs of text that was decoded with the wrong encoding, one is not complete: see [`crate::mojibake`].

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use unicode_normalization::UnicodeNormalization;

use crate::mojibake;

/// The text as it is tokenized: repaired, with HTML's entities replaced, in lower case, with single spaces between words.
pub fn clean(text: &str) -> String {
    let text = fix(text);
    let text = unescape(&text);
    let text = unescape(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// ftfy's `fix_text`: every line by itself. Entities stay from the first line on that holds a `<`, which may be HTML.
fn fix(text: &str) -> String {
    let mut is_html = false;
    text.split_inclusive('\n')
        .map(|line| {
            is_html |= line.contains('<');
            fix_line(line, !is_html)
        })
        .collect()
}

fn fix_line(line: &str, unescaping: bool) -> String {
    let mut text = line.to_owned();
    loop {
        let mut fixed = text.clone();
        if unescaping {
            fixed = ENTITY.replace_all(&fixed, whole_entity).into_owned();
        }
        fixed = simplify(&mojibake::fix(fixed));
        fixed = TERMINAL_ESCAPE.replace_all(&fixed, "").into_owned();
        fixed = fixed.chars().filter(|&c| !is_control(c)).nfc().collect();
        if fixed == text {
            return text;
        }
        text = fixed;
    }
}

static TERMINAL_ESCAPE: LazyLock<Regex> = LazyLock::new(|| regex(r"\x1b\[[\d;]*[a-zA-Z]"));
static ENTITY: LazyLock<Regex> = LazyLock::new(|| regex("&#?[0-9A-Za-z]{1,24};"));
static REFERENCE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\x0c <&#;]{1,32};?)"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

/// Characters by their plain forms: ligatures, full- and half-width forms, curly quotes, line ends.
fn simplify(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            'Ĳ' => plain.push_str("IJ"),
            'ĳ' => plain.push_str("ij"),
            // The apostrophe that the ligature's first half would become is straightened as well.
            'ŉ' => plain.push_str("'n"),
            'Ǳ' => plain.push_str("DZ"),
            'ǲ' => plain.push_str("Dz"),
            'ǳ' => plain.push_str("dz"),
            'Ǆ' => plain.push_str("DŽ"),
            'ǅ' => plain.push_str("Dž"),
            'ǆ' => plain.push_str("dž"),
            'Ǉ' => plain.push_str("LJ"),
            'ǈ' => plain.push_str("Lj"),
            'ǉ' => plain.push_str("lj"),
            'Ǌ' => plain.push_str("NJ"),
            'ǋ' => plain.push_str("Nj"),
            'ǌ' => plain.push_str("nj"),
            'ﬀ' => plain.push_str("ff"),
            'ﬁ' => plain.push_str("fi"),
            'ﬂ' => plain.push_str("fl"),
            'ﬃ' => plain.push_str("ffi"),
            'ﬄ' => plain.push_str("ffl"),
            'ﬅ' => plain.push_str("ſt"),
            'ﬆ' => plain.push_str("st"),
            '\u{3000}' => plain.push(' '),
            '\u{ff01}'..='\u{ffef}' => plain.extend(std::iter::once(c).nfkc()),
            '\u{201c}'..='\u{201f}' => plain.push('"'),
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => plain.push('\''),
            '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => plain.push('\n'),
            c => plain.push(c),
        }
    }
    plain
}

/// Control characters that nobody means to have in a text.
fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}')
        || matches!(c, '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// The text of an entity that ends in a semicolon; the entity itself when it is not known. Names in capitals stand for
/// capitals, unless another entity begins like them.
fn whole_entity(found: &Captures<'_>) -> String {
    let entity = &found[0];
    if entity.starts_with("&#") {
        let text = unescape(entity);
        return if text.contains(';') { entity.to_owned() } else { text.into_owned() };
    }
    if let Some(text) = named(entity) {
        return text.to_owned();
    }
    let in_capitals = !entity.contains(|c: char| c.is_ascii_lowercase());
    let lower = in_capitals.then(|| named(&entity.to_ascii_lowercase())).flatten();
    match lower {
        Some(text) if unescape(entity) == entity => text.to_uppercase(),
        _ => entity.to_owned(),
    }
}

/// Python's `html.unescape`: every entity and character reference, with or without its semicolon.
fn unescape(text: &str) -> Cow<'_, str> {
    REFERENCE.replace_all(text, |found: &Captures<'_>| {
        let name = &found[1];
        match name.strip_prefix('#') {
            Some(number) => numbered(number.trim_end_matches(';')),
            None => longest(name),
        }
    })
}

/// The character of a number, as HTML5 has it: a C1 control means the character of Windows-1252, what is no character means
/// nothing.
fn numbered(number: &str) -> String {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // Too large a number for 32 bits is no character either.
    let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    let text = match code {
        0 => '\u{fffd}',
        0x80..=0x9f => mojibake::WINDOWS_1252[code as usize - 0x80],
        1..=8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => return String::new(),
        _ if code <= 0x10_ffff && code & 0xfffe == 0xfffe => return String::new(),
        _ => char::from_u32(code).unwrap_or('\u{fffd}'),
    };
    text.to_string()
}

/// The longest entity that `name` begins with, and the rest of it.
fn longest(name: &str) -> String {
    // Entities without a semicolon have at least two letters.
    let lengths = name.char_indices().map(|(at, _)| at).chain([name.len()]).filter(|&length| length > 1);
    for length in lengths.rev() {
        if let Some(text) = named(&format!("&{}", &name[..length])) {
            return format!("{text}{}", &name[length..]);
        }
    }
    format!("&{name}")
}

/// The text of an entity of HTML5, `&amp;` or `&amp`.
fn named(entity: &str) -> Option<&'static str> {
    let text = htmlize::ENTITIES.get(entity.as_bytes())?;
    std::str::from_utf8(text).ok()
}
