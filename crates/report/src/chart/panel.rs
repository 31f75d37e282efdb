//! A small chart that stands inside a page, and takes every colour from it.
//!
//! Series are drawn in `currentColor` of the classes `s0` to `s7`, rules and texts in that of `c-line`, `c-axis` and `c-soft`; the
//! page says what colours these are, on light ground, on dark ground and on paper. It names the series in a legend of its own, so that a
//! panel is legible at the width of a telephone.

use std::fmt::Write as _;

use super::frame::{Area, Scale, escaped};
use super::label;

/// How many colours, and markers, there are before dashes tell series apart.
pub const STYLES: usize = 8;

/// A series of a panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name, which a pointer shows.
    pub label: String,
    /// Its number in the legend, which is its colour, marker and dash.
    pub style: usize,
    /// Along and up, from left to right. A point without height is a gap in the line.
    pub points: Vec<(f64, Option<f64>)>,
    /// Whether every point has a marker.
    pub marked: bool,
}

/// A line that helps to read a panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Guide {
    /// None.
    #[default]
    None,
    /// Where both axes have the same number.
    Diagonal,
    /// Steps over points that nothing beats, from left to right.
    Front(Vec<(f64, f64)>),
}

/// A small chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The name of the axis to the right; none if it is empty.
    pub x: String,
    /// The name of the axis upwards.
    pub y: String,
    /// Width and height in units; a text is 12 high.
    pub size: [f64; 2],
    /// Ends of the axis to the right, if they are not those of the points.
    pub across: Option<[f64; 2]>,
    /// Ends of the axis upwards, if they are not those of the points.
    pub upward: Option<[f64; 2]>,
    /// The series.
    pub series: Vec<Series>,
    /// Series of dots that no line joins and that may lie on one another, below the others.
    pub dots: Vec<Series>,
    /// Whether series are named at their last point.
    pub named: bool,
    /// A line that helps to read it.
    pub guide: Guide,
}

impl Panel {
    /// The picture, without a style sheet.
    #[must_use]
    pub fn svg(&self) -> String {
        let [width, height] = self.size;
        let below = if self.x.is_empty() { 24.0 } else { 40.0 };
        let top = if self.y.is_empty() { 10.0 } else { 26.0 };
        let area = Area { left: 38.0, right: width - 10.0, top, bottom: height - below };
        let points = || self.series.iter().chain(&self.dots).flat_map(|series| &series.points);
        let xs = points().map(|(along, _)| *along);
        let scale = |ends: Option<[f64; 2]>, values: &mut dyn Iterator<Item = f64>, stretch| match ends {
            Some(ends) => Scale::between(ends, stretch),
            None => Scale::new(values, stretch),
        };
        let x = scale(self.across, &mut xs.into_iter(), [area.left, area.right]);
        let y = scale(self.upward, &mut points().filter_map(|(_, up)| *up), [area.bottom, area.top]);
        let mut body = String::new();
        axes(&mut body, &area, [&x, &y], [&self.x, &self.y]);
        self.guide(&mut body, &area, [&x, &y]);
        for series in &self.dots {
            series.scatter(&mut body, [&x, &y]);
        }
        for series in &self.series {
            series.draw(&mut body, [&x, &y]);
        }
        if self.named {
            self.names(&mut body, &area, [&x, &y]);
        }
        drawn(&self.title, self.size, &body)
    }

    fn guide(&self, body: &mut String, area: &Area, [x, y]: [&Scale; 2]) {
        let path = match &self.guide {
            Guide::None => return,
            Guide::Diagonal => {
                let [low, high] = [x.low().max(y.low()), x.high().min(y.high())];
                format!("M{:.1} {:.1}L{:.1} {:.1}", x.at(low), y.at(low), x.at(high), y.at(high))
            }
            Guide::Front(points) => {
                let mut steps = String::new();
                for (index, (along, up)) in points.iter().enumerate() {
                    let (at, up) = (x.at(*along), y.at(*up));
                    let _ =
                        if index == 0 { write!(steps, "M{at:.1} {up:.1}") } else { write!(steps, "H{at:.1}V{up:.1}") };
                }
                if steps.is_empty() { steps } else { format!("{steps}H{:.1}", area.right) }
            }
        };
        let _ = writeln!(body, "<path class=\"c-guide\" d=\"{path}\"/>");
    }

    fn names(&self, body: &mut String, area: &Area, [x, y]: [&Scale; 2]) {
        let last = |series: &Series| {
            series.points.iter().rev().find_map(|(along, up)| Some((*along, up.filter(|up| up.is_finite())?)))
        };
        let named: Vec<_> = self.series.iter().filter_map(|series| Some((series, last(series)?))).collect();
        let at: Vec<(f64, f64)> = named.iter().map(|(_, (along, up))| (x.at(*along), y.at(*up))).collect();
        let shown: Vec<String> = named.iter().map(|(series, _)| shortened(&series.label)).collect();
        let names: Vec<&str> = shown.iter().map(String::as_str).collect();
        let places = label::places(&at, &names, [area.left + 2.0, area.top, area.right + 8.0, area.bottom - 2.0]);
        for (place, name) in places.iter().zip(&shown) {
            let (left, middle) = (place[0], (place[1] + place[3]) / 2.0 + 4.0);
            let name = escaped(name);
            let _ = writeln!(body, "<text class=\"c-halo\" x=\"{left:.1}\" y=\"{middle:.1}\">{name}</text>");
        }
    }
}

/// A name that is not wider than half of a panel.
fn shortened(name: &str) -> String {
    const MOST: usize = 26;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

impl Series {
    fn scatter(&self, body: &mut String, [x, y]: [&Scale; 2]) {
        let _ = writeln!(body, "<g class=\"s{}\" fill=\"currentColor\" fill-opacity=\"0.5\">", self.style % STYLES);
        for (along, up) in &self.points {
            if let Some(up) = up.filter(|up| up.is_finite()) {
                let (at, down) = (x.at(*along), y.at(up));
                let said = escaped(&format!("{}: {up:.3}", self.label));
                let _ =
                    writeln!(body, "<circle cx=\"{at:.1}\" cy=\"{down:.1}\" r=\"3.4\"><title>{said}</title></circle>");
            }
        }
        body.push_str("</g>\n");
    }

    fn draw(&self, body: &mut String, [x, y]: [&Scale; 2]) {
        let mut path = String::new();
        let mut is_open = false;
        for (along, up) in &self.points {
            let Some(up) = up.filter(|up| up.is_finite()) else {
                is_open = false;
                continue;
            };
            let _ = write!(path, "{}{:.1} {:.1}", if is_open { 'L' } else { 'M' }, x.at(*along), y.at(up));
            is_open = true;
        }
        let dash = dash(self.style);
        let _ = writeln!(body, "<g class=\"s{}\">", self.style % STYLES);
        if self.points.len() > 1 {
            let _ = writeln!(body, "<path class=\"c-curve\" d=\"{path}\" stroke-dasharray=\"{dash}\"/>");
        }
        for (along, up) in self.points.iter().filter(|_| self.marked) {
            if let Some(up) = up.filter(|up| up.is_finite()) {
                let shape = marker(self.style, x.at(*along), y.at(up));
                let said = format!("{}: {} at {}", self.label, number(up), number(*along));
                let _ = writeln!(body, "<path class=\"c-mark\" d=\"{shape}\"><title>{}</title></path>", escaped(&said));
            }
        }
        body.push_str("</g>\n");
    }
}

/// Rules, marks and names of both axes.
pub(super) fn axes(body: &mut String, area: &Area, [x, y]: [&Scale; 2], [below, above]: [&str; 2]) {
    let Area { left, right, top, bottom } = *area;
    // As many marks as there is room for.
    let every = |marks: usize, room: f64| (marks as f64 * 26.0 / room).ceil().max(1.0) as usize;
    let rises = y.marks();
    for (at, text) in rises.iter().step_by(every(rises.len(), bottom - top)) {
        let _ = writeln!(body, "<path class=\"c-line\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>");
        let (end, down) = (left - 6.0, at + 4.0);
        let _ =
            writeln!(body, "<text class=\"c-soft\" x=\"{end:.1}\" y=\"{down:.1}\" text-anchor=\"end\">{text}</text>");
    }
    let marks = x.marks();
    for (at, text) in marks.iter().step_by(every(marks.len(), right - left)) {
        let _ = writeln!(body, "<path class=\"c-axis\" d=\"M{at:.1} {bottom:.1}v4\"/>");
        let down = bottom + 17.0;
        let _ =
            writeln!(body, "<text class=\"c-soft\" x=\"{at:.1}\" y=\"{down:.1}\" text-anchor=\"middle\">{text}</text>");
    }
    let _ = writeln!(body, "<path class=\"c-axis\" d=\"M{left:.1} {bottom:.1}H{right:.1}\"/>");
    if !below.is_empty() {
        let (middle, low) = ((left + right) / 2.0, bottom + 34.0);
        let name = escaped(below);
        let _ = writeln!(body, "<text x=\"{middle:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{name}</text>");
    }
    if !above.is_empty() {
        let _ = writeln!(body, "<text x=\"2\" y=\"12\">{}</text>", escaped(above));
    }
}

/// A picture that stands in a page.
pub(super) fn drawn(title: &str, [width, height]: [f64; 2], body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>",
        escaped(title)
    )
}

/// A number with as many decimals as people read.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The dashes of a series.
pub fn dash(style: usize) -> &'static str {
    ["none", "6 3", "2 3", "8 3 2 3"][style / STYLES % 4]
}

/// The outline of a series' marker around a point.
pub fn marker(style: usize, x: f64, y: f64) -> String {
    match style % 5 {
        0 => format!("M{:.1} {y:.1}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", x - 3.5),
        1 => format!("M{:.1} {:.1}h6v6h-6z", x - 3.0, y - 3.0),
        2 => format!("M{x:.1} {:.1}l4 7h-8z", y - 4.5),
        3 => format!("M{x:.1} {:.1}l4.2 4.2l-4.2 4.2l-4.2 -4.2z", y - 4.2),
        _ => format!("M{x:.1} {:.1}l4 -7h-8z", y + 4.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_takes_colours_from_its_page_and_a_gap_breaks_a_line() {
        let points = vec![(0.0, Some(93.0)), (1.0, None), (2.0, Some(80.0)), (3.0, Some(f64::NAN))];
        let series = Series { label: "a <b>".into(), style: 9, points, marked: true };
        let size = [360.0, 240.0];
        let panel = Panel { title: "\"t\"".into(), size, series: vec![series], named: true, ..Panel::default() };
        let svg = panel.svg();
        assert_eq!(svg.matches("class=\"c-mark\"").count(), 2, "{svg}");
        let curve = svg.lines().find(|line| line.contains("c-curve")).unwrap();
        assert!(curve.matches('M').count() == 2 && !curve.contains('L') && curve.contains("6 3"), "{curve}");
        assert!(svg.contains("<g class=\"s1\">") && svg.contains("a &lt;b&gt;") && !svg.contains('#'), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("<style"));
    }

    #[test]
    fn nothing_to_show_is_an_empty_panel() {
        for guide in [Guide::None, Guide::Diagonal, Guide::Front(Vec::new())] {
            let svg = Panel { size: [300.0, 200.0], guide, named: true, ..Panel::default() }.svg();
            assert!(svg.starts_with("<svg") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
