mod compare;
mod data;
mod diagnose;
mod eval;
mod experiment;
mod export;
mod pictures;
mod predict;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use robustify_device::Machine;
use robustify_zoo::weights::Naming;

pub use compare::{Compare, Leaderboard, Look, Report};
pub use data::{Data, DataCheck, DataList, DataRoot};
pub use diagnose::{Diagnose, Landscape};
pub use eval::{Eval, ManifestOf, Merge, Rescore};
pub use experiment::{Experiment, ExperimentSize};
pub use export::{Export, ExportTo};
pub use pictures::{Augment, Corrupt};
pub use predict::{Predict, PredictFormat};

/// Make a large pre-trained vision model robust to distribution shift without retraining it.
#[derive(Debug, Parser)]
#[command(name = "robustify", version, about, max_term_width = 110)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The most seeds of a run or an experiment, as a file's `seeds`.
const MOST_SEEDS: u64 = 1_000;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a model robust: teacher, three heads, rival, benchmark; prints the table that compares them.
    Train(Train),
    /// Write the configuration that `train --data DIR --model MODEL` would run, with comments, to be changed by hand.
    Init(Init),
    /// Run a grid of settings and seeds over shared stages, and draw the tables and figures that its file asks for.
    Experiment(Experiment),
    /// Evaluate any model on any images, clean and corrupted: files of models, runs, weights; resumable, in one process or many.
    Eval(Eval),
    /// Put the answers of an evaluation's shards together, and write its record.
    Merge(Merge),
    /// Judge the answers of an evaluation again, with another rule: no model is run.
    Rescore(Rescore),
    /// Say what a model takes pictures for: classes with probabilities, the head that was chosen, uncertainty; in the order of the pictures.
    Predict(Predict),
    /// Write a robust model as another program loads it: each head a complete model of timm.
    Export(Export),
    /// Draw the report of an evaluation again: page, tables and model card, with templates of your own if you like.
    Report(Report),
    /// Say what got better and worse between evaluations, and fail where it is not good enough.
    Compare(Compare),
    /// Put all evaluations below a folder into one table, beside published numbers.
    Leaderboard(Leaderboard),
    /// Measure the models of a finished run again: model x corruption x severity, every selection rule.
    BenchRobustness(BenchRobustness),
    /// Measure what the method costs: cached against full training steps, T passes against the original model.
    BenchCost(BenchCost),
    /// Measure the speed of this backend on reference models (`cargo xtask bench-models` compares backends and PyTorch).
    BenchModels(BenchModels),
    /// Look into models, side by side: where attention looks, and how flat the loss is around their weights.
    Diagnose(Diagnose),
    /// Corrupt pictures: ImageNet-C, CIFAR-10-C and their like from a picture, a folder of pictures, or an array.
    Corrupt(Corrupt),
    /// Augment pictures: AugMix, PixMix and others, as training does, into files.
    Augment(Augment),
    /// Settings: the reference of every key, with its type, default, allowed values and what it means.
    #[command(subcommand)]
    Config(Config),
    /// Published data sets that the program knows: list them, and where they lie; check one against its official numbers.
    #[command(subcommand)]
    Data(Data),
    /// Models that the program knows: list and show them, convert checkpoints, check against PyTorch's numbers, tokenize.
    #[command(subcommand)]
    Models(Models),
    /// Train a model from scratch on a data set (how the model that ships with the project was made).
    Pretrain(Pretrain),
}

impl Command {
    /// Whether it computes for long enough that people want to know how long it was.
    pub fn takes_long(&self) -> bool {
        matches!(
            self,
            Self::Train(_)
                | Self::Eval(_)
                | Self::Experiment(_)
                | Self::BenchRobustness(_)
                | Self::BenchCost(_)
                | Self::Diagnose(_)
                | Self::Pretrain(_)
        )
    }

    /// Whether nothing but results, warnings and errors is to be printed.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Train(options) => options.common.quiet,
            Self::Init(_) => false,
            Self::Predict(options) => options.common.quiet,
            Self::Eval(options) => options.common.quiet,
            Self::Merge(options) => options.threads.quiet,
            Self::Rescore(options) => options.threads.quiet,
            Self::Experiment(options) => options.common.quiet,
            Self::BenchRobustness(options) => options.common.quiet,
            Self::BenchCost(options) => options.common.quiet,
            Self::BenchModels(options) => options.common.quiet,
            Self::Diagnose(options) => options.common.quiet,
            Self::Corrupt(options) => options.offline.quiet,
            Self::Augment(options) => options.offline.quiet,
            Self::Models(_)
            | Self::Export(_)
            | Self::Config(_)
            | Self::Data(_)
            | Self::Report(_)
            | Self::Compare(_)
            | Self::Leaderboard(_) => false,
            Self::Pretrain(options) => options.common.quiet,
        }
    }
}

/// Options that every computing command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Backend to compute on: flex, tch, wgpu, vulkan, metal, cuda or rocm.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Threads to use; results do not depend on it. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print nothing but results, warnings and errors.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Common {
    /// Opens the backend and starts the threads that are asked for.
    pub fn machine(&self) -> anyhow::Result<Machine> {
        Ok(Machine::open(self.backend.as_deref(), self.threads.map(usize::from))?)
    }
}

/// One's own model.
#[derive(Debug, Args)]
pub struct OwnModel {
    /// The large model to start from: a file of weights, a folder of timm's, `hf-hub:OWNER/REPO`, or a name that `models list` shows, whose
    /// weights --weights names or the hub has.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// The file of the weights, where --model is a name.
    #[arg(long, value_name = "FILE", requires = "model")]
    pub weights: Option<PathBuf>,
    /// Side of the model's input in pixels. Default: that of the weights.
    #[arg(long, value_name = "PIXELS", requires = "model")]
    pub image_size: Option<usize>,
    /// As many classes as the data has; the data says it itself, so this is a check.
    #[arg(long, value_name = "N", requires = "model")]
    pub num_classes: Option<usize>,
}

/// Options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The images: a folder of class folders, with or without splits, or IDX or CIFAR files.
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    #[command(flatten)]
    pub own: OwnModel,
    /// The file to write; one that is there is left alone.
    #[arg(long, default_value = "robustify.toml", value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `train`.
#[derive(Debug, Args)]
pub struct Train {
    /// Configuration file. Default, without --data and --model: configs/fashion-mini.toml.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub config: Option<PathBuf>,
    /// One's own images: a folder of class folders, with or without splits, or IDX or CIFAR files. With --model, every setting is
    /// chosen by the sizes of both; with --config, it stands for data.path.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub own: OwnModel,
    /// Passes of the tuning of heads: tuning.epochs.
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Rows of a batch of the tuning of heads, half of them clean and half augmented: twice tuning.pairs.
    #[arg(long, value_name = "ROWS")]
    pub batch_size: Option<usize>,
    /// Learning rate of the tuning of heads: tuning.optimizer.learning_rate.
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// Seed of everything that is random: seed and tuning.seed.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Folder of the run, with its stages. Default: runs/NAME, with the stages in runs/cache.
    #[arg(long, visible_alias = "out", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Folder for the stages that runs share.
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Continue the run in a folder with the configuration, seeds and cache it was started with. Without a folder it asks for what happens
    /// anyway: the same command continues where it was interrupted.
    #[arg(long, value_name = "RUN_DIR", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Start an unfinished stage over instead of continuing it.
    #[arg(long, conflicts_with = "resume")]
    pub fresh: bool,
    /// Replace models and results of a finished run in the same folder that has other settings or images.
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,
    /// Run everything that `vary` names (teacher, views, heads, masks) this many times, with seeds one apart, and print mean ± standard
    /// deviation. Default: once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SEEDS))]
    pub seeds: Option<u64>,
    /// Print every way to answer against the paper's product as well, with intervals (`arena.json` has them in any case).
    #[arg(long)]
    pub arena: bool,
    /// Make an unusable file in the data an error instead of a warning.
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the file, as in `tuning.epochs=3`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of `bench-robustness`.
#[derive(Debug, Args)]
pub struct BenchRobustness {
    /// Folder of a finished run.
    #[arg(long, default_value = "runs/fashion-mini", value_name = "DIR")]
    pub run: PathBuf,
    /// Models of the run to measure, by name, as in `original,robustify`. Default: all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// A file of a further model to measure beside them, as `train` writes them; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub model: Vec<PathBuf>,
    /// Where results go. Default: `bench` in the run's folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print every way to answer against the paper's product as well, with intervals (`arena.json` has them in any case).
    #[arg(long)]
    pub arena: bool,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the run, as in `select.rule.rule=kl` or `benchmark.severities=[5]`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of `bench-cost`.
#[derive(Debug, Args)]
pub struct BenchCost {
    /// Configuration file.
    #[arg(long, default_value = "configs/fashion-mini.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Times that each side is measured; the fastest counts.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Evaluate so many images (512 at most) under all corruptions and severities as well, against plain forward passes of as many.
    #[arg(long, value_name = "IMAGES", default_value_t = 0)]
    pub evaluation: usize,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Options of `bench-models`.
#[derive(Debug, Args)]
pub struct BenchModels {
    /// Seconds that each measurement takes.
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    pub seconds: f64,
    /// Models to measure. Default: all.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub models: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print every setting with its type, default, allowed values and what it means, or those of one section.
    Reference(ConfigReference),
}

/// Options of `config reference`.
#[derive(Debug, Args)]
#[command(after_help = REFERENCE_HELP)]
pub struct ConfigReference {
    /// A section, as in `tuning` or `method.finetune`, or one key, as in `select.passes`. Default: everything.
    #[arg(value_name = "SECTION")]
    pub section: Option<String>,
    /// Form of the reference.
    #[arg(long, value_enum, default_value_t = ReferenceFormat::Text)]
    pub format: ReferenceFormat,
    /// The command whose settings are meant; those of `train` are those of bench-robustness and bench-cost as well.
    #[arg(long, value_enum, default_value_t = ConfigOf::Train, value_name = "COMMAND")]
    pub of: ConfigOf,
}

const REFERENCE_HELP: &str = "\
Editors complete and check the keys of a configuration by the JSON Schema: write it into a file,
  robustify config reference --format json > robustify.schema.json
and begin the configuration with a line that names it, which taplo (\"Even Better TOML\") and others read:
  #:schema ./robustify.schema.json";

/// A form of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReferenceFormat {
    /// For a terminal.
    Text,
    /// Markdown.
    Markdown,
    /// A JSON Schema of the whole configuration.
    Json,
}

/// A command with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigOf {
    /// The main job.
    Train,
    /// A model from scratch.
    Pretrain,
    /// The file of an experiment.
    Experiment,
    /// An evaluation.
    Eval,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum Models {
    /// List the models by name, with input size, parameters and multiply-adds.
    List(ModelsList),
    /// Show one model: preprocessing, licence, places to cut it, and what freezing or tuning each group means.
    Show(ModelsShow),
    /// Write a checkpoint under another program's names, bit for bit.
    Convert(ModelsConvert),
    /// Print CLIP's token ids of texts.
    Tokenize(ModelsTokenize),
    /// Compare a model with the outputs that PyTorch gave for the same weights and inputs.
    Verify(ModelsVerify),
}

/// Options of `models list`.
#[derive(Debug, Args)]
pub struct ModelsList {
    /// Only names that contain all these words, as in `vit,384` or `dinov2`.
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub filter: Vec<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Options of `models show`.
#[derive(Debug, Args)]
pub struct ModelsShow {
    /// Name as `models list` prints it; without its tag, the first of that architecture.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Options of `models convert`.
#[derive(Debug, Args)]
pub struct ModelsConvert {
    /// A checkpoint (safetensors, .pth, .pt, .bin), a folder as the Hugging Face hub has it, or, with the feature `hub`, a name
    /// on it as timm and open_clip write it: `hf-hub:OWNER/REPO`.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The file to write, whose name ends in .safetensors.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Whose names to use: timm, torchvision (ViT, Swin), microsoft (Swin), facebook (DeiT-III, DINOv2) or open_clip (CLIP).
    #[arg(long, value_name = "PROGRAM")]
    pub to: Naming,
    /// The model, by a name of `models list`. A folder of the hub says it itself.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The key under which the state dict lies in a file that holds several, as in `teacher`.
    #[arg(long, value_name = "KEY")]
    pub from: Option<String>,
    /// Replace OUT where a file is there already that holds something else.
    #[arg(long)]
    pub force: bool,
}

/// Options of `models tokenize`.
#[derive(Debug, Args)]
pub struct ModelsTokenize {
    /// A JSON list of texts, or an object with such a list under `prompts`.
    #[arg(value_name = "FILE.json")]
    pub file: PathBuf,
}

/// Options of `models verify`.
#[derive(Debug, Args)]
pub struct ModelsVerify {
    /// A safetensors file with weights (`w.KEY`), inputs (`in.x`, `in.ids`) and outputs (`out.NAME`, `out.mid.MODULE`).
    #[arg(value_name = "DUMP.safetensors")]
    pub dump: PathBuf,
    /// The model, by a name of `models list`. Default: the `spec` in the file's metadata, as in `timm:resnet50`.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Largest difference, relative to the largest value of an output, that passes.
    #[arg(long, default_value_t = 1e-3, value_name = "X")]
    pub tolerance: f64,
    /// Largest difference that passes in any case.
    #[arg(long, default_value_t = 1e-4, value_name = "X")]
    pub absolute: f64,
    /// Backend to compute on: flex, tch, wgpu, vulkan, metal, cuda or rocm.
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
}

/// Options of `pretrain`.
#[derive(Debug, Args)]
pub struct Pretrain {
    /// Configuration file.
    #[arg(long, default_value = "configs/pretrain-fashion.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// What is learned, instead of the configuration's `objective`: `config reference --of pretrain objective` lists all.
    #[arg(long, value_name = "NAME")]
    pub objective: Option<String>,
    /// Where to write the weights.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
    /// Settings that replace those of the file, as in `training.epochs=3`.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}
