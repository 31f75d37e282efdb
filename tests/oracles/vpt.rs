//! Visual prompts: a frozen ViT without and with them, its logits, and the gradients of what is tuned.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, ensure};
use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use robustify_distill::{PromptTuning, losses, optimizer};
use robustify_zoo::vit::{PromptConfig, VitConfig};
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{Features, Masks, Model, ModelConfig, Pass, Trace};

use crate::oracle::{Oracle, Values};

/// The case without prompts; the others are named by the file's tensors.
const PLAIN: &str = "no_prompt";

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let of_case = |name: String| name.trim_start_matches("out.").trim_end_matches(".logits").to_owned();
    let cases: Vec<String> =
        oracle.names("out.").into_iter().filter(|name| name.ends_with(".logits")).map(of_case).collect();
    ensure!(!cases.is_empty(), "the file has no logits");
    cases.iter().try_for_each(|case| one(oracle, case).with_context(|| format!("case {case}")))
}

fn one(oracle: &mut Oracle, case: &str) -> Result<()> {
    let model = model(oracle, case)?;
    let masks = DroppedPrompts::of(oracle, case)?;
    let trace = Trace::default();
    let mut pass = Pass::eval();
    if let Some(masks) = &masks {
        pass = pass.with_masks(masks);
    }
    let logits = model.forward(oracle.tensor("in.x")?, &pass.with_trace(&trace));
    oracle.expect_tensor(&format!("out.{case}.logits"), logits)?;
    for (name, features) in trace.into_steps() {
        let Features::Tokens(tokens) = features else { continue };
        if let Some(block) = name.strip_prefix("blocks.").and_then(|block| block.parse::<usize>().ok()) {
            let output = format!("out.mid.{case}.layer.{block}");
            if oracle.names(&output).contains(&output) {
                // The file has the first image's.
                oracle.expect_tensor(&output, tokens.clone().narrow(0, 0, 1))?;
            }
        }
        if name == "norm" {
            let [rows, _, width] = tokens.dims();
            oracle.expect_tensor(&format!("out.{case}.cls"), tokens.narrow(1, 0, 1).reshape([rows, width]))?;
        }
    }
    if case == PLAIN { Ok(()) } else { gradients(oracle, case, model, &pass) }
}

/// The loss, and the gradients of prompts, projection and classifier; no other weight has one.
fn gradients(oracle: &mut Oracle, case: &str, model: Model, pass: &Pass<'_>) -> Result<()> {
    let trained = PromptTuning::frozen(model).train();
    let images: Tensor<4> = oracle.tensor("in.x")?;
    let labels = oracle.label_tensor("in.labels")?;
    let rows = labels.dims()[0] as f64;
    let loss = losses::cross_entropy(trained.forward(images.autodiff(), pass), labels) / rows;
    oracle.expect_tensor(&format!("out.{case}.loss"), loss.clone().without_autodiff())?;
    let found = optimizer::gradients(&trained, &mut loss.backward());
    let prefix = format!("out.grad.{case}.");
    let wanted: BTreeMap<String, String> = oracle
        .names(&prefix)
        .into_iter()
        .map(|name| Ok((ours(name.trim_start_matches(&prefix))?, name)))
        .collect::<Result<_>>()?;
    let (got, want): (Vec<_>, Vec<_>) = (found.keys().collect(), wanted.keys().collect());
    oracle.expect_equal(&format!("{case}: tensors with a gradient"), got, want)?;
    for (name, gradient) in found {
        let values = crate::oracle::host(gradient)?;
        oracle.expect(&wanted[&name], &values)?;
    }
    Ok(())
}

/// The network of a case with its weights.
fn model(oracle: &Oracle, case: &str) -> Result<Model> {
    let number = |key: &str| oracle.number(key).map(|number| number as usize);
    let has = |name: &str| !oracle.names(&format!("w.{case}.transformer.{name}")).is_empty();
    let prompts = match has("prompt_embeddings") {
        false => None,
        true => Some(PromptConfig {
            tokens: number("tokens")?,
            deep: has("deep_prompt_embeddings"),
            projection: if has("prompt_proj.weight") { number("proj")? } else { 0 },
        }),
    };
    let plain = VitConfig::plain(number("img")?, number("patch")?, number("dim")?, number("depth")?, number("heads")?);
    let config = VitConfig {
        mlp_ratio: oracle.number("mlp")? / oracle.number("dim")?,
        classes: number("classes")?,
        norm_eps: oracle.number("ln_eps")?,
        prompts,
        ..plain
    };
    let blank = Model::blank(&ModelConfig::Vit(config), &oracle.device)?;
    weights::with_state(blank, state(oracle, case)?).map_err(|faults| anyhow!("{}", faults.join("; ")))
}

/// The weights of the frozen network, of the classifier and of a case's prompts, under our names.
fn state(oracle: &Oracle, case: &str) -> Result<State> {
    let mut state = State::new();
    let own = format!("w.{case}.");
    let mut parts: BTreeMap<(String, &str), BTreeMap<usize, Entry>> = BTreeMap::new();
    for name in oracle.names("w.") {
        let Values { shape, values } = oracle.values(&name)?.clone();
        let entry = Entry { shape, values: values.into_iter().map(|value| value as f32).collect() };
        let key = match (name.strip_prefix(&own), name.strip_prefix("w.enc."), name.strip_prefix("w.head.")) {
            (Some(key), ..) | (_, Some(key), _) => key.to_owned(),
            (_, _, Some(key)) => format!("head.{key}"),
            _ => continue,
        };
        // Query, key and value are one matrix here.
        let part = ["query", "key", "value"].iter().position(|part| key.contains(&format!(".attn.{part}.")));
        match part {
            Some(place) => {
                let block = key.trim_start_matches("transformer.encoder.layer.").split('.').next().unwrap_or_default();
                let kind = if key.ends_with(".weight") { "weight" } else { "bias" };
                parts.entry((format!("blocks.{block}.attn.qkv"), kind)).or_default().insert(place, entry);
            }
            None => {
                state.insert(ours(&key)?, entry);
            }
        }
    }
    for ((name, kind), parts) in parts {
        ensure!(parts.len() == 3, "{name}: query, key and value are expected");
        let mut shape = parts[&0].shape.clone();
        shape[0] *= 3;
        let values = parts.into_values().flat_map(|entry| entry.values).collect();
        state.insert(format!("{name}.{kind}"), Entry { shape, values });
    }
    Ok(state)
}

/// Our name of a tensor of the authors' code.
fn ours(name: &str) -> Result<String> {
    const RENAMED: [(&str, &str); 12] = [
        ("transformer.embeddings.position_embeddings", "pos_embed"),
        ("transformer.embeddings.cls_token", "cls_token"),
        ("transformer.embeddings.patch_embeddings.", "patch_embed.proj."),
        ("transformer.encoder.encoder_norm.", "norm."),
        ("transformer.encoder.layer.", "blocks."),
        ("transformer.prompt_embeddings", "prompt_embeddings"),
        ("transformer.deep_prompt_embeddings", "deep_prompt_embeddings"),
        ("transformer.prompt_proj.", "prompt_proj."),
        ("head.last_layer.", "head."),
        (".attention_norm.", ".norm1."),
        (".ffn_norm.", ".norm2."),
        (".ffn.", ".mlp."),
    ];
    let renamed = RENAMED.iter().fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours));
    let renamed = renamed.replace(".attn.out.", ".attn.proj.");
    ensure!(!renamed.starts_with("transformer"), "{name}: the library has no such tensor");
    Ok(renamed)
}

/// Given masks of the prompts before each block, whose kept elements are divided by the rate that they are kept at.
struct DroppedPrompts(Vec<Values>);

impl DroppedPrompts {
    /// The rate at which the authors' case keeps an element.
    const KEPT: f64 = 0.7;

    fn of(oracle: &Oracle, case: &str) -> Result<Option<Self>> {
        let names = oracle.names(&format!("in.{case}.mask."));
        let masks = (0..names.len()).map(|block| oracle.values(&format!("in.{case}.mask.{block}")).cloned());
        let masks = masks.collect::<Result<Vec<_>>>()?;
        Ok((!masks.is_empty()).then_some(Self(masks)))
    }
}

impl Masks for DroppedPrompts {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        let block: usize = site.trim_start_matches('/').strip_prefix("prompts.")?.parse().ok()?;
        let mask = &self.0.get(block)?.values;
        let values: Vec<f32> = mask.iter().map(|kept| (kept / Self::KEPT) as f32).collect();
        let rows = values.len() / elements;
        Some(Tensor::<1>::from_floats(values.as_slice(), device).reshape([rows, elements]))
    }
}
