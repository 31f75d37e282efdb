//! Modes of Robustify: the original in the clean head's place, and views that are made anew instead of cached.

use std::fs;

use crate::{Fixture, bytes, text};

/// Accuracies of a model by one route, cell by cell.
fn accuracies(results: &str, model: &str, route: &str) -> Vec<String> {
    let rows = results.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let own = rows.filter(|row| row[0] == model && row[4] == route && row[5] == "accuracy");
    own.map(|row| format!("{} {} {}", row[2], row[3], row[6])).collect()
}

#[test]
fn the_original_answers_for_the_clean_head_where_it_is_preserved() {
    let fixture = Fixture::new();
    let train = |folder: &str, preserve: bool| {
        let preserve = format!("method.robustify.preserve_original={preserve}");
        let run =
            ["train", "--config", "main.toml", "--run-dir", folder, "--cache-dir", "stages", "--quiet", &preserve];
        // A rate at which the heads forget.
        let settings = ["methods=[\"robustify\"]", "tuning.optimizer.learning_rate=0.3", "select.rule.rule=clean"];
        let output = fixture.run(&[&run[..], &settings].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&bytes(&fixture.path(folder).join("results.csv")))
    };
    let results = train("preserving", true);
    let original = accuracies(&results, "original", "");
    assert!(original.len() > 1, "{results}");
    for route in ["selected", "clean"] {
        assert_eq!(accuracies(&results, "robustify", route), original, "{route} in\n{results}");
    }
    let tuned = train("tuned", false);
    assert_ne!(accuracies(&tuned, "robustify", "clean"), original, "the tuned head is the original too");
}

#[test]
fn without_a_cache_nothing_is_stored_and_a_killed_run_ends_in_the_same_bits() {
    let fixture = Fixture::new();
    let train = |folder: &str, threads: &str| {
        let run = ["train", "--config", "main.toml", "--run-dir", folder, "--threads", threads];
        fixture.command(&[&run[..], &["views.cached=false", "methods=[\"apt\",\"robustify\"]"]].concat())
    };
    let whole = train("whole", "2").output().unwrap();
    let said = text(&whole.stderr);
    assert!(whole.status.success() && said.contains("and 0 kB in"), "{said}");
    for wait in [300, 700] {
        let mut child = train("killed", "1").stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = train("killed", "1").output().unwrap();
    assert!(last.status.success(), "{}", text(&last.stderr));
    for model in ["apt", "robustify"] {
        let file = |run: &str| bytes(&fixture.path(run).join(format!("models/{model}.safetensors")));
        assert!(file("whole") == file("killed"), "{model}");
    }
    let stages = fs::read_dir(fixture.path("whole/stages")).unwrap();
    let stages: Vec<String> = stages.map(|stage| stage.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(stages.iter().all(|stage| !stage.starts_with("features")), "{stages:?}");
}
