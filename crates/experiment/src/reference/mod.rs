//! The reference of settings: every key with its type, default, allowed values and what it means, made from the code that reads
//! them, so that it cannot say anything else.
//!
//! ```
//! use robustify_experiment::reference::Reference;
//! use robustify_methods::Config;
//!
//! let reference = Reference::of::<Config>();
//! assert!(reference.text(Some("tuning"))?.contains("Passes over the augmented views."));
//! assert!(reference.text(Some("tunning")).is_err_and(|error| error.to_string().contains("did you mean `tuning`?")));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod find;
mod kind;
mod text;

use anyhow::Result;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

pub(crate) use find::nearest;
pub use find::with_value;
pub use kind::{Choice, Key, Kind, Variant};

/// All settings of a command.
pub struct Reference {
    keys: Vec<Key>,
    schema: Value,
}

impl Reference {
    /// The settings that a configuration of this type has.
    #[must_use]
    pub fn of<T: JsonSchema>() -> Self {
        let mut inlined = SchemaSettings::draft07();
        inlined.inline_subschemas = true;
        let whole = inlined.into_generator().into_root_schema_for::<T>().to_value();
        let Kind::Table(keys) = kind::of(&whole) else { unreachable!("a configuration is a table") };
        // What editors understand is a schema of the older draft.
        let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value();
        Self { keys, schema }
    }

    /// The sections and settings of the first level.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The JSON Schema, by which editors complete and check a configuration.
    ///
    /// # Errors
    /// None in practice: a schema has a JSON form.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.schema)? + "\n")
    }

    /// The reference, or that of one section or key, to read in a terminal.
    ///
    /// # Errors
    /// A section that does not exist; the message suggests the nearest.
    pub fn text(&self, section: Option<&str>) -> Result<String> {
        Ok(text::plain(&self.chosen(section)?))
    }

    /// The same as Markdown.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn markdown(&self, section: Option<&str>) -> Result<String> {
        Ok(text::markdown(&self.chosen(section)?))
    }
}
