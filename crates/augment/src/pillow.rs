//! The image operations of AugMix with the arithmetic of Pillow, which its reference uses.
//!
//! Sources: AutoAugment, Cubuk et al. 2019, arXiv:1805.09501; AugMix, Hendrycks et al. 2020, arXiv:1912.02781. Every
//! operation equals Pillow level by level: interpolated samples are truncated and pixels are tested for being inside
//! before that.

use image::RgbImage;

/// Stretches every channel to the full range.
pub(crate) fn autocontrast(image: &RgbImage) -> RgbImage {
    per_channel(image, |counts| {
        let lowest = counts.iter().position(|&count| count > 0)?;
        let highest = counts.iter().rposition(|&count| count > 0)?;
        if highest <= lowest {
            return None;
        }
        let scale = 255.0 / (highest - lowest) as f64;
        let offset = -(lowest as f64) * scale;
        Some(std::array::from_fn(|level| (level as f64 * scale + offset) as u8))
    })
}

/// Equalises the histogram of every channel.
pub(crate) fn equalize(image: &RgbImage) -> RgbImage {
    per_channel(image, |counts| {
        let last = counts.iter().copied().rfind(|&count| count > 0)?;
        let total: u32 = counts.iter().sum();
        let step = (total - last) / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|level| {
            let target = (sum / step).min(255) as u8;
            sum += counts[level];
            target
        }))
    })
}

/// Keeps the upper `bits` of every sample, 0 to 8.
pub(crate) fn posterize(image: &RgbImage, bits: u32) -> RgbImage {
    let mask = (0xff00_u32 >> bits) as u8;
    map(image, |level| level & mask)
}

/// Inverts the samples from `threshold` up.
pub(crate) fn solarize(image: &RgbImage, threshold: u32) -> RgbImage {
    map(image, |level| if u32::from(level) < threshold { level } else { 255 - level })
}

/// Rotates counter-clockwise about the centre; what comes in is black.
pub(crate) fn rotate(image: &RgbImage, degrees: f64) -> RgbImage {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 {
        return image.clone();
    }
    let (sin, cos) = libm::sincos(-degrees.to_radians());
    let round = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let (sin, cos) = (round(sin), round(cos));
    let (cx, cy) = (f64::from(image.width()) / 2.0, f64::from(image.height()) / 2.0);
    let x0 = cos * -cx + sin * -cy + cx;
    let y0 = -sin * -cx + cos * -cy + cy;
    affine(image, [cos, sin, x0, -sin, cos, y0])
}

/// Bilinear affine transform. `[a, b, c, d, e, f]` takes the target (x, y) to the source (ax + by + c, dx + ey + f).
pub(crate) fn affine(image: &RgbImage, [a, b, c, d, e, f]: [f64; 6]) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let levels = image.as_raw();
    let mut out = RgbImage::new(image.width(), image.height());
    let clamp = |value: f64, length: usize| (value as i64).clamp(0, length as i64 - 1) as usize;
    for (y, row) in out.chunks_exact_mut(width * 3).enumerate() {
        let y = y as f64 + 0.5;
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let x = x as f64 + 0.5;
            let (source_x, source_y) = (a * x + b * y + c, d * x + e * y + f);
            if !(0.0..width as f64).contains(&source_x) || !(0.0..height as f64).contains(&source_y) {
                continue;
            }
            let (source_x, source_y) = (source_x - 0.5, source_y - 0.5);
            let (left, top) = (source_x.floor(), source_y.floor());
            let (u, v) = (source_x - left, source_y - top);
            let columns = [clamp(left, width) * 3, clamp(left + 1.0, width) * 3];
            let rows = [clamp(top, height) * width * 3, clamp(top + 1.0, height) * width * 3];
            let corners = [rows[0] + columns[0], rows[0] + columns[1], rows[1] + columns[0], rows[1] + columns[1]]
                .map(|start| &levels[start..start + 3]);
            for (channel, sample) in pixel.iter_mut().enumerate() {
                let at = |corner: usize| f64::from(corners[corner][channel]);
                let upper = at(0) + (at(1) - at(0)) * u;
                let lower = at(2) + (at(3) - at(2)) * u;
                *sample = (upper + (lower - upper) * v) as u8;
            }
        }
    }
    out
}

/// Blends with the grey image; a factor of 1 changes nothing.
pub(crate) fn color(image: &RgbImage, factor: f64) -> RgbImage {
    let mut grey = image.clone();
    grey.chunks_exact_mut(3).for_each(|pixel| pixel.fill(luma(pixel)));
    blend(&grey, image, factor)
}

/// Blends with the mean luma; a factor of 1 changes nothing.
pub(crate) fn contrast(image: &RgbImage, factor: f64) -> RgbImage {
    let pixels = image.as_raw().chunks_exact(3);
    let (count, sum) = (pixels.len(), pixels.map(|pixel| u64::from(luma(pixel))).sum::<u64>());
    let mean = (sum as f64 / count.max(1) as f64 + 0.5) as u8;
    let mut flat = image.clone();
    flat.fill(mean);
    blend(&flat, image, factor)
}

/// Blends with black; a factor of 1 changes nothing.
pub(crate) fn brightness(image: &RgbImage, factor: f64) -> RgbImage {
    blend(&RgbImage::new(image.width(), image.height()), image, factor)
}

/// Blends with a smoothed copy; a factor of 1 changes nothing.
pub(crate) fn sharpness(image: &RgbImage, factor: f64) -> RgbImage {
    blend(&smooth(image), image, factor)
}

/// The 3x3 mean with a centre of five; the outermost pixels are copied.
fn smooth(image: &RgbImage) -> RgbImage {
    let mut out = image.clone();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let stride = width * 3;
    let levels = image.as_raw();
    for y in 1..height.saturating_sub(1) {
        for i in y * stride + 3..((y + 1) * stride).saturating_sub(3) {
            let row =
                |start: usize| u32::from(levels[start - 3]) + u32::from(levels[start]) + u32::from(levels[start + 3]);
            let sum = row(i - stride) + row(i) + row(i + stride) + 4 * u32::from(levels[i]);
            out.as_mut()[i] = ((2 * sum + 13) / 26) as u8;
        }
    }
    out
}

fn luma(pixel: &[u8]) -> u8 {
    ((19595 * u32::from(pixel[0]) + 38470 * u32::from(pixel[1]) + 7471 * u32::from(pixel[2]) + 0x8000) >> 16) as u8
}

/// `from + factor * (to - from)`, clipped and truncated.
fn blend(from: &RgbImage, to: &RgbImage, factor: f64) -> RgbImage {
    let factor = factor as f32;
    let mut out = to.clone();
    for (to, &from) in out.iter_mut().zip(from.as_raw()) {
        let from = f32::from(from);
        *to = (from + factor * (f32::from(*to) - from)) as u8;
    }
    out
}

fn map(image: &RgbImage, map: impl Fn(u8) -> u8) -> RgbImage {
    let mut out = image.clone();
    out.iter_mut().for_each(|level| *level = map(*level));
    out
}

/// Maps every channel through a table made from its histogram; a channel without a table stays.
fn per_channel(image: &RgbImage, table: impl Fn(&[u32; 256]) -> Option<[u8; 256]>) -> RgbImage {
    let mut counts = [[0; 256]; 3];
    for pixel in image.as_raw().chunks_exact(3) {
        pixel.iter().zip(&mut counts).for_each(|(&level, counts)| counts[usize::from(level)] += 1);
    }
    let identity = std::array::from_fn(|level| level as u8);
    let tables = counts.each_ref().map(|counts| table(counts).unwrap_or(identity));
    let mut out = image.clone();
    for pixel in out.chunks_exact_mut(3) {
        pixel.iter_mut().zip(&tables).for_each(|(level, table)| *level = table[usize::from(*level)]);
    }
    out
}
