//! `bench-augment`: the speed of the corruptions and of AugMix beside that of the reference implementations in Python.
//!
//! Both sides run in turn, round after round, so that whatever else the machine does meets both. Each number is the best of
//! its rounds, and counts processor time but for the threads. Both work on the same PNG files, decoded before.

mod references;
mod result;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::args::Request;
use crate::{bench_models, cargo};
use references::References;
use result::{Best, Comparison, Outcome, Peer, Threads};

const HELP: &str = "\
cargo xtask bench-augment [options]

Measures the fifteen corruptions of the benchmark at severity 3 and triples for AugMix's loss, ours and those of the reference
implementations in Python, one thread each, in turn, on the same photographs. Prints tables of images per second of
processor time and their ratios, the time of all seventy-five cells of an image, and what a second thread brings.

Options:
  --side 224|32          side of the pictures in pixels (default 224)
  --seconds-per-side N   processor seconds for each of the two sides, over three rounds (default 60); slow references take
                         longer, and the cells and threads as long again
  --json FILE            writes every figure to a file as well
  --python PATH          a Python that has the packages of crates/augment/peers/requirements.txt, and perhaps torchvision,
                         whose AugMix is measured then. Without it they are installed, once, into a virtual environment in
                         target/bench-augment, made with the python3 of the machine (3.9 to 3.11)

imagenet_c needs the library of ImageMagick 6 (`libmagickwand-6.q16-6` of Debian); without it, it is left out, and the output
says so. Its package comes without its pictures of frost, so that its frost fails even then.
";

/// How often both sides run.
const ROUNDS: u32 = 3;

/// The packages, and the profile that does the same work.
const PAIRS: [(&str, &str); 2] = [("imagecorruptions", "imagecorruptions"), ("imagenet_c", "imagenet-c")];

/// Prepares both sides, measures them and prints the tables.
pub fn run(request: &Request) -> Result<ExitCode> {
    request.expect_no_backend()?;
    let options = Options::parse(request)?;
    if options.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let cache = cache()?;
    let references = References::prepare(options.python.as_deref(), &cache)?;
    let mut about = references.about()?;
    if options.side != 224 {
        about["missing"]["imagenet_c"] = "it takes images of 224 pixels alone".into();
    }
    let pictures = references.pictures(options.side, &cache)?;
    let is_there = |name: &str| about["missing"].get(name).is_none();
    let pairs: Vec<_> = PAIRS.into_iter().filter(|(package, _)| is_there(package)).collect();
    ensure!(!pairs.is_empty(), "no reference implementation is there: {}", about["missing"]);
    let mixers: Vec<_> =
        ["augmix-pillow", "augmix-torch", "augmix-torchvision"].into_iter().filter(|name| is_there(name)).collect();
    let peers: Vec<&str> = pairs.iter().map(|(package, _)| *package).chain(mixers.iter().copied()).collect();

    // No package holds the constants of CIFAR-10-C, but the cells of a small image are those of that benchmark.
    let benchmark = if options.side == 224 { "imagenet-c" } else { "cifar-c" };
    let load = bench_models::load();
    let seconds = options.seconds / f64::from(ROUNDS);
    let (mut best, mut cells, mut threads) = (Best::default(), Best::default(), Threads::default());
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (_, profile) in &pairs {
            best.add(Peer::Ours, &ours("speed", profile, seconds / pairs.len() as f64, &pictures)?)?;
        }
        best.add(Peer::Reference, &references.speed(&peers, seconds, &pictures)?)?;
        cells.add(Peer::Ours, &ours("cells", benchmark, seconds / 2.0, &pictures)?)?;
        threads.add(&ours("threads", benchmark, seconds / 2.0, &pictures)?)?;
    }
    let outcome = Outcome {
        side: options.side,
        rounds: ROUNDS,
        seconds_per_side: options.seconds,
        processor: processor(),
        load,
        about,
        comparisons: pairs.iter().map(|(package, profile)| Comparison::of(&best, package, profile)).collect(),
        mixers: mixers.iter().filter_map(|name| best.mixer(name, pairs[0].1)).collect(),
        cells: cells.cells(benchmark),
        threads,
    };
    print!("{}", outcome.text());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&outcome.json())? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs our own program and returns its lines.
fn ours(mode: &str, profile: &str, seconds: f64, pictures: &[PathBuf]) -> Result<Vec<Value>> {
    let shell = cargo::shell()?;
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let command = shell
        .cmd(program)
        .args(["run", "--release", "--quiet", "--package", "robustify-augment", "--example", "throughput", "--"])
        .args([mode, profile, &seconds.to_string()])
        .args(pictures);
    lines(&command.quiet().read().context("the example `throughput` of robustify-augment failed")?)
}

/// Lines of JSON.
fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("is no JSON: {line}"))).collect()
}

/// Where the environment and the pictures are kept.
fn cache() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cargo::root().join("target"), PathBuf::from);
    let folder = std::path::absolute(target)?.join("bench-augment");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The name of the processor, where the system tells it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/cpuinfo")).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[derive(Debug, PartialEq)]
struct Options {
    python: Option<PathBuf>,
    side: u32,
    seconds: f64,
    json: Option<PathBuf>,
    help: bool,
}

impl Options {
    fn parse(request: &Request) -> Result<Self> {
        let mut options = Self { python: None, side: 224, seconds: 60.0, json: None, help: false };
        let mut args = request.rest.iter();
        while let Some(arg) = args.next() {
            let (flag, inline) = arg.split_once('=').map_or((arg.as_str(), None), |(flag, value)| (flag, Some(value)));
            let mut value = || {
                let value = inline.or_else(|| args.next().map(String::as_str));
                value.with_context(|| format!("{flag} needs a value"))
            };
            match flag {
                "--help" | "-h" => options.help = true,
                "--python" => options.python = Some(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                "--side" => {
                    options.side = match value()? {
                        "224" => 224,
                        "32" => 32,
                        other => bail!("--side is 224 or 32, not `{other}`"),
                    }
                }
                "--seconds-per-side" => {
                    let text = value()?;
                    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0 && seconds.is_finite());
                    options.seconds =
                        seconds.with_context(|| format!("--seconds-per-side is a number above 0, not `{text}`"))?;
                }
                _ => bail!("`bench-augment` takes no argument `{arg}`; `cargo xtask bench-augment --help` lists them"),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&Request::parse(line.split_whitespace().map(Into::into)).unwrap())
    }

    #[test]
    fn options_are_read_and_faults_named() {
        let options = parse("bench-augment --side=32 --seconds-per-side 2.5 --json a.json --python p").unwrap();
        let expected =
            Options { python: Some("p".into()), side: 32, seconds: 2.5, json: Some("a.json".into()), help: false };
        assert_eq!(options, expected);
        assert!(parse("bench-augment --help").unwrap().help);
        let faults = [
            ("--side 64", "`64`"),
            ("--seconds-per-side 0", "`0`"),
            ("--seconds-per-side long", "`long`"),
            ("--json", "--json needs a value"),
            ("--second 3", "`--second`"),
        ];
        for (line, part) in faults {
            let message = parse(&format!("bench-augment {line}")).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn a_line_that_is_no_json_is_refused() {
        assert!(lines("{\"a\": 1}\nwarning: something").unwrap_err().to_string().contains("warning: something"));
        assert_eq!(lines("{\"a\": 1}\n{}").unwrap().len(), 2);
    }
}
