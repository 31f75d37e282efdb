//! Answers in 16 bits: each row relative to its largest value.
//!
//! A 16-bit float knows eleven bits of a number, so logits of a size of 20 would be known to a hundredth, and two classes that are nearly
//! as likely could change places. Distances to the largest logit have no such fault: the largest is zero, and the next ones are known to
//! one part in 2,048 of how far they are. Probabilities are kept as the logarithms of their ratios to the largest, and add up to one
//! when they are read.

use std::borrow::Cow;

use half::f16;
use robustify_zoo::weights::{Dtype, Entry, State};
use safetensors::View;

use super::Stored;

/// Rows of logits, and what their distances to the largest are called.
const LOGITS: (&str, &str) = ("logits", "relative_logits");
/// Rows of probabilities, and what their logarithms are called.
const PROBABILITIES: [(&str, &str); 2] =
    [("heads.probabilities", "heads.log_probabilities"), ("heads.deterministic", "heads.log_deterministic")];

/// Answers as they are read back.
pub(super) fn rounded(stored: Stored) -> Stored {
    // What was encoded just now can be decoded.
    super::decode(grown(shrunk(super::encode(&stored)))).unwrap_or(stored)
}

/// The tensors of answers with values that are exact in 16 bits.
pub(super) fn shrunk(mut state: State) -> State {
    if let Some(mut logits) = state.remove(LOGITS.0) {
        each_row(&mut logits, |row| {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|value| *value = exact(*value - top));
        });
        state.insert(LOGITS.1.to_owned(), logits);
    }
    for (name, log) in PROBABILITIES {
        if let Some(mut entry) = state.remove(name) {
            each_row(&mut entry, |row| {
                let top = row.iter().copied().fold(0.0, f32::max);
                row.iter_mut().for_each(|value| *value = exact((f64::from(*value) / f64::from(top)).ln() as f32));
            });
            state.insert(log.to_owned(), entry);
        }
    }
    state
}

/// The tensors of answers from what [`shrunk`] made of them; others stay.
pub(super) fn grown(mut state: State) -> State {
    if let Some(logits) = state.remove(LOGITS.1) {
        state.insert(LOGITS.0.to_owned(), logits);
    }
    for (name, log) in PROBABILITIES {
        if let Some(mut entry) = state.remove(log) {
            each_row(&mut entry, |row| {
                let powers: Vec<f64> = row.iter().map(|&value| f64::from(value).exp()).collect();
                let sum: f64 = powers.iter().sum();
                row.iter_mut().zip(powers).for_each(|(value, power)| *value = (power / sum) as f32);
            });
            state.insert(name.to_owned(), entry);
        }
    }
    state
}

fn each_row(entry: &mut Entry, change: impl Fn(&mut [f32])) {
    let width = entry.shape.last().copied().unwrap_or_default().max(1);
    entry.values.chunks_exact_mut(width).for_each(change);
}

/// The nearest number of 16 bits; what is further than all of them is as far as the furthest.
fn exact(value: f32) -> f32 {
    f16::from_f32(value.max(f16::MIN.to_f32())).to_f32()
}

/// A tensor as it is written.
pub(super) struct Written<'a> {
    entry: &'a Entry,
    dtype: Dtype,
}

/// The tensors of a state as they are written: those that are exact in 16 bits take no more.
pub(super) fn written(state: &State) -> impl Iterator<Item = (&str, Written<'_>)> {
    let is_half = |name: &str| name == LOGITS.1 || PROBABILITIES.iter().any(|(_, log)| *log == name);
    state.iter().map(move |(name, entry)| {
        let dtype = if is_half(name) { Dtype::F16 } else { Dtype::F32 };
        (name.as_str(), Written { entry, dtype })
    })
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.entry.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.entry.values.iter();
        match self.dtype {
            Dtype::F16 => values.flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect::<Vec<_>>().into(),
            _ => values.flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
        }
    }

    fn data_len(&self) -> usize {
        self.entry.values.len() * if self.dtype == Dtype::F16 { 2 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use robustify_predict::{Answers, Columns, HeadAnswer};
    use robustify_select::{SampleStatistics, argmax};

    use super::*;
    use crate::AnswerStore;

    fn stored(answers: Answers) -> Stored {
        let count = answers.len();
        Stored { labels: vec![1; count], ids: (0..count as u64).collect(), answers, beside: Columns::default() }
    }

    #[test]
    fn the_first_class_stays_the_first_and_what_was_read_is_what_was_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = AnswerStore::compact(folder.path(), "flex");
        // Nearer than 16 bits could tell at their size; one too far away for them.
        let values = vec![20.0, 20.001, -70_000.0, 3.0, -2.0, 3.0];
        let logits = stored(Answers::Logits { classes: 3, values });
        let probabilities = [vec![0.5001_f32, 0.4999], vec![0.0, 1.0], vec![1e-7, 1.0]];
        let passes = SampleStatistics { probabilities: probabilities.clone(), uncertainty: [[0.1; 6]; 3] };
        let heads = stored(Answers::Heads(vec![HeadAnswer { passes, deterministic: probabilities.clone() }]));
        for (name, given) in [("one", logits), ("three", heads)] {
            let rounded = store.rounded(given.clone());
            let state = shrunk(crate::store::encode(&given));
            let path = folder.path().join(name);
            crate::store::write(&path, "identity", &state).unwrap();
            let read = crate::store::read(&path, "identity").unwrap().unwrap();
            assert_eq!(crate::store::decode(grown(read)), Some(rounded.clone()));
            match rounded.answers {
                Answers::Logits { classes, values } => {
                    let tops: Vec<usize> = values.chunks_exact(classes).map(argmax).collect();
                    assert_eq!(tops, [1, 0]);
                    assert!((values[0] + 0.001).abs() < 1e-6 && values[2] == -65_504.0, "{values:?}");
                }
                Answers::Heads(heads) => {
                    for (got, given) in heads[0].deterministic.iter().flatten().zip(probabilities.iter().flatten()) {
                        // Logarithms are kept, whose steps grow with them: a thousandth near one, a hundredth far below.
                        let step = if *given > 0.1 { 1e-3 } else { 1e-2 };
                        assert!((got - given).abs() <= step * given, "{got} is not {given}");
                    }
                }
            }
        }
    }
}
