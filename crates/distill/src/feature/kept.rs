//! Targets of views that are the same in every epoch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use super::Matching;

/// Targets of images that were computed, in memory, until they would take more than a limit.
#[derive(Debug)]
pub struct Kept {
    known: Mutex<Known>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Known {
    rows: HashMap<u64, Arc<[f32]>>,
    /// Dimensions of a row, `[compared, width]`, and which of the student's tokens it is for; the same for all.
    form: Option<([usize; 2], Matching)>,
}

impl Kept {
    /// Nothing yet, and at most so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { known: Mutex::default(), bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The targets of images, if all of them were computed before.
    ///
    /// # Shapes
    /// - output: `[ids, compared, width]`
    pub(super) fn get(&self, ids: &[u64], device: &Device) -> Option<(Tensor<3>, Matching)> {
        let (rows, ([compared, width], matching)) = {
            let known = self.lock();
            let rows: Option<Vec<Arc<[f32]>>> = ids.iter().map(|id| known.rows.get(id).cloned()).collect();
            (rows?, known.form?)
        };
        let data = TensorData::new(rows.concat(), [ids.len(), compared, width]);
        Some((Tensor::from_data(data, device), matching))
    }

    /// Keeps the targets of images as far as there is room.
    ///
    /// # Shapes
    /// - targets: `[ids, compared, width]`
    pub(super) fn keep(&self, ids: &[u64], targets: &Tensor<3>, matching: Matching) {
        let [_, compared, width] = targets.dims();
        let elements = (compared * width).max(1);
        let most = self.bytes / (4 * elements);
        if self.lock().rows.len() >= most {
            return;
        }
        let values = targets.clone().into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
        let mut known = self.lock();
        known.form = Some(([compared, width], matching));
        for (id, row) in ids.iter().zip(values.chunks_exact(elements)) {
            if known.rows.len() < most {
                known.rows.insert(*id, row.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use robustify_zoo::LastTokens;

    use super::*;
    use crate::feature::Target;

    #[test]
    fn what_fits_is_kept_and_what_is_not_known_whole_is_computed() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let targets = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &device).reshape([3, 1, 2]);
        let tokens = LastTokens { tokens: targets.clone(), prefix: 0, grid: [1, 1] };
        let matching = Matching::new(Target::Tokens, &tokens, &tokens);
        // Two rows of two numbers of four bytes.
        let kept = Kept::new(16);
        kept.keep(&[7, 8, 9], &targets, matching);
        let (found, _) = kept.get(&[8, 7], &device).unwrap();
        assert_eq!(found.into_data().try_to_vec::<f32>().unwrap(), [3.0, 4.0, 1.0, 2.0]);
        assert!(kept.get(&[7, 9], &device).is_none(), "there was no room for the third");
    }
}
