//! The plain ViT of a file under timm's names.

use anyhow::{Result, anyhow};
use robustify_zoo::vit::VitConfig;
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{Model, ModelConfig};

use crate::oracle::Oracle;

/// The network of a file's settings, with the weights `w.*`.
pub fn plain_vit(oracle: &Oracle, classes: usize) -> Result<(ModelConfig, Model)> {
    let number = |key: &str| oracle.number(key).map(|number| number as usize);
    let plain = VitConfig::plain(number("img")?, number("patch")?, number("dim")?, number("depth")?, number("heads")?);
    let config = ModelConfig::Vit(VitConfig {
        mlp_ratio: oracle.config["mlp_ratio"].as_f64().unwrap_or(plain.mlp_ratio),
        layer_scale: oracle.config["init_values"].as_f64(),
        classes,
        ..plain
    });
    let mut state = State::new();
    for name in oracle.names("w.") {
        let values = oracle.values(&name)?;
        let entry =
            Entry { shape: values.shape.clone(), values: values.values.iter().map(|value| *value as f32).collect() };
        state.insert(name.trim_start_matches("w.").to_owned(), entry);
    }
    let blank = Model::blank(&config, &oracle.device)?;
    let model = weights::with_state(blank, state).map_err(|faults| anyhow!("{}", faults.join("; ")))?;
    Ok((config, model))
}
