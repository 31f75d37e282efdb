//! Feature Distillation's students: tokens, projector, whitened target, loss and every gradient.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, ensure};
use burn::module::Module as _;
use burn::tensor::Tensor;
use robustify_distill::feature::{FeatureStudent, Whitening, loss};
use robustify_distill::optimizer;
use robustify_zoo::swin::{SwinConfig, Version};
use robustify_zoo::vit::VitConfig;
use robustify_zoo::weights::{self, Checkpoint, LoadOptions, Partial};
use robustify_zoo::{Features, Model, ModelConfig, Pass, Trace};

use crate::oracle::{Oracle, host};

/// A Vision Transformer with one table of relative position biases.
pub fn vit(oracle: &mut Oracle) -> Result<()> {
    let encoder = load(oracle, &ModelConfig::Vit(vit_config(oracle)?), "w.encoder")?;
    let state = weights::state(&encoder);
    let table = &state["rel_pos_bias.relative_position_bias_table"];
    let heads = table.shape[1];
    let grid = [oracle.number("img")? as usize / oracle.number("patch")? as usize; 2];
    let index = robustify_zoo::vit::position_index(grid);
    let bias = (0..heads).flat_map(|head| index.iter().map(move |&entry| entry as usize * heads + head));
    let bias: Vec<f64> = bias.map(|place| f64::from(table.values[place])).collect();
    oracle.expect("out.rel_pos_bias", &bias)?;
    student(oracle, encoder, str::to_owned)
}

/// A Swin Transformer of version 2, with position biases per block or shared by a layer.
pub fn swin(oracle: &mut Oracle) -> Result<()> {
    let config = swin_config(oracle, Version::V2)?;
    let encoder = load(oracle, &ModelConfig::Swin(config.clone()), "w.encoder")?;
    student(oracle, encoder, reference_name)
}

/// The shape of a student in the file's settings.
pub fn vit_config(oracle: &Oracle) -> Result<VitConfig> {
    let number = |key: &str| oracle.number(key).map(|number| number as usize);
    let plain =
        VitConfig::student(number("img")?, number("patch")?, number("dim")?, number("depth")?, number("heads")?);
    Ok(VitConfig { mlp_ratio: oracle.number("mlp_ratio")?, norm_eps: oracle.number("ln_eps")?, ..plain })
}

/// The shape of a Swin Transformer in the file's settings.
pub fn swin_config(oracle: &Oracle, version: Version) -> Result<SwinConfig> {
    let number = |key: &str| oracle.number(key).map(|number| number as usize);
    let list = |key: &str| -> Result<Vec<usize>> {
        serde_json::from_value(oracle.config[key].clone()).with_context(|| format!("config.{key}"))
    };
    let (depths, window) = (list("depths")?, number("window")?);
    Ok(SwinConfig {
        image_size: number("img")?,
        patch_size: number("patch")?,
        width: number("dim")?,
        heads: list("heads")?,
        windows: vec![window; depths.len()],
        depths,
        shared_positions: oracle.config["shared_rpb"] == true,
        classes: 0,
        ..SwinConfig::plain(version, window, 1, [1; 4], [1; 4])
    })
}

/// A network with the weights of the oracle's file under a key.
pub fn load(oracle: &Oracle, config: &ModelConfig, from: &str) -> Result<Model> {
    let checkpoint = Checkpoint::open(&oracle.path())?;
    let options = LoadOptions { from: Some(from), partial: Partial::Refuse };
    Ok(weights::load_from(Model::blank(config, &oracle.device)?, &checkpoint, options)?.0)
}

/// The reference's name of a tensor of ours: patches are merged at the end of a layer, and networks of positions and the classifier of
/// Swin are named otherwise.
pub fn reference_name(name: &str) -> String {
    let name = name.replace(".cpb_mlp.", ".rpe_mlp.").replace("head.fc.", "head.");
    let merging = name.strip_prefix("layers.").and_then(|rest| rest.split_once(".downsample"));
    match merging.and_then(|(layer, rest)| Some((layer.parse::<usize>().ok()?.checked_sub(1)?, rest))) {
        Some((layer, rest)) => format!("layers.{layer}.downsample{rest}"),
        None => name,
    }
}

/// Everything behind the encoder's weights; `theirs` is the reference's name of a tensor or module of ours.
fn student(oracle: &mut Oracle, encoder: Model, theirs: impl Fn(&str) -> String) -> Result<()> {
    let depths = match encoder.config() {
        ModelConfig::Swin(config) => Some(config.depths),
        _ => None,
    };
    let weight: Tensor<3> = oracle.tensor("w.decoder.0.weight")?;
    let [outputs, inputs, _] = weight.dims();
    let student =
        FeatureStudent::with_projector(encoder, weight.reshape([outputs, inputs]), oracle.tensor("w.decoder.0.bias")?);
    let target = Whitening::Norm.apply(oracle.tensor("in.teacher_tokens")?);
    oracle.expect_tensor("out.target", target.clone())?;
    let images: Tensor<4> = oracle.tensor("in.x")?;
    let trace = Trace::default();
    let tokens = student.encoder.last_tokens(images.clone(), &Pass::eval().with_trace(&trace)).tokens;
    oracle.expect_tensor("out.tokens", tokens.clone())?;
    oracle.expect_tensor("out.pred", student.projected(tokens))?;
    middle(oracle, trace, depths.as_deref())?;
    if oracle.names("out.bias.").len() == 1 {
        first_bias(oracle, &student.encoder)?;
    }

    let trained = student.train();
    let tokens = trained.encoder.last_tokens(images.autodiff(), &Pass::eval()).tokens;
    let elements = target.dims().iter().product::<usize>() as f64;
    let value = loss(trained.projected(tokens), target, oracle.number("beta")?) / elements;
    oracle.expect_tensor("out.loss", value.clone().without_autodiff())?;
    let found = optimizer::gradients(&trained, &mut value.backward());
    let named = |name: &str| match name.strip_prefix("projector.") {
        Some(rest) => format!("decoder.0.{rest}"),
        None => format!("encoder.{}", theirs(name.trim_start_matches("encoder."))),
    };
    let found: BTreeMap<String, _> = found.into_iter().map(|(name, gradient)| (named(&name), gradient)).collect();
    let wanted: Vec<String> =
        oracle.names("out.grad.").iter().map(|name| name.trim_start_matches("out.grad.").to_owned()).collect();
    oracle.expect_names("tensors with a gradient", found.keys(), &wanted)?;
    for (name, gradient) in found {
        oracle.expect(&format!("out.grad.{name}"), &host(gradient)?)?;
    }
    Ok(())
}

/// Outputs of modules inside, by the reference's names: its layers end with the patch merging that begins ours.
fn middle(oracle: &mut Oracle, trace: Trace, depths: Option<&[usize]>) -> Result<()> {
    for (name, features) in trace.into_steps() {
        let name = match (depths, name.strip_prefix("layers.")) {
            (Some(depths), Some(rest)) => match rest.split_once('.') {
                Some((layer, "downsample")) => format!("layers.{}", layer.parse::<usize>()? - 1),
                // What ends a layer before its merging has no counterpart, unless nothing is merged.
                None if rest.parse::<usize>()? + 1 < depths.len() => continue,
                _ => name,
            },
            _ => name,
        };
        let output = format!("out.mid.{name}");
        if !oracle.names(&output).contains(&output) {
            continue;
        }
        match features {
            Features::Map(map) => {
                let [rows, height, width, channels] = map.dims();
                oracle.expect_tensor(&output, map.reshape([rows, height * width, channels]))?;
            }
            Features::Tokens(tokens) => oracle.expect_tensor(&output, tokens)?,
            Features::Rows(rows) => oracle.expect_tensor(&output, rows)?,
        }
    }
    Ok(())
}

/// The position biases of the first block of a Swin Transformer, from the weights of its network of positions.
fn first_bias(oracle: &mut Oracle, encoder: &Model) -> Result<()> {
    let Model::Swin(swin) = encoder else { return Err(anyhow!("out.bias is that of a Swin Transformer")) };
    let name = oracle.names("out.bias.").remove(0);
    ensure!(name == "out.bias.layers.0.blocks.0", "{name}: the first block's biases are expected");
    oracle.expect_tensor(&name, swin.position_bias(0, 0).context("no such block")?)
}
