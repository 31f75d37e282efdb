use burn::tensor::{Device, Tensor, TensorData};
use robustify_rng::Key;
use robustify_zoo::Masks;

/// Dropout masks drawn on the host from one key a row, so that neither batch size, nor backend, nor threads change them.
pub struct KeyedMasks {
    rows: Vec<Key>,
    /// Elements below it are dropped, out of 65536.
    threshold: u32,
}

impl KeyedMasks {
    /// Masks of rate `rate` in `[0, 1)`, one key a row.
    pub fn new(rows: Vec<Key>, rate: f64) -> Self {
        Self { rows, threshold: (rate * 65_536.0).round() as u32 }
    }

    /// Masks of `passes` stochastic passes for every sample: rows keyed by seed, sample and pass.
    pub fn for_passes(seed: u64, samples: &[u64], passes: usize, rate: f64) -> Self {
        let key = Key::new(seed, "mc dropout");
        let rows = samples.iter().flat_map(|&sample| (0..passes as u64).map(move |pass| key.with(sample).with(pass)));
        Self::new(rows.collect(), rate)
    }
}

impl Masks for KeyedMasks {
    fn mask(&self, site: &str, elements: usize, device: &Device) -> Option<Tensor<2>> {
        if self.threshold == 0 {
            return None;
        }
        let keep = 65_536.0 / (65_536.0 - self.threshold as f32);
        let mut bytes = vec![0; 2 * elements];
        let mut values = Vec::with_capacity(self.rows.len() * elements);
        for row in &self.rows {
            row.with_str(site).stream().fill(&mut bytes);
            let draws = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])));
            values.extend(draws.map(|draw| if draw < self.threshold { 0.0 } else { keep }));
        }
        Some(Tensor::from_data(TensorData::new(values, [self.rows.len(), elements]), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_depend_on_the_row_and_the_site_alone() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let mask = |samples: &[u64], site: &str| {
            let tensor = KeyedMasks::for_passes(1, samples, 2, 0.25).mask(site, 64, &device).unwrap();
            tensor.into_data().try_to_vec::<f32>().unwrap()
        };
        let both = mask(&[7, 9], "a");
        assert_eq!(both[128..], mask(&[9], "a")[..], "a sample's mask changes with its neighbours");
        assert_ne!(both[..64], both[64..128], "two passes share a mask");
        assert_ne!(mask(&[7], "a"), mask(&[7], "b"), "two layers share a mask");
    }

    #[test]
    fn masks_keep_the_mean() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let masks = KeyedMasks::for_passes(3, &[1], 1, 0.1);
        let values: Vec<f32> = masks.mask("x", 100_000, &device).unwrap().into_data().try_to_vec().unwrap();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(KeyedMasks::for_passes(3, &[1], 1, 0.0).mask("x", 4, &device).is_none());
    }
}
