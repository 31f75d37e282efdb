//! Feature Distillation's teachers: the last block's tokens, the same behind the teacher's own norm, and whitened.

use anyhow::{Context as _, Result, ensure};
use burn::tensor::Tensor;
use robustify_data::Normalize;
use robustify_distill::feature::{FeatureTeacher, Renormalisation, Target, Whitening};
use robustify_zoo::layers::Activation;
use robustify_zoo::swin::Version;
use robustify_zoo::vit::VitConfig;
use robustify_zoo::{Features, ModelConfig, Pass, Trace};

use crate::fd_student::{load, swin_config};
use crate::oracle::Oracle;

/// A Vision Transformer as timm has it: DINO, DeiT, MAE.
pub fn vit(oracle: &mut Oracle) -> Result<()> {
    let config = plain(oracle)?;
    let distilled = !oracle.names("w.dist_token").is_empty();
    compare(oracle, &ModelConfig::Vit(VitConfig { distilled, ..config }), None)
}

/// CLIP's image tower, which has a normalisation of pixels of its own.
pub fn clip(oracle: &mut Oracle) -> Result<()> {
    let config = VitConfig {
        pre_norm: true,
        norm_eps: 1e-5,
        activation: Activation::QuickGelu,
        projects: true,
        head_bias: false,
        classes: oracle.number("output_dim")? as usize,
        ..plain(oracle)?
    };
    let renormalisation = Renormalisation::between(Normalize::IMAGENET, Normalize::CLIP);
    let images: Tensor<4> = oracle.tensor("in.x")?;
    let own = renormalisation.as_ref().context("both normalisations are one")?.apply(images);
    let (got, want) = (crate::oracle::host(own)?, oracle.values("in.x_clip")?.values.clone());
    oracle.compare("in.x_clip", &got, &want)?;
    compare(oracle, &ModelConfig::Vit(config), renormalisation)
}

/// A Swin Transformer of version 1, with the names of its authors.
pub fn swin(oracle: &mut Oracle) -> Result<()> {
    let config = swin_config(oracle, Version::V1)?;
    compare(oracle, &ModelConfig::Swin(config), None)
}

fn plain(oracle: &Oracle) -> Result<VitConfig> {
    let number = |key: &str| oracle.number(key).map(|number| number as usize);
    let plain = VitConfig::plain(number("img")?, number("patch")?, number("dim")?, number("depth")?, number("heads")?);
    let hidden =
        oracle.names("w.").into_iter().find(|name| name.ends_with("fc1.weight") || name.ends_with("c_fc.weight"));
    let hidden = oracle.values(&hidden.context("no MLP")?)?.shape[0];
    Ok(VitConfig { classes: 0, mlp_ratio: hidden as f64 / plain.width as f64, ..plain })
}

fn compare(oracle: &mut Oracle, config: &ModelConfig, renormalisation: Option<Renormalisation>) -> Result<()> {
    let model = load(oracle, config, "w")?;
    let images: Tensor<4> = oracle.tensor("in.x")?;
    let teacher = FeatureTeacher { model, renormalisation, target: Target::Tokens, whitening: Whitening::default() };
    let tokens = teacher.tokens(images.clone());
    oracle.expect_tensor("out.tokens", tokens.tokens.clone())?;
    let (target, matching) = teacher.targets(images.clone(), &tokens);
    ensure!(matching.notes().is_empty(), "a teacher's own tokens do not match: {:?}", matching.notes());
    oracle.expect_tensor("out.target", target)?;
    let trace = Trace::default();
    let seen = renormalisation.map_or(images.clone(), |renormalisation| renormalisation.apply(images));
    teacher.model.last_tokens(seen, &Pass::eval().with_trace(&trace));
    let last = |(name, _): &(String, Features)| name.contains("blocks.");
    let features = trace.into_steps().into_iter().rfind(last).context("no block")?.1;
    match features {
        Features::Map(map) => {
            let [rows, height, width, channels] = map.dims();
            oracle.expect_tensor("out.feature_map", map.reshape([rows, height * width, channels]))
        }
        Features::Tokens(tokens) => oracle.expect_tensor("out.feature_map", tokens),
        Features::Rows(rows) => oracle.expect_tensor("out.feature_map", rows),
    }
}
