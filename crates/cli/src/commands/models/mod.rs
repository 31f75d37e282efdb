//! `models`: what the program knows of pre-trained models.

mod convert;
mod dump;
mod list;
mod show;
mod tokenize;
mod verify;

use robustify_zoo::ModelConfig;
use robustify_zoo::clip::ClipConfig;
use robustify_zoo::registry::Entry;
use robustify_zoo::weights::Checkpoint;

use crate::args::Models;

/// Runs the subcommand.
pub fn run(options: &Models) -> anyhow::Result<()> {
    match options {
        Models::List(options) => list::run(options),
        Models::Show(options) => show::run(options),
        Models::Convert(options) => convert::run(options),
        Models::Tokenize(options) => tokenize::run(options),
        Models::Verify(options) => verify::run(options),
    }
}

/// What weights are of: an image model, or both towers of a CLIP.
enum Network {
    Image(ModelConfig),
    Clip(ClipConfig),
}

impl From<&Entry> for Network {
    fn from(entry: &Entry) -> Self {
        entry.clip().map_or_else(|| Self::Image((entry.config)()), Self::Clip)
    }
}

/// As many classes as the classifier in a file has rows; none if it has no classifier.
fn classes(checkpoint: &Checkpoint) -> usize {
    const CLASSIFIERS: [&str; 4] = ["head.weight", "fc.weight", "head.fc.weight", "heads.head.weight"];
    let is_classifier = |name: &&str| {
        let behind_a_dot = |rest: &str| rest.is_empty() || rest.ends_with('.');
        CLASSIFIERS.iter().any(|classifier| name.strip_suffix(classifier).is_some_and(behind_a_dot))
    };
    let rows = || checkpoint.shape(checkpoint.names().find(is_classifier)?)?.first().copied();
    rows().unwrap_or(0)
}

/// A count in millions.
fn millions(count: usize) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}
