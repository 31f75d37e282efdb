//! The attention of a ViT, and every statistic of it: from a forward, and from the weights as the file has them.

use anyhow::{Context as _, Result, ensure};
use robustify_diagnose::attention::{Found, Geometry, Looking, Map, Sums};
use robustify_zoo::{Model, ModelConfig, Onlooker, Pass};

use crate::oracle::{Oracle, Values, host};
use crate::vit::plain_vit;

/// Keeps the weights of all layers.
#[derive(Default)]
struct Kept(std::sync::Mutex<Vec<burn::tensor::Tensor<4>>>);

impl Onlooker for Kept {
    fn saw(&self, _: &str, weights: burn::tensor::Tensor<4>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(weights);
    }
}

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let (config, model) = plain_vit(oracle, 0)?;
    forward(oracle, &model)?;
    let stored = oracle.values("out.attention")?.clone();
    let found = of_stored(&config, &stored)?;
    // Both ways to come by them: as the program does, and in the precision of the stored weights.
    let seen = {
        let looking = Looking::new(&config.attention());
        drop(model.forward(oracle.tensor("in.x")?, &Pass::eval().with_attention(&looking)));
        looking.found()?
    };
    let close = seen.iter().zip(&found).all(|(seen, found)| {
        let pairs = seen.distance.renormalised.iter().zip(&found.distance.renormalised);
        pairs.into_iter().all(|(seen, found)| (seen - found).abs() < 1e-4 * found.abs())
    });
    ensure!(close, "what is seen in a forward is not what the stored weights say");
    let patches = Geometry::new(&config.attention()[0]).distances[0].clone();
    oracle.expect("out.patch_distance_px", &patches)?;
    distances(oracle, &found)?;
    similarities(oracle, &found)?;
    maps(oracle, &found)
}

fn forward(oracle: &mut Oracle, model: &Model) -> Result<()> {
    let kept = Kept::default();
    drop(model.forward(oracle.tensor("in.x")?, &Pass::eval().with_attention(&kept)));
    let layers = kept.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let weights: Vec<f64> = layers.into_iter().map(host).collect::<Result<Vec<_>>>()?.concat();
    oracle.expect("out.attention", &weights)
}

/// The statistics of stored weights, `[layers, images, heads, tokens, tokens]`, an image at a time.
fn of_stored(config: &ModelConfig, stored: &Values) -> Result<Vec<Found>> {
    let layers = config.attention();
    let [count, images, ..] = *stored.shape else { anyhow::bail!("out.attention has the shape {:?}", stored.shape) };
    ensure!(count == layers.len(), "{count} layers of attention, the network has {}", layers.len());
    let of_layer = |(layer, values): (_, &[f64])| {
        let geometry = Geometry::new(layer);
        let mut whole = Sums::new(&geometry);
        for image in values.chunks_exact(values.len() / images) {
            let weights: Vec<f32> = image.iter().map(|value| *value as f32).collect();
            let mut part = Sums::new(&geometry);
            part.add(&geometry, &weights);
            whole.merge(&part);
        }
        whole.found(&geometry)
    };
    Ok(layers.iter().zip(stored.values.chunks_exact(stored.values.len() / count)).map(of_layer).collect())
}

fn distances(oracle: &mut Oracle, found: &[Found]) -> Result<()> {
    for (tag, of) in [("renorm", true), ("no_renorm", false)] {
        let heads = |found: &Found| match of {
            true => found.distance.renormalised.clone(),
            false => found.distance.plain.clone(),
        };
        let all: Vec<Vec<f64>> = found.iter().map(heads).collect();
        let spread: Vec<f64> = all.iter().map(|heads| deviation(heads)).collect();
        oracle.expect(&format!("out.distance.{tag}"), &all.concat())?;
        oracle.expect(&format!("out.distance_std_over_heads.{tag}"), &spread)?;
    }
    Ok(())
}

/// Population standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

fn similarities(oracle: &mut Oracle, found: &[Found]) -> Result<()> {
    let mut all: Vec<(&str, Vec<f64>, Vec<f64>)> = Vec::new();
    let mean = |value: Option<f64>| value.context("a layer with one head");
    for (tag, matrix, value) in [
        (
            "patches",
            (|found| found.patches.clone()) as fn(&Found) -> Vec<f64>,
            (|found| found.similarity().mean) as fn(&Found) -> Option<f64>,
        ),
        ("with_cls", |found| found.all.clone(), |found| found.similarity().mean_of_all_tokens),
        ("with_cls_flat", |found| found.whole.clone(), |found| found.similarity().mean_of_whole_maps),
    ] {
        let matrices: Vec<f64> = found.iter().flat_map(matrix).collect();
        let means = found.iter().map(|found| mean(value(found))).collect::<Result<Vec<_>>>()?;
        all.push((tag, matrices, means));
    }
    for (tag, matrices, means) in all {
        let name = format!("out.head_similarity.{tag}");
        let heads = found[0].distance.plain.len();
        // Each head's mean cosine with the others.
        let per_head: Vec<f64> = matrices
            .chunks_exact(heads)
            .enumerate()
            .map(|(row, cosines)| (cosines.iter().sum::<f64>() - cosines[row % heads]) / (heads - 1) as f64)
            .collect();
        if tag == "patches" {
            let own: Vec<f64> = found.iter().flat_map(|found| found.similarity().heads).collect();
            oracle.expect(&format!("{name}.per_head"), &own)?;
        } else {
            oracle.expect(&format!("{name}.per_head"), &per_head)?;
        }
        oracle.expect(&format!("{name}.matrix"), &matrices)?;
        oracle.expect(&format!("{name}.mean"), &means)?;
    }
    Ok(())
}

fn maps(oracle: &mut Oracle, found: &[Found]) -> Result<()> {
    let tokens: Vec<f64> = found.iter().flat_map(|found| found.token_map.clone()).collect();
    oracle.expect("out.average_map.with_cls", &tokens)?;
    for (tag, is_renormalised) in [("renorm", true), ("no_renorm", false)] {
        let map =
            |found: &Found| if is_renormalised { found.map.renormalised.clone() } else { found.map.plain.clone() };
        let all = |value: fn(&Map) -> f64| -> Vec<f64> { found.iter().map(|found| value(&map(found))).collect() };
        let values: Vec<f64> = found.iter().flat_map(|found| map(found).values).collect();
        oracle.expect(&format!("out.average_map.{tag}"), &values)?;
        oracle.expect(&format!("out.diagonality.{tag}"), &all(Map::diagonality))?;
        oracle.expect(&format!("out.columnness.{tag}"), &all(Map::columnness))?;
        oracle.expect(&format!("out.translation_index.{tag}"), &all(|map| map.translation().unwrap_or(f64::NAN)))?;
    }
    Ok(())
}
