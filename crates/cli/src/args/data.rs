//! Options of `data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with published data sets.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// List every data set that the program knows: what was found and where, what is missing and where to get it.
    List(DataList),
    /// Count a data set's classes and images against its official numbers, and open some of its images; exit code 1 if anything differs.
    Check(DataCheck),
}

/// Where data sets lie.
#[derive(Debug, Args)]
pub struct DataRoot {
    /// The folder of all data sets, with a folder for each. Default: what the environment variable ROBUSTIFY_DATA says.
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
}

/// Options of `data list`.
#[derive(Debug, Args)]
pub struct DataList {
    /// Only data sets whose names contain all of these words.
    #[arg(value_name = "WORD")]
    pub filter: Vec<String>,
    #[command(flatten)]
    pub root: DataRoot,
    /// Print everything that is declared of them as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `data check`.
#[derive(Debug, Args)]
pub struct DataCheck {
    /// Names of data sets, as `data list` shows them.
    #[arg(value_name = "SUITE", required = true)]
    pub suites: Vec<String>,
    #[command(flatten)]
    pub root: DataRoot,
    /// Images that are opened, evenly over all cells.
    #[arg(long, value_name = "N", default_value_t = 150)]
    pub sample: usize,
    /// Print what was found as JSON.
    #[arg(long)]
    pub json: bool,
}
