//! Operations on the weights of one convolution.
//!
//! Source: the authors' code of Hendrycks et al. 2021, arXiv:2006.16241: eight operations on their compressive autoencoder
//! ("CAE", one more is there but never drawn) and seventeen on EDSR. Those that do the same have one name here; what makes
//! up a draw (which layers, how many) is a network's list, see [`crate::Recipe`].

use std::fmt;
use std::str::FromStr;

use robustify_rng::Stream;

use crate::DeepAugmentError;
use crate::state::Entry;

/// An operation on the weight `[filters, inputs, k, k]` of a convolution, and on its bias where it says so. "Filters" run
/// along the first dimension, which are a transposed convolution's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WeightOp {
    /// `flip-filters`: the filters and their biases in reverse order.
    FlipFilters,
    /// `negate-filters`: 3/32 as many draws as there are filters, each drawn filter and bias negated once a draw.
    NegateFilters,
    /// `negate-fifth`: draws as many filters as a fifth, those drawn at least once are negated, biases stay.
    NegateFifth,
    /// `negate-half`: draws as many filters as a half, those drawn at least once are negated, biases stay.
    NegateHalf,
    /// `zero-filters`: 25/128 as many draws as there are filters; those filters and biases become zero.
    ZeroFilters,
    /// `gelu-filters`: 25/128 as many draws; those filters and biases become `-gelu(w)`, once a draw.
    GeluFilters,
    /// `negate`: weight and bias negated.
    Negate,
    /// `negate-kernel`: the weight alone negated.
    NegateKernel,
    /// `zero`: weight and bias become zero.
    Zero,
    /// `gelu`: the weight becomes `-gelu(w)`.
    Gelu,
    /// `gain`: every element times `1 + 8 u r`, `u` uniform in `[0, 1)` for the layer, `r` for the element.
    Gain,
    /// `gain-low`: every element times `1 + 4 u r`.
    GainLow,
    /// `zero-mask`: every element times 0 or 1, evenly.
    ZeroMask,
    /// `sign-mask`: every element times -1 or 1, evenly.
    SignMask,
    /// `laplacian-4`: every 3x3 kernel times `0 1 0 / 1 -4 1 / 0 1 0`, element by element.
    Laplacian4,
    /// `laplacian-8`: every 3x3 kernel times 8 in the centre and -1 around it.
    Laplacian8,
    /// `rotate`: all kernels turned by 90, 180 or 270 degrees.
    Rotate,
    /// `rotate-channels`: the square of filters and inputs turned by 90, 180 or 270 degrees; by 180 if it is no square.
    RotateChannels,
    /// `mirror`: all kernels with left and right exchanged.
    Mirror,
    /// `keep-max`: of every kernel, only its largest element is kept.
    KeepMax,
    /// `add-noise`: uniform noise in `[-0.5, 0.5)` added to every element.
    AddNoise,
    /// `shift-kernel`: every kernel moved by up to one position and given a random sign, the same for all filters; then every
    /// input of a filter gets the sum over its inputs.
    ShiftKernel,
    /// `noise-kernel`: the kernels of a filter mixed and convolved with random 3x3 kernels of elements `(2 u r - 1) / 6`.
    NoiseKernel,
    /// `dirichlet-kernel`: the kernels of a filter mixed and convolved with 3x3 kernels drawn from Dirichlet(0.1).
    DirichletKernel,
}

impl WeightOp {
    /// Every operation with its name.
    #[rustfmt::skip]
    pub const ALL: [(Self, &str); 24] = [
        (Self::FlipFilters, "flip-filters"), (Self::NegateFilters, "negate-filters"), (Self::NegateFifth, "negate-fifth"),
        (Self::NegateHalf, "negate-half"), (Self::ZeroFilters, "zero-filters"), (Self::GeluFilters, "gelu-filters"),
        (Self::Negate, "negate"), (Self::NegateKernel, "negate-kernel"), (Self::Zero, "zero"), (Self::Gelu, "gelu"),
        (Self::Gain, "gain"), (Self::GainLow, "gain-low"), (Self::ZeroMask, "zero-mask"), (Self::SignMask, "sign-mask"),
        (Self::Laplacian4, "laplacian-4"), (Self::Laplacian8, "laplacian-8"), (Self::Rotate, "rotate"),
        (Self::RotateChannels, "rotate-channels"), (Self::Mirror, "mirror"), (Self::KeepMax, "keep-max"),
        (Self::AddNoise, "add-noise"), (Self::ShiftKernel, "shift-kernel"), (Self::NoiseKernel, "noise-kernel"),
        (Self::DirichletKernel, "dirichlet-kernel"),
    ];

    /// Changes a weight and its bias in place. A weight that is not `[filters, inputs, k, k]`, or not 3x3 where that is
    /// needed, stays as it is.
    pub fn apply(self, weight: &mut Entry, bias: Option<&mut Entry>, stream: &mut Stream) {
        let Ok(shape @ [filters, inputs, kernel, across]) = <[usize; 4]>::try_from(weight.shape.as_slice()) else {
            return;
        };
        if kernel != across || weight.values.is_empty() {
            return;
        }
        let bias = bias.map_or(&mut [][..], |bias| &mut bias.values);
        let mut conv = Conv { weight: &mut weight.values, bias, filters, inputs, kernel };
        match self {
            Self::FlipFilters | Self::Mirror | Self::Rotate | Self::RotateChannels => conv.turn(self, shape, stream),
            Self::NegateFilters => conv.each_drawn(filters * 3 / 32, stream, |x| -x),
            Self::ZeroFilters => conv.each_drawn(filters * 25 / 128, stream, |_| 0.0),
            Self::GeluFilters => conv.each_drawn(filters * 25 / 128, stream, minus_gelu),
            Self::NegateFifth => conv.negate_set(filters / 5, stream),
            Self::NegateHalf => conv.negate_set(filters / 2, stream),
            Self::Negate | Self::Zero => {
                let factor = if self == Self::Zero { 0.0 } else { -1.0 };
                conv.weight.iter_mut().chain(conv.bias).for_each(|x| *x *= factor);
            }
            Self::NegateKernel => conv.weight.iter_mut().for_each(|x| *x = -*x),
            Self::Gelu => conv.weight.iter_mut().for_each(|x| *x = minus_gelu(*x)),
            Self::Gain | Self::GainLow => {
                let gain = if self == Self::Gain { 8.0 } else { 4.0 } * stream.unit();
                conv.weight.iter_mut().for_each(|x| *x *= (1.0 + gain * stream.unit()) as f32);
            }
            Self::ZeroMask | Self::SignMask => {
                let other = if self == Self::ZeroMask { 0.0 } else { -1.0 };
                conv.weight.iter_mut().for_each(|x| *x *= if stream.chance(0.5) { 1.0 } else { other });
            }
            Self::Laplacian4 => conv.times_mask([0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0]),
            Self::Laplacian8 => conv.times_mask([-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0]),
            Self::KeepMax => conv.keep_max(),
            Self::AddNoise => conv.weight.iter_mut().for_each(|x| *x += (stream.unit() - 0.5) as f32),
            Self::ShiftKernel => conv.shift(stream),
            Self::NoiseKernel => {
                let scale = 2.0 * stream.unit();
                conv.mix(|| [(); 9].map(|()| ((scale * stream.unit() - 1.0) / 6.0) as f32));
            }
            Self::DirichletKernel => conv.mix(|| stream.dirichlet::<9>(0.1).map(|x| x as f32)),
        }
    }
}

impl fmt::Display for WeightOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.iter().find(|(op, _)| op == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for WeightOp {
    type Err = DeepAugmentError;

    fn from_str(name: &str) -> Result<Self, DeepAugmentError> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(op, _)| *op).ok_or_else(|| {
            let known = Self::ALL.map(|(_, name)| name).join(", ");
            DeepAugmentError::UnknownOp { kind: "weight", name: name.to_owned(), known }
        })
    }
}

/// `-x * P(normal < x)`.
fn minus_gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (-0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
}

struct Conv<'a> {
    weight: &'a mut [f32],
    bias: &'a mut [f32],
    filters: usize,
    inputs: usize,
    kernel: usize,
}

impl Conv<'_> {
    fn filter(&mut self, index: usize) -> &mut [f32] {
        let len = self.inputs * self.kernel * self.kernel;
        &mut self.weight[index * len..(index + 1) * len]
    }

    /// `draws` filters with replacement, at least one; a transposed convolution may lack the bias of a filter's number.
    fn each_drawn(&mut self, draws: usize, stream: &mut Stream, change: impl Fn(f32) -> f32) {
        for _ in 0..draws.max(1) {
            let index = stream.below(self.filters as u32) as usize;
            self.filter(index).iter_mut().for_each(|x| *x = change(*x));
            if let Some(bias) = self.bias.get_mut(index) {
                *bias = change(*bias);
            }
        }
    }

    fn negate_set(&mut self, draws: usize, stream: &mut Stream) {
        let mut drawn = vec![false; self.filters];
        for _ in 0..draws.max(1) {
            drawn[stream.below(self.filters as u32) as usize] = true;
        }
        for index in (0..self.filters).filter(|&index| drawn[index]) {
            self.filter(index).iter_mut().for_each(|x| *x = -*x);
        }
    }

    /// Operations that only move elements.
    fn turn(&mut self, op: WeightOp, [filters, inputs, kernel, _]: [usize; 4], stream: &mut Stream) {
        let quarters = match op {
            WeightOp::Rotate => 1 + stream.below(3),
            WeightOp::RotateChannels if filters == inputs => 1 + stream.below(3),
            _ => 2,
        };
        let old = self.weight.to_vec();
        let mut next = self.weight.iter_mut();
        for f in 0..filters {
            for i in 0..inputs {
                for y in 0..kernel {
                    for x in 0..kernel {
                        let [f, i, y, x] = match op {
                            WeightOp::FlipFilters => [filters - 1 - f, i, y, x],
                            WeightOp::Mirror => [f, i, y, kernel - 1 - x],
                            WeightOp::Rotate => {
                                let [y, x] = rotated([y, x], [kernel; 2], quarters);
                                [f, i, y, x]
                            }
                            _ => {
                                let [f, i] = rotated([f, i], [filters, inputs], quarters);
                                [f, i, y, x]
                            }
                        };
                        let Some(target) = next.next() else { return };
                        *target = old[((f * inputs + i) * kernel + y) * kernel + x];
                    }
                }
            }
        }
        if op == WeightOp::FlipFilters {
            self.bias.reverse();
        }
    }

    fn times_mask(&mut self, mask: [f32; 9]) {
        if self.kernel == 3 {
            for kernel in self.weight.chunks_exact_mut(9) {
                kernel.iter_mut().zip(mask).for_each(|(x, factor)| *x *= factor);
            }
        }
    }

    fn keep_max(&mut self) {
        for kernel in self.weight.chunks_exact_mut(self.kernel * self.kernel) {
            let largest = (0..kernel.len()).fold(0, |best, at| if kernel[at] > kernel[best] { at } else { best });
            let kept = kernel[largest];
            kernel.fill(0.0);
            kernel[largest] = kept;
        }
    }

    fn shift(&mut self, stream: &mut Stream) {
        let draws = (0..self.inputs).map(|_| {
            let position = stream.below(9) as usize;
            (position, if stream.chance(0.5) { 1.0 } else { -1.0 })
        });
        let draws: Vec<_> = draws.collect();
        let (kernel, area) = (self.kernel, self.kernel * self.kernel);
        let mut sum = vec![0.0; area];
        for filter in 0..self.filters {
            sum.fill(0.0);
            for (source, &(position, sign)) in self.filter(filter).chunks_exact(area).zip(&draws) {
                let mut taps = [0.0; 9];
                taps[position] = sign;
                correlate(source, &taps, kernel, &mut sum);
            }
            self.filter(filter).chunks_exact_mut(area).for_each(|target| target.copy_from_slice(&sum));
        }
    }

    /// Replaces a filter's input `t` by the sum over its inputs `s`, each correlated with the 3x3 kernel drawn for `(t, s)`.
    fn mix(&mut self, mut draw: impl FnMut() -> [f32; 9]) {
        let (kernel, area) = (self.kernel, self.kernel * self.kernel);
        let taps: Vec<[f32; 9]> = (0..self.inputs * self.inputs).map(|_| draw()).collect();
        let inputs = self.inputs;
        for filter in 0..self.filters {
            let old = self.filter(filter).to_vec();
            for (target, taps) in self.filter(filter).chunks_exact_mut(area).zip(taps.chunks_exact(inputs)) {
                target.fill(0.0);
                for (source, taps) in old.chunks_exact(area).zip(taps) {
                    correlate(source, taps, kernel, target);
                }
            }
        }
    }
}

/// The source of the element at `[y, x]` after counter-clockwise quarter turns of a `size[0]` by `size[1]` matrix.
fn rotated([y, x]: [usize; 2], [height, width]: [usize; 2], quarters: u32) -> [usize; 2] {
    match quarters {
        1 => [x, width - 1 - y],
        2 => [height - 1 - y, width - 1 - x],
        _ => [height - 1 - x, y],
    }
}

/// Adds the cross-correlation of a square kernel with 3x3 taps, zeros around it, to `sum`.
fn correlate(source: &[f32], taps: &[f32; 9], kernel: usize, sum: &mut [f32]) {
    for y in 0..kernel {
        for x in 0..kernel {
            for (at, tap) in taps.iter().enumerate() {
                let (row, column) = (y + at / 3, x + at % 3);
                if (1..=kernel).contains(&row) && (1..=kernel).contains(&column) {
                    sum[y * kernel + x] += source[(row - 1) * kernel + column - 1] * tap;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;
    use crate::testing::filled;

    /// Filters, inputs, kernel of the tests.
    const SHAPE: [usize; 3] = [32, 32, 3];

    fn index([f, i, y, x]: [usize; 4]) -> usize {
        ((f * SHAPE[1] + i) * SHAPE[2] + y) * SHAPE[2] + x
    }

    fn positions() -> impl Iterator<Item = [usize; 4]> {
        let [filters, inputs, kernel] = SHAPE;
        (0..filters * inputs * kernel * kernel)
            .map(move |n| [n / 9 / inputs, n / 9 % inputs, n % 9 / kernel, n % kernel])
    }

    /// Weight and bias before and after.
    struct Case {
        op: WeightOp,
        old: [Entry; 2],
        new: [Entry; 2],
    }

    impl Case {
        fn new(op: WeightOp) -> Self {
            let old = [filled(&[SHAPE[0], SHAPE[1], 3, 3], 1), filled(&[SHAPE[0]], 2)];
            let [mut weight, mut bias] = old.clone();
            op.apply(&mut weight, Some(&mut bias), &mut Key::new(3, "weight op").stream());
            Self { op, old, new: [weight, bias] }
        }

        /// Every element of the weight follows from a position and the old weight by `formula`; the bias stays.
        fn is(&self, formula: impl Fn([usize; 4], &dyn Fn([usize; 4]) -> f32) -> f32) -> bool {
            let old = |at| self.old[0].values[index(at)];
            positions().all(|at| (self.new[0].values[index(at)] - formula(at, &old)).abs() < 1e-6)
        }

        fn bias_stays(&self) -> bool {
            self.old[1] == self.new[1]
        }

        /// How many filters `change` turned from old into new while all others stayed; with their biases if `biases`.
        fn changed_filters(&self, change: impl Fn(f32) -> f32, biases: bool) -> usize {
            let len = 9 * SHAPE[1];
            let mut count = 0;
            for filter in 0..SHAPE[0] {
                let [old, new] = [&self.old, &self.new]
                    .map(|[weight, bias]| (&weight.values[filter * len..(filter + 1) * len], bias.values[filter]));
                let changed: Vec<f32> = old.0.iter().map(|x| change(*x)).collect();
                if new.0 == changed {
                    assert_eq!(new.1, if biases { change(old.1) } else { old.1 }, "{}", self.op);
                    count += 1;
                } else {
                    assert!(new == old, "{}: filter {filter} is neither old nor changed", self.op);
                }
            }
            count
        }
    }

    #[test]
    fn operations_on_whole_layers_follow_their_formulas() {
        let gelu = |x: f32| 0.5 * x * (1.0 + libm::erff(x / 2.0_f32.sqrt()));
        for (op, factor) in [(WeightOp::Negate, -1.0), (WeightOp::Zero, 0.0)] {
            let case = Case::new(op);
            assert!(case.is(|at, old| old(at) * factor), "{op}");
            assert!(case.old[1].values.iter().zip(&case.new[1].values).all(|(old, new)| old * factor == *new), "{op}");
        }
        let case = Case::new(WeightOp::NegateKernel);
        assert!(case.is(|at, old| -old(at)) && case.bias_stays());
        let case = Case::new(WeightOp::Gelu);
        assert!(case.is(|at, old| -gelu(old(at))) && case.bias_stays());
        let four = |[_, _, y, x]: [usize; 4]| [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]][y][x];
        assert!(Case::new(WeightOp::Laplacian4).is(|at, old| old(at) * four(at)));
        let eight = |[_, _, y, x]: [usize; 4]| if (y, x) == (1, 1) { 8.0 } else { -1.0 };
        assert!(Case::new(WeightOp::Laplacian8).is(|at, old| old(at) * eight(at)));
        assert!(Case::new(WeightOp::KeepMax).is(|[f, i, y, x], old| {
            let largest = (0..9).map(|n| old([f, i, n / 3, n % 3])).fold(f32::MIN, f32::max);
            if old([f, i, y, x]) == largest { largest } else { 0.0 }
        }));
    }

    #[test]
    fn operations_that_move_elements_follow_their_formulas() {
        let case = Case::new(WeightOp::FlipFilters);
        assert!(case.is(|[f, i, y, x], old| old([31 - f, i, y, x])));
        assert!(case.old[1].values.iter().eq(case.new[1].values.iter().rev()));
        assert!(Case::new(WeightOp::Mirror).is(|[f, i, y, x], old| old([f, i, y, 2 - x])));
        type Turn = fn(usize, usize, usize) -> (usize, usize);
        // numpy.rot90 by one, two and three quarters.
        let turns: [Turn; 3] = [|y, x, n| (x, n - y), |y, x, n| (n - y, n - x), |y, x, n| (n - x, y)];
        let spatial = Case::new(WeightOp::Rotate);
        let matching = turns.map(|turn| {
            spatial.is(|[f, i, y, x], old| {
                let (y, x) = turn(y, x, 2);
                old([f, i, y, x])
            })
        });
        assert_eq!(matching.iter().filter(|matches| **matches).count(), 1);
        let channels = Case::new(WeightOp::RotateChannels);
        let matching = turns.map(|turn| {
            channels.is(|[f, i, y, x], old| {
                let (f, i) = turn(f, i, 31);
                old([f, i, y, x])
            })
        });
        assert_eq!(matching.iter().filter(|matches| **matches).count(), 1);
    }

    #[test]
    fn operations_on_some_filters_leave_the_others() {
        let zeroed = Case::new(WeightOp::ZeroFilters).changed_filters(|x| x * 0.0, true);
        assert!((1..=6).contains(&zeroed), "{zeroed}");
        let negated = Case::new(WeightOp::NegateFilters).changed_filters(|x| -x, true);
        assert!((1..=3).contains(&negated), "{negated}");
        let fifth = Case::new(WeightOp::NegateFifth).changed_filters(|x| -x, false);
        assert!((3..=6).contains(&fifth), "{fifth}");
        let half = Case::new(WeightOp::NegateHalf).changed_filters(|x| -x, false);
        assert!((9..=16).contains(&half), "{half}");
        // A filter may be drawn twice, so only the untouched ones have a formula.
        let case = Case::new(WeightOp::GeluFilters);
        let touched = case.old[1].values.iter().zip(&case.new[1].values).filter(|(old, new)| old != new).count();
        assert!((1..=6).contains(&touched), "{touched}");
    }

    #[test]
    fn random_factors_and_terms_are_within_their_ranges() {
        let ratios = |op| -> Vec<f32> {
            let case = Case::new(op);
            assert!(case.bias_stays(), "{op}");
            case.old[0].values.iter().zip(&case.new[0].values).map(|(old, new)| new / old).collect()
        };
        let share =
            |ratios: &[f32], value: f32| ratios.iter().filter(|x| **x == value).count() as f32 / ratios.len() as f32;
        for (op, other) in [(WeightOp::ZeroMask, 0.0), (WeightOp::SignMask, -1.0)] {
            let ratios = ratios(op);
            assert!(
                (share(&ratios, 1.0) - 0.5).abs() < 0.03 && share(&ratios, 1.0) + share(&ratios, other) > 0.9999,
                "{op}"
            );
        }
        for (op, most) in [(WeightOp::Gain, 9.0), (WeightOp::GainLow, 5.0)] {
            let ratios = ratios(op);
            let [least, largest] =
                [ratios.iter().copied().fold(9.0, f32::min), ratios.iter().copied().fold(0.0, f32::max)];
            assert!(least > 0.999 && least < 1.01 && largest > 1.2 && largest < most, "{op}: {least} to {largest}");
        }
        let case = Case::new(WeightOp::AddNoise);
        let noise: Vec<f32> = case.old[0].values.iter().zip(&case.new[0].values).map(|(old, new)| new - old).collect();
        let spread = (noise.iter().map(|x| x * x).sum::<f32>() / noise.len() as f32).sqrt();
        assert!(noise.iter().all(|x| x.abs() <= 0.5001) && (spread - 12.0_f32.sqrt().recip()).abs() < 0.01, "{spread}");
    }

    #[test]
    fn mixtures_of_kernels_are_correlations() {
        // On kernels that are one in the centre, the correlation shows the drawn taps, turned by half.
        let mut weight = Entry { shape: vec![1, 2, 3, 3], values: vec![0.0; 18] };
        weight.values[4] = 1.0;
        let taps = |op: WeightOp| {
            let mut weight = weight.clone();
            op.apply(&mut weight, None, &mut Key::new(5, "taps").stream());
            weight.values
        };
        for input in taps(WeightOp::DirichletKernel).chunks(9) {
            assert!((input.iter().sum::<f32>() - 1.0).abs() < 1e-5 && input.iter().all(|tap| *tap >= 0.0), "{input:?}");
        }
        assert!(taps(WeightOp::NoiseKernel).iter().all(|tap| (-1.0 / 6.0..1.0 / 6.0).contains(tap)));
        let shifted = taps(WeightOp::ShiftKernel);
        assert_eq!(shifted[..9], shifted[9..]);
        assert_eq!(shifted[..9].iter().map(|tap| tap.abs()).sum::<f32>(), 1.0);
        // The whole sum, of a 2x2 kernel with zeros around it.
        let mut sum = vec![0.0; 4];
        correlate(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 100.0], 2, &mut sum);
        assert_eq!(sum, [410.0, 20.0, 30.0, 41.0]);
    }

    #[test]
    fn every_operation_has_a_name_and_keeps_any_shape() {
        for (op, name) in WeightOp::ALL {
            assert_eq!((op.to_string().as_str(), name.parse::<WeightOp>().unwrap()), (name, op));
            for shape in [[1, 1, 1, 1], [3, 2, 5, 5], [2, 5, 2, 2]] {
                let mut weight = filled(&shape, 4);
                op.apply(&mut weight, Some(&mut filled(&[5], 5)), &mut Key::new(1, name).stream());
                assert_eq!(weight.values.len(), shape.iter().product::<usize>());
                assert!(weight.values.iter().all(|x| x.is_finite()), "{op} {shape:?}");
            }
        }
        let error = "gian".parse::<WeightOp>().unwrap_err().to_string();
        assert!(error.starts_with("unknown weight operation `gian`; known are flip-filters, "), "{error}");
    }
}
