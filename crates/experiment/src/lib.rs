//! The job as a library: configurations, run folders, benchmarks of runs, tables and comparisons.
//!
//! [`settings::load`] reads a [`Config`](robustify_methods::Config). [`train::train`] fits its methods, for one seed or several,
//! and leaves a run folder with one file for each fitted model, and what they came to; [`benchmark::benchmark`] measures the
//! models of a finished run, or of files, with other settings. Both keep answers in the same store, so that nothing is asked twice.
//!
//! ```no_run
//! use robustify_experiment::{settings, train};
//! use robustify_methods::Config;
//!
//! let config: Config = settings::load("configs/smoke.toml".as_ref(), &["tuning.epochs=2".into()])?;
//! let machine = robustify_device::Machine::open(Some("flex"), None)?;
//! let weights = config.original.weights.clone();
//! let (folder, cache) = ("runs/smoke".into(), "runs/cache".into());
//! let job = train::Job { config, weights, teacher: None, splits: None, folder, cache, seeds: 1, fresh: false, overwrite: false, report: true };
//! let report = train::train(job, &machine, &robustify_watch::Silent)?;
//! assert!(report.text().contains("robustify"));
//! # Ok::<(), anyhow::Error>(())
//! ```
#![deny(missing_docs)]

pub mod arena;
pub mod benchmark;
pub mod compare;
pub mod cost;
mod fitting;
pub mod grid;
pub mod outcome;
pub mod own;
mod plan;
pub mod pretrain;
pub mod reference;
pub mod report;
mod results;
pub mod run;
pub mod settings;
pub mod summary;
mod table;
pub mod train;
mod validation;
mod wrap;
