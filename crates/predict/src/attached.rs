//! What was fitted to a finished model and is asked with it: how sure its last layers are, and where its robust head was right.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use robustify_select::laplace::{probit, spread};
use robustify_select::{Laplace, Neighbours};
use robustify_zoo::weights::{Entry, State};
use robustify_zoo::{Features, Trace};

use crate::classifier::host;

/// Parts beside the weights of a model. They need no pass of their own: they read the input of the last layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attached {
    /// The posterior of each head's last layer, in the order of [`Head::ALL`](robustify_select::Head::ALL), or of the only one.
    pub laplace: Option<Vec<Laplace>>,
    /// Of three heads: features of the robust head for the training rows that it gets right and the clean head wrong.
    pub neighbours: Option<Neighbours>,
}

/// Numbers that a model gives of every image beside its answers, by name; as many of each for every image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(BTreeMap<String, Column>);

/// One kind of such numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// How many of each image, at least one.
    pub width: usize,
    /// All values, image after image.
    pub values: Vec<f32>,
}

impl Columns {
    /// Probabilities of each head under the posterior of its last layer, `heads * classes` of each image.
    pub const PROBIT: &'static str = "laplace.probabilities";
    /// Uncertainty of each head under that posterior, see [`spread`].
    pub const SPREAD: &'static str = "laplace.uncertainty";
    /// Distance to the neighbour that counts, see [`Neighbours::distance`].
    pub const DISTANCE: &'static str = "neighbours.distance";

    /// Puts a column in.
    pub fn insert(&mut self, name: &str, width: usize, values: Vec<f32>) {
        self.0.insert(name.to_owned(), Column { width, values });
    }

    /// All columns with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.0.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// The numbers of a name for the image at a place; none without such a column.
    pub fn row(&self, name: &str, image: usize) -> Option<&[f32]> {
        let Column { width, values } = self.0.get(name)?;
        values.get(image * width..(image + 1) * width)
    }

    /// Whether there is a column of a name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Appends those of further images.
    ///
    /// # Panics
    /// Other columns: a bug of the caller.
    pub fn append(&mut self, other: Self) {
        assert!(self.0.keys().eq(other.0.keys()), "columns of two kinds of models");
        self.0.values_mut().zip(other.0.into_values()).for_each(|(own, more)| own.values.extend(more.values));
    }

    /// The first image with a value that is no finite number.
    pub fn non_finite(&self) -> Option<usize> {
        let of_column = |column: &Column| column.values.iter().position(|x| !x.is_finite()).map(|at| at / column.width);
        self.0.values().filter_map(of_column).min()
    }
}

/// What one head said of some rows.
pub(crate) struct Told<'a> {
    pub logits: &'a [f32],
    pub probabilities: &'a [f32],
    /// The input of its last layer.
    pub features: &'a [f32],
}

impl Attached {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.laplace.is_none() && self.neighbours.is_none()
    }

    /// What it says of some rows, from what each head said of them. Neighbours are those of the last head.
    pub(crate) fn columns(&self, heads: &[Told<'_>]) -> Columns {
        let mut columns = Columns::default();
        if let Some(laplace) = &self.laplace {
            let classes = laplace.first().map_or(1, |one| one.classes).max(1);
            let rows = heads.first().map_or(0, |head| head.logits.len() / classes);
            let variances: Vec<Vec<f32>> =
                laplace.iter().zip(heads).map(|(laplace, head)| laplace.variances(head.features)).collect();
            let (mut told, mut spreads) = (Vec::new(), Vec::new());
            for row in 0..rows {
                let range = row * classes..(row + 1) * classes;
                for (head, variances) in heads.iter().zip(&variances) {
                    let variances = &variances[range.clone()];
                    told.extend(probit(&head.logits[range.clone()], variances));
                    spreads.push(spread(&head.probabilities[range.clone()], variances));
                }
            }
            columns.insert(Columns::PROBIT, heads.len() * classes, told);
            columns.insert(Columns::SPREAD, heads.len(), spreads);
        }
        if let (Some(neighbours), Some(head)) = (&self.neighbours, heads.last()) {
            let rows = head.features.chunks_exact(neighbours.width);
            columns.insert(Columns::DISTANCE, 1, rows.map(|row| neighbours.distance(row)).collect());
        }
        columns
    }

    /// Its tensors.
    pub fn state(&self) -> State {
        let mut state = State::new();
        let mut put = |name: String, shape: Vec<usize>, values: Vec<f32>| state.insert(name, Entry { shape, values });
        for (head, laplace) in self.laplace.iter().flatten().enumerate() {
            let Laplace { classes, width, precision, weights, biases, rotation } = laplace;
            let at = |name: &str| format!("{LAPLACE}{head}.{name}");
            put(at("weights"), vec![*classes, *width], weights.clone());
            put(at("biases"), vec![*classes], biases.clone());
            put(at("precision"), vec![1], vec![*precision as f32]);
            if let Some(rotation) = rotation {
                put(at("rotation"), vec![*width, *width], rotation.clone());
            }
        }
        if let Some(Neighbours { rank, width, features }) = &self.neighbours {
            put(format!("{NEIGHBOURS}features"), vec![features.len() / width.max(&1), *width], features.clone());
            put(format!("{NEIGHBOURS}rank"), vec![1], vec![*rank as f32]);
        }
        state
    }

    /// Whether a tensor of this name is one of these.
    pub fn owns(name: &str) -> bool {
        name.starts_with(LAPLACE) || name.starts_with(NEIGHBOURS)
    }

    /// From its tensors, for a model of so many heads and classes.
    ///
    /// # Errors
    /// Tensors that are missing, too many, or of other shapes, by name.
    pub fn from_state(mut state: State, heads: usize, classes: usize) -> Result<Self, String> {
        let mut attached = Self::default();
        if state.keys().any(|name| name.starts_with(LAPLACE)) {
            let each = (0..heads).map(|head| laplace(&mut state, head, classes));
            attached.laplace = Some(each.collect::<Result<_, _>>()?);
        }
        if let Some(features) = state.remove(&format!("{NEIGHBOURS}features")) {
            let rank = take(&mut state, &format!("{NEIGHBOURS}rank"), &[1])?[0] as usize;
            let (images, width) = match features.shape[..] {
                [images, width] if width > 0 && (1..=images).contains(&rank) => (images, width),
                _ => {
                    return Err(format!(
                        "neighbours of shape {:?}, of which number {rank} is asked for",
                        features.shape
                    ));
                }
            };
            debug_assert_eq!(images * width, features.values.len());
            attached.neighbours = Some(Neighbours { rank, width, features: features.values });
        }
        match state.keys().next() {
            Some(name) => Err(format!("tensor {name}, which belongs to nothing")),
            None => Ok(attached),
        }
    }
}

const LAPLACE: &str = "laplace.";
const NEIGHBOURS: &str = "neighbours.";

fn laplace(state: &mut State, head: usize, classes: usize) -> Result<Laplace, String> {
    let at = |name: &str| format!("{LAPLACE}{head}.{name}");
    let width = state.get(&at("weights")).and_then(|entry| entry.shape.get(1)).copied().unwrap_or_default();
    if width == 0 {
        return Err(format!("no tensor {} of features", at("weights")));
    }
    let weights = take(state, &at("weights"), &[classes, width])?;
    let biases = take(state, &at("biases"), &[classes])?;
    let precision = f64::from(take(state, &at("precision"), &[1])?[0]);
    let has_rotation = state.contains_key(&at("rotation"));
    let rotation = has_rotation.then(|| take(state, &at("rotation"), &[width, width])).transpose()?;
    Ok(Laplace { classes, width, precision, weights, biases, rotation })
}

fn take(state: &mut State, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    match state.remove(name) {
        Some(entry) if entry.shape == shape => Ok(entry.values),
        Some(entry) => Err(format!("tensor {name} has shape {:?}, {shape:?} is expected", entry.shape)),
        None => Err(format!("missing tensor {name} {shape:?}")),
    }
}

/// The inputs of the last layers that one forward met, in its order, on the host.
pub(crate) fn last_inputs(trace: Trace) -> Vec<Vec<f32>> {
    let rows = |features: Features| -> Tensor<2> { features.flatten() };
    trace.into_steps().into_iter().map(|(_, features)| host(rows(features))).collect()
}
