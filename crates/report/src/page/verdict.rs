//! What came out, in sentences: number, interval, how many images.

use serde::Serialize;

use super::number::{count, percent, points, wilson};
use super::read::{self, words};
use crate::evaluation::{CellRecord, ComparisonRecord, Evaluation, ModelRecord, SuiteRecord};

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// Whether it is set in bold type.
    pub strong: bool,
}

/// What is said of a suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The suite's name for people.
    pub suite: String,
    /// `generated` or `on disk`.
    pub origin: String,
    /// The sentence.
    pub pieces: Vec<Piece>,
}

/// Writes a sentence piece by piece.
#[derive(Default)]
struct Sentence(Vec<Piece>);

impl Sentence {
    fn say(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece { text: text.into(), strong: false });
        self
    }

    fn stress(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece { text: text.into(), strong: true });
        self
    }
}

/// A sentence for every suite of which anything is known.
pub fn verdicts(evaluation: &Evaluation) -> Vec<Verdict> {
    let of = |suite| {
        let pieces = verdict(evaluation, suite)?.0;
        Some(Verdict { suite: title(suite), origin: suite.origin.clone(), pieces })
    };
    evaluation.suites.iter().filter_map(of).collect()
}

/// A suite's name for people.
pub fn title(suite: &SuiteRecord) -> String {
    if suite.title.is_empty() { suite.name.clone() } else { suite.title.clone() }
}

/// How one model compares with another in a suite: the difference first − second, its interval, and over how many images it is.
pub fn compared(
    evaluation: &Evaluation,
    suite: &SuiteRecord,
    [first, second]: [&ModelRecord; 2],
) -> Option<(f64, [f64; 2], u64)> {
    let is = |side: &[String; 2], model: &ModelRecord| side[0] == model.name && side[1] == model.main_route;
    let fits = |record: &&ComparisonRecord| {
        record.suite == suite.name
            && (record.metric == read::MEAN || !read::is_mean(suite) && record.metric == read::ACCURACY)
            && record.interval.iter().chain([&record.difference]).all(|value| value.is_finite())
    };
    evaluation.comparisons.iter().filter(fits).find_map(|record| {
        let [low, high] = record.interval;
        if is(&record.first, first) && is(&record.second, second) {
            Some((record.difference, [low, high], record.images))
        } else if is(&record.first, second) && is(&record.second, first) {
            Some((-record.difference, [-high, -low], record.images))
        } else {
            None
        }
    })
}

fn verdict(evaluation: &Evaluation, suite: &SuiteRecord) -> Option<Sentence> {
    let (best, value) = read::best(evaluation, suite)?;
    let reference = evaluation.models.first()?;
    let sentence = alone(suite, best, value);
    // The best model against the first; where the first is the best, the next one against it.
    let rival = if best.name == reference.name {
        let others = evaluation.models.iter().filter(|model| model.name != best.name);
        let known = others.filter_map(|model| Some((model, read::headline(suite, model)?)));
        known.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(model, _)| model)
    } else {
        Some(reference)
    };
    let Some(rival) = rival else { return Some(weakest(sentence, suite, best)) };
    let sentence = match compared(evaluation, suite, [best, rival]) {
        Some((difference, [low, high], images)) => {
            let range = format!("{} to {}", points(low), points(high));
            let about = format!(" points (95 %: {range}; {} images, paired)", count(images));
            let verb = if low > 0.0 {
                " It is better than "
            } else if high < 0.0 {
                " It is worse than "
            } else {
                " It is not shown to differ from "
            };
            sentence.say(verb).stress(&rival.name).say(": ").stress(points(difference)).say(about).say(".")
        }
        None => match read::headline(suite, rival) {
            Some(other) => {
                let difference = points(value - other);
                sentence
                    .say(format!(" That is {difference} points against "))
                    .stress(&rival.name)
                    .say(format!(" ({} %); no interval was computed.", percent(other)))
            }
            None => sentence,
        },
    };
    Some(weakest(sentence, suite, best))
}

/// What a model reaches by itself.
fn alone(suite: &SuiteRecord, model: &ModelRecord, value: f64) -> Sentence {
    let sentence = Sentence::default().stress(&model.name).say(" gets ").stress(format!("{} %", percent(value)));
    if !read::is_mean(suite) {
        let images = suite.cells.first().map_or(0, |cell| cell.images);
        return sentence.say(format!(" of the images right ({}).", sample(Some(value), None, images)));
    }
    let images = read::shifted(suite).map(|cell| cell.images).max().unwrap_or(0);
    let cells = read::shifted(suite).count();
    let interval = read::interval(read::main(&suite.totals, model), read::MEAN);
    let cells = if cells == 1 { "1 cell".to_owned() } else { format!("{cells} cells") };
    let sentence = sentence.say(format!(" right under shift, the mean of {cells} ({}", sample(None, interval, images)));
    let clean = read::clean(suite).and_then(|cell| Some((cell, read::accuracy(cell, model)?)));
    match clean {
        Some((cell, accuracy)) => sentence
            .say(" each), and ")
            .stress(format!("{} %", percent(accuracy)))
            .say(format!(" of clean images ({}).", sample(Some(accuracy), None, cell.images))),
        None => sentence.say(" each)."),
    }
}

/// Interval and number of images.
fn sample(share: Option<f64>, interval: Option<[f64; 2]>, images: u64) -> String {
    let interval = interval.or_else(|| wilson(share?, images));
    let n = format!("n = {}", count(images));
    match interval {
        Some([low, high]) => format!("95 %: {} to {}; {n}", percent(low), percent(high)),
        None => n,
    }
}

/// Adds where a model is at its worst.
fn weakest(sentence: Sentence, suite: &SuiteRecord, model: &ModelRecord) -> Sentence {
    let cells: Vec<(&CellRecord, f64)> =
        read::shifted(suite).filter_map(|cell| Some((cell, read::accuracy(cell, model)?))).collect();
    match cells.iter().copied().reduce(|worst, next| if next.1 < worst.1 { next } else { worst }) {
        Some((cell, accuracy)) if cells.len() > 1 => {
            let shift = words(cell.shift.as_deref().unwrap_or_default());
            let severity = cell.severity.map(|severity| format!(" at severity {severity}")).unwrap_or_default();
            sentence.say(format!(" Its weakest cell is {shift}{severity}: {} %.", percent(accuracy)))
        }
        _ => sentence,
    }
}

/// A sentence as plain text.
pub fn plain(verdict: &Verdict) -> String {
    verdict.pieces.iter().map(|piece| piece.text.as_str()).collect()
}
