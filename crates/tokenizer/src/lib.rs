//! CLIP's tokenizer: text to the ids that its text tower reads. Source: Radford et al. 2021, arXiv:2103.00020, and the
//! behaviour of open_clip 3.3.0's `SimpleTokenizer`, whose ids are equal to ours (`goldens/`).
//!
//! [`Tokenizer::tokenize`] gives one row for the tower; [`Tokenizer::encode`] the ids without markers and padding;
//! [`Vocabulary`] is a part of the ids, for a small tower; [`prompts`] has the templates of zero-shot classes;
//! [`clean`] is the text that is really read: repaired, unescaped, in lower case, with single spaces.
//!
//! ```
//! use robustify_tokenizer::{CONTEXT_LENGTH, END_OF_TEXT, START_OF_TEXT, Tokenizer};
//!
//! let tokenizer = Tokenizer::new();
//! let row = tokenizer.tokenize("A photo of a cat.", CONTEXT_LENGTH);
//! assert_eq!(row[..8], [START_OF_TEXT, 320, 1125, 539, 320, 2368, 269, END_OF_TEXT]);
//! assert_eq!(row.len(), 77);
//! ```
#![deny(missing_docs)]

mod clean;
mod mojibake;
pub mod prompts;
mod vocabulary;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use regex::Regex;

pub use clean::clean;
pub use vocabulary::{UnknownWord, Vocabulary};

/// Ids a row of every published CLIP.
pub const CONTEXT_LENGTH: usize = 77;

/// Number of ids.
pub const VOCABULARY: usize = 49_408;

/// The marker before a text.
pub const START_OF_TEXT: u32 = 49_406;

/// The marker behind a text: the largest id, by which text towers find their output.
pub const END_OF_TEXT: u32 = 49_407;

/// Byte pairs to ids, by the vocabulary that OpenAI published with CLIP.
pub struct Tokenizer {
    /// The token of two adjacent ones. A lower id was learned earlier and merges first.
    merges: HashMap<(u32, u32), u32>,
    /// The token of every byte; that of the last byte of a word is [`BYTES`] above it.
    bytes: [u32; BYTES],
    words: Regex,
}

const BYTES: usize = 256;
const MERGES: &str = include_str!("../vocabulary/merges.txt");

impl Default for Tokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tokenizer {
    /// The tokenizer of all published CLIPs. Takes some milliseconds: keep it.
    pub fn new() -> Self {
        let (bytes, characters) = alphabet();
        let mut ids: HashMap<String, u32> = HashMap::with_capacity(VOCABULARY);
        for (byte, character) in characters.into_iter().enumerate() {
            ids.insert(character.to_string(), bytes[byte]);
            ids.insert(format!("{character}</w>"), bytes[byte] + BYTES as u32);
        }
        let mut merges = HashMap::with_capacity(VOCABULARY);
        for (line, merged) in MERGES.lines().skip(1).zip(2 * BYTES as u32..) {
            let (first, second) = line.split_once(' ').expect("the vocabulary has two tokens a line");
            merges.insert((ids[first], ids[second]), merged);
            ids.insert(format!("{first}{second}"), merged);
        }
        let pattern = r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";
        Self { merges, bytes, words: Regex::new(pattern).expect("the pattern is valid") }
    }

    /// One row of ids for a text tower: the start marker, the text, the end marker, then zeros. A longer text is cut, and the
    /// end marker takes the last place.
    pub fn tokenize(&self, text: &str, context_length: usize) -> Vec<u32> {
        let mut row = vec![START_OF_TEXT];
        row.extend(self.encode(text));
        row.push(END_OF_TEXT);
        if row.len() > context_length {
            row.truncate(context_length);
            if let Some(last) = row.last_mut() {
                *last = END_OF_TEXT;
            }
        }
        row.resize(context_length, 0);
        row
    }

    /// The ids of a text, without markers. The words `<start_of_text>` and `<end_of_text>` in it give the markers' ids.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = clean(text);
        let mut ids = Vec::with_capacity(text.len());
        for word in self.words.find_iter(&text) {
            match word.as_str() {
                "<start_of_text>" => ids.push(START_OF_TEXT),
                "<end_of_text>" => ids.push(END_OF_TEXT),
                word => self.merge(word, &mut ids),
            }
        }
        ids
    }

    /// Appends the tokens of a word. Time grows with `n log n`, however long the word.
    fn merge(&self, word: &str, ids: &mut Vec<u32>) {
        let mut tokens: Vec<u32> = word.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        if let Some(last) = tokens.last_mut() {
            *last += BYTES as u32;
        }
        // A token's right neighbour is at `next`, its left one at `previous`; what was merged into the left one is GONE.
        let count = tokens.len();
        let mut next: Vec<usize> = (1..=count).collect();
        let mut previous: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
        let pair = |tokens: &[u32], left: usize, right: usize| {
            let ids = (*tokens.get(left)?, *tokens.get(right)?);
            Some(Reverse((*self.merges.get(&ids)?, left, ids)))
        };
        // Of equal merges the leftmost goes first. No merge makes one possible that was learned before itself.
        let mut heap: BinaryHeap<_> = (1..count).filter_map(|right| pair(&tokens, right - 1, right)).collect();
        while let Some(Reverse((merged, left, (first, second)))) = heap.pop() {
            let right = next[left];
            if tokens[left] != first || tokens.get(right) != Some(&second) {
                continue;
            }
            tokens[left] = merged;
            tokens[right] = GONE;
            next[left] = next[right];
            if let Some(previous) = previous.get_mut(next[left]) {
                *previous = left;
            }
            heap.extend(pair(&tokens, previous[left], left));
            heap.extend(pair(&tokens, left, next[left]));
        }
        ids.extend(tokens.into_iter().filter(|&token| token != GONE));
    }
}

const GONE: u32 = u32::MAX;

/// The id of every byte, and the character that stands for it in the vocabulary: itself where Latin-1 prints it, and these
/// bytes come first; all others are the characters from U+0100 on.
fn alphabet() -> ([u32; BYTES], [char; BYTES]) {
    let printed = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let (first, rest): (Vec<u8>, Vec<u8>) = (0..=u8::MAX).partition(printed);
    let (mut ids, mut characters) = ([0; BYTES], ['\0'; BYTES]);
    for (id, &byte) in (0..).zip(first.iter().chain(&rest)) {
        ids[usize::from(byte)] = id;
        characters[usize::from(byte)] = char::from(byte);
    }
    for (&byte, character) in rest.iter().zip('\u{100}'..) {
        characters[usize::from(byte)] = character;
    }
    (ids, characters)
}
