//! `config reference`: what can be set.

use anyhow::bail;
use robustify_experiment::reference::Reference;

use crate::args::{Config, ConfigReference, ReferenceFormat};
use crate::{console, settings};

/// Prints the reference of the settings of a command.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let Config::Reference(ConfigReference { section, format, of }) = config;
    let (reference, section): (Reference, _) = (settings::reference(*of), section.as_deref());
    let text = match (format, section) {
        (ReferenceFormat::Text, section) => reference.text(section)?,
        (ReferenceFormat::Markdown, section) => reference.markdown(section)?,
        (ReferenceFormat::Json, None) => reference.json()?,
        (ReferenceFormat::Json, Some(section)) => {
            bail!("--format json is the schema of a whole configuration; leave out `{section}`")
        }
    };
    console::result(&text)
}
