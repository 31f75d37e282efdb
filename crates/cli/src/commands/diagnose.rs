//! `diagnose`: the attention of models and the loss around their weights, side by side.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use robustify_data::splits::{self, DataConfig};
use robustify_diagnose::landscape::Grid;
use robustify_diagnose::{Job, Settings, Subject, about, diagnose};
use robustify_eval::checkpoint::{Model, Weights};
use robustify_predict::RobustModel;
use robustify_predict::classes::KnownClasses;
use robustify_report::diagnosis;
use robustify_watch::Watch as _;
use robustify_zoo::registry;
use robustify_zoo::weights::{self, Beside, Checkpoint, LoadOptions};

use crate::args::{Diagnose, Landscape};
use crate::commands::own::place;
use crate::console::{self, Console};
use crate::hub;

/// Looks at all models and writes page, figures and tables.
pub fn run(options: &Diagnose, console: &Console) -> Result<()> {
    let settings = settings(options);
    let named = options.names.len();
    ensure!(
        named == 0 || named == options.models.len(),
        "--names has {named} names, and {} models are to be looked at",
        options.models.len()
    );
    ensure!(
        options.weights.is_none() || options.models.len() == 1,
        "--weights belongs to one model; of several name each as NAME=FILE"
    );
    let machine = options.common.machine()?;
    let mut subjects: Vec<Subject> = Vec::new();
    for model in &options.models {
        let opened = open(model, options.weights.as_deref(), &machine.device, console);
        subjects.push(opened.with_context(|| format!("model {model}"))?);
    }
    for (subject, name) in subjects.iter_mut().zip(&options.names) {
        subject.name.clone_from(name);
    }
    let data = DataConfig {
        format: None,
        path: options.data.clone(),
        train: "train".into(),
        validation: None,
        test: "test".into(),
        classes: None,
        only: None,
        leave_out: None,
        strict: false,
    };
    let images = splits::reported(&data, console)?;
    let job = Job { subjects: &subjects, images: &images, settings: &settings, command: command(), out: &options.out };
    let found = diagnose(&job, &machine, console)?;
    let written = diagnosis::write(&options.out, &found)?;
    console::result(&format!("{}{}\n", found.text(), written.display()))
}

fn settings(options: &Diagnose) -> Settings {
    let usual = Settings::default();
    let grid = |plane: bool, count: usize| Grid { plane, count: options.grid.unwrap_or(count), radius: options.radius };
    Settings {
        images: Some(options.images.unwrap_or(usual.images.unwrap_or(0))).filter(|count| *count > 0),
        grid: match options.landscape {
            Landscape::Off => None,
            Landscape::Line => Some(grid(false, 21)),
            Landscape::Plane => Some(grid(true, 11)),
        },
        landscape_images: options.landscape_images.unwrap_or(usual.landscape_images),
        curvature_steps: options.curvature,
        exact: [options.images.is_some(), options.landscape_images.is_some()],
        seed: options.seed,
    }
}

/// The command line as it can be typed again.
fn command() -> String {
    let quoted = |argument: String| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(argument.to_string_lossy().into_owned()));
    std::iter::once("robustify".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// A model by what people call it.
fn open(named: &str, weights: Option<&Path>, device: &burn::tensor::Device, console: &Console) -> Result<Subject> {
    let (source, entry) = match named.split_once('=') {
        Some((name, file)) if weights.is_none() && !Path::new(named).exists() => {
            (file.to_owned(), Some(registry::find(name)?.name()))
        }
        _ => place(named, weights)?,
    };
    let file = hub::image_weights(Path::new(&source), console)?;
    if RobustModel::is_one(&file)? {
        ensure!(
            entry.is_none(),
            "{source}: a model that this program wrote says itself what it is; leave the name out"
        );
        return Subject::of_robust(RobustModel::read(&file, device)?, named);
    }
    let described = Weights { named: source, path: file.clone(), model: entry, ..Weights::default() };
    let found = Model::of(&described, device)?;
    console.say(&format!("{named}: {}; {}", found.about, found.preprocess));
    let blank = robustify_zoo::Model::blank(&found.network, device)?;
    let (model, loaded) = weights::load_from(blank, &Checkpoint::open(&file)?, LoadOptions::default())?;
    if !loaded.resized.is_empty() || !loaded.others.is_empty() {
        console.say(&loaded.to_string());
    }
    let count = found.network.classifier();
    let known = Beside::read(&file)?.and_then(|beside| {
        let names = beside.classes.filter(|names| names.len() == count)?;
        Some(KnownClasses { names, from: beside.path.display().to_string() })
    });
    Ok(Subject {
        name: found.name.clone().unwrap_or_else(|| named.to_owned()),
        about: about(&found.network, &model),
        source: named.to_owned(),
        network: found.network,
        model,
        preprocess: found.preprocess.parse()?,
        classes: known,
        notes: found.doubt.into_iter().map(|doubt| format!("What it is may be another model: {doubt}.")).collect(),
    })
}
