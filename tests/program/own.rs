//! One's own images and model, from their paths alone.

use std::fs;
use std::path::Path;

use robustify_zoo::{Model, registry, weights};

use super::{Fixture, bytes, text};

/// Weights of a small model of timm's for three classes, drawn and not trained, and a folder of pictures of two of these.
fn photos_and_weights(folder: &Path) {
    let device = robustify_device::open(Some("flex")).unwrap();
    let config = (registry::find("test_vit").unwrap().config)().with_image_size(32).with_classes(3);
    let model = Model::new(&config, 1, &device).unwrap();
    fs::create_dir(folder.join("timm")).unwrap();
    fs::write(folder.join("timm/model.safetensors"), weights::to_bytes(&weights::state(&model))).unwrap();
    let names = r#"{"architecture": "test_vit", "num_classes": 3, "label_names": ["owl", "cat", "dog"], "pretrained_cfg": {"tag": "mine"}}"#;
    fs::write(folder.join("timm/config.json"), names).unwrap();
    for (split, count) in [("train", 12), ("val", 4)] {
        for (class, shade) in [("cat", 40u8), ("dog", 200)] {
            let class = folder.join("photos").join(split).join(class);
            fs::create_dir_all(&class).unwrap();
            for picture in 0..count {
                let (width, height) = (48 + u32::from(picture), 40);
                let pixels =
                    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([shade, (x * y) as u8, picture]));
                pixels.save(class.join(format!("{picture}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn images_and_a_model_are_enough() {
    let fixture = Fixture::new();
    photos_and_weights(fixture.0.path());
    // One command, and a table; settings and options with usual names go over what was chosen.
    let short = ["benchmark.images=2", "benchmark.severities=[3]", "teacher.training.epochs=1", "methods=[\"apt\"]"];
    let train = [
        "train", "--data", "photos", "--model", "timm", "--epochs", "1", "--lr", "1e-3", "--seed", "3", "--out", "run",
    ];
    let output = fixture.run(&[&train[..], &short].concat());
    let said = text(&output.stderr);
    assert!(output.status.success() && text(&output.stdout).contains("APT"), "{said}");
    // It says what it took the files to be, what it will do, and about how long that takes.
    assert!(
        said.contains("2 of the weights' 3 classes are the data's by name") && said.contains("config.json"),
        "{said}"
    );
    assert!(said.contains("plan: about ") && said.contains("on 22 images") && said.contains("`val`"), "{said}");
    let config = text(&bytes(&fixture.path("run/config.toml")));
    for line in
        ["epochs = 1\n", "learning_rate = 0.001\n", "seed = 3\n", "resize(33,bicubic)|center_crop(32)|normalize(half)"]
    {
        assert!(config.contains(line), "no {line} in\n{config}");
    }

    // The same configuration as a file, which is never written over, and which runs.
    let init = ["init", "photos", "--model", "timm", "--out", "own.toml"];
    assert!(fixture.run(&init).status.success());
    let own = text(&bytes(&fixture.path("own.toml")));
    assert!(
        own.contains("# test_vit.r160_in1k, by timm/config.json.") && own.contains("22 images to train on"),
        "{own}"
    );
    assert!(fixture.error(&init).contains("left alone"));
    let again = ["train", "--config", "own.toml", "--epochs", "1", "--lr", "1e-3", "--seed", "3", "--run-dir", "again"];
    let output = fixture.run(&[&again[..], &short].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(bytes(&fixture.path("run/results.csv")), bytes(&fixture.path("again/results.csv")));
}

#[test]
fn what_is_missing_or_does_not_fit_is_said_before_anything_is_computed() {
    let fixture = Fixture::new();
    photos_and_weights(fixture.0.path());
    let with = |options: &[&str]| fixture.error(&[&["train"][..], options].concat());
    let said = with(&["--data", "photos"]);
    assert!(said.contains("needs --model"), "{said}");
    let said = with(&["--model", "timm"]);
    assert!(said.contains("needs --data"), "{said}");
    let said = with(&["--data", "photos", "--model", "resnet51"]);
    assert!(said.contains("neither a file or folder") && said.contains("resnet50"), "{said}");
    let said = with(&["--data", "photos", "--model", "absent.pth"]);
    assert!(said.contains("no such file"), "{said}");
    let said = with(&["--data", "photos", "--model", "resnet18", "--weights", "timm/model.safetensors"]);
    assert!(said.contains("does not fit the model") && said.contains("a ViT with"), "{said}");
    let said = with(&["--data", "photos", "--model", "timm", "--num-classes", "3"]);
    assert!(said.contains("2 class folders") && said.contains("cat, dog"), "{said}");
    let said = with(&["--data", "photos", "--model", "timm", "--batch-size", "7"]);
    assert!(said.contains("even number"), "{said}");
    // A network that no list has is asked for, with what the file looks like.
    let said = with(&["--data", "photos", "--model", "vit.safetensors"]);
    assert!(said.contains("a ViT with 2 blocks, 16 channels") && said.contains("original.network="), "{said}");
    assert!(!fixture.path("runs").exists());
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_text_is_named_and_never_waited_for() {
    let fixture = Fixture::new();
    photos_and_weights(fixture.0.path());
    let pipe = |name: &str| {
        let path = fixture.path(name);
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    fs::remove_file(fixture.path("timm/config.json")).unwrap();
    ["timm/config.json", "pipe.toml"].into_iter().for_each(pipe);
    for arguments in [
        ["train", "--data", "photos", "--model", "timm"].as_slice(),
        &["train", "--data", "photos", "--model", "timm/model.safetensors"],
        &["train", "--config", "pipe.toml"],
        &["models", "tokenize", "pipe.toml"],
    ] {
        let said = fixture.error(arguments);
        assert!(said.contains("is a pipe (FIFO), which is never read"), "{arguments:?}: {said}");
    }
}
