//! A model card as Hugging Face's hub reads it: a header in YAML with every result, then text for people.

use std::fmt::Write as _;

use super::read::{self, ACCURACY, MEAN};
use super::{summary, verdict};
use crate::evaluation::{Evaluation, ModelRecord, SuiteRecord};

/// The card of all models of an evaluation.
pub fn card(evaluation: &Evaluation) -> String {
    let mut text = header(evaluation);
    let title = if evaluation.title.is_empty() { "Evaluation" } else { &evaluation.title };
    let _ = writeln!(text, "\n# {}\n", line(title));
    for verdict in verdict::verdicts(evaluation) {
        let _ = writeln!(
            text,
            "- {} ({}): {}",
            line(&verdict.suite),
            line(&verdict.origin),
            line(&verdict::plain(&verdict))
        );
    }
    text.push_str("\n## Models\n\n");
    for model in &evaluation.models {
        let mut facts: Vec<&str> = [&model.about, &model.preprocess].into_iter().map(String::as_str).collect();
        facts.retain(|fact| !fact.is_empty());
        let _ = write!(text, "- **{}**: {}", line(&model.name), line(&facts.join("; ")));
        if let Some(hash) = &model.sha256 {
            let _ = write!(text, "; SHA-256 `{}`", line(hash));
        }
        text.push('\n');
    }
    text.push_str("\n## Results\n");
    for suite in &evaluation.suites {
        let _ = write!(text, "\n### {}, {}\n\n", line(&verdict::title(suite)), line(&suite.origin));
        for note in &suite.notes {
            let _ = writeln!(text, "- {}", line(note));
        }
        let _ = write!(text, "\n{}", summary::summary(evaluation, suite).markdown());
    }
    let _ = write!(text, "\n## Reproduce\n\n");
    if !evaluation.command.is_empty() {
        // A fence longer than any run of backticks within.
        let longest = evaluation.command.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let _ = write!(text, "{fence}sh\n{}\n{fence}\n\n", evaluation.command);
    }
    for (name, value) in &evaluation.settings {
        let _ = writeln!(text, "- {}: {}", line(name), line(value));
    }
    text
}

/// A text that stays on its line and is no markup.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('&', "&amp;").replace('<', "&lt;")
}

/// The header. JSON's strings are YAML's.
fn header(evaluation: &Evaluation) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = "---\npipeline_tag: image-classification\ntags:\n- image-classification\n- robustness\n- distribution-shift\nmetrics:\n- accuracy\n".to_owned();
    if evaluation.models.is_empty() || evaluation.suites.is_empty() {
        return text + "---\n";
    }
    text += "model-index:\n";
    for model in &evaluation.models {
        let _ = writeln!(text, "- name: {}\n  results:", quoted(&model.name));
        let results = evaluation.suites.iter().map(|suite| (suite, metrics(suite, model)));
        let results: Vec<_> = results.filter(|(_, metrics)| !metrics.is_empty()).collect();
        if results.is_empty() {
            // YAML has no empty block list.
            text.truncate(text.len() - 1);
            text += " []\n";
        }
        for (suite, metrics) in results {
            let name = format!("{} ({})", verdict::title(suite), suite.origin);
            let _ = writeln!(
                text,
                "  - task:\n      type: image-classification\n    dataset:\n      name: {}\n      type: {}\n    metrics:",
                quoted(&name),
                quoted(&suite.name)
            );
            for (kind, name, value) in metrics {
                let _ = writeln!(text, "    - type: {kind}\n      name: {}\n      value: {value:.6}", quoted(name));
            }
        }
    }
    text + "---\n"
}

/// What is known of a model on a suite: metric, its name for people, value.
fn metrics(suite: &SuiteRecord, model: &ModelRecord) -> Vec<(&'static str, &'static str, f64)> {
    let clean = read::clean(suite).and_then(|cell| read::accuracy(cell, model));
    let total = read::main(&suite.totals, model);
    let found = [
        (ACCURACY, "accuracy", clean),
        (ACCURACY, "mean accuracy over shifts", read::metric(total, MEAN)),
        ("mce", "mean corruption error", read::metric(total, "mce")),
    ];
    found.into_iter().filter_map(|(kind, name, value)| Some((kind, name, value?))).collect()
}
