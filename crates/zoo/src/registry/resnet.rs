//! Residual networks.

use super::{Entry, Preprocessing};
use crate::ModelConfig;
use crate::resnet::{BlockKind, ResNetConfig};

pub(super) const ENTRIES: &[Entry] = &[
    a1("resnet18", "a1_in1k", || resnet(BlockKind::Basic, [2, 2, 2, 2])),
    a1("resnet50", "a1_in1k", || resnet(BlockKind::Bottleneck, [3, 4, 6, 3])),
];

const fn a1(architecture: &'static str, tag: &'static str, config: fn() -> ModelConfig) -> Entry {
    Entry {
        architecture,
        tag,
        config,
        preprocessing: Preprocessing::imagenet(224, 0.95),
        licence: "apache-2.0",
        paper: "Wightman et al. 2021, arXiv:2110.00476",
        hub: None,
    }
}

fn resnet(block: BlockKind, layers: [usize; 4]) -> ModelConfig {
    ModelConfig::ResNet(ResNetConfig::imagenet(block, layers))
}
