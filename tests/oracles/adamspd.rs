//! Selective projection decay: parameters and moments after every step.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Tensor;
use robustify_distill::optimizer::{AdamW, AdamWConfig, DecayTo};

use crate::oracle::{Oracle, host};

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let cases = oracle.config["cases"].as_object().context("config.cases is no table")?.clone();
    let betas: [f64; 2] = serde_json::from_value(oracle.config["betas"].clone()).context("config.betas")?;
    for (name, case) in &cases {
        let config = AdamWConfig {
            learning_rate: oracle.number("lr")?,
            weight_decay: case["weight_decay"].as_f64().context("weight_decay is no number")?,
            decay_to: DecayTo::Selective,
            betas,
            eps: oracle.number("eps")?,
            warmup_fraction: 0.0,
            clip_norm: f64::MAX,
        };
        let steps = case["steps"].as_array().context("steps is no list")?.len();
        // Without an anchor, the authors' code takes zero for it.
        of_case(oracle, name, &config, steps, case["anchor"] == true)?;
    }
    Ok(())
}

fn of_case(oracle: &mut Oracle, case: &str, config: &AdamWConfig, steps: usize, anchored: bool) -> Result<()> {
    let start = format!("in.{case}.start.");
    let names: Vec<String> = oracle.names(&start).iter().map(|name| name[start.len()..].to_owned()).collect();
    if names.is_empty() {
        bail!("case {case} has no tensors");
    }
    let (mut tensors, mut anchors) = (BTreeMap::new(), BTreeMap::new());
    for name in &names {
        tensors.insert(name.clone(), flat(oracle, &format!("{start}{name}"))?);
        let anchor = flat(oracle, &format!("in.anchor.{name}"))?;
        anchors.insert(name.clone(), if anchored { anchor } else { anchor.zeros_like() });
    }
    let mut adam = AdamW::default().decay_towards(anchors);
    for step in 0..steps {
        let gradient = |name: &String| Ok((name.clone(), flat(oracle, &format!("in.{case}.grad.{step}.{name}"))?));
        let gradients = names.iter().map(gradient).collect::<Result<_>>()?;
        tensors = adam.step_tensors(config, config.learning_rate, tensors, gradients);
        let moments = adam.state();
        for (name, tensor) in &tensors {
            oracle.expect(&format!("out.{case}.param.{step}.{name}"), &host(tensor.clone())?)?;
            for moment in ["m", "v"] {
                let entry = moments.get(&format!("{moment}.{name}")).context("a moment is missing")?;
                let values: Vec<f64> = entry.values.iter().map(|value| f64::from(*value)).collect();
                oracle.expect(&format!("out.{case}.{moment}.{step}.{name}"), &values)?;
            }
        }
    }
    Ok(())
}

fn flat(oracle: &Oracle, name: &str) -> Result<Tensor<1>> {
    let values: Vec<f32> = oracle.values(name)?.values.iter().map(|value| *value as f32).collect();
    Ok(Tensor::from_floats(values.as_slice(), &oracle.device))
}
