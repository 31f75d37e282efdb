//! Vision Transformers.

use super::{Entry, Preprocessing};
use crate::ModelConfig;
use crate::vit::VitConfig;

pub(super) const ENTRIES: &[Entry] = &[
    augreg("vit_tiny_patch16_224", || vit(16, 192, 12, 3)),
    augreg("vit_small_patch16_224", || vit(16, 384, 12, 6)),
    augreg("vit_base_patch16_224", || vit(16, 768, 12, 12)),
    augreg("vit_large_patch16_224", || vit(16, 1024, 24, 16)),
];

const fn augreg(architecture: &'static str, config: fn() -> ModelConfig) -> Entry {
    Entry {
        architecture,
        tag: "augreg_in21k_ft_in1k",
        config,
        preprocessing: Preprocessing::half(224, 0.9),
        licence: "apache-2.0",
        paper: "Steiner et al. 2021, arXiv:2106.10270",
        hub: None,
    }
}

fn vit(patch_size: usize, width: usize, depth: usize, heads: usize) -> ModelConfig {
    ModelConfig::Vit(VitConfig::plain(224, patch_size, width, depth, heads))
}
