//! Asking predictors about the cells of a suite: what is stored already is read, what is missing is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use robustify_device::{Machine, ahead};
use robustify_predict::{Answered, PredictError, Predictor, Rows};
use robustify_report::ReportError;
use robustify_watch::{Stopped, Watch};
use robustify_zoo::Features;
use robustify_zoo::weights::NonFinite;

use crate::evaluate::chunks;
use crate::store::{AnswerStore, Stored, TrunkFeatures};
use crate::{BenchError, Cell, ClassMap, ClassMapError, Suite};

/// A predictor under its name in tables and records.
pub struct Entrant<'a> {
    /// As in `original`, `apt` or `wise_ft-0.5`.
    pub name: String,
    /// What is asked.
    pub predictor: Box<dyn Predictor + 'a>,
}

/// Time that an entrant took for a number of images on one thread, with and without Monte Carlo passes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// Whole time.
    pub time: Duration,
    /// Of it, the time without Monte Carlo passes.
    pub deterministic: Option<Duration>,
    /// Images.
    pub images: usize,
}

impl Timing {
    /// Adds what further images took.
    pub fn merge(&mut self, other: &Self) {
        self.time += other.time;
        self.images += other.images;
        if let Some(time) = other.deterministic {
            *self.deterministic.get_or_insert_default() += time;
        }
    }

    fn add(&mut self, answered: &Answered) {
        self.time += answered.time;
        self.images += answered.answers.len();
        if let Some(time) = answered.deterministic_time {
            *self.deterministic.get_or_insert_default() += time;
        }
    }
}

/// Times by entrant, of the cells that were computed.
pub type Timings = BTreeMap<String, Timing>;

/// Bytes of trunk features that are kept for one suite, so that other heads or passes need no corruption and no trunk.
pub const TRUNK_LIMIT: u64 = 4 << 30;

/// What all entrants said about a cell, in their order, in the suite's classes.
pub struct Measured {
    /// The cell.
    pub cell: Cell,
    /// Answers with their entrants' names.
    pub answers: Vec<(String, Stored)>,
}

/// Measures `entrants` on `suite`, cell after cell, and hands each finished cell to `take`. Answers that cannot be stored are a
/// warning. What is stored is in the model's classes, what is handed out in the suite's, see [`Suite::class_map`].
///
/// # Errors
/// Classes that cannot answer for the suite's, images that cannot be read, a full disk, features or answers that are no numbers, or an
/// interruption.
pub fn measure(
    suite: &dyn Suite,
    entrants: &[Entrant<'_>],
    store: &AnswerStore,
    machine: &Machine,
    watch: &dyn Watch,
    mut take: impl FnMut(Measured),
) -> Result<Timings, BenchError> {
    let maps = entrants.iter().map(|entrant| class_map(suite, entrant)).collect::<Result<_, _>>()?;
    let mut run = Run { suite, entrants, maps, store, machine, watch, timings: Timings::new(), is_warned: false };
    let cells = suite.cells();
    let mut progress = watch.progress("benchmark", cells.len());
    for (done, cell) in cells.iter().enumerate() {
        watch.check(Stopped::Saved)?;
        take(run.cell(cell)?);
        progress.set(done + 1, &cell.name);
    }
    progress.finish(&format!("{} cells", cells.len()));
    Ok(run.timings)
}

/// How the classes of an entrant answer for those of the suite.
fn class_map(suite: &dyn Suite, Entrant { name, predictor }: &Entrant<'_>) -> Result<ClassMap, BenchError> {
    suite.class_map(predictor.classes()).map_err(|error| unlike(suite, name, &error))
}

fn unlike(suite: &dyn Suite, model: &str, error: &ClassMapError) -> BenchError {
    BenchError::Classes { model: model.to_owned(), suite: suite.name().to_owned(), reason: error.to_string() }
}

struct Run<'a> {
    suite: &'a dyn Suite,
    entrants: &'a [Entrant<'a>],
    /// How the classes of each answer for those of the suite.
    maps: Vec<ClassMap>,
    store: &'a AnswerStore,
    machine: &'a Machine,
    watch: &'a dyn Watch,
    timings: Timings,
    /// Whether somebody heard that answers cannot be stored.
    is_warned: bool,
}

/// Who is asked, under a name for messages.
#[derive(Clone, Copy)]
struct Asked<'a> {
    name: &'a str,
    predictor: &'a dyn Predictor,
}

impl<'a> Asked<'a> {
    fn of(entrant: &'a Entrant<'_>) -> Self {
        Self { name: &entrant.name, predictor: &*entrant.predictor }
    }
}

/// What was computed of some images: answers of the asked entrants, and features of their trunks.
#[derive(Default)]
struct Part {
    answered: Vec<Answered>,
    trunks: BTreeMap<String, TrunkFeatures>,
}

impl Run<'_> {
    fn cell(&mut self, cell: &Cell) -> Result<Measured, BenchError> {
        let mut found = Vec::with_capacity(self.entrants.len());
        for entrant in self.entrants {
            found.push(self.stored(cell, entrant)?);
        }
        // Whoever reads others comes after them.
        let reads = |index: &usize| !self.entrants[*index].predictor.reads().is_empty();
        let missing = (0..found.len()).filter(|&index| found[index].is_none());
        let (reading, plain): (Vec<usize>, Vec<usize>) = missing.partition(reads);
        let asked: Vec<Asked<'_>> = plain.iter().map(|&index| Asked::of(&self.entrants[index])).collect();
        for (index, stored) in plain.iter().zip(self.compute(cell, &asked)?) {
            found[*index] = Some(stored);
        }
        for index in reading {
            found[index] = self.compute_reading(cell, &self.entrants[index], &found)?;
        }
        let mut answers = Vec::with_capacity(found.len());
        for ((entrant, map), stored) in self.entrants.iter().zip(&self.maps).zip(found.into_iter().flatten()) {
            let stored = map.stored(stored).map_err(|error| unlike(self.suite, &entrant.name, &error))?;
            answers.push((entrant.name.clone(), stored));
        }
        Ok(Measured { cell: cell.clone(), answers })
    }

    /// Answers that were kept before; damaged ones are computed again, with a warning.
    fn stored(&self, cell: &Cell, entrant: &Entrant<'_>) -> Result<Option<Stored>, BenchError> {
        self.or_again(self.store.answers(self.suite, cell, entrant.predictor.identity()))
    }

    /// Asks an entrant that reads the answers of others about the whole cell: those that were given, those that are stored, or new ones.
    fn compute_reading(
        &mut self,
        cell: &Cell,
        entrant: &Entrant<'_>,
        found: &[Option<Stored>],
    ) -> Result<Option<Stored>, BenchError> {
        let (mut told, mut readers) = (Vec::new(), Vec::new());
        for member in entrant.predictor.reads() {
            let given = self.entrants.iter().position(|other| other.predictor.identity() == member.identity());
            let known = match given.and_then(|index| found[index].clone()) {
                Some(known) => Some(known),
                None => self.or_again(self.store.answers(self.suite, cell, member.identity()))?,
            };
            let own = format!("{}: a model that it reads", entrant.name);
            let name = given.map_or(own, |index| self.entrants[index].name.clone());
            let stored = match known {
                Some(known) => Some(known),
                None => self.compute(cell, &[Asked { name: &name, predictor: &**member }])?.pop(),
            };
            // A cell without images has no answers.
            let Some(stored) = stored else { return Ok(None) };
            told.push(stored.answers);
            readers.push(name);
        }
        let ids = self.keyed(cell, self.suite.images(cell))?;
        let ready = entrant.predictor.for_cell(&ids, &told)?;
        let predictor = ready.as_deref().unwrap_or(&*entrant.predictor);
        let stored = self.compute(cell, &[Asked { name: &entrant.name, predictor }])?.pop();
        self.add_readers(&entrant.name, &readers, self.suite.images(cell).len());
        Ok(stored)
    }

    /// Adds to an entrant's time what the models took that it reads, or forgets it where that is not known.
    fn add_readers(&mut self, name: &str, readers: &[String], images: usize) {
        let time = |reader: &String| {
            let timing = self.timings.get(reader).filter(|timing| timing.images > 0)?;
            Some(timing.time.div_f64(timing.images as f64).mul_f64(images as f64))
        };
        match readers.iter().map(time).sum::<Option<Duration>>() {
            Some(time) => self.timings.entry(name.to_owned()).or_default().time += time,
            None => {
                self.timings.remove(name);
            }
        }
    }

    /// Identities of images in a cell: dropout masks of an image are others in every cell, or the passes of all cells would err alike.
    fn keyed(&self, cell: &Cell, images: &[usize]) -> Result<Vec<u64>, BenchError> {
        images.iter().map(|&index| Ok(cell.keyed(self.suite.label(index)?.1))).collect()
    }

    fn or_again<T>(&self, read: Result<Option<T>, BenchError>) -> Result<Option<T>, BenchError> {
        match read {
            Err(error @ BenchError::Stored { .. }) => {
                self.watch.warn(&format!("{error}; this cell is computed again"));
                Ok(None)
            }
            read => read,
        }
    }

    /// Asks some predictors, and keeps what they say.
    fn compute(&mut self, cell: &Cell, asked: &[Asked<'_>]) -> Result<Vec<Stored>, BenchError> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let images = self.suite.images(cell);
        let mut known = BTreeMap::new();
        for trunk in asked.iter().filter_map(|entrant| entrant.predictor.trunk()) {
            if !known.contains_key(trunk)
                && let Some(features) = self.or_again(self.store.trunk(self.suite, cell, trunk))?
            {
                known.insert(trunk.to_owned(), features);
            }
        }
        // Those that adapt go through the whole cell, each on one thread; the others share what they compute of a few images.
        let (adapting, others): (Vec<Asked<'_>>, Vec<Asked<'_>>) =
            asked.iter().copied().partition(|asked| asked.predictor.adapts());
        let mut jobs: Vec<_> = adapting.iter().map(|asked| (vec![*asked], 0..images.len())).collect();
        if !others.is_empty() {
            jobs.extend(chunks(images.len()).into_iter().map(|range| (others.clone(), range)));
        }
        let parts = match self.machine.makers {
            // A device that computes by itself need not wait for pixels.
            makers @ 1.. if known.is_empty() => ahead(
                &jobs,
                makers,
                |(asked, range)| self.pixels(cell, asked, range.clone()),
                |(asked, range), pixels| self.ask(cell, asked, range.clone(), &known, pixels?),
            ),
            _ => self.machine.workers.map(jobs, |(asked, range)| self.ask(cell, &asked, range, &known, None)),
        };
        let (mut alone, mut whole) = (Vec::new(), Part::default());
        for (index, part) in parts.into_iter().enumerate() {
            if index < adapting.len() {
                alone.extend(part?.answered);
            } else {
                whole.append(part?);
            }
        }
        self.keep_trunks(cell, whole.trunks, &known)?;
        let labelled: Vec<(usize, u64)> =
            images.iter().map(|&index| self.suite.label(index)).collect::<Result<_, _>>()?;
        let (labels, ids): (Vec<usize>, Vec<u64>) = labelled.into_iter().unzip();
        let mut all = Vec::with_capacity(asked.len());
        let (mut alone, mut together) = (alone.into_iter(), whole.answered.into_iter());
        for entrant in asked {
            let next = if entrant.predictor.adapts() { alone.next() } else { together.next() };
            let Some(answered) = next else { continue };
            // With a stored trunk the time would be that of a part.
            if entrant.predictor.trunk().is_none_or(|trunk| !known.contains_key(trunk)) {
                self.timings.entry(entrant.name.to_owned()).or_default().add(&answered);
            }
            let stored = self.store.rounded(Stored {
                labels: labels.clone(),
                ids: ids.clone(),
                answers: answered.answers,
                beside: answered.beside,
            });
            let kept = self.store.keep(self.suite, cell, entrant.predictor.identity(), &stored);
            self.or_without(kept)?;
            all.push(stored);
        }
        Ok(all)
    }

    /// Where nothing can be written, as in a cache of somebody else's, measuring goes on, and the next run asks again. A full disk
    /// ends it, for what was measured would be lost, and with more room it goes on from here.
    fn or_without(&mut self, kept: Result<(), BenchError>) -> Result<(), BenchError> {
        match kept {
            Err(BenchError::Report(ReportError::Io { path, source, .. }) | BenchError::Io { path, source }) => {
                if !std::mem::replace(&mut self.is_warned, true) {
                    let path = path.display();
                    self.watch.warn(&format!("answers cannot be stored: {path}: {source}; measuring goes on without"));
                }
                Ok(())
            }
            kept => kept,
        }
    }

    /// The pixels of some images of a cell, made beforehand; none for whoever adapts, and asks for them a few at a time.
    fn pixels(
        &self,
        cell: &Cell,
        asked: &[Asked<'_>],
        range: std::ops::Range<usize>,
    ) -> Result<Option<Vec<RgbImage>>, BenchError> {
        if asked.iter().any(|asked| asked.predictor.adapts()) {
            return Ok(None);
        }
        let indices = &self.suite.images(cell)[range];
        let pixels = indices.iter().map(|&index| self.suite.pixels(cell, index)).collect::<Result<_, _>>()?;
        Ok(Some(pixels))
    }

    /// Asks some entrants about some images of a cell; `pixels` are theirs, where they were made beforehand.
    fn ask(
        &self,
        cell: &Cell,
        asked: &[Asked<'_>],
        range: std::ops::Range<usize>,
        known: &BTreeMap<String, TrunkFeatures>,
        pixels: Option<Vec<RgbImage>>,
    ) -> Result<Part, BenchError> {
        let indices = &self.suite.images(cell)[range.clone()];
        let ids = self.keyed(cell, indices)?;
        let device = &self.machine.device;
        let mut rows = match pixels {
            Some(pixels) => Rows::ready(ids, device, pixels),
            None => Rows::single(ids, device, |position| Ok(self.suite.pixels(cell, indices[position])?)),
        };
        for (trunk, features) in known {
            rows = rows.with_trunk(trunk, features.rows(range.clone(), device)?);
        }
        let no_numbers = |entrant: &Asked<'_>, what, position: usize| {
            let (model, image) = (entrant.name.to_owned(), self.suite.image(indices[position]));
            BenchError::NoNumbers { model, what, image, cell: cell.name.clone() }
        };
        let (mut part, mut looked_at) = (Part::default(), BTreeSet::new());
        for entrant in asked {
            let answered = entrant.predictor.answer(&rows)?;
            // Checked before the answers: behind a rectifier, what is no number may look like one.
            if let Some(trunk) = entrant.predictor.trunk().filter(|trunk| !known.contains_key(*trunk))
                && looked_at.insert(trunk)
                && let Some(features) = rows.known_trunk(trunk)
            {
                let features = TrunkFeatures::of(features);
                if let Some(position) = features.non_finite() {
                    return Err(no_numbers(entrant, "features", position));
                }
                if self.store.keeps_trunks() {
                    part.trunks.insert(trunk.to_owned(), features);
                }
            }
            if let Some(position) = answered.answers.non_finite().or_else(|| answered.beside.non_finite()) {
                return Err(no_numbers(entrant, "answers", position));
            }
            part.answered.push(answered);
        }
        Ok(part)
    }

    /// Keeps new features, unless those of the whole suite would be too many.
    fn keep_trunks(
        &mut self,
        cell: &Cell,
        new: BTreeMap<String, TrunkFeatures>,
        known: &BTreeMap<String, TrunkFeatures>,
    ) -> Result<(), BenchError> {
        let images: usize = self.suite.cells().iter().map(|cell| self.suite.images(cell).len()).sum();
        let elements = |features: &TrunkFeatures| features.dims.iter().product::<usize>();
        let each: usize = new.values().chain(known.values()).map(elements).sum();
        if 4 * (each * images) as u64 > TRUNK_LIMIT {
            return Ok(());
        }
        for (trunk, features) in new {
            let kept = match self.store.keep_trunk(self.suite, cell, &trunk, features) {
                // They save time if there is room for them; the answers take less.
                Err(BenchError::Report(ReportError::NoRoom { path, source, .. })) => {
                    Err(BenchError::Io { path, source })
                }
                kept => kept,
            };
            self.or_without(kept)?;
        }
        Ok(())
    }
}

impl Part {
    fn append(&mut self, other: Self) {
        if self.answered.is_empty() {
            *self = other;
            return;
        }
        for (own, more) in self.answered.iter_mut().zip(other.answered) {
            own.answers.append(more.answers);
            own.beside.append(more.beside);
            own.time += more.time;
            own.deterministic_time = own.deterministic_time.zip(more.deterministic_time).map(|(own, more)| own + more);
        }
        for (trunk, more) in other.trunks {
            if let Some(own) = self.trunks.get_mut(&trunk) {
                own.values.extend(more.values);
            }
        }
    }
}

impl TrunkFeatures {
    fn of(features: Features) -> Self {
        let dims = features.dims()[1..].to_vec();
        let values = features.flatten().into_data().convert::<f32>().try_to_vec().expect("converted to f32");
        Self { dims, values }
    }

    /// The first image with a feature that is no finite number.
    fn non_finite(&self) -> Option<usize> {
        let elements = self.dims.iter().product::<usize>().max(1);
        NonFinite::find(&self.values).map(|found| found.index / elements)
    }

    /// Some images' features as tensors.
    fn rows(&self, range: std::ops::Range<usize>, device: &burn::tensor::Device) -> Result<Features, PredictError> {
        let elements: usize = self.dims.iter().product();
        let (count, values) = (range.len(), &self.values[range.start * elements..range.end * elements]);
        let tensor = Tensor::from_data(TensorData::new(values.to_vec(), [count, elements]), device);
        Ok(Features::unflatten(tensor, &self.dims).expect("the dimensions that were kept"))
    }
}
