//! Cached views: features of the frozen backbone, read from a file, and the teachers' logits of the same views.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt;
use robustify_zoo::Features;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DistillError;
use crate::views::ViewSpec;

/// Whose knowledge a head is distilled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Teacher {
    /// The untouched large model, `M0`.
    Original,
    /// The small robust model, `Mt`.
    Robust,
}

impl fmt::Display for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original model",
            Self::Robust => "robust teacher",
        })
    }
}

/// How features are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 16-bit floats: eleven significant bits, up to 65504.
    #[default]
    F16,
    /// 32-bit floats, as they were computed, in twice the space.
    F32,
}

impl Precision {
    /// Bytes of a feature.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The first value that cannot be stored, and where it stands.
    pub(crate) fn misfit(self, values: &[f32]) -> Option<(usize, f32)> {
        let largest = match self {
            Self::F16 => f16::MAX.to_f32(),
            Self::F32 => f32::MAX,
        };
        // No number is at most anything.
        let fits = |value: f32| value.abs() <= largest;
        values.iter().copied().enumerate().find(|(_, value)| !fits(*value))
    }

    /// The values as they are written, little-endian.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// Features of all rows, one after the other.
enum Stored {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl Stored {
    fn read(file: &mut impl Read, precision: Precision, elements: usize) -> io::Result<Self> {
        Ok(match precision {
            Precision::F16 => Self::F16(values(file, elements, f16::from_le_bytes)?),
            Precision::F32 => Self::F32(values(file, elements, f32::from_le_bytes)?),
        })
    }

    fn copy(&self, range: Range<usize>, out: &mut [f32]) {
        match self {
            Self::F16(all) => all[range].convert_to_f32_slice(out),
            Self::F32(all) => out.copy_from_slice(&all[range]),
        }
    }
}

/// `count` numbers of `N` bytes.
fn values<T, const N: usize>(file: &mut impl Read, count: usize, decode: impl Fn([u8; N]) -> T) -> io::Result<Vec<T>> {
    let mut values = Vec::with_capacity(count);
    let mut bytes = vec![0; (1 << 20) * N];
    while values.len() < count {
        let part = N * (count - values.len()).min(1 << 20);
        file.read_exact(&mut bytes[..part])?;
        let numbers = bytes[..part].chunks_exact(N).map(|bytes| bytes.try_into().expect("chunks of N"));
        values.extend(numbers.map(&decode));
    }
    Ok(values)
}

/// Cached views: what a tuning step reads instead of images.
pub struct ViewCache {
    /// Clean views an image.
    pub clean: usize,
    /// Augmented views an image.
    pub augmented: usize,
    /// Label of every image.
    pub labels: Vec<usize>,
    /// Dimensions of one row of features.
    pub dims: Vec<usize>,
    features: Stored,
    /// `[rows * classes]` of every teacher there is.
    logits: BTreeMap<Teacher, Vec<f32>>,
}

impl ViewCache {
    /// Reads what [`ViewJob::features`](crate::ViewJob::features) wrote. `logits` are those of as many teachers as there are,
    /// `[rows * classes]` each; a probe and APT need none.
    ///
    /// # Errors
    /// A file that cannot be read or is of another size than the views need; logits that are not as many for every teacher,
    /// or too few for the labels.
    pub fn read(
        path: &Path,
        spec: &ViewSpec,
        labels: Vec<usize>,
        dims: Vec<usize>,
        logits: impl IntoIterator<Item = (Teacher, Vec<f32>)>,
    ) -> Result<Self, DistillError> {
        let rows = labels.len() * spec.count();
        let elements = rows * dims.iter().product::<usize>();
        let logits: BTreeMap<_, _> = logits.into_iter().collect();
        check_logits(&logits, rows, &labels)?;
        let io = |source| DistillError::Io { path: path.into(), source };
        let mut file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?.len();
        let expected = (spec.precision.bytes() * elements) as u64;
        if found != expected {
            let reason = format!("features of {rows} views take {expected} bytes, the file has {found}");
            return Err(DistillError::Checkpoint { path: path.into(), reason });
        }
        let features = Stored::read(&mut file, spec.precision, elements).map_err(io)?;
        Ok(Self { clean: spec.clean, augmented: spec.augmented, labels, dims, features, logits })
    }

    /// Views an image.
    pub fn views(&self) -> usize {
        self.clean + self.augmented
    }

    /// The features of some rows.
    pub fn features(&self, rows: &[usize], device: &Device) -> Features {
        let elements: usize = self.dims.iter().product();
        let mut values = vec![0.0; rows.len() * elements];
        for (&row, out) in rows.iter().zip(values.chunks_exact_mut(elements)) {
            self.features.copy(row * elements..(row + 1) * elements, out);
        }
        let tensor = Tensor::from_data(TensorData::new(values, [rows.len(), elements]), device);
        Features::unflatten(tensor, &self.dims).expect("the dimensions of these rows")
    }

    /// A teacher's logits of all views, `[rows * classes]`.
    ///
    /// # Errors
    /// A teacher whose logits the cache was not given.
    pub fn logits(&self, of: Teacher) -> Result<&[f32], DistillError> {
        self.logits.get(&of).map(Vec::as_slice).ok_or(DistillError::NoTeacher(of))
    }

    /// A teacher's logits of some rows, `[rows, classes]`.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn teacher_logits(&self, of: Teacher, rows: &[usize], device: &Device) -> Result<Tensor<2>, DistillError> {
        let all = self.logits(of)?;
        let classes = self.classes_in(all);
        let values: Vec<f32> = rows.iter().flat_map(|row| &all[row * classes..(row + 1) * classes]).copied().collect();
        Ok(Tensor::from_data(TensorData::new(values, [rows.len(), classes]), device))
    }

    /// Part of the given rows that a teacher gets right.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn teacher_accuracy(&self, of: Teacher, rows: impl Iterator<Item = usize>) -> Result<f64, DistillError> {
        let all = self.logits(of)?;
        let classes = self.classes_in(all);
        let (mut right, mut count) = (0, 0);
        for row in rows {
            let logits = &all[row * classes..(row + 1) * classes];
            let best = robustify_select::argmax(logits);
            right += usize::from(best == self.labels[row / self.views()]);
            count += 1;
        }
        Ok(right as f64 / f64::from(count.max(1)))
    }

    /// The rows of augmented views.
    pub fn augmented_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.labels.len() * self.views()).filter(|row| row % self.views() >= self.clean)
    }

    fn classes_in(&self, logits: &[f32]) -> usize {
        logits.len() / (self.labels.len() * self.views()).max(1)
    }
}

/// Every teacher needs a logit for each view and class, and all of them the same classes.
fn check_logits(logits: &BTreeMap<Teacher, Vec<f32>>, rows: usize, labels: &[usize]) -> Result<(), DistillError> {
    let Some(first) = logits.values().next().map(Vec::len) else { return Ok(()) };
    let (classes, largest) = (first / rows.max(1), labels.iter().max().copied().unwrap_or(0));
    let fits = |all: &Vec<f32>| all.len() == rows * classes && (labels.is_empty() || largest < classes);
    if logits.values().all(fits) {
        return Ok(());
    }
    let found: Vec<String> = logits.iter().map(|(teacher, all)| format!("{} of the {teacher}", all.len())).collect();
    Err(DistillError::Config(format!(
        "{rows} views with labels up to {largest} need as many logits of one number of classes from every teacher; there are {}",
        found.join(" and ")
    )))
}
