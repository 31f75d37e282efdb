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
    let original = accuracies(&results, "original", "single");
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

#[test]
fn every_recipe_trains_a_teacher_with_and_without_the_consistency_loss() {
    let fixture = Fixture::new();
    let names = ["augmix", "pixmix", "deepaugment", "augmix+pixmix", "augmix+deepaugment", "pixmix+deepaugment"];
    for (index, name) in names.into_iter().enumerate() {
        let folder = format!("run-{index}");
        let policy = format!("teacher.training.policy=recipe({name})");
        let run = ["train", "--config", "main.toml", "--run-dir", &folder, "--quiet", "methods=[\"teacher\"]", &policy];
        let settings = ["teacher.training.epochs=1", "benchmark.corruptions=fog"];
        // Both losses of every kind of step, in half the runs.
        let consistent: &[&str] = if index % 2 == 0 { &["teacher.training.jsd_weight=12"] } else { &[] };
        let output = fixture.run(&[&run[..], &settings, consistent].concat());
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        assert!(fixture.path(&folder).join("models/teacher.safetensors").exists(), "{name}");
    }
    let said = fixture.error(&["train", "--config", "main.toml", "teacher.training.policy=recipe(augmax)"]);
    assert!(said.contains("teacher.training.policy") && said.contains("no recipe `augmax`"), "{said}");
}

#[test]
fn lora_of_a_network_without_attention_is_refused_before_anything_is_computed() {
    let fixture = Fixture::new();
    let resnet = "original.network={architecture=\"resnet\",image_size=16,stem_kernel=3,stem_stride=2,width=4,layers=[1,1],\
                  block=\"basic\",classes=10}";
    let train = ["train", "--config", "main.toml", "--run-dir", "run", "methods=[\"lora\"]"];
    let said = fixture.error(&[&train[..], &[resnet]].concat());
    assert!(said.contains("lora updates attention") && said.contains("ViT"), "{said}");
    let said = fixture.error(&[&train[..], &["split.head_blocks=2"]].concat());
    assert!(said.contains("lora updates the frozen part"), "{said}");
    assert!(!fixture.path("run").exists());
}

#[test]
fn one_run_of_bench_cost_prints_all_ratios_measured_and_counted() {
    let fixture = Fixture::new();
    let output = fixture.run(&["bench-cost", "--config", "main.toml", "--rounds", "1", "--quiet"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for row in ["robustify, cached, its views included", "robustify, not cached", "· one head", "one pass", "T = 4"] {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
    // The trunk, the shared part (there is none) and one head are the original, by count.
    let counted = |name: &str| {
        let row = table.lines().find(|row| row.contains(name)).unwrap();
        row.split('│').nth(4).unwrap().trim().parse::<f64>().unwrap()
    };
    let parts: f64 = ["· trunk", "· shared part", "· one head"].map(counted).iter().sum();
    assert!((parts - counted("│ original")).abs() < 3e-5 && counted("one pass") > counted("│ original"), "{table}");
}
