//! The operations of Pillow that treat every level alike, as tables of a channel each.
//!
//! Tables compose, and the histogram of a mapped image is the mapped histogram, so a run of such operations is one
//! table and one pass over the image.

use crate::rgbx::{Pixel, Rgbx};

/// For every channel, what each level becomes.
pub(crate) type Tables = [[u8; 256]; 3];

/// For every channel, how many pixels have each level.
pub(crate) type Counts = [[u32; 256]; 3];

/// The tables that do `first` and then `second`.
pub(crate) fn compose(first: &Tables, second: &Tables) -> Tables {
    std::array::from_fn(|channel| first[channel].map(|level| second[channel][usize::from(level)]))
}

/// Stretches every channel to the full range; a flat channel stays.
pub(crate) fn autocontrast(counts: &Counts) -> Tables {
    counts.each_ref().map(|counts| {
        let lowest = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let highest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if highest <= lowest {
            return identity();
        }
        let scale = 255.0 / (highest - lowest) as f64;
        let offset = -(lowest as f64) * scale;
        std::array::from_fn(|level| (level as f64 * scale + offset) as u8)
    })
}

/// Equalises the histogram of every channel.
pub(crate) fn equalize(counts: &Counts) -> Tables {
    counts.each_ref().map(|counts| {
        let last = counts.iter().copied().rfind(|&count| count > 0).unwrap_or(0);
        let step = (counts.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return identity();
        }
        let mut sum = step / 2;
        std::array::from_fn(|level| {
            let target = (sum / step).min(255) as u8;
            sum += counts[level];
            target
        })
    })
}

/// Keeps the upper `bits` of every sample, 0 to 8.
pub(crate) fn posterize(bits: u32) -> Tables {
    let mask = (0xff00_u32 >> bits.min(8)) as u8;
    [identity().map(|level| level & mask); 3]
}

/// Inverts the samples from `threshold` up.
pub(crate) fn solarize(threshold: u32) -> Tables {
    [identity().map(|level| if u32::from(level) < threshold { level } else { 255 - level }); 3]
}

/// Blends with a flat grey of `level`; a factor of 1 changes nothing.
pub(crate) fn fade(level: u8, factor: f64) -> Tables {
    [identity().map(|own| blend(level, own, factor as f32)); 3]
}

/// `from + factor * (to - from)`, clipped and truncated.
#[inline(always)]
pub(crate) fn blend(from: u8, to: u8, factor: f32) -> u8 {
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// A level in `[0, 255]`, to the nearest. This form is turned into vectors, which a conversion that checks the range is not.
#[inline(always)]
pub(crate) fn rounded(level: f32) -> u8 {
    /// 2^23: added to a whole number below it, leaves that number in the low bits.
    const WHOLE: f32 = 8_388_608.0;
    ((level + 0.5).floor() + WHOLE).to_bits() as u8
}

/// Luma as Pillow rounds it.
#[inline(always)]
pub(crate) fn luma(pixel: Pixel) -> u8 {
    let [red, green, blue, _] = pixel.map(u32::from);
    ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
}

/// The histogram of an image.
pub(crate) fn count(image: &Rgbx) -> Counts {
    // Neighbours are often alike; counting them apart keeps one increment from waiting for the other.
    let mut even = [[0_u32; 256]; 3];
    let mut odd = [[0_u32; 256]; 3];
    let add = |counts: &mut Counts, pixel: &Pixel| {
        counts.iter_mut().zip(pixel).for_each(|(counts, &level)| counts[usize::from(level)] += 1);
    };
    for row in image.rows() {
        let (pairs, rest) = row.as_chunks::<2>();
        for [left, right] in pairs {
            add(&mut even, left);
            add(&mut odd, right);
        }
        rest.iter().for_each(|pixel| add(&mut even, pixel));
    }
    even.iter_mut().flatten().zip(odd.iter().flatten()).for_each(|(even, odd)| *even += odd);
    even
}

/// The histogram of the image whose histogram is `counts`, after `tables`.
pub(crate) fn count_mapped(counts: &Counts, tables: &Tables) -> Counts {
    let mut mapped = [[0; 256]; 3];
    for ((mapped, counts), table) in mapped.iter_mut().zip(counts).zip(tables) {
        counts.iter().zip(table).for_each(|(count, &level)| mapped[usize::from(level)] += count);
    }
    mapped
}

/// A pixel after `tables`.
#[inline(always)]
pub(crate) fn mapped(pixel: Pixel, tables: &Tables) -> Pixel {
    let [red, green, blue, _] = pixel.map(usize::from);
    [tables[0][red], tables[1][green], tables[2][blue], 0]
}

/// Writes `from` after `tables` into `to`.
pub(crate) fn map(from: &Rgbx, tables: &Tables, to: &mut Rgbx) {
    for (to, from) in to.pixels_mut().iter_mut().zip(from.pixels()) {
        *to = mapped(*from, tables);
    }
}

/// The mean luma of an image after `tables`, rounded.
pub(crate) fn mean_luma(image: &Rgbx, tables: Option<&Tables>) -> u8 {
    let sum = |row: &[Pixel]| match tables {
        Some(tables) => row.iter().map(|&pixel| u64::from(luma(mapped(pixel, tables)))).sum::<u64>(),
        None => row.iter().map(|&pixel| u64::from(luma(pixel))).sum(),
    };
    let sum: u64 = image.rows().map(sum).sum();
    (sum as f64 / (image.width * image.height) as f64 + 0.5) as u8
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|level| level as u8)
}
