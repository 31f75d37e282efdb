//! `diagnose`: models side by side, what is kept of a diagnosis, and what is left out of it.

use std::fs;
use std::path::Path;

use robustify_predict::{Attached, Made, RobustModel};
use robustify_zoo::{Model, ModelConfig, registry, weights};

use super::{Fixture, bytes, text};

/// Pictures of two classes, and models for three that nobody trained: two folders of timm's, and a robust model's file.
fn photos_and_models(folder: &Path) {
    let device = robustify_device::open(Some("flex")).unwrap();
    for (name, seed) in [("before", 1), ("after", 2)] {
        let config = (registry::find("test_vit").unwrap().config)().with_image_size(32).with_classes(3);
        let model = Model::new(&config, seed, &device).unwrap();
        let place = folder.join(name);
        fs::create_dir(&place).unwrap();
        fs::write(place.join("model.safetensors"), weights::to_bytes(&weights::state(&model))).unwrap();
        let about = r#"{"architecture": "test_vit", "num_classes": 3, "label_names": ["owl", "cat", "dog"], "pretrained_cfg": {"tag": "mine"}}"#;
        fs::write(place.join("config.json"), about).unwrap();
    }
    let network: ModelConfig = serde_json::from_str(
        r#"{"architecture": "resnet", "image_size": 16, "stem_kernel": 3, "stem_stride": 2, "width": 4, "layers": [1, 1], "block": "basic", "classes": 3}"#,
    )
    .unwrap();
    let robust = RobustModel {
        method: "resnet".into(),
        model: Model::new(&network, 1, &device).unwrap(),
        network,
        preprocess: "resize(16,16)|normalize(half)".parse().unwrap(),
        seen: "normalize(half)".parse().unwrap(),
        classes: ["owl", "cat", "dog"].map(str::to_owned).into(),
        cut: None,
        made: Made::Classifier,
        attached: Attached::default(),
        trained_on: None,
        label_set: None,
    };
    robust.write(&folder.join("resnet.safetensors")).unwrap();
    for (data, classes) in [("photos", ["cat", "dog"]), ("others", ["cat", "mouse"])] {
        for (class, shade) in classes.into_iter().zip([40_u8, 200]) {
            let place = folder.join(data).join(class);
            fs::create_dir_all(&place).unwrap();
            for picture in 0..4_u8 {
                let pixels = image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([shade, (x * y) as u8, 50 * picture]));
                pixels.save(place.join(format!("{picture}.png"))).unwrap();
            }
        }
    }
}

#[test]
fn models_stand_side_by_side_and_what_was_found_is_not_looked_for_again() {
    let fixture = Fixture::bare();
    photos_and_models(fixture.path("").as_path());
    let models = ["diagnose", "before", "after", "--data", "photos", "--out", "out"];
    let small = ["--names", "before,after", "--grid", "3", "--curvature", "1", "--quiet"];
    let output = fixture.run(&[&models[..], &small].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("head similarity") && table.contains("before") && table.contains("report.html"), "{table}");
    let page = text(&bytes(&fixture.path("out/report.html")));
    assert!(page.contains("Diagnosis of before and after") && page.contains("data:image/png;base64,"));
    for file in ["diagnosis.json", "tables/heads.csv", "figures/attention-distance.svg", "figures/landscape-lines.svg"]
    {
        assert!(fixture.path("out").join(file).exists(), "no {file}");
    }

    // On another number of threads and without a cache: the same bytes.
    let other = ["diagnose", "before", "after", "--data", "photos", "--out", "other", "--threads", "1"];
    assert!(fixture.run(&[&other[..], &small].concat()).status.success());
    let record = |folder: &str| text(&bytes(&fixture.path(folder).join("diagnosis.json")));
    let plain = |text: String| text.replace("--out other --threads 1", "--out out");
    assert_eq!(plain(record("other")), record("out"));

    // A point that is kept is believed: a wider grid asks for those alone that are not there.
    let kept = fs::read_dir(fixture.path("out/kept")).unwrap().map(|entry| entry.unwrap().path());
    let points: Vec<_> = kept.filter(|path| path.extension().is_some_and(|extension| extension == "csv")).collect();
    assert_eq!(points.len(), 2);
    for path in &points {
        let lines = text(&bytes(path));
        let marked: Vec<&str> =
            lines.lines().map(|line| if line.starts_with("0,0,") { "0,0,7.25,8" } else { line }).collect();
        fs::write(path, marked.join("\n") + "\n0.5,0,1.").unwrap();
    }
    let wider = ["--names", "before,after", "--grid", "5", "--curvature", "0", "--quiet"];
    let output = fixture.run(&[&models[..], &wider].concat());
    assert!(output.status.success() && text(&output.stdout).contains("7.250"), "{}", text(&output.stdout));
    assert!(points.iter().all(|path| text(&bytes(path)).lines().count() == 5));
}

#[test]
fn what_a_model_or_the_data_does_not_have_is_left_out_and_said() {
    let fixture = Fixture::bare();
    photos_and_models(fixture.path("").as_path());
    let run = |options: &[&str]| {
        fixture.run(&[&["diagnose", "--out", "out", "--curvature", "0", "--quiet"][..], options].concat())
    };
    let output = run(&["resnet.safetensors", "--data", "photos", "--grid", "3", "--landscape-images", "2"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("no layers of self-attention"), "{said}");
    let output = run(&["before", "--data", "others", "--grid", "3"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("not among its 3 by name") && said.contains("mouse"), "{said}");
    let error = |options: &[&str]| {
        let output = run(options);
        assert_eq!(output.status.code(), Some(1), "{options:?}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    let said = error(&["resnet.safetensors", "--data", "others"]);
    assert!(said.contains("there is nothing to be found") && said.contains("mouse"), "{said}");
    let said = error(&["before", "--data", "photos", "--images", "9"]);
    assert!(said.contains("9 images are asked for, for attention, and photos has 8"), "{said}");
    let said = error(&["before", "--data", "absent"]);
    assert!(said.contains("absent"), "{said}");
    let said = error(&["before", "--data", "photos", "--landscape", "off", "--images", "0"]);
    assert!(said.contains("neither attention nor a landscape"), "{said}");
    let said = error(&["before", "after", "--data", "photos", "--names", "one"]);
    assert!(said.contains("--names has 1 names"), "{said}");
    let said = error(&["before", "--data", "photos", "--grid", "4"]);
    assert!(said.contains("--grid 4") && said.contains("odd"), "{said}");
}
