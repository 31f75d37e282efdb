//! One number against another, with the points that nothing beats in both.

use std::fmt::Write as _;

use super::frame::{Area, COLOURS, Scale, WIDTH, escaped, page};
use super::label;

/// A point with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name.
    pub label: String,
    /// To the right: what it costs.
    pub x: f64,
    /// Up: what it gains.
    pub y: f64,
    /// Half of the interval of `y`, if there is one.
    pub half: Option<f64>,
}

/// A cloud of points; less to the right and more upwards is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// What stands above it.
    pub title: String,
    /// The name of the axis to the right.
    pub x: String,
    /// The name of the axis upwards.
    pub y: String,
    /// The points.
    pub points: Vec<Point>,
}

const HEIGHT: f64 = 460.0;

impl Scatter {
    /// The points that no other beats: none costs as little and gains more, from left to right.
    #[must_use]
    pub fn front(&self) -> Vec<&Point> {
        let mut front: Vec<&Point> = Vec::new();
        let mut sorted: Vec<&Point> = self.points.iter().collect();
        sorted.sort_by(|a, b| a.x.total_cmp(&b.x).then(b.y.total_cmp(&a.y)));
        for point in sorted {
            if front.last().is_none_or(|last| point.y > last.y) {
                front.push(point);
            }
        }
        front
    }

    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let area = Area { left: 64.0, right: WIDTH - 28.0, top: 76.0, bottom: HEIGHT - 60.0 };
        let x = Scale::new(self.points.iter().map(|point| point.x), [area.left, area.right]);
        let half = |point: &Point| point.half.unwrap_or(0.0);
        let ends = self.points.iter().flat_map(|point| [point.y - half(point), point.y + half(point)]);
        let y = Scale::new(ends, [area.bottom, area.top]);
        let mut body = area.axes([&x, &y], [&self.x, &self.y]);
        let front = self.front();
        let mut steps = String::new();
        for (index, point) in front.iter().enumerate() {
            let (at, up) = (x.at(point.x), y.at(point.y));
            let _ = if index == 0 { write!(steps, "M{at:.1} {up:.1}") } else { write!(steps, "H{at:.1}V{up:.1}") };
        }
        let _ = writeln!(
            body,
            "<path d=\"{steps}H{:.1}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>",
            area.right, COLOURS[0]
        );
        let at: Vec<(f64, f64)> = self.points.iter().map(|point| (x.at(point.x), y.at(point.y))).collect();
        let names: Vec<&str> = self.points.iter().map(|point| point.label.as_str()).collect();
        let places = label::places(&at, &names, [area.left + 4.0, area.top, WIDTH - 6.0, area.bottom - 2.0]);
        for ((point, &(along, up)), place) in self.points.iter().zip(&at).zip(&places) {
            let is_best = front.contains(&point);
            let colour = COLOURS[if is_best { 0 } else { 7 }];
            if let Some(half) = point.half {
                let [low, high] = [point.y - half, point.y + half].map(|end| y.at(end));
                let _ = writeln!(
                    body,
                    "<line x1=\"{along:.1}\" x2=\"{along:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
                );
            }
            // A name that found no room beside its point is tied to it.
            let (middle, near) = ((place[1] + place[3]) / 2.0, along.clamp(place[0], place[2]));
            if (middle - up).abs() > 15.0 {
                let _ = writeln!(
                    body,
                    "<line class=\"line\" x1=\"{along:.1}\" y1=\"{up:.1}\" x2=\"{near:.1}\" y2=\"{middle:.1}\" stroke-width=\"1\"/>"
                );
            }
            let _ = writeln!(body, "<circle cx=\"{along:.1}\" cy=\"{up:.1}\" r=\"5\" fill=\"{colour}\"/>");
            let weight = if is_best { "600" } else { "400" };
            let _ = writeln!(
                body,
                "<text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\" font-size=\"12.5\" font-weight=\"{weight}\">{}</text>",
                place[0],
                middle + 4.5,
                escaped(&point.label)
            );
        }
        let _ = writeln!(
            body,
            "<text class=\"soft\" x=\"{:.1}\" y=\"48\" text-anchor=\"end\" font-size=\"12\">dashed: nothing costs less and gains more</text>",
            area.right
        );
        page(&self.title, HEIGHT, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_nothing_beats() {
        let point = |label: &str, x, y| Point { label: label.into(), x, y, half: Some(0.5) };
        let points = vec![
            point("cheap", 1.0, 80.0),
            point("beaten", 9.0, 79.0),
            point("best", 14.0, 88.0),
            point("free", 0.0, 78.0),
        ];
        let scatter = Scatter { title: "a < b".into(), x: "cost".into(), y: "gain".into(), points };
        let front: Vec<&str> = scatter.front().iter().map(|point| point.label.as_str()).collect();
        assert_eq!(front, ["free", "cheap", "best"]);
        let svg = scatter.svg();
        assert!(svg.contains("a &lt; b") && svg.matches("<circle").count() == 4 && !svg.contains("NaN"), "{svg}");
    }
}
