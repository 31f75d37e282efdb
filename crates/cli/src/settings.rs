//! Settings that are given beside a file: in the environment (`ROBUSTIFY__A__B=1`), and on the command line (`a.b=1`).

use anyhow::anyhow;

/// The settings of the environment, then those of the command line.
pub fn given(overrides: &[String]) -> anyhow::Result<Vec<String>> {
    Ok(environment()?.into_iter().chain(overrides.iter().cloned()).collect())
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
