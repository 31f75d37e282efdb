//! Random numbers by the ten thousand: several times as fast as one by one.
//!
//! Each call takes a key of 256 bits from the stream and runs ChaCha8 under it, eight blocks side by side, so that the
//! compiler can use wide vectors. The numbers depend on the stream alone, never on the machine.

use crate::Stream;

/// Blocks that are computed side by side.
const LANES: usize = 8;

/// Words that one step of the generator makes.
const STEP: usize = 16 * LANES;

impl Stream {
    /// Fills `out` with random words.
    pub fn words(&mut self, out: &mut [u32]) {
        self.bulk(out, |bits, out| out.copy_from_slice(&bits[..out.len()]));
    }

    /// Fills `out` with uniform numbers in `[low, high)`, of 32 random bits each.
    pub fn uniforms(&mut self, low: f64, high: f64, out: &mut [f64]) {
        let width = (high - low) * (1.0 / 4_294_967_296.0);
        self.bulk(out, |bits, out| {
            for (value, &bits) in out.iter_mut().zip(bits) {
                *value = low + width * f64::from(bits);
            }
        });
    }

    /// Fills `out` with uniform numbers in `[low, high)`, of 24 random bits each.
    pub fn uniforms_f32(&mut self, low: f32, high: f32, out: &mut [f32]) {
        let width = (high - low) * (1.0 / 16_777_216.0);
        // Rounding must not reach the open end.
        let last = high.next_down().max(low);
        self.bulk(out, |bits, out| {
            for (value, &bits) in out.iter_mut().zip(bits) {
                *value = (low + width * (bits >> 8) as i32 as f32).min(last);
            }
        });
    }

    /// Fills `out` with normal numbers, of 32 random bits each. Their distribution is exact to about 1e-7; none is
    /// further out than 6.7 deviations.
    ///
    /// Source: Box & Muller 1958, "A note on the generation of random normal deviates", in single precision.
    pub fn normals(&mut self, mean: f64, deviation: f64, out: &mut [f64]) {
        self.bulk(out, |bits, out| {
            let mut normal = [0.0; STEP];
            box_muller(bits, &mut normal);
            for (value, normal) in out.iter_mut().zip(normal) {
                *value = mean + deviation * f64::from(normal);
            }
        });
    }

    /// As [`Stream::normals`], in single precision.
    pub fn normals_f32(&mut self, mean: f32, deviation: f32, out: &mut [f32]) {
        self.bulk(out, |bits, out| {
            let mut normal = [0.0; STEP];
            box_muller(bits, &mut normal);
            for (value, normal) in out.iter_mut().zip(normal) {
                *value = mean + deviation * normal;
            }
        });
    }

    /// Makes `out` piece by piece: `make` is given the random words of a step and the piece of as many values that they
    /// are for, which is shorter at the end.
    #[inline(always)]
    fn bulk<T>(&mut self, out: &mut [T], make: impl Fn(&[u32; STEP], &mut [T])) {
        let key = [(); 8].map(|()| self.bits32());
        pulp::Arch::new().dispatch(Job { key, out, make });
    }
}

/// The arguments of [`Stream::bulk`]. A type of its own, because a closure would not be inlined into the function that
/// has wide vectors.
struct Job<'a, T, M> {
    key: [u32; 8],
    out: &'a mut [T],
    make: M,
}

impl<T, M: Fn(&[u32; STEP], &mut [T])> pulp::WithSimd for Job<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let mut bits = [0; STEP];
        for (step, piece) in self.out.chunks_mut(STEP).enumerate() {
            chacha8(&self.key, (step * LANES) as u32, &mut bits);
            (self.make)(&bits, piece);
        }
    }
}

/// Two normal numbers from each pair of words, one taken from either half.
#[inline(always)]
fn box_muller(bits: &[u32; STEP], out: &mut [f32; STEP]) {
    let (radii, angles) = bits.split_at(STEP / 2);
    let (cosines, sines) = out.split_at_mut(STEP / 2);
    for (((&radius, &angle), cosine), sine) in radii.iter().zip(angles).zip(cosines).zip(sines) {
        let length = radius_of(radius);
        let (c, s) = direction(angle);
        *cosine = length * c;
        *sine = length * s;
    }
}

/// The square root of minus twice the logarithm of `(bits + 1/2) / 2^32`.
#[inline(always)]
fn radius_of(bits: u32) -> f32 {
    // The top bit apart, so that the conversion is one of signed numbers, for which there is an instruction.
    let uniform = ((bits >> 1) as i32 as f32 + 0.25) * (1.0 / 2_147_483_648.0);
    (-2.0 * logarithm(uniform)).max(0.0).sqrt()
}

/// The natural logarithm of a positive normal number, to a relative error of about 1e-7.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    // x = mantissa * 2^exponent with a mantissa between the square roots of 1/2 and of 2.
    let shifted = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff) + 0x3f35_04f3);
    // log(m) = 2 artanh(s), s = (m - 1) / (m + 1), by its series: s is at most 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = 2.0 / 3.0 + square * (2.0 / 5.0 + square * (2.0 / 7.0 + square * (2.0 / 9.0)));
    exponent * std::f32::consts::LN_2 + (2.0 * s + s * square * series)
}

/// Cosine and sine of the angle `bits / 2^32` of a turn, by their series in an eighth of it.
#[inline(always)]
fn direction(bits: u32) -> (f32, f32) {
    // The nearest quarter turn, and the angle from there in (-1/8, 1/8] turns.
    let quarter = bits.wrapping_add(1 << 29) >> 30;
    let rest = bits.wrapping_sub(quarter << 30) as i32;
    let x = rest as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let square = x * x;
    let sine = x + x * square * (-1.0 / 6.0 + square * (1.0 / 120.0 + square * (-1.0 / 5040.0)));
    let cosine = 1.0 + square * (-0.5 + square * (1.0 / 24.0 + square * (-1.0 / 720.0 + square * (1.0 / 40320.0))));
    // Turn by the quarters: swap for odd ones, then set the signs.
    let odd = (quarter & 1).wrapping_neg();
    let (c, s) = (cosine.to_bits(), sine.to_bits());
    let swap = (c ^ s) & odd;
    let cosine_sign = (quarter.wrapping_add(1) & 2) << 30;
    let sine_sign = (quarter & 2) << 30;
    (f32::from_bits(c ^ swap ^ cosine_sign), f32::from_bits(s ^ swap ^ sine_sign))
}

type Row = [u32; LANES];

/// Eight blocks of ChaCha with eight rounds: word by word, and in each word block by block.
///
/// Source: Bernstein 2008, "ChaCha, a variant of Salsa20"; the blocks are numbered from `first`.
#[inline(always)]
fn chacha8(key: &[u32; 8], first: u32, out: &mut [u32; STEP]) {
    let mut start = [[0; LANES]; 16];
    for (row, word) in start.iter_mut().zip([0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]) {
        *row = [word; LANES];
    }
    for (row, &word) in start[4..].iter_mut().zip(key) {
        *row = [word; LANES];
    }
    start[12] = std::array::from_fn(|lane| first.wrapping_add(lane as u32));
    let mut state = start;
    for _ in 0..4 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter_round(&mut state, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    for ((target, row), start) in out.chunks_exact_mut(LANES).zip(&state).zip(&start) {
        target.copy_from_slice(&add(*row, *start));
    }
}

#[inline(always)]
fn quarter_round(state: &mut [Row; 16], a: usize, b: usize, c: usize, d: usize) {
    state[a] = add(state[a], state[b]);
    state[d] = turn::<16>(state[d], state[a]);
    state[c] = add(state[c], state[d]);
    state[b] = turn::<12>(state[b], state[c]);
    state[a] = add(state[a], state[b]);
    state[d] = turn::<8>(state[d], state[a]);
    state[c] = add(state[c], state[d]);
    state[b] = turn::<7>(state[b], state[c]);
}

#[inline(always)]
fn add(mut a: Row, b: Row) -> Row {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.wrapping_add(b);
    }
    a
}

#[inline(always)]
fn turn<const BITS: u32>(mut a: Row, b: Row) -> Row {
    for (a, b) in a.iter_mut().zip(b) {
        *a = (*a ^ b).rotate_left(BITS);
    }
    a
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::{Key, normal_quantile};

    #[test]
    fn blocks_are_those_of_chacha8() {
        let key: [u32; 8] = std::array::from_fn(|i| 0x9e37_79b9_u32.wrapping_mul(i as u32 + 1));
        let mut seed = [0; 32];
        seed.chunks_exact_mut(4).zip(key).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        let mut reference = ChaCha8Rng::from_seed(seed);
        let mut blocks = [0; STEP];
        for step in 0..2 {
            chacha8(&key, 8 * step, &mut blocks);
            for block in 0..LANES {
                for word in 0..16 {
                    assert_eq!(blocks[word * LANES + block], reference.next_u32(), "{step} {block} {word}");
                }
            }
        }
    }

    #[test]
    fn radii_and_directions_are_accurate() {
        for i in 0..100_000_u32 {
            let bits = i.wrapping_mul(2_654_435_761);
            let angle = f64::from(bits) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (c, s) = direction(bits);
            assert!((f64::from(c) - libm::cos(angle)).abs() < 4e-7 && (f64::from(s) - libm::sin(angle)).abs() < 4e-7);
            for bits in [bits, i, !i] {
                let want = -2.0 * libm::log((f64::from(bits >> 1) + 0.25) / 2_147_483_648.0);
                let got = f64::from(radius_of(bits)).powi(2);
                assert!((got - want).abs() < 1e-6 * want + 3e-7, "{bits}: {got} against {want}");
            }
        }
    }

    /// Kolmogorov-Smirnov: the largest distance of the empirical distribution from `cdf` at the given points.
    #[test]
    fn numbers_have_their_distribution() {
        let n = 1 << 20;
        let mut stream = Key::new(3, "bulk").stream();
        let mut normals = vec![0.0; n];
        stream.normals(0.0, 1.0, &mut normals);
        normals.sort_by(f64::total_cmp);
        for share in [1e-5, 1e-3, 0.05, 0.2, 0.5, 0.8, 0.95, 0.999, 1.0 - 1e-5] {
            let below = normals.partition_point(|&value| value < normal_quantile(share)) as f64;
            let room = 4.5 * (n as f64 * share * (1.0 - share)).sqrt();
            assert!((below - n as f64 * share).abs() < room, "{share}: {below} of {n}");
        }
        let mut uniforms = vec![0.0; n];
        stream.uniforms(-2.0, 3.0, &mut uniforms);
        for share in [0.001, 0.25, 0.5, 0.9] {
            let below = uniforms.iter().filter(|&&value| value < 5.0 * share - 2.0).count() as f64;
            assert!((below - n as f64 * share).abs() < 4.5 * (n as f64 * share * (1.0 - share)).sqrt(), "{share}");
        }
    }

    #[test]
    fn lengths_and_precisions_agree() {
        let stream = Key::new(4, "lengths").stream();
        let (mut long, mut short, mut single) = ([0.0; 300], [0.0; 131], [0.0; 300]);
        stream.clone().normals(1.0, 2.0, &mut long);
        stream.clone().normals(1.0, 2.0, &mut short);
        stream.clone().normals_f32(1.0, 2.0, &mut single);
        assert_eq!(long[..128], short[..128]);
        assert!(long.iter().zip(single).all(|(&a, b)| (a - f64::from(b)).abs() < 1e-5));
        let mut uniforms = [0.0; 300];
        stream.clone().uniforms_f32(-1.0, 1.0, &mut uniforms);
        assert!(uniforms.iter().all(|value| (-1.0..1.0).contains(value)));
    }
}
