//! The contrastive loss of images and texts. Source: Radford et al. 2021, arXiv:2103.00020, figure 3; the treatments of equal texts
//! are those of FLYP (Goyal et al. 2023, arXiv:2212.00638), locuslab/FLYP `clip/loss.py`.

use burn::tensor::{Device, Tensor, TensorData, activation};
use robustify_zoo::clip::normalised;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What another pair of a batch is whose text means the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// A negative like any other, as FLYP trains.
    #[default]
    Negatives,
    /// As right as the pair's own: the target is spread evenly over all that mean the same.
    Shared,
    /// Left out of the comparison.
    Ignored,
    /// Right as well, each compared with all others but itself.
    EachAgainstRest,
}

/// Symmetric cross-entropy of a batch of pairs: half of images over texts and half of texts over images, each a mean over the
/// batch. Features are divided by their length first.
///
/// # Shapes
/// - images, texts: `[pairs, embed_dim]`; row `i` of one belongs to row `i` of the other
/// - logit_scale: `[1]`, logarithm of the factor of the cosine
/// - meanings: what each text means; equal numbers are duplicates
/// - output: `[1]`
pub fn contrastive(
    images: Tensor<2>,
    texts: Tensor<2>,
    logit_scale: Tensor<1>,
    meanings: &[u64],
    duplicates: Duplicates,
) -> Tensor<1> {
    contrastive_of_unit(normalised(images), normalised(texts), logit_scale, meanings, duplicates)
}

/// [`contrastive`] of features that have length one already.
///
/// # Shapes
/// - as [`contrastive`]
pub fn contrastive_of_unit(
    images: Tensor<2>,
    texts: Tensor<2>,
    logit_scale: Tensor<1>,
    meanings: &[u64],
    duplicates: Duplicates,
) -> Tensor<1> {
    let logits = images.matmul(texts.transpose()) * logit_scale.exp().unsqueeze::<2>();
    let device = logits.device().without_autodiff();
    let pairs = Pairs { meanings, device: &device };
    (pairs.loss(logits.clone(), duplicates) + pairs.loss(logits.transpose(), duplicates)) / 2.0
}

/// Which texts of a batch mean the same.
struct Pairs<'a> {
    meanings: &'a [u64],
    device: &'a Device,
}

impl Pairs<'_> {
    /// Mean cross-entropy of the rows.
    fn loss(&self, logits: Tensor<2>, duplicates: Duplicates) -> Tensor<1> {
        let rows = self.meanings.len() as f64;
        let own = |row: usize, column: usize| f32::from(u8::from(row == column));
        let same = |row: usize, column: usize| f32::from(u8::from(self.meanings[row] == self.meanings[column]));
        let count = |row: usize| (0..self.meanings.len()).map(|column| same(row, column)).sum::<f32>();
        let shared = self.matrix(|row, column| same(row, column) / count(row));
        match duplicates {
            Duplicates::Negatives => -(activation::log_softmax(logits, 1) * self.matrix(own)).sum() / rows,
            Duplicates::Shared => -(activation::log_softmax(logits, 1) * shared).sum() / rows,
            Duplicates::Ignored => {
                let hidden = self.matrix(|row, column| FAR * (same(row, column) - own(row, column)));
                -(activation::log_softmax(logits - hidden, 1) * self.matrix(own)).sum() / rows
            }
            Duplicates::EachAgainstRest => {
                let log = activation::log_softmax(logits, 1);
                let odds = log.clone() - (-log.exp() + 1.0).log();
                -(odds * shared).sum() / rows
            }
        }
    }

    fn matrix(&self, value: impl Fn(usize, usize) -> f32) -> Tensor<2> {
        let count = self.meanings.len();
        let values: Vec<f32> = (0..count * count).map(|place| value(place / count, place % count)).collect();
        Tensor::from_data(TensorData::new(values, [count, count]), self.device)
    }
}

/// What is taken from a logit that no softmax may see.
const FAR: f32 = 1e9;
