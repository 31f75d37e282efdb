//! The shape of an average map of attention: where in it the weight lies.
//!
//! Definitions: `diagonality` and `columnness` are those of a map's two plain patterns, a fixed offset and a fixed key; the
//! translation index is the share of variance that a function of the offset alone explains. They are usual descriptions of attention, and
//! none of them is from a paper.

/// A map of attention between patches, `[patches, patches]`: a row for every query, a column for every key.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Rows and columns of the patches.
    pub window: [usize; 2],
    /// The weights.
    pub values: Vec<f64>,
}

/// A map whose variance is this part of its squares is uniform but for rounding: weights are floats of 32 bits.
const ROUNDING: f64 = 1e-12;

impl Map {
    fn patches(&self) -> usize {
        self.window[0] * self.window[1]
    }

    fn place(&self, patch: usize) -> [usize; 2] {
        [patch / self.window[1], patch % self.window[1]]
    }

    /// Queries with their keys and weights.
    fn pairs(&self) -> impl Iterator<Item = ([usize; 2], [usize; 2], f64)> + '_ {
        let patches = self.patches();
        let pair = move |(at, &value): (usize, &f64)| (self.place(at / patches), self.place(at % patches), value);
        self.values.iter().enumerate().map(pair)
    }

    /// The mean over queries of the weight on their own place and its four neighbours.
    pub fn diagonality(&self) -> f64 {
        let near = |from: [usize; 2], to: [usize; 2]| from[0].abs_diff(to[0]) + from[1].abs_diff(to[1]) <= 1;
        let weight: f64 = self.pairs().filter(|(from, to, _)| near(*from, *to)).map(|(_, _, value)| value).sum();
        weight / self.patches() as f64
    }

    /// The standard deviation over keys of the mean weight that they get, in units of the uniform weight.
    pub fn columnness(&self) -> f64 {
        let patches = self.patches();
        let mut means = vec![0.0; patches];
        for row in self.values.chunks_exact(patches) {
            means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / patches as f64);
        }
        let middle = means.iter().sum::<f64>() / patches as f64;
        let variance = means.iter().map(|mean| (mean - middle).powi(2)).sum::<f64>() / patches as f64;
        variance.sqrt() * patches as f64
    }

    /// The share of the map's variance between offsets of query and key, `1 - within / total`; none of a uniform map.
    pub fn translation(&self) -> Option<f64> {
        let [rows, columns] = self.window;
        let span = 2 * columns - 1;
        let offset =
            |from: [usize; 2], to: [usize; 2]| (from[0] + rows - 1 - to[0]) * span + from[1] + columns - 1 - to[1];
        let mut sums = vec![(0.0, 0_usize); (2 * rows - 1) * span];
        for (from, to, value) in self.pairs() {
            let (sum, count) = &mut sums[offset(from, to)];
            *sum += value;
            *count += 1;
        }
        let middle = self.values.iter().sum::<f64>() / self.values.len().max(1) as f64;
        let (mut within, mut total, mut squares) = (0.0, 0.0, 0.0);
        for (from, to, value) in self.pairs() {
            let (sum, count) = sums[offset(from, to)];
            within += (value - sum / count as f64).powi(2);
            total += (value - middle).powi(2);
            squares += value * value;
        }
        (total > ROUNDING * squares).then(|| 1.0 - within / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(window: [usize; 2], weight: impl Fn([usize; 2], [usize; 2]) -> f64) -> Map {
        let patches = window[0] * window[1];
        let place = |patch: usize| [patch / window[1], patch % window[1]];
        let values = (0..patches * patches).map(|at| weight(place(at / patches), place(at % patches))).collect();
        Map { window, values }
    }

    #[test]
    fn patterns_have_the_scores_of_their_definitions() {
        // Everybody looks at himself: all weight is on the diagonal, every key gets as much, and the offset says all.
        let identity = map([3, 4], |from, to| f64::from(u8::from(from == to)));
        assert_eq!((identity.diagonality(), identity.columnness(), identity.translation()), (1.0, 0.0, Some(1.0)));

        // Nobody prefers anything. Of four patches in a square each has two neighbours, so three of four weights are near.
        let uniform = map([2, 2], |_, _| 0.25);
        assert_eq!((uniform.diagonality(), uniform.columnness(), uniform.translation()), (0.75, 0.0, None));

        // All look at the first patch: the means of the keys are 1, 0, 0, 0, whose deviation is sqrt(3) / 4 in units of 1/4.
        let column = map([2, 2], |_, to| f64::from(u8::from(to == [0, 0])));
        assert!((column.columnness() - 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(column.diagonality(), 0.75);
        // Four of the sixteen weights are one, so the total is 3; each of the four has an offset of its own. What shares an offset:
        // the diagonal (1, 0, 0, 0: 3/4 within) and pairs that differ by a row or a column (1, 0: 1/2 within, for two offsets).
        let within = 0.75 + 0.5 + 0.5;
        assert!((column.translation().unwrap() - (1.0 - within / 3.0)).abs() < 1e-12, "{:?}", column.translation());
    }
}
