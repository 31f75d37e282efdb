//! Robustness benchmark: cells, metrics and result records.
//!
//! A *cell* is one corruption at one severity (or the clean images) of one suite. [`cells::compute`] corrupts the images on
//! the fly, runs the frozen backbone once for all models that share it, and keeps what every model said; [`metrics::rows`]
//! turns a finished set of cells into records. No metric needs a model again, so another selection rule costs nothing.
//! [`statistics`] says whether a difference between two models is more than chance, [`calibration`] whether a model's
//! confidence can be believed.
//!
//! ```
//! use robustify_bench::{Cell, CellId, SuiteConfig};
//!
//! let suite: SuiteConfig = serde_json::from_str(r#"{"profile": "cifar-c", "severities": [1, 5], "images": 100}"#)?;
//! assert_eq!(suite.cells()?.len(), 1 + 15 * 2);
//! assert_eq!(suite.cells()?[1].name(), "gaussian_noise-1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

pub mod calibration;
pub mod cells;
mod error;
pub mod evaluate;
pub mod metrics;
pub mod statistics;
mod suite;

pub use calibration::Reliability;
pub use cells::{Cell, Entrants};
pub use error::BenchError;
pub use statistics::{
    Bootstrap, Comparison, Interval, Scored, StatisticsError, mcnemar_exact, paired_bootstrap, t_interval, verdict,
};
pub use suite::{CellId, SuiteConfig};
