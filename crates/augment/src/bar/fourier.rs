//! Noise of a given spectrum and random phases: blue and brownish.
//!
//! The phases have no symmetry that would make the noise real: the generator drops the imaginary part. They do mirror
//! one another across the centre, shifted by one frequency; that is kept.

use std::f64::consts::PI;

use super::maths::{sin_cos, sin_cos32};
use super::{clip32, side};
use crate::cell::{Cell, View};
use crate::draws::Draws;
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Columns or rows that are transformed together, so that every step of the transform is a vector operation.
const LANES: usize = 8;

/// Real and imaginary part of one place in [`LANES`] columns or rows.
type Lane = [f32; LANES];

/// Blue noise sample: pixels where blue noise does not exceed a threshold turn black.
pub(super) fn blue_sample(cell: &mut Cell<'_, '_>, level: f64) {
    let threshold = (level * 3.0 / 10.0 - 2.5) as f32;
    let noise = Spectrum { image: cell.image, shape: |square: f32| square.sqrt() }.noise(cell.draws, cell.scratch);
    for ((from, to), &value) in cell.image.levels.chunks_exact(3).zip(cell.out.chunks_exact_mut(3)).zip(&noise) {
        let keep = if value > threshold { 0xff } else { 0 };
        from.iter().zip(to).for_each(|(from, to)| *to = from & keep);
    }
    cell.scratch.give(noise);
}

/// Brownish noise: added to every channel on its own, its power falling with the fourth power of the frequency.
pub(super) fn brownish(cell: &mut Cell<'_, '_>, level: f64) {
    let strength = (level * 64.0 / 10.0) as f32;
    for channel in 0..3 {
        let noise =
            Spectrum { image: cell.image, shape: |square: f32| 1.0 / (square + 1.0) }.noise(cell.draws, cell.scratch);
        let pixels = cell.image.levels.chunks_exact(3).zip(cell.out.chunks_exact_mut(3));
        for ((from, to), &value) in pixels.zip(&noise) {
            to[channel] = clip32(f32::from(from[channel]) + strength * value);
        }
        cell.scratch.give(noise);
    }
}

/// The amplitudes of a noise as a function of the squared distance from the centre of the shifted spectrum, measured in
/// frequencies of the [`side`].
struct Spectrum<'a, F> {
    image: View<'a>,
    shape: F,
}

impl<F: Fn(f32) -> f32> Spectrum<'_, F> {
    /// The noise, divided by its standard deviation (but its mean left in, as in the generator).
    fn noise(&self, draws: &mut Draws<'_>, scratch: &mut Scratch) -> Vec<f32> {
        let View { width, height, .. } = self.image;
        let mut phases = scratch.take::<f32>(width * height);
        draw_phases(width, height, draws, &mut phases);
        let (mut re, mut im) = (scratch.take::<f32>(width * height), scratch.take::<f32>(width * height));
        vectorised(
            #[inline(always)]
            || self.fill(&phases, &mut re, &mut im),
        );
        transform(width, height, (&mut re, &mut im), scratch, &mut phases);
        scratch.give(re);
        scratch.give(im);
        vectorised(
            #[inline(always)]
            || normalise(&mut phases),
        );
        phases
    }

    /// The spectrum, its centre moved to the corner.
    #[inline(always)]
    fn fill(&self, phases: &[f32], re: &mut [f32], im: &mut [f32]) {
        let View { width, height, .. } = self.image;
        let side = side(self.image);
        let (by_x, by_y) = ((side / width as f64) as f32, (side / height as f64) as f32);
        let (centre_x, centre_y) = (width as f32 / 2.0, height as f32 / 2.0);
        for (y, phases) in phases.chunks_exact(width).enumerate() {
            let dy = (y as f32 - centre_y) * by_y;
            let start = (y + height / 2) % height * width;
            let (re, im) = (&mut re[start..][..width], &mut im[start..][..width]);
            for (x, ((re, im), phase)) in re.iter_mut().zip(im.iter_mut()).zip(phases).enumerate() {
                let dx = (x as i32 as f32 - centre_x) * by_x;
                let (sine, cosine) = sin_cos32(*phase);
                let amplitude = (self.shape)(dx * dx + dy * dy);
                (*re, *im) = (amplitude * cosine, amplitude * sine);
            }
            re.rotate_right(width / 2);
            im.rotate_right(width / 2);
        }
    }
}

/// Phases for the left half of the spectrum, mirrored through the centre into the right half; the column that an odd
/// width leaves between them mirrors itself.
fn draw_phases(width: usize, height: usize, draws: &mut Draws<'_>, phases: &mut [f32]) {
    let half = width / 2;
    let middle = if width % 2 == 1 { height / 2 } else { 0 };
    match draws.stream() {
        Some(stream) => {
            let step = (2.0 * PI / f64::from(1 << 24)) as f32;
            let mut bytes = [0; 1024];
            let places = (0..height).flat_map(|y| (0..half).map(move |x| y * width + x));
            let mut places = places.chain((0..middle).map(|y| y * width + half));
            for count in (0..(half * height + middle).div_ceil(256)).map(|_| 256) {
                stream.fill(&mut bytes);
                for (word, place) in bytes.chunks_exact(4).zip(places.by_ref().take(count)) {
                    phases[place] = (u32::from_le_bytes([word[0], word[1], word[2], 0])) as f32 * step;
                }
            }
        }
        None => {
            let recorded = draws.array(half * height, [0.0, 2.0 * PI]).unwrap_or(&[]);
            for (row, values) in phases.chunks_exact_mut(width).zip(recorded.chunks_exact(half.max(1))) {
                row.iter_mut().zip(values).for_each(|(phase, &value)| *phase = value as f32);
            }
            if middle > 0 {
                let recorded = draws.array(middle, [0.0, 2.0 * PI]).unwrap_or(&[]);
                for (row, &value) in phases.chunks_exact_mut(width).zip(recorded) {
                    row[half] = value as f32;
                }
            }
        }
    }
    let (top, bottom) = phases.split_at_mut(height / 2 * width);
    for (row, mirrored) in top.chunks_exact_mut(width).zip(bottom.rchunks_exact_mut(width)) {
        mirrored[half] = if width % 2 == 1 { row[half] } else { mirrored[half] };
        for x in 0..half {
            mirrored[width - 1 - x] = row[x];
            row[width - 1 - x] = mirrored[x];
        }
    }
    if height % 2 == 1 {
        let row = &mut bottom[..width];
        (0..half).for_each(|x| row[width - 1 - x] = row[x]);
    }
}

/// Divides by the standard deviation. Noise that is constant (of a single pixel) becomes zero.
#[inline(always)]
fn normalise(noise: &mut [f32]) {
    let (mut sums, mut squares) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    for chunk in noise.chunks(LANES) {
        for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(chunk) {
            *sum += f64::from(value);
            *square += f64::from(value) * f64::from(value);
        }
    }
    let count = noise.len() as f64;
    let mean = sums.iter().sum::<f64>() / count;
    let variance = squares.iter().sum::<f64>() / count - mean * mean;
    let scale = if variance > 0.0 { (1.0 / variance.sqrt()) as f32 } else { 0.0 };
    noise.iter_mut().for_each(|value| *value *= scale);
}

/// The real part of the inverse Fourier transform in two dimensions, without the division by the number of pixels.
fn transform(width: usize, height: usize, (re, im): (&mut [f32], &mut [f32]), scratch: &mut Scratch, out: &mut [f32]) {
    let longest = width.max(height);
    let mut work = Work {
        roots: scratch.take::<f32>(2 * longest),
        from: scratch.take::<f32>(2 * longest * LANES),
        to: scratch.take::<f32>(2 * longest * LANES),
    };
    vectorised(
        #[inline(always)]
        || {
            work.prepare(height);
            for left in (0..width).step_by(LANES) {
                let count = LANES.min(width - left);
                for (y, pair) in (0..height).zip(pairs(&mut work.from)) {
                    pair.0[..count].copy_from_slice(&re[y * width + left..][..count]);
                    pair.1[..count].copy_from_slice(&im[y * width + left..][..count]);
                }
                work.run(height);
                for (y, pair) in (0..height).zip(pairs(&mut work.from)) {
                    re[y * width + left..][..count].copy_from_slice(&pair.0[..count]);
                    im[y * width + left..][..count].copy_from_slice(&pair.1[..count]);
                }
            }
            work.prepare(width);
            for top in (0..height).step_by(LANES) {
                let count = LANES.min(height - top);
                for lane in 0..count {
                    let row = (top + lane) * width;
                    let values = re[row..][..width].iter().zip(&im[row..][..width]);
                    for (pair, (&re, &im)) in pairs(&mut work.from).zip(values) {
                        (pair.0[lane], pair.1[lane]) = (re, im);
                    }
                }
                work.run(width);
                for lane in 0..count {
                    let row = &mut out[(top + lane) * width..][..width];
                    row.iter_mut().zip(pairs(&mut work.from)).for_each(|(value, pair)| *value = pair.0[lane]);
                }
            }
        },
    );
    scratch.give(work.roots);
    scratch.give(work.from);
    scratch.give(work.to);
}

/// The places of a buffer: real parts, imaginary parts.
#[inline(always)]
fn pairs(buffer: &mut [f32]) -> impl Iterator<Item = (&mut Lane, &mut Lane)> {
    buffer.as_chunks_mut::<LANES>().0.as_chunks_mut::<2>().0.iter_mut().map(|[re, im]| (re, im))
}

/// Fourier transforms of [`LANES`] sequences at once, by Stockham's algorithm for any mixture of prime factors.
struct Work {
    /// Cosine and sine of 2 pi k / length.
    roots: Vec<f32>,
    from: Vec<f32>,
    to: Vec<f32>,
}

impl Work {
    #[inline(always)]
    fn prepare(&mut self, length: usize) {
        let step = 2.0 * PI / length as f64;
        for (place, root) in self.roots.chunks_exact_mut(2).take(length).enumerate() {
            let (sine, cosine) = sin_cos(place as f64 * step);
            (root[0], root[1]) = (cosine as f32, sine as f32);
        }
    }

    /// Transforms what `from` holds.
    #[inline(always)]
    fn run(&mut self, length: usize) {
        let mut done = 1;
        while done < length {
            let radix = radix(length / done);
            let stage = Stage { length, done, radix, roots: self.roots.as_chunks::<2>().0 };
            let from = self.from.as_chunks::<LANES>().0.as_chunks::<2>().0;
            let to = self.to.as_chunks_mut::<LANES>().0.as_chunks_mut::<2>().0;
            match radix {
                2 => stage.run::<2>(from, to),
                3 => stage.run::<3>(from, to),
                4 => stage.run::<4>(from, to),
                5 => stage.run::<5>(from, to),
                7 => stage.run::<7>(from, to),
                _ => stage.run_slowly(from, to),
            }
            std::mem::swap(&mut self.from, &mut self.to);
            done *= radix;
        }
    }
}

/// The next factor: four while it divides, then the smallest prime.
fn radix(rest: usize) -> usize {
    if rest.is_multiple_of(4) {
        return 4;
    }
    (2..).take_while(|factor| factor * factor <= rest).find(|factor| rest.is_multiple_of(*factor)).unwrap_or(rest)
}

/// One factor of a transform. Of `from`, place r * done + j holds frequency j of the elements r, r + length / done, ...
struct Stage<'a> {
    length: usize,
    done: usize,
    radix: usize,
    roots: &'a [[f32; 2]],
}

impl Stage<'_> {
    /// A small radix: the inputs are turned by their twiddle factors, then combined.
    #[inline(always)]
    fn run<const R: usize>(&self, from: &[[Lane; 2]], to: &mut [[Lane; 2]]) {
        let Self { length, done, .. } = *self;
        let rest = length / (done * R);
        let roots: [[f32; 2]; R] = std::array::from_fn(|k| self.roots[k * (length / R)]);
        for j in 0..done {
            let twiddles: [[f32; 2]; R] = std::array::from_fn(|u| self.roots[j * u * rest]);
            for r in 0..rest {
                let mut turned = [[[0.0; LANES]; 2]; R];
                for u in 0..R {
                    let [c, s] = twiddles[u];
                    let [re, im] = &from[(r + u * rest) * done + j];
                    for lane in 0..LANES {
                        turned[u][0][lane] = re[lane] * c - im[lane] * s;
                        turned[u][1][lane] = re[lane] * s + im[lane] * c;
                    }
                }
                for q in 0..R {
                    let mut sum = turned[0];
                    for u in 1..R {
                        let [c, s] = roots[u * q % R];
                        for lane in 0..LANES {
                            sum[0][lane] += turned[u][0][lane] * c - turned[u][1][lane] * s;
                            sum[1][lane] += turned[u][0][lane] * s + turned[u][1][lane] * c;
                        }
                    }
                    to[r * done * R + q * done + j] = sum;
                }
            }
        }
    }

    /// Any radix.
    #[inline(always)]
    fn run_slowly(&self, from: &[[Lane; 2]], to: &mut [[Lane; 2]]) {
        let Self { length, done, radix, roots } = *self;
        let rest = length / (done * radix);
        for r in 0..rest {
            for out in 0..done * radix {
                let mut sum = [[0.0; LANES]; 2];
                let mut turn = 0;
                for u in 0..radix {
                    let [c, s] = roots[turn * rest];
                    let [re, im] = &from[(r + u * rest) * done + out % done];
                    for lane in 0..LANES {
                        sum[0][lane] += re[lane] * c - im[lane] * s;
                        sum[1][lane] += re[lane] * s + im[lane] * c;
                    }
                    turn += out;
                    turn -= if turn >= done * radix { done * radix } else { 0 };
                }
                to[r * done * radix + out] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_of_any_size_are_the_sums_that_define_them() {
        for (width, height) in [(1, 1), (8, 3), (28, 11), (5, 12), (1, 7)] {
            let mut stream = robustify_rng::Key::new(3, "fourier").stream();
            let mut draw = || (0..width * height).map(|_| stream.normal() as f32).collect::<Vec<_>>();
            let (mut re, mut im) = (draw(), draw());
            let expected = |x: usize, y: usize| -> f64 {
                let term = |u: usize, v: usize| {
                    let turn = (u * x) as f64 / width as f64 + (v * y) as f64 / height as f64;
                    let (s, c) = libm::sincos(2.0 * PI * turn);
                    f64::from(re[v * width + u]) * c - f64::from(im[v * width + u]) * s
                };
                (0..height).flat_map(|v| (0..width).map(move |u| (u, v))).map(|(u, v)| term(u, v)).sum()
            };
            let expected: Vec<f64> = (0..width * height).map(|place| expected(place % width, place / width)).collect();
            let mut out = vec![0.0; width * height];
            transform(width, height, (&mut re, &mut im), &mut Scratch::new(), &mut out);
            let furthest = out.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(furthest < 1e-4, "{width}x{height}: {furthest}");
        }
    }
}
