//! The Hessian's eigenvalue of the largest magnitude, by power iteration.
//!
//! A product of the Hessian and a vector is the difference of two gradients a small step apart on both sides of the model, divided by
//! the step; the step is `sqrt(2^-23) (1 + |weights|)` for a vector of length one, the usual one for 32-bit floats.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use robustify_device::Workers;
use robustify_report::diagnosis::CurvatureRecord;
use robustify_rng::Key;
use robustify_watch::{Stopped, Watch};
use robustify_zoo::Model;
use robustify_zoo::weights;

use super::loss::{Batch, gradient};

/// The largest relative change of a step that ends the iteration.
const SETTLED: f64 = 0.01;

type Vector = BTreeMap<String, Tensor<1>>;

/// The eigenvalue, after at most `most` steps from a start that `seed` draws.
///
/// # Errors
/// Gradients that are not finite, and a stop that was asked for.
pub fn curvature(
    model: &Model,
    batches: &[Batch],
    (most, seed): (usize, u64),
    workers: &Workers,
    watch: &dyn Watch,
) -> Result<CurvatureRecord> {
    let start = gradient(model, batches, workers);
    let device = batches[0].images.device();
    let mut vector = normalised(drawn(&start, seed, &device)).1;
    let state = weights::state(model);
    let squares: f64 = start
        .keys()
        .filter_map(|name| state.get(name))
        .flat_map(|entry| &entry.values)
        .map(|value| f64::from(*value).powi(2))
        .sum();
    let step = f64::from(f32::EPSILON).sqrt() * (1.0 + squares.sqrt());
    let images = batches.iter().map(|batch| batch.labels.len()).sum();
    let mut record = CurvatureRecord { images, ..CurvatureRecord::default() };
    let mut progress = watch.progress("largest curvature", most);
    while record.steps < most && !record.settled {
        watch.check(Stopped::Saved)?;
        let [above, below] = [step, -step].map(|step| gradient(&moved(model, &vector, step), batches, workers));
        let product: Vector = above
            .into_iter()
            .zip(below.into_values())
            .map(|((name, above), below)| (name, (above - below) / (2.0 * step)))
            .collect();
        let value = dot(&vector, &product);
        let (length, next) = normalised(product);
        ensure!(value.is_finite() && length.is_finite(), "gradients around the model are not finite");
        record.settled = (value - record.value).abs() <= SETTLED * value.abs() || length == 0.0;
        record.value = value;
        record.steps += 1;
        vector = next;
        progress.set(record.steps, &format!("{value:.3}"));
    }
    progress.finish(&format!("{:.3} after {} steps", record.value, record.steps));
    Ok(record)
}

fn moved(model: &Model, vector: &Vector, step: f64) -> Model {
    weights::changed(model.clone(), |name, values| Some(values + vector.get(name)?.clone() * step))
}

fn drawn(like: &Vector, seed: u64, device: &Device) -> Vector {
    let draw = |(name, tensor): (&String, &Tensor<1>)| {
        let mut stream = Key::new(seed, "curvature").with_str(name).stream();
        let values: Vec<f32> = (0..tensor.dims()[0]).map(|_| stream.normal() as f32).collect();
        let count = values.len();
        (name.clone(), Tensor::from_data(TensorData::new(values, [count]), device))
    };
    like.iter().map(draw).collect()
}

fn dot(one: &Vector, other: &Vector) -> f64 {
    let product = |(name, a): (&String, &Tensor<1>)| match other.get(name) {
        Some(b) => f64::from((a.clone() * b.clone()).sum().into_scalar::<f32>()),
        None => 0.0,
    };
    one.iter().map(product).sum()
}

/// The length of a vector, and the vector at length one.
fn normalised(vector: Vector) -> (f64, Vector) {
    let length = dot(&vector, &vector).sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    (length, vector.into_iter().map(|(name, tensor)| (name, tensor * scale)).collect())
}

#[cfg(test)]
mod tests {
    use robustify_watch::Silent;

    use super::*;

    /// The largest eigenvalue of a matrix by many steps in double precision.
    fn largest(matrix: &[Vec<f64>]) -> f64 {
        let mut vector = vec![1.0; matrix.len()];
        let mut value = 0.0;
        for _ in 0..500 {
            let next: Vec<f64> = matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
            value = next.iter().map(|x| x * x).sum::<f64>().sqrt();
            vector = next.iter().map(|x| x / value).collect();
        }
        value
    }

    /// A classifier on frozen features has a Hessian that can be written down: `mean of (diag(p) - p p^T) ⊗ f f^T`, `f` with a one for
    /// the bias. With everything before it a constant, that is the model's.
    #[test]
    fn the_curvature_of_a_classifier_is_that_of_its_hessian() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let network = serde_json::from_str(
            r#"{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 4, "depth": 1, "heads": 1, "classes": 3}"#,
        );
        let model = Model::new(&network.unwrap(), 3, &device).unwrap();
        let model = weights::tuned_only(model, |name| name.starts_with("head."));
        let images = Tensor::<1, burn::tensor::Int>::arange(0..5 * 192, &device).float().sin().reshape([5, 3, 8, 8]);
        let trace = robustify_zoo::Trace::default();
        let logits = model.forward(images.clone(), &robustify_zoo::Pass::eval().with_pre_logits(&trace));
        let logits: Vec<f32> = logits.into_data().try_to_vec().unwrap();
        let robustify_zoo::Features::Rows(features) = trace.into_steps().remove(0).1 else { panic!("rows") };
        let features: Vec<f32> = features.into_data().try_to_vec().unwrap();
        let mut hessian = vec![vec![0.0; 15]; 15];
        for (logits, features) in logits.chunks(3).zip(features.chunks(4)) {
            let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
            let p: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp() / total).collect();
            let f: Vec<f64> = features.iter().map(|value| f64::from(*value)).chain([1.0]).collect();
            for (row, column) in (0..15).flat_map(|row| (0..15).map(move |column| (row, column))) {
                let (a, b) = (row / 5, column / 5);
                let bend = if a == b { p[a] } else { 0.0 } - p[a] * p[b];
                hessian[row][column] += bend * f[row % 5] * f[column % 5] / 5.0;
            }
        }
        let batches = [0, 3].map(|from| {
            let rows = if from == 0 { 3 } else { 2 };
            Batch { images: images.clone().narrow(0, from, rows), labels: vec![from % 3; rows] }
        });
        let found = curvature(&model, &batches, (60, 1), &Workers::new(2).unwrap(), &Silent).unwrap();
        let want = largest(&hessian);
        assert!(found.settled && (found.value - want).abs() < 0.03 * want, "{found:?}, by the formula {want}");
    }
}
