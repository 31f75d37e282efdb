//! Stochastic depth: residual branches that are left out for a row now and then, the deeper the more often.
//!
//! Source: Huang et al. 2016, arXiv:1603.09382, with rates that rise linearly from zero at the first block, as timm has them.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use robustify_rng::Key;
use robustify_zoo::{Masks, Model};

/// The rate at which the branches of every block are left out, by the block's name: zero at the first, `rate` at the last.
pub fn drop_path_rates(model: &Model, rate: f64) -> BTreeMap<String, f64> {
    let units = model.units();
    // Between the stem and the head.
    let blocks = units.get(1..units.len().saturating_sub(1)).unwrap_or_default();
    let last = blocks.len().saturating_sub(1).max(1) as f64;
    blocks.iter().enumerate().map(|(index, block)| (block.name.clone(), rate * index as f64 / last)).collect()
}

/// Which branches are left out, row by row, drawn from the rows' keys.
pub struct DropPath<'a> {
    /// See [`drop_path_rates`].
    pub rates: &'a BTreeMap<String, f64>,
    /// A key of every row.
    pub keys: &'a [Key],
}

impl Masks for DropPath<'_> {
    fn mask(&self, _: &str, _: usize, _: &Device) -> Option<Tensor<2>> {
        None
    }

    fn branch(&self, site: &str, device: &Device) -> Option<Tensor<1>> {
        let site = site.trim_start_matches('/');
        let (block, _) = site.rsplit_once('.')?;
        let rate = *self.rates.get(block).filter(|rate| **rate > 0.0)?;
        let kept = (1.0 / (1.0 - rate)) as f32;
        let of_row = |key: &Key| if key.with_str(site).stream().unit() < rate { 0.0 } else { kept };
        let values: Vec<f32> = self.keys.iter().map(of_row).collect();
        Some(Tensor::<1>::from_floats(values.as_slice(), device))
    }
}

#[cfg(test)]
mod tests {
    use robustify_zoo::vit::VitConfig;
    use robustify_zoo::{ModelConfig, Pass};

    use super::*;

    #[test]
    fn rows_lose_branches_by_their_keys_and_more_often_the_deeper() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let model = Model::new(&ModelConfig::Vit(VitConfig::student(16, 8, 8, 3, 2)), 1, &device).unwrap();
        let rates = drop_path_rates(&model, 0.5);
        assert_eq!(rates.values().copied().collect::<Vec<_>>(), [0.0, 0.25, 0.5]);
        let keys: Vec<Key> = (0..400).map(|row| Key::new(row, "row")).collect();
        let masks = DropPath { rates: &rates, keys: &keys };
        assert!(masks.branch("/blocks.0.drop_path1", &device).is_none());
        let host = |site: &str| masks.branch(site, &device).unwrap().into_data().try_to_vec::<f32>().unwrap();
        let dropped = |values: &[f32]| values.iter().filter(|value| **value == 0.0).count();
        let (middle, last) = (host("/blocks.1.drop_path1"), host("/blocks.2.drop_path1"));
        assert!((70..130).contains(&dropped(&middle)) && (165..235).contains(&dropped(&last)));
        assert!(host("/blocks.2.drop_path2") != last && last.contains(&2.0));

        // A row's answer depends on its own key alone.
        let images = Tensor::<4>::ones([2, 3, 16, 16], &device);
        let tokens = |keys: &[Key]| {
            let masks = DropPath { rates: &rates, keys };
            model.last_tokens(images.clone(), &Pass::eval().with_masks(&masks)).tokens.narrow(0, 0, 1).into_data()
        };
        assert_eq!(tokens(&keys[..2]), tokens(&[keys[0], keys[7]]));
    }
}
