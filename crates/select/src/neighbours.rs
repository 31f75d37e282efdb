//! Variance reduction fusion (VRF): the nearer an image lies to training images that only the tuned model gets right, the more of the
//! tuned model enters its answer.
//!
//! Source: Zhu et al. 2024, "Robust fine-tuning of zero-shot models via variance reduction", arXiv:2411.06966; BeierZhu/VRF (commit
//! de9647d), `src/knn_distance.py`, `src/main.py`.

use crate::mixtures::{MixtureError, dot, same_classes, tempered, weighted};

/// Features of training images that the tuned model gets right and the original one wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Which neighbour counts, from 1 for the nearest.
    pub rank: usize,
    /// Elements of a feature.
    pub width: usize,
    /// The features, `[images, width]`, each of length one.
    pub features: Vec<f32>,
}

impl Neighbours {
    /// Images that are kept, at most: further ones are left out evenly, and the rank with them. The authors keep all.
    pub const MOST: usize = 20_000;

    /// From the tuned model's features of those images, `[images, width]`, of `total` training images: the neighbour that counts is number
    /// `round(1000 images / total)`, at least the first and at most the last.
    ///
    /// `None` of no image: then nothing says where the tuned model is the better one.
    pub fn new(features: &[f32], width: usize, total: usize) -> Option<Self> {
        let images = features.len() / width.max(1);
        if images == 0 {
            return None;
        }
        let kept = images.min(Self::MOST);
        let rank = 1000.0 * images as f64 / total.max(1) as f64 * kept as f64 / images as f64;
        let chosen = (0..kept).map(|place| place * images / kept);
        let features = chosen.flat_map(|image| unit(&features[image * width..(image + 1) * width])).collect();
        Some(Self { rank: (rank.round() as usize).clamp(1, kept), width, features })
    }

    /// Squared Euclidean distance, in `[0, 4]`, between the feature of one image, which is brought to length one, and its neighbour of
    /// that rank.
    pub fn distance(&self, feature: &[f32]) -> f32 {
        let feature = unit(feature);
        let to = |row: &[f32]| (2.0 - 2.0 * dot(row, &feature)).max(0.0);
        let mut all: Vec<f32> = self.features.chunks_exact(self.width).map(to).collect();
        *all.select_nth_unstable_by(self.rank - 1, f32::total_cmp).1
    }
}

/// The share of the tuned model, in `(0, 1)`: `sigmoid(-(distance - 1.5) / 0.6)`, the authors' constants.
pub fn share(distance: f64) -> f64 {
    1.0 / (1.0 + ((distance - 1.5) / 0.6).exp())
}

/// The mixture of what both models said about one image, probabilities that sum to one.
///
/// # Arguments
/// - original, tuned: probabilities
/// - temperatures: of both models, above 0, fitted on validation images; probabilities are brought to them
///
/// # Errors
/// Different numbers of classes.
pub fn mix(original: &[f32], tuned: &[f32], distance: f64, temperatures: [f64; 2]) -> Result<Vec<f32>, MixtureError> {
    same_classes(&[original, tuned])?;
    let [original, tuned] = [(original, temperatures[0]), (tuned, temperatures[1])].map(|(p, t)| tempered(p, t));
    let share = share(distance);
    Ok(weighted(&[&original, &tuned], &[1.0 - share, share]))
}

/// The vector at length one; one of no length stays.
fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
    vector.iter().map(|x| (f64::from(*x) / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_of_the_rank_counts_whatever_the_lengths() {
        // Three directions; of 1,500 training images three make the second neighbour.
        let found = Neighbours::new(&[2.0, 0.0, 0.0, 5.0, -1.0, 0.0], 2, 1500).unwrap();
        assert_eq!(found.rank, 2);
        // From (1, 0): 0, 2 and 4.
        assert!((found.distance(&[9.0, 0.0]) - 2.0).abs() < 1e-6);
        assert!((found.distance(&[3.0, 3.0]) - (2.0 - 2.0_f32.sqrt())).abs() < 1e-6);
        // Fewer than a thousand training images would ask for more neighbours than there are.
        assert_eq!(Neighbours::new(&[1.0, 0.0], 2, 10).unwrap().rank, 1);
        assert_eq!(Neighbours::new(&[1.0, 0.0], 2, 1_000_000).unwrap().rank, 1);
        assert_eq!(Neighbours::new(&[], 2, 10), None);
    }

    #[test]
    fn near_images_are_answered_by_the_tuned_model() {
        assert!((share(1.5) - 0.5).abs() < 1e-12 && (share(0.9) - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-12);
        let (original, tuned): (&[f32], &[f32]) = (&[0.9, 0.1], &[0.2, 0.8]);
        let at = |distance| mix(original, tuned, distance, [1.0; 2]).unwrap()[0];
        assert!(at(0.0) < at(1.5) && at(1.5) < at(3.9), "{} {} {}", at(0.0), at(1.5), at(3.9));
        assert!((at(1.5) - 0.55).abs() < 1e-6);
        // Temperatures flatten before the mixture: at a large one a model says nothing.
        let flat = mix(original, tuned, 1.5, [1e6, 1e6]).unwrap();
        assert!((flat[0] - 0.5).abs() < 1e-3);
    }
}
