//! Numbers along an axis, a line for each series, named at its end.

use std::fmt::Write as _;

use super::frame::{Area, COLOURS, Scale, WIDTH, escaped, page};
use super::label;

/// A series.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name.
    pub label: String,
    /// Along, up, and half of the interval of the latter.
    pub points: Vec<(f64, f64, Option<f64>)>,
}

/// Several series.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// What stands above them.
    pub title: String,
    /// The name of the axis to the right.
    pub x: String,
    /// The name of the axis upwards.
    pub y: String,
    /// The series.
    pub curves: Vec<Curve>,
}

/// Dashes by which lines of one colour, or in grey, are told apart.
const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];

impl Lines {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let widest = self.curves.iter().map(|curve| label::width(&curve.label)).fold(60.0, f64::max).min(0.42 * WIDTH);
        let height = (60.0 + 60.0 + 17.0 * self.curves.len() as f64).max(420.0);
        let area = Area { left: 64.0, right: WIDTH - 34.0 - widest, top: 76.0, bottom: height - 60.0 };
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let (first, last) =
            all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, ..)| (low.min(*x), high.max(*x)));
        let x = Scale::exact([first, last].into_iter(), [area.left, area.right]);
        let ends = all().flat_map(|(_, y, half)| [y - half.unwrap_or(0.0), y + half.unwrap_or(0.0)]);
        let y = Scale::new(ends, [area.bottom, area.top]);
        let mut body = area.axes([&x, &y], [&self.x, &self.y]);
        let wanted: Vec<f64> =
            self.curves.iter().map(|curve| curve.points.last().map_or(area.bottom, |(_, up, _)| y.at(*up))).collect();
        let heights = label::spread(&wanted, 17.0, [area.top, area.bottom]);
        for (index, (curve, height)) in self.curves.iter().zip(heights).enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let dash = DASHES[index / COLOURS.len() % DASHES.len()];
            let at: Vec<(f64, f64)> = curve.points.iter().map(|(along, up, _)| (x.at(*along), y.at(*up))).collect();
            let path: Vec<String> = at.iter().map(|(along, up)| format!("{along:.1},{up:.1}")).collect();
            let _ = writeln!(
                body,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
                path.join(" ")
            );
            for ((along, up), (_, value, half)) in at.iter().zip(&curve.points) {
                if let Some(half) = half {
                    let [low, high] = [value - half, value + half].map(|end| y.at(end));
                    let _ = writeln!(
                        body,
                        "<line x1=\"{along:.1}\" x2=\"{along:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\" stroke-width=\"1\"/>"
                    );
                }
                let _ = writeln!(body, "<circle cx=\"{along:.1}\" cy=\"{up:.1}\" r=\"3.2\" fill=\"{colour}\"/>");
            }
            if let Some((along, up)) = at.last() {
                let name = area.right + 22.0;
                let _ = writeln!(
                    body,
                    "<path d=\"M{:.1} {up:.1}L{:.1} {height:.1}\" stroke=\"{colour}\" fill=\"none\" stroke-width=\"1\"/>",
                    along + 5.0,
                    name - 4.0
                );
                let _ = writeln!(
                    body,
                    "<text x=\"{name:.1}\" y=\"{:.1}\" font-size=\"12.5\">{}</text>",
                    height + 4.5,
                    escaped(&curve.label)
                );
            }
        }
        page(&self.title, height, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_a_line_with_its_name() {
        let curve =
            |label: &str, up: f64| Curve { label: label.into(), points: vec![(0.0, 93.0, None), (5.0, up, Some(1.0))] };
        let curves: Vec<Curve> =
            (0..10).map(|index| curve(&format!("series {index}"), 60.0 + f64::from(index))).collect();
        let svg = Lines { title: "t".into(), x: "x".into(), y: "y".into(), curves }.svg();
        assert_eq!(svg.matches("<polyline").count(), 10);
        assert!(svg.contains("series 9") && svg.contains("7 4") && !svg.contains("NaN"), "{svg}");
    }
}
