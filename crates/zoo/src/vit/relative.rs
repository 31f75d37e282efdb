//! Biases of attention scores for the relative positions of two tokens.
//!
//! Source: Bao et al. 2022 (BEiT), arXiv:2106.08254, after Liu et al. 2021, arXiv:2103.14030; one table for all blocks as in Wei et al.
//! 2022, arXiv:2205.14141, SwinTransformer/Feature-Distillation, `models/vision_transformer.py`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layers::Init;

/// Entries of a table for the class token, behind those of the patches: as a query, as a key, and of both.
const WITH_CLASS_TOKEN: usize = 3;

/// Which blocks have a table of biases for relative positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RelativePositions {
    /// None has one.
    #[default]
    None,
    /// All blocks share one.
    Shared,
    /// Every block has its own.
    Layers,
}

/// One table for all blocks.
#[derive(Module, Debug)]
pub struct RelativeBias {
    /// `[positions, heads]`: those of two patches by the rows, then the columns between them; see [`position_index`].
    relative_position_bias_table: Param<Tensor<2>>,
    index: PositionIndex,
}

impl RelativeBias {
    pub(super) fn new(grid: [usize; 2], heads: usize, init: &mut Init) -> Self {
        Self {
            relative_position_bias_table: bias_table(grid, heads, init),
            index: PositionIndex::new(grid, init.device()),
        }
    }

    /// What every block adds to its scores; to be computed once a forward.
    ///
    /// # Shapes
    /// - output: `[1, heads, tokens, tokens]`
    pub fn forward(&self) -> Tensor<4> {
        self.index.bias(self.relative_position_bias_table.val())
    }
}

/// A new table, of zeros.
pub(super) fn bias_table(grid: [usize; 2], heads: usize, init: &mut Init) -> Param<Tensor<2>> {
    init.constant([positions(grid), heads], 0.0)
}

/// Different relative positions of the class token and the patches of a grid.
fn positions([height, columns]: [usize; 2]) -> usize {
    (2 * height - 1) * (2 * columns - 1) + WITH_CLASS_TOKEN
}

/// Which entry of a table each pair of tokens has. It follows from the grid and is no parameter.
#[derive(Module, Debug)]
pub(super) struct PositionIndex {
    /// `[tokens * tokens]`.
    index: Tensor<1, Int>,
    tokens: usize,
}

impl PositionIndex {
    pub fn new(grid: [usize; 2], device: &Device) -> Self {
        let tokens = grid[0] * grid[1] + 1;
        Self { index: Tensor::from_data(TensorData::new(position_index(grid), [tokens * tokens]), device), tokens }
    }

    /// # Shapes
    /// - table: `[positions, heads]`
    /// - output: `[1, heads, tokens, tokens]`
    pub fn bias(&self, table: Tensor<2>) -> Tensor<4> {
        let [_, heads] = table.dims();
        // A transposed table gives the heads their places at once.
        table.transpose().select(1, self.index.clone()).reshape([1, heads, self.tokens, self.tokens])
    }
}

/// For every pair of tokens, query first, its entry of a table, `[tokens, tokens]` in row-major order; the class token is the first
/// token. A grid of `h` by `w` patches has `(2h - 1)(2w - 1)` entries for two patches, by row and column difference, then three: of the
/// class token as a query, as a key, and as both.
///
/// ```
/// use robustify_zoo::vit::position_index;
///
/// // Two patches side by side: (1 - 1 + 0) * 3 + (0 - 1 + 1) = 0 for the left one as a query of the right one.
/// assert_eq!(position_index([1, 2]), [5, 3, 3, 4, 1, 0, 4, 2, 1]);
/// ```
pub fn position_index(grid: [usize; 2]) -> Vec<i64> {
    let [height, columns] = grid;
    let (patches, all) = (height * columns, positions(grid));
    let entry = |query: usize, key: usize| match (query.checked_sub(1), key.checked_sub(1)) {
        (None, None) => all - 1,
        (None, Some(_)) => all - WITH_CLASS_TOKEN,
        (Some(_), None) => all - 2,
        (Some(query), Some(key)) => {
            let down = query / columns + height - 1 - key / columns;
            let right = query % columns + columns - 1 - key % columns;
            down * (2 * columns - 1) + right
        }
    };
    (0..=patches).flat_map(|query| (0..=patches).map(move |key| entry(query, key) as i64)).collect()
}
