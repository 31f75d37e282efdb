//! The page of an evaluation: what it shows, what it does with what is missing or strange, and what a browser makes of it.

mod made;

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use robustify_report::evaluation::Evaluation;
use robustify_report::page::{Look, render, tables, write};
use roxmltree::Document;
use serde_json::Value;

/// The page as a tree: it is written so that it is well-formed XML as well.
fn parsed(page: &str) -> Document<'_> {
    let body = page.trim_start().strip_prefix("<!DOCTYPE html>").expect("a page begins with its type");
    Document::parse(body.trim_start()).unwrap_or_else(|error| panic!("{error}"))
}

fn text(node: roxmltree::Node) -> String {
    let words: Vec<&str> =
        node.descendants().filter_map(|node| node.is_text().then(|| node.text()).flatten()).collect();
    words.concat().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn with_class<'a>(page: &'a Document, class: &str) -> Vec<roxmltree::Node<'a, 'a>> {
    let has =
        |node: &roxmltree::Node| node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class));
    page.descendants().filter(has).collect()
}

/// A page without its pictures, in whose letters there may be any word.
fn without_pictures(page: &str) -> String {
    let parts = page.split(";base64,").enumerate();
    parts
        .map(|(index, part)| if index == 0 { part } else { part.split_once('"').map_or("", |(_, rest)| rest) })
        .collect()
}

/// What holds for every page, whatever was missing in its record.
fn check(page: &str) {
    let document = parsed(page);
    let written = without_pictures(page);
    for word in ["NaN", "inf%", "undefined", "none %"] {
        assert!(!written.contains(word), "`{word}` in the page");
    }
    let mut anchors: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let count = anchors.len();
    anchors.sort_unstable();
    anchors.dedup();
    assert_eq!(anchors.len(), count, "an anchor stands for two places");
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(!matches!(node.tag_name().name(), "script" | "iframe" | "object" | "embed"));
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            if matches!(attribute.name(), "src" | "href") {
                let (kind, value) = (node.tag_name().name(), attribute.value());
                let target = value.strip_prefix('#').is_some_and(|target| anchors.binary_search(&target).is_ok());
                assert!(target || value == "data:," || kind == "img" && value.starts_with("data:image/"), "{value}");
            }
        }
    }
}

#[test]
fn a_page_begins_with_its_verdict_and_shows_everything() {
    let evaluation = made::evaluation();
    let page = render(&evaluation, Some(&made::times()), &Look::default()).unwrap();
    check(&page);
    let document = parsed(&page);
    let verdict = text(with_class(&document, "verdicts")[0].first_element_child().unwrap());
    assert!(verdict.starts_with("Fashion-MNIST-C generated: robustify gets 85.2 % right under shift, the mean of 75 cells (95 %: 83.9 to 86.4; n = 1,000 each)"), "{verdict}");
    assert!(
        verdict.contains("It is better than original: +15.9 points (95 %: +15.2 to +16.5; 1,000 images, paired)"),
        "{verdict}"
    );
    let stamps: Vec<String> = document.descendants().filter(|node| node.has_tag_name("h2")).map(text).collect();
    assert!(
        stamps.contains(&"Fashion-MNIST-C generated".to_owned())
            && stamps.contains(&"Drawings of garments on disk".to_owned()),
        "{stamps:?}"
    );
    // Four large charts, 15 shifts, six severities of both diagrams, two of the drawings.
    assert_eq!(with_class(&document, "chart").len(), 1 + 2 + 15 + 12 + 2 + 2);
    assert_eq!(with_class(&document, "heat").len(), 5 + 5);
    // Every underlined number opens its images, the surest wrong answer first.
    let opened = with_class(&document, "flips");
    assert_eq!(opened.len(), 5 * 15 * 2);
    assert!(
        text(opened[0]).contains("original: right when clean, wrong under gaussian noise, severity 3"),
        "{}",
        text(opened[0])
    );
    let sure: Vec<String> = with_class(&document, "wrong").iter().take(3).map(|node| text(*node)).collect();
    assert!(sure[0].ends_with("98 %") && sure[2].ends_with("84 %"), "{sure:?}");
    for said in ["robustify, combined", "SHA-256", "robustify eval original.safetensors", "right choice", "class Shirt"]
    {
        assert!(page.contains(said), "{said}");
    }
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
}

#[test]
fn equal_records_are_equal_pages_and_an_empty_one_says_so() {
    let draw = || render(&made::evaluation(), None, &Look::default()).unwrap();
    assert_eq!(draw(), draw());
    let page = render(&Evaluation::default(), None, &Look::default()).unwrap();
    check(&page);
    assert!(page.contains("No answers were judged yet"));
}

/// Removes parts of a record at random, as their absence is allowed.
fn thinned(value: &mut Value, draw: &mut impl FnMut() -> f64, share: f64) {
    match value {
        Value::Array(parts) => {
            // Pairs and intervals have a fixed length.
            if parts.iter().any(|part| part.is_array() || part.is_object()) || parts.len() > 4 {
                parts.retain(|_| draw() > share);
            }
            parts.iter_mut().for_each(|part| thinned(part, draw, share));
        }
        Value::Object(fields) => {
            let free = ["accuracy", "clean", "mean_accuracy", "robustify", "seed"]
                .iter()
                .any(|key| fields.get(*key).is_some_and(|value| !value.is_object() && !value.is_array()))
                && !fields.contains_key("count")
                && !fields.contains_key("about");
            if free {
                fields.retain(|_, _| draw() > share);
            }
            for (key, field) in fields.iter_mut() {
                if ["shift", "group", "severity", "picture", "sha256", "parameters", "macs", "macs_passes"]
                    .contains(&key.as_str())
                    && draw() < share
                    && (key != "picture" || field.is_null())
                {
                    *field = Value::Null;
                } else if key == "said" && field.is_array() {
                    continue;
                } else {
                    thinned(field, draw, share);
                }
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn what_is_missing_is_a_gap(seed in any::<u64>(), share in 0.02..0.9_f64) {
        let mut value = serde_json::to_value(small()).unwrap();
        let mut number = 0;
        let mut draw = || { number += 1; made::chance(&[seed, number]) };
        thinned(&mut value, &mut draw, share);
        let evaluation: Evaluation = serde_json::from_value(value).unwrap();
        check(&render(&evaluation, None, &Look::default()).unwrap());
        for grid in tables(&evaluation, None) {
            let lines = (grid.csv(), grid.markdown(), grid.latex());
            prop_assert!(!lines.0.contains("NaN") && !lines.1.contains("NaN") && !lines.2.contains("NaN"));
            prop_assert!(grid.rows.iter().all(|row| row.len() == grid.columns.len()));
        }
    }
}

/// The same evaluation with fewer shifts.
fn small() -> Evaluation {
    let mut evaluation = made::evaluation();
    evaluation.suites[0].cells.truncate(12);
    evaluation.suites[0].examples.truncate(4);
    evaluation
}

#[test]
fn a_page_stays_small_and_says_what_it_leaves_out() {
    let mut evaluation = small();
    let large = format!("data:image/png;base64,{}", "A".repeat(400_000));
    for result in evaluation.suites[0].cells.iter_mut().flat_map(|cell| &mut cell.results) {
        result.flipped.iter_mut().for_each(|flip| flip.picture = Some(large.clone()));
    }
    let page = render(&evaluation, None, &Look::default()).unwrap();
    check(&page);
    assert!(page.len() < 5_000_000 && page.contains("pictures of the record are left out"), "{} bytes", page.len());
    assert!(page.matches("image/png").count() >= 9, "there is room for some");
}

const STRANGE: [&str; 5] = [
    "<script>alert(1)</script>",
    "a & b \"quoted\" 'single'",
    "نموذج قوي \u{202e}rtl",
    "averylongnamewithoutanyblankinitthatgoesonandonandonandonandonandonandonandonandonandonandonandonandonandon",
    "{{ 7 * 7 }} {% raw %}",
];

/// An evaluation whose names are all strange ones.
fn strange() -> Evaluation {
    let mut text = serde_json::to_string(&small()).unwrap();
    let names = ["original", "teacher", "apt", "wise_ft-0.5", "robustify"];
    for (name, strange) in names.iter().zip(STRANGE) {
        text = text.replace(&format!("\"{name}\""), &serde_json::to_string(strange).unwrap());
    }
    let mut evaluation: Evaluation = serde_json::from_str(&text).unwrap();
    evaluation.title = STRANGE.join(" ");
    evaluation.command = STRANGE.join("\n");
    for suite in &mut evaluation.suites {
        suite.title = STRANGE[3].into();
        suite.classes = STRANGE.iter().chain(&STRANGE).map(|&name| name.to_owned()).collect();
        suite.notes = STRANGE.map(str::to_owned).to_vec();
        for cell in &mut suite.cells {
            cell.shift = cell.shift.take().map(|shift| format!("{shift}{}", STRANGE[0]));
            cell.group = cell.group.take().map(|_| STRANGE[3].to_owned());
        }
    }
    evaluation
}

#[test]
fn strange_names_stay_names() {
    let page = render(&strange(), Some(&made::times()), &Look::default()).unwrap();
    check(&page);
    assert!(
        page.contains("&lt;script&gt;alert(1)") && !page.contains("<script") && page.contains("7 * 7"),
        "a name was read as markup"
    );
    assert!(!page.contains(">49 "));
}

#[test]
fn a_folder_of_ones_own_replaces_templates() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("report.html"), "{% from \"macros.html\" import table %}<b>{{ title }}</b>")
        .unwrap();
    let look = Look { templates: Some(folder.path().to_owned()) };
    let evaluation = Evaluation { title: "a < b".into(), ..Evaluation::default() };
    assert_eq!(render(&evaluation, None, &look).unwrap(), "<b>a &lt; b</b>");
    std::fs::write(folder.path().join("report.html"), "one\n{{ title |").unwrap();
    let error = render(&evaluation, None, &look).unwrap_err().to_string();
    assert!(error.contains("report.html:2"), "{error}");
    let error = render(&evaluation, None, &Look { templates: Some("absent".into()) }).unwrap_err().to_string();
    assert!(error.contains("there is no folder absent"), "{error}");
}

#[test]
fn page_tables_and_card_are_written_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path(), &made::evaluation(), None, &Look::default()).unwrap();
    assert!(written.page.is_file() && written.card.is_file());
    for file in [
        "overview.csv",
        "fashion-c-generated-summary.md",
        "fashion-c-generated-cells.tex",
        "fashion-drawn-on-disk-summary.csv",
    ] {
        assert!(written.tables.join(file).is_file(), "{file}");
    }
    let summary = std::fs::read_to_string(written.tables.join("fashion-c-generated-summary.csv")).unwrap();
    assert!(summary.starts_with("model,clean,noise,blur,weather,digital,mean_accuracy,difference,mce,"), "{summary}");
    let card = std::fs::read_to_string(written.card).unwrap();
    assert!(
        card.starts_with("---\npipeline_tag: image-classification\n")
            && card.contains("- name: \"robustify\"\n  results:\n  - task:"),
        "{card}"
    );
}

/// A browser, if there is one.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file())
}

/// What a browser says of a page that measures others in frames of a telephone's and a screen's width: title and messages.
fn measured(browser: &Path, folder: &Path, pages: &[&str]) -> (String, String) {
    let frame = |page: &&str| {
        [390, 1280]
            .map(|width| format!("<iframe width=\"{width}\" height=\"800\" src=\"{page}/report.html\"></iframe>"))
    };
    let frames: String = pages.iter().flat_map(frame).collect();
    let script = "onload = () => { document.title = [...document.querySelectorAll('iframe')].map(frame => { const page = frame.contentDocument.documentElement; return page.scrollWidth - page.clientWidth + '/' + page.querySelectorAll('h2').length; }).join(' '); }";
    std::fs::write(folder.join("frames.html"), format!("<!DOCTYPE html><body>{frames}<script>{script}</script>"))
        .unwrap();
    let page = format!("file://{}", folder.join("frames.html").display());
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"])
        .args(["--enable-logging=stderr", "--dump-dom", &profile, &page])
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    let title = page.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
    (title.to_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_browser_shows_it_without_errors_and_nothing_is_wider_than_a_telephone() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, evaluation) in [("usual", small()), ("strange", strange())] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        write(&folder.path().join(name), &evaluation, Some(&made::times()), &Look::default()).unwrap();
    }
    let (title, log) = measured(&browser, folder.path(), &["usual", "strange"]);
    // What is wider than the page in pixels, and how many headings there are.
    assert_eq!(title, "0/5 0/5 0/5 0/5", "{log}");
    assert!(!log.contains("CONSOLE"), "{log}");
}
