//! Residual networks. Names, tags and preparation of images are those of timm 1.0; a name without a tag is timm's default.

use super::{Entry, Preprocessing};
use crate::ModelConfig;
use crate::resnet::{BlockKind, ResNetConfig};

/// Licence of the weights, and the paper.
type Origin = (&'static str, &'static str);

const TORCHVISION: Origin = ("bsd-3-clause", "He et al. 2016, arXiv:1512.03385");
const RSB: Origin = ("apache-2.0", "Wightman et al. 2021, arXiv:2110.00476");
const BAG: Origin = ("apache-2.0", "He et al. 2018, arXiv:1812.01187");
const SEMI: Origin = ("cc-by-nc-4.0", "Yalniz et al. 2019, arXiv:1905.00546");
const AUGMIX: Origin = ("apache-2.0", "Hendrycks et al. 2020, arXiv:1912.02781");
const RAND_AUGMENT: Origin = ("apache-2.0", "Cubuk et al. 2019, arXiv:1909.13719");

/// Architecture, tag, origin, interpolation(input size, crop), network.
macro_rules! timm {
    ($name:literal, $tag:literal, $origin:expr, $filter:ident($size:literal, $crop:literal), $network:expr) => {
        Entry {
            architecture: $name,
            tag: $tag,
            config: || ModelConfig::ResNet(ResNetConfig { image_size: $size, ..$network }),
            text: None,
            preprocessing: Preprocessing {
                interpolation: stringify!($filter),
                ..Preprocessing::imagenet($size, $crop)
            },
            licence: $origin.0,
            paper: $origin.1,
            hub: Some(concat!("timm/", $name, ".", $tag)),
        }
    };
}

pub(super) const ENTRIES: &[Entry] = &[
    timm!("resnet18", "a1_in1k", RSB, bicubic(224, 0.95), basic([2, 2, 2, 2])),
    timm!("resnet18", "a2_in1k", RSB, bicubic(224, 0.95), basic([2, 2, 2, 2])),
    timm!("resnet18", "a3_in1k", RSB, bicubic(160, 0.95), basic([2, 2, 2, 2])),
    timm!("resnet18", "fb_ssl_yfcc100m_ft_in1k", SEMI, bilinear(224, 0.875), basic([2, 2, 2, 2])),
    timm!("resnet18", "fb_swsl_ig1b_ft_in1k", SEMI, bilinear(224, 0.875), basic([2, 2, 2, 2])),
    timm!("resnet18", "gluon_in1k", BAG, bicubic(224, 0.875), basic([2, 2, 2, 2])),
    timm!("resnet18", "tv_in1k", TORCHVISION, bilinear(224, 0.875), basic([2, 2, 2, 2])),
    timm!("resnet34", "a1_in1k", RSB, bicubic(224, 0.95), basic([3, 4, 6, 3])),
    timm!("resnet34", "a2_in1k", RSB, bicubic(224, 0.95), basic([3, 4, 6, 3])),
    timm!("resnet34", "a3_in1k", RSB, bicubic(160, 0.95), basic([3, 4, 6, 3])),
    timm!("resnet34", "bt_in1k", BAG, bicubic(224, 0.875), basic([3, 4, 6, 3])),
    timm!("resnet34", "gluon_in1k", BAG, bicubic(224, 0.875), basic([3, 4, 6, 3])),
    timm!("resnet34", "tv_in1k", TORCHVISION, bilinear(224, 0.875), basic([3, 4, 6, 3])),
    timm!("resnet50", "a1_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "a1h_in1k", RSB, bicubic(176, 0.9), deep([3, 4, 6, 3])),
    timm!("resnet50", "a2_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "a3_in1k", RSB, bicubic(160, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "am_in1k", AUGMIX, bicubic(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "b1k_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "b2k_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "bt_in1k", BAG, bicubic(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "c1_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "c2_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "d_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 6, 3])),
    timm!("resnet50", "fb_ssl_yfcc100m_ft_in1k", SEMI, bilinear(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "fb_swsl_ig1b_ft_in1k", SEMI, bilinear(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "gluon_in1k", BAG, bicubic(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "ra_in1k", RAND_AUGMENT, bicubic(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "ram_in1k", AUGMIX, bicubic(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "tv2_in1k", TORCHVISION, bilinear(176, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet50", "tv_in1k", TORCHVISION, bilinear(224, 0.875), deep([3, 4, 6, 3])),
    timm!("resnet101", "a1h_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 23, 3])),
    timm!("resnet101", "a1_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 23, 3])),
    timm!("resnet101", "a2_in1k", RSB, bicubic(224, 0.95), deep([3, 4, 23, 3])),
    timm!("resnet101", "a3_in1k", RSB, bicubic(160, 0.95), deep([3, 4, 23, 3])),
    timm!("resnet101", "gluon_in1k", BAG, bicubic(224, 0.875), deep([3, 4, 23, 3])),
    timm!("resnet101", "tv2_in1k", TORCHVISION, bilinear(176, 0.875), deep([3, 4, 23, 3])),
    timm!("resnet101", "tv_in1k", TORCHVISION, bilinear(224, 0.875), deep([3, 4, 23, 3])),
    timm!("resnet152", "a1h_in1k", RSB, bicubic(224, 0.95), deep([3, 8, 36, 3])),
    timm!("resnet152", "a1_in1k", RSB, bicubic(224, 0.95), deep([3, 8, 36, 3])),
    timm!("resnet152", "a2_in1k", RSB, bicubic(224, 0.95), deep([3, 8, 36, 3])),
    timm!("resnet152", "a3_in1k", RSB, bicubic(160, 0.95), deep([3, 8, 36, 3])),
    timm!("resnet152", "gluon_in1k", BAG, bicubic(224, 0.875), deep([3, 8, 36, 3])),
    timm!("resnet152", "tv2_in1k", TORCHVISION, bilinear(176, 0.875), deep([3, 8, 36, 3])),
    timm!("resnet152", "tv_in1k", TORCHVISION, bilinear(224, 0.875), deep([3, 8, 36, 3])),
    test("micro_resnet", || {
        ModelConfig::ResNet(ResNetConfig { image_size: 32, width: 4, classes: 10, ..basic([1; 4]) })
    }),
    test("micro_resnet_bottleneck", || {
        ModelConfig::ResNet(ResNetConfig { image_size: 32, width: 4, classes: 10, ..deep([1; 4]) })
    }),
];

/// A tiny network for tests, of which no trained weights exist.
const fn test(architecture: &'static str, config: fn() -> ModelConfig) -> Entry {
    Entry {
        architecture,
        tag: "",
        config,
        text: None,
        preprocessing: Preprocessing::imagenet(32, 1.0),
        licence: "none",
        paper: TORCHVISION.1,
        hub: None,
    }
}

fn basic(layers: [usize; 4]) -> ResNetConfig {
    ResNetConfig::imagenet(BlockKind::Basic, layers)
}

fn deep(layers: [usize; 4]) -> ResNetConfig {
    ResNetConfig::imagenet(BlockKind::Bottleneck, layers)
}
