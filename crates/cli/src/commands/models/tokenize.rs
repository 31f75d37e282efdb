use anyhow::Context;
use robustify_tokenizer::{CONTEXT_LENGTH, Tokenizer};
use serde::Deserialize;

use crate::args::ModelsTokenize;
use crate::console;

/// A list of prompts, or an object with one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Prompts {
    List(Vec<String>),
    Object { prompts: Vec<String> },
}

/// Prints CLIP's ids of every prompt as a JSON list of lists.
pub fn run(options: &ModelsTokenize) -> anyhow::Result<()> {
    let path = options.file.display();
    let text = std::fs::read_to_string(&options.file).with_context(|| path.to_string())?;
    let prompts: Prompts = serde_json::from_str(&text)
        .with_context(|| format!("{path}: expected a JSON list of texts, or an object with a list `prompts`"))?;
    let (Prompts::List(prompts) | Prompts::Object { prompts }) = prompts;
    let tokenizer = Tokenizer::new();
    let rows: Vec<Vec<u32>> = prompts.iter().map(|prompt| tokenizer.tokenize(prompt, CONTEXT_LENGTH)).collect();
    console::result(&format!("{}\n", serde_json::to_string(&rows)?))
}
