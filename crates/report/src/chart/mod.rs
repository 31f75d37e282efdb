//! Charts as SVG: points, lines, and tables of colours as files that are readable on light and on dark ground, and [`Panel`]s, small
//! ones inside a page that gives them their colours.
//!
//! ```
//! use robustify_report::chart::{Curve, Lines};
//!
//! let curve = Curve { label: "original".into(), points: vec![(0.0, 93.0, None), (3.0, 71.5, Some(0.8))] };
//! let lines = Lines { title: "Accuracy".into(), x: "severity".into(), y: "%".into(), curves: vec![curve] };
//! assert!(lines.svg().starts_with("<svg") && lines.svg().contains("original"));
//! ```

mod contour;
mod frame;
mod heat;
mod label;
mod lines;
mod panel;
mod ramp;
mod scatter;
mod sheet;
mod tiles;

pub use contour::Contour;
pub use heat::Heat;
pub use lines::{Curve, Lines};
pub use panel::{Guide, Panel, STYLES, Series, dash, marker};
pub use ramp::ramp;
pub use scatter::{Point, Scatter};
pub use sheet::{Piece, sheet};
pub use tiles::{Tile, Tiles};
