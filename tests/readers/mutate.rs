//! Damage to files, drawn by number: the same number gives the same damage.

use robustify_rng::{Key, Stream};

/// Numbers at the borders of what lengths are counted in.
const BIG: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Most bytes of a damaged file.
const LONGEST: usize = 1 << 20;

/// A damaged copy of one of the files, which may take parts of another.
pub fn damaged(seeds: &[Vec<u8>], kind: &str, number: u64) -> Vec<u8> {
    let mut draws = Key::new(1, kind).with(number).stream();
    let mut bytes = pick(seeds, &mut draws).clone();
    let other = pick(seeds, &mut draws);
    for _ in 0..=draws.below(4) {
        damage(&mut bytes, other, &mut draws);
    }
    bytes.truncate(LONGEST);
    if draws.chance(0.7) {
        mend_png(&mut bytes);
        mend_zip(&mut bytes);
    }
    bytes
}

fn pick<'a, T>(items: &'a [T], draws: &mut Stream) -> &'a T {
    &items[draws.below(items.len() as u32) as usize]
}

/// A place in so many bytes: in the beginning, where headers are, as often as anywhere.
fn place(length: usize, draws: &mut Stream) -> usize {
    let within = if draws.chance(0.5) { length.min(64) } else { length };
    draws.below(within.max(1) as u32) as usize
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], draws: &mut Stream) {
    let at = place(bytes.len(), draws);
    let end = (at + 1 + draws.below(64) as usize).min(bytes.len());
    let at = at.min(end);
    match draws.below(10) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
        2 if at < bytes.len() => bytes[at] = *pick(&[0, 1, b'0', b'9', b'{', b'[', b'(', 0x7f, 0x80, 0xff], draws),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        6 => {
            let from = place(other.len(), draws);
            let to = (from + 1 + draws.below(256) as usize).min(other.len());
            bytes.splice(at..end, other[from.min(to)..to].iter().copied());
        }
        // Deep nesting, as readers of texts and pickles may follow it.
        7 => {
            let byte = bytes.get(at).copied().unwrap_or_default();
            let byte = [byte, b'[', b'(', b'{'][draws.below(4) as usize];
            bytes.splice(at..at, std::iter::repeat_n(byte, 1 << draws.below(13)));
        }
        // A number as texts have it.
        8 => {
            let number = pick(&BIG, draws).to_string();
            let digits = bytes[at..].iter().position(u8::is_ascii_digit).map(|digit| at + digit);
            if let Some(first) = digits {
                let last = first + bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(first..last, number.into_bytes());
            }
        }
        // A number as lengths are stored, in either order of its bytes.
        _ => {
            let value = pick(&BIG, draws).wrapping_add(u64::from(draws.below(3))).wrapping_sub(1);
            let width = *pick(&[2usize, 4, 8], draws);
            let little = value.to_le_bytes()[..width].to_vec();
            let stored = if draws.chance(0.5) { little } else { little.into_iter().rev().collect() };
            for (target, byte) in bytes[at..].iter_mut().zip(stored) {
                *target = byte;
            }
        }
    }
}

/// CRC-32, as PNG and ZIP have it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Gives the chunks of a PNG their checksums, so that damage gets past these.
fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while bytes.starts_with(b"\x89PNG") && at + 12 <= bytes.len() {
        let Ok(length) = <[u8; 4]>::try_from(&bytes[at..at + 4]) else { return };
        let end = at + 8 + u32::from_be_bytes(length) as usize;
        if end + 4 > bytes.len() {
            return;
        }
        let sum = crc(&bytes[at + 4..end]).to_be_bytes();
        bytes[end..end + 4].copy_from_slice(&sum);
        at = end + 4;
    }
}

/// Gives the entries of a ZIP archive their checksums, wherever those of before stand.
fn mend_zip(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 30 <= bytes.len() {
        if !bytes[at..].starts_with(b"PK\x03\x04") {
            at += 1;
            continue;
        }
        let short = |from: usize| usize::from(u16::from_le_bytes([bytes[from], bytes[from + 1]]));
        let long = |from: usize| <[u8; 4]>::try_from(&bytes[from..from + 4]).unwrap_or_default();
        let (old, length) = (long(at + 14), u32::from_le_bytes(long(at + 18)) as usize);
        let start = at + 30 + short(at + 26) + short(at + 28);
        at += 30;
        if old == [0; 4] || start + length > bytes.len() {
            continue;
        }
        let new = crc(&bytes[start..start + length]).to_le_bytes();
        let found: Vec<usize> =
            bytes.windows(4).enumerate().filter(|(_, four)| *four == old).map(|(place, _)| place).collect();
        for place in found {
            bytes[place..place + 4].copy_from_slice(&new);
        }
    }
}
