//! Baseline JPEG files of quantised coefficients, byte by byte as libjpeg writes them with optimised Huffman tables.
//!
//! Source: ITU-T T.81, annexes B, F and K.2; where the standard leaves a choice (ties between symbols, padding blocks), that
//! of libjpeg, with which ImageNet-C's files were written.

/// The quantised coefficients of one component.
pub(crate) struct Component {
    /// Blocks of 8x8 samples that cover the component, rounded up.
    pub columns: usize,
    pub rows: usize,
    /// Row by row, each in natural order.
    pub blocks: Vec<[i16; 64]>,
}

/// The file of a 4:2:0 image: luma and two chroma components of half the size, rounded up.
pub(crate) fn write(size: (usize, usize), tables: [&[u8; 64]; 2], components: &[Component; 3]) -> Vec<u8> {
    let units = (size.0.div_ceil(16), size.1.div_ceil(16));
    let padded = [0, 1, 2].map(|index| pad(&components[index], units, if index == 0 { 2 } else { 1 }));
    let symbols = symbols(&padded, units);
    let codes = [0, 1, 2, 3].map(|table| Code::optimal(&symbols, table));
    let mut out = vec![0xff, 0xd8];
    segment(&mut out, 0xe0, &[b'J', b'F', b'I', b'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0]);
    for (number, table) in tables.into_iter().enumerate() {
        let zigzag = ZIGZAG.map(|place| table[place]);
        segment(&mut out, 0xdb, &[&[number as u8][..], &zigzag].concat());
    }
    let side = |length: usize| (length as u16).to_be_bytes();
    let ([y1, y0], [x1, x0]) = (side(size.1), side(size.0));
    segment(&mut out, 0xc0, &[8, y1, y0, x1, x0, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    for (code, class) in codes.iter().zip([0x00, 0x10, 0x01, 0x11]) {
        segment(&mut out, 0xc4, &[&[class][..], &code.counts, &code.values].concat());
    }
    segment(&mut out, 0xda, &[3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
    let mut bits = Bits { out, held: 0, count: 0 };
    for symbol in &symbols {
        let code = &codes[usize::from(symbol.table)];
        let (word, length) = code.words[usize::from(symbol.value)];
        bits.put(word, length);
        bits.put(symbol.extra, symbol.value & 15);
    }
    bits.finish()
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend([0xff, marker]);
    out.extend((body.len() as u16 + 2).to_be_bytes());
    out.extend(body);
}

/// A component in whole units of `factor` x `factor` blocks. What is added holds a mean level only: that of the block to
/// the left, or of the last block of the unit's row above.
fn pad(component: &Component, units: (usize, usize), factor: usize) -> Vec<[i16; 64]> {
    let (columns, rows) = (units.0 * factor, units.1 * factor);
    let mut blocks = vec![[0; 64]; columns * rows];
    for row in 0..rows {
        for column in 0..columns {
            blocks[row * columns + column] = if row >= component.rows {
                flat(&blocks[(row - 1) * columns + (column / factor + 1) * factor - 1])
            } else if column >= component.columns {
                flat(&blocks[row * columns + column - 1])
            } else {
                component.blocks[row * component.columns + column]
            };
        }
    }
    blocks
}

fn flat(block: &[i16; 64]) -> [i16; 64] {
    let mut flat = [0; 64];
    flat[0] = block[0];
    flat
}

/// A Huffman symbol, and the bits that follow it: as many as the low half of `value` says.
struct Symbol {
    /// 0 and 1: mean level and details of luma; 2 and 3: of chroma.
    table: u8,
    value: u8,
    extra: u16,
}

/// All symbols of the scan, unit by unit.
fn symbols(components: &[Vec<[i16; 64]>; 3], units: (usize, usize)) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let mut last = [0; 3];
    for unit in 0..units.0 * units.1 {
        let (x, y) = (unit % units.0, unit / units.0);
        for (index, blocks) in components.iter().enumerate() {
            let factor = if index == 0 { 2 } else { 1 };
            for part in 0..factor * factor {
                let (column, row) = (x * factor + part % factor, y * factor + part / factor);
                let block = &blocks[row * units.0 * factor + column];
                code_block(block, &mut last[index], if index == 0 { 0 } else { 2 }, &mut symbols);
            }
        }
    }
    symbols
}

fn code_block(block: &[i16; 64], last: &mut i16, table: u8, symbols: &mut Vec<Symbol>) {
    let (size, extra) = magnitude(block[0] - *last);
    *last = block[0];
    symbols.push(Symbol { table, value: size, extra });
    let mut zeros = 0;
    for &place in &ZIGZAG[1..] {
        if block[place] == 0 {
            zeros += 1;
            continue;
        }
        for _ in 0..zeros / 16 {
            symbols.push(Symbol { table: table + 1, value: 0xf0, extra: 0 });
        }
        let (size, extra) = magnitude(block[place]);
        symbols.push(Symbol { table: table + 1, value: (zeros % 16) << 4 | size, extra });
        zeros = 0;
    }
    if zeros > 0 {
        symbols.push(Symbol { table: table + 1, value: 0, extra: 0 });
    }
}

/// Number of bits of a value, and those bits; one's complement for negative values.
fn magnitude(value: i16) -> (u8, u16) {
    let size = 16 - value.unsigned_abs().leading_zeros();
    let bits = if value < 0 { value.wrapping_sub(1) } else { value } as u16;
    (size as u8, bits & ((1_u32 << size) - 1) as u16)
}

/// A Huffman code.
struct Code {
    /// Number of words of each length, 1 to 16 bits.
    counts: [u8; 16],
    /// Symbols by growing length, then value.
    values: Vec<u8>,
    /// Word and length by symbol.
    words: Vec<(u16, u8)>,
}

impl Code {
    /// The best code for the symbols of a table, without words longer than 16 bits or of ones alone.
    fn optimal(symbols: &[Symbol], table: u8) -> Self {
        // One more symbol than there are takes the word of ones.
        let mut frequency = [0_u64; 257];
        frequency[256] = 1;
        symbols.iter().filter(|symbol| symbol.table == table).for_each(|s| frequency[usize::from(s.value)] += 1);
        let lengths = lengths(frequency);
        let counts = limited(&lengths);
        let mut values: Vec<u8> = (0..=255).filter(|&value| lengths[usize::from(value)] > 0).collect();
        values.sort_by_key(|&value| lengths[usize::from(value)]);
        let mut words = vec![(0, 0); 256];
        let (mut word, mut next) = (0_u16, values.iter());
        for (bits, &count) in (1..).zip(&counts) {
            for &value in next.by_ref().take(usize::from(count)) {
                words[usize::from(value)] = (word, bits);
                word = word.wrapping_add(1);
            }
            word <<= 1;
        }
        Self { counts, values, words }
    }
}

/// Word lengths by Huffman's procedure; of equally rare symbols the one of the higher value is merged first.
fn lengths(mut frequency: [u64; 257]) -> [usize; 257] {
    let mut lengths = [0; 257];
    let mut next: [Option<usize>; 257] = [None; 257];
    let rarest = |frequency: &[u64; 257], but: Option<usize>| {
        (0..257).rev().filter(|&s| frequency[s] > 0 && Some(s) != but).min_by_key(|&s| frequency[s])
    };
    while let Some(first) = rarest(&frequency, None) {
        let Some(second) = rarest(&frequency, Some(first)) else { break };
        frequency[first] += frequency[second];
        frequency[second] = 0;
        let deepen = |lengths: &mut [usize; 257], start: usize| {
            let mut place = start;
            loop {
                lengths[place] += 1;
                match next[place] {
                    Some(other) => place = other,
                    None => return place,
                }
            }
        };
        let end = deepen(&mut lengths, first);
        deepen(&mut lengths, second);
        next[end] = Some(second);
    }
    lengths
}

/// Numbers of words by length after words of more than 16 bits were shortened (T.81, figure K.3), without the extra one.
fn limited(lengths: &[usize; 257]) -> [u8; 16] {
    let mut counts = [0_usize; 258];
    lengths.iter().for_each(|&length| counts[length] += 1);
    counts[0] = 0;
    for long in (17..258).rev() {
        while counts[long] > 0 {
            let mut shorter = long - 2;
            while counts[shorter] == 0 {
                shorter -= 1;
            }
            counts[long] -= 2;
            counts[long - 1] += 1;
            counts[shorter + 1] += 2;
            counts[shorter] -= 1;
        }
    }
    if let Some(longest) = (1..=16).rev().find(|&length| counts[length] > 0) {
        counts[longest] -= 1;
    }
    std::array::from_fn(|bits| counts[bits + 1] as u8)
}

/// Bits on their way into bytes, the highest first; a byte of ones is followed by one of zeros.
struct Bits {
    out: Vec<u8>,
    held: u32,
    count: u8,
}

impl Bits {
    fn put(&mut self, bits: u16, count: u8) {
        self.held = self.held << count | u32::from(bits);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.held >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xff {
                self.out.push(0);
            }
        }
    }

    /// Fills the last byte with ones and ends the image.
    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            let space = 8 - self.count;
            self.put((1 << space) - 1, space);
        }
        self.out.extend([0xff, 0xd9]);
        self.out
    }
}

/// The place in natural order of every coefficient in the order of the file.
#[rustfmt::skip]
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];
