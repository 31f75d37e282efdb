//! Weights that can be computed with: floats, every one of them finite.
//!
//! A rectifier turns a NaN into a zero on some backends, and a model with such weights gives a plausible table. So they are
//! refused where they enter.

use std::fmt;

use super::checkpoint::Checkpoint;
use super::raw::{Dtype, RawTensor};
use super::{Entry, State};
use crate::ZooError;

/// What is to be said of values that are no finite numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonFinite {
    /// How many there are.
    pub count: usize,
    /// Among how many values.
    pub of: usize,
    /// Place of the first, in row-major order.
    pub index: usize,
    /// The first: NaN or an infinity.
    pub value: f32,
}

impl NonFinite {
    /// Looks at all values; none if each is finite.
    pub fn find(values: &[f32]) -> Option<Self> {
        const EXPONENT: u32 = 0x7f80_0000;
        // One pass without branches, which compiles to vector code; sound weights cost no more.
        let count: usize = values
            .chunks(1 << 16)
            .map(|part| {
                part.iter().map(|value| u32::from(value.to_bits() & EXPONENT == EXPONENT)).sum::<u32>() as usize
            })
            .sum();
        let (index, &value) = values.iter().enumerate().filter(|_| count > 0).find(|(_, value)| !value.is_finite())?;
        Some(Self { count, of: values.len(), index, value })
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, of, index, value } = self;
        write!(f, "{count} of its {of} values are no finite numbers, the first is {value} at index {index}")
    }
}

/// The first tensor of a state with values that are no finite numbers.
pub fn non_finite(state: &State) -> Option<(&str, NonFinite)> {
    state.iter().find_map(|(name, entry)| Some((name.as_str(), NonFinite::find(&entry.values)?)))
}

/// Reads one tensor of a checkpoint as weights.
///
/// # Errors
/// No such tensor, elements that are no floats, values that are not finite, or a file that cannot be read.
pub fn read_weights(checkpoint: &Checkpoint, name: &str) -> Result<Entry, ZooError> {
    sound(checkpoint, name, checkpoint.read_raw(name)?)
}

/// A tensor of a checkpoint as weights; `name` is that of the file.
pub(super) fn sound(checkpoint: &Checkpoint, name: &str, raw: RawTensor) -> Result<Entry, ZooError> {
    let unusable = |reason| ZooError::Weights { path: checkpoint.path().into(), tensor: name.to_owned(), reason };
    if !is_float(raw.dtype) {
        return Err(unusable(no_floats(raw.dtype)));
    }
    let entry = raw.into_entry().map_err(unusable)?;
    match NonFinite::find(&entry.values) {
        Some(found) => {
            Err(unusable(format!("{found}; the file is damaged or its training diverged, take another one")))
        }
        None => Ok(entry),
    }
}

/// Whether the elements of weights may be of this type.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F8_E4M3 | Dtype::F8_E5M2)
}

/// What is said of a tensor of another type.
pub(super) fn no_floats(dtype: Dtype) -> String {
    format!(
        "its elements are of type {dtype:?}, floats are expected; weights that were quantised have to be turned into floats by the \
         program that quantised them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_finite_numbers_are_counted_and_the_first_is_shown() {
        let mut values = vec![f32::MAX; 70_000];
        values[1] = f32::MIN_POSITIVE / 2.0;
        assert_eq!(NonFinite::find(&values), None);
        assert_eq!(NonFinite::find(&[]), None);
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 65_536, 69_999] {
                let mut broken = values.clone();
                broken[index] = value;
                let found = NonFinite::find(&broken).unwrap();
                assert_eq!((found.count, found.of, found.index), (1, 70_000, index), "{value}");
            }
        }
        values[7..10].fill(f32::NEG_INFINITY);
        let said = NonFinite::find(&values).unwrap().to_string();
        assert_eq!(said, "3 of its 70000 values are no finite numbers, the first is -inf at index 7");
    }
}
