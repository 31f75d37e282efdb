use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

/// Options of `predict`.
#[derive(Debug, Args)]
#[command(after_help = PREDICT_HELP)]
pub struct Predict {
    /// The model: a file that `train` wrote, a file or folder of weights that says what it is, `hf-hub:OWNER/REPO`, or NAME=FILE with a
    /// name that `models list` shows.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// Pictures, folders of pictures, or `-` for paths on standard input, one a line. Settings of the rule, as in
    /// `select.rule.rule=entropy_weighted`, may stand among them.
    #[arg(value_name = "PICTURE|DIR|-|KEY=VALUE", required = true)]
    pub pictures: Vec<String>,
    /// How many classes are given, the likeliest first.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// Abstain where the likeliest class is less likely than this, 0 to 1.
    #[arg(long, value_name = "P")]
    pub abstain: Option<f32>,
    /// How answers are written.
    #[arg(long, value_enum, default_value_t = PredictFormat::Text)]
    pub format: PredictFormat,
    /// Names of the model's classes, one a line in the order of its outputs, where nothing else says them; for a whole CLIP, whose classes
    /// are texts, those that it is to tell apart.
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// How pictures are prepared, where that is not what the weights say: `resize(256,bicubic)|center_crop(224)|normalize(imagenet)`.
    #[arg(long, value_name = "STEPS")]
    pub preprocess: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

const PREDICT_HELP: &str = "\
Probabilities are those of the model, not calibrated ones. A picture that cannot be used is told with its reason, and the others go on: the
exit code is then 3. In folders, files named .jpg, .jpeg, .png or .webp are taken for pictures. The same file has the same answer wherever it lies, whatever stands beside it.";

/// How `predict` writes its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PredictFormat {
    /// A line for each picture: its path, and the answer.
    Text,
    /// A JSON object on a line for each picture.
    Jsonl,
    /// A table with a heading, as RFC 4180 has it.
    Csv,
}
