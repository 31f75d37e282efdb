use anyhow::{Context, bail};
use robustify_data::place;
use robustify_tokenizer::{CONTEXT_LENGTH, Tokenizer};
use serde_json::Value;

use crate::args::ModelsTokenize;
use crate::console;

/// Prints CLIP's ids of every prompt as a JSON list of lists.
pub fn run(options: &ModelsTokenize) -> anyhow::Result<()> {
    let path = options.file.display();
    let text = place::read_text(&options.file)?;
    let prompts = serde_json::from_str(&text).map_err(anyhow::Error::from).and_then(prompts);
    let prompts = prompts
        .with_context(|| format!("{path}: expected a JSON list of texts, or an object with a list `prompts`"))?;
    let tokenizer = Tokenizer::new();
    let rows: Vec<Vec<u32>> = prompts.iter().map(|prompt| tokenizer.tokenize(prompt, CONTEXT_LENGTH)).collect();
    console::result(&format!("{}\n", serde_json::to_string(&rows)?))
}

/// The texts of a list, or of an object with one.
fn prompts(json: Value) -> anyhow::Result<Vec<String>> {
    let list = match json {
        Value::Object(mut object) => object.remove("prompts").context("the object has no `prompts`")?,
        list => list,
    };
    let Value::Array(list) = list else { bail!("found {}", kind(&list)) };
    let text = |(index, prompt): (usize, Value)| match prompt {
        Value::String(text) => Ok(text),
        other => bail!("prompt {index}, counted from 0, is {}", kind(&other)),
    };
    list.into_iter().enumerate().map(text).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
