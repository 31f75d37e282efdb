//! Keyed random streams: the same key gives the same numbers on any thread, in any order, on any machine.
//!
//! Everything random in Robustify is drawn from a [`Stream`], and a stream is made from a [`Key`]: a seed, a purpose, and
//! whatever identifies the thing being drawn for (a sample, an epoch, a corruption and its severity, a dropout layer).
//! There is no shared generator to advance, so neither the number of threads nor the batch size can change a result.
//!
//! The generator is ChaCha8. The distributions are written out here, on fixed-width integers and on `libm`'s portable
//! functions, so that an upgrade of another crate cannot move a published number.
//!
//! ```
//! use robustify_rng::Key;
//!
//! let key = Key::new(7, "augmix").with(41).with_str("epoch 3");
//! let mut first = key.stream();
//! let mut again = key.stream();
//! assert_eq!(first.unit(), again.unit());
//! assert_ne!(key.with(0).stream().unit(), key.with(1).stream().unit());
//! ```
#![deny(missing_docs)]

mod bulk;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream is drawn for. Cheap to copy; every `with` gives a new, independent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u64; 4]);

impl Key {
    /// A key for `purpose` under the user's `seed`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let start = Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
        start.with(seed).with_str(purpose)
    }

    /// The key extended by a number.
    #[must_use]
    pub fn with(self, value: u64) -> Self {
        let Self([a, b, c, d]) = self;
        let mixed = finalise(a ^ value);
        Self([
            finalise(mixed.wrapping_add(b)),
            finalise(b ^ mixed.rotate_left(17)),
            finalise(c ^ mixed.rotate_left(31)),
            { finalise(d.wrapping_add(mixed)) },
        ])
    }

    /// The key extended by a text (a path, a name).
    #[must_use]
    pub fn with_str(self, text: &str) -> Self {
        let head = self.with(text.len() as u64);
        text.as_bytes().chunks(8).fold(head, |key, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            key.with(u64::from_le_bytes(word))
        })
    }

    /// A 64-bit digest of the key, for use as an identity.
    pub fn digest(self) -> u64 {
        finalise(self.0[0] ^ self.0[1].rotate_left(13) ^ self.0[2].rotate_left(29) ^ self.0[3].rotate_left(47))
    }

    /// The stream of this key, from its beginning.
    pub fn stream(self) -> Stream {
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Stream(ChaCha8Rng::from_seed(seed))
    }
}

/// The finaliser of SplitMix64. Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
fn finalise(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers with the distributions that the methods need.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// 32 random bits.
    pub fn bits32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn bits64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..count`, without bias. Zero for a `count` of zero.
    ///
    /// Source: Lemire 2019, "Fast random integer generation in an interval", ACM TOMACS 29(1).
    pub fn below(&mut self, count: u32) -> u32 {
        let mut product = u64::from(self.bits32()) * u64::from(count);
        if (product as u32) < count {
            let threshold = count.wrapping_neg() % count;
            while (product as u32) < threshold {
                product = u64::from(self.bits32()) * u64::from(count);
            }
        }
        (product >> 32) as u32
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal, one draw of 53 bits a number.
    ///
    /// Source: Wichura 1988, algorithm AS 241 (PPND16), relative accuracy about 1e-16.
    pub fn normal(&mut self) -> f64 {
        normal_quantile(((self.bits64() >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64))
    }

    /// Gamma with the given shape and scale one.
    ///
    /// Source: Marsaglia & Tsang 2000, "A simple method for generating gamma variables", with their boost for a shape below one.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        let (draw, base) = self.boosted_gamma(shape);
        if shape < 1.0 { draw * libm::pow(base, 1.0 / shape) } else { draw }
    }

    /// A gamma as a draw of a shape of at least one, and what it is to be multiplied with to the power `1 / shape`.
    fn boosted_gamma(&mut self, shape: f64) -> (f64, f64) {
        if shape < 1.0 {
            let base = 1.0 - self.unit();
            return (self.boosted_gamma(shape + 1.0).0, base);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let u = 1.0 - self.unit();
            if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return (d * v, 1.0);
            }
        }
    }

    /// Fills `draws` with gammas of one shape, above 0: their shares of their sum are symmetric Dirichlet weights.
    ///
    /// Gammas of a tiny shape may all be too small for a number. They come multiplied by one factor then, which leaves the
    /// shares as they are: all but one are nearly nothing, and each is as likely to be that one.
    pub fn gammas(&mut self, shape: f64, draws: &mut [f64]) {
        self.gammas_of(|_| shape, draws);
    }

    /// [`Stream::gammas`] of a shape for every draw.
    fn gammas_of(&mut self, shape: impl Fn(usize) -> f64, draws: &mut [f64]) {
        let before = self.clone();
        draws.iter_mut().enumerate().for_each(|(index, draw)| *draw = self.gamma(shape(index)));
        // Below this, numbers lose their digits before they become 0.
        if draws.iter().sum::<f64>() >= f64::MIN_POSITIVE {
            return;
        }
        // The same draws once more, relative to the largest power. Exponents are kept times the smallest shape, for else they
        // could all be infinite.
        let smallest = f64::from_bits(1);
        let shape = |index| shape(index).max(smallest);
        let least = (0..draws.len()).map(shape).fold(f64::INFINITY, f64::min);
        let scaled = |stream: &mut Self, index| {
            let (draw, base) = stream.boosted_gamma(shape(index));
            (draw, libm::log(base) * (least / shape(index)))
        };
        let mut again = before.clone();
        let largest = (0..draws.len()).map(|index| scaled(&mut again, index).1).fold(f64::NEG_INFINITY, f64::max);
        again = before;
        for (index, target) in draws.iter_mut().enumerate() {
            let (draw, exponent) = scaled(&mut again, index);
            *target = draw * libm::exp((exponent - largest) / least);
        }
    }

    /// Beta with parameters `a` and `b`, above 0.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let mut draws = [0.0; 2];
        self.gammas_of(|index| [a, b][index], &mut draws);
        let [x, y] = draws;
        x / (x + y)
    }

    /// Symmetric Dirichlet with concentration `alpha`, above 0, as `N` weights that sum to one.
    pub fn dirichlet<const N: usize>(&mut self, alpha: f64) -> [f64; N] {
        let mut draws = [0.0; N];
        self.gammas(alpha, &mut draws);
        let sum: f64 = draws.iter().sum();
        draws.map(|draw| draw / sum)
    }

    /// Shuffles `items` in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// The quantile function of the standard normal at `p` in `(0, 1)`. Source: AS 241, PPND16.
fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&CENTRE_TOP, r) / polynomial(&CENTRE_BOTTOM, r);
    }
    let r = (-libm::log(if q < 0.0 { p } else { 1.0 - p })).sqrt();
    let tail = if r <= 5.0 {
        polynomial(&TAIL_TOP, r - 1.6) / polynomial(&TAIL_BOTTOM, r - 1.6)
    } else {
        polynomial(&FAR_TOP, r - 5.0) / polynomial(&FAR_BOTTOM, r - 5.0)
    };
    if q < 0.0 { -tail } else { tail }
}

fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

#[rustfmt::skip]
const CENTRE_TOP: [f64; 8] = [
    3.387_132_872_796_366_5, 1.331_416_678_917_843_8e2, 1.971_590_950_306_551_3e3, 1.373_169_376_550_946e4,
    4.592_195_393_154_987e4, 6.726_577_092_700_87e4, 3.343_057_558_358_813e4, 2.509_080_928_730_122_7e3,
];
#[rustfmt::skip]
const CENTRE_BOTTOM: [f64; 8] = [
    1.0, 4.231_333_070_160_091e1, 6.871_870_074_920_579e2, 5.394_196_021_424_751e3,
    2.121_379_430_158_659_7e4, 3.930_789_580_009_271e4, 2.872_908_573_572_194_3e4, 5.226_495_278_852_854e3,
];
#[rustfmt::skip]
const TAIL_TOP: [f64; 8] = [
    1.423_437_110_749_683_5, 4.630_337_846_156_546, 5.769_497_221_460_691, 3.647_848_324_763_204_5,
    1.270_458_252_452_368_4, 2.417_807_251_774_506e-1, 2.272_384_498_926_918_4e-2, 7.745_450_142_783_414e-4,
];
#[rustfmt::skip]
const TAIL_BOTTOM: [f64; 8] = [
    1.0, 2.053_191_626_637_759, 1.676_384_830_183_803_8, 6.897_673_349_851e-1,
    1.481_039_764_274_800_8e-1, 1.519_866_656_361_645_7e-2, 5.475_938_084_995_345e-4, 1.050_750_071_644_416_9e-9,
];
#[rustfmt::skip]
const FAR_TOP: [f64; 8] = [
    6.657_904_643_501_103, 5.463_784_911_164_114, 1.784_826_539_917_291_3, 2.965_605_718_285_048_7e-1,
    2.653_218_952_657_612_4e-2, 1.242_660_947_388_078_4e-3, 2.711_555_568_743_487_6e-5, 2.010_334_399_292_288_1e-7,
];
#[rustfmt::skip]
const FAR_BOTTOM: [f64; 8] = [
    1.0, 5.998_322_065_558_88e-1, 1.369_298_809_227_358e-1, 1.487_536_129_085_061_5e-2,
    7.868_691_311_456_133e-4, 1.846_318_317_510_054_8e-5, 1.421_511_758_316_446e-7, 2.044_263_103_389_939_8e-15,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_tables() {
        // R 4.3: qnorm(c(0.5, 0.975, 0.001, 1e-12, 1 - 1e-3))
        let cases = [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.001, -3.090_232_306_167_813_5),
            (1e-12, -7.034_483_825_301_131),
        ];
        for (p, expected) in cases {
            assert!((normal_quantile(p) - expected).abs() < 1e-12, "{p}: {}", normal_quantile(p));
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Key::new(1, "moments").stream();
        let n = 40_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..n).map(|_| draw()).sum::<f64>() / f64::from(n);
        let close = |got: f64, want: f64| assert!((got - want).abs() < 0.02, "{got} against {want}");
        close(mean(&mut || stream.unit()), 0.5);
        close(mean(&mut || stream.normal().powi(2)), 1.0);
        close(mean(&mut || stream.gamma(0.5)), 0.5);
        close(mean(&mut || stream.beta(1.0, 3.0)), 0.25);
        close(mean(&mut || f64::from(stream.below(3))), 1.0);
        close(mean(&mut || stream.dirichlet::<3>(1.0)[2]), 1.0 / 3.0);
    }

    #[test]
    fn tiny_shapes_draw_one_place_evenly() {
        for alpha in [1e-320, 1e-9, 1e-4, 3e-3] {
            let mut stream = Key::new(2, "tiny shapes").stream();
            let (mut places, mut ones, n) = ([0.0; 3], [0.0; 2], 6000);
            for _ in 0..n {
                let weights = stream.dirichlet::<3>(alpha);
                let sum: f64 = weights.iter().sum();
                assert!((sum - 1.0).abs() < 1e-12, "Dirichlet({alpha}): {weights:?}");
                places.iter_mut().zip(weights).for_each(|(place, weight)| *place += weight / f64::from(n));
                // The larger parameter wins in proportion.
                for (one, b) in ones.iter_mut().zip([alpha, 3.0 * alpha]) {
                    let draw = stream.beta(alpha, b);
                    assert!((0.0..=1.0).contains(&draw), "Beta({alpha}, {b}): {draw}");
                    *one += draw / f64::from(n);
                }
            }
            let close = |got: f64, want: f64| assert!((got - want).abs() < 0.03, "{alpha}: {got} against {want}");
            places.into_iter().for_each(|place| close(place, 1.0 / 3.0));
            close(ones[0], 0.5);
            close(ones[1], 0.25);
        }
    }

    #[test]
    fn draws_that_are_small_keep_their_shares() {
        // Where plain draws do not vanish, they and those relative to the largest have the same shares.
        let mut stream = Key::new(3, "shares").stream();
        let mut kept = 0;
        for _ in 0..2000 {
            let mut plain = stream.clone();
            let plain = [(); 3].map(|()| plain.gamma(2e-3));
            let sum: f64 = plain.iter().sum();
            let weights = stream.dirichlet::<3>(2e-3);
            if sum >= f64::MIN_POSITIVE {
                kept += 1;
                assert_eq!(weights, plain.map(|draw| draw / sum));
            }
        }
        assert!((500..1990).contains(&kept), "{kept} of 2000 draws are large enough for a number");
    }

    #[test]
    fn keys_differ_in_every_part() {
        let base = Key::new(1, "a").with(2);
        let others = [
            Key::new(2, "a").with(2),
            Key::new(1, "b").with(2),
            Key::new(1, "a").with(3),
            base.with(0),
            base.with_str(""),
        ];
        assert!(
            others
                .iter()
                .all(|other| other.digest() != base.digest() && other.stream().bits64() != base.stream().bits64())
        );
        assert_ne!(Key::new(0, "ab").with_str("c").digest(), Key::new(0, "a").with_str("bc").digest());
    }

    #[test]
    fn the_stream_is_frozen() {
        let mut stream = Key::new(0, "frozen").stream();
        let words: [u64; 3] = [(); 3].map(|()| stream.bits64());
        assert_eq!(words, FROZEN, "a change here moves every published number");
    }

    const FROZEN: [u64; 3] = [1_710_582_367_012_473_678, 14_201_140_392_022_937_660, 7_884_127_871_163_116_072];
}
