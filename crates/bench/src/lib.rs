//! Robustness benchmark: suites, stored answers, metrics and result records.
//!
//! A [`Suite`] is a benchmark data set, cut into [`Cell`]s: the clean images, and each shift of them. [`measure::measure`] asks
//! every [`measure::Entrant`] about every cell and keeps the answers in an [`AnswerStore`], one file for each predictor and
//! cell; [`metrics::judge`] turns them into records. No metric needs a model again, so another selection rule costs nothing,
//! and another model computes its own answers alone.
//!
//! ```
//! use robustify_bench::suites::CorruptedConfig;
//!
//! let config: CorruptedConfig = serde_json::from_str(r#"{"profile": "cifar-c", "severities": [1, 5], "images": 100}"#)?;
//! assert_eq!(config.cells()?.len(), 1 + 15 * 2);
//! assert_eq!(config.cells()?[1].name, "gaussian_noise-1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod error;
pub mod evaluate;
pub mod measure;
pub mod metrics;
mod store;
mod suite;
pub mod suites;

pub use error::BenchError;
pub use measure::{Entrant, Measured, Timing, Timings};
pub use metrics::{Judged, Outcome};
pub use store::{AnswerStore, INFERENCE, Stored, TrunkFeatures};
pub use suite::{Cell, Origin, Shift, Suite};
