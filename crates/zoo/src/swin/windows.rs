//! How a map is cut into attention windows, and what depends on nothing but that: which windows' tokens may see each other,
//! and where tokens lie relative to each other.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

/// Added to the scores of tokens that a shift has put into one window without their being neighbours.
const MASKED: f32 = -100.0;

/// The square windows of a square map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Side of the map in tokens.
    grid: usize,
    /// Side of a window in tokens.
    side: usize,
    /// By how many tokens the map is rolled up and left before it is cut.
    shift: usize,
}

impl Windows {
    /// Windows of side `side`, those of a shifted block half a window further on. A map that is no larger than a window is
    /// one window, and is not shifted.
    pub fn new(grid: usize, side: usize, shifted: bool) -> Self {
        if grid <= side {
            return Self { grid, side: grid, shift: 0 };
        }
        Self { grid, side, shift: if shifted { side / 2 } else { 0 } }
    }

    /// Side of the map in tokens, filled up to whole windows.
    fn padded(&self) -> usize {
        self.grid.next_multiple_of(self.side)
    }

    /// Side of a window in tokens.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Windows of a map.
    pub fn count(&self) -> usize {
        (self.padded() / self.side).pow(2)
    }

    /// Tokens of a window.
    pub fn area(&self) -> usize {
        self.side * self.side
    }

    /// Different relative positions of two tokens of a window.
    pub fn positions(&self) -> usize {
        (2 * self.side - 1).pow(2)
    }

    /// Cuts maps into windows; missing tokens are zero.
    ///
    /// # Shapes
    /// - maps: `[batch, grid, grid, width]`
    /// - output: `[batch * count, area, width]`, the windows of a map next to each other
    pub fn split(&self, maps: Tensor<4>) -> Tensor<3> {
        let [batch, _, _, width] = maps.dims();
        let maps = self.roll(maps, -(self.shift as isize));
        let missing = self.padded() - self.grid;
        let maps = match missing {
            0 => maps,
            _ => maps.pad([(0, missing), (0, missing), (0, 0)], PadMode::Constant(0.0)),
        };
        let (across, side) = (self.padded() / self.side, self.side);
        let cut = maps.reshape([batch, across, side, across, side, width]).permute([0, 1, 3, 2, 4, 5]);
        cut.reshape([batch * self.count(), self.area(), width])
    }

    /// Undoes [`Windows::split`].
    ///
    /// # Shapes
    /// - windows: `[batch * count, area, width]`
    /// - output: `[batch, grid, grid, width]`
    pub fn join(&self, windows: Tensor<3>) -> Tensor<4> {
        let [rows, _, width] = windows.dims();
        let batch = rows / self.count();
        let (across, side, padded) = (self.padded() / self.side, self.side, self.padded());
        let cut = windows.reshape([batch, across, across, side, side, width]).permute([0, 1, 3, 2, 4, 5]);
        let mut maps: Tensor<4> = cut.reshape([batch, padded, padded, width]);
        if padded > self.grid {
            maps = maps.narrow(1, 0, self.grid).narrow(2, 0, self.grid);
        }
        self.roll(maps, self.shift as isize)
    }

    /// For every window, where each of its tokens lies in the map, as row and column; none for what fills the map up to whole
    /// windows.
    pub fn places(&self) -> Vec<Vec<Option<[usize; 2]>>> {
        let across = self.padded() / self.side;
        let whence = |rolled: usize| (rolled < self.grid).then(|| (rolled + self.shift) % self.grid);
        let place = |window: usize, token: usize| {
            let row = whence(window / across * self.side + token / self.side)?;
            let column = whence(window % across * self.side + token % self.side)?;
            Some([row, column])
        };
        (0..self.count()).map(|window| (0..self.area()).map(|token| place(window, token)).collect()).collect()
    }

    fn roll(&self, maps: Tensor<4>, shift: isize) -> Tensor<4> {
        if shift == 0 { maps } else { maps.roll(&[shift, shift], &[1, 2]) }
    }

    /// What is added to the scores of shifted windows, `[count, area, area]` in row-major order: zero for tokens that were
    /// neighbours before the shift. `None` without a shift.
    pub fn mask(&self) -> Option<Vec<f32>> {
        if self.shift == 0 {
            return None;
        }
        let (padded, side) = (self.padded(), self.side);
        // Rolled rows are of three origins: whole windows, the upper part of the last window, and the part rolled into it.
        let origin = |at: usize| usize::from(at >= padded - side) + usize::from(at >= padded - self.shift);
        let across = padded / side;
        let mut mask = Vec::with_capacity(self.count() * self.area() * self.area());
        for window in 0..self.count() {
            let region = |token: usize| {
                let (row, column) = (window / across * side + token / side, window % across * side + token % side);
                (origin(row), origin(column))
            };
            for query in 0..self.area() {
                let keys = 0..self.area();
                mask.extend(keys.map(|key| if region(query) == region(key) { 0.0 } else { MASKED }));
            }
        }
        Some(mask)
    }

    /// For every pair of tokens, query first, which of the [`Windows::positions`] the query has relative to the key:
    /// `[area, area]` in row-major order, as rows of a table by row and column difference.
    pub fn position_index(&self) -> Vec<i64> {
        let (side, span) = (self.side, 2 * self.side - 1);
        let index = |query: usize, key: usize| {
            let rows = query / side + side - 1 - key / side;
            let columns = query % side + side - 1 - key % side;
            (rows * span + columns) as i64
        };
        (0..self.area()).flat_map(|query| (0..self.area()).map(move |key| index(query, key))).collect()
    }

    /// Rows and columns between two tokens on a logarithmic scale (equation 4 of the second paper): 8 is the farthest position
    /// of a window of side `trained`, and the logarithm has base 8. `[positions, 2]` in row-major order.
    pub fn log_positions(&self, trained: usize) -> Vec<f32> {
        let side = self.side as i64;
        let scaled = |difference: i64| {
            let position = 8.0 * difference as f64 / (trained as f64 - 1.0).max(1.0);
            (position.signum() * (position.abs() + 1.0).log2() / 8.0_f64.log2()) as f32
        };
        let differences = || 1 - side..side;
        differences().flat_map(|rows| differences().flat_map(move |columns| [scaled(rows), scaled(columns)])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_windows_are_the_map() {
        let device = robustify_device::open(Some("flex")).unwrap();
        for (grid, side) in [(8, 4), (7, 3), (5, 4), (3, 4), (1, 7)] {
            for shifted in [false, true] {
                let windows = Windows::new(grid, side, shifted);
                let count = (2 * grid * grid * 3) as i64;
                let maps = Tensor::<1, burn::tensor::Int>::arange(0..count, &device).float();
                let maps = maps.reshape([2, grid, grid, 3]);
                let cut = windows.split(maps.clone());
                assert_eq!(cut.dims(), [2 * windows.count(), windows.area(), 3]);
                let first = cut.clone().slice([0..windows.count(), 0..windows.area(), 0..1]).into_data();
                let first: Vec<f32> = first.try_to_vec().unwrap();
                for (place, value) in windows.places().concat().iter().zip(first) {
                    let there = place.map_or(0.0, |[row, column]| ((row * grid + column) * 3) as f32);
                    assert_eq!(value, there, "{windows:?} {place:?}");
                }
                assert_eq!(windows.join(cut).into_data(), maps.into_data(), "{windows:?}");
            }
        }
    }

    #[test]
    fn a_mask_parts_tokens_that_were_no_neighbours() {
        let windows = Windows::new(8, 4, true);
        let mask = windows.mask().unwrap();
        let sees = |window: usize, query: usize, key: usize| mask[(window * 16 + query) * 16 + key] == 0.0;
        assert!((0..16).all(|key| sees(0, 0, key)), "the first window holds what lay together");
        assert!(sees(1, 0, 1) && !sees(1, 0, 2) && !sees(1, 2, 0), "columns rolled in from the left edge");
        assert!(sees(2, 0, 7) && !sees(2, 0, 8), "rows rolled in from the upper edge");
        assert!(sees(3, 0, 5) && !sees(3, 0, 10) && !sees(3, 2, 8) && sees(3, 10, 15), "four corners");
        assert_eq!(Windows::new(8, 4, false).mask(), None);
        assert_eq!(Windows::new(4, 4, true).mask(), None, "one window, no shift");
    }

    #[test]
    fn equal_differences_share_a_position() {
        let windows = Windows::new(9, 3, false);
        let index = windows.position_index();
        let at = |query: usize, key: usize| index[query * 9 + key];
        assert_eq!((at(0, 0), at(8, 8), at(1, 0), at(5, 4), at(0, 8), at(8, 0)), (12, 12, 13, 13, 0, 24));
        assert_eq!(windows.positions(), 25);
        let positions = windows.log_positions(3);
        assert_eq!(positions[2 * 12..2 * 13], [0.0, 0.0]);
        let far = (9.0_f64.log2() / 3.0) as f32;
        assert_eq!(positions[2 * 24..], [far, far]);
        assert_eq!(positions[..2], [-far, -far]);
    }
}
