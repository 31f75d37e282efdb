//! Perlin noise: the turbulence of five octaves of gradient noise, mixed with the image.

use super::{clip, side};
use crate::cell::Cell;
use crate::draws::Draws;

/// Cells of the lattice after which it repeats.
const PERIOD: usize = 256;

/// What the generator adds to every coordinate to make it positive.
const OFFSET: f64 = 4096.0;

/// The smallest octave has cells of a sixteenth of the largest.
const OCTAVES: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];

/// Perlin noise.
pub(super) fn apply(cell: &mut Cell<'_, '_>, level: f64) {
    let lattice = Lattice::draw(cell.draws);
    // The generator's matrix is 1 / 32 for 224 pixels.
    let step = 1.0 / (32.0 * side(cell.image) / 224.0);
    let alpha = level * 0.5 / 10.0;
    let (keep, mixed) = ((1.0 - alpha) as f32, 255.0 * alpha);
    let (width, stride) = (cell.image.width, cell.image.stride());
    let mut columns = cell.scratch.take::<f32>(2 * OCTAVES.len() * width);
    let mut cells = cell.scratch.take::<u32>(OCTAVES.len() * width);
    let mut sum = cell.scratch.take::<f32>(width);
    let mut corners = [[0.0_f32; 2]; PERIOD + 1];
    for (index, &octave) in OCTAVES.iter().enumerate() {
        for x in 0..width {
            let place = octave * (x as f64 * step) + OFFSET;
            let within = place % 1.0;
            cells[index * width + x] = (place as i64 % PERIOD as i64) as u32;
            columns[2 * (index * width + x)] = within as f32;
            columns[2 * (index * width + x) + 1] = smooth(within) as f32;
        }
    }
    let rows = cell.image.levels.chunks_exact(stride).zip(cell.out.chunks_exact_mut(stride));
    for (y, (source, target)) in rows.enumerate() {
        sum.fill(0.0);
        for (index, &octave) in OCTAVES.iter().enumerate() {
            let columns = columns[2 * index * width..][..2 * width].as_chunks::<2>().0;
            // No more of the lattice than the row passes.
            let count = ((octave * (width as f64 * step)) as usize + 2).min(PERIOD + 1);
            lattice.row(octave * (y as f64 * step) + OFFSET, 1.5 / octave, &mut corners[..count]);
            for ((sum, &[within, blend]), &cell) in sum.iter_mut().zip(columns).zip(&cells[index * width..][..width]) {
                let ([a, b], [c, d]) = (corners[cell as usize], corners[cell as usize + 1]);
                let (near, far) = (a + within * b, c + (within - 1.0) * d);
                *sum += (near + blend * (far - near)).abs();
            }
        }
        for ((from, to), &sum) in source.chunks_exact(3).zip(target.chunks_exact_mut(3)).zip(&sum) {
            // Where the noise is clipped the sum is in precisions as in the generator, lest a level be lost.
            let noise = mixed * f64::from((0.5 * sum + 0.5).min(1.0));
            from.iter().zip(to).for_each(|(&from, to)| *to = clip(f64::from(keep * f32::from(from)) + noise));
        }
    }
    cell.scratch.give(columns);
    cell.scratch.give(cells);
    cell.scratch.give(sum);
}

/// Random directions at the corners of the lattice.
struct Lattice {
    gradients: [[f64; 2]; PERIOD],
    order: [u8; PERIOD],
}

impl Lattice {
    /// The generator makes twice as many directions as it uses.
    fn draw(draws: &mut Draws<'_>) -> Self {
        let top = f64::from(i32::MAX);
        let directions = draws.array(4 * PERIOD + 4, [0.0, top]);
        let swaps = draws.array(PERIOD, [0.0, top]);
        let mut word = |recorded: Option<&[f64]>, place: usize| match (recorded, draws.stream()) {
            (Some(values), _) => values[place] as u32,
            (None, Some(stream)) => stream.bits32() >> 1,
            (None, None) => 0,
        };
        let gradients = std::array::from_fn(|place| {
            let [y, x] = [0, 1].map(|part| (f64::from(word(directions, 2 * place + part) % 512) - 256.0) / 256.0);
            let length = (x * x + y * y).sqrt();
            if length > 0.0 { [y / length, x / length] } else { [0.0; 2] }
        });
        let mut order = std::array::from_fn(|place| place as u8);
        for (step, place) in (0..PERIOD).rev().enumerate() {
            order.swap(place, word(swaps, step) as usize % PERIOD);
        }
        Self { gradients, order }
    }

    /// For a row between two rows of the lattice, the height and the slope at the columns of the lattice.
    fn row(&self, place: f64, scale: f64, corners: &mut [[f32; 2]]) {
        let within = place % 1.0;
        let blend = smooth(within);
        let above = (place as i64 % PERIOD as i64) as usize;
        let [above, below] = [above, (above + 1) % PERIOD].map(|row| usize::from(self.order[row]));
        for (column, corner) in corners.iter_mut().enumerate() {
            let [[ay, ax], [by, bx]] =
                [above, below].map(|row| self.gradients[usize::from(self.order[(row + column) % PERIOD])]);
            let (ay, by) = (within * ay, (within - 1.0) * by);
            *corner = [(scale * (ay + blend * (by - ay))) as f32, (scale * (ax + blend * (bx - ax))) as f32];
        }
    }
}

#[inline(always)]
fn smooth(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}
