//! `data list` and `data check`, on miniatures of the published data sets.

use std::path::Path;
use std::process::{Command, Output};

use crate::{Fixture, bytes, miniatures, text};

fn run(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_robustify"));
    command.arg("data").args(arguments).env("ROBUSTIFY_DATA", root).output().unwrap()
}

#[test]
fn data_sets_are_listed_with_where_they_lie_or_where_to_get_them() {
    let root = tempfile::tempdir().unwrap();
    miniatures::imagenet_v2(root.path(), "ImageNetV2-matched-frequency");
    miniatures::write(&root.path().join("imagenet/val/ILSVRC2012_val_00000001.JPEG"), "x");
    let said = text(&run(root.path(), &["list"]).stdout);
    let line = |name: &str| said.lines().find(|line| line.split(' ').next() == Some(name)).unwrap().to_owned();
    assert!(
        line("imagenet-v2").contains("found  ") && line("imagenet-v2").ends_with("ImageNetV2-matched-frequency"),
        "{said}"
    );
    assert!(line("imagenet-a").contains("https://github.com/hendrycks/natural-adv-examples"), "{said}");
    assert!(
        line("imagenet").contains("NOT READ") && line("imagenet").contains("1 pictures and no folders of classes"),
        "{said}"
    );
    assert!(said.ends_with("of the others, where to get them.\n") && said.contains("\n1 of 31 found in "), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&run(root.path(), &["list", "--json", "v2"]).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!((&json[0]["found"], &json[0]["images"]), (&true.into(), &10_000.into()));
    let nowhere = run(&root.path().join("gone"), &["list"]);
    assert!(text(&nowhere.stderr).contains("there is no such folder"));
}

#[test]
fn a_data_set_is_counted_against_what_was_published() {
    let root = tempfile::tempdir().unwrap();
    miniatures::fashion_mnist(root.path(), 10_000);
    let whole = run(root.path(), &["check", "fashion-mnist", "--sample", "20"]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let said = text(&whole.stdout);
    assert!(said.contains("10000 images, as published") && said.contains("20 images opened"), "{said}");

    miniatures::imagenet_c(root.path(), true, &miniatures::CORRUPTIONS[..1]);
    std::fs::write(
        root.path().join(format!("imagenet-c/noise/gaussian_noise/2/{}/picture_0.JPEG", miniatures::WNIDS[0])),
        "x",
    )
    .unwrap();
    let part = run(root.path(), &["check", "imagenet-c", "--json"]);
    assert_eq!(part.status.code(), Some(1));
    assert!(text(&part.stderr).contains("error: not as published: imagenet-c"), "{}", text(&part.stderr));
    let json: serde_json::Value = serde_json::from_slice(&part.stdout).unwrap();
    let faults: Vec<&str> = json[0]["faults"].as_array().unwrap().iter().map(|fault| fault.as_str().unwrap()).collect();
    assert_eq!(
        faults[..3],
        ["5 cells, 75 were published", "3 classes, 1000 were published", "6 images, 50000 were published"]
    );
    assert!(
        faults.len() == 4 && faults[3].contains("gaussian_noise/2/n01440764/picture_0.JPEG: unusable image"),
        "{faults:?}"
    );

    let unknown = run(root.path(), &["check", "imagenet-z"]);
    assert!(text(&unknown.stderr).contains("no suite is called `imagenet-z`; known: imagenet, imagenet-c"));
}

#[test]
fn a_published_data_set_is_evaluated_by_its_name() {
    let fixture = Fixture::new();
    let root = fixture.path("sets");
    miniatures::cifar_10(&root);
    miniatures::cifar_10_c(&root, &miniatures::CORRUPTIONS[8..10]);
    let network = r#"original.network={architecture="vit",image_size=16,patch_size=4,width=16,depth=2,heads=2,mlp_ratio=2.0,classes=10}"#;
    let arguments =
        ["eval", "vit.safetensors", network, "--suite", "cifar-10-c", "--suite", "cifar-10", "--out", "out", "--quiet"];
    let steps = ["--preprocess", "resize(16)|center_crop(16)|normalize(half)", "benchmark.severities=[1,5]"];
    let all = [&arguments[..], &steps].concat();
    let nowhere = fixture.error(&all);
    assert!(nowhere.contains("--data-root DIR or ROBUSTIFY_DATA"), "{nowhere}");
    let output = fixture.run(&[&all[..], &["--data-root", "sets"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record: serde_json::Value =
        serde_json::from_slice(&bytes(&fixture.path("out").join("evaluation.json"))).unwrap();
    let suite = &record["suites"][0];
    assert_eq!(
        (&suite["origin"], &suite["title"], &suite["classes"][9]),
        (&"on disk".into(), &"CIFAR-10-C".into(), &"truck".into())
    );
    let cells: Vec<&str> =
        suite["cells"].as_array().unwrap().iter().map(|cell| cell["name"].as_str().unwrap()).collect();
    assert_eq!(cells, ["clean", "frost-1", "frost-5", "fog-1", "fog-5"]);
    let notes = suite["notes"].to_string();
    assert!(notes.contains("26 cells are missing") && notes.contains("20 images in every cell"), "{notes}");
    // The clean cell is of the same pictures as the data set that was corrupted.
    let accuracy = |suite: usize| record["suites"][suite]["cells"][0]["results"][0]["metrics"]["accuracy"].clone();
    assert_eq!(accuracy(0), accuracy(1));
    assert!(record["command"].as_str().unwrap().contains("--suite cifar-10-c"));
}
