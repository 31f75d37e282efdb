//! Tensors whose shape depends on the size of the input, fitted to another size as timm does when it loads them.

use super::Entry;
use super::names::Shapes;
use crate::resize::position_embedding;
use crate::swin::resize_bias_table;
use crate::vit::resize_relative_positions;

/// How a tensor of another shape is fitted to the one that a model expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Swin's position biases `[positions, heads]` for another window.
    BiasTable,
    /// BEiT's position biases `[positions, heads]`, those of the class token last, for another square of patches.
    PatchTable,
    /// Position embeddings `[1, prefix + side * side, width]` for another square of patches.
    Positions {
        /// Rows of tokens that are no patches.
        prefix: usize,
    },
}

/// Tensors whose size follows from that of the input, and is another in a checkpoint than in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Their names.
    pub names: Vec<String>,
    /// What they are, as in `position embeddings`.
    pub what: &'static str,
    /// What their sizes count: `patches` of the image, or tokens of `windows`.
    pub unit: &'static str,
    /// Side of the square in the checkpoint.
    pub from: usize,
    /// Side of the square in the model.
    pub to: usize,
}

impl Resized {
    /// Whether both are equal but for the names.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.what, self.from, self.to) == (other.what, other.from, other.to)
    }
}

/// How a tensor of a model with these shapes is fitted; `None` when the difference to the shape found is a fault.
pub(super) fn fit(name: &str, found: &[usize], model: &Shapes) -> Option<Fit> {
    let (owner, last) = name.rsplit_once('.').unwrap_or(("", name));
    match (last, found, model.get(name)?.as_slice()) {
        ("relative_position_bias_table", [old, heads], [new, same]) if heads == same => {
            let of_patches = table_side(*old).is_some() && table_side(*new).is_some();
            Some(if of_patches { Fit::PatchTable } else { Fit::BiasTable })
        }
        ("pos_embed", [1, old, width], [1, new, same]) if width == same => {
            let fits = |prefix: &usize| side(*old, *prefix).is_some() && side(*new, *prefix).is_some();
            // Some models leave the other tokens without positions.
            [prefix_tokens(owner, model), 0].into_iter().find(fits).map(|prefix| Fit::Positions { prefix })
        }
        _ => None,
    }
}

impl Fit {
    /// One tensor that is fitted, in the words of a message.
    pub(super) fn described(self, name: &str, found: &[usize], expected: &[usize]) -> Resized {
        let (what, unit) = match self {
            Self::BiasTable => ("relative position biases", "windows"),
            Self::PatchTable => ("relative position biases", "patches"),
            Self::Positions { .. } => ("position embeddings", "patches"),
        };
        let size = |shape: &[usize]| match self {
            // As many differences of positions as fit into a window along one side, in both directions.
            Self::BiasTable => shape[0].isqrt().div_ceil(2),
            Self::PatchTable => table_side(shape[0]).unwrap_or_default(),
            Self::Positions { prefix } => side(shape[1], prefix).unwrap_or_default(),
        };
        Resized { names: vec![name.to_owned()], what, unit, from: size(found), to: size(expected) }
    }

    /// The tensor in the shape that the model expects.
    ///
    /// # Errors
    /// A table that is not that of a square window, as a sentence.
    pub(super) fn apply(self, entry: &Entry, expected: &[usize]) -> Result<Entry, String> {
        let values = match self {
            Self::BiasTable => {
                let shape = [entry.shape[0], entry.shape[1]];
                resize_bias_table(&entry.values, shape, expected[0])
                    .ok_or_else(|| format!("a table of {} position biases is not that of a square window", shape[0]))?
            }
            Self::PatchTable => {
                let shape = [entry.shape[0], entry.shape[1]];
                let side =
                    |rows| table_side(rows).ok_or("a table of position biases is not that of a square of patches");
                resize_relative_positions(&entry.values, shape[1], side(shape[0])?, side(expected[0])?)?
            }
            Self::Positions { prefix } => {
                let square = |rows| side(rows, prefix).map(|side| [side; 2]).ok_or("its patches are no square");
                let (old, new) = (square(entry.shape[1])?, square(expected[1])?);
                position_embedding(&entry.values, old, new, expected[2], prefix)?
            }
        };
        Ok(Entry { shape: expected.to_vec(), values })
    }
}

/// A tensor as a model with these shapes has it, fitted where its size follows from that of the input.
///
/// # Errors
/// A tensor that the model does not have, or that cannot be fitted, as a sentence.
pub(crate) fn fitted(name: &str, entry: Entry, model: &Shapes) -> Result<Entry, String> {
    let expected = model.get(name).ok_or_else(|| format!("unexpected tensor {name}"))?;
    if entry.shape == *expected {
        return Ok(entry);
    }
    let fit = fit(name, &entry.shape, model);
    fit.ok_or_else(|| super::module::misshapen(name, &entry.shape, expected))?.apply(&entry, expected)
}

/// Side of the square of patches that a table of BEiT's position biases is for; the class token has three more of them.
fn table_side(positions: usize) -> Option<usize> {
    let span = side(positions, 3)?;
    (span % 2 == 1).then(|| span.div_ceil(2))
}

/// Class, distillation and register tokens of the ViT that owns a position embedding.
fn prefix_tokens(owner: &str, model: &Shapes) -> usize {
    let tokens = |token: &str| {
        let name = if owner.is_empty() { token.to_owned() } else { format!("{owner}.{token}") };
        model.get(&name).and_then(|shape| shape.get(1)).copied().unwrap_or_default()
    };
    tokens("cls_token") + tokens("dist_token") + tokens("reg_token")
}

/// Side of the square of patches behind the prefix.
fn side(rows: usize, prefix: usize) -> Option<usize> {
    let patches = rows.checked_sub(prefix)?;
    let side = patches.isqrt();
    (side > 0 && side * side == patches).then_some(side)
}
