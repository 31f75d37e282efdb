//! Swin Transformers of both versions, in timm's order: the first tag of an architecture is the one that its name alone
//! means. `12to16` stands for windows of 16 tokens' side after a training with windows of 12.

use super::{Entry, Preprocessing};
use crate::ModelConfig;
use crate::swin::Version::{V1, V2};
use crate::swin::{SwinConfig, Version};

const SWIN: &str = "Liu et al. 2021, arXiv:2103.14030";
const SWIN_V2: &str = "Liu et al. 2022, arXiv:2111.09883";
const S3: &str = "Chen et al. 2021, arXiv:2111.14725";

/// Microsoft's weights as timm publishes them.
macro_rules! public {
    ($paper:ident, $size:literal, $architecture:literal, $tag:literal, $config:expr) => {
        Entry {
            architecture: $architecture,
            tag: $tag,
            config: || ModelConfig::Swin(SwinConfig { image_size: $size, ..$config }),
            text: None,
            preprocessing: Preprocessing::imagenet($size, if $size == 384 { 1.0 } else { 0.9 }),
            licence: "mit",
            paper: $paper,
            hub: Some(concat!("timm/", $architecture, ".", $tag)),
        }
    };
}

pub(super) const ENTRIES: &[Entry] = &[
    public!(SWIN, 224, "swin_tiny_patch4_window7_224", "ms_in1k", tiny(V1, 7)),
    public!(SWIN, 224, "swin_tiny_patch4_window7_224", "ms_in22k_ft_in1k", tiny(V1, 7)),
    public!(SWIN, 224, "swin_tiny_patch4_window7_224", "ms_in22k", in22k(tiny(V1, 7))),
    public!(SWIN, 224, "swin_small_patch4_window7_224", "ms_in22k_ft_in1k", small(V1, 7)),
    public!(SWIN, 224, "swin_small_patch4_window7_224", "ms_in1k", small(V1, 7)),
    public!(SWIN, 224, "swin_small_patch4_window7_224", "ms_in22k", in22k(small(V1, 7))),
    public!(SWIN, 224, "swin_base_patch4_window7_224", "ms_in22k_ft_in1k", base(V1, 7)),
    public!(SWIN, 224, "swin_base_patch4_window7_224", "ms_in1k", base(V1, 7)),
    public!(SWIN, 224, "swin_base_patch4_window7_224", "ms_in22k", in22k(base(V1, 7))),
    public!(SWIN, 384, "swin_base_patch4_window12_384", "ms_in22k_ft_in1k", base(V1, 12)),
    public!(SWIN, 384, "swin_base_patch4_window12_384", "ms_in1k", base(V1, 12)),
    public!(SWIN, 384, "swin_base_patch4_window12_384", "ms_in22k", in22k(base(V1, 12))),
    public!(SWIN, 224, "swin_large_patch4_window7_224", "ms_in22k_ft_in1k", large(V1, 7)),
    public!(SWIN, 224, "swin_large_patch4_window7_224", "ms_in22k", in22k(large(V1, 7))),
    public!(SWIN, 384, "swin_large_patch4_window12_384", "ms_in22k_ft_in1k", large(V1, 12)),
    public!(SWIN, 384, "swin_large_patch4_window12_384", "ms_in22k", in22k(large(V1, 12))),
    public!(S3, 224, "swin_s3_tiny_224", "ms_in1k", searched(6, [7, 7, 14, 7])),
    public!(S3, 224, "swin_s3_small_224", "ms_in1k", searched(18, [14, 14, 14, 7])),
    public!(S3, 224, "swin_s3_base_224", "ms_in1k", searched(30, [7, 7, 14, 7])),
    public!(SWIN_V2, 256, "swinv2_tiny_window8_256", "ms_in1k", tiny(V2, 8)),
    public!(SWIN_V2, 256, "swinv2_tiny_window16_256", "ms_in1k", tiny(V2, 16)),
    public!(SWIN_V2, 256, "swinv2_small_window8_256", "ms_in1k", small(V2, 8)),
    public!(SWIN_V2, 256, "swinv2_small_window16_256", "ms_in1k", small(V2, 16)),
    public!(SWIN_V2, 256, "swinv2_base_window8_256", "ms_in1k", base(V2, 8)),
    public!(SWIN_V2, 256, "swinv2_base_window16_256", "ms_in1k", base(V2, 16)),
    public!(SWIN_V2, 192, "swinv2_base_window12_192", "ms_in22k", in22k(base(V2, 12))),
    public!(SWIN_V2, 256, "swinv2_base_window12to16_192to256", "ms_in22k_ft_in1k", tuned(base(V2, 16))),
    public!(SWIN_V2, 384, "swinv2_base_window12to24_192to384", "ms_in22k_ft_in1k", tuned(base(V2, 24))),
    public!(SWIN_V2, 192, "swinv2_large_window12_192", "ms_in22k", in22k(large(V2, 12))),
    public!(SWIN_V2, 256, "swinv2_large_window12to16_192to256", "ms_in22k_ft_in1k", tuned(large(V2, 16))),
    public!(SWIN_V2, 384, "swinv2_large_window12to24_192to384", "ms_in22k_ft_in1k", tuned(large(V2, 24))),
    test("micro_swin", SWIN, || tiniest(V1)),
    test("micro_swinv2", SWIN_V2, || tiniest(V2)),
];

/// A member of the family that is small enough for tests; nobody has trained it.
const fn test(architecture: &'static str, paper: &'static str, config: fn() -> ModelConfig) -> Entry {
    let preprocessing = Preprocessing::imagenet(32, 1.0);
    Entry { architecture, tag: "", config, text: None, preprocessing, licence: "none", paper, hub: None }
}

fn tiny(version: Version, window: usize) -> SwinConfig {
    SwinConfig::plain(version, window, 96, [2, 2, 6, 2], [3, 6, 12, 24])
}

fn small(version: Version, window: usize) -> SwinConfig {
    SwinConfig::plain(version, window, 96, [2, 2, 18, 2], [3, 6, 12, 24])
}

fn base(version: Version, window: usize) -> SwinConfig {
    SwinConfig::plain(version, window, 128, [2, 2, 18, 2], [4, 8, 16, 32])
}

fn large(version: Version, window: usize) -> SwinConfig {
    SwinConfig::plain(version, window, 192, [2, 2, 18, 2], [6, 12, 24, 48])
}

/// Trained with 21,841 classes and no further.
fn in22k(config: SwinConfig) -> SwinConfig {
    SwinConfig { classes: 21_841, ..config }
}

/// Version 2, trained at 192 pixels with windows of 12, then tuned with those of `config`.
fn tuned(config: SwinConfig) -> SwinConfig {
    SwinConfig { pretrained_windows: vec![12, 12, 12, 6], ..config }
}

/// Of a search for depths and windows ("S3").
fn searched(depth: usize, windows: [usize; 4]) -> SwinConfig {
    let plain = SwinConfig::plain(V1, 7, 96, [2, 2, depth, 2], [3, 6, 12, 24]);
    SwinConfig { windows: windows.to_vec(), ..plain }
}

fn tiniest(version: Version) -> ModelConfig {
    let plain = SwinConfig::plain(version, 4, 8, [1, 2, 1, 1], [1, 2, 4, 8]);
    ModelConfig::Swin(SwinConfig { image_size: 32, patch_size: 2, classes: 10, ..plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters as timm 1.0.31 has them, and GMACs as fvcore 0.1.5 counts them with attention that is not fused.
    const TIMM: &[(&str, usize, u64)] = &[
        ("swin_tiny_patch4_window7_224", 28_288_354, 4_509_194_496),
        ("swin_base_patch4_window12_384", 87_903_584, 47_191_515_136),
        ("swin_large_patch4_window7_224", 196_532_476, 34_531_078_656),
        ("swin_s3_tiny_224", 28_328_674, 4_641_960_192),
        ("swinv2_tiny_window8_256", 28_347_154, 5_962_300_416),
        ("swinv2_base_window16_256", 87_918_816, 22_015_111_168),
    ];

    #[test]
    fn networks_have_timms_parameters_and_fvcores_macs() {
        let device = robustify_device::open(Some("flex")).unwrap();
        for &(name, parameters, macs) in TIMM {
            let config = (super::super::find(name).unwrap().config)();
            let model = crate::Model::blank(&config, &device).unwrap();
            assert_eq!(burn::module::Module::num_params(&model), parameters, "{name}");
            let ModelConfig::Swin(config) = config else { panic!("{name} is no Swin Transformer") };
            assert_eq!(config.macs(), macs, "{name}");
        }
        // 240 pixels leave windows that must be filled up.
        for (name, macs) in
            [("swin_tiny_patch4_window7_224", 6_894_614_400), ("swinv2_tiny_window8_256", 5_573_480_064)]
        {
            let ModelConfig::Swin(config) = (super::super::find(name).unwrap().config)() else { panic!("{name}") };
            assert_eq!(SwinConfig { image_size: 240, ..config }.macs(), macs, "{name} at 240 pixels");
        }
    }
}
