//! Result records to terminal tables, JSON and CSV, and how files of results are kept: replaced at once, locked, identified.
//!
//! A benchmark's results are tidy [`Row`]s: one number each, with everything that says what it is a number of. They are
//! stored as `results.csv` ([`write_csv`], [`read_csv`]) and `results.json` ([`write_json`], [`read_json`]), always with the
//! same formatting, so that equal results are equal bytes; [`write_atomic`] sees to it that a killed program leaves either
//! the old file or the new one, [`lock_folder`], [`lock_file`] and [`wait_for_folder`] keep a second program out, and
//! [`digest`] identifies files and settings by their SHA-256. [`Spread`] summarises, [`Table`] shows. This crate knows no tensors.
//!
//! ```
//! use robustify_report::{Row, Spread, Style, Table, to_csv};
//!
//! let row = |model: &str, value| Row {
//!     model: model.into(),
//!     suite: "fashion-c".into(),
//!     corruption: Some("fog".into()),
//!     severity: Some(3),
//!     route: "single".into(),
//!     metric: "accuracy".into(),
//!     value,
//!     count: 2000,
//! };
//! let rows = [row("original", 0.5125), row("teacher", 0.75)];
//! assert_eq!(
//!     to_csv(&rows)?,
//!     "model,suite,corruption,severity,route,metric,value,count\n\
//!      original,fashion-c,fog,3,single,accuracy,0.512500,2000\n\
//!      teacher,fashion-c,fog,3,single,accuracy,0.750000,2000\n"
//! );
//!
//! let mut table = Table::new(["model", "fog"]);
//! for row in &rows {
//!     table.row([row.model.clone(), Spread::of([row.value]).unwrap().percent(1)]);
//! }
//! assert_eq!(table.render(Style::Markdown), "\
//! | model    |  fog |
//! |:---------|-----:|
//! | original | 51.2 |
//! | teacher  | 75.0 |
//! ");
//! # Ok::<(), robustify_report::ReportError>(())
//! ```
#![deny(missing_docs)]

mod atomic;
pub mod chart;
pub mod compare;
mod csv;
pub mod diagnosis;
pub mod digest;
mod error;
pub mod evaluation;
mod json;
pub mod leaderboard;
mod lock;
pub mod page;
mod row;
mod spread;
mod table;

pub use atomic::{expect_folder_of, remove_leftovers, write_atomic};
pub use csv::{CSV_HEADER, from_csv, read_csv, to_csv, write_csv};
pub use error::{ReportError, RowFault};
pub use json::{JSON_SCHEMA, Meta, Results, from_json, read_json, to_json, write_json};
pub use lock::{Lock, LockError, lock_file, lock_folder, wait_for_folder, wait_for_lock};
pub use row::Row;
pub use spread::Spread;
pub use table::{Style, Table};
