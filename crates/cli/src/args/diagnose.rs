//! Options of `diagnose`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

/// Options of `diagnose`.
#[derive(Debug, Args)]
#[command(after_help = DIAGNOSE_HELP)]
pub struct Diagnose {
    /// The models, shown side by side: files of models that this program wrote, files of weights, folders of timm's, `hf-hub:OWNER/REPO`,
    /// or `NAME=FILE` with a name that `models list` shows.
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<String>,
    /// The file of the weights, where the only MODEL is a name that `models list` shows.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// What the models are called in figures and tables, in their order. Default: as their files say.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub names: Vec<String>,
    /// The images: a folder of class folders, with or without splits, or IDX or CIFAR files. Of splits the test part is taken.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder of the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Images whose attention is averaged; 0 leaves attention out. Default: 256, or all of a smaller data set.
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Where the loss is looked at around the weights: nowhere, along a line, or on a plane.
    #[arg(long, value_enum, default_value_t = Landscape::Line, value_name = "SHAPE")]
    pub landscape: Landscape,
    /// Places along each direction, an odd number. Default: 21 on a line, 11 on a plane.
    #[arg(long, value_name = "N")]
    pub grid: Option<usize>,
    /// How far the outermost places are away, in units of the length of each filter.
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    pub radius: f64,
    /// Images of the landscape. Default: 128, or all of a smaller data set.
    #[arg(long, value_name = "N")]
    pub landscape_images: Option<usize>,
    /// The most steps of the search for the largest curvature, each about as costly as six points; 0 leaves it out.
    #[arg(long, default_value_t = 10, value_name = "STEPS")]
    pub curvature: usize,
    /// Seed of the choice of images and of the directions.
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub seed: u64,
    #[command(flatten)]
    pub common: Common,
}

const DIAGNOSE_HELP: &str = "\
DIR gets report.html, diagnosis.json, figures as SVG and tables as CSV. What is found is kept in DIR/kept: the same command goes on where it was
interrupted, and another grid computes only points that are not there yet.

Attention needs no labels and works for ViT (with DeiT, DINOv2 and CLIP) and Swin Transformers; of other networks the landscape alone is made.
The landscape needs classes that the model has, by their names.

  robustify diagnose before.safetensors after.safetensors --names before,after --data photos --out diagnosis --landscape 2d";

/// Where the loss is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Landscape {
    /// Nowhere.
    Off,
    /// Along one random direction.
    #[value(name = "1d")]
    Line,
    /// Along two.
    #[value(name = "2d")]
    Plane,
}
