//! Vision Transformers. Names, tags and preparation of images are those of timm 1.0; a name without a tag is timm's default.

use super::{Entry, Preprocessing};
use crate::ModelConfig;
use crate::layers::Activation;
use crate::vit::{Pool, VitConfig};

/// Licence of the weights, and the paper.
type Origin = (&'static str, &'static str);

const ORIGINAL: Origin = ("apache-2.0", "Dosovitskiy et al. 2021, arXiv:2010.11929");
const AUGREG: Origin = ("apache-2.0", "Steiner et al. 2021, arXiv:2106.10270");
const SAM: Origin = ("apache-2.0", "Chen et al. 2021, arXiv:2106.01548");
const DEIT: Origin = ("apache-2.0", "Touvron et al. 2021, arXiv:2012.12877");
const DEIT3: Origin = ("apache-2.0", "Touvron et al. 2022, arXiv:2204.07118");
const MAE: Origin = ("cc-by-nc-4.0", "He et al. 2021, arXiv:2111.06377");
const DINO: Origin = ("apache-2.0", "Caron et al. 2021, arXiv:2104.14294");
const DINOV2: Origin = ("apache-2.0", "Oquab et al. 2023, arXiv:2304.07193");
const REGISTERS: Origin = ("apache-2.0", "Darcet et al. 2023, arXiv:2309.16588");
const OPENAI: Origin = ("apache-2.0", "Radford et al. 2021, arXiv:2103.00020");
const LAION: Origin = ("apache-2.0", "Cherti et al. 2022, arXiv:2212.07143");
const LAION_400M: Origin = ("mit", "Cherti et al. 2022, arXiv:2212.07143");
const METACLIP: Origin = ("cc-by-nc-4.0", "Xu et al. 2023, arXiv:2309.16671");
/// timm's own tiny networks, which it tests itself with.
const TIMM: Origin = ("apache-2.0", "Wightman 2019, doi:10.5281/zenodo.4414861");
const DFN: Origin = ("apple-ascl", "Fang et al. 2023, arXiv:2309.17425");

/// Architecture, tag, origin, normalisation(input size, crop), network, classes, and the repository where it is another than
/// `timm/architecture.tag`.
macro_rules! timm {
    ($name:literal, $tag:literal, $origin:expr, $norm:ident($size:literal, $crop:literal), $vit:expr, $classes:literal) => {
        timm!($name, $tag, $origin, $norm($size, $crop), $vit, $classes, concat!("timm/", $name, ".", $tag))
    };
    ($name:literal, $tag:literal, $origin:expr, $norm:ident($size:literal, $crop:literal), $vit:expr, $classes:literal, $hub:expr) => {
        Entry {
            architecture: $name,
            tag: $tag,
            config: || {
                let plain = VitConfig { image_size: $size, classes: $classes, ..$vit };
                // What CLIP's weights end in is a classifier only where they were fine-tuned.
                ModelConfig::Vit(VitConfig { projects: plain.pre_norm && !is_fine_tuned($tag), ..plain })
            },
            text: None,
            preprocessing: Preprocessing::$norm($size, $crop),
            licence: $origin.0,
            paper: $origin.1,
            hub: Some($hub),
        }
    };
}

/// A tiny network for tests, of which no trained weights exist; timm's own are called `test_`.
macro_rules! test {
    ($name:literal, $origin:expr, $vit:expr) => {
        Entry {
            architecture: $name,
            tag: "",
            config: || ModelConfig::Vit($vit),
            text: None,
            preprocessing: Preprocessing::half(32, 1.0),
            licence: "none",
            paper: $origin.1,
            hub: None,
        }
    };
}

pub(super) const ENTRIES: &[Entry] = &[
    timm!("vit_tiny_patch16_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), tiny(16), 1000),
    timm!("vit_tiny_patch16_224", "augreg_in21k", AUGREG, half(224, 0.9), tiny(16), 21843),
    timm!("vit_tiny_patch16_384", "augreg_in21k_ft_in1k", AUGREG, half(384, 1.0), tiny(16), 1000),
    timm!("vit_small_patch32_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), small(32), 1000),
    timm!("vit_small_patch32_224", "augreg_in21k", AUGREG, half(224, 0.9), small(32), 21843),
    timm!("vit_small_patch32_384", "augreg_in21k_ft_in1k", AUGREG, half(384, 1.0), small(32), 1000),
    timm!("vit_small_patch16_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), small(16), 1000),
    timm!("vit_small_patch16_224", "augreg_in1k", AUGREG, half(224, 0.9), small(16), 1000),
    timm!("vit_small_patch16_224", "augreg_in21k", AUGREG, half(224, 0.9), small(16), 21843),
    timm!("vit_small_patch16_224", "dino", DINO, imagenet(224, 0.9), small(16), 0),
    timm!("vit_small_patch16_384", "augreg_in21k_ft_in1k", AUGREG, half(384, 1.0), small(16), 1000),
    timm!("vit_small_patch16_384", "augreg_in1k", AUGREG, half(384, 1.0), small(16), 1000),
    timm!("vit_small_patch8_224", "dino", DINO, imagenet(224, 0.9), small(8), 0),
    timm!("vit_base_patch32_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), base(32), 1000),
    timm!("vit_base_patch32_224", "augreg_in1k", AUGREG, half(224, 0.9), base(32), 1000),
    timm!("vit_base_patch32_224", "augreg_in21k", AUGREG, half(224, 0.9), base(32), 21843),
    timm!("vit_base_patch32_224", "orig_in21k", ORIGINAL, half(224, 0.9), base(32), 0),
    timm!("vit_base_patch32_224", "sam_in1k", SAM, half(224, 0.9), base(32), 1000),
    timm!("vit_base_patch32_384", "augreg_in21k_ft_in1k", AUGREG, half(384, 1.0), base(32), 1000),
    timm!("vit_base_patch32_384", "augreg_in1k", AUGREG, half(384, 1.0), base(32), 1000),
    timm!("vit_base_patch16_224", "augreg2_in21k_ft_in1k", AUGREG, half(224, 0.9), base(16), 1000),
    timm!("vit_base_patch16_224", "augreg_in1k", AUGREG, half(224, 0.9), base(16), 1000),
    timm!("vit_base_patch16_224", "augreg_in21k", AUGREG, half(224, 0.9), base(16), 21843),
    timm!("vit_base_patch16_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), base(16), 1000),
    timm!("vit_base_patch16_224", "dino", DINO, imagenet(224, 0.9), base(16), 0),
    timm!("vit_base_patch16_224", "mae", MAE, imagenet(224, 0.9), base(16), 0),
    timm!("vit_base_patch16_224", "orig_in21k", ORIGINAL, half(224, 0.9), base(16), 0),
    timm!("vit_base_patch16_224", "orig_in21k_ft_in1k", ORIGINAL, half(224, 0.9), base(16), 1000),
    timm!("vit_base_patch16_224", "sam_in1k", SAM, half(224, 0.9), base(16), 1000),
    timm!("vit_base_patch16_384", "augreg_in21k_ft_in1k", AUGREG, half(384, 1.0), base(16), 1000),
    timm!("vit_base_patch16_384", "augreg_in1k", AUGREG, half(384, 1.0), base(16), 1000),
    timm!("vit_base_patch16_384", "orig_in21k_ft_in1k", ORIGINAL, half(384, 1.0), base(16), 1000),
    timm!("vit_base_patch8_224", "augreg2_in21k_ft_in1k", AUGREG, half(224, 0.9), base(8), 1000),
    timm!("vit_base_patch8_224", "augreg_in21k", AUGREG, half(224, 0.9), base(8), 21843),
    timm!("vit_base_patch8_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), base(8), 1000),
    timm!("vit_base_patch8_224", "dino", DINO, imagenet(224, 0.9), base(8), 0),
    timm!("vit_large_patch32_224", "orig_in21k", ORIGINAL, half(224, 0.9), large(32), 0),
    timm!("vit_large_patch32_384", "orig_in21k_ft_in1k", ORIGINAL, half(384, 1.0), large(32), 1000),
    timm!("vit_large_patch16_224", "augreg_in21k_ft_in1k", AUGREG, half(224, 0.9), large(16), 1000),
    timm!("vit_large_patch16_224", "augreg_in21k", AUGREG, half(224, 0.9), large(16), 21843),
    timm!("vit_large_patch16_224", "mae", MAE, imagenet(224, 0.9), large(16), 0),
    timm!("vit_large_patch16_224", "orig_in21k", ORIGINAL, half(224, 0.9), large(16), 0),
    timm!("vit_large_patch16_384", "augreg_in21k_ft_in1k", AUGREG, half(384, 1.0), large(16), 1000),
    timm!("vit_huge_patch14_224", "orig_in21k", ORIGINAL, half(224, 0.9), huge(14), 0),
    timm!("vit_huge_patch14_224", "mae", MAE, imagenet(224, 0.9), huge(14), 0),
    timm!("deit_tiny_distilled_patch16_224", "fb_in1k", DEIT, imagenet(224, 0.9), distilled(tiny(16)), 1000),
    timm!("deit_tiny_patch16_224", "fb_in1k", DEIT, imagenet(224, 0.9), tiny(16), 1000),
    timm!("deit_small_distilled_patch16_224", "fb_in1k", DEIT, imagenet(224, 0.9), distilled(small(16)), 1000),
    timm!("deit_small_patch16_224", "fb_in1k", DEIT, imagenet(224, 0.9), small(16), 1000),
    timm!("deit_base_distilled_patch16_224", "fb_in1k", DEIT, imagenet(224, 0.9), distilled(base(16)), 1000),
    timm!("deit_base_patch16_224", "fb_in1k", DEIT, imagenet(224, 0.9), base(16), 1000),
    timm!("deit_base_distilled_patch16_384", "fb_in1k", DEIT, imagenet(384, 1.0), distilled(base(16)), 1000),
    timm!("deit_base_patch16_384", "fb_in1k", DEIT, imagenet(384, 1.0), base(16), 1000),
    timm!("deit3_small_patch16_224", "fb_in1k", DEIT3, imagenet(224, 0.9), deit3(small(16)), 1000),
    timm!("deit3_small_patch16_224", "fb_in22k_ft_in1k", DEIT3, imagenet(224, 1.0), deit3(small(16)), 1000),
    timm!("deit3_small_patch16_384", "fb_in1k", DEIT3, imagenet(384, 1.0), deit3(small(16)), 1000),
    timm!("deit3_small_patch16_384", "fb_in22k_ft_in1k", DEIT3, imagenet(384, 1.0), deit3(small(16)), 1000),
    timm!("deit3_medium_patch16_224", "fb_in1k", DEIT3, imagenet(224, 0.9), deit3(medium(16)), 1000),
    timm!("deit3_medium_patch16_224", "fb_in22k_ft_in1k", DEIT3, imagenet(224, 1.0), deit3(medium(16)), 1000),
    timm!("deit3_base_patch16_224", "fb_in1k", DEIT3, imagenet(224, 0.9), deit3(base(16)), 1000),
    timm!("deit3_base_patch16_224", "fb_in22k_ft_in1k", DEIT3, imagenet(224, 1.0), deit3(base(16)), 1000),
    timm!("deit3_base_patch16_384", "fb_in1k", DEIT3, imagenet(384, 1.0), deit3(base(16)), 1000),
    timm!("deit3_base_patch16_384", "fb_in22k_ft_in1k", DEIT3, imagenet(384, 1.0), deit3(base(16)), 1000),
    timm!("deit3_large_patch16_224", "fb_in1k", DEIT3, imagenet(224, 0.9), deit3(large(16)), 1000),
    timm!("deit3_large_patch16_224", "fb_in22k_ft_in1k", DEIT3, imagenet(224, 1.0), deit3(large(16)), 1000),
    timm!("deit3_large_patch16_384", "fb_in1k", DEIT3, imagenet(384, 1.0), deit3(large(16)), 1000),
    timm!("deit3_large_patch16_384", "fb_in22k_ft_in1k", DEIT3, imagenet(384, 1.0), deit3(large(16)), 1000),
    timm!("deit3_huge_patch14_224", "fb_in1k", DEIT3, imagenet(224, 0.9), deit3(huge(14)), 1000),
    timm!("deit3_huge_patch14_224", "fb_in22k_ft_in1k", DEIT3, imagenet(224, 1.0), deit3(huge(14)), 1000),
    timm!("vit_small_patch14_dinov2", "lvd142m", DINOV2, imagenet(518, 1.0), dinov2(small(14)), 0),
    timm!("vit_small_patch14_reg4_dinov2", "lvd142m", REGISTERS, imagenet(518, 1.0), registers(small(14)), 0),
    timm!("vit_base_patch14_dinov2", "lvd142m", DINOV2, imagenet(518, 1.0), dinov2(base(14)), 0),
    timm!("vit_base_patch14_reg4_dinov2", "lvd142m", REGISTERS, imagenet(518, 1.0), registers(base(14)), 0),
    timm!("vit_large_patch14_dinov2", "lvd142m", DINOV2, imagenet(518, 1.0), dinov2(large(14)), 0),
    timm!("vit_large_patch14_reg4_dinov2", "lvd142m", REGISTERS, imagenet(518, 1.0), registers(large(14)), 0),
    timm!("vit_base_patch32_clip_224", "laion2b_ft_in12k_in1k", LAION, clip(224, 0.9), clip(base(32)), 1000),
    timm!("vit_base_patch32_clip_224", "laion2b", LAION, clip(224, 0.9), clip(base(32)), 512),
    timm!("vit_base_patch32_clip_224", "laion2b_ft_in1k", LAION, clip(224, 0.9), clip(base(32)), 1000),
    timm!("vit_base_patch32_clip_224", "metaclip_400m", METACLIP, clip(224, 1.0), clip(base(32)), 512),
    timm!("vit_base_patch32_clip_224", "openai", OPENAI, clip(224, 0.9), clip(base(32)), 512),
    timm!("vit_base_patch32_clip_224", "openai_ft_in1k", OPENAI, clip(224, 0.9), clip(base(32)), 1000),
    timm!(
        "vit_base_patch32_clip_quickgelu_224",
        "laion400m_e32",
        LAION_400M,
        clip(224, 0.9),
        clip_quickgelu(base(32)),
        512,
        "timm/vit_base_patch32_clip_224.laion400m_e32"
    ),
    timm!(
        "vit_base_patch32_clip_quickgelu_224",
        "openai",
        OPENAI,
        clip(224, 0.9),
        clip_quickgelu(base(32)),
        512,
        "timm/vit_base_patch32_clip_224.openai"
    ),
    timm!(
        "vit_base_patch32_clip_quickgelu_224",
        "metaclip_400m",
        METACLIP,
        clip(224, 1.0),
        clip_quickgelu(base(32)),
        512,
        "timm/vit_base_patch32_clip_224.metaclip_400m"
    ),
    timm!("vit_base_patch32_clip_384", "laion2b_ft_in12k_in1k", LAION, clip(384, 1.0), clip(base(32)), 1000),
    timm!("vit_base_patch32_clip_384", "openai_ft_in12k_in1k", OPENAI, clip_squashed(384, 0.95), clip(base(32)), 1000),
    timm!("vit_base_patch16_clip_224", "laion2b_ft_in12k_in1k", LAION, clip(224, 0.95), clip(base(16)), 1000),
    timm!("vit_base_patch16_clip_224", "dfn2b", DFN, clip(224, 1.0), clip(base(16)), 512),
    timm!("vit_base_patch16_clip_224", "laion2b", LAION, clip(224, 1.0), clip(base(16)), 512),
    timm!("vit_base_patch16_clip_224", "laion2b_ft_in12k", LAION, clip(224, 0.9), clip(base(16)), 11821),
    timm!("vit_base_patch16_clip_224", "laion2b_ft_in1k", LAION, clip(224, 1.0), clip(base(16)), 1000),
    timm!("vit_base_patch16_clip_224", "metaclip_400m", METACLIP, clip(224, 1.0), clip(base(16)), 512),
    timm!("vit_base_patch16_clip_224", "openai", OPENAI, clip(224, 0.9), clip(base(16)), 512),
    timm!("vit_base_patch16_clip_224", "openai_ft_in12k", OPENAI, clip(224, 0.9), clip(base(16)), 11821),
    timm!("vit_base_patch16_clip_224", "openai_ft_in12k_in1k", OPENAI, clip(224, 0.95), clip(base(16)), 1000),
    timm!("vit_base_patch16_clip_224", "openai_ft_in1k", OPENAI, clip(224, 0.9), clip(base(16)), 1000),
    timm!(
        "vit_base_patch16_clip_quickgelu_224",
        "metaclip_2pt5b",
        METACLIP,
        clip(224, 1.0),
        clip_quickgelu(base(16)),
        512,
        "timm/vit_base_patch16_clip_224.metaclip_2pt5b"
    ),
    timm!(
        "vit_base_patch16_clip_quickgelu_224",
        "openai",
        OPENAI,
        clip(224, 0.9),
        clip_quickgelu(base(16)),
        512,
        "timm/vit_base_patch16_clip_224.openai"
    ),
    timm!(
        "vit_base_patch16_clip_quickgelu_224",
        "metaclip_400m",
        METACLIP,
        clip(224, 1.0),
        clip_quickgelu(base(16)),
        512,
        "timm/vit_base_patch16_clip_224.metaclip_400m"
    ),
    timm!("vit_base_patch16_clip_384", "laion2b_ft_in12k_in1k", LAION, clip_squashed(384, 1.0), clip(base(16)), 1000),
    timm!("vit_base_patch16_clip_384", "laion2b_ft_in1k", LAION, clip_squashed(384, 1.0), clip(base(16)), 1000),
    timm!("vit_base_patch16_clip_384", "openai_ft_in12k_in1k", OPENAI, clip_squashed(384, 0.95), clip(base(16)), 1000),
    timm!("vit_base_patch16_clip_384", "openai_ft_in1k", OPENAI, clip_squashed(384, 1.0), clip(base(16)), 1000),
    timm!("vit_large_patch14_clip_224", "laion2b_ft_in12k_in1k", LAION, half(224, 1.0), clip(large(14)), 1000),
    timm!("vit_large_patch14_clip_224", "dfn2b", DFN, clip(224, 1.0), clip(large(14)), 768),
    timm!("vit_large_patch14_clip_224", "dfn2b_s39b", DFN, clip(224, 1.0), clip(large(14)), 768),
    timm!("vit_large_patch14_clip_224", "laion2b", LAION, half(224, 1.0), clip(large(14)), 768),
    timm!("vit_large_patch14_clip_224", "laion2b_ft_in12k", LAION, half(224, 1.0), clip(large(14)), 11821),
    timm!("vit_large_patch14_clip_224", "laion2b_ft_in1k", LAION, half(224, 1.0), clip(large(14)), 1000),
    timm!("vit_large_patch14_clip_224", "metaclip_400m", METACLIP, clip(224, 1.0), clip(large(14)), 768),
    timm!("vit_large_patch14_clip_224", "openai", OPENAI, clip(224, 1.0), clip(large(14)), 768),
    timm!("vit_large_patch14_clip_224", "openai_ft_in12k", OPENAI, clip(224, 1.0), clip(large(14)), 11821),
    timm!("vit_large_patch14_clip_224", "openai_ft_in12k_in1k", OPENAI, clip(224, 1.0), clip(large(14)), 1000),
    timm!("vit_large_patch14_clip_224", "openai_ft_in1k", OPENAI, clip(224, 1.0), clip(large(14)), 1000),
    timm!(
        "vit_large_patch14_clip_quickgelu_224",
        "dfn2b",
        DFN,
        clip(224, 1.0),
        clip_quickgelu(large(14)),
        768,
        "timm/vit_large_patch14_clip_224.dfn2b"
    ),
    timm!(
        "vit_large_patch14_clip_quickgelu_224",
        "metaclip_400m",
        METACLIP,
        clip(224, 1.0),
        clip_quickgelu(large(14)),
        768,
        "timm/vit_large_patch14_clip_224.metaclip_400m"
    ),
    timm!(
        "vit_large_patch14_clip_quickgelu_224",
        "openai",
        OPENAI,
        clip(224, 1.0),
        clip_quickgelu(large(14)),
        768,
        "timm/vit_large_patch14_clip_224.openai"
    ),
    timm!("vit_large_patch14_clip_336", "laion2b_ft_in12k_in1k", LAION, half_squashed(336, 1.0), clip(large(14)), 1000),
    timm!("vit_large_patch14_clip_336", "laion2b_ft_in1k", LAION, half_squashed(336, 1.0), clip(large(14)), 1000),
    timm!("vit_large_patch14_clip_336", "openai", OPENAI, clip(336, 1.0), clip(large(14)), 768),
    timm!("vit_large_patch14_clip_336", "openai_ft_in12k_in1k", OPENAI, clip_squashed(336, 1.0), clip(large(14)), 1000),
    timm!(
        "vit_large_patch14_clip_quickgelu_336",
        "openai",
        OPENAI,
        clip(336, 1.0),
        clip_quickgelu(large(14)),
        768,
        "timm/vit_large_patch14_clip_336.openai"
    ),
    timm!("test_vit", "r160_in1k", TIMM, half(160, 0.95), timms_test(6), 1000),
    timm!("test_vit2", "r160_in1k", TIMM, half(160, 0.95), timms_second_test(), 1000),
    test!("micro_vit", ORIGINAL, miniature()),
    test!("micro_vit_mean", ORIGINAL, VitConfig { pool: Pool::Mean, class_token: false, fc_norm: true, ..miniature() }),
    test!("micro_deit_distilled", DEIT, distilled(miniature())),
    test!("micro_deit3", DEIT3, deit3(miniature())),
    test!("micro_dinov2", DINOV2, VitConfig { classes: 0, ..dinov2(miniature()) }),
    test!("micro_dinov2_reg4", REGISTERS, VitConfig { classes: 0, ..registers(miniature()) }),
    test!("micro_vit_clip_quickgelu", OPENAI, clip_quickgelu(miniature())),
];

/// Whether a tag of timm's names a fine-tuning, as `openai_ft_in1k`.
fn is_fine_tuned(tag: &str) -> bool {
    tag.contains("_ft_")
}

/// A network of a few thousand weights.
fn miniature() -> VitConfig {
    VitConfig { mlp_ratio: 2.0, classes: 10, ..VitConfig::plain(32, 8, 24, 2, 3) }
}

fn timms_test(depth: usize) -> VitConfig {
    VitConfig { mlp_ratio: 3.0, ..VitConfig::plain(160, 16, 64, depth, 2) }
}

fn timms_second_test() -> VitConfig {
    let pooled = VitConfig { pool: Pool::Mean, class_token: false, fc_norm: true, ..timms_test(8) };
    VitConfig { registers: 1, layer_scale: Some(1e-5), ..pooled }
}

fn tiny(patch_size: usize) -> VitConfig {
    VitConfig::plain(224, patch_size, 192, 12, 3)
}

fn small(patch_size: usize) -> VitConfig {
    VitConfig::plain(224, patch_size, 384, 12, 6)
}

fn medium(patch_size: usize) -> VitConfig {
    VitConfig::plain(224, patch_size, 512, 12, 8)
}

fn base(patch_size: usize) -> VitConfig {
    VitConfig::plain(224, patch_size, 768, 12, 12)
}

fn large(patch_size: usize) -> VitConfig {
    VitConfig::plain(224, patch_size, 1024, 24, 16)
}

fn huge(patch_size: usize) -> VitConfig {
    VitConfig::plain(224, patch_size, 1280, 32, 16)
}

fn distilled(config: VitConfig) -> VitConfig {
    VitConfig { distilled: true, ..config }
}

fn deit3(config: VitConfig) -> VitConfig {
    VitConfig { no_embed_class: true, layer_scale: Some(1e-6), ..config }
}

fn dinov2(config: VitConfig) -> VitConfig {
    VitConfig { layer_scale: Some(1e-5), ..config }
}

fn registers(config: VitConfig) -> VitConfig {
    VitConfig { registers: 4, no_embed_class: true, ..dinov2(config) }
}

fn clip(config: VitConfig) -> VitConfig {
    VitConfig { pre_norm: true, norm_eps: 1e-5, ..config }
}

fn clip_quickgelu(config: VitConfig) -> VitConfig {
    VitConfig { activation: Activation::QuickGelu, ..clip(config) }
}
