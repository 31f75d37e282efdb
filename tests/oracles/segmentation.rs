//! UPerNet with its auxiliary head, and the neck that makes a pyramid of a ViT's maps.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use robustify_distill::optimizer;
use robustify_distill::pixels::{Over, pixel_cross_entropy};
use robustify_zoo::layers::Init;
use robustify_zoo::segmentation::{Neck, SegmentationHead, UperConfig, average_pool, resize_bilinear};
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{BatchStatistics, Pass};

use crate::oracle::{Oracle, host};

/// Pixels without a class.
const IGNORED: i64 = 255;
/// How much the auxiliary head's loss counts, as mmsegmentation's configurations have it.
const AUXILIARY: f64 = 0.4;

pub fn head(oracle: &mut Oracle) -> Result<()> {
    let list = |key: &str| -> Result<Vec<usize>> {
        serde_json::from_value(oracle.config[key].clone()).with_context(|| format!("config.{key}"))
    };
    let inputs = list("ch")?.try_into().map_err(|_| anyhow!("config.ch has not four numbers"))?;
    let image: [usize; 2] = list("image")?.try_into().map_err(|_| anyhow!("config.image has not two numbers"))?;
    let auxiliary = oracle.values("w.auxiliary_head.classifier.weight")?.shape[1];
    let config = UperConfig {
        inputs,
        pools: list("pool_scales")?,
        auxiliary,
        ..UperConfig::new(oracle.number("hidden")? as usize, oracle.number("classes")? as usize)
    };
    let head = loaded(oracle, "w.", SegmentationHead::new(&config, &mut Init::blank(&oracle.device)))?;
    let maps: Vec<Tensor<4>> =
        (0..4).map(|level| oracle.tensor(&format!("in.feature.{level}"))).collect::<Result<_>>()?;
    let maps: [Tensor<4>; 4] = maps.try_into().map_err(|_| anyhow!("four maps are expected"))?;
    let labels: Vec<i64> = oracle.labels("in.labels")?.into_iter().map(|label| label as i64).collect();
    let shape = oracle.values("in.labels")?.shape.clone();
    let labels: Tensor<3, Int> = Tensor::from_data(TensorData::new(labels, shape), &oracle.device);

    for (index, side) in config.pools.iter().enumerate() {
        oracle.expect_tensor(&format!("out.mid.pool.{index}"), average_pool(maps[3].clone(), *side))?;
    }
    oracle.expect_tensor("out.mid.psp", head.decode_head.top(maps[3].clone(), &Pass::eval()))?;

    let trained = head.clone().train();
    let (logits, auxiliary) = trained.forward_both(maps.clone().map(Tensor::autodiff), &Pass::eval());
    let auxiliary = auxiliary.context("no auxiliary head")?;
    oracle.expect_tensor("out.logits", logits.clone().without_autodiff())?;
    oracle.expect_tensor("out.aux_logits", auxiliary.clone().without_autodiff())?;
    let (logits, auxiliary) = (resize_bilinear(logits, image), resize_bilinear(auxiliary, image));
    let sparse = every_eighth(logits.clone().without_autodiff().narrow(0, 0, 1));
    oracle.expect_tensor("out.upsampled_first", sparse)?;
    let loss = |logits: &Tensor<4>, over| pixel_cross_entropy(logits.clone(), labels.clone(), IGNORED, over);
    let [main, small] = [&logits, &auxiliary].map(|logits| loss(logits, Over::Counted));
    let whole = main.clone() + small.clone() * AUXILIARY;
    let all = loss(&logits, Over::All) + loss(&auxiliary, Over::All) * AUXILIARY;
    for (output, value) in [
        ("out.loss_main", main),
        ("out.loss_aux", small),
        ("out.loss", whole.clone()),
        ("out.loss_mmseg_all_pixels", all),
    ] {
        oracle.expect_tensor(output, value.without_autodiff())?;
    }
    let found: BTreeMap<String, Tensor<1>> = optimizer::gradients(&trained, &mut whole.backward());
    for output in oracle.names("out.grad.") {
        let name = output.trim_start_matches("out.grad.");
        let gradient = found.get(name).with_context(|| format!("{name} has no gradient"))?.clone();
        oracle.expect(&output, &host(gradient)?)?;
    }
    train_mode(oracle, head, maps)
}

/// Logits by the statistics of the batch, and where those move the running ones.
fn train_mode(oracle: &mut Oracle, head: SegmentationHead, maps: [Tensor<4>; 4]) -> Result<()> {
    let statistics = BatchStatistics::default();
    let logits = head.forward(maps, &Pass::eval().with_statistics(&statistics));
    oracle.expect_tensor("out.logits_train_mode_bn", logits)?;
    let state = weights::state(&head.with_statistics(statistics));
    for output in oracle.names("out.after_train.") {
        let name = output.trim_start_matches("out.after_train.");
        let own = format!("decode_head.{name}");
        if name.ends_with("num_batches_tracked") {
            // Nothing here reads it, and one more batch is one more.
            let before = oracle.scalar(&format!("w.{own}"))?;
            oracle.expect(&output, &[before + 1.0])?;
            continue;
        }
        let entry = state.get(&own).with_context(|| format!("no tensor {own}"))?;
        let values: Vec<f64> = entry.values.iter().map(|value| f64::from(*value)).collect();
        oracle.expect(&output, &values)?;
    }
    Ok(())
}

/// Every eighth row and column.
fn every_eighth(map: Tensor<4>) -> Tensor<4> {
    let [_, _, rows, columns] = map.dims();
    let places = |count: usize, device: &Device| {
        let places: Vec<i64> = (0..count as i64).step_by(8).collect();
        Tensor::<1, Int>::from_data(places.as_slice(), device)
    };
    let device = map.device();
    map.select(2, places(rows, &device)).select(3, places(columns, &device))
}

pub fn neck(oracle: &mut Oracle) -> Result<()> {
    let width = oracle.number("dim")? as usize;
    let grid: [usize; 2] = serde_json::from_value(oracle.config["grid"].clone()).context("config.grid")?;
    let maps: Vec<Tensor<4>> = (0..4).map(|level| oracle.tensor(&format!("in.map.{level}"))).collect::<Result<_>>()?;
    let maps: [Tensor<4>; 4] = maps.try_into().map_err(|_| anyhow!("four maps are expected"))?;
    for patch in [16, 8] {
        let blank = Neck::new(patch, width, &mut Init::blank(&oracle.device));
        let neck = loaded(oracle, &format!("w.p{patch}."), blank)?;
        for (level, map) in neck.forward(maps.clone(), &Pass::eval()).into_iter().enumerate() {
            oracle.expect_tensor(&format!("out.p{patch}.{level}"), map)?;
        }
    }
    let tokens: Tensor<3> = oracle.tensor("in.tokens")?;
    let prefix = tokens.dims()[1] - grid[0] * grid[1];
    oracle.expect_tensor("out.tokens_as_map", Neck::tokens_as_map(tokens, prefix, grid))
}

/// A module with the file's weights.
fn loaded<M: Module>(oracle: &Oracle, prefix: &str, blank: M) -> Result<M> {
    let mut state = State::new();
    for name in oracle.names(prefix) {
        let values = oracle.values(&name)?;
        let values =
            Entry { shape: values.shape.clone(), values: values.values.iter().map(|value| *value as f32).collect() };
        state.insert(name.trim_start_matches(prefix).to_owned(), values);
    }
    weights::with_state(blank, state).map_err(|faults| anyhow!("{}", faults.join("; ")))
}
