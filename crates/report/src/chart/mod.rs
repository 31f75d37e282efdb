//! Charts as SVG: points, lines, and tables of colours, readable on light and on dark ground.
//!
//! ```
//! use robustify_report::chart::{Curve, Lines};
//!
//! let curve = Curve { label: "original".into(), points: vec![(0.0, 93.0, None), (3.0, 71.5, Some(0.8))] };
//! let lines = Lines { title: "Accuracy".into(), x: "severity".into(), y: "%".into(), curves: vec![curve] };
//! assert!(lines.svg().starts_with("<svg") && lines.svg().contains("original"));
//! ```

mod frame;
mod heat;
mod label;
mod lines;
mod scatter;

pub use heat::Heat;
pub use lines::{Curve, Lines};
pub use scatter::{Point, Scatter};
