//! Pictures in rows, each with what is written below it.

use std::fmt::Write as _;

use super::frame::escaped;
use super::panel::drawn;
use super::ramp;

/// Width of the scale of colours.
const SCALE: f64 = 240.0;

/// A picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tile {
    /// A square picture as a `data:` URI.
    pub picture: String,
    /// What it is.
    pub name: String,
    /// Lines below its name.
    pub lines: Vec<String>,
}

/// Pictures in rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tiles {
    /// What they show, for those who do not see them.
    pub title: String,
    /// The pictures.
    pub tiles: Vec<Tile>,
    /// How many stand in a row.
    pub across: usize,
    /// Side of a picture in units; a text is 12 high.
    pub side: f64,
    /// What stands below the scale of colours, evenly from its lower to its upper end; no scale without it.
    pub scale: Vec<String>,
}

impl Tiles {
    /// Width and height.
    #[must_use]
    pub fn size(&self) -> [f64; 2] {
        let across = self.across.max(1);
        let rows = self.tiles.len().div_ceil(across);
        let below = if self.scale.is_empty() { 0.0 } else { 36.0 };
        let width = across as f64 * (self.side + 12.0) - 12.0;
        [width.max(if self.scale.is_empty() { 0.0 } else { SCALE + 90.0 }), rows as f64 * self.tall() + below]
    }

    fn tall(&self) -> f64 {
        let lines = self.tiles.iter().map(|tile| tile.lines.len()).max().unwrap_or(0);
        self.side + 20.0 + 15.0 * lines as f64 + 10.0
    }

    /// The picture, without a style sheet.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut body = String::new();
        let across = self.across.max(1);
        for (index, tile) in self.tiles.iter().enumerate() {
            let (left, top) = ((index % across) as f64 * (self.side + 12.0), (index / across) as f64 * self.tall());
            let side = self.side;
            let _ = writeln!(
                body,
                "<image x=\"{left:.1}\" y=\"{top:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" style=\"image-rendering: pixelated\" href=\"{}\"/>",
                escaped(&tile.picture)
            );
            let mut down = top + side + 15.0;
            let _ = writeln!(body, "<text x=\"{left:.1}\" y=\"{down:.1}\">{}</text>", escaped(&tile.name));
            for line in &tile.lines {
                down += 15.0;
                let _ =
                    writeln!(body, "<text class=\"c-soft\" x=\"{left:.1}\" y=\"{down:.1}\">{}</text>", escaped(line));
            }
        }
        self.colours(&mut body);
        drawn(&self.title, self.size(), &body)
    }

    /// The scale of colours, below all pictures.
    fn colours(&self, body: &mut String) {
        const STEPS: usize = 48;
        let Some(last) = self.scale.len().checked_sub(1) else { return };
        let top = self.size()[1] - 32.0;
        for step in 0..STEPS {
            let [red, green, blue] = ramp(step as f64 / (STEPS - 1) as f64);
            let (left, wide) = (SCALE * step as f64 / STEPS as f64, SCALE / STEPS as f64 + 0.4);
            let _ = writeln!(
                body,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"9\" fill=\"#{red:02x}{green:02x}{blue:02x}\"/>"
            );
        }
        for (index, text) in self.scale.iter().enumerate() {
            let at = SCALE * index as f64 / last.max(1) as f64;
            let _ =
                writeln!(body, "<text class=\"c-soft\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>", top + 24.0, escaped(text));
        }
    }
}
