use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use robustify_report::expect_folder_of;
use robustify_zoo::Model;
use robustify_zoo::clip::{Clip, ClipConfig};
use robustify_zoo::registry;
use robustify_zoo::transformers;
use robustify_zoo::weights::{self, Checkpoint, Existing, HubFolder, HubKind, HubModel, Loaded, Resized};

use super::Network;
use crate::args::ModelsConvert;
use crate::console::{self, Console};
use crate::hub;

/// Writes a checkpoint under another program's names.
pub fn run(options: &ModelsConvert, console: &Console) -> anyhow::Result<()> {
    expect_folder_of(&options.output).with_context(|| options.output.display().to_string())?;
    ensure!(
        options.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")),
        "{}: safetensors are written, and the name says otherwise; name it {}",
        options.output.display(),
        options.output.with_extension("safetensors").display()
    );
    let source = Source::open(options, console)?;
    ensure!(
        !same_file(&source.weights, &options.output),
        "{}: is the input, which is never written over; name another file",
        options.output.display()
    );
    let checkpoint = Checkpoint::open(&source.weights)?;
    let device = robustify_device::open(None)?;
    let (from, to, out) = (options.from.as_deref(), options.to, options.output.as_path());
    let existing = if options.force { Existing::Goes } else { Existing::Stays };
    let taken = match &source.network {
        Network::Image(config) => {
            let found = config.as_in(&checkpoint, from, &device)?;
            let found = source.classes.map_or(found.clone(), |classes| found.with_classes(classes));
            let module = Model::blank(&found, &device)?;
            weights::convert(&module, &checkpoint, from, to, out, existing)?
        }
        Network::Clip(config) => {
            weights::convert(&Clip::blank(config, &device)?, &checkpoint, from, to, out, existing)?
        }
    };
    notes(&taken, &source.name).iter().for_each(|note| console::message(note));
    console::result(&format!("{}: {} as {} names them\n", options.output.display(), source.name, options.to))
}

/// What a person may not expect of the result.
fn notes(taken: &Loaded, model: &str) -> Vec<String> {
    let path = taken.path.display();
    let mut notes = Vec::new();
    if !taken.others.is_empty() {
        let prefix = taken.prefix.trim_end_matches('.');
        notes.push(format!(
            "{path}: the tensors are those under {prefix}; the file also has {}, which --from takes",
            taken.others.join(", ")
        ));
    }
    let beside = taken.beside();
    if !beside.is_empty() {
        notes.push(format!("{path}: left out, as {model} has nothing of these names: {}", beside.join(", ")));
    }
    for Resized { what, unit, from, to, .. } in &taken.resized {
        notes.push(format!(
            "{path}: {what} are for {from}x{from} {unit}, {model} has {to}x{to}; they are written as they are"
        ));
    }
    notes
}

/// What is converted.
struct Source {
    name: String,
    weights: PathBuf,
    network: Network,
    /// Where a configuration beside the weights says it.
    classes: Option<usize>,
}

impl Source {
    fn open(options: &ModelsConvert, console: &Console) -> anyhow::Result<Self> {
        let model = options.model.as_deref().map(registry::find).transpose()?;
        let kind = match model {
            None => HubKind::Any,
            Some(entry) if entry.text.is_some() => HubKind::Clip,
            Some(_) => HubKind::Image,
        };
        let input = hub::local(&options.input, kind, console)?;
        let (weights, found) = if input.is_dir() {
            let folder = HubFolder::open_as(&input, kind)?;
            (folder.weights, Some(folder.model))
        } else {
            (input, None)
        };
        if let (None, Some(HubModel::OpenClip(json))) = (model, &found) {
            let network = Network::Clip(ClipConfig::from_open_clip(&json.to_string())?);
            return Ok(Self { name: "CLIP".into(), weights, network, classes: None });
        }
        if let (None, Some(HubModel::Transformers(network))) = (model, &found) {
            let (name, network) = match &**network {
                transformers::Network::Image(config) => ("the network of config.json", Network::Image(config.clone())),
                transformers::Network::Clip(config) => ("CLIP", Network::Clip(config.clone())),
            };
            return Ok(Self { name: name.into(), weights, network, classes: None });
        }
        let (entry, classes) = match (model, found) {
            (Some(entry), _) => (entry, None),
            (None, Some(HubModel::Timm { name, classes })) => (registry::find_architecture(&name)?, Some(classes)),
            (None, _) => bail!(
                "{}: name the model with --model, as `robustify models list` does; a file of weights does not say it",
                options.input.display()
            ),
        };
        Ok(Self { name: entry.name(), weights, network: entry.into(), classes })
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
