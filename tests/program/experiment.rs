//! Experiments: a grid of runs, killed and continued, in shards, and what is drawn of it.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::{Fixture, TEACHER, bytes, text};

/// Two settings of the tuning with two teachers, and everything that can be drawn.
fn experiment() -> String {
    let teacher = |width: &str| format!("{{ {} }}", TEACHER.replace("width = 4", width).trim().replace('\n', ", "));
    format!(
        "name = \"grid\"\nabout = \"Does a wider teacher teach more?\"\n[mini]\nbase = \"main.toml\"\nseeds = 2\n\
         set = {{ methods = [\"apt\", \"robustify\"], benchmark.severities = [1, 5], tuning.epochs = 2 }}\n\
         runs = [{{ name = \"kd\" }}, {{ name = \"labels\", title = \"by labels\", set = {{ tuning.kd_weight = 0.0 }} }}]\n\
         [[mini.axes]]\nname = \"teacher\"\nvalues = [{{ name = \"narrow\" }}, {{ name = \"wide\", set = {{ teacher.network = {} }} }}]\n\
         [[tables]]\nname = \"main\"\ntitle = \"All\"\ncolumns = [\"clean\", \"mean\", \"fog\", \"f_correct\", \"training\", \"macs\", \"tuned\"]\n\
         reference = {{ run = \"kd-wide\", model = \"robustify\" }}\nagainst = {{ model = \"apt\" }}\n\
         [[figures]]\nname = \"pareto\"\ntitle = \"Cost\"\nkind = \"pareto\"\n\
         [[figures]]\nname = \"severity\"\ntitle = \"Severity\"\nkind = \"severity\"\nrows = [{{ run = \"kd-wide\", model = \"apt\" }}]\n\
         [[figures]]\nname = \"shares\"\ntitle = \"Shares\"\nkind = \"shares\"\n",
        teacher("width = 8")
    )
}

#[test]
fn an_experiment_is_run_in_shards_killed_continued_and_drawn() {
    let fixture = Fixture::new();
    fs::write(fixture.path("grid.toml"), experiment()).unwrap();
    let run = |more: &[&str]| fixture.run(&[&["experiment", "grid.toml"], more].concat());
    let planned = run(&["--dry-run"]);
    let said = text(&planned.stdout);
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    for part in ["run kd-narrow: 2 seeds, 0 finished", "robustify", "to compute", "on disk", "of a GPU"] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
    assert!(!fixture.path("runs").exists(), "a dry run leaves nothing");

    let mut killed = fixture.command(&["experiment", "grid.toml", "--quiet"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    killed.kill().unwrap();
    killed.wait().unwrap();
    for shard in ["1/2", "2/2"] {
        let output = run(&["--shard", shard]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("without --shard draws"), "{}", text(&output.stdout));
    }
    let cell = fixture.path("runs/experiment-grid/kd-wide/seed-2/cell.json");
    let before = fs::metadata(&cell).unwrap().modified().unwrap();
    let drawn = run(&["--docs"]);
    let (said, heard) = (text(&drawn.stdout), text(&drawn.stderr));
    assert!(drawn.status.success() && heard.contains("8 of 8 are done"), "{heard}");
    assert_eq!(fs::metadata(&cell).unwrap().modified().unwrap(), before, "a finished cell is not run again");
    assert!(said.contains("by labels, wide: robustify") && said.contains("wide: robustify is "), "{said}");
    assert!(text(&run(&["--dry-run"]).stdout).contains("run kd-narrow: 2 seeds, 2 finished"));

    for folder in ["runs/experiment-grid", "docs/results"] {
        let page = text(&bytes(&fixture.path(folder).join("grid.md")));
        assert!(page.contains("±") && page.contains("grid-pareto.svg"), "{page}");
        for figure in ["pareto", "severity", "shares"] {
            let svg = text(&bytes(&fixture.path(folder).join(format!("grid-{figure}.svg"))));
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }
    let results: Value = serde_json::from_slice(&bytes(&fixture.path("runs/experiment-grid/grid.json"))).unwrap();
    let rows = results["tables"][0]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["run"] == "kd-wide" && row["model"] == "robustify").unwrap();
    let summary: Value =
        serde_json::from_slice(&bytes(&fixture.path("runs/experiment-grid/kd-wide/seed-1/summary.json"))).unwrap();
    let own = summary["lines"].as_array().unwrap().iter().find(|line| line["model"] == "robustify").unwrap();
    assert_eq!(row["columns"]["mean"]["seeds"][0], own["mean"]["mean"]);
    let [low, mean, high] = ["low", "mean", "high"].map(|end| row["columns"]["mean"][end].as_f64().unwrap());
    assert!(low <= mean && mean <= high && row["against"]["mean"]["estimate"].is_f64(), "{row}");

    // Other settings for a finished cell are refused, with the way out.
    let said = fixture.error(&["experiment", "grid.toml", "tuning.epochs=1"]);
    assert!(said.contains("tuning.epochs") && said.contains("--overwrite"), "{said}");
    let said = fixture.error(&["experiment", "grid.toml", "tuning.epoch=1"]);
    assert!(said.contains("did you mean tuning.epochs?"), "{said}");
}

#[test]
fn the_size_of_imagenet_is_planned_on_its_layout_without_weights() {
    let fixture = Fixture::new();
    for part in ["train", "val"] {
        for (class, level) in [("n01440764", 40), ("n01443537", 200)] {
            let folder = fixture.path("imagenet").join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            for index in 0..10u8 {
                image::RgbImage::from_pixel(48, 40, image::Rgb([level, index, 9]))
                    .save(folder.join(format!("{index}.jpeg")))
                    .unwrap();
            }
        }
    }
    let base = text(&bytes(&fixture.path("main.toml")));
    // The sections of network and data are replaced by the experiment.
    fs::write(fixture.path("base.toml"), base).unwrap();
    let file = "name = \"large\"\nabout = \"x\"\n[imagenet]\nbase = \"base.toml\"\nfull = { train = 1281167, test = 50000 }\n[imagenet.set]\n\
        methods = [\"finetune\", \"apt\", \"robustify\"]\ndata.format = \"folder\"\ndata.path = \"imagenet\"\n\
        original.weights = \"absent.safetensors\"\noriginal.network = { model = \"vit_large_patch14_clip_224.openai\", classes = 1000 }\n\
        original.preprocess = \"resize(224)|center_crop(224)|normalize(half)\"\n\
        teacher.network = { model = \"resnet50.tv_in1k\" }\nteacher.preprocess = \"normalize(half)\"\n";
    fs::write(fixture.path("large.toml"), file).unwrap();
    let output = fixture.run(&["experiment", "large.toml", "--size", "imagenet", "--dry-run"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in
        ["1,281,167 training and 50,000 test images (18 and 20 are there)", "304.", "GMACs", "GB on disk", "days"]
    {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
}
