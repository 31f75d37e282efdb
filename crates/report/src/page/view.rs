//! All that a template is given.

use serde::Serialize;

use super::curves::{self, Figures, Shares};
use super::grid::{Column, Grid, Shown};
use super::heat::{self, Examples, Flips, Heat, Picture};
use super::number::{count, large};
use super::summary;
use super::verdict::{self, Verdict};
use crate::evaluation::{Evaluation, ModelRecord, SuiteRecord, Times};

/// Classes that a page shows; the file beside it has all.
const WORST: usize = 12;
/// Bytes of all pictures of a page, at most: a page stays below 5 MB.
const PICTURES: usize = 4_200_000;
/// Ways to an answer that a page shows.
const ROUTES: usize = 14;
/// Parts of the images that a page shows.
const SLICES: usize = 16;

/// What a page is drawn from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// The evaluation's title.
    pub title: String,
    /// Program and version.
    pub program: String,
    /// The command that makes it again.
    pub command: String,
    /// Settings by name.
    pub settings: Vec<(String, String)>,
    /// What came out.
    pub verdicts: Vec<Verdict>,
    /// Models by suites.
    pub overview: Option<Shape>,
    /// The suites.
    pub suites: Vec<Suite>,
    /// The models.
    pub models: Vec<Model>,
    /// Size and cost.
    pub costs: Shape,
    /// Pictures that the record has and the page has no room for.
    pub pictures_left_out: usize,
}

/// A table as a template shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shape {
    /// Its name as a file.
    pub file: String,
    /// What it shows.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Shown>>,
    /// Rows that are left out.
    pub left_out: usize,
}

impl Shape {
    /// A table with at most some rows.
    pub fn of(grid: &Grid, most: usize) -> Self {
        let mut rows = grid.shown();
        let left_out = rows.len().saturating_sub(most);
        rows.truncate(most);
        Self { file: grid.file.clone(), caption: grid.caption.clone(), columns: grid.columns.clone(), rows, left_out }
    }
}

/// A suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suite {
    /// A name for links.
    pub anchor: String,
    /// Its name for people.
    pub title: String,
    /// Its name in records.
    pub name: String,
    /// `generated` or `on disk`.
    pub origin: String,
    /// Hash of what determines its pixels.
    pub identity: String,
    /// How many cells and images.
    pub sizes: String,
    /// How many classes.
    pub classes: usize,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Its table.
    pub summary: Shape,
    /// Accuracy by severity.
    pub severity: Option<Figures>,
    /// Corruption by severity.
    pub heats: Vec<Heat>,
    /// Images behind the places of heat maps.
    pub flips: Vec<Flips>,
    /// The worst classes.
    pub worst: Option<Shape>,
    /// Parts of the images.
    pub slices: Option<Shape>,
    /// Confidence against accuracy.
    pub reliability: Option<Figures>,
    /// Risk against coverage.
    pub risk: Option<Figures>,
    /// Which head answers.
    pub shares: Vec<Shares>,
    /// Every way to an answer.
    pub routes: Option<Shape>,
    /// Accuracy against cost.
    pub pareto: Option<Figures>,
    /// Example images.
    pub examples: Vec<Examples>,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What it is, in pairs of a name and a value.
    pub facts: Vec<(String, String)>,
}

/// All that a page shows.
pub fn view(evaluation: &Evaluation, times: Option<&Times>) -> View {
    let all = usize::MAX;
    let mut view = View {
        title: if evaluation.title.is_empty() { "Evaluation".to_owned() } else { evaluation.title.clone() },
        program: evaluation.program.clone(),
        command: evaluation.command.clone(),
        settings: evaluation.settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        verdicts: verdict::verdicts(evaluation),
        overview: summary::overview(evaluation).map(|grid| Shape::of(&grid, all)),
        suites: evaluation.suites.iter().enumerate().map(|(index, one)| suite(evaluation, one, index, times)).collect(),
        models: evaluation.models.iter().map(model).collect(),
        costs: Shape::of(&summary::costs(evaluation, times), all),
        pictures_left_out: 0,
    };
    view.pictures_left_out = fit(&mut view.suites, PICTURES);
    view
}

/// Drops pictures that find no room, and says how many: examples stay first, then the surest flipped image of every cell, then the next.
fn fit(suites: &mut [Suite], mut room: usize) -> usize {
    let mut dropped = 0;
    let mut keep = |picture: &mut Picture| {
        if picture.source.len() <= room {
            room -= picture.source.len();
        } else {
            picture.source.clear();
            dropped += 1;
        }
    };
    suites.iter_mut().flat_map(|suite| &mut suite.examples).flat_map(|shift| &mut shift.pictures).for_each(&mut keep);
    let flips = || suites.iter().flat_map(|suite| &suite.flips).map(|flips| flips.pictures.len());
    for rank in 0..flips().max().unwrap_or_default() {
        let of_rank =
            suites.iter_mut().flat_map(|suite| &mut suite.flips).filter_map(|flips| flips.pictures.get_mut(rank));
        of_rank.for_each(&mut keep);
    }
    dropped
}

fn suite(evaluation: &Evaluation, suite: &SuiteRecord, index: usize, times: Option<&Times>) -> Suite {
    let (heats, flips) = heat::heats(evaluation, suite, index);
    let shape = |grid: Option<Grid>, most| grid.map(|grid| Shape::of(&grid, most));
    Suite {
        anchor: format!("suite-{index}"),
        title: verdict::title(suite),
        name: suite.name.clone(),
        origin: suite.origin.clone(),
        identity: suite.identity.clone(),
        sizes: summary::sizes(suite),
        classes: suite.classes.len(),
        notes: suite.notes.clone(),
        summary: Shape::of(&summary::summary(evaluation, suite), usize::MAX),
        severity: curves::by_severity(evaluation, suite),
        heats,
        flips,
        worst: shape(summary::classes(evaluation, suite), WORST),
        slices: shape(summary::slices(suite), SLICES),
        reliability: curves::reliability(evaluation, suite),
        risk: curves::risk(evaluation, suite),
        shares: curves::shares(evaluation, suite),
        routes: shape(summary::routes(evaluation, suite), ROUTES),
        pareto: curves::pareto(evaluation, suite, times),
        examples: heat::examples(suite),
    }
}

fn model(model: &ModelRecord) -> Model {
    let fact = |name: &str, value: String| (!value.is_empty()).then(|| (name.to_owned(), value));
    let facts = [
        fact("what", model.about.clone()),
        fact("kind", model.kind.clone()),
        fact("opened from", model.source.clone()),
        fact("SHA-256", model.sha256.clone().unwrap_or_default()),
        fact("identity", model.identity.clone()),
        fact("preprocessing", model.preprocess.clone()),
        fact(
            "parameters",
            model.parameters.map(|value| format!("{} ({})", large(value), count(value))).unwrap_or_default(),
        ),
        fact("main route", if model.main_route == "single" { String::new() } else { model.main_route.clone() }),
    ];
    Model { name: model.name.clone(), facts: facts.into_iter().flatten().collect() }
}
