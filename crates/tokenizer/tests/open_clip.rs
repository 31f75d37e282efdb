//! The ids of open_clip's tokenizer for awkward prompts (`goldens/make.py`), and properties of rows.

use robustify_tokenizer::{CONTEXT_LENGTH, END_OF_TEXT, START_OF_TEXT, Tokenizer, VOCABULARY};

#[derive(serde::Deserialize)]
struct Golden {
    prompt: String,
    ids: Vec<u32>,
}

fn goldens() -> Vec<Golden> {
    serde_json::from_str(include_str!("../goldens/prompts.json")).unwrap()
}

#[test]
fn awkward_prompts_give_open_clips_ids() {
    let tokenizer = Tokenizer::new();
    let goldens = goldens();
    assert!(goldens.len() >= 30);
    let mut wrong = Vec::new();
    for Golden { prompt, mut ids } in goldens {
        ids.resize(CONTEXT_LENGTH, 0);
        let got = tokenizer.tokenize(&prompt, CONTEXT_LENGTH);
        if got != ids {
            wrong.push(format!("{prompt:?}\n  got {got:?}\n  not {ids:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_row_is_as_long_as_asked_for_and_keeps_its_end() {
    let tokenizer = Tokenizer::new();
    let whole = tokenizer.encode("a photo of a cat");
    for length in 0..12 {
        let row = tokenizer.tokenize("a photo of a cat", length);
        assert_eq!(row.len(), length);
        let mut expected = [&[START_OF_TEXT], &whole[..], &[END_OF_TEXT]].concat();
        if expected.len() > length {
            expected.truncate(length.saturating_sub(1));
            expected.extend((length > 0).then_some(END_OF_TEXT));
        }
        expected.resize(length, 0);
        assert_eq!(row, expected);
    }
}

#[test]
fn every_id_is_in_the_vocabulary_and_cleaning_twice_changes_nothing() {
    let tokenizer = Tokenizer::new();
    for code in (0..0x11_0000).step_by(7).filter_map(char::from_u32) {
        let text = format!("a{code}b {code}");
        assert!(tokenizer.encode(&text).iter().all(|&id| id < VOCABULARY as u32), "{text:?}");
    }
    for Golden { prompt, .. } in goldens().iter().filter(|golden| !golden.prompt.contains('&')) {
        let once = robustify_tokenizer::clean(prompt);
        assert_eq!(robustify_tokenizer::clean(&once), once, "{prompt:?}");
    }
}

#[test]
fn a_word_of_a_million_letters_takes_no_quadratic_time() {
    // Quadratic merging would take minutes here.
    let ids = Tokenizer::new().encode(&"abcdefghij".repeat(100_000));
    assert!(ids.len() > 100_000 && ids.len() < 1_000_000);
}
