//! Headers of NumPy's arrays, looked at before another crate reads them.
//!
//! `npyz` takes any description of records that NumPy may write: brackets within brackets, which it follows for minutes, and
//! shapes whose product overflows. Arrays of plain numbers have neither.

use std::io::Read;

use anyhow::{Context, ensure};

/// Longest header that is read; those of plain arrays have about a hundred bytes.
const LONGEST: usize = 1 << 12;

/// The header of a `.npy` file, with its magic number, of an array of plain numbers, and how many there are. Source: NumPy
/// enhancement proposal 1.
///
/// # Errors
/// A file that ends too early or is no array, and what no array of plain numbers has.
pub fn header(file: &mut impl Read) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut header = vec![0; 10];
    file.read_exact(&mut header)?;
    ensure!(header.starts_with(b"\x93NUMPY"), "it does not begin as one");
    // From version 2 on, the length has four bytes.
    if header[6] >= 2 {
        header.resize(12, 0);
        file.read_exact(&mut header[10..])?;
    }
    let length = header[8..].iter().rev().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
    ensure!(length <= LONGEST, "a header of {length} bytes, at most {LONGEST} are read");
    let start = header.len();
    header.resize(start + length, 0);
    file.read_exact(&mut header[start..])?;
    let count = count(&header[start..])?;
    Ok((header, count))
}

/// The product of the shape, of a text that is one dictionary with one tuple in it.
fn count(text: &[u8]) -> anyhow::Result<usize> {
    let count = |letters: &[u8]| text.iter().filter(|letter| letters.contains(letter)).count();
    ensure!(count(b"{") == 1 && count(b"(") == 1 && count(b"[") == 0, "plain numbers are expected");
    let inner = |open: u8, close: u8| {
        let start = text.iter().position(|&letter| letter == open)? + 1;
        let length = text[start..].iter().position(|&letter| letter == close)?;
        std::str::from_utf8(&text[start..start + length]).ok()
    };
    let shape = inner(b'(', b')').context("the shape has no end")?;
    // The largest plain numbers have 32 bytes.
    let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
    let size = sides.map(|side| side.parse::<usize>()).try_fold(32usize, |size, side| size.checked_mul(side.ok()?));
    size.map(|size| size / 32).with_context(|| format!("the shape ({shape}) cannot be counted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn headers_that_take_for_ever_or_cannot_be_counted_are_refused() {
        let plain = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4, 3), }\n";
        assert_eq!(header(&mut file(plain).as_slice()).unwrap(), (file(plain), 72));
        let scalar = plain.replace("(2, 3, 4, 3)", "()");
        assert_eq!(header(&mut file(&scalar).as_slice()).unwrap().1, 1);
        for (text, said) in [
            (plain.replace("(2", &format!("{}2", "(".repeat(64))), "plain numbers"),
            (plain.replace("'|u1'", "[('a', '|u1')]"), "plain numbers"),
            (plain.replace("(2", "(9223372036854775808"), "cannot be counted"),
            (plain.replace("(2", "(-2"), "cannot be counted"),
            (plain.replace(')', ""), "no end"),
            (" ".repeat(5000), "5000 bytes"),
        ] {
            let error = header(&mut file(&text).as_slice()).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
