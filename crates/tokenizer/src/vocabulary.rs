//! Some of the tokenizer's ids, numbered anew: a small text tower needs an embedding for those alone.

use crate::{END_OF_TEXT, START_OF_TEXT, Tokenizer, VOCABULARY};

/// The ids that a text tower knows, in rising order, so that the end marker stays the largest; the tower's own ids are their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Empty for all ids of the tokenizer, each in its own place.
    ids: Vec<u32>,
}

/// A text that has a word outside of a [`Vocabulary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The text.
    pub text: String,
    /// Its first word that is not known.
    pub word: String,
}

impl std::fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { text, word } = self;
        write!(
            f,
            "`{text}` has the word `{word}`, which the text tower does not know; use other words, or train it with them"
        )
    }
}

impl std::error::Error for UnknownWord {}

impl Vocabulary {
    /// All ids, as every published CLIP has them.
    pub fn whole() -> Self {
        Self { ids: Vec::new() }
    }

    /// The ids of these texts, with padding and both markers.
    pub fn of<'a>(tokenizer: &Tokenizer, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ids: Vec<u32> = texts.into_iter().flat_map(|text| tokenizer.encode(text)).collect();
        ids.extend([0, START_OF_TEXT, END_OF_TEXT]);
        ids.sort_unstable();
        ids.dedup();
        Self { ids }
    }

    /// The vocabulary of a list of ids as [`Self::ids`] gives it; `None` unless they rise from 0 to the markers.
    pub fn from_ids(ids: Vec<u32>) -> Option<Self> {
        let rises = ids.windows(2).all(|pair| pair[0] < pair[1]);
        (rises && ids.first() == Some(&0) && ids.ends_with(&[START_OF_TEXT, END_OF_TEXT])).then_some(Self { ids })
    }

    /// The tokenizer's ids in their order; empty for all of them.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many ids there are.
    pub fn size(&self) -> usize {
        if self.ids.is_empty() { VOCABULARY } else { self.ids.len() }
    }

    /// One row of the tower's own ids, as [`Tokenizer::tokenize`] makes it.
    ///
    /// # Errors
    /// A word that is not known.
    pub fn row(&self, tokenizer: &Tokenizer, text: &str, context_length: usize) -> Result<Vec<u32>, UnknownWord> {
        let row = tokenizer.tokenize(text, context_length);
        self.own(&row).ok_or_else(|| {
            let unknown = |word: &&str| self.own(&tokenizer.encode(word)).is_none();
            let word = text.split_whitespace().find(unknown).unwrap_or(text);
            // The full stop of a sentence is no part of its last word.
            let bare = Some(word.trim_matches(|c: char| !c.is_alphanumeric())).filter(unknown);
            UnknownWord { text: text.to_owned(), word: bare.unwrap_or(word).to_owned() }
        })
    }

    /// The tower's ids for those of the tokenizer.
    fn own(&self, row: &[u32]) -> Option<Vec<u32>> {
        if self.ids.is_empty() {
            return Some(row.to_vec());
        }
        row.iter().map(|id| self.ids.binary_search(id).ok().map(|place| place as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_places_and_an_unknown_word_is_named() {
        let tokenizer = Tokenizer::new();
        let vocabulary = Vocabulary::of(&tokenizer, ["a photo of a cat", "dog"]);
        let row = vocabulary.row(&tokenizer, "a dog", 6).unwrap();
        let last = vocabulary.size() as u32 - 1;
        assert_eq!((row[0], row[3], row[4]), (last - 1, last, 0));
        let back: Vec<u32> = row.iter().map(|&id| vocabulary.ids()[id as usize]).collect();
        assert_eq!(back, tokenizer.tokenize("a dog", 6));
        assert_eq!(vocabulary.row(&tokenizer, "a photo of a bird.", 8).unwrap_err().word, "bird");
        assert_eq!(Vocabulary::from_ids(vocabulary.ids().to_vec()), Some(vocabulary));
        assert_eq!(Vocabulary::from_ids(vec![0, 5, 4, START_OF_TEXT, END_OF_TEXT]), None);
        assert_eq!(Vocabulary::whole().row(&tokenizer, "a dog", 6).unwrap(), tokenizer.tokenize("a dog", 6));
    }
}
