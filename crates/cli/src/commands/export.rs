//! `export`: a robust model as other programs load it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use robustify_predict::RobustModel;
use robustify_report::write_atomic;
use robustify_select::Head;

use crate::args::{Export, ExportTo};
use crate::commands::expect_no_file;
use crate::console;

/// Writes the folders.
pub fn run(options: &Export) -> anyhow::Result<()> {
    let ExportTo::Timm = options.to;
    let file = file_of(&options.model)?;
    expect_no_file(&options.out)?;
    ensure!(!file.is_dir(), "{}: is neither a run's folder nor a model's file", file.display());
    let device = robustify_device::open(None)?;
    ensure!(
        RobustModel::is_one(&file)?,
        "{}: is no model that this program wrote, as those in the folder `models` of a run; `models convert` writes weights of timm",
        file.display()
    );
    let model = RobustModel::read(&file, &device)?;
    let heads = model.heads();
    let wanted: Vec<(Option<Head>, PathBuf)> = match (&options.head, heads.is_empty()) {
        (Some(name), true) => {
            anyhow::bail!("--head {name}: {} has no heads to choose from; leave it out", file.display());
        }
        (Some(name), false) => {
            let head = heads.into_iter().find(|head| head.name() == name);
            vec![(head, options.out.clone())]
        }
        (None, true) => vec![(None, options.out.clone())],
        (None, false) => heads.into_iter().map(|head| (Some(head), options.out.join(head.name()))).collect(),
    };
    // All of it is made before anything is written.
    let folders = wanted
        .iter()
        .map(|(head, folder)| Ok((folder, model.timm_folder(*head).with_context(|| file.display().to_string())?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if !options.force {
        let mut paths = folders.iter().flat_map(|(folder, files)| files.iter().map(move |(name, _)| folder.join(name)));
        let there = paths.find(|path| path.exists());
        ensure!(
            there.is_none(),
            "{} is there already; name another folder, or replace it with --force",
            there.unwrap_or_default().display()
        );
    }
    for (folder, files) in folders {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for (name, bytes) in files {
            write_atomic(&folder.join(name), &bytes)?;
        }
        console::result(&format!(
            "{}: timm.create_model(\"local-dir:{}\", pretrained=True)\n",
            folder.display(),
            folder.display()
        ))?;
    }
    Ok(())
}

/// The file of a model, or of the robust one in a run's folder.
fn file_of(model: &Path) -> anyhow::Result<PathBuf> {
    if !model.join("run.json").is_file() {
        return Ok(model.to_owned());
    }
    let robust = model.join("models/robustify.safetensors");
    ensure!(
        robust.is_file(),
        "{}: a run without a model called robustify; name a file in its folder `models`",
        model.display()
    );
    Ok(robust)
}
