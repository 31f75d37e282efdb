//! From a job to stored answers, and from these to the record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use robustify_bench::suites::Part;
use robustify_bench::{AnswerStore, Cell, Entrant, Origin, Shift, Suite, Timings, measure, metrics};
use robustify_device::{Machine, backend_of};
use robustify_hub::Environment;
use robustify_predict::Predictor;
use robustify_report::evaluation::{Evaluation, ModelRecord};
use robustify_report::{Results, write_atomic, write_csv, write_json};
use robustify_watch::{Progress, Silent, Stopped, Watch};
use serde::{Deserialize, Serialize};

use crate::matching::{self, Matched};
use crate::models::{self, Opened};
use crate::pictures::Kept;
use crate::plan::{Plan, PlannedCell, PlannedGroup, PlannedModel, PlannedSuite, Unit};

use crate::suites::Data;
use crate::took::Took;
use crate::{Settings, Shard, judge, place};

/// What to evaluate.
pub struct Job {
    /// The models; the others are compared with the first.
    pub models: Vec<models::Asked>,
    /// Folders of images of one's own.
    pub data: Vec<PathBuf>,
    /// Names of published data sets.
    pub suites: Vec<String>,
    /// The folder of all published data sets.
    pub root: Option<PathBuf>,
    /// What is measured of them, and how three heads answer.
    pub settings: Settings,
    /// Where everything goes.
    pub out: PathBuf,
    /// Images of a part: what is held in memory, and lost by a kill.
    pub part: usize,
    /// Which parts are computed here; none for all that are missing.
    pub shard: Option<Shard>,
    /// The command that makes the evaluation again, for the record: without the shard, the folder, the threads.
    pub command: String,
    /// What Hugging Face's programs read.
    pub environment: Environment,
}

impl Job {
    /// Images of a part, unless somebody says otherwise.
    pub const PART: usize = 1000;
}

/// What came of a job.
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Outcome {
    /// All answers are there, and this is what they come to.
    Whole(Evaluation),
    /// The shard is done, others are not: what is missing, a line for each part.
    Waiting(Vec<String>),
}

/// Evaluates: asks what is not stored yet, as far as it is the shard's, and judges once all answers are there.
///
/// # Errors
/// Models or images that cannot be read or do not fit each other, a full disk, or an interruption.
pub fn evaluate(job: &Job, machine: &Machine, watch: &dyn Watch) -> Result<Outcome> {
    let faults = job.settings.faults();
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    let opened = models::open(&job.models, &job.environment, &machine.device, watch)?;
    for model in &opened {
        let ModelRecord { name, about, preprocess, .. } = &model.record;
        watch.say(&format!("{name}: {about}; {preprocess}"));
        if let Some(doubt) = &model.doubt {
            watch.warn(doubt);
        }
    }
    let prepared = Prepared::new(job, &opened, machine, watch)?;
    prepared.plan.write(&job.out)?;
    let timings = prepared.run(job, machine, watch)?;
    let shard = job.shard.unwrap_or(Shard::WHOLE);
    Took::write(&job.out, shard, &timings)?;
    let missing = missing(&prepared.plan, &job.out, job.shard);
    if !missing.is_empty() {
        return Ok(Outcome::Waiting(missing));
    }
    finish(&prepared.plan, &job.out, machine.workers.threads(), watch).map(Outcome::Whole)
}

/// Judges the answers in a folder, writes the record, and returns it.
pub(crate) fn finish(plan: &Plan, out: &Path, threads: usize, watch: &dyn Watch) -> Result<Evaluation> {
    let (evaluation, rows) = judge(plan, out, threads, watch)?;
    evaluation.write(&out.join(place::EVALUATION))?;
    let [csv, json] = place::RESULTS.map(|name| out.join(name));
    let meta = [
        ("program", plan.program.clone()),
        ("command", plan.command.clone()),
        ("backend", plan.backend.clone()),
        (
            "models",
            serde_json::to_string(&plan.models.iter().map(|m| (&m.name, &m.identity)).collect::<BTreeMap<_, _>>())?,
        ),
    ];
    let meta = meta.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    write_csv(&csv, &rows)?;
    write_json(&json, &Results { meta, rows })?;
    let times = serde_json::to_string_pretty(&Took::all(out)?)? + "\n";
    write_atomic(&out.join(place::TIMES), times.as_bytes())?;
    Ok(evaluation)
}

/// The parts whose answers are not there, a line for each, with the command that computes it.
pub(crate) fn missing(plan: &Plan, out: &Path, shard: Option<Shard>) -> Vec<String> {
    let shards = shard.filter(|shard| shard.count() > 1).or_else(|| Took::shards(out));
    let units = plan.units().into_iter().enumerate().filter(|(_, unit)| !plan.has(unit, out));
    let line = |(number, unit): (usize, Unit)| {
        let way = match shards {
            Some(shards) => format!("--shard {}", shards.of_unit(number)),
            None => "the same command".to_owned(),
        };
        format!("{}: {way} computes it", plan.describe(&unit))
    };
    units.map(line).collect()
}

/// Models and suites that are open, and what is asked of whom.
struct Prepared {
    plan: Plan,
    groups: Vec<Vec<Group>>,
}

/// Models of one geometry with the suite as they see it.
struct Group {
    suite: Box<dyn Suite>,
    /// With their names, in the order of the plan.
    models: Vec<(String, Arc<dyn Predictor>)>,
}

impl Prepared {
    fn new(job: &Job, opened: &[Opened], machine: &Machine, watch: &dyn Watch) -> Result<Self> {
        let mut data: Vec<Data> = job.data.iter().map(|path| Data::folder(path, watch)).collect::<Result<_>>()?;
        for name in &job.suites {
            data.push(Data::published(name, job.root.as_deref())?);
        }
        ensure!(
            !data.is_empty(),
            "nothing to measure on: --data DIR names a folder of images, --suite NAME a published data set that `data list` shows"
        );
        let (mut suites, mut groups) = (Vec::new(), Vec::new());
        for data in &data {
            let (planned, open) = of_data(data, job, opened, machine, watch)?;
            suites.push(planned);
            groups.push(open);
        }
        let has_heads = |model: &&Opened| model.record.main_route == metrics::SELECTED;
        let given = job.settings.select.rule;
        let rule = |model: &Opened| (model.record.name.clone(), given.or(model.select).unwrap_or_default());
        let settings = [
            ("seed", job.settings.benchmark.seed.to_string()),
            ("answers", "kept in 16 bits, relative to the largest logit".to_owned()),
        ];
        let names: Vec<&str> = opened.iter().map(|model| model.record.name.as_str()).collect();
        let titles: Vec<&str> = suites.iter().map(|suite: &PlannedSuite| suite.title.as_str()).collect();
        let plan = Plan {
            schema: Plan::SCHEMA,
            title: format!("{} on {}", names.join(", "), titles.join(", ")),
            program: format!("robustify {}", env!("CARGO_PKG_VERSION")),
            command: job.command.clone(),
            backend: backend_of(&machine.device),
            settings: settings.map(|(key, value)| (key.to_owned(), value)).into(),
            part: job.part.max(1),
            models: opened.iter().map(|model| model.record.clone()).collect(),
            rules: opened.iter().filter(has_heads).map(rule).collect(),
            suites,
        };
        Ok(Self { plan, groups })
    }

    /// Computes the units of the job's shard that are not stored yet.
    fn run(&self, job: &Job, machine: &Machine, watch: &dyn Watch) -> Result<Timings> {
        let store = AnswerStore::compact(job.out.join(place::ANSWERS), backend_of(&machine.device));
        let shard = job.shard.unwrap_or(Shard::WHOLE);
        let units = self.plan.units().into_iter().enumerate();
        let own: Vec<Unit> = units.filter(|(number, _)| shard.has(*number)).map(|(_, unit)| unit).collect();
        let cells = own.iter().map(|unit| self.plan.cells(unit).count()).sum();
        let mut progress = watch.progress("evaluation", cells);
        let (mut done, mut timings) = (0, Timings::new());
        for unit in &own {
            watch.check(Stopped::Saved)?;
            let group = &self.groups[unit.suite][unit.group];
            let part = Part::new(&*group.suite, unit.range.clone());
            keep_names(&job.out, &part)?;
            let of_unit = group.models.iter().filter(|(_, predictor)| is_whole(&**predictor) == unit.is_whole);
            let entrant = |(name, predictor): &(String, Arc<dyn Predictor>)| Entrant {
                name: name.clone(),
                predictor: Box::new(Arc::clone(predictor)),
            };
            let entrants: Vec<Entrant<'_>> = of_unit.map(entrant).collect();
            let took = measure::measure(&part, &entrants, &store, machine, &Within(watch), |measured| {
                done += 1;
                progress.set(done, &measured.cell.name);
            })?;
            let kept = Kept {
                out: &job.out,
                plan: &self.plan,
                group: &self.plan.suites[unit.suite].groups[unit.group],
                is_whole: unit.is_whole,
            };
            kept.keep(&part, unit.range.start == 0, &store)?;
            part.release();
            took.into_iter().for_each(|(name, timing)| timings.entry(name).or_default().merge(&timing));
        }
        progress.finish(&format!("{done} cells in {} parts", own.len()));
        Ok(timings)
    }
}

/// A suite as it is planned, and open for the models of each geometry.
fn of_data(
    data: &Data,
    job: &Job,
    opened: &[Opened],
    machine: &Machine,
    watch: &dyn Watch,
) -> Result<(PlannedSuite, Vec<Group>)> {
    let (mut planned, mut groups): (Vec<PlannedGroup>, Vec<Group>) = (Vec::new(), Vec::new());
    for model in opened {
        let geometry = model.geometry.to_string();
        let place = match planned.iter().position(|group| group.geometry == geometry) {
            Some(place) => place,
            None => {
                let suite = data.suite(&job.settings, &model.geometry, model.side, watch)?;
                let identity = suite.identity().to_owned();
                planned.push(PlannedGroup { identity, geometry, models: Vec::new(), cells: cells(&*suite) });
                groups.push(Group { suite, models: Vec::new() });
                groups.len() - 1
            }
        };
        let (name, group) = (&model.record.name, &mut groups[place]);
        let predictor = model.predictor(group.suite.classes(), machine)?;
        let Matched { map, why } = matching::matched(name, predictor.classes(), model.known.as_ref(), &*group.suite)?;
        watch.say(&format!("{name}: {why}"));

        let (identity, is_whole) = (predictor.identity().to_owned(), is_whole(&*predictor));
        planned[place].models.push(PlannedModel { name: name.clone(), identity, map, is_whole });
        group.models.push((name.clone(), predictor));
    }
    let suite = &groups[0].suite;
    let (title, mut notes) = data.about(&job.settings, opened[0].side, &**suite);
    if planned.len() > 1 {
        let each = planned.iter().map(|group| {
            let models: Vec<&str> = group.models.iter().map(|model| model.name.as_str()).collect();
            format!("{} after `{}`", models.join(", "), group.geometry)
        });
        notes.push(format!("models see pictures of different sizes: {}", each.collect::<Vec<_>>().join("; ")));
    }
    let origin = match suite.origin() {
        Origin::OnDisk => "on disk",
        Origin::Generated => "generated",
    };
    let suite = PlannedSuite {
        name: suite.name().to_owned(),
        title,
        origin: origin.to_owned(),
        classes: suite.classes().to_vec(),
        notes,
        is_imagenet: suite.classes().len() == 1000,
        groups: planned,
    };
    Ok((suite, groups))
}

pub(crate) fn cells(suite: &dyn Suite) -> Vec<PlannedCell> {
    let of_cell = |cell: &Cell| {
        let (group, severity) = match cell.shift {
            Shift::Corrupted(corruption, severity) => {
                (Some(corruption.group().name().to_owned()), Some(severity.level()))
            }
            _ => (None, None),
        };
        let shift = cell.is_shifted().then(|| match cell.shift {
            Shift::Corrupted(corruption, _) => corruption.name().to_owned(),
            _ => cell.name.clone(),
        });
        PlannedCell { name: cell.name.clone(), shift, group, severity, images: suite.images(cell).len() }
    };
    suite.cells().iter().map(of_cell).collect()
}

/// Whether a predictor's answer about an image depends on the others of its cell, so that no part of one will do.
fn is_whole(predictor: &dyn Predictor) -> bool {
    predictor.adapts() || !predictor.reads().is_empty()
}

/// Names of a part's images, for whoever judges without them: a list for every cell, or one for cells that have the same images.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    lists: Vec<Vec<String>>,
    of_cell: BTreeMap<String, usize>,
}

impl Names {
    /// Of a part; nothing if they are not there.
    pub fn read(out: &Path, part: &str) -> Self {
        let read = || serde_json::from_slice(&std::fs::read(place::names(out, part)).ok()?).ok();
        read().unwrap_or_default()
    }

    /// What the image at a place of a cell is called, or its place.
    pub fn of(&self, cell: &str, image: usize) -> Option<&str> {
        let list = self.of_cell.get(cell)?;
        self.lists.get(*list)?.get(image).map(String::as_str)
    }
}

pub(crate) fn keep_names(out: &Path, part: &dyn Suite) -> Result<()> {
    let path = place::names(out, part.identity());
    if path.is_file() {
        return Ok(());
    }
    let (mut names, mut known): (Names, Vec<&[usize]>) = (Names::default(), Vec::new());
    for cell in part.cells() {
        let images = part.images(cell);
        let place = known.iter().position(|other| *other == images).unwrap_or_else(|| {
            known.push(images);
            names.lists.push(images.iter().map(|&index| part.image(index)).collect());
            known.len() - 1
        });
        names.of_cell.insert(cell.name.clone(), place);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(write_atomic(&path, serde_json::to_string(&names)?.as_bytes())?)
}

/// Hears warnings and stops; what is said of one part's progress is not shown beside that of all.
struct Within<'a>(&'a dyn Watch);

impl Watch for Within<'_> {
    fn say(&self, text: &str) {
        self.0.say(text);
    }

    fn warn(&self, text: &str) {
        self.0.warn(text);
    }

    fn progress(&self, name: &str, total: usize) -> Box<dyn Progress> {
        Silent.progress(name, total)
    }

    fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }
}
