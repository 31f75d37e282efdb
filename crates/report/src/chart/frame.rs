//! What charts share: the page with its styles, axes with round numbers, colours.

use std::fmt::Write as _;

/// Colours of series: apart for people who see no red or no green, and neither too light nor too dark for either ground.
pub(super) const COLOURS: [&str; 8] =
    ["#3b82c4", "#d9722e", "#2f9e77", "#b8579f", "#8a74d6", "#a8862a", "#3fa3b0", "#8c8c8c"];

/// Width of a chart, in units of the page.
pub(super) const WIDTH: f64 = 720.0;

/// What a name needs in a text of XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A page of a height, with its title and what is drawn on it.
pub(super) fn page(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"{0}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<style>\n\
         .ground {{ fill: #ffffff }} text {{ fill: #24292f }} .soft {{ fill: #57606a }} .line {{ stroke: #d0d7de }} .axis {{ stroke: #57606a }}\n\
         .halo {{ stroke: #ffffff; stroke-width: 3px; paint-order: stroke; stroke-linejoin: round }}\n\
         @media (prefers-color-scheme: dark) {{ .ground {{ fill: #0d1117 }} text {{ fill: #e6edf3 }} .soft {{ fill: #9198a1 }} .line {{ stroke: \
         #30363d }} .axis {{ stroke: #9198a1 }} .halo {{ stroke: #0d1117 }} }}\n</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"6\"/>\n\
         <text x=\"20\" y=\"28\" font-size=\"16\" font-weight=\"600\">{0}</text>\n{body}</svg>\n",
        escaped(title)
    )
}

/// A range of numbers on a stretch of the page, with round marks.
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
}

impl Scale {
    /// For some values, with room around them; from zero on if they begin near it.
    pub fn new(values: impl Iterator<Item = f64>, stretch: [f64; 2]) -> Self {
        Self::with_room(values, 0.04, stretch)
    }

    /// For some values, the first and the last at the ends or next to them.
    pub fn exact(values: impl Iterator<Item = f64>, stretch: [f64; 2]) -> Self {
        Self::with_room(values, 0.0, stretch)
    }

    /// Between given ends, with round marks.
    pub fn between([low, high]: [f64; 2], [from, to]: [f64; 2]) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, step: round((high - low) / 5.0) }
    }

    /// The smallest value.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The greatest value.
    pub fn high(&self) -> f64 {
        self.high
    }

    fn with_room(values: impl Iterator<Item = f64>, room: f64, [from, to]: [f64; 2]) -> Self {
        let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let (low, high) = values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let span = if high > low { high - low } else { high.abs().max(1.0) };
        let step = round(span / 5.0);
        let near_zero = low >= 0.0 && low < 0.3 * high;
        let low = if near_zero { 0.0 } else { ((low - room * span) / step).floor() * step };
        // A mark that is hardly above the last value leaves room enough: percentages do not go beyond a hundred.
        let mark = (high / step - 1e-9).ceil() * step;
        let high = if mark - high < 0.2 * room * span { mark + step } else { mark };
        Self { low, high: high.max(low + step), from, to, step }
    }

    /// Where a value lies on the page.
    pub fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Places on the page, and their numbers.
    pub fn marks(&self) -> Vec<(f64, String)> {
        let count = ((self.high - self.low) / self.step + 1e-9).floor() as usize;
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        let mark = |index: usize| self.low + index as f64 * self.step;
        (0..=count).map(|index| (self.at(mark(index)), format!("{:.decimals$}", mark(index)))).collect()
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999).unwrap_or(10.0);
    factor * power
}

/// The area that numbers are drawn on.
pub(super) struct Area {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Area {
    /// Rules, marks and names of both axes.
    pub fn axes(&self, [x, y]: [&Scale; 2], [below, beside]: [&str; 2]) -> String {
        let Self { left, right, top, bottom } = *self;
        let mut body = String::new();
        for (at, text) in y.marks() {
            let _ = writeln!(body, "<line class=\"line\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
            let _ = writeln!(
                body,
                "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 8.0,
                at + 4.5
            );
        }
        for (at, text) in x.marks() {
            let _ = writeln!(
                body,
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>",
                bottom + 5.0
            );
            let _ = writeln!(
                body,
                "<text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 20.0
            );
        }
        let _ = writeln!(body, "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
        let (middle, low) = ((left + right) / 2.0, bottom + 42.0);
        let _ =
            writeln!(body, "<text x=\"{middle:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{}</text>", escaped(below));
        let _ = writeln!(body, "<text x=\"{left:.1}\" y=\"{:.1}\">{}</text>", top - 12.0, escaped(beside));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_hold_all_values() {
        let scale = Scale::new([78.6, 88.2].into_iter(), [400.0, 60.0]);
        let marks: Vec<String> = scale.marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(marks, ["78", "80", "82", "84", "86", "88", "90"]);
        assert!(scale.at(78.6) < 400.0 && scale.at(88.2) > 60.0);
        let from_zero = Scale::new([0.5, 23.0].into_iter(), [0.0, 1.0]);
        assert_eq!(from_zero.marks()[0].1, "0");
        // One value, or none, is no division by zero.
        assert!(Scale::new([5.0].into_iter(), [0.0, 1.0]).at(5.0).is_finite());
        assert!(Scale::new(std::iter::empty(), [0.0, 1.0]).at(0.5).is_finite());
    }
}
