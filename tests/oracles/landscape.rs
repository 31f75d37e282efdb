//! Filter-normalised directions, and loss and accuracy at points along them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use robustify_diagnose::landscape::{Batch, Directions, Said, filter_normalised, said};
use robustify_zoo::weights::{self, Entry};

use crate::oracle::Oracle;
use crate::vit::plain_vit;

pub fn check(oracle: &mut Oracle) -> Result<()> {
    let (_, model) = plain_vit(oracle, oracle.number("classes")? as usize)?;
    let raw = |oracle: &Oracle, name: &str| -> Result<Vec<f32>> {
        Ok(oracle.values(name)?.values.iter().map(|value| *value as f32).collect())
    };
    let mut pairs = BTreeMap::new();
    for (name, entry) in weights::state(&model) {
        let mut both: Vec<Vec<f32>> = Vec::new();
        for direction in ["d1", "d2"] {
            let given = raw(oracle, &format!("in.{direction}.{name}"))?;
            let output = format!("out.{direction}.{name}");
            match filter_normalised(&name, &entry, &given) {
                Some(values) => {
                    oracle.expect(&output, &values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>())?;
                    both.push(values);
                }
                None => ensure!(oracle.names(&output).is_empty(), "{output}: the file has it, and we leave it out"),
            }
        }
        if let Ok(both) = <[Vec<f32>; 2]>::try_from(both) {
            pairs.insert(name, both);
        }
    }
    let table = oracle.values("in.rpb.table")?.clone();
    let entry = Entry { shape: table.shape, values: table.values.iter().map(|value| *value as f32).collect() };
    let name = "blocks.0.attn.relative_position_bias_table";
    let direction = filter_normalised(name, &entry, &raw(oracle, "in.rpb.direction")?).context("a table stays")?;
    oracle.expect("out.rpb.direction_per_head", &direction.into_iter().map(f64::from).collect::<Vec<_>>())?;

    let directions = Directions::of(pairs, &oracle.device);
    let labels = oracle.labels("in.labels")?;
    let images = labels.len() as f64;
    let batches = [Batch { images: oracle.tensor("in.x")?, labels }];
    let points = oracle.config["ab"].as_array().context("config.ab is no list")?.clone();
    let at = |point: &serde_json::Value| Some([point.get(0)?.as_f64()?, point.get(1)?.as_f64()?]);
    let points =
        points.iter().map(at).collect::<Option<Vec<_>>>().context("config.ab has something else than pairs")?;
    let found = points.iter().map(|at| said(&directions.moved(&model, *at), &batches));
    let found: Vec<Said> = found.collect::<Result<_>>()?;
    oracle.expect("out.loss", &found.iter().map(|said| said.loss).collect::<Vec<_>>())?;
    oracle.expect("out.accuracy", &found.iter().map(|said| said.correct as f64 / images).collect::<Vec<_>>())
}
