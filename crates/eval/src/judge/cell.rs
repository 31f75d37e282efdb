//! One model in one cell: its answers, part after part, to numbers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use robustify_bench::metrics::{PROBIT, SELECTED, SINGLE, ScoreSums, Scores};
use robustify_bench::{AnswerStore, Cell, HeadFits, HeadRoute, Samples, Shift, Stored};
use robustify_predict::{Answers, Columns, HeadAnswer};
use robustify_report::Row;
use robustify_report::evaluation::{BinRecord, FlipRecord, ResultRecord};
use robustify_select::{Head, SelectConfig, Uncertainty, argmax};

use crate::engine::Names;
use crate::plan::{PlannedCell, PlannedModel, kept_under};

/// Images that a shift flipped, as a record shows them.
const FLIPPED: usize = 12;

/// Where answers are, and what they are about.
pub(super) struct Asked<'a> {
    pub store: &'a AnswerStore,
    pub out: &'a Path,
    /// Identity of the suite as the model sees it.
    pub suite: &'a str,
    /// The suite's name in records.
    pub name: &'a str,
    /// How many classes it has.
    pub classes: usize,
    /// Images of a part.
    pub part: usize,
    pub model: &'a PlannedModel,
    pub rule: SelectConfig,
}

/// What a model came to in a cell.
pub(super) struct Judged {
    pub results: Vec<ResultRecord>,
    pub rows: Vec<Row>,
    /// Of every image: identity, and whether the main route was right.
    pub right: Vec<(u64, bool)>,
    /// Of the main route's flipped images: number of the part, and place there.
    pub places: Vec<[usize; 2]>,
}

/// Sums of the way that stands for the model.
struct Main {
    scores: ScoreSums,
    right: Vec<(u64, bool)>,
    /// The surest wrong answers about images that are right in the clean cell: confidence, part, place there, label and answer.
    flipped: Vec<(f32, usize, usize, usize, usize)>,
}

/// Sums of one of several ways to answer with three heads.
struct Way {
    route: HeadRoute,
    right: u64,
    count: u64,
    meant: u64,
    decisive: u64,
    decided_right: u64,
    sent: [u64; 3],
}

/// Judges a cell. `clean` says of images which the main route gets right in the clean cell; none for that itself.
pub(super) fn judged(asked: &Asked<'_>, cell: &PlannedCell, clean: Option<&HashMap<u64, bool>>) -> Result<Judged> {
    let main = Main { scores: ScoreSums::new(asked.classes), right: Vec::new(), flipped: Vec::new() };
    // Random choices and masks are keyed by the name alone.
    let keyed = Cell { name: cell.name.clone(), shift: Shift::Clean };
    let mut sums = Sums { asked, cell, clean, keyed, main, ways: Vec::new(), probit: None };
    let parts = asked.model.parts(cell.images, asked.part);
    for (number, range) in parts.iter().enumerate() {
        let part = kept_under(asked.suite, range, asked.part);
        let stored = asked.store.answers_by_name(&part, &cell.name, &asked.model.identity)?;
        let name = &asked.model.name;
        let stored = stored.with_context(|| format!("{name}: no answers about {} of {}", cell.name, asked.name))?;
        let stored = asked.model.map.stored(stored).with_context(|| name.clone())?;
        sums.add(number, &stored)?;
    }
    let names = |part: usize, place: usize| {
        let names = Names::read(asked.out, &kept_under(asked.suite, &parts[part], asked.part));
        names.of(&cell.name, place).map_or_else(|| format!("image {}", part * asked.part + place + 1), str::to_owned)
    };
    Ok(sums.finish(&names))
}

struct Sums<'a> {
    asked: &'a Asked<'a>,
    cell: &'a PlannedCell,
    clean: Option<&'a HashMap<u64, bool>>,
    keyed: Cell,
    main: Main,
    ways: Vec<Way>,
    /// Right answers under the posterior of the last layer, and of how many images.
    probit: Option<[u64; 2]>,
}

impl Sums<'_> {
    fn add(&mut self, part: usize, stored: &Stored) -> Result<()> {
        let classes = self.asked.classes;
        let fits = stored.answers.classes() == classes && stored.labels.iter().all(|&label| label < classes);
        if !fits && !stored.labels.is_empty() {
            bail!("{}: stored answers about {} are about other classes", self.asked.model.name, self.cell.name);
        }
        match &stored.answers {
            Answers::Logits { .. } => {
                for (image, probabilities) in stored.answers.probabilities().iter().enumerate() {
                    self.main(part, image, stored, probabilities);
                }
                for (image, &label) in stored.labels.iter().enumerate() {
                    if let Some(told) = stored.beside.row(Columns::PROBIT, image) {
                        let [right, count] = self.probit.get_or_insert_default();
                        *right += u64::from(argmax(told) == label);
                        *count += 1;
                    }
                }
            }
            Answers::Heads(heads) => self.heads(part, stored, heads)?,
        }
        Ok(())
    }

    /// One answer of the way that stands for the model.
    fn main(&mut self, part: usize, image: usize, stored: &Stored, probabilities: &[f32]) {
        let (label, id) = (stored.labels[image], stored.ids[image]);
        let said = self.main.scores.add(probabilities, label);
        self.main.right.push((id, said == label));
        let was_right = self.clean.is_some_and(|clean| clean.get(&id) == Some(&true));
        if was_right && said != label {
            let flipped = &mut self.main.flipped;
            flipped.push((probabilities[said], part, image, label, said));
            if flipped.len() >= 4 * FLIPPED {
                surest(flipped);
            }
        }
    }

    fn heads(&mut self, part: usize, stored: &Stored, heads: &[HeadAnswer]) -> Result<()> {
        let rule = &self.asked.rule;
        if rule.uncertainty == Uncertainty::Laplace && !stored.beside.has(Columns::SPREAD) {
            bail!(
                "select.rule.uncertainty is laplace, and {} has no posterior of its last layers; select.laplace=diagonal fits one when \
                 it is trained",
                self.asked.model.name
            );
        }
        if self.ways.is_empty() {
            let mut routes = vec![HeadRoute::selected(SELECTED, rule)];
            routes.extend(HeadRoute::all(rule, &HeadFits::default()));
            self.ways = routes.into_iter().map(Way::new).collect();
        }
        let meant = if self.cell.shift.is_some() { Head::Robust } else { Head::Clean };
        for (image, head) in heads.iter().enumerate() {
            let (label, id) = (stored.labels[image], self.keyed.keyed(stored.ids[image]));
            let right = |head_of: Head| head.passes.prediction(head_of) == label;
            let [clean, robust] = [Head::Clean, Head::Robust].map(right);
            let samples = Samples::new(heads, &stored.beside, image);
            let mut selected = None;
            for way in &mut self.ways {
                let (choice, probabilities) = way.route.respond_to(&samples, label, id);
                way.count += 1;
                way.right += u64::from(argmax(&probabilities) == label);
                if let Some(choice) = choice {
                    way.sent[choice.index()] += 1;
                    way.meant += u64::from(choice == meant);
                    way.decisive += u64::from(clean != robust);
                    way.decided_right += u64::from(clean != robust && right(choice));
                }
                // The first is the one that stands for the model.
                selected.get_or_insert(probabilities);
            }
            self.main(part, image, stored, &selected.unwrap_or_default());
        }
        Ok(())
    }

    fn finish(self, names: &dyn Fn(usize, usize) -> String) -> Judged {
        let Self { asked, cell, main, ways, probit, .. } = self;
        let Main { scores, right, mut flipped } = main;
        let mut out = Judged { results: Vec::new(), rows: Vec::new(), right, places: Vec::new() };
        let Some(scores) = scores.scored() else { return out };
        let plain = |route: &str, right: u64, count: u64| ResultRecord {
            model: asked.model.name.clone(),
            route: route.to_owned(),
            metrics: BTreeMap::from([("accuracy".to_owned(), right as f64 / count as f64)]),
            ..Default::default()
        };
        surest(&mut flipped);
        out.places = flipped.iter().map(|&(_, part, place, ..)| [part, place]).collect();
        let flipped = flipped.into_iter().map(|(confidence, part, place, label, said)| FlipRecord {
            image: names(part, place),
            label,
            said,
            confidence: f64::from(confidence),
            picture: None,
        });
        let mut main = of_scores(&scores);
        (main.model, main.flipped) = (asked.model.name.clone(), flipped.collect());
        main.route = if ways.is_empty() { SINGLE } else { SELECTED }.to_owned();
        let mut counted: Vec<(ResultRecord, BTreeMap<String, u64>)> = vec![(main, BTreeMap::new())];
        if let Some([right, count]) = probit {
            counted.push((plain(PROBIT, right, count), BTreeMap::new()));
        }
        for (number, way) in ways.iter().enumerate() {
            let (mut result, mut counts) = (plain(&way.route.name, way.right, way.count), BTreeMap::new());
            if way.route.chooses() {
                result.metrics.insert("f_correct".into(), way.meant as f64 / way.count as f64);
                if way.decisive > 0 {
                    result.metrics.insert("right_choice".into(), way.decided_right as f64 / way.decisive as f64);
                    counts.insert("right_choice".to_owned(), way.decisive);
                }
                let share = |head: Head| (head.name().to_owned(), way.sent[head.index()] as f64 / way.count as f64);
                result.shares = Head::ALL.map(share).into();
            }
            match number {
                0 => {
                    counted[0].0.metrics.extend(result.metrics);
                    counted[0].0.shares = result.shares;
                    counted[0].1 = counts;
                }
                _ => counted.push((result, counts)),
            }
        }
        for (result, counts) in counted {
            out.rows.extend(result.metrics.iter().map(|(metric, &value)| Row {
                model: result.model.clone(),
                suite: asked.name.to_owned(),
                corruption: cell.shift.clone(),
                severity: cell.severity,
                route: result.route.clone(),
                metric: metric.clone(),
                value,
                count: counts.get(metric).copied().unwrap_or(scores.reliability.count as u64),
            }));
            out.results.push(result);
        }
        out
    }
}

impl Way {
    fn new(route: HeadRoute) -> Self {
        Self { route, right: 0, count: 0, meant: 0, decisive: 0, decided_right: 0, sent: [0; 3] }
    }
}

/// Keeps the surest, of equals the first.
fn surest(flipped: &mut Vec<(f32, usize, usize, usize, usize)>) {
    flipped.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    flipped.truncate(FLIPPED);
}

/// All metrics of a route whose probabilities are known.
fn of_scores(scores: &Scores) -> ResultRecord {
    let told = &scores.reliability;
    let mut metrics = BTreeMap::from([
        ("accuracy", told.accuracy),
        ("confidence", told.confidence),
        ("ece", told.ece),
        ("rms", told.rms),
        ("ace", told.adaptive_ece),
        ("nll", told.nll),
        ("brier", told.brier),
        ("aurc", scores.aurc),
        ("worst_class", scores.worst_class),
        ("f1", scores.f1),
    ]);
    if scores.of_class.len() > 5 {
        metrics.insert("top5", scores.top5);
    }
    let bins = told.bins.iter().filter(|bin| bin.count > 0);
    let bin = |bin: &robustify_bench::calibration::Bin| BinRecord {
        confidence: bin.confidence,
        accuracy: bin.accuracy,
        count: bin.count as u64,
    };
    ResultRecord {
        metrics: metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        reliability: bins.map(bin).collect(),
        risk_coverage: scores.risk_coverage.clone(),
        per_class: scores.of_class.clone(),
        confused: scores.confused.clone(),
        ..Default::default()
    }
}
