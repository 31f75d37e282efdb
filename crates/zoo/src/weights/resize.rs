//! Tensors whose shape depends on the size of the input, fitted to another size as timm does when it loads them.

use super::Entry;
use crate::swin::resize_bias_table;

/// A tensor of another shape fitted to the one expected; the reason when it cannot be.
pub(super) type Fit = fn(&Entry, &[usize]) -> Result<Vec<f32>, String>;

/// How a tensor of another shape is fitted to the one expected; `None` when a difference of shapes is a fault.
pub(super) fn fit(name: &str, found: &[usize], expected: &[usize]) -> Option<Fit> {
    let last = name.rsplit('.').next()?;
    match (last, found, expected) {
        ("relative_position_bias_table", [_, heads], [_, same]) if heads == same => Some(bias_table),
        _ => None,
    }
}

fn bias_table(table: &Entry, expected: &[usize]) -> Result<Vec<f32>, String> {
    let shape = [table.shape[0], table.shape[1]];
    resize_bias_table(&table.values, shape, expected[0])
        .ok_or_else(|| format!("a table of {} position biases is not that of a square window", shape[0]))
}
