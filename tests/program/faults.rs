//! What cannot work is refused before anything is computed, with what was found and the way out.

use std::fs;

use super::{Fixture, bytes, text};

#[test]
fn weights_that_are_no_numbers_are_found_before_any_stage() {
    let fixture = Fixture::new();
    let mut state = robustify_zoo::weights::read(&fixture.path("vit.safetensors")).unwrap();
    state.get_mut("blocks.0.mlp.fc1.weight").unwrap().values[5] = f32::NAN;
    fs::write(fixture.path("broken.safetensors"), robustify_zoo::weights::to_bytes(&state)).unwrap();
    let said =
        fixture.error(&["train", "--config", "main.toml", "--run-dir", "run", "original.weights=broken.safetensors"]);
    let what = "broken.safetensors: tensor blocks.0.mlp.fc1.weight: 1 of its 512 values are no finite numbers";
    assert!(said.contains(what) && said.contains("NaN at index 5"), "{said}");
    assert!(!fixture.path("run/stages").exists());
}

#[test]
fn wrong_input_gets_an_error_that_says_what_and_where() {
    let fixture = Fixture::new();
    let train = ["train", "--config", "main.toml", "--run-dir", "run"];
    let with = |setting: &str| fixture.error(&[&train[..], &[setting]].concat());

    let said = with("tuning.epoch=3");
    assert!(said.contains("main.toml") && said.contains("epoch") && said.contains("epochs"), "{said}");
    let said = with("tuning.epochs=1.5");
    assert!(said.contains("\n  tuning.epochs: found 1.5, expected a whole number"), "{said}");
    let said = fixture.error(&[&train[..], &["tuning.epochs=ten", "tuning.pairs=many", "teacher.sed=3"]].concat());
    assert_eq!(said.lines().count(), 4, "a line for the file and one a fault: {said}");
    assert!(said.lines().nth(1).is_some_and(|line| line.contains("did you mean teacher.seed?")), "{said}");
    let option = fixture.run(&[&train[..], &["--temperature", "2"]].concat());
    assert!(text(&option.stderr).contains("tuning.temperature=2"), "{}", text(&option.stderr));
    let said = with("benchmark.corruptions=[fog,smow]");
    assert!(said.contains("benchmark.corruptions[1]: found \"smow\"") && said.contains("did you mean snow?"), "{said}");
    let said = with("teacher.network.width=100000");
    assert!(said.contains("teacher.network") && said.contains("GiB"), "{said}");
    let said = with("select.passes=1000000000");
    assert!(said.contains("select.passes 1000000000 is not in 1 to"), "{said}");
    let said = with("original.network={model=\"test_vit\"}");
    assert!(said.contains("160x160") || said.contains("image_size"), "a table replaces the one of the file: {said}");
    let said = with("tuning=5");
    assert!(said.contains("tuning: found 5, expected a table"), "{said}");
    let said = with("tuning.dropout=1.5");
    assert!(said.contains("dropout 1.5 is not in [0, 1)"), "{said}");
    let said = with("views.policy=augmax");
    assert!(said.contains("views.policy") && said.contains("augmix"), "{said}");
    let said = with("method.apt.epochs=2");
    assert!(said.contains("method.apt") && said.contains("no settings of its own"), "{said}");
    let said = with("method.finetune.epoch=2");
    assert!(
        said.contains("method.finetune") && said.contains("epochs"),
        "settings of a method nobody asked for: {said}"
    );
    // Nobody set anything of it, and it does not go with the network.
    let resnet = r#"original.network={architecture="resnet",image_size=16,stem_kernel=3,stem_stride=2,width=4,layers=[1,1],block="basic",classes=10}"#;
    let said = fixture.error(&[&train[..], &[resnet, "methods=vpt"]].concat());
    assert!(said.contains("vpt needs a Vision Transformer") && said.contains("a ResNet"), "{said}");
    let said = with("benchmark.corruptions=[]");
    assert!(said.contains("corruptions is empty"), "{said}");
    let said = fixture.error(&[&train[..], &["--seeds", "2", "vary=[]"]].concat());
    assert!(said.contains("vary is empty"), "{said}");
    let said = with("data.path=2024");
    assert!(said.contains("data.path 2024 ("), "a number may be a folder's name: {said}");
    let said = with("data.path=nowhere");
    assert!(said.contains("nowhere"), "{said}");
    let said = with("original.weights=absent.safetensors");
    assert!(said.contains("absent.safetensors"), "{said}");
    let said = with("original.preprocess=pad(2)|normalize(half)");
    assert!(said.contains("20x20") && said.contains("16x16"), "{said}");
    let said = fixture.error(&["train", "--config", "absent.toml"]);
    assert!(said.contains("absent.toml"), "{said}");
    let said = fixture.error(&["bench-robustness", "--run", "nothing"]);
    assert!(said.contains("nothing"), "{said}");

    fs::write(fixture.path("short.safetensors"), &bytes(&fixture.path("vit.safetensors"))[..1000]).unwrap();
    let said = with("original.weights=short.safetensors");
    assert!(said.contains("short.safetensors") && said.contains("truncated"), "{said}");

    let mut labels = bytes(&fixture.path("data/train-labels-idx1-ubyte"));
    labels[20] = 77;
    fs::write(fixture.path("data/train-labels-idx1-ubyte"), labels).unwrap();
    let said = with("seed=1");
    assert!(said.contains("77") && said.contains("train-labels"), "{said}");
}

#[test]
fn what_a_checkpoint_lacks_is_refused_unless_it_is_allowed() {
    let fixture = Fixture::new();
    let mut state = robustify_zoo::weights::read(&fixture.path("vit.safetensors")).unwrap();
    state.remove("norm.weight").unwrap();
    fs::write(fixture.path("part.safetensors"), robustify_zoo::weights::to_bytes(&state)).unwrap();
    let train = ["train", "--config", "main.toml", "--run-dir", "run", "original.weights=part.safetensors"];
    let said = fixture.error(&train);
    assert!(said.contains("part.safetensors") && said.contains("missing tensor norm.weight"), "{said}");
    let output = fixture.run(&[&train[..], &["original.partial=true"]].concat());
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("left as they were: missing tensor norm.weight"), "{said}");

    // A classifier is never drawn, it is fitted.
    state.remove("head.weight").unwrap();
    state.remove("head.bias").unwrap();
    fs::write(fixture.path("part.safetensors"), robustify_zoo::weights::to_bytes(&state)).unwrap();
    let settings = ["original.partial=true", "original.probe_epochs=1", "--overwrite"];
    let output = fixture.run(&[&train[..], &settings].concat());
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("a linear probe makes the classifier"), "{said}");
}

#[test]
fn sizes_that_do_not_fit_are_found_before_any_stage() {
    let fixture = Fixture::new();
    let larger = ["teacher.network.image_size=12", "views.clean_view=random_crop(24,2)", "split.shared_blocks=4"];
    let train = ["train", "--config", "main.toml", "--run-dir", "run"];
    let said = fixture.error(&[&train[..], &larger].concat());
    for part in ["teacher.network.image_size=16", "teacher.preprocess", "original.preprocess"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(said.contains("views.clean_view `random_crop(24,2)`") && said.contains("20x20"), "{said}");
    assert!(said.contains("split.shared_blocks 4") && said.contains("2 blocks"), "{said}");

    for (setting, parts) in [
        ("teacher.preprocess=center_crop(10)|normalize(half)", ["makes 10x10 of", "16x16"]),
        ("teacher.preprocess=center_crop(40)|normalize(half)", ["teacher.preprocess", "40x40"]),
        ("teacher.training.clean_view=random_crop(12)", ["teacher.training.clean_view", "12x12"]),
        ("views.clean_view=random_crop(12)", ["views.clean_view", "12x12"]),
        ("split.head_blocks=9", ["split.head_blocks 9", "2 blocks"]),
        ("original.preprocess=center_crop(40)|normalize(half)", ["original.preprocess", "40x40"]),
    ] {
        let said = fixture.error(&[&train[..], &[setting]].concat());
        assert!(parts.iter().all(|part| said.contains(part)), "{setting}: {said}");
    }
    assert!(!fixture.path("run/stages").exists());

    let pretrain = ["pretrain", "--config", "pretrain.toml", "--output", "other.safetensors"];
    let said = fixture.error(&[&pretrain[..], &["preprocess=pad(2)|normalize(half)"]].concat());
    assert!(said.contains("20x20") && said.contains("network.image_size"), "{said}");
    let said = fixture.error(&[&pretrain[..], &["training.clean_view=random_crop(12)"]].concat());
    assert!(said.contains("training.clean_view"), "{said}");
}
