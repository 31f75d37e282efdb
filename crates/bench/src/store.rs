//! Answers on disk: one file for each predictor and cell, and the trunk features that predictors share.

mod compact;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use robustify_predict::{Answers, Columns, HeadAnswer};
use robustify_report::{ReportError, digest, remove_leftovers, write_atomic};
use robustify_select::SampleStatistics;
use robustify_zoo::weights::{self, Entry, State};
use safetensors::SafeTensors;

use crate::{BenchError, Cell, Suite};

/// Grows by one whenever a forward gives other numbers for the same weights and pixels: stored answers are of no use then.
pub const INFERENCE: u32 = 1;

/// What a predictor said about the images of a cell, with the images' labels and identities.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Labels of the images.
    pub labels: Vec<usize>,
    /// Identities of the images.
    pub ids: Vec<u64>,
    /// What was said of each.
    pub answers: Answers,
    /// What parts beside the weights said of each.
    pub beside: Columns,
}

/// A folder of answers that runs share. Every file carries a hash of what determines it and one of its content, so that
/// damage is noticed, and what belongs to something else is passed over.
pub struct AnswerStore {
    folder: PathBuf,
    backend: String,
    /// Whether this is the store of an evaluation, see [`AnswerStore::compact`].
    is_compact: bool,
}

impl AnswerStore {
    /// A store in a folder, which is made when something is written. `backend` is where answers are computed: others round
    /// differently.
    pub fn new(folder: impl Into<PathBuf>, backend: impl Into<String>) -> Self {
        Self { folder: folder.into(), backend: backend.into(), is_compact: false }
    }

    /// A store for many images: answers take half the room, and no features are kept. Logits and the logarithms of probabilities are
    /// kept in 16 bits, less the largest of their row, so that the first class stays the first and what is near it is known best:
    /// to one part in 2,048 of the distance. [`AnswerStore::rounded`] gives them as they will be read.
    pub fn compact(folder: impl Into<PathBuf>, backend: impl Into<String>) -> Self {
        Self { is_compact: true, ..Self::new(folder, backend) }
    }

    /// Whether features of trunks are of use to it.
    pub fn keeps_trunks(&self) -> bool {
        !self.is_compact
    }

    /// Answers as they are read from this store.
    pub fn rounded(&self, stored: Stored) -> Stored {
        match self.is_compact {
            true => compact::rounded(stored),
            false => stored,
        }
    }

    /// The file of something of a cell, and the identity that it has to carry.
    fn place(&self, suite: &str, cell: &str, kind: &str, of: &str) -> (PathBuf, String) {
        let identity =
            digest::of_bytes([&INFERENCE.to_string(), &self.backend, suite, cell, kind, of].join("\n").as_bytes());
        let folder = self.folder.join(&suite[..16.min(suite.len())]).join(cell);
        (folder.join(format!("{kind}-{}.safetensors", &of[..16.min(of.len())])), identity)
    }

    /// Where a predictor's answers about a cell are.
    pub fn path(&self, suite: &dyn Suite, cell: &Cell, predictor: &str) -> PathBuf {
        self.place(suite.identity(), &cell.name, "answers", predictor).0
    }

    /// The answers of a predictor; none if they are not there.
    ///
    /// # Errors
    /// A file that cannot be read, or is damaged.
    pub fn answers(&self, suite: &dyn Suite, cell: &Cell, predictor: &str) -> Result<Option<Stored>, BenchError> {
        self.answers_by_name(suite.identity(), &cell.name, predictor)
    }

    /// The same by the identity of the suite and the name of the cell, for whoever has no images.
    ///
    /// # Errors
    /// As for [`AnswerStore::answers`].
    pub fn answers_by_name(&self, suite: &str, cell: &str, predictor: &str) -> Result<Option<Stored>, BenchError> {
        let (path, identity) = self.place(suite, cell, "answers", predictor);
        let Some(state) = read(&path, &identity)? else { return Ok(None) };
        let broken = || BenchError::Stored { path, reason: "tensors are missing or too short".into() };
        decode(compact::grown(state)).ok_or_else(broken).map(Some)
    }

    /// Keeps the answers of a predictor.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&self, suite: &dyn Suite, cell: &Cell, predictor: &str, stored: &Stored) -> Result<(), BenchError> {
        let (path, identity) = self.place(suite.identity(), &cell.name, "answers", predictor);
        let state = encode(stored);
        write(&path, &identity, &if self.is_compact { compact::shrunk(state) } else { state })
    }

    /// A trunk's features of a cell's images, `[images, elements]`, and the dimensions of one image; none if they are not
    /// there.
    ///
    /// # Errors
    /// A file that cannot be read, or is damaged.
    pub fn trunk(&self, suite: &dyn Suite, cell: &Cell, trunk: &str) -> Result<Option<TrunkFeatures>, BenchError> {
        let (path, identity) = self.place(suite.identity(), &cell.name, "trunk", trunk);
        let Some(mut state) = read(&path, &identity)? else { return Ok(None) };
        let mut take = |name: &str| {
            let broken = || BenchError::Stored { path: path.clone(), reason: format!("no tensor {name}") };
            state.remove(name).ok_or_else(broken)
        };
        let dims = take("dims")?.values.into_iter().map(|dim| dim as usize).collect();
        Ok(Some(TrunkFeatures { dims, values: take("features")?.values }))
    }

    /// Keeps a trunk's features.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_trunk(
        &self,
        suite: &dyn Suite,
        cell: &Cell,
        trunk: &str,
        features: TrunkFeatures,
    ) -> Result<(), BenchError> {
        let (path, identity) = self.place(suite.identity(), &cell.name, "trunk", trunk);
        let elements = features.dims.iter().product::<usize>().max(1);
        let dims: Vec<f32> = features.dims.iter().map(|&dim| dim as f32).collect();
        let state = State::from([
            ("dims".to_owned(), Entry { shape: vec![dims.len()], values: dims }),
            (
                "features".to_owned(),
                Entry { shape: vec![features.values.len() / elements, elements], values: features.values },
            ),
        ]);
        write(&path, &identity, &state)
    }
}

/// A trunk's features of some images on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkFeatures {
    /// Dimensions of one image's features.
    pub dims: Vec<usize>,
    /// All values, image after image.
    pub values: Vec<f32>,
}

/// Age at which nobody is at work any more on what a writer began beside a file.
const LEFT: Duration = Duration::from_secs(3600);

fn write(path: &Path, identity: &str, state: &State) -> Result<(), BenchError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| ReportError::writing(folder, 0, source))?;
        remove_leftovers(folder, LEFT);
    }
    let sum = digest::of_bytes(&weights::to_bytes(state));
    let metadata = HashMap::from([("identity".to_owned(), identity.to_owned()), ("sha256".to_owned(), sum)]);
    let bytes = safetensors::serialize(compact::written(state), Some(metadata))
        .expect("names are unique and sizes match the shapes");
    Ok(write_atomic(path, &bytes)?)
}

/// The tensors of a file; none when there is none, or when it is of another identity.
fn read(path: &Path, identity: &str) -> Result<Option<State>, BenchError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(BenchError::Io { path: path.into(), source }),
    };
    let broken = |reason: String| BenchError::Stored { path: path.into(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
    let metadata = header.metadata().as_ref();
    let said = |key: &str| metadata.and_then(|metadata| metadata.get(key)).map(String::as_str);
    if said("identity") != Some(identity) {
        return Ok(None);
    }
    let state = weights::from_bytes(&bytes).map_err(broken)?;
    if said("sha256") != Some(digest::of_bytes(&weights::to_bytes(&state)).as_str()) {
        return Err(broken("its checksum is not that of its content".into()));
    }
    Ok(Some(state))
}

/// Uncertainties of a head that its passes give; that of its last layer is a column.
const UNCERTAINTIES: usize = 5;
/// What the names of columns begin with.
const BESIDE: &str = "beside.";

fn encode(stored: &Stored) -> State {
    let mut state = State::new();
    let count = stored.labels.len();
    let mut put =
        |name: &str, shape: Vec<usize>, values: Vec<f32>| state.insert(name.to_owned(), Entry { shape, values });
    // Classes are exact as 32-bit floats up to 2^24, identities as four times 16 bits.
    put("labels", vec![count], stored.labels.iter().map(|&label| label as f32).collect());
    let words = stored.ids.iter().flat_map(|id| [0, 16, 32, 48].map(|shift| f32::from((id >> shift) as u16)));
    put("ids", vec![count, 4], words.collect());
    match &stored.answers {
        Answers::Logits { classes, values } => {
            put("logits", vec![count, *classes], values.clone());
        }
        Answers::Heads(heads) => {
            let classes = stored.answers.classes();
            let means = heads.iter().flat_map(|head| head.passes.probabilities.iter().flatten().copied());
            put("heads.probabilities", vec![count, 3, classes], means.collect());
            let single = heads.iter().flat_map(|head| head.deterministic.iter().flatten().copied());
            put("heads.deterministic", vec![count, 3, classes], single.collect());
            let of_head = |all: &[f32; 6]| all[..UNCERTAINTIES].to_vec();
            let uncertainty = heads.iter().flat_map(|head| head.passes.uncertainty.iter().flat_map(of_head));
            put("heads.uncertainty", vec![count, 3, UNCERTAINTIES], uncertainty.collect());
        }
    }
    for (name, column) in stored.beside.iter() {
        put(&format!("{BESIDE}{name}"), vec![count, column.width], column.values.clone());
    }
    state
}

fn decode(mut state: State) -> Option<Stored> {
    let labels: Vec<usize> = state.remove("labels")?.values.into_iter().map(|class| class as usize).collect();
    let words = state.remove("ids")?.values;
    let mut beside = Columns::default();
    let names: Vec<String> = state.keys().filter(|name| name.starts_with(BESIDE)).cloned().collect();
    for name in names {
        let entry = state.remove(&name)?;
        let width = *entry.shape.get(1).filter(|&&width| width > 0)?;
        beside.insert(name.trim_start_matches(BESIDE), width, entry.values);
    }
    let ids: Vec<u64> =
        words.chunks_exact(4).map(|word| (0..4).fold(0, |id, i| id | ((word[i] as u64) << (16 * i)))).collect();
    let answers = match state.remove("logits") {
        Some(logits) => {
            let classes = *logits.shape.get(1).filter(|&&classes| classes > 0)?;
            Answers::Logits { classes, values: logits.values }
        }
        None => {
            let means = state.remove("heads.probabilities")?;
            let classes = *means.shape.get(2).filter(|&&classes| classes > 0)?;
            let single = state.remove("heads.deterministic")?.values;
            let uncertainty = state.remove("heads.uncertainty")?.values;
            let three = |values: &[f32]| [0, 1, 2].map(|head| values[head * classes..(head + 1) * classes].to_vec());
            let rows = means.values.chunks_exact(3 * classes).zip(single.chunks_exact(3 * classes));
            let heads = rows.zip(uncertainty.chunks_exact(3 * UNCERTAINTIES)).map(|((mean, single), u)| {
                let of_passes =
                    |head: usize, kind: usize| u[head * UNCERTAINTIES..][..UNCERTAINTIES].get(kind).copied();
                let of_head = |head| std::array::from_fn(|kind| of_passes(head, kind).unwrap_or_default());
                let uncertainty = [0, 1, 2].map(of_head);
                let passes = SampleStatistics { probabilities: three(mean), uncertainty };
                HeadAnswer { passes, deterministic: three(single) }
            });
            Answers::Heads(heads.collect())
        }
    };
    let whole = ids.len() == labels.len() && answers.len() == labels.len();
    let filled = beside.iter().all(|(_, column)| column.values.len() == column.width * labels.len());
    (whole && filled).then_some(Stored { labels, ids, answers, beside })
}
