//! Random directions in the space of a model's weights, as long as its filters.
//!
//! Source: Li et al. 2018, arXiv:1712.09913, section 4; tomgoldstein/loss-landscape `net_plotter.py`: a filter is a slice along the first
//! axis of a tensor with several, and tensors of one axis (biases, norms, LayerScale) stay. Of tables of relative positions, which
//! that code does not know, a filter is the column of a head. The texts of a zero-shot classifier are no weights, and stay as well.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use robustify_rng::Key;
use robustify_zoo::Model;
use robustify_zoo::weights::{self, Entry};

/// What the name of a table of relative positions, `[positions, heads]`, ends with.
const TABLE: &str = "relative_position_bias_table";
/// What the names of a zero-shot classifier's texts begin with.
const TEXTS: &str = "readout.";
/// Keeps a direction of no length from being divided by it.
const LEAST_LENGTH: f64 = 1e-10;

/// Two directions, by tensors.
#[derive(Clone, Debug)]
pub struct Directions(BTreeMap<String, [Tensor<1>; 2]>);

impl Directions {
    /// Standard normals by `seed`, direction and name of the tensor, so that two models of one network get the same directions but for
    /// the lengths of their filters.
    pub fn new(model: &Model, seed: u64, device: &Device) -> Self {
        let drawn = |name: &str, entry: &Entry, direction: u64| {
            let mut stream = Key::new(seed, "landscape").with(direction).with_str(name).stream();
            let raw: Vec<f32> = (0..entry.values.len()).map(|_| stream.normal() as f32).collect();
            filter_normalised(name, entry, &raw)
        };
        let state = weights::state(model);
        let pairs = state.into_iter().filter_map(|(name, entry)| {
            let pair = [drawn(&name, &entry, 0)?, drawn(&name, &entry, 1)?];
            Some((name, pair))
        });
        Self::of(pairs.collect(), device)
    }

    /// Those of given numbers.
    pub fn of(pairs: BTreeMap<String, [Vec<f32>; 2]>, device: &Device) -> Self {
        let tensor = |values: Vec<f32>| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), device)
        };
        Self(pairs.into_iter().map(|(name, pair)| (name, pair.map(tensor))).collect())
    }

    /// The model `a` times the first direction and `b` times the second away.
    #[must_use]
    pub fn moved(&self, model: &Model, [a, b]: [f64; 2]) -> Model {
        weights::changed(model.clone(), |name, values| {
            let [first, second] = self.0.get(name)?;
            let there = if a == 0.0 { values } else { values + first.clone() * a };
            Some(if b == 0.0 { there } else { there + second.clone() * b })
        })
    }
}

/// A direction with each filter as long as that of the weights; none for a tensor that stays.
///
/// # Arguments
/// - name: the tensor's
/// - weights: the tensor
/// - raw: a direction of the same size
pub fn filter_normalised(name: &str, weights: &Entry, raw: &[f32]) -> Option<Vec<f32>> {
    if weights.shape.len() < 2 || name.starts_with(TEXTS) {
        return None;
    }
    let mut direction = raw.to_vec();
    let count = weights.values.len();
    let filters = if name.ends_with(TABLE) { weights.shape[1] } else { weights.shape[0] };
    // Elements of a filter lie next to each other, but those of a table's column a row apart.
    let (size, step) = (count / filters.max(1), if name.ends_with(TABLE) { filters } else { 1 });
    for filter in 0..filters {
        let first = if name.ends_with(TABLE) { filter } else { filter * size };
        let length = |values: &[f32]| {
            let squares = values.iter().skip(first).step_by(step).take(size).map(|value| f64::from(*value).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let scale = length(&weights.values) / (length(raw) + LEAST_LENGTH);
        let own = direction.iter_mut().skip(first).step_by(step).take(size);
        own.for_each(|value| *value = (f64::from(*value) * scale) as f32);
    }
    Some(direction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_the_lengths_of_the_weights() {
        let entry = |shape: &[usize], values: &[f32]| Entry { shape: shape.to_vec(), values: values.to_vec() };
        // Rows of length 5 and 0; a direction of lengths 10 and 1.
        let weights = entry(&[2, 2], &[3.0, 4.0, 0.0, 0.0]);
        assert_eq!(filter_normalised("head.weight", &weights, &[6.0, 8.0, 1.0, 0.0]).unwrap(), [3.0, 4.0, 0.0, 0.0]);
        // Of a table the columns: lengths 3 and 4, a direction of ones.
        let table = filter_normalised("a.relative_position_bias_table", &weights, &[1.0; 4]).unwrap();
        let half = 0.5_f32.sqrt();
        assert!(table.iter().zip([3.0 * half, 4.0 * half, 3.0 * half, 4.0 * half]).all(|(a, b)| (a - b).abs() < 1e-6));
        // One filter of a position for every token; biases and texts stay.
        let positions = entry(&[1, 2, 1], &[3.0, 4.0]);
        assert_eq!(filter_normalised("pos_embed", &positions, &[5.0, 0.0]).unwrap(), [5.0, 0.0]);
        assert_eq!(filter_normalised("head.bias", &entry(&[2], &[1.0, 1.0]), &[1.0, 1.0]), None);
        assert_eq!(filter_normalised("readout.weight", &weights, &[1.0; 4]), None);
    }

    #[test]
    fn a_seed_gives_the_same_directions_and_zero_is_the_model() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let network = serde_json::from_str(
            r#"{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2, "classes": 3}"#,
        );
        let model = Model::new(&network.unwrap(), 1, &device).unwrap();
        let moved = |seed: u64, at: [f64; 2]| weights::state(&Directions::new(&model, seed, &device).moved(&model, at));
        assert_eq!(moved(1, [0.0, 0.0]), weights::state(&model));
        assert_eq!(moved(1, [0.5, -1.0]), moved(1, [0.5, -1.0]));
        assert_ne!(moved(1, [0.5, 0.0]), moved(2, [0.5, 0.0]));
        assert_ne!(moved(1, [0.5, 0.0]), moved(1, [0.0, 0.5]));
    }
}
