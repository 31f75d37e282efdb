//! Pictures of a page as a file of their own: side by side, with their names and the colours that the page would give them.

use std::fmt::Write as _;

use super::frame::{COLOURS, escaped};
use super::label;
use super::panel::{dash, marker};

/// A picture of a page with its name and size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// What stands above it.
    pub name: String,
    /// The picture.
    pub svg: String,
    /// Width and height.
    pub size: [f64; 2],
}

/// Room around pieces, and for a name above one.
const ROOM: f64 = 22.0;

/// Pieces of one size as one file, readable on light and on dark ground, with a legend of styles.
///
/// # Arguments
/// - title: what stands above all
/// - pieces: the pictures
/// - across: how many stand in a row
/// - legend: names of the styles 0, 1, … that lines have; empty without lines
#[must_use]
pub fn sheet(title: &str, pieces: &[Piece], across: usize, legend: &[String]) -> String {
    let across = across.clamp(1, pieces.len().max(1));
    let wide = pieces.iter().map(|piece| piece.size[0]).fold(120.0, f64::max);
    let tall = pieces.iter().map(|piece| piece.size[1]).fold(20.0, f64::max) + ROOM;
    let rows = pieces.len().div_ceil(across);
    let width = (across as f64 * (wide + ROOM) + ROOM).max(40.0 + 1.35 * label::width(title));
    let (keys, below) = keys(legend, width);
    let top = 44.0 + below;
    let height = top + rows as f64 * (tall + 14.0) + 10.0;
    let mut body = keys;
    for (index, piece) in pieces.iter().enumerate() {
        let (left, up) =
            (ROOM + (index % across) as f64 * (wide + ROOM), top + (index / across) as f64 * (tall + 14.0));
        let name = escaped(&piece.name);
        let _ = writeln!(body, "<text x=\"{left:.1}\" y=\"{:.1}\" font-weight=\"600\">{name}</text>", up + 12.0);
        let [width, height] = piece.size;
        let place = format!("<svg x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.0}\" height=\"{height:.0}\"", up + ROOM);
        body += &piece.svg.replacen("<svg", &place, 1);
        body.push('\n');
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"{0}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<style>\n{1}</style>\n\
         <rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"6\"/>\n\
         <text x=\"{ROOM}\" y=\"28\" font-size=\"16\" font-weight=\"600\">{0}</text>\n{body}</svg>\n",
        escaped(title),
        styles()
    )
}

/// A legend in rows, and how high it is.
fn keys(legend: &[String], width: f64) -> (String, f64) {
    let (mut body, mut left, mut down) = (String::new(), ROOM, 54.0);
    for (style, name) in legend.iter().enumerate() {
        let wide = 54.0 + label::width(name);
        if left + wide > width && left > ROOM {
            (left, down) = (ROOM, down + 18.0);
        }
        let (dash, up) = (dash(style), down - 4.0);
        let _ = writeln!(
            body,
            "<g class=\"s{}\"><path class=\"c-curve\" d=\"M{left:.1} {up:.1}h26\" stroke-dasharray=\"{dash}\"/><path class=\"c-mark\" d=\"{}\"/></g><text x=\"{:.1}\" y=\"{down:.1}\">{}</text>",
            style % COLOURS.len(),
            marker(style, left + 13.0, up),
            left + 32.0,
            escaped(name)
        );
        left += wide;
    }
    (body, if legend.is_empty() { 0.0 } else { down - 32.0 })
}

/// What a page says of the classes of its pictures, with the colours of charts that are files.
fn styles() -> String {
    let mut text = String::from(
        ".ground { fill: #ffffff } text { fill: #24292f } .c-soft { fill: #57606a } .c-line { stroke: #d0d7de; fill: none } \
         .c-axis { stroke: #57606a; fill: none } .c-curve { stroke: currentColor; fill: none; stroke-width: 1.8; stroke-linejoin: round } .c-mark { fill: currentColor } \
         .c-halo { stroke: #ffffff; stroke-width: 3px; paint-order: stroke } .c-guide { stroke: #57606a; stroke-dasharray: 4 4; fill: none }\n\
         @media (prefers-color-scheme: dark) { .ground { fill: #0d1117 } text { fill: #e6edf3 } .c-soft { fill: #9198a1 } .c-line { stroke: \
         #30363d } .c-axis { stroke: #9198a1 } }\n",
    );
    for (style, colour) in COLOURS.iter().enumerate() {
        let _ = writeln!(text, ".s{style} {{ color: {colour} }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stand_side_by_side_with_their_names() {
        let piece =
            |name: &str| Piece { name: name.into(), svg: "<svg class=\"chart\"></svg>".into(), size: [300.0, 200.0] };
        let svg = sheet("a & b", &[piece("before"), piece("after"), piece("later")], 2, &["one".into(), "two".into()]);
        assert!(svg.contains("a &amp; b") && svg.contains(">after<") && svg.contains("class=\"s1\""), "{svg}");
        let places: Vec<&str> = svg.lines().filter(|line| line.contains("class=\"chart\"")).collect();
        assert!(places[0].starts_with("<svg x=\"22.0\"") && places[1].starts_with("<svg x=\"344.0\""), "{places:?}");
        assert!(places[2].starts_with("<svg x=\"22.0\""));
    }
}
