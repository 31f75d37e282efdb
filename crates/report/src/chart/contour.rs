//! Numbers over a square, as bands of colours with lines between them.

use std::fmt::Write as _;

use super::frame::{Area, Scale, escaped};
use super::panel::{axes, drawn};
use super::ramp;

/// Numbers at the crossings of a grid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contour {
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The name of the axis to the right.
    pub x: String,
    /// The name of the axis upwards.
    pub y: String,
    /// Width and height; a text is 12 high.
    pub size: [f64; 2],
    /// Places along both axes, ascending.
    pub places: Vec<f64>,
    /// Row by row upwards. What is no number lies above all levels.
    pub values: Vec<Option<f64>>,
    /// Where bands begin and the last ends, ascending, with what is written beside them. Plots that are compared share them.
    pub levels: Vec<(f64, String)>,
    /// A line that stands out.
    pub marked: Option<f64>,
}

/// A corner: its place on the page and its number.
type Corner = [f64; 3];

impl Contour {
    /// The picture, without a style sheet.
    #[must_use]
    pub fn svg(&self) -> String {
        let [width, height] = self.size;
        let area = Area { left: 44.0, right: width - 66.0, top: 28.0, bottom: height - 40.0 };
        let ends = [self.places.first().copied().unwrap_or(-1.0), self.places.last().copied().unwrap_or(1.0)];
        let [x, y] = [[area.left, area.right], [area.bottom, area.top]].map(|stretch| Scale::between(ends, stretch));
        let mut body = String::new();
        axes(&mut body, &area, [&x, &y], [&self.x, &self.y]);
        let bands = self.levels.len().saturating_sub(1);
        for band in 0..bands {
            let fill = colour(band, bands);
            let level = if band == 0 { f64::NEG_INFINITY } else { self.levels[band].0 };
            // A hair of a stroke closes the seams between neighbouring shapes.
            let shapes = self.above(level, [&x, &y]);
            let _ = writeln!(
                body,
                "<path d=\"{shapes}\" fill=\"{fill}\" stroke=\"{fill}\" stroke-width=\"0.7\" stroke-linejoin=\"round\"/>"
            );
        }
        for (level, _) in self.levels.iter().skip(1).take(bands.saturating_sub(1)) {
            let line = self.line(*level, [&x, &y]);
            let _ = writeln!(
                body,
                "<path d=\"{line}\" fill=\"none\" stroke=\"#ffffff\" stroke-opacity=\"0.45\" stroke-width=\"0.8\"/>"
            );
        }
        if let Some(marked) = self.marked {
            let line = self.line(marked, [&x, &y]);
            let _ = writeln!(
                body,
                "<path d=\"{line}\" fill=\"none\" stroke=\"#ffffff\" stroke-width=\"2.2\" stroke-linecap=\"round\"/>"
            );
        }
        let (across, up) = (x.at(0.0), y.at(0.0));
        let _ = writeln!(
            body,
            "<path d=\"M{:.1} {up:.1}h10M{across:.1} {:.1}v10\" stroke=\"#ffffff\" stroke-width=\"1.6\"/>",
            across - 5.0,
            up - 5.0
        );
        self.scale(&mut body, &area);
        drawn(&self.title, self.size, &body)
    }

    /// The bands with their ends, to the right of the square.
    fn scale(&self, body: &mut String, area: &Area) {
        let bands = self.levels.len().saturating_sub(1);
        let (left, tall) = (area.right + 12.0, (area.bottom - area.top) / bands.max(1) as f64);
        let every = (18.0 / tall).ceil().max(1.0) as usize;
        for band in 0..bands {
            let up = area.bottom - tall * (band + 1) as f64;
            let fill = colour(band, bands);
            let _ = writeln!(
                body,
                "<rect x=\"{left:.1}\" y=\"{up:.1}\" width=\"11\" height=\"{:.1}\" fill=\"{fill}\"/>",
                tall + 0.5
            );
        }
        for (index, (_, text)) in self.levels.iter().enumerate().step_by(every) {
            let down = area.bottom - tall * index as f64 + 4.0;
            let _ = writeln!(
                body,
                "<text class=\"c-soft\" x=\"{:.1}\" y=\"{down:.1}\">{}</text>",
                left + 16.0,
                escaped(text)
            );
        }
    }

    fn corner(&self, [x, y]: [&Scale; 2], column: usize, row: usize) -> Corner {
        let top = self.levels.last().map_or(0.0, |(level, _)| level.abs() + 1.0) * 2.0;
        let value = self.values.get(row * self.places.len() + column).copied().flatten();
        let value = value.filter(|value| value.is_finite()).unwrap_or(top);
        [x.at(self.places[column]), y.at(self.places[row]), value]
    }

    /// Calls `whole` with each cell's corners, in turn around it, and `row`.
    fn cells(&self, scales: [&Scale; 2], mut each: impl FnMut(usize, [Corner; 4])) {
        let last = self.places.len().saturating_sub(1);
        for (row, column) in (0..last).flat_map(|row| (0..last).map(move |column| (row, column))) {
            let corner = |column, row| self.corner(scales, column, row);
            each(
                row,
                [corner(column, row), corner(column + 1, row), corner(column + 1, row + 1), corner(column, row + 1)],
            );
        }
    }

    /// The area where numbers are at least `level`.
    fn above(&self, level: f64, scales: [&Scale; 2]) -> String {
        let mut path = String::new();
        // Neighbouring cells that are above it altogether are one rectangle.
        let mut run: Option<(usize, Corner, Corner)> = None;
        let close = |path: &mut String, run: &mut Option<(usize, Corner, Corner)>| {
            if let Some((_, from, to)) = run.take() {
                let _ = write!(path, "M{:.1} {:.1}H{:.1}V{:.1}H{:.1}Z", from[0], from[1], to[0], to[1], from[0]);
            }
        };
        self.cells(scales, |row, corners| {
            if corners.iter().all(|corner| corner[2] >= level) {
                match &mut run {
                    Some((of, _, to)) if *of == row => *to = corners[2],
                    _ => {
                        close(&mut path, &mut run);
                        run = Some((row, corners[0], corners[2]));
                    }
                }
                return;
            }
            close(&mut path, &mut run);
            for triangle in triangles(corners) {
                let shape = clipped(triangle, level);
                for (index, corner) in shape.iter().enumerate() {
                    let _ = write!(path, "{}{:.1} {:.1}", if index == 0 { 'M' } else { 'L' }, corner[0], corner[1]);
                }
                if !shape.is_empty() {
                    path.push('Z');
                }
            }
        });
        close(&mut path, &mut run);
        path
    }

    /// Where numbers are `level`.
    fn line(&self, level: f64, scales: [&Scale; 2]) -> String {
        let mut path = String::new();
        self.cells(scales, |_, corners| {
            for triangle in triangles(corners) {
                let pairs = [(0, 1), (1, 2), (2, 0)].map(|(one, other)| (triangle[one], triangle[other]));
                let ends: Vec<Corner> = pairs
                    .into_iter()
                    .filter(|(one, other)| (one[2] >= level) != (other[2] >= level))
                    .map(|(one, other)| between(one, other, level))
                    .collect();
                if let [from, to] = ends.as_slice() {
                    let _ = write!(path, "M{:.1} {:.1}L{:.1} {:.1}", from[0], from[1], to[0], to[1]);
                }
            }
        });
        path
    }
}

fn colour(band: usize, bands: usize) -> String {
    let [red, green, blue] = ramp(band as f64 / bands.saturating_sub(1).max(1) as f64);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A cell as four triangles around its middle.
fn triangles(corners: [Corner; 4]) -> [[Corner; 3]; 4] {
    let middle = std::array::from_fn(|axis| corners.iter().map(|corner| corner[axis]).sum::<f64>() / 4.0);
    std::array::from_fn(|side| [corners[side], corners[(side + 1) % 4], middle])
}

/// Where the number is `level` between two corners on either side of it.
fn between(one: Corner, other: Corner, level: f64) -> Corner {
    let part = (level - one[2]) / (other[2] - one[2]);
    std::array::from_fn(|axis| one[axis] + part * (other[axis] - one[axis]))
}

/// The part of a triangle where numbers are at least `level`.
fn clipped(triangle: [Corner; 3], level: f64) -> Vec<Corner> {
    let mut shape = Vec::with_capacity(4);
    for side in 0..3 {
        let (one, other) = (triangle[side], triangle[(side + 1) % 3]);
        if one[2] >= level {
            shape.push(one);
        }
        if (one[2] >= level) != (other[2] >= level) {
            shape.push(between(one, other, level));
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_cut_where_it_crosses_a_level() {
        let triangle = [[0.0, 0.0, 0.0], [4.0, 0.0, 4.0], [0.0, 4.0, 0.0]];
        assert_eq!(clipped(triangle, 1.0), [[1.0, 0.0, 1.0], [4.0, 0.0, 4.0], [1.0, 3.0, 1.0]]);
        assert!(clipped(triangle, 5.0).is_empty() && clipped(triangle, -1.0).len() == 3);
    }

    #[test]
    fn bands_are_painted_from_the_lowest_up_and_what_is_no_number_is_above_all() {
        let values =
            vec![Some(0.0), Some(0.0), Some(0.0), Some(0.0), Some(1.0), None, Some(0.0), None, Some(f64::INFINITY)];
        let levels = [0.0, 0.5, 1.0].map(|level| (level, level.to_string())).to_vec();
        let contour = Contour {
            size: [300.0, 280.0],
            places: vec![-1.0, 0.0, 1.0],
            values,
            levels,
            marked: Some(0.5),
            ..Contour::default()
        };
        let svg = contour.svg();
        // Two bands: all of the square, a rectangle for each row of cells, and the corner above.
        let bands: Vec<&str> = svg.lines().filter(|line| line.contains("stroke-width=\"0.7\"")).collect();
        assert_eq!((bands.len(), bands[0].matches('H').count()), (2, 4), "{svg}");
        assert!(bands[0].contains("#440154") && bands[1].contains("#fde725") && bands[1].contains('L'), "{svg}");
        assert!(svg.contains("stroke-width=\"2.2\"") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!Contour { size: [300.0, 280.0], ..Contour::default() }.svg().contains("NaN"));
    }
}
