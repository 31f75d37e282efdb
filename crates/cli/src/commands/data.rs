//! `data`: the published data sets, where they lie, and whether they are whole.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use robustify_bench::suites::catalog::{self, Check, Declaration, Found, Kind, SUITES};
use robustify_watch::{Watch as _, shown};
use serde_json::{Value, json};

use crate::args::{Data, DataCheck, DataList};
use crate::console::{self, Console};
use crate::settings;

/// Lists data sets, or checks some.
pub fn run(data: &Data, console: &Console) -> anyhow::Result<()> {
    match data {
        Data::List(options) => list(options),
        Data::Check(options) => check(options, console),
    }
}

/// What there is of a data set.
enum State {
    /// It was found.
    Found(Found),
    /// It lies there in a way that is not read.
    Unlike(String),
    /// It is not there, or nobody said where.
    Missing,
}

impl State {
    fn of(suite: &Declaration, root: Option<&Path>) -> Self {
        match root.map(|root| suite.find(root)) {
            Some(Ok(Some(found))) => Self::Found(found),
            Some(Err(error)) => Self::Unlike(error.to_string()),
            Some(Ok(None)) | None => Self::Missing,
        }
    }
}

fn list(options: &DataList) -> anyhow::Result<()> {
    let root = settings::data_root(options.root.data_root.as_deref());
    if let Some(root) = &root {
        ensure!(
            root.is_dir(),
            "{}: there is no such folder; give that of all data sets with --data-root DIR",
            shown(root)
        );
    }
    let words: Vec<String> = options.filter.iter().map(|word| word.to_lowercase()).collect();
    let suites: Vec<(&Declaration, State)> = SUITES
        .into_iter()
        .filter(|suite| words.iter().all(|word| suite.name.contains(word)))
        .map(|suite| (suite, State::of(suite, root.as_deref())))
        .collect();
    ensure!(
        !suites.is_empty(),
        "no data set has a name with `{}`; `robustify data list` shows all",
        words.join("` and `")
    );
    if options.json {
        let all: Vec<Value> = suites.iter().map(|(suite, state)| described(suite, state)).collect();
        return console::result(&format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    let width = suites.iter().map(|(suite, _)| suite.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    let (mut found, mut missing) = (0, 0);
    for (suite, state) in &suites {
        let said = match state {
            State::Found(place) => {
                found += 1;
                format!("found  {}", shown(&place.place))
            }
            State::Unlike(reason) => format!("NOT READ  {reason}"),
            State::Missing => {
                missing += 1;
                format!("-      as {}/ from {}", suite.folders[0], suite.source)
            }
        };
        text += &format!("{:width$}  {said}\n", suite.name);
    }
    text += &match &root {
        Some(root) => {
            format!("\n{found} of {} found in {}; of the others, where to get them.\n", suites.len(), shown(root))
        }
        None => format!("\n{missing} data sets; say where they lie with --data-root DIR or ROBUSTIFY_DATA.\n"),
    };
    console::result(&text)
}

/// Everything that is declared of a data set, and what there is of it.
fn described(suite: &Declaration, state: &State) -> Value {
    let (place, layout, fault) = match state {
        State::Found(found) => (Some(shown(&found.place)), Some(found.layout.about()), None),
        State::Unlike(reason) => (None, None, Some(reason.clone())),
        State::Missing => (None, None, None),
    };
    json!({
        "name": suite.name,
        "title": suite.title,
        "about": suite.about,
        "found": place.is_some(),
        "place": place,
        "layout": layout,
        "fault": fault,
        "folders": suite.folders,
        "layouts": suite.layouts.iter().map(catalog::Layout::about).collect::<Vec<_>>(),
        "origin": if matches!(suite.kind, Kind::Generated { .. }) { "generated" } else { "on disk" },
        "metric": suite.metric,
        "classes": suite.official.classes,
        "images": suite.official.images,
        "images_are_exact": suite.official.exact,
        "training_images": suite.official.train,
        "source": suite.source,
        "notes": suite.notes,
    })
}

fn check(options: &DataCheck, console: &Console) -> anyhow::Result<()> {
    let suites = options.suites.iter().map(|name| catalog::named(name)).collect::<Result<Vec<_>, _>>()?;
    let root = settings::data_root(options.root.data_root.as_deref())
        .context("say where the data sets lie with --data-root DIR or ROBUSTIFY_DATA")?;
    let mut checks = Vec::new();
    for suite in suites {
        let check = suite.check(&root, options.sample, console)?;
        if !options.json {
            console::result(&told(suite, &check))?;
        }
        checks.push(check);
    }
    if options.json {
        let all: Vec<Value> = checks.iter().map(checked).collect();
        console::result(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
    }
    let faulty: Vec<&str> = checks.iter().filter(|check| !check.faults.is_empty()).map(|check| check.suite).collect();
    if faulty.is_empty() {
        return Ok(());
    }
    console.say("what is not as it was published may have been cut off in a download, or be a part of the data");
    bail!("not as published: {}", faulty.join(", "))
}

fn told(suite: &Declaration, check: &Check) -> String {
    let mut text = format!("{} in {}\n", suite.title, shown(&check.place));
    for count in &check.counts {
        text += &match count.found == count.official {
            true => format!("  {} {}, as published\n", count.found, count.what),
            false => format!("  {} {}; {} were published\n", count.found, count.what, count.official),
        };
    }
    text += &format!("  {} images opened\n", check.opened);
    for note in &check.notes {
        text += &format!("  note: {note}\n");
    }
    for fault in &check.faults {
        text += &format!("  FAULT: {fault}\n");
    }
    text
}

fn checked(check: &Check) -> Value {
    let counts = check.counts.iter();
    let counts: Vec<Value> =
        counts.map(|count| json!({ "what": count.what, "official": count.official, "found": count.found })).collect();
    json!({
        "suite": check.suite,
        "place": shown(&check.place),
        "whole": check.faults.is_empty(),
        "counts": counts,
        "opened": check.opened,
        "faults": check.faults,
        "notes": check.notes,
    })
}
