//! Numbers that would be wrong without a word: classes in another order, changed images, a finished run that is trained over.

use std::fs;

use super::{Fixture, bytes, text, without_costs};

/// Names of the ten classes, forwards or backwards, as a setting.
fn classes(key: &str, backwards: bool) -> String {
    let mut names: Vec<String> = (0..10).map(|class| format!("class {class}")).collect();
    if backwards {
        names.reverse();
    }
    format!("{key}={names:?}")
}

/// The clean accuracy of a model in a run's results.
fn clean(fixture: &Fixture, run: &str, model: &str) -> f64 {
    let results = text(&bytes(&fixture.path(run).join("results.csv")));
    let own = format!("{model},");
    let row = results.lines().find(|row| {
        row.starts_with(&own) && row.contains(",clean,") || {
            let cells: Vec<&str> = row.split(',').collect();
            cells[0] == model && cells[2].is_empty() && cells.contains(&"accuracy")
        }
    });
    let row = row.unwrap_or_else(|| panic!("no clean accuracy of {model} in\n{results}"));
    let cells: Vec<&str> = row.split(',').collect();
    cells[cells.len() - 2].parse().unwrap()
}

#[test]
fn classes_are_matched_by_name_wherever_they_are_named() {
    let fixture = Fixture::new();
    let train = |run: &str, settings: &[String]| {
        let mut arguments = vec!["train", "--config", "main.toml", "--run-dir", run, "methods=[\"original\"]"];
        arguments.extend(settings.iter().map(String::as_str));
        let output = fixture.run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    // Nothing names the classes of the weights: their order is assumed, and that is said.
    let said = train("assumed", &[classes("data.classes", false)]);
    assert!(said.contains("taken in the order of the data's") && said.contains("original.classes"), "{said}");
    let same = train("same", &[classes("data.classes", false), classes("original.classes", false)]);
    assert!(same.contains("in the same order, by original.classes"), "{same}");
    assert_eq!(clean(&fixture, "same", "original"), clean(&fixture, "assumed", "original"));

    // The same weights under names in the reverse order: logits move to where their names are.
    let said = train("reversed", &[classes("data.classes", true), classes("original.classes", true)]);
    assert!(said.contains("in the same order"), "{said}");
    let said = train("permuted", &[classes("data.classes", false), classes("original.classes", true)]);
    assert!(said.contains("10 of the weights' 10 classes are the data's by name"), "{said}");
    // The file of the permuted model knows its classes, so it needs no list, and answers as before.
    let weights = fixture.path("permuted/models/original.safetensors").display().to_string();
    let from_file = format!("original.weights={weights:?}");
    let said = train("file", &[classes("data.classes", false), from_file.clone()]);
    assert!(said.contains("in the same order, by the header of the weights"), "{said}");
    assert_eq!(clean(&fixture, "file", "original"), clean(&fixture, "permuted", "original"));
    let said = train("back", &[classes("data.classes", true), from_file]);
    assert!(said.contains("by name"), "{said}");
    assert_eq!(clean(&fixture, "back", "original"), clean(&fixture, "reversed", "original"));

    // What stands beside the weights names them as well.
    let names: serde_json::Value = (0..10).rev().map(|class| format!("class_{class}")).collect();
    let config = serde_json::json!({"architecture": "vit", "label_names": names}).to_string();
    fs::write(fixture.path("config.json"), config).unwrap();
    let said = train("beside", &[classes("data.classes", false)]);
    assert!(said.contains("by name") && said.contains("config.json"), "{said}");
    assert_eq!(clean(&fixture, "beside", "original"), clean(&fixture, "permuted", "original"));
}

#[test]
fn a_finished_run_is_not_measured_or_trained_over_without_a_word() {
    let fixture = Fixture::new();
    let folder = |split: &str, class: &str| fixture.path("photos").join(split).join(class);
    for (split, count) in [("train", 12), ("test", 6)] {
        for (class, shade) in [("cat", 40u8), ("dog", 200)] {
            fs::create_dir_all(folder(split, class)).unwrap();
            for picture in 0..count {
                let pixels = image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([shade, (x * y) as u8, picture]));
                pixels.save(folder(split, class).join(format!("{picture}.png"))).unwrap();
            }
        }
    }
    let arguments = [
        "train",
        "--config",
        "main.toml",
        "--run-dir",
        "run",
        "methods=[\"original\"]",
        "data={format=\"folder\",path=\"photos\"}",
        "original.network.classes=10",
    ];
    let output = fixture.run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (models, results) = ("run/models/original.safetensors", "run/results.csv");
    let kept = [bytes(&fixture.path(models)), bytes(&fixture.path(results))];
    let unchanged = || assert!(kept == [bytes(&fixture.path(models)), bytes(&fixture.path(results))]);

    // Other settings, or other seeds, would replace it.
    let said = fixture.error(&[&arguments[..], &["tuning.epochs=7", "seed=4"]].concat());
    assert!(
        said.contains("seed, tuning.epochs") && said.contains("--overwrite") && said.contains("--run-dir"),
        "{said}"
    );
    let said = fixture.error(&[&arguments[..], &["--seeds", "2"]].concat());
    assert!(said.contains("--seeds (1 then, 2 now)"), "{said}");
    let said = fixture.error(&["bench-robustness", "--run", "run", "--out", "run"]);
    assert!(said.contains("is the folder of a run"), "{said}");
    let inside = [&arguments[..3], &["--run-dir", "photos/run"], &arguments[5..]].concat();
    assert!(fixture.error(&inside).contains("lies among the images"));
    let said = fixture.error(&["train", "--resume", "run", "tuning.epochs=7"]);
    assert!(said.contains("no others") && said.contains("tuning.epochs=7"), "{said}");
    unchanged();
    // Further methods are welcome, with their settings.
    let further = ["methods=[\"original\",\"linear_probe\",\"finetune\"]", "method.finetune.epochs=1"];
    let more = fixture.run(&[&arguments[..5], &arguments[6..], &further].concat());
    assert!(more.status.success() && text(&more.stdout).contains("full fine-tuning"), "{}", text(&more.stderr));
    let said =
        fixture.error(&[&arguments[..5], &arguments[6..], &further[..1], &["method.finetune.epochs=2"]].concat());
    assert!(said.contains("images: method.finetune.epochs."), "{said}");
    let again = fixture.run(&[&arguments[..], &["--overwrite"]].concat());
    assert!(again.status.success(), "{}", text(&again.stderr));
    unchanged();
    // The same again, with settings that change no number, is no fault.
    let again = fixture.run(&[&arguments[..], &["checkpoint_seconds=7"]].concat());
    let same = without_costs(&text(&again.stdout)) == without_costs(&text(&output.stdout));
    assert!(again.status.success() && same, "{}", text(&again.stderr));

    // Images that were added are said, a renamed class is refused.
    let bench = ["bench-robustness", "--run", "run"];
    fs::copy(folder("test", "cat").join("0.png"), folder("test", "cat").join("new.png")).unwrap();
    let said = text(&fixture.run(&bench).stderr);
    assert!(said.contains("12 test images then, 13 now"), "{said}");
    let said = fixture.error(&arguments);
    assert!(said.contains("12 test images then, 13 now") && said.contains("--overwrite"), "{said}");
    for split in ["train", "test"] {
        fs::rename(folder(split, "dog"), folder(split, "hound")).unwrap();
    }
    let said = fixture.error(&bench);
    assert!(said.contains("hound") && said.contains("cat, dog"), "{said}");
    // Some of the classes alone are measured under the model's own.
    for split in ["train", "test"] {
        fs::rename(folder(split, "hound"), folder(split, "Dog")).unwrap();
    }
    let said = text(&fixture.run(&bench).stderr);
    assert!(said.contains("matched by name"), "{said}");
    unchanged();

    // Replacing is asked for, and leaves no stale benchmark.
    assert!(fixture.path("run/bench/results.csv").exists());
    let replaced = fixture.run(&[&arguments[..], &["--overwrite", "seed=4"]].concat());
    assert!(replaced.status.success(), "{}", text(&replaced.stderr));
    assert!(!fixture.path("run/bench/results.csv").exists());
}

#[test]
fn a_relative_path_of_images_is_found_again_from_another_folder() {
    let fixture = Fixture::new();
    let train = ["train", "--config", "main.toml", "--run-dir", "run", "methods=[\"original\"]", "data.path=data"];
    let output = fixture.run(&train);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stored = text(&bytes(&fixture.path("run/run.json")));
    let folder = fixture.path("data").display().to_string();
    assert!(stored.contains(&folder) && text(&bytes(&fixture.path("run/config.toml"))).contains("path = \"data\""));

    let elsewhere = fixture.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for command in [["bench-robustness", "--run", "../run"], ["train", "--resume", "../run"]] {
        let output = fixture.command(&command).current_dir(&elsewhere).output().unwrap();
        let said = text(&output.stderr);
        let parts = [format!("give data.path={folder}"), "data.path data (".into(), elsewhere.display().to_string()];
        assert!(output.status.code() == Some(1) && parts.iter().all(|part| said.contains(part)), "{command:?}: {said}");
    }
}
