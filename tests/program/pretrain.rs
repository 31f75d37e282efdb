//! `pretrain`: every objective trains a network that the other commands take.

use std::process::Stdio;
use std::time::Duration;

use crate::{Fixture, TEXT_TOWER, TOWER, bytes, text};

#[test]
fn every_objective_trains() {
    let fixture = Fixture::new();
    // Settings that suit the tiny images, and what is measured.
    let clip = format!("network={TOWER} {TEXT_TOWER}");
    let feature = format!("{STUDENT} settings.feature.drop_path=0.5");
    let objectives = [
        ("supervised", "", "test accuracy"),
        ("clip", clip.as_str(), "zero-shot test accuracy"),
        (
            "dino",
            "network.classes=0 training.policy=rand_conv settings.dino.hidden=8 settings.dino.outputs=16",
            "test accuracy of the nearest neighbour",
        ),
        (
            "mae",
            "network.classes=0 settings.mae.width=8 settings.mae.heads=2 settings.mae.depth=1",
            "test accuracy of the nearest neighbour",
        ),
        ("feature", feature.as_str(), "test accuracy of the nearest neighbour"),
    ];
    for (objective, settings, measure) in objectives {
        let file = format!("{objective}.safetensors");
        let base = ["pretrain", "--config", "pretrain.toml", "--quiet", "--objective", objective, "--output", &file];
        let output = fixture.run(&[&base[..], &settings.split_whitespace().collect::<Vec<_>>()].concat());
        assert!(output.status.success(), "{objective}: {}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(measure), "{objective}: {}", text(&output.stdout));
        assert!(fixture.path(&file).exists(), "{objective}");
    }
}

/// A student of Feature Distillation, and the fixture's model as its teacher.
const STUDENT: &str = "network={architecture='vit',image_size=16,patch_size=8,width=12,depth=2,heads=2,classes=0,absolute_positions=false,\
                       relative_positions='shared',beit=true,layer_scale=0.1} settings.feature.teacher.weights=vit.safetensors \
                       settings.feature.teacher.network={architecture='vit',image_size=16,patch_size=4,width=16,depth=2,heads=2,mlp_ratio=2.0,classes=10} \
                       settings.feature.teacher.preprocess=normalize(imagenet)";

#[test]
fn a_student_learns_its_teachers_tokens_and_survives_being_killed() {
    let fixture = Fixture::new();
    let given = format!("{STUDENT} training.epochs=15 training.clean_view=random_resized_crop(16,0.5,1)+hflip");
    let start = |output: &str, threads: &str| {
        let base = ["pretrain", "--config", "pretrain.toml", "--objective", "feature", "--output", output];
        let threads = ["--threads", threads];
        fixture.command(&[&base[..], &threads, &given.split_whitespace().collect::<Vec<_>>()].concat())
    };
    let whole = start("whole.safetensors", "2").output().unwrap();
    let said = text(&whole.stderr);
    assert!(whole.status.success(), "{said}");
    assert!(said.contains("grid of 4 x 4 tokens is resampled to the student's of 2 x 2"), "{said}");
    let losses: Vec<f64> =
        said.lines().filter_map(|line| line.split_once(", loss ")?.1.split(',').next()?.parse().ok()).collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(losses.len() >= 15 && last < 0.97 * first, "{losses:?}");
    // Killed again and again, on another number of threads: the same bits in the end.
    for wait in [100, 200, 300] {
        let mut child = start("killed.safetensors", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let killed = start("killed.safetensors", "1").output().unwrap();
    assert!(killed.status.success(), "{}", text(&killed.stderr));
    let file = |name: &str| bytes(&fixture.path(name));
    assert!(file("whole.safetensors") == file("killed.safetensors"), "the resumed student is another one");
    let written = file("whole.safetensors");
    let (_, header) = safetensors::SafeTensors::read_metadata(&written).unwrap();
    let names = header.tensors();
    assert!(names.contains_key("rel_pos_bias.relative_position_bias_table") && names.contains_key("blocks.1.gamma_2"));
    assert!(!names.keys().any(|name| name.starts_with("projector")), "the projector is dropped");

    // It is fine-tuned with its shared table in every block, behind a fresh head.
    let network = STUDENT.split_whitespace().next().unwrap().replacen("network", "original.network", 1);
    let given = [
        network.as_str(),
        "original.weights=whole.safetensors",
        "original.probe_epochs=1",
        "methods=[\"finetune\"]",
        "method.finetune.variants=[\"plain\"]",
        "method.finetune.epochs=2",
        "method.finetune.recipe.average=0.5",
    ];
    let output =
        fixture.run(&[&["train", "--config", "main.toml", "--run-dir", "tuned", "--quiet"], &given[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tuned = bytes(&fixture.path("tuned/models/finetune-plain.safetensors"));
    let (_, header) = safetensors::SafeTensors::read_metadata(&tuned).unwrap();
    for name in ["blocks.1.attn.relative_position_bias_table", "fc_norm.weight", "head.weight"] {
        assert!(header.tensors().contains_key(name), "{name} is missing");
    }

    let said = fixture.error(&["pretrain", "--config", "pretrain.toml", "--objective", "feature", "network.classes=0"]);
    assert!(said.contains("settings.feature.teacher is missing"), "{said}");
}
