//! `eval`: any model on any images. `merge`: the answers of shards in one folder. `rescore`: another rule for answers that are there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use robustify_data::place;
use robustify_eval::models::Asked;
use robustify_eval::{Job, Manifest, Outcome, Settings, Shard, evaluate, merge as merging, shell, text};
use robustify_experiment::settings as files;
use robustify_report::evaluation::{Evaluation, Times};
use robustify_report::leaderboard::EVALUATION;
use robustify_report::page;

use crate::args::{Eval, Look, ManifestOf, Merge, Rescore};
use crate::commands::compare::lines;
use crate::commands::{expect_no_file, is_setting, names_in};
use crate::console::{self, Console};
use crate::{hub, settings};

/// Evaluates, and prints what came of it.
pub fn run(options: &Eval, console: &Console) -> anyhow::Result<()> {
    let (models, given): (Vec<&String>, Vec<&String>) =
        options.models.iter().partition(|word| !is_setting(word, &KEYS));
    if let Some(manifest) = options.manifest {
        return print_manifest(options, manifest);
    }
    expect_data(options)?;
    let mut given: Vec<String> = given.into_iter().cloned().collect();
    given.extend(options.images.map(|images| format!("benchmark.images={images}")));
    let settings: Settings = files::parse("", Path::new("of the evaluation"), &settings::given(&given)?)?;
    let shard = match &options.shard {
        Some(shard) => Some(shard.parse().context("--shard")?),
        None => Shard::of_environment(|name| std::env::var(name).ok())?,
    };
    let job = Job {
        models: asked(options, &models, &settings)?,
        data: options.data.clone(),
        suites: options.suite.clone(),
        root: settings::data_root(options.root.data_root.as_deref()),
        settings,
        out: options.out.clone(),
        part: options.part as usize,
        shard,
        command: shown_command(options),
        environment: hub::environment(),
    };
    let machine = options.common.machine()?;
    match evaluate(&job, &machine, console)? {
        Outcome::Whole(evaluation) => told(&evaluation, &options.out, &options.look),
        Outcome::Waiting(missing) => {
            let shown: String = missing.iter().take(10).map(|line| format!("  {line}\n")).collect();
            let more = if missing.len() > 10 { format!("  and {} more\n", missing.len() - 10) } else { String::new() };
            console::result(&format!("This shard is done. {} parts are missing here:\n{shown}{more}", missing.len()))
        }
    }
}

/// Puts the answers of shards together.
pub fn merge(options: &Merge, console: &Console) -> anyhow::Result<()> {
    let evaluation = merging::merge(&options.from, &options.out, options.threads.count(), console)?;
    told(&evaluation, &options.out, &options.look)
}

/// Judges answers again.
pub fn rescore(options: &Rescore, console: &Console) -> anyhow::Result<()> {
    if let Some(other) = options.overrides.iter().find(|setting| !setting.starts_with("select.")) {
        anyhow::bail!(
            "{other}: answers are judged by another rule (select.rule.rule=NAME); anything else is asked anew by `eval`"
        );
    }
    let settings: Settings = files::parse("", Path::new("of the evaluation"), &settings::given(&options.overrides)?)?;
    let rule = settings.select.rule;
    let evaluation = merging::rescore(&options.out, rule.as_ref(), options.threads.count(), console)?;
    told(&evaluation, &options.out, &options.look)
}

/// Prints what came of an evaluation, and draws its report.
fn told(evaluation: &Evaluation, out: &Path, look: &Look) -> anyhow::Result<()> {
    let file = out.join(EVALUATION);
    let times = Times::beside(&file)?;
    let written = page::write(out, evaluation, times.as_ref(), &look.of())?;
    let record = format!("record: {}\n", file.display());
    console::result(&format!("{}\n{record}{}", text(evaluation), lines(&written)))
}

/// What costs nothing to see, before a model is opened.
fn expect_data(options: &Eval) -> anyhow::Result<()> {
    ensure!(
        !options.data.is_empty() || !options.suite.is_empty(),
        "there is nothing to measure on: --data DIR names images, --suite NAME a published data set"
    );
    for data in &options.data {
        ensure!(data.exists(), "--data {}: {}", data.display(), place::what_is(data));
    }
    expect_no_file(&options.out)
}

/// What the keys of settings begin with.
const KEYS: [&str; 3] = ["benchmark.", "select.", "original."];

/// The models as they were named.
fn asked(options: &Eval, models: &[&String], settings: &Settings) -> anyhow::Result<Vec<Asked>> {
    ensure!(!models.is_empty(), "no model is named");
    let classes = options.classes.as_deref().map(names_in).transpose().context("--classes")?;
    let named = |model: &&String| match &options.weights {
        Some(weights) => format!("{model}={}", weights.display()),
        None => (*model).clone(),
    };
    ensure!(
        options.weights.is_none() || models.len() == 1,
        "--weights goes with one model; several are named NAME=FILE each"
    );
    let one = |model: &&String| Asked {
        named: named(model),
        classes: classes.clone(),
        preprocess: options.preprocess.clone(),
        image_size: options.image_size,
        network: settings.original.network.clone(),
        from: settings.original.from.clone(),
        zero_shot: settings.original.zero_shot.clone(),
        layout: options.layout.clone(),
        output: options.output.clone(),
    };
    Ok(models.iter().map(one).collect())
}

/// The command that makes the evaluation again: what changes no number is left out.
fn command(options: &Eval) -> Vec<String> {
    let mut words = vec!["robustify".to_owned(), "eval".to_owned()];
    words.extend(options.models.iter().cloned());
    let mut put = |name: &str, value: Option<String>| {
        words.extend(value.into_iter().flat_map(|value| [format!("--{name}"), value]));
    };
    let path = |path: &PathBuf| path.display().to_string();
    options.data.iter().for_each(|data| put("data", Some(path(data))));
    options.suite.iter().for_each(|suite| put("suite", Some(suite.clone())));
    put("data-root", options.root.data_root.as_ref().map(path));
    put("weights", options.weights.as_ref().map(path));
    put("classes", options.classes.as_ref().map(path));
    put("preprocess", options.preprocess.clone());
    put("image-size", options.image_size.map(|side| side.to_string()));
    put("layout", options.layout.clone());
    put("output", options.output.clone());
    put("images", options.images.map(|images| images.to_string()));
    put("part", (options.part as usize != Job::PART).then(|| options.part.to_string()));
    put("backend", options.common.backend.clone());
    words
}

/// The same as a shell takes it, with a folder to be chosen: where it went changes nothing.
fn shown_command(options: &Eval) -> String {
    let mut words: Vec<String> = command(options).iter().map(|word| shell(word)).collect();
    words.push("--out OUT".to_owned());
    words.join(" ")
}

fn print_manifest(options: &Eval, manifest: ManifestOf) -> anyhow::Result<()> {
    let mut words = command(options);
    words.extend(["--out".to_owned(), options.out.display().to_string()]);
    let manifest = match manifest {
        ManifestOf::Slurm => Manifest::Slurm,
        ManifestOf::Kubernetes => Manifest::Kubernetes,
    };
    console::result(&manifest.text(&words, options.shards.unwrap_or(1).into()))
}
