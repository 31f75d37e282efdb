//! Classifiers in ONNX files, as PyTorch's exporters write them.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use robustify_report::evaluation::Evaluation;

use super::{Fixture, text};

/// Photographs of five classes, and three exports in folders of their own with timm's `config.json` beside.
fn exports() -> Fixture {
    let fixture = Fixture::new();
    for class in 0..5_u8 {
        let folder = fixture.path(&format!("photos/class {class}"));
        fs::create_dir_all(&folder).unwrap();
        for number in 0..2_u8 {
            let colour = |x: u32, y: u32| Rgb([x as u8 * 3, y as u8 + 40 * class, 90 * number]);
            RgbImage::from_fn(80, 70, colour).save(folder.join(format!("{number}.png"))).unwrap();
        }
    }
    for (name, files, side, mean) in [
        ("resnet", &["resnet.onnx"][..], 64, 0.45),
        ("vit", &["vit.onnx", "vit.onnx.data"], 32, 0.5),
        ("efficientnet", &["efficientnet.onnx"], 48, 0.45),
    ] {
        let folder = fixture.path(name);
        fs::create_dir_all(&folder).unwrap();
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../predict/goldens/onnx");
        for file in files {
            fs::copy(goldens.join(file), folder.join(file)).unwrap();
        }
        let config = format!(
            r#"{{"architecture": "own", "num_classes": 5, "pretrained_cfg": {{"input_size": [3, {side}, {side}], "crop_pct": 0.9,
                "interpolation": "bicubic", "mean": [{mean}, {mean}, {mean}], "std": [0.25, 0.25, 0.25]}}}}"#
        );
        fs::write(folder.join("config.json"), config).unwrap();
    }
    fixture
}

#[test]
fn three_exports_are_measured_by_one_command_and_what_nothing_says_is_asked_for() {
    let fixture = exports();
    let models = ["resnet/resnet.onnx", "vit/vit.onnx", "efficientnet/efficientnet.onnx"];
    let usual = ["--data", "photos", "--out", "out", "benchmark.corruptions=[fog]", "benchmark.severities=[1]"];
    let done = fixture.run(&[&["eval"], &models[..], &usual].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let evaluation = Evaluation::read(&fixture.path("out/evaluation.json")).unwrap();
    let vit = &evaluation.models[1];
    let normalize = "normalize(0.5,0.5,0.5;0.25,0.25,0.25)";
    assert_eq!((vit.name.as_str(), vit.kind.as_str()), ("vit", "onnx"));
    assert_eq!(vit.preprocess, format!("resize(35,bicubic)|center_crop(32)|{normalize}"));
    assert!(evaluation.models.iter().all(|model| model.macs.is_some_and(|macs| macs > 10_000)));
    assert_eq!(evaluation.suites[0].cells.iter().map(|cell| cell.results.len()).collect::<Vec<_>>(), [3, 3]);

    fs::remove_file(fixture.path("vit/config.json")).unwrap();
    let said = fixture.error(&[&["eval", "vit/vit.onnx"], &usual[..]].concat());
    assert!(said.contains("--preprocess 'resize(37)|center_crop(32)|normalize(imagenet)'"), "{said}");
    let said = fixture.error(&[&["eval", "vit.safetensors", "--output", "logits"], &usual[..]].concat());
    assert!(said.contains("--output is for ONNX files"), "{said}");
}
