//! Models by name: their sizes equal the numbers of timm and fvcore, and the tiny ones run.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use robustify_zoo::resnet::{BlockKind, ResNetConfig};
use robustify_zoo::vit::VitConfig;
use robustify_zoo::weights;
use robustify_zoo::{Model, ModelConfig, Pass, registry};
use serde::Deserialize;

use crate::golden::{cross_entropy, gradients_of};

/// Learned numbers of timm 1.0.31's models, `sum(p.numel() for p in model.parameters())`.
const PARAMETERS: &[(&str, usize)] = &[
    ("resnet18.a1_in1k", 11_689_512),
    ("resnet50.a1_in1k", 25_557_032),
    ("resnet101.a1h_in1k", 44_549_160),
    ("resnet152.a1h_in1k", 60_192_808),
    ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 5_717_416),
    ("vit_small_patch16_224.augreg_in21k_ft_in1k", 22_050_664),
    ("vit_base_patch16_224.augreg2_in21k_ft_in1k", 86_567_656),
    ("vit_large_patch16_224.augreg_in21k_ft_in1k", 304_326_632),
    ("deit_tiny_patch16_224.fb_in1k", 5_717_416),
    ("deit_small_patch16_224.fb_in1k", 22_050_664),
    ("deit_base_patch16_224.fb_in1k", 86_567_656),
    ("deit_base_distilled_patch16_224.fb_in1k", 87_338_192),
    ("deit3_base_patch16_224.fb_in1k", 86_585_320),
    ("vit_base_patch16_224.mae", 85_798_656),
    ("vit_large_patch16_224.mae", 303_301_632),
    ("vit_base_patch16_224.dino", 85_798_656),
    ("vit_small_patch16_224.dino", 21_665_664),
    ("vit_small_patch14_dinov2.lvd142m", 22_056_192),
    ("vit_base_patch14_dinov2.lvd142m", 86_579_712),
    ("vit_base_patch14_reg4_dinov2.lvd142m", 86_582_016),
    ("vit_base_patch32_clip_224.openai", 87_849_728),
    ("vit_base_patch16_clip_224.openai", 86_193_152),
    ("vit_large_patch14_clip_336.openai", 304_294_656),
    ("resnet50_clip.openai", 38_316_896),
];

fn flex() -> Device {
    robustify_device::open(Some("flex")).unwrap()
}

#[test]
fn models_have_as_many_parameters_as_timms() {
    for &(name, expected) in PARAMETERS {
        let config = (registry::find(name).unwrap().config)();
        assert_eq!(weights::parameters(&Model::blank(&config, &flex()).unwrap()), expected, "{name}");
    }
}

/// fvcore 0.1.5's `FlopCountAnalysis(model, image).total()` of timm's models in billions, attention written out.
#[test]
fn multiply_accumulates_are_fvcores() {
    let named = |name: &str| (registry::find(name).unwrap().config)();
    let small = VitConfig { classes: 10, ..VitConfig::plain(32, 4, 192, 6, 3) };
    let cifar = ResNetConfig {
        image_size: 32,
        stem_kernel: 3,
        stem_stride: 1,
        max_pool: false,
        classes: 10,
        ..ResNetConfig::imagenet(BlockKind::Basic, [2, 2, 2, 2])
    };
    let cases = [
        ("vit d192 l6 p4", ModelConfig::Vit(small), 0.1837),
        ("resnet18 cifar", ModelConfig::ResNet(cifar), 0.5567),
        ("resnet18", named("resnet18"), 1.8191),
        ("resnet34", named("resnet34"), 3.6713),
        ("resnet50", named("resnet50"), 4.1115),
        ("resnet152", named("resnet152"), 11.5588),
        ("vit_tiny_patch16_224", named("vit_tiny_patch16_224"), 1.2584),
        ("vit_small_patch16_224", named("vit_small_patch16_224"), 4.6083),
        ("vit_base_patch16_224", named("vit_base_patch16_224"), 17.5827),
        ("deit_tiny_distilled_patch16_224", named("deit_tiny_distilled_patch16_224"), 1.2658),
        ("vit_small_patch14_reg4_dinov2", named("vit_small_patch14_reg4_dinov2"), 46.9488),
        ("vit_base_patch32_clip_224.openai", named("vit_base_patch32_clip_224.openai"), 4.4138),
    ];
    for (name, config, expected) in cases {
        let macs = config.macs() as f64 / 1e9;
        assert!((macs - expected).abs() < 6e-5, "{name}: {macs} billion multiply-accumulates, fvcore has {expected}");
    }
}

#[test]
fn every_entry_describes_a_model_for_its_images() {
    let mut names = BTreeSet::new();
    for entry in registry::entries() {
        let name = entry.name();
        assert!(names.insert(name.clone()), "{name} is there twice");
        let config = (entry.config)();
        assert!(config.faults().is_empty(), "{name}: {:?}", config.faults());
        let model = Model::blank(&config, &flex()).unwrap();
        assert_eq!(model.image_size(), entry.preprocessing.image_size, "{name}");
        assert!(entry.preprocessing.crop_fraction > 0.8 && !entry.paper.is_empty(), "{name}");
        assert!(entry.tag.is_empty() || entry.hub.is_some_and(|hub| hub.contains('/')), "{name}: {:?}", entry.hub);
    }
}

/// What timm says of a pre-trained model (`goldens/keys/make.py`).
#[derive(Deserialize)]
struct Pretrained {
    input_size: [usize; 3],
    mean: [f32; 3],
    std: [f32; 3],
    interpolation: String,
    crop_pct: f64,
    crop_mode: String,
    num_classes: usize,
    license: Option<String>,
    hf_hub_id: String,
    default: bool,
}

#[test]
fn images_classes_licences_and_default_tags_are_timms() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/keys/pretrained.json")).unwrap();
    let timm: BTreeMap<String, Pretrained> = serde_json::from_str(&file).unwrap();
    let mut compared = 0;
    for entry in registry::entries() {
        // What has two towers is open_clip's, and what has no repository is our own.
        let (None, Some(hub)) = (entry.text, entry.hub) else { continue };
        let name = entry.name();
        let Some(theirs) = timm.get(&name) else { panic!("timm has no {name}") };
        let ours = entry.preprocessing;
        let crop_mode = serde_json::to_value(ours.crop_mode).unwrap();
        assert_eq!([3, ours.image_size, ours.image_size], theirs.input_size, "{name}");
        assert_eq!((ours.mean, ours.std), (theirs.mean, theirs.std), "{name}");
        assert_eq!((ours.interpolation, ours.crop_fraction), (&*theirs.interpolation, theirs.crop_pct), "{name}");
        assert_eq!(crop_mode, *theirs.crop_mode, "{name}");
        assert_eq!((Some(entry.licence), hub), (theirs.license.as_deref(), &*theirs.hf_hub_id), "{name}");
        // CLIP's residual networks give the projection without a classifier.
        if !matches!((entry.config)(), ModelConfig::ClipResNet(_)) {
            assert_eq!((entry.config)().classes(), theirs.num_classes, "{name}");
        }
        let alone = registry::find(entry.architecture).unwrap().tag == entry.tag;
        assert_eq!(alone, theirs.default, "{name}: is it what {} alone means?", entry.architecture);
        compared += 1;
    }
    assert!(compared >= 200, "only {compared} models");
}

#[test]
fn tiny_models_learn_and_survive_a_round_trip() {
    let device = flex();
    let is_tiny = |name: &str| name.starts_with("micro_") || name.starts_with("test_");
    let tiny = registry::entries().filter(|entry| is_tiny(entry.architecture));
    let mut count = 0;
    for entry in tiny {
        count += 1;
        let name = entry.name();
        let config = (entry.config)();
        let model = Model::new(&config, 1, &device).unwrap();
        let size = model.image_size();
        let images = Tensor::<4>::ones([2, 3, size, size], &device);
        let logits = model.forward(images.clone(), &Pass::eval());
        let width = if config.classes() > 0 { config.classes() } else { config.feature_width() };
        assert_eq!(logits.dims(), [2, width], "{name}");

        let trained = model.clone().train();
        let loss = cross_entropy(trained.forward(images.clone(), &Pass::eval()), &[1, 2]);
        let gradients = gradients_of(&trained, &loss.backward());
        let learned = weights::state(&model).into_keys().filter(|key| !key.contains("running_"));
        let without: Vec<String> = learned.filter(|key| !gradients.contains_key(key)).collect();
        assert!(without.is_empty(), "{name}: no gradient of {without:?}");

        let bytes = weights::to_bytes(&weights::state(&model));
        let loaded = weights::with_state(Model::blank(&config, &device).unwrap(), weights::from_bytes(&bytes).unwrap());
        let again = loaded.unwrap().forward(images, &Pass::eval());
        assert_eq!(again.into_data(), logits.into_data(), "{name}");
    }
    assert!(count >= 15, "{count} tiny models");
}
