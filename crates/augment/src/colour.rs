//! Brightness, contrast and saturation. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the
//! authors' code.
//!
//! The conversions to and from HSV are those of scikit-image in double precision: a grey pixel has hue and saturation
//! zero.

use crate::border::{to_level, unit_levels, whole_part};
use crate::cell::Cell;
use crate::profile::PerProfile;
use crate::simd::vectorised;

/// Brightness: what is added to the value of HSV in `[0, 1]`, per severity 1-5.
const BRIGHTNESS: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.05, 0.1, 0.15, 0.2, 0.3],
    tiny: [0.1, 0.2, 0.3, 0.4, 0.5],
    imagenet: [0.1, 0.2, 0.3, 0.4, 0.5],
    inception: [0.1, 0.2, 0.3, 0.4, 0.5],
};

/// Contrast: what the distance to the channel's mean is multiplied by.
const CONTRAST: PerProfile<[f64; 5]> = PerProfile {
    cifar: [0.75, 0.5, 0.4, 0.3, 0.15],
    tiny: [0.4, 0.3, 0.2, 0.1, 0.05],
    imagenet: [0.4, 0.3, 0.2, 0.1, 0.05],
    inception: [0.4, 0.3, 0.2, 0.1, 0.05],
};

/// Saturate: factor and offset of the saturation of HSV in `[0, 1]`.
const SATURATE: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)],
    tiny: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)],
    imagenet: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)],
    inception: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)],
};

/// Brightness of a cell: raises the value of HSV.
pub(crate) fn apply_brightness(cell: &mut Cell<'_, '_>) {
    let offset = BRIGHTNESS.get(cell.profile)[cell.index];
    map_hsv(
        cell,
        #[inline(always)]
        |[hue, saturation, value]| [hue, saturation, (value + offset).clamp(0.0, 1.0)],
    );
}

/// Saturate of a cell: scales and shifts the saturation of HSV. With an offset, grey pixels turn red, for their hue is
/// zero.
pub(crate) fn apply_saturate(cell: &mut Cell<'_, '_>) {
    let (factor, offset) = SATURATE.get(cell.profile)[cell.index];
    map_hsv(
        cell,
        #[inline(always)]
        |[hue, saturation, value]| [hue, (saturation * factor + offset).clamp(0.0, 1.0), value],
    );
}

/// Contrast of a cell: multiplies the distance of every sample to the mean of its channel.
pub(crate) fn apply_contrast(cell: &mut Cell<'_, '_>) {
    let factor = CONTRAST.get(cell.profile)[cell.index];
    let sums = vectorised(
        #[inline(always)]
        || channel_sums(cell.image.levels),
    );
    let unit = unit_levels();
    let [red, green, blue] = sums.map(|sum| {
        let mean = sum as f64 / 255.0 / cell.image.pixels() as f64;
        unit.map(|sample| to_level((sample - mean) * factor + mean))
    });
    let (pixels, out) = (cell.image.levels.as_chunks::<3>().0, cell.out.as_chunks_mut::<3>().0);
    for (target, &[r, g, b]) in out.iter_mut().zip(pixels) {
        *target = [red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]];
    }
}

/// The sum of the levels of each channel.
#[inline(always)]
fn channel_sums(levels: &[u8]) -> [u64; 3] {
    // A multiple of three, so that every lane stays with its channel; 4096 blocks cannot overflow 32 bits.
    const LANES: usize = 96;
    let mut sums = [0_u64; 3];
    for part in levels.chunks(4096 * LANES) {
        let (blocks, rest) = part.as_chunks::<LANES>();
        let mut lanes = [0_u32; LANES];
        for block in blocks {
            lanes.iter_mut().zip(block).for_each(|(lane, &level)| *lane += u32::from(level));
        }
        let rest = rest.iter().map(|&level| u32::from(level));
        lanes.into_iter().chain(rest).enumerate().for_each(|(place, sum)| sums[place % 3] += u64::from(sum));
    }
    sums
}

/// Pixels that are converted together, channel by channel, so that the loops vectorise.
const BLOCK: usize = 64;

/// Passes every pixel through HSV.
fn map_hsv(cell: &mut Cell<'_, '_>, map: impl Fn([f64; 3]) -> [f64; 3]) {
    let unit = unit_levels();
    vectorised(
        #[inline(always)]
        || {
            let mut block = [[0.0; BLOCK]; 3];
            for (levels, out) in cell.image.levels.chunks(3 * BLOCK).zip(cell.out.chunks_mut(3 * BLOCK)) {
                for (place, pixel) in levels.as_chunks::<3>().0.iter().enumerate() {
                    (0..3).for_each(|channel| block[channel][place] = unit[usize::from(pixel[channel])]);
                }
                map_block(&mut block, &map);
                for (place, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    *pixel = [0, 1, 2].map(|channel| whole_part(block[channel][place]) as u8);
                }
            }
        },
    );
}

/// Turns samples in `[0, 1]` into levels with a fraction.
#[inline(always)]
fn map_block(block: &mut [[f64; BLOCK]; 3], map: &impl Fn([f64; 3]) -> [f64; 3]) {
    let [red, green, blue] = block;
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let mapped = rgb_from_hsv(map(hsv_from_rgb([*red, *green, *blue])));
        [*red, *green, *blue] = mapped.map(|sample| sample.clamp(0.0, 1.0) * 255.0);
    }
}

/// Written without branches, as is its inverse, for the sake of vectors.
#[inline(always)]
fn hsv_from_rgb([red, green, blue]: [f64; 3]) -> [f64; 3] {
    let value = red.max(green).max(blue);
    let delta = value - red.min(green).min(blue);
    let (base, difference) = if green == value { (2.0, blue - red) } else { (0.0, green - blue) };
    let (base, difference) = if blue == value { (4.0, red - green) } else { (base, difference) };
    let hue = (base + difference / delta) / 6.0;
    let hue = if hue < 0.0 { hue + 1.0 } else { hue };
    let grey = delta == 0.0;
    [if grey { 0.0 } else { hue }, if grey { 0.0 } else { delta / value }, value]
}

#[inline(always)]
fn rgb_from_hsv([hue, saturation, value]: [f64; 3]) -> [f64; 3] {
    let sector = (hue * 6.0).floor();
    let fraction = hue * 6.0 - sector;
    let is = |a: f64, b: f64| (sector == a) | (sector == b);
    let odd = is(1.0, 3.0) | (sector == 5.0);
    let least = value * (1.0 - saturation);
    let middle = value * (1.0 - (if odd { fraction } else { 1.0 - fraction }) * saturation);
    let choose = |largest: bool, between: bool| {
        let sample = if between { middle } else { least };
        if largest { value } else { sample }
    };
    // A hue that was rounded up to one is in sector six, which is sector zero again.
    [
        choose(is(0.0, 5.0) | (sector == 6.0), is(1.0, 4.0)),
        choose(is(1.0, 2.0), is(0.0, 3.0) | (sector == 6.0)),
        choose(is(3.0, 4.0), is(2.0, 5.0)),
    ]
}
