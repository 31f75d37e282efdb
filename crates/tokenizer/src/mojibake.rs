//! Text in UTF-8 that somebody decoded as Latin-1 or Windows-1252: `dÃ©jÃ  vu` for `déjà vu`. Source: the behaviour of ftfy
//! 6.3.1, whose classes of characters are listed here as far as these two encodings have them.
//!
//! A whole line is repaired, when it looks wrong and its bytes are valid UTF-8. ftfy also undoes eight other encodings (code
//! pages 1250, 1251, 1253, 1254, 1257 and 437, ISO 8859-2, MacRoman), lines of which only a part is damaged, and bytes that
//! were lost or changed on the way (U+FFFD, a no-break space that became a space). We leave all these as they are.

use std::sync::LazyLock;

use regex::Regex;

/// What Windows-1252 has at 0x80 to 0x9F; five bytes without a character are the controls of Latin-1.
pub(crate) const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Undoes wrong decodings, one inside the other, then reads what controls are left in Windows-1252.
pub(crate) fn fix(mut text: String) -> String {
    while !text.is_ascii() && LOOKS_WRONG.is_match(&text) {
        let repaired = [latin_1 as fn(char) -> Option<u8>, windows_1252].iter().find_map(|byte| {
            let bytes = text.chars().map(byte).collect::<Option<Vec<u8>>>()?;
            String::from_utf8(bytes).ok()
        });
        match repaired {
            Some(repaired) => text = repaired,
            None => break,
        }
    }
    let readable = |c| match c {
        '\u{80}'..='\u{9f}' => WINDOWS_1252[c as usize - 0x80],
        c => c,
    };
    text.chars().map(readable).collect()
}

fn latin_1(c: char) -> Option<u8> {
    u8::try_from(u32::from(c)).ok()
}

fn windows_1252(c: char) -> Option<u8> {
    let high = WINDOWS_1252.iter().zip(0x80..).find(|(known, _)| **known == c).map(|(_, byte)| byte);
    // The substitute stands for a lost byte, which is not undone.
    high.or(latin_1(c).filter(|byte| !(0x80..0xa0).contains(byte) && *byte != 0x1a))
}

/// Neighbours that no language puts side by side.
static LOOKS_WRONG: LazyLock<Regex> = LazyLock::new(|| {
    const BAD: &str = "¤¦¨ª¬¯¸ºƒˆ˜†‡‰";
    const LAW: &str = "§¶";
    const CURRENCY: &str = "¢£¥€";
    const OPENING: &str = "¡©«¿‘‚“„•‹";
    const CLOSING: &str = "®»”›™";
    const NUMERIC: &str = "±²³µ¹¼½¾×÷";
    const UPPER: &str = "À-ÑØÜÝŒŠŸŽ";
    const LOWER: &str = "ß-ñüœšž";
    const COMMON: &str = r"\xa0\xad´·–—’…";
    let arabic = format!("[ØÙ][{COMMON}{CURRENCY}{BAD}{NUMERIC}{OPENING}ŸŠ®°µ»]");
    let patterns = [
        r"[\x80-\x9f]".to_owned(),
        format!("[{LOWER}{UPPER}{OPENING}{CLOSING}{CURRENCY}{NUMERIC}{LAW}{BAD}][{BAD}]"),
        format!("[a-zA-Z]Þ[{BAD}]"),
        format!("[{BAD}][{LOWER}{UPPER}{OPENING}{CLOSING}{CURRENCY}{NUMERIC}{LAW}]"),
        format!("[{LOWER}{CLOSING}{CURRENCY}{NUMERIC}][{UPPER}]"),
        format!("[{CLOSING}{CURRENCY}{NUMERIC}][{LOWER}]"),
        format!("[{LOWER}{CLOSING}][{CURRENCY}]"),
        format!(r"\s[{UPPER}][{CURRENCY}]"),
        format!("[{UPPER}][{NUMERIC}{LAW}]"),
        format!("[{LOWER}{UPPER}{CURRENCY}{CLOSING}][{OPENING}][{NUMERIC}]"),
        format!("[{LOWER}{UPPER}{CURRENCY}{NUMERIC}{LAW}][{CLOSING}][{OPENING}]"),
        format!("[{CURRENCY}{NUMERIC}][{OPENING}]"),
        format!("[a-z][{UPPER}][{OPENING}{CURRENCY}]"),
        format!(r"[{LOWER}{UPPER}][{OPENING}{CLOSING}]\w"),
        "[Œœ][^A-Za-z]".to_owned(),
        format!("[{UPPER}]°"),
        format!(r"[ÂÃÎÐ][€œŠš¢£Ÿž\xa0\xad®©°·»{OPENING}{CLOSING}–—´]"),
        "×[²³]".to_owned(),
        format!("{arabic}{arabic}"),
        "à[²µ¹¼½¾]".to_owned(),
        r"Ã[\xa0¡]".to_owned(),
        r"[a-z]\s?[ÃÂ] ".to_owned(),
        "^[ÃÂ] ".to_owned(),
        format!("[a-z.,?!{CLOSING}]Â[ {OPENING}{CLOSING}]"),
    ];
    Regex::new(&patterns.join("|")).expect("the pattern is valid")
});
