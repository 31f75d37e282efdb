//! Which of a model's classes are those of a suite.

use anyhow::{Result, bail};
use robustify_bench::{ClassMap, Suite};
use robustify_predict::classes::{KnownClasses, Use, list, usage};

/// The classes of a model as a suite needs them.
pub(crate) struct Matched {
    /// For every class of the suite the model's classes that mean it.
    pub map: ClassMap,
    /// How they were matched, in a sentence.
    pub why: String,
}

/// As the suite says it, else by the names of the classes, or by their order where nothing names those of the model and there are as
/// many. `own` are the names that the model gives its classes, numbers where it has none.
///
/// # Errors
/// A model with other classes than the suite.
pub(crate) fn matched(model: &str, own: &[String], known: Option<&KnownClasses>, suite: &dyn Suite) -> Result<Matched> {
    let (wanted, count) = (suite.classes(), own.len());
    if let Ok(map) = suite.class_map(own) {
        let why = match map.is_same(count) {
            true => format!("its {count} classes are the data's, in the same order"),
            false => format!("{} classes of the data are among its {count}", wanted.len()),
        };
        return Ok(Matched { map, why });
    }
    match usage(count, known, wanted).map_err(anyhow::Error::msg)? {
        Use::Whole(why) => Ok(Matched { map: ClassMap::subset((0..count).collect()), why }),
        Use::Chosen(places, why) => {
            let left_out = count - places.len();
            let map = ClassMap::groups(places.into_iter().map(|place| vec![place]).collect())?;
            let more = match left_out {
                0 => String::new(),
                _ => format!("; answers are among these, and the model's other {left_out} are left out"),
            };
            Ok(Matched { map, why: why + &more })
        }
        Use::Probe(why) => {
            let names = known.map(|known| known.names.iter().filter_map(|names| names.first().cloned()).collect());
            let knows =
                names.map(|names: Vec<String>| format!(" The model knows {}.", list(&names))).unwrap_or_default();
            bail!(
                "{model} cannot be measured on {}: {why}.{knows} Rename the folders of the data as the model calls its classes, or name the \
                 model's classes with --classes FILE, one a line in the order of its outputs",
                suite.name()
            )
        }
    }
}
