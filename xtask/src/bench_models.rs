//! `bench-models`: the speed of flex, of LibTorch and of PyTorch on the same models, in one table.
//!
//! The peers take turns model by model, round after round, so that whatever else the machine does meets all of them, and each
//! number is the best of its rounds. A peer that is not there is skipped, and the table says why.
//!
//! OpenMP's threads spin while they wait for each other. Beside other load that burns most of a core for nothing, and PyTorch
//! falls to a fraction of its speed; so it is measured with passive waiting as well, and ratios are to the better of the two.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::args::{Backend, Request};
use crate::{cargo, libtorch};

/// The models, by the keys of this file; the program and `models.py` read them from it as well.
const MODELS: &str = include_str!("../../crates/bench/peers/models.json");

const HELP: &str = "\
cargo xtask bench-models [--backend tch --torch-venv DIR] [options]

Measures a forward pass, and a step of training with AdamW, on flex, on LibTorch where `--torch-venv` leads to it, and on PyTorch, in
turn, and prints images per second, by the clock and by processor time, with ratios to PyTorch: first the models that both
compute alike, then those of which ours leaves something out.

Options:
  --models A,B    these models alone, by the keys of crates/bench/peers/models.json
  --seconds S     seconds of one measurement (default 3)
  --rounds N      how often the peers take turns; each number is the best of its rounds (default 3)
  --threads N     threads of each peer (default: the cores)
  --json FILE     writes every figure to a file as well
  --python PATH   a Python with torch (default: that of --torch-venv, or of the active environment)
";

/// What stands above the table of models that both sides compute alike.
const SAME_WORK: &str = "The same work on both sides. Ratios are to the best row of PyTorch in the same column.\n\n";

/// What stands above the other table.
const SHORTCUT: &str = "
The class-token shortcut, which is NOT the same work: the classifier reads the class token alone, so ours computes the last block
for that token only, and PyTorch (as timm) for all tokens.

";

/// Makes OpenMP's threads sleep while they wait.
const PASSIVE: (&str, &str) = ("OMP_WAIT_POLICY", "passive");

/// Builds what can be measured, measures it and prints the table.
pub fn run(request: &Request) -> Result<ExitCode> {
    let options = Options::parse(request)?;
    if options.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let models = options.chosen()?;
    let (peers, skipped) = peers(request, &options);
    let load_before = load();
    let mut measured = Vec::new();
    for model in &models {
        for round in 1..=options.rounds {
            for peer in &peers {
                eprintln!("{model} on {}{}, round {round} of {}", peer.name, peer.suffix, options.rounds);
                keep_best(&mut measured, peer.measure(model, &options)?);
            }
        }
    }
    let (shortcut, same): (Vec<_>, Vec<_>) = measured.iter().partition(|row| takes_shortcut(&row.model));
    for (heading, rows) in [(SAME_WORK, same), (SHORTCUT, shortcut)] {
        if !rows.is_empty() {
            print!("{heading}{}", table(&rows));
        }
    }
    println!("\n{}", circumstances(load_before));
    if let Some(path) = &options.json {
        let rows: Vec<Value> = measured.iter().map(Measurement::json).collect();
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        std::fs::write(path, text).with_context(|| format!("{} could not be written", path.display()))?;
    }
    if let Some(load) = load_before.filter(|load| *load > 0.5) {
        println!(
            "\nThe machine was busy: a load of {load} before the start. Images per second by the clock compare nothing, and those per second \
             of processor time only roughly; repeat them on an idle one."
        );
    }
    for (name, reason) in skipped {
        println!("\n{name} was skipped: {reason}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The load average of the last minute, where the system tells it.
pub fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Commit, command, machine and load: without them a number cannot be judged.
fn circumstances(load_before: Option<f64>) -> String {
    let commit = cargo::shell().ok().and_then(|shell| {
        let [commit, changes] =
            [&["rev-parse", "--short", "HEAD"][..], &["status", "--porcelain", "--untracked-files=no"]]
                .map(|args| shell.cmd("git").args(args).quiet().ignore_stderr().read());
        Some(format!("{}{}", commit.ok()?, if changes.ok()?.is_empty() { "" } else { " with changes" }))
    });
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let (_, name) = text.lines().find(|line| line.starts_with("model name"))?.split_once(':')?;
        Some(name.trim().to_owned())
    });
    let unknown = || "unknown".to_owned();
    let [before, after] = [load_before, load()].map(|load| load.map_or_else(unknown, |load| load.to_string()));
    format!(
        "Commit {}; `cargo xtask {}`; {} cores, processor {}; load {before} before, {after} after.",
        commit.unwrap_or_else(unknown),
        std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        std::thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string()),
        processor.unwrap_or_else(unknown),
    )
}

/// Whether our forward of a model leaves out what its classifier does not read: the other tokens of a ViT's last block.
fn takes_shortcut(model: &str) -> bool {
    let models: Value = serde_json::from_str(MODELS).unwrap_or_default();
    let config = &models[model];
    config["architecture"] == "vit" && config["pool"] != "mean"
}

#[derive(Debug, PartialEq)]
struct Options {
    help: bool,
    python: Option<PathBuf>,
    seconds: f64,
    rounds: usize,
    threads: Option<usize>,
    models: Vec<String>,
    json: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { help: false, python: None, seconds: 3.0, rounds: 3, threads: None, models: Vec::new(), json: None }
    }
}

impl Options {
    fn parse(request: &Request) -> Result<Self> {
        let mut options = Self::default();
        let mut args = request.rest.iter();
        while let Some(arg) = args.next() {
            let (flag, inline) = arg.split_once('=').map_or((arg.as_str(), None), |(flag, value)| (flag, Some(value)));
            let mut value = || {
                let value = inline.or_else(|| args.next().map(String::as_str));
                value.map(str::to_owned).with_context(|| format!("{flag} needs a value"))
            };
            match flag {
                "--help" | "-h" => options.help = true,
                "--python" => options.python = Some(value()?.into()),
                "--seconds" => {
                    let text = value()?;
                    options.seconds = text
                        .parse()
                        .ok()
                        .filter(|s: &f64| *s > 0.0 && s.is_finite())
                        .with_context(|| format!("--seconds takes a number above 0, not `{text}`"))?;
                }
                "--rounds" => options.rounds = count(flag, &value()?)?,
                "--threads" => options.threads = Some(count(flag, &value()?)?),
                "--models" => options.models.extend(value()?.split(',').map(str::to_owned)),
                "--json" => options.json = Some(value()?.into()),
                _ => bail!("`bench-models` does not take `{arg}`; `cargo xtask bench-models --help` lists its options"),
            }
        }
        Ok(options)
    }

    /// The models to measure, in the order of the file: those of `--models`, or all.
    fn chosen(&self) -> Result<Vec<String>> {
        let models: serde_json::Map<String, Value> = serde_json::from_str(MODELS).context("models.json")?;
        if let Some(unknown) = self.models.iter().find(|model| !models.contains_key(*model)) {
            let known: Vec<_> = models.keys().map(String::as_str).collect();
            bail!("--models names `{unknown}`; the models are {}", known.join(", "));
        }
        let is_chosen = |model: &String| self.models.is_empty() || self.models.contains(model);
        Ok(models.into_iter().map(|(name, _)| name).filter(is_chosen).collect())
    }

    /// The options that the program and `models.py` share.
    fn shared(&self) -> Vec<String> {
        let threads = self.threads.map(|threads| ["--threads".to_owned(), threads.to_string()]);
        let seconds = ["--seconds".to_owned(), self.seconds.to_string()];
        seconds.into_iter().chain(threads.into_iter().flatten()).collect()
    }
}

/// A number of at least one.
fn count(flag: &str, text: &str) -> Result<usize> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.with_context(|| format!("{flag} takes a whole number above 0, not `{text}`"))
}

/// Something that measures itself when started with a model's name.
#[derive(Clone)]
struct Peer {
    name: String,
    /// What the table adds to the name that the peer gives itself.
    suffix: &'static str,
    program: OsString,
    args: Vec<String>,
    /// The option behind which the model's name goes.
    model_flag: &'static str,
    env: Vec<(&'static str, OsString)>,
}

/// The peers that are there, and why the others are not.
fn peers(request: &Request, options: &Options) -> (Vec<Peer>, Vec<(&'static str, String)>) {
    let (mut peers, mut skipped) = (Vec::new(), Vec::new());
    let tch = Backend { selector: "tch".into(), name: "tch" };
    let with_tch = Request { backend: Some(tch.clone()), torch_venv: request.torch_venv.clone(), ..Request::default() };
    let tch_env = libtorch::environment(&with_tch);
    // One program for both backends, since flex stays in beside any other.
    let program = if tch_env.is_ok() { with_tch } else { Request::default() };
    let env = tch_env.as_ref().cloned().unwrap_or_default();
    peers.push(backend_peer("flex", &program, env.clone()));
    match tch_env {
        Ok(_) => peers.extend(both_ways(backend_peer(&tch.selector, &program, env))),
        Err(error) => skipped.push(("LibTorch", format!("{error:#}"))),
    }
    if let Some(other) = request.other_backend().filter(|other| other.name != tch.name) {
        let program = Request { backend: Some(other.clone()), ..Request::default() };
        peers.push(backend_peer(&other.selector, &program, Vec::new()));
    }
    match python_peer(request, options) {
        Ok(peer) => peers.extend(both_ways(peer)),
        Err(error) => skipped.push(("PyTorch", format!("{error:#}"))),
    }
    (peers, skipped)
}

/// A peer with OpenMP waiting as it is set up, and passively.
fn both_ways(peer: Peer) -> [Peer; 2] {
    let mut passive = peer.clone();
    passive.env.push((PASSIVE.0, PASSIVE.1.into()));
    passive.suffix = ", passive wait";
    [peer, passive]
}

fn backend_peer(selector: &str, program: &Request, env: Vec<(&'static str, OsString)>) -> Peer {
    let mut args: Vec<String> = ["run", "--release", "--quiet", "--package", "robustify"].map(Into::into).into();
    args.extend(program.features());
    args.extend(["--", "bench-models", "--backend", selector].map(Into::into));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Peer { name: selector.into(), suffix: "", program, args, model_flag: "--models", env }
}

fn python_peer(request: &Request, options: &Options) -> Result<Peer> {
    let venv = || request.torch_venv.clone().or_else(|| std::env::var_os("VIRTUAL_ENV").map(PathBuf::from));
    let inside = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let python = options.python.clone().or_else(|| Some(venv()?.join(inside)));
    let python = python.context("no Python is named by --python or --torch-venv, and no environment is active")?;
    // The script runs from the root of the workspace, wherever this was called from.
    let python = if python.components().count() > 1 { std::path::absolute(&python)? } else { python };
    let shell = cargo::shell()?;
    shell.cmd(&python).args(["-c", "import torch"]).quiet().ignore_stdout().ignore_stderr().run().with_context(
        || format!("{} cannot import torch; `pip install torch==2.9.0` gives it to an environment", python.display()),
    )?;
    let script = Path::new("crates/bench/peers/models.py");
    let args = vec![script.display().to_string()];
    Ok(Peer {
        name: "PyTorch".into(),
        suffix: "",
        program: python.into_os_string(),
        args,
        model_flag: "--model",
        env: Vec::new(),
    })
}

impl Peer {
    fn measure(&self, model: &str, options: &Options) -> Result<Vec<Measurement>> {
        let vars = self.env.iter().map(|(name, value)| (*name, value.as_os_str()));
        let shell = cargo::shell()?;
        let command = shell.cmd(&self.program).args(&self.args).args([self.model_flag, model]).args(options.shared());
        let output = command.envs(vars).quiet().read().with_context(|| format!("{} on {model}", self.name))?;
        let parse = |line| -> Result<Measurement> {
            let mut measured = Measurement::parse(line).with_context(|| format!("{}: {line}", self.name))?;
            measured.peer += self.suffix;
            Ok(measured)
        };
        output.lines().map(parse).collect()
    }
}

#[derive(Debug, PartialEq)]
struct Measurement {
    peer: String,
    model: String,
    work: String,
    by_clock: f64,
    by_processor: f64,
}

impl Measurement {
    fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line)?;
        let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}`"));
        let number = |key: &str| value[key].as_f64().with_context(|| format!("no `{key}`"));
        Ok(Self {
            peer: text("peer")?,
            model: text("model")?,
            work: text("work")?,
            by_clock: number("images_per_second")?,
            by_processor: number("images_per_cpu_second")?,
        })
    }

    fn json(&self) -> Value {
        json!({
            "peer": self.peer, "model": self.model, "work": self.work,
            "images_per_second": self.by_clock, "images_per_cpu_second": self.by_processor,
        })
    }
}

/// Adds a round's measurements: each of the two numbers is the best of its rounds.
fn keep_best(measured: &mut Vec<Measurement>, round: Vec<Measurement>) {
    for new in round {
        match measured.iter_mut().find(|old| (&old.peer, &old.model, &old.work) == (&new.peer, &new.model, &new.work)) {
            Some(old) => {
                old.by_clock = old.by_clock.max(new.by_clock);
                old.by_processor = old.by_processor.max(new.by_processor);
            }
            None => measured.push(new),
        }
    }
}

/// A table in Markdown: a row a measurement, ratios to PyTorch where PyTorch was measured.
fn table(measured: &[&Measurement]) -> String {
    let mut text = String::from(
        "| model | work | peer | images/s | ratio | images/CPU-s | ratio |\n|---|---|---|---:|---:|---:|---:|\n",
    );
    let mut rows = measured.to_vec();
    // Stable: within a model and a work, the peers keep the order they were measured in.
    rows.sort_by(|a, b| (&a.model, &a.work).cmp(&(&b.model, &b.work)));
    for row in rows {
        let same = |other: &&Measurement| (&other.model, &other.work) == (&row.model, &row.work);
        let peers = || measured.iter().copied().filter(same).filter(|other| other.peer.starts_with("PyTorch"));
        let ratio = |of: fn(&Measurement) -> f64| match peers().map(of).reduce(f64::max) {
            Some(best) => format!("{:.2}", of(row) / best),
            None => "-".into(),
        };
        text += &format!(
            "| {} | {} | {} | {:.1} | {} | {:.1} | {} |\n",
            row.model,
            row.work,
            row.peer,
            row.by_clock,
            ratio(|row| row.by_clock),
            row.by_processor,
            ratio(|row| row.by_processor)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(peer: &str, by_clock: f64) -> Measurement {
        let line = format!(
            r#"{{"peer": "{peer}", "model": "m", "work": "train", "threads": 2,
                "images_per_second": {by_clock}, "images_per_cpu_second": 10.0}}"#
        );
        Measurement::parse(&line).unwrap()
    }

    #[test]
    fn ratios_are_to_the_best_of_pytorch_on_the_same_work() {
        let [flex, spinning, passive] =
            [("flex", 30.0), ("PyTorch 2.9.0", 15.0), ("PyTorch 2.9.0, passive wait", 60.0)]
                .map(|(p, n)| measurement(p, n));
        let text = table(&[&flex, &spinning, &passive]);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        let expected = [
            "| m | train | flex | 30.0 | 0.50 | 10.0 | 1.00 |",
            "| m | train | PyTorch 2.9.0 | 15.0 | 0.25 | 10.0 | 1.00 |",
            "| m | train | PyTorch 2.9.0, passive wait | 60.0 | 1.00 | 10.0 | 1.00 |",
        ];
        assert_eq!(rows, expected);
        assert!(table(&[&measurement("flex", 30.0)]).ends_with("| m | train | flex | 30.0 | - | 10.0 | - |\n"));
    }

    #[test]
    fn only_class_token_networks_take_the_shortcut() {
        let models: serde_json::Map<String, Value> = serde_json::from_str(MODELS).unwrap();
        let found: Vec<&str> = models.keys().map(String::as_str).filter(|model| takes_shortcut(model)).collect();
        assert_eq!(found, ["vit_d128_L4_h4_conv", "vit_d192_L6_h3_p4"]);
    }

    #[test]
    fn each_number_is_the_best_of_its_rounds() {
        let mut kept = vec![measurement("flex", 30.0)];
        keep_best(&mut kept, vec![measurement("flex", 20.0), measurement("tch", 5.0)]);
        keep_best(&mut kept, vec![Measurement { by_processor: 11.0, ..measurement("flex", 40.0) }]);
        assert_eq!(kept, [Measurement { by_processor: 11.0, ..measurement("flex", 40.0) }, measurement("tch", 5.0)]);
    }

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let parse = |line: &str| Options::parse(&Request::parse(line.split_whitespace().map(Into::into)).unwrap());
        let options = parse("bench-models --python=p --seconds 2 --models a,b").unwrap();
        assert_eq!((options.python.clone(), options.models.clone()), (Some("p".into()), vec!["a".into(), "b".into()]));
        assert_eq!(options.shared(), ["--seconds", "2"]);
        assert!(options.chosen().unwrap_err().to_string().contains("`a`"));
        assert!(parse("bench-models --help").unwrap().help);
        let faults = [
            ("--second 2", "`--second`"),
            ("--seconds", "needs a value"),
            ("--seconds 0", "`0`"),
            ("--rounds none", "`none`"),
            ("--threads 0", "--threads"),
        ];
        for (line, part) in faults {
            let message = parse(&format!("bench-models {line}")).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn a_line_that_is_no_measurement_is_refused() {
        assert!(Measurement::parse("warning: something").is_err());
        assert!(Measurement::parse(r#"{"peer": "flex"}"#).is_err());
    }
}
