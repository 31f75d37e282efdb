//! Operations on feature maps, redrawn for every image.
//!
//! Source: the authors' code of Hendrycks et al. 2021, arXiv:2006.16241: nine operations on the code of their compressive
//! autoencoder, three behind the head of EDSR and three behind its fifth block. Where their code exchanges two channels
//! through views, it in fact copies one over the other; that is what `copy-channels` does.

use std::fmt;
use std::str::FromStr;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor, TensorData, activation};
use robustify_rng::Stream;

use crate::DeepAugmentError;

/// An operation on features `[1, channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LatentOp {
    /// `gain`: every element times `3 + 4 u r`, `u` uniform in `[0, 1)` for the image, `r` for the element.
    Gain,
    /// `zero-positions`: a fifth of the positions become zero in all channels.
    ZeroPositions,
    /// `negate-positions`: a tenth of the positions are negated in all channels.
    NegatePositions,
    /// `permute-channels`: the first ten channels in random order.
    PermuteChannels,
    /// `flip-channels`: five times a random channel upside down, left to right or both (one choice for all).
    FlipChannels,
    /// `flip-all`: all channels upside down, left to right or both.
    FlipAll,
    /// `noisy-identity`: a 3x3 convolution that is the identity plus uniform noise in `[-0.1, 0.1)`.
    NoisyIdentity,
    /// `random-taps`: half of the channels get another channel, moved by up to one position, added.
    RandomTaps,
    /// `shift-channels`: channels moved by up to one position; each next channel moves differently with probability 0.2.
    ShiftChannels,
    /// `copy-channels`: five times, a random channel becomes a copy of another one.
    CopyChannels,
    /// `zero-features`: one element in twenty becomes zero.
    ZeroFeatures,
    /// `negate-features`: one element in forty is negated.
    NegateFeatures,
    /// `negate`: everything negated.
    Negate,
    /// `rectify`: ReLU with probability 1/3, else GELU.
    Rectify,
    /// `flip-order`: the channels in reverse order, and each upside down (probability 1/3) or left to right.
    FlipOrder,
}

impl LatentOp {
    /// Every operation with its name.
    #[rustfmt::skip]
    pub const ALL: [(Self, &str); 15] = [
        (Self::Gain, "gain"), (Self::ZeroPositions, "zero-positions"), (Self::NegatePositions, "negate-positions"),
        (Self::PermuteChannels, "permute-channels"), (Self::FlipChannels, "flip-channels"), (Self::FlipAll, "flip-all"),
        (Self::NoisyIdentity, "noisy-identity"), (Self::RandomTaps, "random-taps"), (Self::ShiftChannels, "shift-channels"),
        (Self::CopyChannels, "copy-channels"), (Self::ZeroFeatures, "zero-features"),
        (Self::NegateFeatures, "negate-features"), (Self::Negate, "negate"), (Self::Rectify, "rectify"),
        (Self::FlipOrder, "flip-order"),
    ];

    /// # Shapes
    /// - features: `[1, channels, height, width]`, any range
    /// - output: that of `features`
    pub fn apply(self, features: Tensor<4>, stream: &mut Stream) -> Tensor<4> {
        let [_, channels, height, width] = features.dims();
        if channels * height * width == 0 {
            return features;
        }
        match self {
            Self::Gain => {
                let gain = 4.0 * stream.unit();
                factors(features, [channels, height, width], || (3.0 + gain * stream.unit()) as f32)
            }
            Self::ZeroPositions => factors(features, [1, height, width], || if stream.chance(0.2) { 0.0 } else { 1.0 }),
            Self::NegatePositions => {
                factors(features, [1, height, width], || if stream.chance(0.1) { -1.0 } else { 1.0 })
            }
            Self::ZeroFeatures => {
                factors(features, [channels, height, width], || if stream.chance(0.05) { 0.0 } else { 1.0 })
            }
            Self::NegateFeatures => {
                factors(features, [channels, height, width], || if stream.chance(0.025) { -1.0 } else { 1.0 })
            }
            Self::PermuteChannels => {
                let mut order: Vec<usize> = (0..channels).collect();
                stream.shuffle(&mut order[..channels.min(10)]);
                reordered(features, &order)
            }
            Self::CopyChannels => {
                let mut order: Vec<usize> = (0..channels).collect();
                for _ in 0..5 {
                    let [to, from] = [(); 2].map(|()| stream.below(channels as u32) as usize);
                    order[to] = order[from];
                }
                reordered(features, &order)
            }
            Self::FlipChannels => flip_some(features, stream),
            Self::FlipAll => flipped(features, stream.below(3)),
            Self::NoisyIdentity | Self::RandomTaps | Self::ShiftChannels => {
                let kernel = self.kernel(channels, stream);
                let kernel = Tensor::from_data(TensorData::new(kernel, [channels, channels, 3, 3]), &features.device());
                let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
                burn::tensor::module::conv2d(features, kernel, None, options)
            }
            Self::Negate => -features,
            Self::Rectify if stream.below(3) == 0 => activation::relu(features),
            Self::Rectify => activation::gelu(features),
            Self::FlipOrder => {
                let axis = if stream.below(3) == 0 { 2 } else { 3 };
                features.flip([1, axis])
            }
        }
    }

    /// The kernel `[channels, channels, 3, 3]` of the operations that are convolutions.
    fn kernel(self, channels: usize, stream: &mut Stream) -> Vec<f32> {
        const CENTRE: usize = 4;
        let mut kernel = vec![0.0; channels * channels * 9];
        let at = |to: usize, from: usize, tap: usize| (to * channels + from) * 9 + tap;
        let mut shift = stream.below(9) as usize;
        for channel in 0..channels {
            if self == Self::ShiftChannels {
                if stream.chance(0.2) {
                    shift = stream.below(9) as usize;
                }
                kernel[at(channel, channel, shift)] = 1.0;
                continue;
            }
            kernel[at(channel, channel, CENTRE)] = 1.0;
            if self == Self::RandomTaps && stream.chance(0.5) {
                kernel[at(channel, stream.below(channels as u32) as usize, stream.below(9) as usize)] = 1.0;
            }
        }
        if self == Self::NoisyIdentity {
            kernel.iter_mut().for_each(|tap| *tap += stream.uniform(-0.1, 0.1) as f32);
        }
        kernel
    }
}

impl fmt::Display for LatentOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.iter().find(|(op, _)| op == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for LatentOp {
    type Err = DeepAugmentError;

    fn from_str(name: &str) -> Result<Self, DeepAugmentError> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(op, _)| *op).ok_or_else(|| {
            let known = Self::ALL.map(|(_, name)| name).join(", ");
            DeepAugmentError::UnknownOp { kind: "latent", name: name.to_owned(), known }
        })
    }
}

/// Features times drawn factors; a first dimension of one stands for all channels.
fn factors(features: Tensor<4>, [channels, height, width]: [usize; 3], mut draw: impl FnMut() -> f32) -> Tensor<4> {
    let values: Vec<f32> = (0..channels * height * width).map(|_| draw()).collect();
    let factors = Tensor::from_data(TensorData::new(values, [1, channels, height, width]), &features.device());
    features * factors
}

fn reordered(features: Tensor<4>, order: &[usize]) -> Tensor<4> {
    let order: Vec<i64> = order.iter().map(|&channel| channel as i64).collect();
    let len = order.len();
    let order: Tensor<1, Int> = Tensor::from_data(TensorData::new(order, [len]), &features.device());
    features.select(1, order)
}

/// Upside down (0), left to right (1), or both (2).
fn flipped(features: Tensor<4>, way: u32) -> Tensor<4> {
    match way {
        0 => features.flip([2]),
        1 => features.flip([3]),
        _ => features.flip([2, 3]),
    }
}

fn flip_some(features: Tensor<4>, stream: &mut Stream) -> Tensor<4> {
    let channels = features.dims()[1];
    let way = stream.below(3);
    let mut turned = vec![false; channels];
    for _ in 0..5 {
        // A channel that is drawn again turns back.
        let channel = stream.below(channels as u32) as usize;
        turned[channel] = !turned[channel];
    }
    let both = Tensor::cat(vec![features.clone(), flipped(features, way)], 1);
    let order: Vec<usize> = (0..channels).map(|channel| channel + if turned[channel] { channels } else { 0 }).collect();
    reordered(both, &order)
}

#[cfg(test)]
mod tests {
    use robustify_rng::Key;

    use super::*;
    use crate::testing;

    const SHAPE: [usize; 4] = [1, 12, 5, 4];
    const AREA: usize = 20;

    /// Features before and after, channel by channel.
    fn channels(op: LatentOp, seed: u64) -> [Vec<Vec<f32>>; 2] {
        let x: Tensor<4> = testing::random(SHAPE, 1, &testing::device());
        let y = op.apply(x.clone(), &mut Key::new(seed, "latent").stream());
        assert_eq!(y.dims(), SHAPE, "{op}");
        [x, y].map(|tensor| testing::values(tensor).chunks(AREA).map(<[f32]>::to_vec).collect())
    }

    fn turned(channel: &[f32], rows: bool, columns: bool) -> Vec<f32> {
        let at = |y: usize, x: usize| channel[if rows { 4 - y } else { y } * 4 + if columns { 3 - x } else { x }];
        (0..AREA).map(|n| at(n / 4, n % 4)).collect()
    }

    #[test]
    fn channels_are_moved_whole() {
        let [old, new] = channels(LatentOp::PermuteChannels, 1);
        assert!(new != old && new[10..] == old[10..] && new.iter().all(|channel| old.contains(channel)));
        let [old, new] = channels(LatentOp::CopyChannels, 1);
        assert!((1..=5).contains(&(0..12).filter(|&n| old[n] != new[n]).count()));
        assert!(new.iter().all(|channel| old.contains(channel)));
        let ways = [(true, false), (false, true), (true, true)];
        let flips = |old: &[f32], new: &[f32]| ways.map(|(rows, columns)| turned(old, rows, columns) == new);
        let [old, new] = channels(LatentOp::FlipAll, 1);
        let first = flips(&old[0], &new[0]);
        assert!(first.contains(&true) && (0..12).all(|n| flips(&old[n], &new[n]) == first));
        let [old, new] = channels(LatentOp::FlipChannels, 1);
        let flipped: Vec<usize> = (0..12).filter(|&n| old[n] != new[n]).collect();
        assert!((1..=5).contains(&flipped.len()) && flipped.iter().all(|&n| flips(&old[n], &new[n]).contains(&true)));
        let [old, new] = channels(LatentOp::FlipOrder, 1);
        let way = flips(&old[11], &new[0]);
        assert!(way[..2].contains(&true) && (0..12).all(|n| flips(&old[11 - n], &new[n]) == way));
    }

    #[test]
    fn factors_are_those_of_the_table() {
        let ratios = |op| {
            let [old, new] = channels(op, 2);
            let pairs = old.concat().into_iter().zip(new.concat());
            pairs.map(|(old, new)| new / old).collect::<Vec<f32>>()
        };
        for (op, other, share) in [
            (LatentOp::ZeroPositions, 0.0, 0.2),
            (LatentOp::NegatePositions, -1.0, 0.1),
            (LatentOp::ZeroFeatures, 0.0, 0.05),
            (LatentOp::NegateFeatures, -1.0, 0.025),
        ] {
            let ratios = ratios(op);
            assert!(ratios.iter().all(|ratio| *ratio == 1.0 || *ratio == other), "{op}");
            let found = ratios.iter().filter(|ratio| **ratio == other).count() as f32 / ratios.len() as f32;
            assert!(found > 0.0 && found < share + 0.2, "{op}: {found}");
            if matches!(op, LatentOp::ZeroPositions | LatentOp::NegatePositions) {
                assert!(ratios.chunks(AREA).all(|channel| channel == &ratios[..AREA]), "{op}");
            }
        }
        assert!(ratios(LatentOp::Gain).iter().all(|ratio| (2.99..7.01).contains(ratio)));
        assert!(ratios(LatentOp::Negate).iter().all(|ratio| *ratio == -1.0));
        let [old, new] = channels(LatentOp::Rectify, 2);
        assert!(old.concat().iter().zip(new.concat()).all(|(old, new)| new >= -0.2 && (*old < 3.0 || *old == new)));
    }

    #[test]
    fn convolutions_are_near_the_identity() {
        let kernel = |op: LatentOp| op.kernel(40, &mut Key::new(3, "kernel").stream());
        let diagonal = |channel: usize| (channel * 40 + channel) * 9;
        let noisy = kernel(LatentOp::NoisyIdentity);
        let identity = |n: usize| if n % 9 == 4 && n / 9 / 40 == n / 9 % 40 { 1.0 } else { 0.0 };
        assert!(noisy.iter().enumerate().all(|(n, tap)| (tap - identity(n)).abs() <= 0.1001));
        let taps = kernel(LatentOp::RandomTaps);
        let extra = taps.iter().filter(|tap| **tap == 1.0).count() - 40;
        assert!((0..40).all(|channel| taps[diagonal(channel) + 4] == 1.0) && (10..=30).contains(&extra), "{extra}");
        let shifts = kernel(LatentOp::ShiftChannels);
        assert!((0..40).all(|channel| shifts[diagonal(channel)..][..9].iter().sum::<f32>() == 1.0));
        assert_eq!(shifts.iter().sum::<f32>(), 40.0);
    }

    #[test]
    fn every_operation_has_a_name_and_keeps_any_shape() {
        for (op, name) in LatentOp::ALL {
            assert_eq!((op.to_string().as_str(), name.parse::<LatentOp>().unwrap()), (name, op));
            let one = op.apply(testing::random([1, 1, 1, 1], 1, &testing::device()), &mut Key::new(1, name).stream());
            assert!(one.dims() == [1; 4] && testing::values(one)[0].is_finite(), "{op}");
        }
        assert!("blur".parse::<LatentOp>().unwrap_err().to_string().starts_with("unknown latent operation `blur`"));
    }
}
