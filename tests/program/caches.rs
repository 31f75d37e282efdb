//! Stages that several runs share, and what is made of them.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use super::{Fixture, bytes, text};

#[test]
fn what_was_made_of_another_result_is_not_used() {
    let fixture = Fixture::new();
    let train = |folder| {
        let output = fixture.run(&["train", "--config", "main.toml", "--run-dir", folder, "methods=[\"robustify\"]"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (bytes(&fixture.path(folder).join("models/robustify.safetensors")), text(&output.stderr))
    };
    let (first, _) = train("run");
    let mut stages = fs::read_dir(fixture.path("run/stages")).unwrap().map(|entry| entry.unwrap().path());
    let is_teacher = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("teacher-") && !name.starts_with("teacher-logits")
    };
    let teacher = stages.find(is_teacher).unwrap();

    // Another teacher in the same place, whole and sealed: as if training had gone another way, which some backends do.
    let weights = teacher.join("weights.safetensors");
    let mut state = robustify_zoo::weights::read(&weights).unwrap();
    state.get_mut("fc.bias").unwrap().values.reverse();
    let other = robustify_zoo::weights::to_bytes(&state);
    fs::write(teacher.join("weights.safetensors.sha256"), robustify_report::digest::of_bytes(&other)).unwrap();
    fs::write(&weights, other).unwrap();
    let (second, said) = train("run");
    assert!(said.contains("teacher: done before") && said.contains("features of views: done before"), "{said}");
    assert!(!said.contains("robustify: done before") && second != first, "heads of another teacher: {said}");

    // The first teacher comes back, and what was made of it with it.
    fs::remove_dir_all(&teacher).unwrap();
    let (third, said) = train("run");
    assert!(said.contains("robustify: done before") && third == first, "{said}");
}

#[test]
fn two_trainings_on_one_cache_wait_for_each_other() {
    let fixture = Fixture::new();
    let train = |folder: &str| {
        let arguments =
            ["train", "--config", "main.toml", "--cache-dir", "cache", "--threads", "1", "--run-dir", folder];
        fixture.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [train("one"), train("two")].map(|child| child.wait_with_output().unwrap());
    for output in &both {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for file in ["models/robustify.safetensors", "models/teacher.safetensors", "results.csv"] {
        assert!(bytes(&fixture.path("one").join(file)) == bytes(&fixture.path("two").join(file)), "{file}");
    }
}

#[test]
fn rows_that_adapt_while_they_answer_are_the_same_on_any_number_of_threads() {
    let fixture = Fixture::new();
    let run = |folder: &str, threads: &str| {
        let methods = r#"methods=["adam_spd","tent","sar"]"#;
        let more = ["method.tent.of=original,finetune", "method.tent.learning_rate=0.5", "method.sar.margin=1.0"];
        let base = ["train", "--config", "main.toml", "--run-dir", folder, "--threads", threads, "--quiet", methods];
        let output = fixture.run(&[&base[..], &more, &["method.finetune.epochs=1"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let folder = fixture.path(folder);
        ["models/adam_spd.safetensors", "results.csv"].map(|file| bytes(&folder.join(file)))
    };
    let one = run("one", "1");
    assert!(text(&one[1]).contains("tent-finetune,"), "{}", text(&one[1]));
    assert!(run("two", "2") == one, "threads changed an answer or a weight");
}
