//! What methods cost: all sides of every ratio measured in one go, beside what they compute by count.

mod evaluation;
mod inference;
mod training;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use cpu_time::ProcessTime;
use robustify_data::{Images, Preprocess, Subset, split, splits};
use robustify_device::{BackendName, Machine, backend_of};
use robustify_methods::Config;
use robustify_methods::lab::{read_original, read_teacher};
use robustify_rng::Key;
use robustify_watch::Watch;
use robustify_zoo::{Model, ModelConfig};

/// Images that training is measured on.
const IMAGES: usize = 512;

/// What is measured, and with what.
struct Bench<'a> {
    config: &'a Config,
    machine: &'a Machine,
    original: Model,
    /// The large model's network, with the classes of the data.
    network: ModelConfig,
    teacher: Teacher,
    images: Images,
    /// Each side is measured so often, and the fastest counts.
    rounds: u16,
}

/// The small model, from its file or with drawn weights: what it says costs the same.
struct Teacher {
    model: Model,
    network: ModelConfig,
    preprocess: Preprocess,
}

/// Measures training and inference, and returns tables of the ratios. `weights` is the file that `original.weights` names, `teacher`
/// that of `teacher.weights`; each side is measured `rounds` times, and the fastest counts. With `evaluated` images an evaluation under all
/// corruptions is measured as well.
///
/// # Errors
/// Weights or images that cannot be read, a configuration without a teacher, or a temporary folder that cannot be made.
pub fn cost(
    config: &Config,
    weights: &Path,
    teacher: Option<&Path>,
    rounds: u16,
    evaluated: usize,
    machine: &Machine,
    watch: &dyn Watch,
) -> Result<Vec<String>> {
    let opened = read_original(config, weights, &machine.device, watch)?;
    let images = splits::train(&config.data, watch)?;
    let chosen = split::sample(&*images, IMAGES.min(images.len()), Key::new(0, "cost"))?;
    let images: Images = Arc::new(Subset::new(images, chosen)?);
    let classes = images.classes().len();
    // Other classes get a probe first; what it has learnt costs nothing.
    let original = match opened.model.classes() == classes {
        true => opened.model,
        false => opened.model.with_classifier(classes, &machine.device),
    };
    let network = config.original.network.with_classifier(classes);
    let teacher = read(config, teacher, &images, machine, watch)?;
    let bench = Bench { config, machine, original, network, teacher, images, rounds };
    let mut tables = vec![training::tables(&bench)?, inference::table(&bench)?];
    if evaluated > 0 {
        tables.push(evaluation::table(&bench, evaluated)?);
    }
    Ok(tables)
}

fn read(
    config: &Config,
    file: Option<&Path>,
    images: &Images,
    machine: &Machine,
    watch: &dyn Watch,
) -> Result<Teacher> {
    if let Some(file) = file {
        let read = read_teacher(config, file, images.classes(), &machine.device, watch)?;
        return Ok(Teacher { model: read.model, network: read.network, preprocess: read.preprocess });
    }
    let (Some(network), Some(preprocess)) = (&config.teacher.network, &config.teacher.preprocess) else {
        bail!("teacher.network and teacher.preprocess are missing; robustify's cost includes the teacher's");
    };
    let network = network.with_classes(images.classes().len());
    let model = Model::new(&network, 0, &machine.device)?;
    Ok(Teacher { model, network, preprocess: preprocess.parse()? })
}

impl Bench<'_> {
    /// Units before the cut, those of the shared part and those of a head, as ranges of [`ModelConfig::unit_macs`].
    fn parts(&self) -> [std::ops::Range<usize>; 3] {
        let (split, blocks) = (&self.config.split, self.network.blocks());
        let head = blocks + 1 - split.head_blocks;
        let cut = head - split.shared_blocks;
        [0..cut, cut..head, head..blocks + 2]
    }

    /// Multiply-accumulates of the parts for one image, once.
    fn macs(&self) -> [f64; 3] {
        self.parts().map(|units| self.network.segment_macs(units, 1) as f64)
    }

    /// Whether the processor computes, so that its time is what was spent, whatever else the machine does.
    fn is_on_cpu(&self) -> bool {
        let backend = backend_of(&self.machine.device);
        backend.parse().is_ok_and(BackendName::runs_on_cpu)
    }
}

/// Time that was spent, in seconds.
#[derive(Clone, Copy, Debug)]
struct Spent {
    clock: f64,
    /// Of all threads.
    processor: f64,
}

impl Spent {
    const LONGEST: Self = Self { clock: f64::INFINITY, processor: f64::INFINITY };

    fn on<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Self)> {
        let (clock, processor) = (Instant::now(), ProcessTime::now());
        let done = work()?;
        let (clock, processor) = (clock.elapsed().as_secs_f64(), processor.elapsed().as_secs_f64());
        Ok((done, Self { clock, processor }))
    }

    fn over(self, count: usize) -> Self {
        let count = count.max(1) as f64;
        Self { clock: self.clock / count, processor: self.processor / count }
    }

    /// The least of both.
    fn least(self, other: Self) -> Self {
        Self { clock: self.clock.min(other.clock), processor: self.processor.min(other.processor) }
    }

    /// What counts: processor time where the processor computes, else the clock.
    fn counted(self, on_cpu: bool) -> f64 {
        if on_cpu { self.processor } else { self.clock }
    }
}
