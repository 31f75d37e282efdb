//! Gaussian, defocus, glass and zoom blur. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; tables from the
//! authors' code.

use image::RgbImage;
use robustify_rng::Stream;

use crate::filter::{Border, Field, gaussian, pad_row, rebuild, unit_levels};
use crate::profile::PerProfile;

/// Gaussian blur: standard deviation in pixels per severity 1-5.
pub(crate) const GAUSSIAN: PerProfile<[f64; 5]> =
    PerProfile { cifar: [0.4, 0.6, 0.7, 0.8, 1.0], imagenet: [1.0, 2.0, 3.0, 4.0, 6.0] };

/// Defocus blur: radius of the disk and standard deviation of its anti-aliasing, in pixels.
pub(crate) const DEFOCUS: PerProfile<[(f64, f64); 5]> = PerProfile {
    cifar: [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)],
    imagenet: [(3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)],
};

/// Glass blur: standard deviation in pixels, reach of the jitter in pixels, rounds.
pub(crate) const GLASS: PerProfile<[(f64, i64, usize); 5]> = PerProfile {
    cifar: [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    imagenet: [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
};

/// Zoom blur: step between magnifications, and how many of them, from 1 on.
///
/// The authors wrote ranges whose end is excluded but for rounding; these are the counts that come out of them.
pub(crate) const ZOOM: PerProfile<[(f64, usize); 5]> = PerProfile {
    cifar: [(0.01, 7), (0.01, 12), (0.01, 16), (0.01, 21), (0.01, 26)],
    imagenet: [(0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11)],
};

/// Gaussian blur with `sigma` in pixels, edges extended.
pub(crate) fn gaussian_blur(image: &RgbImage, sigma: f64) -> RgbImage {
    gaussian(Field::from_image(image), sigma, 4.0, Border::Nearest).to_image()
}

/// Correlation with a disk, edges mirrored about the border pixel.
pub(crate) fn defocus(image: &RgbImage, disk: &Disk) -> RgbImage {
    let field = Field::from_image(image);
    let (reach, stride) = (disk.reach, field.width * 3);
    let padded_stride = stride + 2 * reach * 3;
    let mut padded = vec![0.0; padded_stride * field.height];
    for (row, target) in field.data.chunks_exact(stride).zip(padded.chunks_exact_mut(padded_stride)) {
        pad_row(row, 3, reach, Border::Reflect101, target);
    }
    let mut out = Field { data: vec![0.0; field.data.len()], ..field };
    for (y, target) in out.data.chunks_exact_mut(stride).enumerate() {
        for &(dy, dx, weight) in &disk.taps {
            let source = Border::Reflect101.resolve(y as i64 + dy, out.height);
            let start = source * padded_stride + (reach as i64 + dx) as usize * 3;
            target.iter_mut().zip(&padded[start..][..stride]).for_each(|(t, s)| *t += weight * s);
        }
    }
    out.to_image()
}

/// The anti-aliased disk of defocus blur, as its non-zero taps in reading order.
pub(crate) struct Disk {
    reach: usize,
    taps: Vec<(i64, i64, f64)>,
}

impl Disk {
    /// The disk on a grid of at least 17x17, smoothed by OpenCV's Gaussian with mirrored borders *on that grid*:
    /// where the disk touches the edge of the grid, as for radius 8 and 10, its sum exceeds one. That is part of the
    /// definition.
    pub fn new(radius: f64, alias_sigma: f64) -> Self {
        let (grid_reach, alias_reach) = if radius <= 8.0 { (8, 1) } else { (radius as i64, 2) };
        let side = (2 * grid_reach + 1) as usize;
        let inside = |i: usize| {
            let (y, x) = ((i / side) as f64 - grid_reach as f64, (i % side) as f64 - grid_reach as f64);
            x * x + y * y <= radius * radius
        };
        let mask: Vec<f64> = (0..side * side).map(|i| f64::from(u8::from(inside(i)))).collect();
        let count: f64 = mask.iter().sum();
        let data = mask.into_iter().map(|value| f64::from((value / count) as f32)).collect();
        let disk = smooth(&Field { width: side, height: side, channels: 1, data }, alias_sigma, alias_reach);
        let taps: Vec<_> = disk
            .iter()
            .enumerate()
            .map(|(i, &weight)| ((i / side) as i64 - grid_reach, (i % side) as i64 - grid_reach, weight))
            // Lighter taps cannot move a sum of about one in double precision.
            .filter(|tap| tap.2 > 1e-18)
            .collect();
        let reach = taps.iter().map(|tap| tap.1.unsigned_abs() as usize).max().unwrap_or(0);
        Self { reach, taps }
    }
}

/// OpenCV's GaussianBlur with a fixed number of taps, in its single precision: on flat areas that decides about a
/// level.
fn smooth(field: &Field, sigma: f64, reach: i64) -> Vec<f64> {
    let half: Vec<f64> = (0..=reach).map(|i| libm::exp(-0.5 * (i * i) as f64 / (sigma * sigma))).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    let single = |value: f64| f64::from(value as f32);
    let side = field.width;
    let pass = |data: &[f64], step_y: i64, step_x: i64| -> Vec<f64> {
        (0..side * side)
            .map(|i| {
                let (y, x) = ((i / side) as i64, (i % side) as i64);
                let at = |offset: i64| {
                    let y = Border::Reflect101.resolve(y + offset * step_y, side);
                    let x = Border::Reflect101.resolve(x + offset * step_x, side);
                    single(half[offset.unsigned_abs() as usize] / sum) * data[y * side + x]
                };
                single((-reach..=reach).map(at).sum())
            })
            .collect()
    };
    pass(&pass(&field.data, 0, 1), 1, 0)
}

/// Glass blur: blur, let pixels be overwritten by neighbours, blur.
///
/// `jitter()` is in `-reach..reach`, first for x and then for y. The authors meant to swap two pixels, but their swap
/// of array views copies the neighbour and leaves it in place; every published number was made with the copy, so this
/// copies.
pub(crate) fn glass(
    image: &RgbImage,
    sigma: f64,
    reach: i64,
    rounds: usize,
    mut jitter: impl FnMut() -> i64,
) -> RgbImage {
    let mut work = gaussian_blur(image, sigma);
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let stride = width as usize * 3;
    for _ in 0..rounds {
        for y in (reach + 1..=height - reach).rev() {
            for x in (reach + 1..=width - reach).rev() {
                let (dx, dy) = (jitter(), jitter());
                let source = (y + dy) as usize * stride + (x + dx) as usize * 3;
                let target = y as usize * stride + x as usize * 3;
                work.copy_within(source..source + 3, target);
            }
        }
    }
    gaussian_blur(&work, sigma)
}

/// The draws of [`glass`].
pub(crate) fn jitter(reach: i64, stream: &mut Stream) -> impl FnMut() -> i64 {
    move || i64::from(stream.below(2 * reach as u32)) - reach
}

/// Zoom blur: the mean of the image (twice) and its magnifications about the centre.
///
/// Sums run in single precision, layer by layer, as in the reference. Neighbouring magnifications often crop and
/// stretch alike; such a layer is computed once and added again.
pub(crate) fn zoom(image: &RgbImage, step: f64, count: usize) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let unit: Vec<f32> = unit_levels().map(|level| level as f32).to_vec();
    let pixels: Vec<f32> = image.as_raw().iter().map(|&level| unit[usize::from(level)]).collect();
    let mut sum = vec![0.0_f32; pixels.len()];
    let mut layer = pixels.clone();
    let mut last = (Axis::plan(width, 1.0), Axis::plan(height, 1.0));
    for index in 0..count {
        // As numpy's arange counts: the step is what its addition to one leaves of it.
        let factor = 1.0 + index as f64 * ((1.0 + step) - 1.0);
        let plan = (Axis::plan(width, factor), Axis::plan(height, factor));
        if plan != last {
            magnify(&pixels, 3, width, plan, &mut layer);
            last = plan;
        }
        sum.iter_mut().zip(&layer).for_each(|(s, l)| *s += l);
    }
    let divisor = (count + 1) as f32;
    let level = |(pixel, sum): (&f32, &f32)| (((pixel + sum) / divisor).clamp(0.0, 1.0) * 255.0) as u8;
    rebuild(width, height, pixels.iter().zip(&sum).map(level).collect())
}

/// How one axis is cropped about its centre and stretched linearly back to its length.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    length: usize,
    /// First sample and number of samples of the crop.
    start: usize,
    crop: usize,
    /// Length of the stretched crop, and how much of it is trimmed on the low side.
    stretched: usize,
    trim: usize,
}

impl Axis {
    /// `factor` at least one.
    pub fn plan(length: usize, factor: f64) -> Self {
        let crop = ((length as f64 / factor).ceil() as usize).min(length);
        let stretched = ((crop as f64 * factor).round_ties_even() as usize).max(length);
        Self { length, start: (length - crop) / 2, crop, stretched, trim: (stretched - length) / 2 }
    }

    /// For every target place: the lower source place, the higher one, and the weight of the higher.
    fn samples(self) -> impl Iterator<Item = (usize, usize, f64)> {
        (0..self.length).map(move |target| {
            let top = self.crop - 1;
            let place = match self.stretched {
                1 => 0.0,
                stretched => ((target + self.trim) as f64 * (top as f64 / (stretched - 1) as f64)).min(top as f64),
            };
            let low = (place as usize).min(top);
            (self.start + low, self.start + (low + 1).min(top), place - low as f64)
        })
    }
}

/// Crops and stretches an interleaved image of `plan.0` by `plan.1` pixels.
pub(crate) fn magnify<T: Copy + Into<f64> + Narrow>(
    pixels: &[T],
    channels: usize,
    width: usize,
    plan: (Axis, Axis),
    out: &mut [T],
) {
    let stride = width * channels;
    let columns: Vec<_> = plan.0.samples().collect();
    let mut blended = vec![0.0_f64; stride];
    for ((low, high, weight), target) in plan.1.samples().zip(out.chunks_exact_mut(stride)) {
        let (low, high) = (&pixels[low * stride..][..stride], &pixels[high * stride..][..stride]);
        for ((b, &l), &h) in blended.iter_mut().zip(low).zip(high) {
            *b = l.into() * (1.0 - weight) + h.into() * weight;
        }
        for (pixel, &(low, high, weight)) in target.chunks_exact_mut(channels).zip(&columns) {
            for (channel, sample) in pixel.iter_mut().enumerate() {
                let (l, h) = (blended[low * channels + channel], blended[high * channels + channel]);
                *sample = T::narrow(l * (1.0 - weight) + h * weight);
            }
        }
    }
}

/// Back from double precision.
pub(crate) trait Narrow {
    fn narrow(value: f64) -> Self;
}

impl Narrow for f32 {
    fn narrow(value: f64) -> Self {
        value as Self
    }
}

impl Narrow for f64 {
    fn narrow(value: f64) -> Self {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn disks_have_the_sums_and_sizes_of_the_reference() {
        let disks = DEFOCUS.get(Profile::ImagenetC).map(|(radius, alias)| Disk::new(radius, alias));
        let sums = disks.each_ref().map(|disk| disk.taps.iter().map(|tap| tap.2).sum::<f64>());
        for (sum, want) in sums.into_iter().zip([1.0, 1.0, 1.0, 1.012_975, 1.010_786]) {
            assert!((sum - want).abs() < 1e-6, "{sum} against {want}");
        }
        // Of the first, 32 more taps of 1e-45 are left out.
        assert_eq!(disks.map(|disk| disk.taps.len()), [29, 89, 169, 257, 429]);
    }

    #[test]
    fn magnifications_are_those_of_arange() {
        // 1.25 is reached as 1.2500000000000002, which crops 26 samples of 32 and stretches them to 33, not 32.
        let (step, count) = ZOOM.get(Profile::CifarC)[4];
        let plan = Axis::plan(32, 1.0 + (count - 1) as f64 * ((1.0 + step) - 1.0));
        assert_eq!((plan.crop, plan.stretched), (26, 33));
    }
}
