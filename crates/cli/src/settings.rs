//! Settings that are given beside a file: in the environment (`ROBUSTIFY__A__B=1`), and on the command line (`a.b=1`), where they
//! are no options.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use robustify_experiment::grid::ExperimentConfig;
use robustify_experiment::pretrain::PretrainConfig;
use robustify_experiment::reference::{Reference, with_value};

use crate::args::{Arguments, ConfigOf};

/// The command line. An option that does not exist is often the name of a setting, and then the message says how that is given.
pub fn arguments() -> Arguments {
    let given: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    Arguments::try_parse().unwrap_or_else(|error| with_settings(error, &given).exit())
}

/// The settings of a command.
pub fn reference(of: ConfigOf) -> Reference {
    match of {
        ConfigOf::Train => Reference::of::<robustify_methods::Config>(),
        ConfigOf::Pretrain => Reference::of::<PretrainConfig>(),
        ConfigOf::Experiment => Reference::of::<ExperimentConfig>(),
        ConfigOf::Eval => Reference::of::<robustify_eval::Settings>(),
    }
}

/// Commands that take settings.
const CONFIGURED: [(&str, ConfigOf); 7] = [
    ("train", ConfigOf::Train),
    ("experiment", ConfigOf::Train),
    ("eval", ConfigOf::Eval),
    ("rescore", ConfigOf::Eval),
    ("bench-robustness", ConfigOf::Train),
    ("bench-cost", ConfigOf::Train),
    ("pretrain", ConfigOf::Pretrain),
];

/// The error with the settings that an unknown option may have meant.
fn with_settings(mut error: clap::Error, given: &[String]) -> clap::Error {
    let command = given.get(1).and_then(|name| CONFIGURED.iter().find(|(command, _)| command == name));
    let (Some((_, of)), ErrorKind::UnknownArgument) = (command, error.kind()) else { return error };
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    // What is said of an option leaves out the value behind its equals sign.
    let place = given.iter().position(|argument| argument == option || argument.starts_with(&format!("{option}=")));
    let (written, next) = place.map_or((option, None), |place| (&given[place], given.get(place + 1)));
    let value = next.map(String::as_str).filter(|next| !next.starts_with("--") && !next.contains('='));
    if let Some(tip) = with_value(&reference(*of), written, value) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The settings of the environment, then those of the command line.
pub fn given(overrides: &[String]) -> anyhow::Result<Vec<String>> {
    Ok(environment()?.into_iter().chain(overrides.iter().cloned()).collect())
}

/// The folder of all data sets: the one that was given, or the environment's.
pub fn data_root(given: Option<&Path>) -> Option<PathBuf> {
    let named = std::env::var_os("ROBUSTIFY_DATA").filter(|folder| !folder.is_empty());
    given.map(Path::to_owned).or_else(|| named.map(PathBuf::from))
}

/// The settings in the environment, as overrides.
fn environment() -> anyhow::Result<Vec<String>> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let settings = named.filter(|(name, _)| name.starts_with(PREFIX)).map(|(name, value)| {
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let value = value.into_string().map_err(|value| anyhow!("environment: {name} is no UTF-8 text: {value:?}"))?;
        Ok(format!("{key}={value}"))
    });
    settings.collect()
}

/// What the names of settings in the environment begin with.
const PREFIX: &str = "ROBUSTIFY__";
