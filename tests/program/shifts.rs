//! Shifts that are no corruptions, and transfer.

use crate::{Fixture, bytes, text};

#[test]
fn other_shifts_stand_beside_the_corruptions_and_leave_their_mean() {
    let fixture = Fixture::new();
    let train = |folder: &str, more: &[&str]| {
        let arguments = [
            "train",
            "--config",
            "main.toml",
            "--run-dir",
            folder,
            "--cache-dir",
            "stages",
            "--quiet",
            "methods=finetune,robustify",
        ];
        let output = fixture.run(&[&arguments[..], &["method.finetune.epochs=1"], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let summary: serde_json::Value =
            serde_json::from_slice(&bytes(&fixture.path(folder).join("summary.json"))).unwrap();
        (text(&output.stdout), summary)
    };
    let (_, plain) = train("plain", &[]);
    let shifts = ["benchmark.shifts=drawn_landscape,edge_drawing", "benchmark.transfer=40"];
    let (table, with) = train("with", &shifts);
    for column in ["background", "rendition", "transfer"] {
        assert!(table.contains(column), "no {column} in\n{table}");
    }
    for (before, after) in plain["lines"].as_array().unwrap().iter().zip(with["lines"].as_array().unwrap()) {
        assert_eq!(before["mean"], after["mean"], "{before} {after}");
        assert_eq!(before["f_correct"], after["f_correct"]);
        assert!(before.get("transfer").is_none() && after["transfer"]["mean"].is_f64(), "{after}");
        assert!(after["background"]["mean"].is_f64() && after["halftone_print"].is_null(), "{after}");
    }
    // From stored answers, to the byte.
    let before = bytes(&fixture.path("with/results.csv"));
    train("with", &shifts);
    assert_eq!(bytes(&fixture.path("with/results.csv")), before);
}
