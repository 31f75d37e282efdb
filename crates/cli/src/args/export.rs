use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Options of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// A model that `train` wrote, or the folder of a run, whose robust model is taken.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The program that shall load it.
    #[arg(long, value_enum, default_value_t = ExportTo::Timm)]
    pub to: ExportTo,
    /// The folder that is made. Of a model with three heads each is a complete model in a folder of its own, `DIR/clean` and so on.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// One head alone, directly in DIR: clean, combined or robust.
    #[arg(long, value_name = "HEAD", value_parser = ["clean", "combined", "robust"])]
    pub head: Option<String>,
    /// Replace files that are there already.
    #[arg(long)]
    pub force: bool,
}

/// A program that loads what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportTo {
    /// timm: `config.json`, `model.safetensors` and a model card.
    Timm,
}
