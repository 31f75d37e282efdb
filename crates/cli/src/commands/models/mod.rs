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

use crate::args::Models;
use crate::console::Console;

/// Runs the subcommand.
pub fn run(options: &Models, console: &Console) -> anyhow::Result<()> {
    match options {
        Models::List(options) => list::run(options),
        Models::Show(options) => show::run(options),
        Models::Convert(options) => convert::run(options, console),
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

/// A count in millions.
fn millions(count: usize) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}
