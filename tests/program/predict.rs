//! `predict`: answers for pictures, in their order, whatever is among them.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use image::RgbImage;

use crate::{Fixture, text};

#[test]
fn pictures_are_answered_in_order_and_broken_ones_are_told() {
    let fixture = Fixture::new();
    let run = ["train", "--config", "main.toml", "--run-dir", "run", "--quiet", "methods=[\"robustify\"]"];
    assert!(fixture.run(&run).status.success());
    let folder = fixture.path("pictures");
    fs::create_dir_all(folder.join("more")).unwrap();
    for (index, name) in ["b.png", "a, 1.png", "more/c.png"].into_iter().enumerate() {
        let pixel = |x: u32, y: u32| image::Rgb([if (16 * y + x) % 10 == index as u32 { 220 } else { 0 }; 3]);
        RgbImage::from_fn(16, 16, pixel).save(folder.join(name)).unwrap();
    }
    fs::write(folder.join("bad.jpg"), b"\xff\xd8 no picture").unwrap();

    let all = fixture.run(&["predict", "run", "pictures", "--format", "jsonl", "--top", "3", "--threads", "2"]);
    assert_eq!(all.status.code(), Some(3), "{}", text(&all.stderr));
    let said = text(&all.stdout);
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let paths: Vec<&str> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["pictures/a, 1.png", "pictures/b.png", "pictures/bad.jpg", "pictures/more/c.png"]);
    assert!(lines[2]["error"].as_str().unwrap().contains("unusable image") && lines[2]["top"].is_null());
    for line in [&lines[0], &lines[1], &lines[3]] {
        let top = line["top"].as_array().unwrap();
        assert_eq!((top.len(), line["heads"]["clean"].as_array().unwrap().len()), (3, 3), "{line}");
        assert!(["clean", "robust"].contains(&line["head"].as_str().unwrap()), "{line}");
        assert!(top[0]["probability"].as_f64().unwrap() >= top[1]["probability"].as_f64().unwrap());
    }

    // From standard input, as a table, by another rule; one picture alone is answered as among others.
    let mut child = fixture
        .command(&[
            "predict",
            "run/models/robustify.safetensors",
            "-",
            "--format",
            "csv",
            "select.rule.rule=robust",
            "--abstain",
            "1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"pictures/more/c.png\npictures/a, 1.png\n").unwrap();
    let table = text(&child.wait_with_output().unwrap().stdout);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("path,class,") && rows.len() == 3, "{table}");
    assert!(rows[1].starts_with("pictures/more/c.png,") && rows[2].starts_with("\"pictures/a, 1.png\","), "{table}");
    assert!(rows[1].contains(",robust,") && rows[1].ends_with(",true,"), "{table}");
    let alone = fixture.run(&["predict", "run", "pictures/b.png", "--format", "jsonl", "--top", "3", "--threads", "1"]);
    assert_eq!(text(&alone.stdout).trim_end(), said.lines().nth(1).unwrap());

    let refused = |arguments: &[&str]| fixture.error(&[&["predict", "run"], arguments].concat());
    assert!(refused(&["nowhere"]).contains("nowhere: there is no such file or folder"));
    assert!(refused(&["data"]).contains("there is no picture"));
    assert!(refused(&["pictures", "--abstain", "7"]).contains("a probability from 0 to 1 is expected"));
    assert!(refused(&["-", "pictures"]).contains("goes with no other picture"));
}
