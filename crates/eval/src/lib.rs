//! Any model on any suite: what `robustify eval` does.
//!
//! A [`Job`] names models and data. [`evaluate`] opens them ([`models::open`]), cuts every suite into *parts* of a fixed number of images,
//! asks every model about every cell of a part, and keeps the answers as soon as it has them. So memory does not grow with the data, a
//! killed program loses one part, and several programs may share the parts ([`Shard`]). Whoever finds all answers there judges them
//! ([`judge()`]) and writes the [`Evaluation`](robustify_report::evaluation::Evaluation).
//!
//! An evaluation is a function of stored answers: shards, interruptions and threads change no byte of it. Answers are kept in 16 bits
//! ([`AnswerStore::compact`](robustify_bench::AnswerStore::compact)), and are rounded before they are judged as well.
#![deny(missing_docs)]

pub mod checkpoint;
mod engine;
mod judge;
mod matching;
pub mod merge;
pub mod models;
mod pictures;
mod place;
mod plan;
pub mod predict;
mod run;
mod settings;
mod shard;
mod slices;
mod suites;
mod took;
mod verdict;

pub use engine::{Job, Outcome, evaluate};
pub use judge::judge;
pub use plan::{Plan, PlannedCell, PlannedGroup, PlannedModel, PlannedSuite};
pub use run::Run;
pub use settings::{BenchmarkSettings, OriginalSettings, SelectSettings, Settings};
pub use shard::{Manifest, Shard, shell};
pub use verdict::text;
