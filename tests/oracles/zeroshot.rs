//! Zero-shot classes of a small CLIP: ids, embeddings, text matrix, logits, and the same images over another label set.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use burn::tensor::{Tensor, activation};
use robustify_tokenizer::Tokenizer;
use robustify_zoo::Pass;
use robustify_zoo::clip::{Clip, ClipConfig, normalised, text_matrix, zero_shot_logits};
use robustify_zoo::weights::{self, Checkpoint, LoadOptions, Partial};
use serde_json::json;

use crate::oracle::{Oracle, host};

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let named = oracle.config["weights"].as_str().context("config.weights names no file")?;
    let checkpoint = Checkpoint::open(&find(&oracle.folder, Path::new(named))?)?;
    let blank = Clip::blank(&shape_of(&checkpoint)?, &oracle.device)?;
    let options = LoadOptions { from: Some("w"), partial: Partial::Refuse };
    let (clip, _) = weights::load_from(blank, &checkpoint, options)?;
    let features = clip.encode_image(oracle.tensor("in.x")?, &Pass::eval());
    oracle.expect_tensor("out.image_features", features.clone())?;
    oracle.expect_tensor("out.image_unit", normalised(features.clone()))?;
    oracle.expect_tensor("out.scale", clip.logit_scale.val().exp())?;
    for name in oracle.names("in.ids.") {
        of_label_set(oracle, &clip, name.trim_start_matches("in.ids."), features.clone())?;
    }
    Ok(())
}

/// One label set: `a`, or another that is put in its place.
fn of_label_set(oracle: &mut Oracle, clip: &Clip, set: &str, features: Tensor<2>) -> Result<()> {
    let ids = oracle.values(&format!("in.ids.{set}"))?;
    let [classes, templates, length] = ids.shape[..] else { anyhow::bail!("in.ids.{set} has no three dimensions") };
    let rows: Vec<Vec<u32>> =
        ids.values.chunks_exact(length).map(|row| row.iter().map(|id| *id as u32).collect()).collect();
    let ours = prompts(oracle, set)?.iter().map(|text| Tokenizer::new().tokenize(text, length)).collect::<Vec<_>>();
    oracle.expect_equal(&format!("ids.{set}"), &ours, &rows)?;
    let embeddings = clip.encode_text(&rows)?;
    let width = embeddings.dims()[1];
    let cube = |rows: Tensor<2>| rows.reshape([classes, templates, width]);
    let matrix = text_matrix(cube(embeddings.clone()));
    let logits = zero_shot_logits(features, matrix.clone(), clip.logit_scale.val());
    oracle.expect_tensor(&format!("out.template_unit.{set}"), cube(normalised(embeddings.clone())))?;
    oracle.expect_tensor(&format!("out.template_embeddings.{set}"), cube(embeddings))?;
    oracle.expect_tensor(&format!("out.probs.{set}"), activation::softmax(logits.clone(), 1))?;
    oracle.expect_tensor(&format!("out.logits.{set}"), logits)?;
    let head = format!("out.wiseft_head_weight.{set}");
    if oracle.names(&head).contains(&head) {
        // WiSE-FT's classifier on features of length one: the rows times the factor.
        let scale = host(clip.logit_scale.val().exp())?[0];
        oracle.expect_tensor(&head, matrix.clone() * scale)?;
    }
    oracle.expect_tensor(&format!("out.text_matrix.{set}"), matrix)
}

/// Every class of a label set in every template.
fn prompts(oracle: &Oracle, set: &str) -> Result<Vec<String>> {
    let list = |key: &str| -> Result<Vec<String>> {
        serde_json::from_value(oracle.config[key].clone()).with_context(|| format!("config.{key}"))
    };
    let templates = list("templates")?;
    let of_class =
        |class: String| templates.iter().map(move |template| template.replace("{}", &class)).collect::<Vec<_>>();
    Ok(list(&format!("classes_{set}"))?.into_iter().flat_map(of_class).collect())
}

/// The file of weights: below the folder or any above it, or among the models beside the folder.
fn find(folder: &Path, named: &Path) -> Result<PathBuf> {
    let folder = folder.canonicalize()?;
    let name = named.file_name().context("config.weights names no file")?;
    let below = folder.ancestors().map(|above| above.join(named));
    let beside = [folder.join(name), folder.join("../models/dumps").join(name)];
    let mut places = below.chain(beside);
    places.find(|place| place.is_file()).with_context(|| {
        format!("{} is neither below {} or a folder above it nor in ../models/dumps", named.display(), folder.display())
    })
}

/// The shape of a CLIP from that of its tensors. Both towers of these have two heads, which no tensor shows.
fn shape_of(checkpoint: &Checkpoint) -> Result<ClipConfig> {
    const HEADS: usize = 2;
    let shape = |name: &str| {
        let name = format!("w.{name}");
        checkpoint.shape(&name).with_context(|| format!("{}: {name} is missing", checkpoint.path().display()))
    };
    let layers = |tower: &str| {
        let has = |layer: usize| checkpoint.shape(&format!("w.{tower}resblocks.{layer}.ln_1.weight")).is_some();
        (0..).take_while(|layer| has(*layer)).count()
    };
    let [width, _, patch, _] = *shape("visual.conv1.weight")? else { anyhow::bail!("visual.conv1 is no convolution") };
    let patches = shape("visual.positional_embedding")?[0] - 1;
    let side = patches.isqrt();
    ensure!(side * side == patches, "{patches} patches are no square");
    let ([context, text_width], vocabulary) =
        ([shape("positional_embedding")?[0], shape("positional_embedding")?[1]], shape("token_embedding.weight")?[0]);
    let described = json!({
        "embed_dim": shape("visual.proj")?[1],
        "quick_gelu": true,
        "vision_cfg": { "image_size": side * patch, "layers": layers("visual.transformer."), "width": width,
            "patch_size": patch, "head_width": width / HEADS },
        "text_cfg": { "context_length": context, "vocab_size": vocabulary, "width": text_width, "heads": HEADS,
            "layers": layers("transformer.") },
    });
    Ok(ClipConfig::from_open_clip(&described.to_string())?)
}
