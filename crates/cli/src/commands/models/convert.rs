use std::path::PathBuf;

use anyhow::{bail, ensure};
use robustify_zoo::registry;
use robustify_zoo::weights::{self, Checkpoint, HubFolder, HubModel};
use robustify_zoo::{Model, ModelConfig};

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
    let module = Model::blank(&source.config.with_classes(source.classes(&checkpoint)), &device)?;
    weights::convert(&module, &checkpoint, options.from.as_deref(), options.to, &options.output)?;
    console::result(&format!("{}: {} as {} names them\n", options.output.display(), source.name, options.to))
}

/// What is converted.
struct Source {
    name: String,
    weights: PathBuf,
    config: ModelConfig,
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
        let (name, classes) = match (&options.model, found) {
            (Some(name), _) => (name.clone(), None),
            (None, Some(HubModel::Timm { name, classes })) => (name, Some(classes)),
            (None, _) => bail!(
                "{}: name the model with --model, as `robustify models list` does; a file of weights does not say it",
                options.input.display()
            ),
        };
        let entry = registry::find(&name)?;
        Ok(Self { name: entry.name(), weights, config: (entry.config)(), classes })
    }

    /// As many as the classifier in the file has rows; none if it has no classifier.
    fn classes(&self, checkpoint: &Checkpoint) -> usize {
        const CLASSIFIERS: [&str; 4] = ["head.weight", "fc.weight", "head.fc.weight", "heads.head.weight"];
        let is_classifier = |name: &&str| {
            CLASSIFIERS.iter().any(|classifier| {
                name.strip_suffix(classifier).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        };
        let rows = || checkpoint.shape(checkpoint.names().find(is_classifier)?)?.first().copied();
        self.classes.or_else(rows).unwrap_or(0)
    }
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
