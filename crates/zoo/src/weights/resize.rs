//! Tensors whose shape depends on the size of the input.

use super::Entry;
use super::names::Shapes;

/// Whether a tensor of another shape can be fitted to the one expected.
pub(super) fn resizable(_name: &str, _found: &[usize], _expected: &[usize], _model: &Shapes) -> bool {
    false
}

/// The tensor fitted to a shape that [`resizable`] accepted.
pub(super) fn resized(_name: &str, entry: Entry, _shape: &[usize]) -> Entry {
    entry
}
