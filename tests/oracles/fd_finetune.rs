//! The fine-tuning form of a student of Feature Distillation, for the size that it learned on and for another, and the layers of its
//! parameters.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, ensure};
use robustify_distill::LayerDecay;
use robustify_distill::feature::group;
use robustify_distill::optimizer::Group;
use robustify_zoo::swin::{SwinConfig, Version};
use robustify_zoo::vit::VitConfig;
use robustify_zoo::weights::{self, Entry};
use robustify_zoo::{Features, Model, ModelConfig, Pass, Trace};
use serde_json::Value;

use crate::fd_student;
use crate::oracle::Oracle;

/// Features and logits, and the table that every block gets.
pub fn form(oracle: &mut Oracle) -> Result<()> {
    let named = oracle.config["encoder_weights"].as_str().context("config.encoder_weights names no file")?;
    let file = named.split(':').next().unwrap_or(named).trim().to_owned();
    let pretrained = oracle.beside(&file)?;
    let encoder = fd_student::load(&pretrained, &ModelConfig::Vit(fd_student::vit_config(&pretrained)?), "w.encoder")?;
    let classes = oracle.number("classes")? as usize;
    for (case, key) in [("same", "img"), ("larger", "ft_img")] {
        let size = oracle.number(key)? as usize;
        let model = encoder.clone().fine_tuning_form(size, classes, 1, &oracle.device)?;
        let mut state = weights::state(&model);
        let tables = state.iter().filter(|(name, _)| name.ends_with("relative_position_bias_table"));
        let tables: Vec<Entry> = tables.map(|(_, table)| table.clone()).collect();
        ensure!(tables.windows(2).all(|pair| pair[0] == pair[1]), "blocks have other tables than each other");
        let table: Vec<f64> = tables[0].values.iter().map(|value| f64::from(*value)).collect();
        oracle.expect(&format!("out.table.{case}"), &table)?;
        let wanted: Vec<String> = serde_json::from_value(oracle.config["state_dict_keys"].clone())?;
        let wanted = wanted.iter().filter(|name| !name.ends_with("relative_position_index"));
        oracle.expect_names(&format!("{case}: names"), state.keys(), wanted)?;
        for name in oracle.names("w.") {
            let values = oracle.values(&name)?;
            let own = values.values.iter().map(|value| *value as f32).collect();
            state.insert(name.trim_start_matches("w.").to_owned(), Entry { shape: values.shape.clone(), values: own });
        }
        let model = weights::with_state(model, state).map_err(|faults| anyhow!("{}", faults.join("; ")))?;
        let trace = Trace::default();
        let logits = model.forward(oracle.tensor(&format!("in.x.{case}"))?, &Pass::eval().with_pre_logits(&trace));
        oracle.expect_tensor(&format!("out.logits.{case}"), logits)?;
        let (_, Features::Rows(features)) = trace.into_steps().pop().context("no features")? else {
            return Err(anyhow!("the features are no rows"));
        };
        oracle.expect_tensor(&format!("out.features.{case}"), features)?;
    }
    Ok(())
}

/// Layers, factors and decay of every parameter, by the reference's names.
pub fn layers(oracle: &mut Oracle) -> Result<()> {
    let cases = oracle.json.as_object().context("a table of cases is expected")?.clone();
    for (case, content) in &cases {
        let params = content["params"].as_object().with_context(|| format!("{case}: params is no table"))?;
        let fine_tuned = content["layer_decay"].as_f64();
        let network = network(params, fine_tuned.is_some())?;
        let decay = LayerDecay::new(fine_tuned.unwrap_or(1.0), &network);
        let shapes = weights::shapes(&Model::blank(&network, &oracle.device)?);
        let prefix = if fine_tuned.is_some() { "" } else { "encoder." };
        let own = shapes.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.len()));
        // The projector is a linear map here, and a convolution of the reference.
        let projector = [("decoder.0.weight", 2), ("decoder.0.bias", 1)].map(|(name, rank)| (name.to_owned(), rank));
        let own = own.chain(projector.into_iter().filter(|_| fine_tuned.is_none()));
        let mut found = BTreeMap::new();
        for (name, rank) in own {
            let Group { decay: decays, .. } = group(&name, rank);
            let bare = name.trim_start_matches("encoder.");
            let theirs = name.replace(bare, &fd_student::reference_name(bare));
            let layer = fine_tuned.map(|_| decay.layer(bare));
            found.insert(theirs, (layer, decay.of(bare, group(&name, rank)).rate_scale, decays));
        }
        oracle.expect_names(&format!("{case}: names"), found.keys(), params.keys())?;
        let (mut scales, mut wanted) = (Vec::new(), Vec::new());
        for (name, (layer, scale, decays)) in &found {
            let theirs = &params[name];
            ensure!(
                theirs["layer"].as_u64().map(|layer| layer as usize) == *layer,
                "{case}: {name} is in layer {layer:?}"
            );
            ensure!(theirs["weight_decay"] == *decays, "{case}: {name}: weight decay is {decays}");
            // Powers are products in another order: exact but for the last bits.
            let want = theirs["scale"].as_f64().context("scale is no number")?;
            ensure!((scale - want).abs() <= 1e-12 * want, "{case}: {name}: {scale} is ours, the file has {want}");
            scales.push(want);
            wanted.push(want);
        }
        oracle.compare(&format!("{case}: layers, scales, decay"), &scales, &wanted)?;
    }
    Ok(())
}

/// The smallest network with parameters of these names.
fn network(params: &serde_json::Map<String, Value>, fine_tuned: bool) -> Result<ModelConfig> {
    let names: Vec<&str> = params.keys().map(|name| name.trim_start_matches("encoder.")).collect();
    let count = |prefix: &str| {
        let has = |number: usize| names.iter().any(|name| name.starts_with(&format!("{prefix}{number}.")));
        (0..).take_while(|number| has(*number)).count()
    };
    let layers = count("layers.");
    let classes = usize::from(fine_tuned) * 2;
    if layers == 0 {
        let student = ModelConfig::Vit(VitConfig::student(16, 8, 4, count("blocks."), 1));
        return Ok(if fine_tuned { student.fine_tuning_form(16, classes) } else { student });
    }
    let depths: Vec<usize> = (0..layers).map(|layer| count(&format!("layers.{layer}.blocks."))).collect();
    Ok(ModelConfig::Swin(SwinConfig {
        image_size: 1 << (layers + 1),
        patch_size: 2,
        heads: vec![1; layers],
        windows: vec![2; layers],
        depths,
        shared_positions: names.iter().any(|name| name.contains(".rel_pos_bias.")),
        classes,
        ..SwinConfig::plain(Version::V2, 2, 2, [1; 4], [1; 4])
    }))
}
