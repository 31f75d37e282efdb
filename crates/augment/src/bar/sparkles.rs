//! Stars with random rays: bright ones over the image, and a dark one outside of which the image fades to white.

use std::f64::consts::PI;

use super::maths::{atan2, pow};
use super::{clip32, side};
use crate::cell::Cell;
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// Deviation of the length of a ray in units of the radius.
const RANDOMNESS: f64 = 0.25;

/// Sparkles: five white stars of the same radius.
pub(super) fn bright(cell: &mut Cell<'_, '_>, level: f64) {
    let (width, height, stride) = (cell.image.width, cell.image.height, cell.image.stride());
    // Drawn for a square about the image and then fitted to it.
    let longer = width.max(height) as f64;
    let mut centres = [0.0; 10];
    cell.draws.uniforms(0.0, longer, &mut centres);
    let mut counts = [0; 5];
    match cell.draws.stream() {
        Some(stream) => counts.iter_mut().for_each(|count| *count = 50 + stream.below(150) as usize),
        None => {
            let recorded = cell.draws.array(5, [50.0, 199.0]).unwrap_or(&[50.0; 5]);
            counts.iter_mut().zip(recorded).for_each(|(count, &value)| *count = value as usize);
        }
    }
    let radius = level * 0.1 / 10.0 * side(cell.image);
    let centres = centres.as_chunks::<2>().0;
    let stars: [Star; 5] = std::array::from_fn(|index| {
        let [y, x] = centres[index];
        let centre = [y * (height as f64 / longer), x * (width as f64 / longer)];
        Star::new(centre, cell.draws_rays(counts[index], radius, 1.0))
    });
    let mut buffers = Buffers::take(cell.scratch, width);
    let mut values = cell.scratch.take::<f32>(stride);
    vectorised(
        #[inline(always)]
        || {
            let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for (y, (source, target)) in rows.enumerate() {
                values.iter_mut().zip(source).for_each(|(value, &level)| *value = f32::from(level));
                for star in &stars {
                    star.row(y, 1.0, &mut buffers);
                    for (value, &light) in values.chunks_exact_mut(3).zip(&buffers.light) {
                        value.iter_mut().for_each(|value| *value += light * (255.0 - *value));
                    }
                }
                target.iter_mut().zip(&values).for_each(|(level, &value)| *level = clip32(value));
            }
        },
    );
    cell.scratch.give(values);
    buffers.give(cell.scratch);
    stars.into_iter().for_each(|star| cell.scratch.give(star.rays));
}

/// Inverse sparkles: one star keeps the image, all around it is white.
pub(super) fn inverse(cell: &mut Cell<'_, '_>, level: f64) {
    let (width, height, stride) = (cell.image.width, cell.image.height, cell.image.stride());
    let mut centre = [0.0; 2];
    cell.draws.uniforms(0.25, 0.75, &mut centre);
    let count = cell.draws.integer(50, 200) as usize;
    let radius = 0.25 * side(cell.image);
    let centre = [centre[0] * height as f64, centre[1] * width as f64];
    let star = Star::new(centre, cell.draws_rays(count, radius, f64::NEG_INFINITY));
    let falloff = level * 65.0 / 10.0 / 50.0;
    let mut buffers = Buffers::take(cell.scratch, width);
    vectorised(
        #[inline(always)]
        || {
            let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for (y, (source, target)) in rows.enumerate() {
                star.row(y, falloff, &mut buffers);
                for ((from, to), &light) in source.chunks_exact(3).zip(target.chunks_exact_mut(3)).zip(&buffers.light) {
                    from.iter().zip(to).for_each(|(&from, to)| *to = clip32(255.0 + light * (f32::from(from) - 255.0)));
                }
            }
        },
    );
    buffers.give(cell.scratch);
    cell.scratch.give(star.rays);
}

impl Cell<'_, '_> {
    /// The lengths of `count` rays, the first two repeated at the end.
    fn draws_rays(&mut self, count: usize, radius: f64, shortest: f64) -> Vec<f64> {
        let mut rays = self.scratch.take::<f64>(count);
        self.draws.normals(0.0, 1.0, &mut rays);
        rays.iter_mut().for_each(|ray| *ray = (radius + RANDOMNESS * radius * *ray).max(shortest));
        rays.extend_from_within(..2);
        rays
    }
}

/// A star.
struct Star {
    /// Row and column in pixels.
    centre: [f64; 2],
    rays: Vec<f64>,
}

/// One number for each pixel of a row.
struct Buffers {
    /// Number of the ray before the pixel, how far it is to the next one, and the squared distance.
    ray: Vec<u32>,
    part: Vec<f32>,
    square: Vec<f32>,
    /// Length of the ray, and then the light in `[0, 1]`.
    light: Vec<f32>,
}

impl Buffers {
    fn take(scratch: &mut Scratch, width: usize) -> Self {
        Self {
            ray: scratch.take(width),
            part: scratch.take(width),
            square: scratch.take(width),
            light: scratch.take(width),
        }
    }

    fn give(self, scratch: &mut Scratch) {
        scratch.give(self.ray);
        [self.part, self.square, self.light].into_iter().for_each(|buffer| scratch.give(buffer));
    }
}

impl Star {
    fn new(centre: [f64; 2], rays: Vec<f64>) -> Self {
        Self { centre, rays }
    }

    /// The light in row `y`: the square of the ray's length over that of the distance to the power `falloff`, and less
    /// between two rays than on them.
    #[inline(always)]
    fn row(&self, y: usize, falloff: f64, buffers: &mut Buffers) {
        let dy = y as f64 - self.centre[0];
        let turn = (self.rays.len() - 2) as f64 / (2.0 * PI);
        let places = buffers.ray.iter_mut().zip(&mut buffers.part).zip(&mut buffers.square);
        for (x, ((ray, part), square)) in places.enumerate() {
            let dx = f64::from(x as i32) - self.centre[1];
            let place = (atan2(dx, dy) + PI) * turn;
            let whole = place.floor();
            // With 2^52 added, the integer ends the mantissa.
            *ray = (whole + 4_503_599_627_370_496.0).to_bits() as u32;
            *part = (place - whole) as f32;
            *square = (dx * dx + dy * dy) as f32 + 1e-4;
        }
        for ((&ray, &part), length) in buffers.ray.iter().zip(&buffers.part).zip(&mut buffers.light) {
            let (this, next) = match self.rays.get(ray as usize..ray as usize + 2) {
                Some(&[this, next]) => (this as f32, next as f32),
                _ => (0.0, 0.0),
            };
            *length = this + part * (next - this);
        }
        for ((&part, &square), light) in buffers.part.iter().zip(&buffers.square).zip(&mut buffers.light) {
            let ratio = *light * *light / square;
            let ratio = if falloff == 1.0 { ratio } else { pow(f64::from(ratio).max(1e-30), falloff) as f32 };
            *light = ((1.0 - (part - 0.5) * (part - 0.5)) * ratio).clamp(0.0, 1.0);
        }
    }
}
