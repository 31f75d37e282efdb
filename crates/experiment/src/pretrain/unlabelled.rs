//! What objectives without labels share: which networks they train, and how much the features say about labels in the end.

use burn::tensor::{Tensor, TensorData};
use robustify_bench::evaluate::{argmax, chunks};
use robustify_data::{Images, Preprocess, batch};
use robustify_methods::config::check;
use robustify_zoo::{Model, ModelConfig, Pass};

use super::{PretrainConfig, Score, Session};

/// Faults of a configuration for an objective without labels: it trains a Vision Transformer, and no classifier.
pub(super) fn faults(objective: &str, config: &PretrainConfig) -> Vec<String> {
    let mut faults = Vec::new();
    match &config.network {
        ModelConfig::Vit(_) => {}
        _ => {
            faults.push(format!("network: {objective} trains a Vision Transformer, whose tokens it hides or compares"))
        }
    }
    faults.extend(classifier_faults(objective, config));
    faults
}

/// Faults of a configuration for an objective that trains no classifier.
pub(super) fn classifier_faults(objective: &str, config: &PretrainConfig) -> Vec<String> {
    let mut faults = Vec::new();
    let classes = config.network.classes();
    check(&mut faults, classes == 0, || {
        format!(
            "network.classes is {classes}, and {objective} learns no classifier: 0 leaves it out, a linear probe adds one later"
        )
    });
    check(&mut faults, config.training.jsd_weight.is_none(), || {
        format!("training.jsd_weight belongs to a classifier, and {objective} trains none")
    });
    faults
}

/// Training images among which a neighbour is looked for, at most.
const NEIGHBOURS: usize = 10_000;

/// Accuracy on the test images of the label of the training image whose features have the largest cosine.
pub(super) fn score(session: &Session<'_>, model: &Model) -> anyhow::Result<Score> {
    let preprocess = session.preprocess()?;
    let (train, test) = (&session.images, &session.test);
    let known = features(session, model, &preprocess, train, train.len().min(NEIGHBOURS))?;
    let asked = features(session, model, &preprocess, test, test.len())?;
    let device = &session.machine.device;
    let tensor = |rows: &[Vec<f32>]| -> Tensor<2> {
        let width = rows.first().map_or(0, Vec::len);
        Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), width]), device)
    };
    let known = tensor(&known).transpose();
    let near =
        session.machine.workers.map(chunks(asked.len()), |range| argmax(tensor(&asked[range]).matmul(known.clone())));
    let is_right = |(near, label): &(usize, &usize)| train.labels()[*near] == **label;
    let right = near.into_iter().flatten().zip(test.labels()).filter(is_right).count();
    let value = right as f64 / test.len().max(1) as f64;
    Ok(Score { measure: "test accuracy of the nearest neighbour".into(), value, images: test.len() })
}

/// Features of the first images, at length one.
fn features(
    session: &Session<'_>,
    model: &Model,
    preprocess: &Preprocess,
    images: &Images,
    count: usize,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let parts = session.machine.workers.map(chunks(count), |range| -> anyhow::Result<Vec<Vec<f32>>> {
        let pixels =
            range.map(|index| Ok(preprocess.pixels(&images.get(index)?.image)?)).collect::<anyhow::Result<Vec<_>>>()?;
        let features = model.forward(batch::normalised(&pixels, preprocess, &session.machine.device)?, &Pass::eval());
        let width = features.dims()[1];
        let values: Vec<f32> = features.into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        let unit = |row: &[f32]| {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            row.iter().map(|value| value / length).collect()
        };
        Ok(values.chunks_exact(width).map(unit).collect())
    });
    Ok(parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat())
}
