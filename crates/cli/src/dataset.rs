//! From a data section of a configuration to sets of images.

use std::path::Path;
use std::sync::Arc;

use robustify_data::folder::{OnBad, Options};
use robustify_data::{DataError, ImageFolder, Images, Split, Subset, cifar, idx, split};

use crate::config::{DataConfig, DataFormat};
use crate::console::Console;

/// Opens one split and says what was left out of it.
pub fn open(config: &DataConfig, name: &str, console: &Console) -> anyhow::Result<Images> {
    let images: Images = match config.format {
        DataFormat::Idx => Arc::new(idx::open(&config.path, name.parse::<Split>()?, config.classes.clone())?),
        DataFormat::Cifar => Arc::new(cifar::open(&config.path, name.parse::<Split>()?)?),
        DataFormat::Folder => {
            let on_bad = if config.strict { OnBad::Error } else { OnBad::Skip };
            let options = Options { on_bad, classes: config.classes.clone(), ..Options::default() };
            Arc::new(ImageFolder::open(&config.path.join(name), options)?)
        }
    };
    for skipped in images.skipped() {
        console.warn(&format!("{}: {}", skipped.path.display(), skipped.reason));
    }
    if !images.skipped().is_empty() {
        console.warn(&format!("{name}: {} images used, {} entries left out or empty", images.len(), images.skipped().len()));
    }
    Ok(images)
}

/// The set without the images whose indices a file lists.
pub fn leave_out(images: Images, file: &Path) -> Result<Images, DataError> {
    let indices = split::read_indices(file)?;
    let kept = split::except(images.len(), &indices)?;
    Ok(Arc::new(Subset::new(images, kept)?))
}
