//! Any model on any images: parts, shards, another rule, and what goes wrong.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{Fixture, bytes, text};

/// What the weights of the fixture do not say themselves.
const NETWORK: &str = r#"original.network={architecture="vit",image_size=16,patch_size=4,width=16,depth=2,heads=2,mlp_ratio=2.0,classes=10}"#;

/// An evaluation of a few images in three parts, with further arguments.
fn eval<'a>(models: &[&'a str], out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = [
        "--data",
        "data",
        "--part",
        "7",
        "--quiet",
        "benchmark.corruptions=[fog,contrast]",
        "benchmark.severities=[1,5]",
        "benchmark.images=12",
        NETWORK,
        "--out",
        out,
    ];
    [&["eval"], models, &usual, more].concat()
}

const RECORDS: [&str; 3] = ["evaluation.json", "results.csv", "results.json"];

#[track_caller]
fn same(fixture: &Fixture, one: &str, other: &str) {
    for record in RECORDS {
        let [one, other] = [one, other].map(|folder| bytes(&fixture.path(folder).join(record)));
        assert!(one == other, "{record} differs");
    }
}

#[test]
fn shards_and_kills_change_no_byte() {
    let fixture = Fixture::new();
    let model = ["vit.safetensors"];
    let whole = fixture.run(&eval(&model, "whole", &["--threads", "2"]));
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let said = text(&whole.stdout);
    assert!(said.contains("clean images") && said.contains("under 2 corruptions"), "{said}");

    // Two shards in folders of their own, the second as a scheduler calls it; one alone is not enough.
    let first = fixture.run(&eval(&model, "one", &["--shard", "1/2"]));
    assert!(text(&first.stdout).contains("--shard 2/2 computes it"), "{}", text(&first.stdout));
    let said = fixture.error(&["merge", "one", "--out", "merged"]);
    assert!(said.contains("images 8 to 14 of data-c by ") && said.contains("--shard 2/2"), "{said}");
    let variables = [("SLURM_ARRAY_TASK_ID", "7"), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_MIN", "6")];
    let second = fixture.command(&eval(&model, "two", &[])).envs(variables).output().unwrap();
    assert!(second.status.success(), "{}", text(&second.stderr));
    let merged = fixture.run(&["merge", "two", "one", "--out", "merged", "--quiet"]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    same(&fixture, "whole", "merged");

    // Killed again and again.
    for wait in [60, 120, 180, 240, 300] {
        let mut killed = fixture.command(&eval(&model, "killed", &["--threads", "1"]));
        let mut child = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(fixture.run(&eval(&model, "killed", &[])).status.success());
    same(&fixture, "whole", "killed");

    // Answers of another evaluation do not go into this one.
    assert!(fixture.run(&eval(&model, "other", &["benchmark.seed=5"])).status.success());
    let said = fixture.error(&["merge", "one", "other", "--out", "mixed"]);
    assert!(said.contains("not of one evaluation") && said.contains("suites"), "{said}");
}

#[test]
fn another_rule_takes_answers_that_are_there() {
    let fixture = Fixture::new();
    let train =
        ["train", "--config", "main.toml", "--run-dir", "run", "--quiet", "tuning.epochs=1", "methods=[\"robustify\"]"];
    let output = fixture.run(&train);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // A whole run: its models, and its rule.
    let output = fixture.run(&eval(&["run"], "out", &[]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("robustify − original: ") && said.contains("points of mean accuracy"), "{said}");
    let record = |path: &str| text(&bytes(&fixture.path(path)));
    assert!(record("out/evaluation.json").contains(r#""rule of robustify": "product""#));
    let csv = record("out/results.csv");
    for row in [
        "robustify,data-c,fog,5,selected,ece,",
        "robustify,data-c,fog,5,oracle,f_correct,",
        "original,data-c,,,single,aurc,",
    ] {
        assert!(csv.contains(row), "no {row} in {csv}");
    }

    // It ends in a report, and can be compared and put beside others.
    let page = record("out/report.html");
    for part in ["class=\"stamp\">generated", "Sample images", "data:image/jpeg;base64,", "robustify eval run"] {
        assert!(page.contains(part), "no {part} in the page");
    }
    assert!(said.contains("report: out/report.html") && record("out/card.md").starts_with("---\n"), "{said}");
    let cells = record("out/tables/data-c-generated-cells.csv");
    assert!(cells.starts_with("cell,images,original,teacher,robustify\nclean,20,"), "{cells}");
    let compared = fixture.run(&["compare", "out", "--fail-below", "mean_accuracy=0"]);
    assert!(compared.status.success(), "{}", text(&compared.stderr));
    assert!(
        text(&compared.stdout).contains("data-c, generated: robustify against original\n"),
        "{}",
        text(&compared.stdout)
    );
    let said = fixture.error(&["compare", "out", "out", "--fail-below", "mean_accuracy=1.01"]);
    assert!(
        said.contains("robustify on data-c (generated): mean_accuracy is ") && said.contains("below 1.01"),
        "{said}"
    );
    let board = fixture.run(&["leaderboard", "."]);
    // The run measured other cells: its means have a column of their own.
    for column in ["mean over 4 shifts", "mean over fog-3, contrast-3"] {
        assert!(text(&board.stdout).contains(&format!("| data-c, generated: {column} |")), "{}", text(&board.stdout));
    }
    assert!(fixture.path("leaderboard.html").is_file());

    // Neither models nor images are needed.
    fs::rename(fixture.path("run"), fixture.path("away")).unwrap();
    fs::rename(fixture.path("data"), fixture.path("gone")).unwrap();
    let rescored = fixture.run(&["rescore", "out", "select.rule.rule=clean"]);
    assert!(rescored.status.success(), "{}", text(&rescored.stderr));
    assert!(record("out/evaluation.json").contains(r#""rule of robustify": "clean""#));
    let accuracy = |route: &str| {
        let csv = record("out/results.csv");
        let start = format!("robustify,data-c,fog,5,{route},accuracy,");
        csv.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned)).unwrap()
    };
    assert_eq!(accuracy("selected"), accuracy("clean"));
    let said = fixture.error(&["rescore", "out", "benchmark.seed=3"]);
    assert!(said.contains("asked anew by `eval`"), "{said}");
    // A damaged answer is named.
    let folder = fs::read_dir(fixture.path("out/answers")).unwrap().next().unwrap().unwrap().path().join("fog-5");
    let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut damaged = bytes(&file);
    let end = damaged.len() - 1;
    damaged[end] ^= 1;
    fs::write(&file, damaged).unwrap();
    let said = fixture.error(&["rescore", "out"]);
    assert!(said.contains("fog-5") && said.contains("checksum"), "{said}");
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_asked() {
    let fixture = Fixture::new();
    let with = |models: &[&str], more: &[&str]| fixture.error(&eval(models, "out", more));
    for (models, more, said) in [
        (&["absent.onnx"][..], &[][..], "there is no such file or folder"),
        (&["resnet18"], &[], "resnet18=FILE"),
        (&["resnet18=vit.safetensors"], &["--images", "3"], "both say what the network is"),
        (&["vit.safetensors"], &["--shard", "3/2"], "I from 1 to N"),
        (&["vit.safetensors"], &["benchmark.severities=[7]"], "benchmark.severities"),
        (&["vit.safetensors"], &["--data", "nowhere"], "nowhere"),
        (&["vit.safetensors", "data"], &[], "data"),
    ] {
        let found = with(models, more);
        assert!(found.contains(said), "{models:?} {more:?}: {found}");
    }
    // Pictures of classes that the model does not know, and one that cannot be read.
    photos(&fixture.path("photos"), &["one", "cow"]);
    let names = "zero one two three four five six seven eight nine".replace(' ', "\n");
    fs::write(fixture.path("names.txt"), names).unwrap();
    let photos_of = |preprocess: &str| {
        let words = ["eval", "vit.safetensors", NETWORK, "--data", "photos", "--out", "out", "--classes", "names.txt"];
        fixture.error(&[&words[..], &["--preprocess", preprocess]].concat())
    };
    let fits = "resize(16,16)|normalize(half)";
    let said = photos_of(fits);
    assert!(
        said.contains("cow") && said.contains("cannot be measured on photos-c") && said.contains("--classes"),
        "{said}"
    );
    fs::rename(fixture.path("photos/cow"), fixture.path("photos/seven")).unwrap();
    let said = photos_of("normalize(half)");
    assert!(said.contains("24x20") && said.contains("the model takes 16x16"), "sizes that do not fit: {said}");
    let path = fixture.path("photos/one/1.png");
    let whole = bytes(&path);
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let words = ["eval", "vit.safetensors", NETWORK, "--data", "photos", "--out", "out", "--classes", "names.txt"];
    let output = fixture.run(&[&words[..], &["--preprocess", fits, "benchmark.corruptions=[]"]].concat());
    let said = text(&output.stderr);
    assert!(
        output.status.success() && said.contains("warning: photos/one/1.png") && said.contains("5 images"),
        "{said}"
    );
    assert!(said.contains("the model's other 8 are left out"), "{said}");
}

/// Folders of a few pictures.
fn photos(folder: &Path, classes: &[&str]) {
    for class in classes {
        fs::create_dir_all(folder.join(class)).unwrap();
        for picture in 0..3u8 {
            let pixels = image::RgbImage::from_fn(24, 20, |x, y| image::Rgb([(x * y) as u8, picture, 90]));
            pixels.save(folder.join(class).join(format!("{picture}.png"))).unwrap();
        }
    }
}

#[test]
fn a_scheduler_gets_its_file() {
    let fixture = Fixture::new();
    let output = fixture.run(&eval(&["vit.safetensors"], "out", &["--manifest", "slurm", "--shards", "4"]));
    let said = text(&output.stdout);
    assert!(
        said.contains("#SBATCH --array=1-4") && said.contains("--data data") && said.contains("--out out"),
        "{said}"
    );
    assert!(!fixture.path("out").exists());
}
