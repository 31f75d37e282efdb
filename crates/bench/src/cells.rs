//! Computing, storing and reading cells.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use image::RgbImage;
use robustify_augment::Corruptor;
use robustify_data::{Images, Preprocess, batch};
use robustify_device::Workers;
use robustify_rng::Key;
use robustify_select::{McConfig, OneHead, SampleStatistics, ThreeHeads, mc};
use robustify_zoo::weights::{self, Entry, State};
use robustify_zoo::{CutPoint, Model, Pass, Segment};
use safetensors::SafeTensors;

use crate::evaluate::{argmax, chunks};
use crate::{BenchError, CellId, SuiteConfig};

/// The models that a benchmark compares; those that share the backbone run it once together.
pub struct Entrants {
    /// The untouched large model.
    pub original: Model,
    /// Its pixels and normalisation.
    pub preprocess: Preprocess,
    /// Where the frozen backbone ends.
    pub cut: CutPoint,
    /// The robust teacher with its preprocessing.
    pub teacher: Option<(Model, Preprocess)>,
    /// The one-headed rival.
    pub apt: Option<OneHead>,
    /// The three heads.
    pub robustify: Option<ThreeHeads>,
    /// How the three heads are sampled.
    pub mc: McConfig,
}

/// What all models said about the images of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Labels of the images.
    pub labels: Vec<usize>,
    /// Identities of the images.
    pub ids: Vec<u64>,
    /// Predicted classes of the one-headed models: name and one class an image.
    pub single: Vec<(String, Vec<usize>)>,
    /// What the three heads said about each image; empty when there are none.
    pub heads: Vec<SampleStatistics>,
}

/// Time a model took for a number of images, on one thread each.
pub type Timing = (&'static str, Duration, usize);

/// Names of one-headed models, in the order of tables.
const SINGLE: [&str; 3] = ["original", "teacher", "apt"];

/// Corrupts the images of a cell and asks every model.
///
/// # Errors
/// An image that cannot be read or that the preprocessing cannot take.
pub fn compute(
    id: CellId,
    suite: &SuiteConfig,
    images: &Images,
    chosen: &[usize],
    entrants: &Entrants,
    workers: &Workers,
    device: &Device,
) -> Result<(Cell, Vec<Timing>), BenchError> {
    let corruptor = Corruptor::new(suite.profile()?);
    let tail = entrants.original.segment(entrants.cut, entrants.original.last_cut());
    let parts = workers.map(chunks(chosen.len()), |range| {
        let mut part = Part::default();
        let mut pixels = Vec::new();
        for &index in &chosen[range] {
            let sample = images.get(index)?;
            let clean = entrants.preprocess.pixels(&sample.image).map_err(|error| error.of_image(images, index))?;
            pixels.push(match id.0 {
                None => clean,
                Some((corruption, severity)) => {
                    corruptor.apply(&clean, corruption, severity, Key::new(suite.seed, "corruption").with(sample.id))
                }
            });
            part.labels.push(sample.label);
            part.ids.push(sample.id);
        }
        part.ask(entrants, &tail, &pixels, device)?;
        Ok::<_, BenchError>(part)
    });
    let mut whole = Part::default();
    for part in parts {
        whole.append(part?);
    }
    Ok(whole.finish())
}

/// The answers for some of a cell's images.
#[derive(Default)]
struct Part {
    labels: Vec<usize>,
    ids: Vec<u64>,
    single: [Vec<usize>; 3],
    heads: Vec<SampleStatistics>,
    times: [Duration; 4],
}

impl Part {
    fn ask(
        &mut self,
        entrants: &Entrants,
        tail: &Segment,
        pixels: &[RgbImage],
        device: &Device,
    ) -> Result<(), BenchError> {
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed();
        let features =
            entrants.original.features(batch::normalised(pixels, &entrants.preprocess, device)?, entrants.cut);
        // Reading one number waits for a device that computes asynchronously.
        features.clone().flatten().slice([0..1, 0..1]).into_data();
        let backbone = lap();
        self.single[0] = argmax(tail.forward(features.clone(), &Pass::eval()).logits());
        self.times[0] = backbone + lap();
        if let Some(apt) = &entrants.apt {
            self.single[2] = argmax(apt.forward(features.clone(), &Pass::eval()));
            self.times[2] = backbone + lap();
        }
        if let Some(heads) = &entrants.robustify {
            self.heads = mc::statistics(heads, features, &self.ids, &entrants.mc, device);
            self.times[3] = backbone + lap();
        }
        if let Some((teacher, preprocess)) = &entrants.teacher {
            let own = pixels.iter().map(|image| preprocess.pixels(image)).collect::<Result<Vec<_>, _>>()?;
            self.single[1] = argmax(teacher.forward(batch::normalised(&own, preprocess, device)?, &Pass::eval()));
            self.times[1] = lap();
        }
        Ok(())
    }

    fn append(&mut self, other: Self) {
        self.labels.extend(other.labels);
        self.ids.extend(other.ids);
        self.heads.extend(other.heads);
        for (own, others) in self.single.iter_mut().zip(other.single) {
            own.extend(others);
        }
        for (own, others) in self.times.iter_mut().zip(other.times) {
            *own += others;
        }
    }

    fn finish(self) -> (Cell, Vec<Timing>) {
        let count = self.labels.len();
        let names = [SINGLE[0], SINGLE[1], SINGLE[2], "robustify"];
        let timings = names.into_iter().zip(self.times).filter(|(_, time)| !time.is_zero());
        let timings = timings.map(|(name, time)| (name, time, count)).collect();
        let single = SINGLE.into_iter().zip(self.single).filter(|(_, predictions)| !predictions.is_empty());
        let single = single.map(|(name, predictions)| (name.to_owned(), predictions)).collect();
        (Cell { labels: self.labels, ids: self.ids, single, heads: self.heads }, timings)
    }
}

impl Cell {
    /// The bytes of a cell's file: safetensors, with `identity` (of everything that determines the cell) in the header.
    pub fn to_bytes(&self, identity: &str) -> Vec<u8> {
        let mut state = State::new();
        let mut put =
            |name: &str, shape: Vec<usize>, values: Vec<f32>| state.insert(name.to_owned(), Entry { shape, values });
        // Classes are exact as 32-bit floats up to 2^24, identities as four times 16 bits.
        let classes = |classes: &[usize]| classes.iter().map(|&class| class as f32).collect::<Vec<_>>();
        let count = self.labels.len();
        put("labels", vec![count], classes(&self.labels));
        let words = self.ids.iter().flat_map(|id| [0, 16, 32, 48].map(|shift| f32::from((id >> shift) as u16)));
        put("ids", vec![count, 4], words.collect());
        for (name, predictions) in &self.single {
            put(&format!("single.{name}"), vec![count], classes(predictions));
        }
        if let Some(first) = self.heads.first() {
            let classes = first.probabilities[0].len();
            let probabilities = self.heads.iter().flat_map(|sample| sample.probabilities.iter().flatten().copied());
            put("heads.probabilities", vec![count, 3, classes], probabilities.collect());
            let uncertainty = self.heads.iter().flat_map(|sample| sample.uncertainty.as_flattened().iter().copied());
            put("heads.uncertainty", vec![count, 3, 5], uncertainty.collect());
        }
        let metadata = HashMap::from([("identity".to_owned(), identity.to_owned())]);
        safetensors::serialize(&state, Some(metadata)).expect("names are unique and sizes match the shapes")
    }

    /// Reads a cell's file. `None` when there is none, or when it is of another identity.
    ///
    /// # Errors
    /// A file that is no cell.
    pub fn read(path: &Path, identity: &str) -> Result<Option<Self>, BenchError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BenchError::Io { path: path.into(), source }),
        };
        let broken = |reason: String| BenchError::Cell { path: path.into(), reason };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
        if header.metadata().as_ref().and_then(|metadata| metadata.get("identity")).map(String::as_str)
            != Some(identity)
        {
            return Ok(None);
        }
        let state = weights::from_bytes(&bytes).map_err(broken)?;
        Self::from_state(state).ok_or_else(|| broken("tensors are missing or too short".into())).map(Some)
    }

    /// Whether there is an answer of every model for every image.
    fn is_whole(&self) -> bool {
        let count = self.labels.len();
        self.ids.len() == count
            && self.single.iter().all(|(_, predictions)| predictions.len() == count)
            && (self.heads.is_empty() || self.heads.len() == count)
    }

    fn from_state(mut state: State) -> Option<Self> {
        let classes = |values: Vec<f32>| values.into_iter().map(|class| class as usize).collect::<Vec<_>>();
        let labels = classes(state.remove("labels")?.values);
        let words = state.remove("ids")?.values;
        let ids =
            words.chunks_exact(4).map(|word| (0..4).fold(0, |id, i| id | ((word[i] as u64) << (16 * i)))).collect();
        let single = SINGLE.into_iter().filter_map(|name| {
            let entry = state.remove(&format!("single.{name}"))?;
            Some((name.to_owned(), classes(entry.values)))
        });
        let single = single.collect();
        let mut heads = Vec::new();
        if let Some(probabilities) = state.remove("heads.probabilities") {
            let classes = *probabilities.shape.get(2).filter(|&&classes| classes > 0)?;
            let uncertainty = state.remove("heads.uncertainty")?.values;
            for (p, u) in probabilities.values.chunks_exact(3 * classes).zip(uncertainty.chunks_exact(15)) {
                let probabilities = [0, 1, 2].map(|head| p[head * classes..(head + 1) * classes].to_vec());
                let uncertainty = [0, 1, 2].map(|head| std::array::from_fn(|kind| u[head * 5 + kind]));
                heads.push(SampleStatistics { probabilities, uncertainty });
            }
        }
        let cell = Self { labels, ids, single, heads };
        cell.is_whole().then_some(cell)
    }
}
