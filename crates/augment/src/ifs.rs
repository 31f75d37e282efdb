//! Coloured fractals of random iterated function systems.
//!
//! Source: Anderson & Farrell 2022, "Improving Fractal Pre-training", arXiv:2110.03091: systems are drawn by the singular
//! values of their maps, whose weighted sum tells good fractals from dust and blots. Densities are shown by their
//! logarithm here.

use image::{Rgb, RgbImage};
use robustify_rng::Stream;

use crate::plasma;

/// Points of a picture, and those of a first look at a system.
const POINTS: usize = 100_000;
const LOOK: usize = 20_000;

/// Side of the grid of the first look, and the share of its cells that a fractal must visit.
const GRID: usize = 64;
const COVERAGE: f64 = 0.1;

/// Systems that are looked at before the best of them is taken.
const TRIES: usize = 20;

/// A square picture of a fractal over a cloudy background.
pub(crate) fn picture(side: u32, stream: &mut Stream) -> RgbImage {
    let system = System::draw_good(stream);
    let points = system.walk(POINTS, stream);
    // A patch of random dots in the place of a point makes fractals of another texture.
    let patch = if stream.chance(0.5) { stream.bits32() & 0x1ff | 0x10 } else { 0x10 };
    let counts = histogram(&points, side as usize, patch);
    let mut out = plasma::background(side, stream);
    let (first, saturation, value) = (stream.unit(), stream.uniform(0.3, 1.0), stream.uniform(0.5, 1.0));
    let scale = 1.0 / libm::log1p(f64::from(counts.iter().copied().max().unwrap_or(0)).max(1.0));
    for (pixel, &count) in out.pixels_mut().zip(&counts) {
        if count > 0 {
            *pixel = shade(libm::log1p(f64::from(count)) * scale, first, saturation, value);
        }
    }
    out
}

fn shade(density: f64, first: f64, saturation: f64, value: f64) -> Rgb<u8> {
    plasma::hsv(first + density, saturation, value)
}

/// `(x, y)` to `(ax + by + c, dx + ey + f)`.
#[derive(Clone, Copy, Debug)]
struct Map([f64; 6]);

impl Map {
    /// A map with the given singular values: turned, stretched and turned back, mirrored or not, moved.
    fn draw((large, small): (f64, f64), stream: &mut Stream) -> Self {
        let mut turn = || libm::sincos(stream.uniform(-std::f64::consts::PI, std::f64::consts::PI));
        let ((sin, cos), (back_sin, back_cos)) = (turn(), turn());
        let mut sign = || if stream.chance(0.5) { -1.0 } else { 1.0 };
        let (outer, inner) = ([sign(), sign()], [sign(), sign()]);
        let (large, small) = (large * outer[0], small * outer[1]);
        let a = cos * large * back_cos - sin * small * back_sin;
        let b = -cos * large * back_sin - sin * small * back_cos;
        let d = sin * large * back_cos + cos * small * back_sin;
        let e = -sin * large * back_sin + cos * small * back_cos;
        let (c, f) = (stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0));
        Self([a * inner[0], b * inner[1], c, d * inner[0], e * inner[1], f])
    }

    fn apply(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + b * y + c, d * x + e * y + f)
    }

    fn determinant(&self) -> f64 {
        let [a, b, _, d, e, _] = self.0;
        a * e - b * d
    }

    /// The point that stays where it is; the origin if there is none.
    fn fixed_point(&self) -> (f64, f64) {
        let [a, b, c, d, e, f] = self.0;
        let determinant = (1.0 - a) * (1.0 - e) - b * d;
        let point = ((c * (1.0 - e) + b * f) / determinant, (f * (1.0 - a) + c * d) / determinant);
        if point.0.is_finite() && point.1.is_finite() { point } else { (0.0, 0.0) }
    }
}

/// An iterated function system.
#[derive(Clone, Debug)]
struct System {
    maps: Vec<Map>,
    /// For every map but the last, the 32-bit number up to which it is chosen.
    bounds: Vec<u32>,
}

impl System {
    /// The first of some systems that visits enough of its box, or the one that visits most.
    fn draw_good(stream: &mut Stream) -> Self {
        let mut best = (-1.0, Self { maps: Vec::new(), bounds: Vec::new() });
        for _ in 0..TRIES {
            let system = Self::draw(stream);
            let counts = histogram(&system.walk(LOOK, stream), GRID, 0x10);
            let coverage = counts.iter().filter(|&&count| count > 0).count() as f64 / counts.len() as f64;
            if coverage > best.0 {
                best = (coverage, system);
            }
            if best.0 >= COVERAGE {
                break;
            }
        }
        best.1
    }

    fn draw(stream: &mut Stream) -> Self {
        let count = 2 + stream.below(3) as usize;
        let sum = stream.uniform(5.0 + count as f64, 6.0 + count as f64) / 2.0;
        let values = singular_values(count, sum, stream);
        let maps: Vec<Map> = values.into_iter().map(|values| Map::draw(values, stream)).collect();
        let areas: Vec<f64> = maps.iter().map(|map| map.determinant().abs().max(1e-6)).collect();
        let total: f64 = areas.iter().sum();
        let mut sum = 0.0;
        let mut bound = |area: &f64| {
            sum += area / total;
            (sum * 4_294_967_296.0) as u32
        };
        let bounds = areas[..count - 1].iter().map(&mut bound).collect();
        Self { maps, bounds }
    }

    /// Points of the fractal by the chaos game.
    fn walk(&self, count: usize, stream: &mut Stream) -> Vec<(f64, f64)> {
        let Some(first) = self.maps.first() else { return Vec::new() };
        let mut point = first.fixed_point();
        let mut step = || {
            let draw = stream.bits32();
            let choice = self.bounds.iter().map(|&bound| usize::from(draw >= bound)).sum::<usize>();
            point = self.maps[choice].apply(point);
            point
        };
        (0..count).map(|_| step()).collect()
    }
}

/// Singular values of `count` maps, large and small, such that every one is at most one and the sum of the large ones and
/// twice the small ones is `sum`.
fn singular_values(count: usize, sum: f64, stream: &mut Stream) -> Vec<(f64, f64)> {
    let (mut upper, mut lower) = (sum, sum - 3.0 * count as f64 + 3.0);
    let mut values = Vec::with_capacity(count);
    for _ in 1..count {
        let large = stream.uniform((lower / 3.0).max(0.0), upper.min(1.0));
        (upper, lower) = (upper - large, lower - large);
        let small = stream.uniform((lower / 2.0).max(0.0), large.min(upper / 2.0));
        (upper, lower) = (upper - 2.0 * small, lower - 2.0 * small + 3.0);
        values.push((large, small));
    }
    let small = stream.uniform(((upper - 1.0) / 2.0).max(0.0), upper / 3.0);
    values.push((upper - 2.0 * small, small));
    values
}

/// How many points fall into every cell of a square grid over the box that holds them. Every point counts in those of the
/// nine cells around it whose bit is set in `patch`; bit 4 is its own.
fn histogram(points: &[(f64, f64)], side: usize, patch: u32) -> Vec<u32> {
    let mut counts = vec![0; side * side];
    let range = |along: fn(&(f64, f64)) -> f64| {
        let (low, high) = points
            .iter()
            .map(along)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        // What grows without bound shows nothing.
        let scale = (side as f64 - 1e-6) / (high - low);
        (low, if scale.is_finite() { scale } else { 0.0 })
    };
    let ((left, wide), (top, high)) = (range(|point| point.0), range(|point| point.1));
    let offsets = || (0..9).filter(|bit| patch >> bit & 1 == 1).map(|bit| (bit % 3, bit / 3));
    let offsets: Vec<(usize, usize)> = offsets().collect();
    for &(x, y) in points {
        let (x, y) = (((x - left) * wide) as usize, ((y - top) * high) as usize);
        for &(dx, dy) in &offsets {
            let (x, y) = ((x + dx).wrapping_sub(1), (y + dy).wrapping_sub(1));
            if x < side && y < side {
                counts[y * side + x] += 1;
            }
        }
    }
    counts
}
