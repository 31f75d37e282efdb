//! Robustness benchmark: suites, stored answers, metrics and result records.
//!
//! A [`Suite`] is a benchmark data set, cut into [`Cell`]s: the clean images, and each shift of them. [`measure::measure`] asks
//! every [`measure::Entrant`] about every cell and keeps the answers in an [`AnswerStore`], one file for each predictor and
//! cell; [`metrics::judge`] turns them into records, for every rule and mixture ([`HeadRoute`], [`Blend`]). No metric needs a
//! model again, so another selection rule costs nothing, and another model computes its own answers alone. [`statistics`]
//! says whether a difference between two models is more than chance, [`calibration`] whether a model's confidence can be
//! believed.
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

pub mod calibration;
mod class_map;
mod error;
pub mod evaluate;
mod fits;
pub mod measure;
pub mod metrics;
mod probe;
pub mod robustness;
mod routes;
pub mod segmentation;
pub mod statistics;
mod store;
mod suite;
pub mod suites;

pub use calibration::Reliability;
pub use class_map::{ClassMap, ClassMapError};
pub use error::BenchError;
pub use fits::{Calibrations, HeadFits};
pub use measure::{Entrant, Measured, Timing, Timings};
pub use metrics::{Judged, Judging, Outcome};
pub use probe::Probed;
pub use routes::{Blend, HeadRoute, Samples, reads_passes};
pub use statistics::{
    Bootstrap, Comparison, Interval, JointBootstrap, Scored, StatisticsError, mcnemar_exact, mcnemar_mid,
    paired_bootstrap, paired_effects, paired_on, points, t_interval,
};
pub use store::{AnswerStore, INFERENCE, Stored, TrunkFeatures};
pub use suite::{Cell, Origin, Shift, Suite};
