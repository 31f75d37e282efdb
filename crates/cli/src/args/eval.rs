use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Common, Look};

/// Options of `eval`.
#[derive(Debug, Args)]
#[command(after_help = EVAL_HELP)]
pub struct Eval {
    /// The models; the others are compared with the first: a file that `train` wrote, a run's folder (all its models), a file or folder of
    /// weights that says what it is, `hf-hub:OWNER/REPO`, or NAME=FILE with a name that `models list` shows. Settings, as in
    /// `benchmark.severities=[1,3,5]` or `select.rule.rule=kl`, may stand among them.
    #[arg(value_name = "MODEL|KEY=VALUE", required = true)]
    pub models: Vec<String>,
    /// Images to measure on, clean and corrupted: a folder of class folders, with or without splits (of which the test part is taken), or
    /// IDX or CIFAR files; may be repeated.
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// A published data set by its name, as `data list` shows it: imagenet-r, imagenet-c, cifar-10-c, …; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub suite: Vec<String>,
    #[command(flatten)]
    pub root: super::DataRoot,
    /// Where everything goes: answers, `evaluation.json`, `results.csv`, `results.json`, and the report: `report.html`,
    /// `tables` and `card.md`.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The file of the weights, where the only model is a name.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Names of the model's classes, one a line in the order of its outputs, where nothing else says them.
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// How pictures are prepared, where that is not what the weights say: `resize(256,bicubic)|center_crop(224)|normalize(imagenet)`.
    #[arg(long, value_name = "STEPS")]
    pub preprocess: Option<String>,
    /// Side of the model's input in pixels. Default: that of the weights.
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<usize>,
    /// Order of the axes of an ONNX file's input, where it does not say it: nchw (PyTorch's) or nhwc (TensorFlow's).
    #[arg(long, value_name = "ORDER")]
    pub layout: Option<String>,
    /// The output with the classes, of an ONNX file with several.
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// Images under each corruption and severity: benchmark.images. Default: all.
    #[arg(long, value_name = "N")]
    pub images: Option<usize>,
    /// Images of a part: what is held in memory, and computed again after a kill.
    #[arg(long, value_name = "N", default_value_t = robustify_eval::Job::PART as u32, value_parser = clap::value_parser!(u32).range(1..))]
    pub part: u32,
    /// Compute one of N shares of the parts, as in 2/8. Default: what SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX say, else all.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Print the job file of a scheduler that runs so many shards, and compute nothing.
    #[arg(long, value_enum, requires = "shards")]
    pub manifest: Option<ManifestOf>,
    /// How many shards --manifest is for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub shards: Option<u16>,
    #[command(flatten)]
    pub look: Look,
    #[command(flatten)]
    pub common: Common,
}

const EVAL_HELP: &str = "\
The same command continues where it was interrupted. Shards may share --out, or write into folders of their own that `merge` puts together:
the record is the same bytes in any case. `config reference --of eval` explains the settings.";

/// A scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ManifestOf {
    /// A batch script with an array of jobs.
    Slurm,
    /// An indexed job.
    Kubernetes,
}

/// Options of `merge`.
#[derive(Debug, Args)]
pub struct Merge {
    /// Folders that shards of one evaluation wrote into.
    #[arg(value_name = "OUT", required = true)]
    pub from: Vec<PathBuf>,
    /// The folder that gets all answers and the record.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub look: Look,
    #[command(flatten)]
    pub threads: Threads,
}

/// Options of `rescore`.
#[derive(Debug, Args)]
pub struct Rescore {
    /// The folder of an evaluation.
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    #[command(flatten)]
    pub look: Look,
    #[command(flatten)]
    pub threads: Threads,
    /// Another rule for models with three heads, as in `select.rule.rule=entropy_weighted`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of commands that need no backend.
#[derive(Debug, Args)]
pub struct Threads {
    /// Threads to use; results do not depend on it. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print nothing but results, warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Threads {
    /// How many there are.
    pub fn count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(cores, usize::from)
    }
}
