use anyhow::Context;
use burn::tensor::Device;
use robustify_report::{Style, Table};
use robustify_zoo::clip::Clip;
use robustify_zoo::registry::{self, Entry};
use robustify_zoo::{Model, ZooError, weights};
use serde_json::{Value, json};

use super::Network;
use crate::args::ModelsList;
use crate::console;

/// Prints the models whose names contain all words of the filter.
pub fn run(options: &ModelsList) -> anyhow::Result<()> {
    let words: Vec<String> = options.filter.iter().map(|word| word.trim().to_lowercase()).collect();
    let fits = |entry: &&Entry| words.iter().all(|word| entry.name().to_lowercase().contains(word));
    let entries: Vec<&Entry> = registry::entries().filter(fits).collect();
    anyhow::ensure!(
        !entries.is_empty(),
        "no model has a name with `{}`; `robustify models list` shows all",
        words.join("` and `")
    );
    let device = robustify_device::open(None)?;
    let facts: Vec<Facts> = entries.into_iter().map(|entry| Facts::of(entry, &device)).collect::<Result<_, _>>()?;
    if options.json {
        let list: Vec<Value> = facts.iter().map(Facts::json).collect::<Result<_, _>>()?;
        return console::result(&format!("{}\n", serde_json::to_string_pretty(&list)?));
    }
    let mut table = Table::new(["model", "px", "parameters", "GMACs", "features", "licence"]).left(0).left(5);
    let mut family = "";
    for facts in &facts {
        let prefix = facts.entry.architecture.split(['_', '-']).next().unwrap_or_default();
        if prefix != family {
            table.separator();
            family = prefix;
        }
        table.row([
            facts.entry.name(),
            facts.entry.preprocessing.image_size.to_string(),
            super::millions(facts.parameters),
            format!("{:.3}", facts.gmacs),
            facts.features.to_string(),
            facts.entry.licence.to_owned(),
        ]);
    }
    console::result(&table.render(Style::Box))
}

/// What is computed from an entry's network.
pub struct Facts<'a> {
    pub entry: &'a Entry,
    pub parameters: usize,
    pub gmacs: f64,
    /// Width of the image's features; of a whole CLIP before its projection.
    pub features: usize,
    /// What the projection of a whole CLIP makes of them, where it has one.
    pub projection: Option<usize>,
}

impl<'a> Facts<'a> {
    pub fn of(entry: &'a Entry, device: &Device) -> anyhow::Result<Self> {
        let count = || -> Result<(usize, u64), ZooError> {
            Ok(match Network::from(entry) {
                Network::Image(config) => (weights::parameters(&Model::blank(&config, device)?), config.macs()),
                Network::Clip(config) => (weights::parameters(&Clip::blank(&config, device)?), config.macs()),
            })
        };
        let (parameters, macs) = count().with_context(|| entry.name())?;
        let features = (entry.config)().feature_width();
        // The residual networks of CLIP pool into the space of the texts themselves.
        let projection = entry.clip().map(|clip| clip.text.embed_dim).filter(|width| *width != features);
        Ok(Self { entry, parameters, gmacs: macs as f64 / 1e9, features, projection })
    }

    pub fn json(&self) -> serde_json::Result<Value> {
        let entry = self.entry;
        // Through text, in which 32-bit floats are as short as they were written in the source.
        let preprocessing: Value = serde_json::from_str(&serde_json::to_string(&entry.preprocessing)?)?;
        Ok(json!({
            "name": entry.name(),
            "architecture": entry.architecture,
            "tag": entry.tag,
            "preprocessing": preprocessing,
            "parameters": self.parameters,
            "gmacs": self.gmacs,
            "features": self.features,
            "projection": self.projection,
            "licence": entry.licence,
            "paper": entry.paper,
            "hub": entry.hub,
        }))
    }
}
