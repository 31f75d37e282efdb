//! Ways to make a model robust, one file each.
//!
//! A [`Method`] turns what a [`Lab`] offers (the pre-trained model, images, cached views, other methods' results) into one or
//! more [`Fitted`] models, rows of every table. [`METHODS`] is the one list of them: a new method is a file, a line there, and,
//! if it has settings of its own, a table `[method.NAME]` in a configuration.
//!
//! ```
//! let names: Vec<&str> = robustify_methods::METHODS.iter().map(|method| method.name()).collect();
//! assert!(names.contains(&"robustify") && names.contains(&"apt"));
//! assert_eq!(robustify_methods::find("apt")?.title(), "APT");
//! assert!(robustify_methods::find("robustfy").is_err_and(|error| error.to_string().contains("robustify")));
//! # Ok::<(), anyhow::Error>(())
//! ```
#![deny(missing_docs)]

mod adam_spd;
mod apt;
mod carot;
mod dawin;
mod ensemble;
mod finetune;
mod flyp;
pub mod lab;
mod linear_probe;
mod lipsum_ft;
mod lora;
mod lp_ft;
mod model_stock;
mod original;
mod recipe;
mod robustify;
mod sar;
mod teacher;
mod tent;
mod vpt;
mod vrf;
mod wise_ft;
mod zero_shot;

use anyhow::Result;
use robustify_bench::Blend;
use schemars::{Schema, SchemaGenerator, json_schema};

pub use lab::config::{self, Config, Varied};
pub use lab::{Fitted, Lab, Work};

/// A way to make a model robust: a row of every table, or several.
pub trait Method: Sync {
    /// The name in configurations and results.
    fn name(&self) -> &'static str;

    /// The name for people, in tables.
    fn title(&self) -> &'static str {
        self.name()
    }

    /// What it does, in one sentence.
    fn about(&self) -> &'static str;

    /// Methods whose results it starts from, as WiSE-FT from full fine-tuning.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it needs the text tower of a CLIP, `original.zero_shot`.
    fn needs_texts(&self) -> bool {
        false
    }

    /// Faults of its settings, each with the key it is under. A method that overrides this has settings; any other refuses them,
    /// since a setting without effect would stand beside results that it has no part in.
    fn faults(&self, config: &Config) -> Vec<String> {
        let given = config.method.contains_key(self.name());
        given.then(|| format!("method.{}: this method has no settings of its own", self.name())).into_iter().collect()
    }

    /// The schema of its settings, `[method.NAME]`, from which the reference of settings is made; nothing for a method without
    /// any: `Some(generator.subschema_for::<Settings>())`.
    fn schema(&self, _generator: &mut SchemaGenerator) -> Option<Schema> {
        None
    }

    /// Rows that it adds which need no model of their own: other models' stored answers together.
    fn blends(&self) -> Vec<Blend> {
        Vec::new()
    }

    /// About how much it computes beyond what it shares with other methods, for the estimate before a job; nothing unless it says so.
    ///
    /// # Errors
    /// Settings that are not those of the method.
    fn work(&self, _: &Lab<'_>) -> Result<Work> {
        Ok(Work::default())
    }

    /// Trains it, or reads what an earlier run trained.
    ///
    /// # Errors
    /// Whatever keeps it from being trained, or an interruption.
    fn fit(&self, lab: &Lab<'_>) -> Result<Vec<Fitted>>;
}

/// Every method, in the order of tables.
pub static METHODS: &[&dyn Method] = &[
    &original::Original,
    &zero_shot::ZeroShot,
    &teacher::Teacher,
    &ensemble::Ensemble,
    &linear_probe::LinearProbe,
    &finetune::Finetune,
    &adam_spd::AdamSpd,
    &lp_ft::LpFt,
    &wise_ft::WiseFt,
    &flyp::Flyp,
    &carot::Carot,
    &lipsum_ft::LipsumFt,
    &model_stock::ModelStock,
    &dawin::Dawin,
    &vrf::Vrf,
    &vpt::Vpt,
    &tent::Tent,
    &sar::Sar,
    &apt::Apt,
    &lora::Lora,
    &robustify::Robustify,
];

/// The schema of a list of names of methods.
pub(crate) fn names_schema(_: &mut SchemaGenerator) -> Schema {
    let names = METHODS.iter().map(|method| json_schema!({ "const": method.name(), "description": method.about() }));
    json_schema!({ "type": "array", "items": { "type": "string", "oneOf": names.collect::<Vec<_>>() } })
}

/// The schema of the settings of single methods: a table for each that has some.
pub(crate) fn settings_schema(generator: &mut SchemaGenerator) -> Schema {
    let tables = METHODS.iter().filter_map(|method| {
        let mut schema = method.schema(generator)?;
        // A schema that is used twice is a reference: what the method is stands beside it.
        schema.insert("description".into(), method.about().into());
        Some((method.name().to_owned(), schema.to_value()))
    });
    let tables = tables.collect::<serde_json::Map<_, _>>();
    json_schema!({ "type": "object", "properties": tables, "additionalProperties": false })
}

/// The method of a name.
///
/// # Errors
/// A name that no method has; the message lists all.
pub fn find(name: &str) -> Result<&'static dyn Method> {
    METHODS.iter().find(|method| method.name() == name).copied().ok_or_else(|| {
        let names: Vec<&str> = METHODS.iter().map(|method| method.name()).collect();
        anyhow::anyhow!("there is no method `{name}`; methods are {}", names.join(", "))
    })
}

/// The place in tables of a fitted model: that of its method; behind all others if no method of this list made it.
pub fn place(model: &str) -> usize {
    let of = |name: &str| METHODS.iter().position(|method| method.name() == name);
    let method = || model.split_once('-').and_then(|(method, _)| of(method));
    of(model).or_else(method).unwrap_or(METHODS.len())
}

/// The name for people of a fitted model: that of its method, and what follows a dash in its name.
pub fn title(model: &str) -> String {
    let of = |name: &str| METHODS.iter().find(|method| method.name() == name).map(|method| method.title());
    match model.split_once('-') {
        Some((method, variant)) if of(model).is_none() => {
            of(method).map_or_else(|| model.to_owned(), |title| format!("{title}, {}", variant.replace('_', " ")))
        }
        _ => of(model).unwrap_or(model).to_owned(),
    }
}

/// Methods that a configuration asks for, with what they need, in the order of [`METHODS`]; the original comes first always.
///
/// # Errors
/// A name that no method has.
pub fn wanted(names: &[String]) -> Result<Vec<&'static dyn Method>> {
    let mut wanted = vec!["original"];
    let mut open: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        let method = find(name)?;
        if !wanted.contains(&method.name()) {
            wanted.push(method.name());
            open.extend(method.needs());
        }
    }
    Ok(METHODS.iter().filter(|method| wanted.contains(&method.name())).copied().collect())
}

/// Whether a configuration asks for a method, by name or since another one needs it; not if it names a method that does not exist.
pub fn is_wanted(config: &Config, name: &str) -> bool {
    wanted(&config.methods).is_ok_and(|methods| methods.iter().any(|method| method.name() == name))
}

/// Faults of the list of methods, of their settings, and of settings for methods that do not exist.
pub(crate) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = wanted(&config.methods) {
        faults.push(format!("methods: {error}"));
    }
    // Those of methods that are not asked for as well: whoever writes settings wants to know that they are wrong. And those of methods
    // that are asked for without settings, which may not go with the network.
    let asked = wanted(&config.methods).unwrap_or_default();
    for method in asked.iter().filter(|method| method.needs_texts() && config.original.zero_shot.is_none()) {
        let name = method.name();
        faults.push(format!(
            "methods: {name} works with texts as classes; set original.zero_shot={{}}, with the weights of a whole CLIP in \
             original.weights, or leave {name} out"
        ));
    }
    let asked = asked.iter().map(|method| method.name()).filter(|&name| !config.method.contains_key(name));
    for name in config.method.keys().map(String::as_str).chain(asked) {
        match find(name) {
            Ok(method) => faults.extend(method.faults(config)),
            Err(error) => faults.push(format!("method.{name}: {error}")),
        }
    }
    faults
}
