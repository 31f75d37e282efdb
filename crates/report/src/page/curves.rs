//! Curves of a suite: accuracy by severity, confidence by accuracy, risk by coverage, accuracy by cost.

use serde::Serialize;

use super::number::percent;
use super::read::{self, words};
use crate::chart::{Guide, Panel, STYLES, Series, dash, marker};
use crate::evaluation::{BinRecord, CellRecord, Evaluation, ModelRecord, ResultRecord, SuiteRecord, Times};

/// How many models are drawn into one chart: more are not told apart.
const MOST: usize = STYLES;

/// A chart with its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What stands above it.
    pub title: String,
    /// The chart.
    pub svg: String,
}

/// An entry of a legend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// The model.
    pub name: String,
    /// Its line and marker.
    pub svg: String,
}

/// Charts that share a legend.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// What the lines are.
    pub legend: Vec<Key>,
    /// Models that are not drawn.
    pub left_out: usize,
    /// Large charts.
    pub large: Vec<Figure>,
    /// Small ones.
    pub small: Vec<Figure>,
}

/// The models that are drawn: the first, and the best of the others, in their own order, each with its number in legends.
pub fn drawn<'a>(evaluation: &'a Evaluation, suite: &SuiteRecord) -> Vec<(usize, &'a ModelRecord)> {
    let mut order: Vec<(usize, &ModelRecord)> = evaluation.models.iter().enumerate().collect();
    let rank = |model: &ModelRecord| read::headline(suite, model).unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|(i, a), (j, b)| (*i > 0).cmp(&(*j > 0)).then(rank(b).total_cmp(&rank(a))));
    order.truncate(MOST);
    order.sort_by_key(|(index, _)| *index);
    order
}

fn legend(models: &[(usize, &ModelRecord)]) -> Vec<Key> {
    models.iter().map(|(style, model)| key(*style, &model.name)).collect()
}

/// The entry of a series in a legend.
pub fn key(style: usize, name: &str) -> Key {
    Key {
        name: name.to_owned(),
        svg: format!(
            "<svg class=\"key\" viewBox=\"0 0 32 12\" width=\"32\" height=\"12\" aria-hidden=\"true\"><g class=\"s{}\"><path class=\"c-curve\" d=\"M1 6H31\" stroke-dasharray=\"{}\"/><path class=\"c-mark\" d=\"{}\"/></g></svg>",
            style % STYLES,
            dash(style),
            marker(style, 16.0, 6.0)
        ),
    }
}

/// Severities that a suite has, in ascending order.
pub fn severities(suite: &SuiteRecord) -> Vec<u8> {
    let mut all = read::distinct(read::shifted(suite).filter_map(|cell| cell.severity));
    all.sort_unstable();
    all
}

/// Shifts of a suite in their order.
pub fn shifts(suite: &SuiteRecord) -> Vec<&str> {
    read::distinct(read::shifted(suite).filter_map(|cell| cell.shift.as_deref()))
}

/// Accuracy by severity: the mean of all shifts in a large chart, each shift in a small one.
pub fn by_severity(evaluation: &Evaluation, suite: &SuiteRecord) -> Option<Figures> {
    let severities = severities(suite);
    let models = drawn(evaluation, suite);
    if severities.len() < 2 || models.is_empty() {
        return None;
    }
    let values =
        || suite.cells.iter().flat_map(|cell| models.iter().filter_map(|(_, model)| read::accuracy(cell, model)));
    let ends = |low: f64, high: f64| [(low * 5.0).floor() * 20.0, (high * 5.0).ceil() * 20.0];
    let (low, high) =
        values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return None;
    }
    let last = f64::from(*severities.last()?);
    let points = |model: &ModelRecord, shift: Option<&str>| {
        let clean = read::clean(suite).and_then(|cell| read::accuracy(cell, model));
        let at = |severity: u8| {
            let cells = read::shifted(suite).filter(move |cell| {
                cell.severity == Some(severity) && shift.is_none_or(|shift| cell.shift.as_deref() == Some(shift))
            });
            read::mean(cells.map(|cell| read::accuracy(cell, model)))
        };
        let first = (0.0, clean.map(|value| 100.0 * value));
        [first]
            .into_iter()
            .chain(severities.iter().map(|&severity| (f64::from(severity), at(severity).map(|value| 100.0 * value))))
            .collect()
    };
    let panel = |title: &str, shift: Option<&str>, size: [f64; 2]| Panel {
        title: format!("Accuracy by severity, {title}"),
        x: if shift.is_none() { "severity (0: clean)".into() } else { String::new() },
        y: if shift.is_none() { "accuracy in %".into() } else { String::new() },
        size,
        across: Some([0.0, last]),
        upward: Some(ends(low, high)),
        series: models
            .iter()
            .map(|&(style, model)| Series {
                label: model.name.clone(),
                style,
                points: points(model, shift),
                marked: shift.is_none(),
            })
            .collect(),
        ..Panel::default()
    };
    let all = Figure { title: "mean of all".into(), svg: panel("mean of all", None, [560.0, 300.0]).svg() };
    let small = shifts(suite).into_iter().map(|shift| {
        let title = words(shift);
        Figure { svg: panel(&title, Some(shift), [220.0, 150.0]).svg(), title }
    });
    Some(Figures {
        legend: legend(&models),
        left_out: evaluation.models.len() - models.len(),
        large: vec![all],
        small: small.collect(),
    })
}

/// Cells by severity with the name of each: clean ones, then 1 to 5; shifts without severities are one more.
fn levels(suite: &SuiteRecord) -> Vec<(String, Vec<&CellRecord>)> {
    let mut levels: Vec<(String, Vec<&CellRecord>)> = Vec::new();
    for cell in &suite.cells {
        let name = match (&cell.shift, cell.severity) {
            (None, _) => "clean".to_owned(),
            (Some(_), Some(severity)) => format!("severity {severity}"),
            (Some(_), None) => "shifted".to_owned(),
        };
        match levels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, cells)) => cells.push(cell),
            None => levels.push((name, vec![cell])),
        }
    }
    levels.sort_by(|(a, _), (b, _)| a.cmp(b));
    levels
}

/// One chart for each severity, all models in it.
fn by_level<'a>(
    evaluation: &'a Evaluation,
    suite: &'a SuiteRecord,
    panel: &Panel,
    points: impl Fn(&[&'a ResultRecord]) -> Vec<(f64, Option<f64>)>,
) -> Option<Figures> {
    let models = drawn(evaluation, suite);
    let mut shown: Vec<bool> = vec![false; models.len()];
    let mut small = Vec::new();
    for (title, cells) in levels(suite) {
        let mut series = Vec::new();
        for (index, &(style, model)) in models.iter().enumerate() {
            let results: Vec<&ResultRecord> =
                cells.iter().filter_map(|cell| read::main(&cell.results, model)).collect();
            let points = points(&results);
            if !points.is_empty() {
                shown[index] = true;
                series.push(Series { label: model.name.clone(), style, points, marked: false });
            }
        }
        if !series.is_empty() {
            let panel = Panel { title: format!("{}, {title}", panel.title), series, ..panel.clone() };
            small.push(Figure { title, svg: panel.svg() });
        }
    }
    let kept: Vec<_> = models.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(model, _)| *model).collect();
    let left_out = evaluation.models.len() - models.len();
    (!small.is_empty()).then(|| Figures { legend: legend(&kept), left_out, large: Vec::new(), small })
}

/// Confidence against accuracy.
pub fn reliability(evaluation: &Evaluation, suite: &SuiteRecord) -> Option<Figures> {
    let ends = Some([0.0, 1.0]);
    let panel = Panel {
        title: "Accuracy by confidence".into(),
        x: "confidence".into(),
        y: "accuracy".into(),
        size: [320.0, 230.0],
        across: ends,
        upward: ends,
        guide: Guide::Diagonal,
        ..Panel::default()
    };
    by_level(evaluation, suite, &panel, |results| {
        let bins = pooled(results.iter().map(|result| result.reliability.as_slice()));
        bins.into_iter().map(|bin| (bin.confidence, Some(bin.accuracy))).collect()
    })
}

/// Bins of several cells as one: those of the same place are put together. Empty bins may be left out of a record, so that a bin's place
/// is that of its confidence.
fn pooled<'a>(all: impl Iterator<Item = &'a [BinRecord]>) -> Vec<BinRecord> {
    const PLACES: f64 = 15.0;
    let mut sums = [[0.0; 3]; PLACES as usize];
    for bin in all.flatten().filter(|bin| bin.count > 0 && (bin.confidence + bin.accuracy).is_finite()) {
        let place = (bin.confidence * PLACES).clamp(0.0, PLACES - 1.0) as usize;
        let (sum, weight) = (&mut sums[place], bin.count as f64);
        *sum = [sum[0] + weight * bin.confidence, sum[1] + weight * bin.accuracy, sum[2] + weight];
    }
    let mean = |[confidence, accuracy, count]: [f64; 3]| BinRecord {
        confidence: confidence / count,
        accuracy: accuracy / count,
        count: count as u64,
    };
    sums.into_iter().filter(|sum| sum[2] > 0.0).map(mean).collect()
}

/// Error among the surest images.
pub fn risk(evaluation: &Evaluation, suite: &SuiteRecord) -> Option<Figures> {
    let panel = Panel {
        title: "Error among the surest images, by their share".into(),
        x: "coverage".into(),
        y: "risk".into(),
        size: [320.0, 230.0],
        across: Some([0.0, 1.0]),
        upward: Some([0.0, most_risk(suite)]),
        ..Panel::default()
    };
    by_level(evaluation, suite, &panel, |results| {
        let curves: Vec<&[[f64; 2]]> =
            results.iter().map(|result| result.risk_coverage.as_slice()).filter(|curve| !curve.is_empty()).collect();
        let Some(first) = curves.first() else { return Vec::new() };
        // A mean over cells is of the same coverages.
        let alike = |curve: &&&[[f64; 2]]| {
            curve.len() == first.len() && curve.iter().zip(*first).all(|(a, b)| (a[0] - b[0]).abs() < 1e-6)
        };
        let same: Vec<_> = curves.iter().filter(alike).collect();
        let mean = |index: usize| same.iter().map(|curve| curve[index][1]).sum::<f64>() / same.len() as f64;
        first
            .iter()
            .enumerate()
            .map(|(index, point)| (point[0], Some(mean(index))))
            .filter(|(at, _)| at.is_finite())
            .collect()
    })
}

/// The end of the axis of risks, in steps of a fifth.
fn most_risk(suite: &SuiteRecord) -> f64 {
    let all = suite.cells.iter().flat_map(|cell| &cell.results).flat_map(|result| &result.risk_coverage);
    let most = all.map(|point| point[1]).filter(|risk| risk.is_finite()).fold(0.0, f64::max);
    ((most * 5.0).ceil() / 5.0).clamp(0.2, 1.0)
}

/// Accuracy by what an image costs: in multiply-accumulates, and in time where that was measured.
pub fn pareto(evaluation: &Evaluation, suite: &SuiteRecord, times: Option<&Times>) -> Option<Figures> {
    let macs = |model: &ModelRecord| model.macs_passes.or(model.macs).map(|macs| macs as f64 / 1e9);
    let milliseconds = |model: &ModelRecord| times.and_then(|times| times.ms_per_image.get(&model.name).copied());
    type Cost<'a> = &'a dyn Fn(&ModelRecord) -> Option<f64>;
    let kinds: [(&str, &str, Cost); 2] =
        [("by computation", "GMACs an image", &macs), ("by time", "ms an image, one thread", &milliseconds)];
    let mut large = Vec::new();
    for (title, x, cost) in kinds {
        let models = evaluation.models.iter().enumerate();
        let known = models.filter_map(|(style, model)| {
            let cost = cost(model).filter(|cost| cost.is_finite())?;
            Some((style, model, cost, 100.0 * read::headline(suite, model)?))
        });
        let mut points: Vec<_> = known.collect();
        if points.len() < 2 {
            continue;
        }
        points.sort_by(|a, b| a.2.total_cmp(&b.2).then(b.3.total_cmp(&a.3)));
        let mut front: Vec<(f64, f64)> = Vec::new();
        for &(.., cost, gain) in &points {
            if front.last().is_none_or(|(_, best)| gain > *best) {
                front.push((cost, gain));
            }
        }
        let series = points
            .iter()
            .map(|&(style, model, cost, gain)| Series {
                label: model.name.clone(),
                style,
                points: vec![(cost, Some(gain))],
                marked: true,
            })
            .collect();
        let y = if read::is_mean(suite) { "mean accuracy in %" } else { "accuracy in %" };
        let panel = Panel {
            title: format!("Accuracy {title}"),
            x: x.into(),
            y: y.into(),
            size: [460.0, 300.0],
            series,
            named: true,
            guide: Guide::Front(front),
            ..Panel::default()
        };
        large.push(Figure { title: title.into(), svg: panel.svg() });
    }
    (!large.is_empty()).then(|| Figures { large, ..Figures::default() })
}

/// Which head answers, by severity, of a model whose main route chooses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// The model.
    pub model: String,
    /// Its main route.
    pub route: String,
    /// Its heads.
    pub heads: Vec<String>,
    /// For each severity: its name, and for each head its share in percent, as a number and as text.
    pub levels: Vec<(String, Vec<(f64, String)>)>,
}

/// Shares of the heads of every model whose main route, or the first that does, chooses one.
pub fn shares(evaluation: &Evaluation, suite: &SuiteRecord) -> Vec<Shares> {
    evaluation.models.iter().filter_map(|model| shares_of(suite, model)).collect()
}

fn shares_of(suite: &SuiteRecord, model: &ModelRecord) -> Option<Shares> {
    let of_model = |result: &&ResultRecord| result.model == model.name && !result.shares.is_empty();
    let chooses = || suite.cells.iter().flat_map(|cell| &cell.results).filter(of_model);
    let route = chooses().find(|result| result.route == model.main_route).or_else(|| chooses().next())?.route.clone();
    let heads: Vec<String> = read::distinct(chooses().filter(|result| result.route == route).flat_map(|result| {
        // A head that nothing is sent to has no place in a bar.
        result.shares.iter().filter(|(_, share)| **share > 0.0).map(|(head, _)| head.clone())
    }));
    let mut rows = Vec::new();
    for (name, cells) in levels(suite) {
        let results: Vec<&ResultRecord> = cells
            .iter()
            .filter_map(|cell| read::result(&cell.results, &model.name, &route))
            .filter(|result| !result.shares.is_empty())
            .collect();
        if results.is_empty() {
            continue;
        }
        let share = |head: &String| {
            let all = results.iter().map(|result| {
                result.shares.get(head).copied().filter(|share| (0.0..=1.0).contains(share)).unwrap_or(0.0)
            });
            let mean = all.sum::<f64>() / results.len() as f64;
            (100.0 * mean, percent(mean))
        };
        rows.push((name, heads.iter().map(share).collect()));
    }
    Some(Shares { model: model.name.clone(), route: words(&route), heads, levels: rows })
}
