//! Options of the commands that read evaluations and run no model: `report`, `compare`, `leaderboard`.

use std::path::PathBuf;

use clap::Args;

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The folder of an evaluation, or its evaluation.json.
    #[arg(value_name = "OUT")]
    pub evaluation: PathBuf,
    #[command(flatten)]
    pub look: Look,
}

/// How pages look.
#[derive(Debug, Default, Args)]
pub struct Look {
    /// A folder with templates (Jinja) that replace the program's: report.html, suite.html, leaderboard.html, head.html, macros.html, style.css.
    #[arg(long, value_name = "DIR")]
    pub template: Option<PathBuf>,
}

impl Look {
    /// The same for the library.
    pub fn of(&self) -> robustify_report::page::Look {
        robustify_report::page::Look { templates: self.template.clone() }
    }
}

/// Options of `compare`.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_HELP)]
pub struct Compare {
    /// Folders of evaluations, or their evaluation.json: the others are compared with the first, the models of a single one with its first
    /// model.
    #[arg(value_name = "OUT", required = true)]
    pub evaluations: Vec<PathBuf>,
    /// Fail where a metric is below a value, as in mean_accuracy=0.80 (accuracies are fractions), or above it where small values are good
    /// (mce, ece, nll); may be repeated.
    #[arg(long, value_name = "METRIC=VALUE", value_parser = limit)]
    pub fail_below: Vec<(String, f64)>,
    /// Fail where a metric is more points worse than in the first evaluation, as in clean_accuracy=0.5; may be repeated.
    #[arg(long, value_name = "METRIC=POINTS", value_parser = limit)]
    pub fail_drop: Vec<(String, f64)>,
}

const COMPARE_HELP: &str = "\
Suites of the same name and origin are compared; models of the same name with each other, any other with the first model. Limits hold for all
evaluations but the first, or for the one that is given. The exit code is 1 where one does not hold, with a sentence on standard error.";

/// Options of `leaderboard`.
#[derive(Debug, Args)]
pub struct Leaderboard {
    /// The folder below which evaluations are looked for.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The suite whose numbers decide the order, as in imagenet-r. Default: the one that most models have.
    #[arg(long, value_name = "SUITE")]
    pub sort: Option<String>,
    /// Where leaderboard.html, .md and .csv go. Default: DIR.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub look: Look,
}

/// A metric and a number.
fn limit(text: &str) -> Result<(String, f64), String> {
    let (metric, value) = text.split_once('=').ok_or("expected METRIC=NUMBER, as in mean_accuracy=0.80")?;
    match value.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((metric.to_owned(), value)),
        _ => Err(format!("`{value}` is no number; expected one as in mean_accuracy=0.80")),
    }
}
