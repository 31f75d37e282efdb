//! Brightness, contrast and saturation. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the
//! authors' code.
//!
//! The conversions to and from HSV are those of scikit-image in double precision: a grey pixel has hue and saturation
//! zero.

use image::RgbImage;

use crate::filter::{to_level, unit_levels};
use crate::profile::PerProfile;

/// Brightness: what is added to the value of HSV in `[0, 1]`, per severity 1-5.
pub(crate) const BRIGHTNESS: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.05, 0.1, 0.15, 0.2, 0.3], imagenet: [0.1, 0.2, 0.3, 0.4, 0.5] };

/// Contrast: what the distance to the channel's mean is multiplied by.
pub(crate) const CONTRAST: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.75, 0.5, 0.4, 0.3, 0.15], imagenet: [0.4, 0.3, 0.2, 0.1, 0.05] };

/// Saturate: factor and offset of the saturation of HSV in `[0, 1]`.
pub(crate) const SATURATE: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)],
    imagenet: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)],
};

/// Raises the value of HSV.
pub(crate) fn brightness(image: &RgbImage, offset: f64) -> RgbImage {
    map_hsv(image, |[hue, saturation, value]| [hue, saturation, (value + offset).clamp(0.0, 1.0)])
}

/// Scales and shifts the saturation of HSV. With an offset, grey pixels turn red, for their hue is zero.
pub(crate) fn saturate(image: &RgbImage, factor: f64, offset: f64) -> RgbImage {
    map_hsv(image, |[hue, saturation, value]| [hue, (saturation * factor + offset).clamp(0.0, 1.0), value])
}

/// Multiplies the distance of every sample to the mean of its channel.
pub(crate) fn contrast(image: &RgbImage, factor: f64) -> RgbImage {
    let mut counts = [[0_u32; 256]; 3];
    for pixel in image.as_raw().chunks_exact(3) {
        pixel.iter().zip(&mut counts).for_each(|(&level, counts)| counts[usize::from(level)] += 1);
    }
    let unit = unit_levels();
    let tables = counts.map(|counts| {
        let sum: u64 = counts.iter().zip(0_u64..).map(|(&count, level)| u64::from(count) * level).sum();
        let mean = sum as f64 / 255.0 / f64::from(image.width() * image.height());
        unit.map(|sample| to_level((sample - mean) * factor + mean))
    });
    let mut out = image.clone();
    for pixel in out.chunks_exact_mut(3) {
        pixel.iter_mut().zip(&tables).for_each(|(level, table)| *level = table[usize::from(*level)]);
    }
    out
}

fn map_hsv(image: &RgbImage, map: impl Fn([f64; 3]) -> [f64; 3]) -> RgbImage {
    let unit = unit_levels();
    let mut out = image.clone();
    for pixel in out.chunks_exact_mut(3) {
        let rgb = std::array::from_fn(|channel| unit[usize::from(pixel[channel])]);
        let mapped = rgb_from_hsv(map(hsv_from_rgb(rgb)));
        pixel.iter_mut().zip(mapped).for_each(|(level, value)| *level = to_level(value));
    }
    out
}

fn hsv_from_rgb([red, green, blue]: [f64; 3]) -> [f64; 3] {
    let value = red.max(green).max(blue);
    let delta = value - red.min(green).min(blue);
    if delta == 0.0 {
        return [0.0, 0.0, value];
    }
    let sector = if blue == value {
        4.0 + (red - green) / delta
    } else if green == value {
        2.0 + (blue - red) / delta
    } else {
        (green - blue) / delta
    };
    let hue = sector / 6.0;
    [if hue < 0.0 { hue + 1.0 } else { hue }, delta / value, value]
}

fn rgb_from_hsv([hue, saturation, value]: [f64; 3]) -> [f64; 3] {
    let sector = (hue * 6.0).floor();
    let fraction = hue * 6.0 - sector;
    let p = value * (1.0 - saturation);
    let q = value * (1.0 - fraction * saturation);
    let t = value * (1.0 - (1.0 - fraction) * saturation);
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
