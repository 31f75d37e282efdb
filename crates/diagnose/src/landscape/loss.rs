//! The loss of a model on some images, and its gradient.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use burn::module::Module as _;
use burn::tensor::{Int, Tensor, activation};
use robustify_device::Workers;
use robustify_zoo::weights;
use robustify_zoo::{Model, Pass};

/// Some images as the network sees them, with the places of their classes among its outputs.
pub struct Batch {
    /// `[rows, 3, height, width]`.
    pub images: Tensor<4>,
    /// One for every row.
    pub labels: Vec<usize>,
}

/// What a model says about images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Mean cross-entropy in nats; infinite or not a number where a model broke down.
    pub loss: f64,
    /// Images that are answered rightly.
    pub correct: usize,
}

/// Loss and answers of a model in evaluation mode: no dropout, BatchNorm with its running statistics.
///
/// # Errors
/// Logits that cannot be taken from the device.
pub fn said(model: &Model, batches: &[Batch]) -> Result<Said> {
    let (mut loss, mut correct, mut count) = (0.0, 0, 0);
    for Batch { images, labels } in batches {
        let logits = model.forward(images.clone(), &Pass::eval());
        let classes = logits.dims()[1];
        let values = logits.into_data().convert::<f32>().try_to_vec::<f32>();
        let values = values.map_err(|error| anyhow!("logits: {error:?}"))?;
        for (row, &label) in values.chunks_exact(classes).zip(labels) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = row.iter().map(|logit| f64::from(logit - largest).exp()).sum();
            loss += total.ln() - f64::from(row[label] - largest);
            // The first of the largest, as argmax has it.
            correct += usize::from(row.iter().position(|logit| *logit == largest) == Some(label));
            count += 1;
        }
    }
    Ok(Said { loss: loss / f64::from(count.max(1)), correct })
}

/// The gradient of the mean cross-entropy by names of tensors, of all that a gradient reaches.
pub fn gradient(model: &Model, batches: &[Batch], workers: &Workers) -> BTreeMap<String, Tensor<1>> {
    let count: usize = batches.iter().map(|batch| batch.labels.len()).sum();
    let parts = workers.map(batches.iter().collect(), |batch: &Batch| {
        // Leaves of its own for every batch: graphs that share one can deadlock.
        let trained = model.clone().train();
        let labels: Vec<i64> = batch.labels.iter().map(|label| *label as i64).collect();
        let logits = trained.forward(batch.images.clone(), &Pass::eval());
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &logits.device().without_autodiff());
        let chosen = activation::log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1));
        let loss = chosen.sum() / -(count as f64);
        weights::gradients(&trained, &mut loss.backward())
    });
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for (name, value) in part {
            if let Some(own) = sum.get_mut(&name) {
                *own = own.clone() + value;
            }
        }
    }
    sum
}
