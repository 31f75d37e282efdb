//! Heat maps of corruption by severity, whose cells open the images that the corruption flipped.

use serde::Serialize;

use super::number::percent;
use super::read::{self, class, words};
use crate::evaluation::{CellRecord, Evaluation, ModelRecord, SuiteRecord};

/// The heat map of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heat {
    /// The model.
    pub model: String,
    /// A name for links to it.
    pub anchor: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<HeatRow>,
    /// Whether it is shown at once: those of the first model and of the best of the others are.
    pub open: bool,
}

/// A shift of a heat map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatRow {
    /// The group that begins with this row, if one does.
    pub group: String,
    /// The shift.
    pub name: String,
    /// A place for each severity, then the mean.
    pub cells: Vec<HeatCell>,
    /// The mean of the row.
    pub mean: HeatCell,
}

/// A place of a heat map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeatCell {
    /// Accuracy in percent; nothing where it is not known.
    pub text: String,
    /// How dark it is, 0 to 1: 1 is the lowest accuracy of the suite.
    pub heat: f64,
    /// The anchor of the images behind it; nothing if there are none.
    pub opens: String,
}

/// The images behind a place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flips {
    /// Its anchor.
    pub anchor: String,
    /// The anchor of its heat map.
    pub back: String,
    /// What they are.
    pub title: String,
    /// The images, the surest wrong answer first.
    pub pictures: Vec<Picture>,
}

/// An image with what is said of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Picture {
    /// A `data:` URL; nothing if there is no picture.
    pub source: String,
    /// What the image is called.
    pub name: String,
    /// Its class.
    pub label: String,
    /// What was said: by whom, the class, how sure in percent, whether it is right.
    pub said: Vec<Said>,
}

/// An answer about an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Said {
    /// Model, and head or route; nothing where it is clear.
    pub who: String,
    /// The class.
    pub class: String,
    /// How sure, in percent.
    pub sure: String,
    /// Whether it is the label.
    pub right: bool,
}

/// A picture's URL if it is an image in the page itself: a page loads nothing.
pub fn own_picture(source: Option<&str>) -> String {
    let is_own = |source: &&str| {
        let kinds = ["data:image/png;base64,", "data:image/jpeg;base64,", "data:image/webp;base64,"];
        let body = kinds.iter().find_map(|kind| source.strip_prefix(kind));
        body.is_some_and(|body| {
            !body.is_empty()
                && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        })
    };
    source.filter(is_own).unwrap_or_default().to_owned()
}

/// How sure somebody is, in percent without decimals.
pub fn sure(confidence: f64) -> String {
    if confidence.is_finite() { format!("{:.0} %", 100.0 * confidence.clamp(0.0, 1.0)) } else { String::new() }
}

/// The heat maps of a suite, and all the images behind them.
pub fn heats(evaluation: &Evaluation, suite: &SuiteRecord, index: usize) -> (Vec<Heat>, Vec<Flips>) {
    let (mut heats, mut flips) = (Vec::new(), Vec::new());
    if read::shifted(suite).next().is_none() {
        return (heats, flips);
    }
    let values = || {
        evaluation.models.iter().flat_map(|model| read::shifted(suite).filter_map(|cell| read::accuracy(cell, model)))
    };
    let (low, high) =
        values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let range = [low, high];
    let others = evaluation.models.iter().skip(1).filter_map(|model| Some((model, read::headline(suite, model)?)));
    let best = others.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(model, _)| &model.name);
    for (number, model) in evaluation.models.iter().enumerate() {
        if read::shifted(suite).all(|cell| read::accuracy(cell, model).is_none()) {
            continue;
        }
        let anchor = format!("heat-{index}-{number}");
        let heat = heat(suite, model, &anchor, range, &mut flips);
        heats.push(Heat { open: number == 0 || best == Some(&model.name), ..heat });
    }
    // What is shown at once comes first.
    heats.sort_by_key(|heat| !heat.open);
    (heats, flips)
}

fn heat(suite: &SuiteRecord, model: &ModelRecord, anchor: &str, range: [f64; 2], flips: &mut Vec<Flips>) -> Heat {
    let severities = read::distinct(read::shifted(suite).map(|cell| cell.severity));
    let shifts = super::curves::shifts(suite);
    let mut rows: Vec<HeatRow> = Vec::new();
    let mut last = None;
    for shift in shifts {
        let of_shift = || read::shifted(suite).filter(|cell| cell.shift.as_deref() == Some(shift));
        let group = of_shift().find_map(|cell| cell.group.as_deref());
        let cells = severities.iter().map(|severity| {
            let Some(cell) = of_shift().find(|cell| cell.severity == *severity) else { return HeatCell::default() };
            let opens = behind(suite, cell, model, anchor, flips);
            HeatCell { opens, ..place(read::accuracy(cell, model), range) }
        });
        let cells = cells.collect();
        let mean = place(read::mean(of_shift().map(|cell| read::accuracy(cell, model))), range);
        let begins = if group == last { String::new() } else { group.map(words).unwrap_or_default() };
        last = group;
        rows.push(HeatRow { group: begins, name: words(shift), cells, mean });
    }
    let is_one = severities.len() == 1;
    let name = |severity: &Option<u8>| match severity {
        None => "accuracy".to_owned(),
        Some(severity) if is_one => format!("severity {severity}"),
        Some(severity) => severity.to_string(),
    };
    Heat {
        model: model.name.clone(),
        anchor: anchor.to_owned(),
        columns: severities.iter().map(name).collect(),
        rows,
        open: false,
    }
}

fn place(value: Option<f64>, [low, high]: [f64; 2]) -> HeatCell {
    let Some(value) = value else { return HeatCell::default() };
    let heat = if high > low { (high - value) / (high - low) } else { 0.0 };
    HeatCell { text: percent(value), heat: (heat.clamp(0.0, 1.0) * 1000.0).round() / 1000.0, opens: String::new() }
}

/// Keeps the images behind a place, and gives their anchor.
fn behind(suite: &SuiteRecord, cell: &CellRecord, model: &ModelRecord, heat: &str, flips: &mut Vec<Flips>) -> String {
    let Some(result) = read::main(&cell.results, model).filter(|result| !result.flipped.is_empty()) else {
        return String::new();
    };
    let mut order: Vec<_> = result.flipped.iter().collect();
    order.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let picture = |flip: &&crate::evaluation::FlipRecord| Picture {
        source: own_picture(flip.picture.as_deref()),
        name: flip.image.clone(),
        label: class(suite, flip.label),
        said: vec![Said { class: class(suite, flip.said), sure: sure(flip.confidence), ..Said::default() }],
    };
    let severity = cell.severity.map(|severity| format!(", severity {severity}")).unwrap_or_default();
    let shift = words(cell.shift.as_deref().unwrap_or_default());
    let anchor = format!("{heat}-{}", flips.len());
    flips.push(Flips {
        anchor: anchor.clone(),
        back: heat.to_owned(),
        title: format!("{}: right when clean, wrong under {shift}{severity}", model.name),
        pictures: order.iter().map(picture).collect(),
    });
    anchor
}

/// Example images of a shift.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Examples {
    /// The shift.
    pub title: String,
    /// Images under it.
    pub pictures: Vec<Picture>,
}

/// Example images by shift, with what everybody says of them.
pub fn examples(suite: &SuiteRecord) -> Vec<Examples> {
    let mut all: Vec<Examples> = Vec::new();
    for example in &suite.examples {
        let cell = suite.cells.iter().find(|cell| cell.name == example.cell);
        let shift = cell.map_or_else(|| words(&example.cell), |cell| words(cell.shift.as_deref().unwrap_or("clean")));
        let severity =
            cell.and_then(|cell| cell.severity).map(|severity| format!("severity {severity}, ")).unwrap_or_default();
        let said = example.said.iter().map(|(model, route, said, probability)| Said {
            who: if route == "single" || route.is_empty() {
                model.clone()
            } else {
                format!("{model}, {}", words(route))
            },
            class: class(suite, *said),
            sure: sure(*probability),
            right: *said == example.label,
        });
        let picture = Picture {
            source: own_picture(Some(&example.picture)),
            name: format!("{severity}{}", example.image),
            label: class(suite, example.label),
            said: said.collect(),
        };
        match all.iter_mut().find(|known| known.title == shift) {
            Some(known) => known.pictures.push(picture),
            None => all.push(Examples { title: shift, pictures: vec![picture] }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_its_own_pictures_alone() {
        assert_eq!(own_picture(Some("data:image/png;base64,iVBORw0K/+=")), "data:image/png;base64,iVBORw0K/+=");
        for other in [
            "https://example.org/a.png",
            "data:text/html;base64,PGI+",
            "data:image/png;base64,a\" onload=\"x",
            "data:image/svg+xml;base64,PHN2Zz4=",
        ] {
            assert_eq!(own_picture(Some(other)), "", "{other}");
        }
    }
}
