//! What an experiment would compute: stages, parameters, multiply-accumulates, disk and hours, without a weight being read where there is
//! none, and without anything being computed.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use robustify_data::Splits;
use robustify_device::Machine;
use robustify_methods::lab::{Pretrained, Unfinished, read_original, read_teacher};
use robustify_methods::{Config, Lab, Method, Varied, Work, wanted};
use robustify_report::{Style, Table, digest};
use robustify_watch::{Silent, Watch};
use robustify_zoo::{Model, weights};
use serde::Serialize;

use super::stand_in::{self, StandIn};
use super::{Grid, Job, Run};
use crate::plan::{duration, grouped, size};

/// Multiply-accumulates that one core of a CPU makes in a second: what training in the main job reaches with AVX-512.
const CPU: f64 = 3.0e10;
/// Multiply-accumulates that a GPU makes in a second: 40 TFLOP/s, a quarter to a third of what an A100 reaches at best in TF32.
const GPU: f64 = 2.0e13;
/// Seconds of one core for each pixel of a picture that is read, cropped and augmented.
const PIXEL: f64 = 1.0e-7;

/// What there is to know of all cells before they are run.
///
/// # Errors
/// A file with faults, images that are neither there nor counted in the file, settings of methods that cannot be read.
pub fn dry_run(job: &Job<'_>, machine: &Machine, watch: &dyn Watch) -> Result<String> {
    let grid = Grid::read(job)?;
    let full = grid.config.size(job.size)?.full.map(|full| (full.train, full.test));
    let mut text = format!("{}\n{}\n\n", grid.config.name, grid.config.about);
    let (mut known, mut total) = (HashSet::new(), Sum::default());
    for run in &grid.runs {
        watch.say(&format!("dry run: {}", run.name));
        let of_run = || format!("run {}", run.name);
        let looked = Looked::at(run, &grid, job, full, machine).with_context(of_run)?;
        text += &Dry::new(&looked, run, &grid, job, machine)?.text(&mut known, &mut total).with_context(of_run)?;
    }
    let threads = machine.workers.threads() as f64;
    text += &format!(
        "all {} cells, what runs share counted once: {:.3e} multiply-accumulates, {} pictures, {} on disk; about {} of one core ({} on {threads:.0}), or \
         {} of a GPU\n\n",
        grid.cells().len(),
        total.macs,
        grouped(total.pictures as usize),
        size(total.bytes as u64),
        duration(total.cpu_seconds()),
        duration(total.cpu_seconds() / threads),
        duration(total.gpu_seconds()),
    );
    text += &format!(
        "How it is counted: a step of training is three forwards of what is trained, and of what must be passed through, for each row; hours are \
         multiply-accumulates over {CPU:.0e} a second for a core and {GPU:.0e} for a GPU (40 TFLOP/s), and {PIXEL:.0e} s of a core for each pixel of a \
         picture that is read and augmented. Training and inference are GMACs for an image, a model's own share; inference is one pass. Disk is features \
         and logits of cached views. –: the method does not say it.\n"
    );
    Ok(text)
}

/// A sum of work.
#[derive(Clone, Copy, Default)]
struct Sum {
    macs: f64,
    pictures: f64,
    pixels: f64,
    bytes: f64,
}

impl Sum {
    fn add(&mut self, other: Self, times: f64) {
        self.macs += times * other.macs;
        self.pictures += times * other.pictures;
        self.pixels += times * other.pixels;
        self.bytes += times * other.bytes;
    }

    fn cpu_seconds(&self) -> f64 {
        self.macs / CPU + self.pixels * PIXEL
    }

    fn gpu_seconds(&self) -> f64 {
        self.macs / GPU
    }
}

/// A part of the work that several runs or seeds may share, by a hash of the settings that determine it.
struct Part {
    key: String,
    /// How many of the seeds compute one of their own.
    times: f64,
    sum: Sum,
}

/// What there is of a run.
struct Looked {
    /// As many images as are counted with.
    splits: Splits,
    /// What was found in the data's folder.
    found: String,
    /// Methods, and whether their stages are there.
    methods: Vec<(&'static dyn Method, String)>,
    /// Cells that are finished.
    finished: usize,
}

impl Looked {
    fn at(run: &Run, grid: &Grid, job: &Job<'_>, full: Option<(usize, usize)>, machine: &Machine) -> Result<Self> {
        let config = &run.config;
        let (real, found) = match Splits::open(&config.data, &Silent) {
            Ok(splits) => {
                let [train, test] = [&splits.train, &splits.test].map(|part| grouped(part.len()));
                (Some(splits), format!("{train} and {test} are there"))
            }
            Err(error) if full.is_none() => return Err(error.into()),
            Err(error) => (None, format!("as the experiment says; {error}")),
        };
        let there = real.as_ref().map_or((0, 0), |splits| (splits.train.len(), splits.test.len()));
        let methods = wanted(&config.methods)?;
        let cells: Vec<_> = grid.cells().into_iter().filter(|cell| cell.run.name == run.name).collect();
        let finished = cells.iter().filter(|cell| cell.finished().is_some()).count();
        let states = match &real {
            _ if finished == cells.len() => vec!["done".to_owned(); methods.len()],
            Some(splits) => states(config, splits, &methods, job, machine),
            None => vec!["to compute".to_owned(); methods.len()],
        };
        let splits = StandIn::splits(config, full.unwrap_or(there), real.as_ref().map(|splits| splits.train.classes()));
        Ok(Self { splits, found, methods: methods.into_iter().zip(states).collect(), finished })
    }
}

/// A run before it is run.
struct Dry<'a> {
    run: &'a Run,
    looked: &'a Looked,
    seeds: u64,
    /// Training and test images.
    images: (usize, usize),
    lab: Lab<'a>,
}

impl<'a> Dry<'a> {
    fn new(looked: &'a Looked, run: &'a Run, grid: &Grid, job: &Job<'_>, machine: &'a Machine) -> Result<Self> {
        let network = run.config.original.network.clone();
        // Estimates need the sizes of the model alone.
        let model = Model::blank(&network, &machine.device)?;
        let (hash, cost) = (String::new(), Default::default());
        let blank = Pretrained { model, network, hash, cost, classes: None, towers: None, label_set: None };
        let lab = Lab::new(run.config.clone(), &looked.splits, machine, &Silent, job.cache.clone(), false, blank);
        Ok(Self { run, looked, seeds: grid.seeds, images: (looked.splits.train.len(), looked.splits.test.len()), lab })
    }

    fn text(&self, known: &mut HashSet<String>, total: &mut Sum) -> Result<String> {
        let macs = self.run.config.original.network.macs() as f64;
        let mut table =
            Table::new(["", "stages", "tuned, M", "training, GMACs", "inference, GMACs", "one core", "GPU"]).left(1);
        let (mut parts, mut asked) = (Vec::new(), 1.0);
        for (name, part) in self.shared()? {
            table.row(self.cells(name, &part.sum, ["", "", ""]));
            parts.push(part);
        }
        for (method, state) in &self.looked.methods {
            let Ok(work) = method.work(&self.lab) else {
                table.row([method.title(), state, "–", "–", "–", "–", "–"]);
                continue;
            };
            asked += work.answer;
            // The original is asked in any case.
            let trunk = if work.views { 1.0 - self.lab.tail() } else { f64::from(method.name() == "original") };
            let inference = macs * (trunk + work.answer) / 1e9;
            let inference = if inference > 0.0 { format!("{inference:.4}") } else { "–".into() };
            let tuned = work.tuned.map_or("–".into(), |tuned| format!("{:.2}", tuned as f64 / 1e6));
            let sum = self.of(&work);
            table.row(self.cells(method.title().to_owned(), &sum, [state, &tuned, &inference]));
            let varied = [Varied::Heads, Varied::Teacher, Varied::Views];
            parts.push(self.part(method.name(), &self.settings_of(*method), sum, varied)?);
        }
        let answers = self.answers(asked)?;
        table.row(self.cells("benchmark".into(), &answers.sum, ["", "", ""]));
        parts.push(answers);
        for part in parts {
            if known.insert(part.key) {
                total.add(part.sum, part.times);
            }
        }
        Ok(format!("{}{}\n", self.headline(), table.render(Style::Plain)))
    }

    /// What the run is, and how many images it is counted for.
    fn headline(&self) -> String {
        let network = &self.run.config.original.network;
        format!(
            "run {}: {} seeds, {} finished; {} ({:.1} M parameters, {:.3} GMACs an image), {} classes; {} training and {} test images ({})\n",
            self.run.name,
            self.seeds,
            self.looked.finished,
            network.kind(),
            weights::parameters(&self.lab.opened().model) as f64 / 1e6,
            network.macs() as f64 / 1e9,
            self.lab.classes().len(),
            grouped(self.images.0),
            grouped(self.images.1),
            self.looked.found,
        )
    }

    /// A row: state, parameters and inference are given.
    fn cells(&self, name: String, sum: &Sum, [state, tuned, inference]: [&str; 3]) -> [String; 7] {
        let each = sum.macs / self.images.0.max(1) as f64 / 1e9;
        let training = if each > 0.0 && name != "benchmark" { format!("{each:.3}") } else { "–".into() };
        let times = [sum.cpu_seconds(), sum.gpu_seconds()]
            .map(|seconds| if seconds > 0.0 { duration(seconds) } else { "–".into() });
        let [core, gpu] = times;
        [name, state.to_owned(), tuned.to_owned(), training, inference.to_owned(), core, gpu]
    }

    fn of(&self, work: &Work) -> Sum {
        let config = &self.run.config;
        let pixels = config.original.network.image_size().pow(2) as f64;
        Sum {
            macs: work.forwards * config.original.network.macs() as f64,
            pictures: work.pictures,
            pixels: work.pictures * pixels,
            bytes: 0.0,
        }
    }

    /// A part of the work with everything that determines it.
    fn part(
        &self,
        name: &str,
        settings: &impl Serialize,
        sum: Sum,
        varied: impl IntoIterator<Item = Varied>,
    ) -> Result<Part> {
        let (config, seeds) = (&self.run.config, self.seeds);
        let differs = varied.into_iter().any(|varied| config.vary.contains(&varied));
        let key = digest::of(&(name, settings, &config.data, &config.original, config.seed))?;
        Ok(Part { key, times: if differs { seeds as f64 } else { 1.0 }, sum })
    }

    /// What determines a method's models, as far as it is known to the sections of a configuration.
    fn settings_of(&self, method: &dyn Method) -> impl Serialize + use<> {
        let config = &self.run.config;
        let own: Vec<Option<toml::Table>> = std::iter::once(&method.name())
            .chain(method.needs())
            .map(|name| config.method.get(*name).cloned())
            .collect();
        let learns = method.name() != "teacher";
        let shared = learns.then(|| (config.split, config.tuning.clone(), config.views.clone()));
        let teacher = (!learns || method.needs().contains(&"teacher")).then(|| config.teacher.clone());
        (own, shared, teacher)
    }

    /// Views, their features, and what the teacher says of them, if any method learns on them.
    fn shared(&self) -> Result<Vec<(String, Part)>> {
        let config = &self.run.config;
        let learns = self.looked.methods.iter().any(|(method, _)| method.work(&self.lab).is_ok_and(|work| work.views));
        if !learns {
            return Ok(Vec::new());
        }
        let network = &config.original.network;
        let views = ((config.views.clean + config.views.augmented) * self.images.0) as f64;
        let pixels = network.image_size().pow(2) as f64;
        let elements = stand_in::features(network, config.split.shared_blocks + config.split.head_blocks) as f64;
        let logits = 4.0 * network.outputs() as f64;
        let features = Sum {
            macs: views * network.macs() as f64,
            pictures: views,
            pixels: views * pixels,
            bytes: views * (elements * config.views.precision.bytes() as f64 + logits),
        };
        let key = (&config.views, config.split.shared_blocks + config.split.head_blocks);
        let mut parts = vec![("views".to_owned(), self.part("features", &key, features, [Varied::Views])?)];
        if robustify_methods::is_wanted(config, "teacher") {
            let share = self.lab.teacher_share();
            let taught = Sum { macs: share * features.macs, bytes: views * logits, ..features };
            let key = (&config.views, &config.teacher);
            parts.push((
                "teacher on views".into(),
                self.part("teacher-logits", &key, taught, [Varied::Views, Varied::Teacher])?,
            ));
        }
        Ok(parts)
    }

    /// Asking all models about all cells.
    fn answers(&self, asked: f64) -> Result<Part> {
        let config = &self.run.config;
        let (all, network) = (self.images.1, &config.original.network);
        let some = |limit: usize| if limit == 0 { all } else { limit.min(all) };
        let cells = config.benchmark.cells()?.len() - 1 + config.benchmark.shifts.len();
        let images = (some(config.benchmark.clean_images) + cells * some(config.benchmark.images)) as f64;
        let macs = images * asked * network.macs() as f64;
        let sum = Sum { macs, pictures: images, pixels: images * network.image_size().pow(2) as f64, bytes: 0.0 };
        self.part("benchmark", config, sum, Varied::all())
    }
}

/// Of each method, whether its stages are there, for the first seed; a weight that is not there is no error here.
fn states(
    config: &Config,
    splits: &Splits,
    methods: &[&'static dyn Method],
    job: &Job<'_>,
    machine: &Machine,
) -> Vec<String> {
    let unknown = |why: &str| vec![why.to_owned(); methods.len()];
    // What is not there is not downloaded for an estimate.
    if !config.original.weights.exists() {
        return unknown("to compute");
    }
    let Ok((file, teacher)) = (job.weights)(config) else { return unknown("to compute") };
    let opened = read_original(config, &file, &machine.device, &Silent);
    let Ok(opened) = opened else { return unknown("to compute") };
    let loaded =
        teacher.and_then(|file| read_teacher(config, &file, splits.train.classes(), &machine.device, &Silent).ok());
    let lab = Lab::new(config.clone(), splits, machine, &Silent, job.cache.clone(), false, opened)
        .with_teacher(loaded)
        .peeking();
    let of = |method: &&'static dyn Method| match lab.fits(method.name()) {
        Ok(_) => "cached".to_owned(),
        Err(error) => match error.downcast_ref::<Unfinished>() {
            Some(Unfinished(stage)) => format!("{stage}: to compute"),
            None => format!("{error:#}"),
        },
    };
    methods.iter().map(of).collect()
}
