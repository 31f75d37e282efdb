//! CLIP. Names are open_clip's: the architecture, then the weights. OpenAI, MetaCLIP and DFN trained with QuickGELU and LAION
//! mostly with GELU, so weights are listed under the architecture that they were trained with; open_clip also offers them
//! under the other one, and warns. `resnet*_clip` are the image towers alone, as timm names them.

use super::{Entry, Preprocessing};
use crate::clip::{ClipConfig, ClipResNetConfig, TextConfig};
use crate::layers::Activation;
use crate::vit::VitConfig;
use crate::{ModelConfig, clip};

/// Licence of the weights, and the paper.
type Origin = (&'static str, &'static str);

const OPENAI: Origin = ("mit", "Radford et al. 2021, arXiv:2103.00020");
const OPEN_CLIP: Origin = ("mit", "Ilharco et al. 2021, doi:10.5281/zenodo.5143773");
const LAION: Origin = ("mit", "Cherti et al. 2022, arXiv:2212.07143");
const DATACOMP: Origin = ("mit", "Gadre et al. 2023, arXiv:2304.14108");
const METACLIP: Origin = ("cc-by-nc-4.0", "Xu et al. 2023, arXiv:2309.16671");
const DFN: Origin = ("apple-ascl", "Fang et al. 2023, arXiv:2309.17425");

/// Architecture, tag, origin, normalisation(input size, crop), repository.
macro_rules! open_clip {
    ($name:literal, $tag:literal, $origin:expr, $norm:ident($size:literal), $hub:literal) => {
        Entry {
            architecture: $name,
            tag: $tag,
            config: || named($name).image,
            text: Some(|| named($name).text),
            preprocessing: Preprocessing::$norm($size, 1.0),
            licence: $origin.0,
            paper: $origin.1,
            hub: Some($hub),
        }
    };
}

/// Architecture of timm and of open_clip, tag, origin.
macro_rules! tower {
    ($name:literal, $whole:literal, $tag:literal, $origin:expr) => {
        Entry {
            architecture: $name,
            tag: $tag,
            config: || named($whole).image,
            text: None,
            preprocessing: Preprocessing::clip(224, 0.9),
            licence: $origin.0,
            paper: $origin.1,
            hub: Some(concat!("timm/", $name, ".", $tag)),
        }
    };
}

/// A tiny network for tests, of which no trained weights exist.
macro_rules! test {
    ($name:literal, $size:literal, $config:expr) => {
        Entry {
            architecture: $name,
            tag: "",
            config: || $config.image,
            text: Some(|| $config.text),
            preprocessing: Preprocessing::clip($size, 1.0),
            licence: "none",
            paper: OPENAI.1,
            hub: None,
        }
    };
}

pub(super) const ENTRIES: &[Entry] = &[
    open_clip!("RN50-quickgelu", "openai", OPENAI, clip(224), "timm/resnet50_clip.openai"),
    open_clip!("RN50-quickgelu", "yfcc15m", OPEN_CLIP, clip(224), "timm/resnet50_clip.yfcc15m"),
    open_clip!("RN50-quickgelu", "cc12m", OPEN_CLIP, clip(224), "timm/resnet50_clip.cc12m"),
    open_clip!("RN101-quickgelu", "openai", OPENAI, clip(224), "timm/resnet101_clip.openai"),
    open_clip!("RN101-quickgelu", "yfcc15m", OPEN_CLIP, clip(224), "timm/resnet101_clip.yfcc15m"),
    open_clip!("ViT-B-32-quickgelu", "openai", OPENAI, clip(224), "timm/vit_base_patch32_clip_224.openai"),
    open_clip!("ViT-B-32-quickgelu", "laion400m_e32", LAION, clip(224), "timm/vit_base_patch32_clip_224.laion400m_e32"),
    open_clip!(
        "ViT-B-32-quickgelu",
        "metaclip_400m",
        METACLIP,
        clip(224),
        "timm/vit_base_patch32_clip_224.metaclip_400m"
    ),
    open_clip!(
        "ViT-B-32-quickgelu",
        "metaclip_fullcc",
        METACLIP,
        clip(224),
        "timm/vit_base_patch32_clip_224.metaclip_2pt5b"
    ),
    open_clip!("ViT-B-32", "laion2b_s34b_b79k", LAION, clip(224), "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    open_clip!("ViT-B-32", "datacomp_xl_s13b_b90k", DATACOMP, clip(224), "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"),
    open_clip!("ViT-B-16-quickgelu", "openai", OPENAI, clip(224), "timm/vit_base_patch16_clip_224.openai"),
    open_clip!(
        "ViT-B-16-quickgelu",
        "metaclip_400m",
        METACLIP,
        clip(224),
        "timm/vit_base_patch16_clip_224.metaclip_400m"
    ),
    open_clip!(
        "ViT-B-16-quickgelu",
        "metaclip_fullcc",
        METACLIP,
        clip(224),
        "timm/vit_base_patch16_clip_224.metaclip_2pt5b"
    ),
    open_clip!("ViT-B-16-quickgelu", "dfn2b", DFN, clip(224), "apple/DFN2B-CLIP-ViT-B-16"),
    open_clip!("ViT-B-16", "laion400m_e32", LAION, clip(224), "timm/vit_base_patch16_clip_224.laion400m_e32"),
    open_clip!("ViT-B-16", "laion2b_s34b_b88k", LAION, clip(224), "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    open_clip!("ViT-B-16", "datacomp_xl_s13b_b90k", DATACOMP, clip(224), "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"),
    open_clip!("ViT-L-14-quickgelu", "openai", OPENAI, clip(224), "timm/vit_large_patch14_clip_224.openai"),
    open_clip!(
        "ViT-L-14-quickgelu",
        "metaclip_400m",
        METACLIP,
        clip(224),
        "timm/vit_large_patch14_clip_224.metaclip_400m"
    ),
    open_clip!(
        "ViT-L-14-quickgelu",
        "metaclip_fullcc",
        METACLIP,
        clip(224),
        "timm/vit_large_patch14_clip_224.metaclip_2pt5b"
    ),
    open_clip!("ViT-L-14-quickgelu", "dfn2b", DFN, clip(224), "apple/DFN2B-CLIP-ViT-L-14"),
    open_clip!("ViT-L-14", "laion400m_e32", LAION, clip(224), "timm/vit_large_patch14_clip_224.laion400m_e32"),
    open_clip!("ViT-L-14", "laion2b_s32b_b82k", LAION, half(224), "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    open_clip!("ViT-L-14", "datacomp_xl_s13b_b90k", DATACOMP, clip(224), "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
    open_clip!("ViT-L-14-336-quickgelu", "openai", OPENAI, clip(336), "timm/vit_large_patch14_clip_336.openai"),
    tower!("resnet50_clip", "RN50", "openai", OPENAI),
    tower!("resnet50_clip", "RN50", "yfcc15m", OPEN_CLIP),
    tower!("resnet50_clip", "RN50", "cc12m", OPEN_CLIP),
    tower!("resnet101_clip", "RN101", "openai", OPENAI),
    tower!("resnet101_clip", "RN101", "yfcc15m", OPEN_CLIP),
    test!("micro_clip_vit", 32, tiny(clip::vit_tower(VitConfig::plain(32, 8, 64, 2, 2), Activation::QuickGelu, 32))),
    test!("micro_clip_rn", 64, tiny(ModelConfig::ClipResNet(TINY_RESNET))),
];

fn named(name: &str) -> ClipConfig {
    ClipConfig::named(name).expect("the registry knows its own names")
}

const TINY_RESNET: ClipResNetConfig =
    ClipResNetConfig { image_size: 64, width: 16, layers: [1; 4], heads: 16, embed_dim: 32, classes: 0, texts: 0 };

fn tiny(image: ModelConfig) -> ClipConfig {
    let (context_length, vocabulary, activation) = (77, 49_408, Activation::QuickGelu);
    let text = TextConfig { context_length, vocabulary, width: 32, depth: 2, heads: 2, embed_dim: 32, activation };
    ClipConfig { image, text }
}
