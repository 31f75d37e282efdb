//! `predict`: what a model takes pictures for.

use std::ffi::OsString;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use robustify_device::Machine;
use robustify_eval::Settings;
use robustify_eval::models::{self, Asked, Opened};
use robustify_eval::predict::{Answer, Asking, Told, pictures, predict};
use robustify_experiment::settings as files;
use robustify_pictures::Ended;
use robustify_watch::Watch as _;
use serde_json::json;

use crate::args::{Predict, PredictFormat};
use crate::commands::{is_setting, names_in};
use crate::console::{self, Console};
use crate::{hub, settings};

/// Answers for pictures, one after the other.
pub fn run(options: &Predict, console: &Console) -> anyhow::Result<()> {
    let (given, named): (Vec<&String>, Vec<&String>) =
        options.pictures.iter().partition(|word| is_setting(word, &KEYS));
    let given: Vec<String> = given.into_iter().cloned().collect();
    let settings: Settings = files::parse("", Path::new("of the answers"), &settings::given(&given)?)?;
    if let Some(least) = options.abstain {
        ensure!((0.0..=1.0).contains(&least), "--abstain {least}: a probability from 0 to 1 is expected");
    }
    let mut paths = paths(&named)?.peekable();
    ensure!(
        paths.peek().is_some(),
        "there is no picture; in folders, files named .jpg, .jpeg, .png or .webp are taken for pictures, and others are passed over"
    );
    let machine = options.common.machine()?;
    let classes = options.classes.as_deref().map(names_in).transpose().context("--classes")?;
    let asked = Asked {
        named: options.model.clone(),
        classes: classes.clone(),
        preprocess: options.preprocess.clone(),
        network: settings.original.network.clone(),
        from: settings.original.from.clone(),
        zero_shot: settings.original.zero_shot.clone(),
        ..Asked::default()
    };
    let opened = models::open(&[asked], &hub::environment(), &machine.device, console)?;
    let opened = one(&opened, &options.model)?;
    if let Some(doubt) = &opened.doubt {
        console.warn(doubt);
    }
    let (given, top) = (classes.unwrap_or_default(), usize::from(options.top));
    let writer = Writer { format: options.format, classes: Classes::of(opened, &given, &machine)? };
    let asking = Asking { opened, classes: &given, rule: settings.select.rule, top, abstain: options.abstain };
    if options.format == PredictFormat::Csv {
        console::result(HEADING)?;
    }
    let counts = predict(&asking, paths, &machine, console, |told| console::result(&writer.line(&told)))?;
    if counts.unusable == 0 {
        return Ok(());
    }
    let (bad, all) = (counts.unusable, counts.answered + counts.unusable);
    Err(Ended::Partial(format!(
        "{bad} of {all} pictures could not be used; they are named above, all others are answered"
    ))
    .into())
}

/// The model that is meant: of a run's, the robust one.
fn one<'a>(opened: &'a [Opened], named: &str) -> anyhow::Result<&'a Opened> {
    if let [one] = opened {
        return Ok(one);
    }
    opened.iter().find(|model| model.record.name == "robustify").with_context(|| {
        let names: Vec<&str> = opened.iter().map(|model| model.record.name.as_str()).collect();
        format!("{named}: a run with the models {}; name the file of one, in its folder `models`", names.join(", "))
    })
}

/// What the keys of settings begin with.
const KEYS: [&str; 2] = ["select.", "original."];

/// The pictures that are named, or whose paths come on standard input.
fn paths(named: &[&String]) -> anyhow::Result<Box<dyn Iterator<Item = PathBuf>>> {
    if named.iter().any(|word| word.as_str() == "-") {
        ensure!(named.len() == 1, "`-` stands for paths on standard input, and goes with no other picture");
        let lines = std::io::stdin().lock().split(b'\n').map_while(Result::ok).filter(|line| !line.is_empty());
        return Ok(Box::new(lines.map(|line| PathBuf::from(path_of(line)))));
    }
    ensure!(!named.is_empty(), "no picture is named: a file, a folder or - is expected");
    let named: Vec<PathBuf> = named.iter().map(|word| PathBuf::from(word.as_str())).collect();
    Ok(Box::new(pictures(&named)?))
}

/// A path as it came, whatever its bytes are.
#[cfg(unix)]
fn path_of(mut line: Vec<u8>) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    OsString::from_vec(line)
}

#[cfg(not(unix))]
fn path_of(line: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned().into()
}

/// Names of the classes, where something says them.
struct Classes(Vec<String>);

impl Classes {
    fn of(opened: &Opened, given: &[String], machine: &Machine) -> anyhow::Result<Self> {
        if !given.is_empty() || opened.has_texts() {
            return Ok(Self(given.to_vec()));
        }
        let first = |names: &Vec<String>| names.first().cloned().unwrap_or_default();
        Ok(Self(match &opened.known {
            Some(known) => known.names.iter().map(first).collect(),
            None => opened.predictor(given, machine)?.classes().to_vec(),
        }))
    }

    fn name(&self, class: usize) -> String {
        self.0.get(class).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| class.to_string())
    }
}

const HEADING: &str = "path,class,index,probability,head,uncertainty,abstains,error\n";

struct Writer {
    format: PredictFormat,
    classes: Classes,
}

impl Writer {
    fn line(&self, told: &Told) -> String {
        let path = told.path.to_string_lossy();
        match self.format {
            PredictFormat::Text => match &told.answer {
                Ok(answer) => format!("{path}: {}\n", self.text(answer)),
                Err(reason) => format!("{path}: error: {reason}\n"),
            },
            PredictFormat::Jsonl => format!("{}\n", self.json(&path, told)),
            PredictFormat::Csv => self.csv(&path, told),
        }
    }

    fn text(&self, answer: &Answer) -> String {
        let class =
            |(class, probability): &(usize, f32)| format!("{} {:.1} %", self.classes.name(*class), 100.0 * probability);
        let mut text = answer.top.iter().map(class).collect::<Vec<_>>().join(", ");
        if answer.abstains {
            text = format!("abstains ({text})");
        }
        if let Some(head) = answer.head {
            text += &format!(", {head} head");
        }
        text
    }

    fn json(&self, path: &str, told: &Told) -> serde_json::Value {
        let classes = |top: &[(usize, f32)]| -> Vec<serde_json::Value> {
            let one = |(class, probability): &(usize, f32)| json!({"class": self.classes.name(*class), "index": class, "probability": rounded(*probability)});
            top.iter().map(one).collect()
        };
        match &told.answer {
            Ok(answer) => {
                let mut line = json!({"path": path, "top": classes(&answer.top), "abstains": answer.abstains});
                if let Some(head) = answer.head {
                    line["head"] = head.into();
                }
                if let Some(uncertainty) = answer.uncertainty {
                    line["uncertainty"] = rounded(uncertainty).into();
                    line["heads"] = answer
                        .heads
                        .iter()
                        .map(|(head, top)| ((*head).to_owned(), classes(top).into()))
                        .collect::<serde_json::Map<_, _>>()
                        .into();
                }
                line
            }
            Err(reason) => json!({"path": path, "error": reason}),
        }
    }

    fn csv(&self, path: &str, told: &Told) -> String {
        let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        match &told.answer {
            Ok(answer) => {
                let line = |(class, probability): &(usize, f32)| {
                    let uncertainty =
                        answer.uncertainty.map_or_else(String::new, |uncertainty| format!("{uncertainty:.6}"));
                    let (name, head) = (quoted(&self.classes.name(*class)), answer.head.unwrap_or_default());
                    format!(
                        "{},{name},{class},{probability:.6},{head},{uncertainty},{},\n",
                        quoted(path),
                        answer.abstains
                    )
                };
                answer.top.iter().map(line).collect()
            }
            Err(reason) => format!("{},,,,,,,{}\n", quoted(path), quoted(reason)),
        }
    }
}

/// Six decimals, as in tables.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e6).round() / 1e6
}
