//! Smooth patterns added to the image: a plane wave, concentric waves, and a plasma.

use std::f64::consts::{FRAC_PI_2, PI};

use super::maths::{atan2, sin, sin_cos};
use super::{clip, clip32, permutation, side};
use crate::cell::Cell;
use crate::simd::vectorised;

/// Single frequency greyscale: a sine wave of one random frequency on all channels alike.
pub(super) fn plane(cell: &mut Cell<'_, '_>, level: f64) {
    let main = cell.draws.uniform(-PI, PI);
    let other = cell.draws.uniform(-main.abs(), main.abs());
    let order: [usize; 2] = permutation(cell.draws);
    let [across, down] = order.map(|place| [main, other][place]);
    let phase = cell.draws.uniform(0.0, 2.0 * PI);
    let amplitude = level * 196.0 / 10.0;
    let (width, stride) = (cell.image.width, cell.image.stride());
    let (mut sines, mut cosines) = (cell.scratch.take::<f32>(width), cell.scratch.take::<f32>(width));
    vectorised(
        #[inline(always)]
        || {
            // sin(a + b) from the sines and cosines of the column's and of the row's part.
            for (x, (sine, cosine)) in sines.iter_mut().zip(&mut cosines).enumerate() {
                let (s, c) = sin_cos(x as f64 * across);
                (*sine, *cosine) = (s as f32, c as f32);
            }
            let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for (y, (source, target)) in rows.enumerate() {
                let (s, c) = sin_cos(y as f64 * down + phase);
                let (s, c) = ((amplitude * s) as f32, (amplitude * c) as f32);
                let pixels = source.chunks_exact(3).zip(target.chunks_exact_mut(3));
                for ((from, to), (sine, cosine)) in pixels.zip(sines.iter().zip(&cosines)) {
                    let wave = sine * c + cosine * s;
                    for (from, to) in from.iter().zip(to) {
                        *to = clip32(f32::from(*from) + wave);
                    }
                }
            }
        },
    );
    cell.scratch.give(sines);
    cell.scratch.give(cosines);
}

/// Concentric saw teeth about a random point, their rings bent by a wave in the angle.
pub(super) fn concentric(cell: &mut Cell<'_, '_>, level: f64) {
    let (width, height) = (cell.image.width, cell.image.height);
    // Drawn for a square about the image and then fitted to it.
    let longer = width.max(height) as f64;
    let mut offset = [0.0; 2];
    cell.draws.uniforms(0.0, longer, &mut offset);
    let offset = [offset[0] * (width as f64 / longer), offset[1] * (height as f64 / longer)];
    let frequency = cell.draws.uniform(0.0, 10.0);
    let amplitude = cell.draws.uniform(0.0, side(cell.image) / 10.0);
    let ring = cell.draws.uniform(0.0, side(cell.image) / 10.0);
    let strength = level * 128.0 / 10.0;
    let stride = cell.image.stride();
    let mut teeth = cell.scratch.take::<f64>(width);
    vectorised(
        #[inline(always)]
        || {
            let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for (y, (source, target)) in rows.enumerate() {
                let dy = y as f64 - offset[1];
                for (x, tooth) in teeth.iter_mut().enumerate() {
                    let dx = x as f64 - offset[0];
                    let bend = sin(atan2(dx, dy) * frequency);
                    let distance = (dx * dx + dy * dy).sqrt() + bend * amplitude;
                    let within = distance - (distance / ring).floor() * ring;
                    *tooth = (within / ring - 0.5) * strength;
                }
                for ((from, to), &tooth) in source.chunks_exact(3).zip(target.chunks_exact_mut(3)).zip(&teeth) {
                    for (from, to) in from.iter().zip(to) {
                        *to = clip(f64::from(*from) + tooth);
                    }
                }
            }
        },
    );
    cell.scratch.give(teeth);
}

/// Plasma: sines of coordinates that were displaced by finer and finer sines.
pub(super) fn plasma(cell: &mut Cell<'_, '_>, level: f64) {
    let time = cell.draws.uniform(0.0, 6.0 * PI);
    let rounds = cell.draws.integer(4, 7);
    let sharpness = cell.draws.uniform(0.5, 1.0);
    let scale = cell.draws.uniform(0.075, 0.2) * side(cell.image);
    let strength = level * 64.0 / 10.0;
    let (width, stride) = (cell.image.width, cell.image.stride());
    let (mut xs, mut ys) = (cell.scratch.take::<f64>(width), cell.scratch.take::<f64>(width));
    vectorised(
        #[inline(always)]
        || {
            let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
            for (row, (source, target)) in rows.enumerate() {
                xs.iter_mut().enumerate().for_each(|(x, value)| *value = x as f64 / scale);
                ys.fill(row as f64 / scale);
                let (mut frequency, mut phase, mut divisor) = (1.0, 1.0, 1.0);
                for _ in 0..rounds {
                    for (x, y) in xs.iter_mut().zip(&mut ys) {
                        let first = sin(*y * frequency + (time / phase + FRAC_PI_2));
                        let second = sin(*x * frequency + time / phase);
                        let (first, second) = (first / divisor, second / divisor);
                        *x += first - second * 0.3;
                        *y += second + first * 0.3;
                    }
                    frequency *= 1.93;
                    phase *= 1.15;
                    divisor *= 2.25 - sharpness;
                }
                finish(source, target, (&mut xs, &mut ys), time, strength);
            }
        },
    );
    cell.scratch.give(xs);
    cell.scratch.give(ys);
}

/// Colours a row of plasma and mixes it in.
#[inline(always)]
fn finish(source: &[u8], target: &mut [u8], (xs, ys): (&mut [f64], &mut [f64]), time: f64, strength: f64) {
    let shift = sin(time);
    let keep = 1.0 - strength / 255.0;
    for ((x, y), (from, to)) in xs.iter().zip(ys.iter()).zip(source.chunks_exact(3).zip(target.chunks_exact_mut(3))) {
        to[1] = clip(keep * f64::from(from[1]) + strength * sin((x + y + shift) * 0.5));
    }
    for (x, y) in xs.iter_mut().zip(ys.iter_mut()) {
        *x = strength * sin(*x - time);
        *y = strength * sin(*y + time);
    }
    for ((red, blue), (from, to)) in
        xs.iter().zip(ys.iter()).zip(source.chunks_exact(3).zip(target.chunks_exact_mut(3)))
    {
        to[0] = clip(keep * f64::from(from[0]) + red);
        to[2] = clip(keep * f64::from(from[2]) + blue);
    }
}
