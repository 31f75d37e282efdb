use std::path::PathBuf;

use anyhow::{bail, ensure};
use robustify_zoo::Model;
use robustify_zoo::clip::{Clip, ClipConfig};
use robustify_zoo::registry;
use robustify_zoo::weights::{self, Checkpoint, HubFolder, HubModel};

use super::Network;
use crate::args::ModelsConvert;
use crate::console;

/// Writes a checkpoint under another program's names.
pub fn run(options: &ModelsConvert) -> anyhow::Result<()> {
    let source = Source::open(options)?;
    ensure!(
        !same_file(&source.weights, &options.output),
        "{}: is the input, which is never written over; name another file",
        options.output.display()
    );
    let checkpoint = Checkpoint::open(&source.weights)?;
    let device = robustify_device::open(None)?;
    let (from, to, out) = (options.from.as_deref(), options.to, options.output.as_path());
    match &source.network {
        Network::Image(config) => {
            let classes = source.classes.unwrap_or_else(|| super::classes(&checkpoint));
            let module = Model::blank(&config.with_classes(classes), &device)?;
            weights::convert(&module, &checkpoint, from, to, out)?;
        }
        Network::Clip(config) => weights::convert(&Clip::blank(config, &device)?, &checkpoint, from, to, out)?,
    }
    console::result(&format!("{}: {} as {} names them\n", options.output.display(), source.name, options.to))
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
    fn open(options: &ModelsConvert) -> anyhow::Result<Self> {
        let (weights, found) = if options.input.is_dir() {
            let folder = HubFolder::open(&options.input)?;
            (folder.weights, Some(folder.model))
        } else {
            (options.input.clone(), None)
        };
        if let (None, Some(HubModel::OpenClip(json))) = (&options.model, &found) {
            let network = Network::Clip(ClipConfig::from_open_clip(&json.to_string())?);
            return Ok(Self { name: "CLIP".into(), weights, network, classes: None });
        }
        let (name, classes) = match (&options.model, found) {
            (Some(name), _) => (name.clone(), None),
            (None, Some(HubModel::Timm { name, classes })) => (name, Some(classes)),
            (None, _) => bail!(
                "{}: name the model with --model, as `robustify models list` does; a file of weights does not say it",
                options.input.display()
            ),
        };
        let entry = registry::find(&name)?;
        Ok(Self { name: entry.name(), weights, network: entry.into(), classes })
    }
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
