//! Separable Gaussian filters with the borders and the order of summation of scipy.
//!
//! The order is kept because results are truncated to eight bits: on flat areas a sum that falls one unit in the last
//! place short costs a whole level.

use image::RgbImage;

/// Samples in rows, `channels` of them interleaved at every pixel.
#[derive(Clone)]
pub(crate) struct Field {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub data: Vec<f64>,
}

impl Field {
    /// The image in `[0, 1]`.
    pub fn from_image(image: &RgbImage) -> Self {
        let unit = unit_levels();
        let data = image.as_raw().iter().map(|&level| unit[usize::from(level)]).collect();
        Self { width: image.width() as usize, height: image.height() as usize, channels: 3, data }
    }

    /// Clips to `[0, 1]`, scales and truncates, as every reference generator does.
    pub fn to_image(&self) -> RgbImage {
        rebuild(self.width, self.height, self.data.iter().map(|&value| to_level(value)).collect())
    }

    fn row(&self, y: usize) -> &[f64] {
        let stride = self.width * self.channels;
        &self.data[y * stride..][..stride]
    }
}

/// How a filter reads beyond the edge.
#[derive(Clone, Copy)]
pub(crate) enum Border {
    /// a a a | a b c d | d d d
    Nearest,
    /// c b a | a b c d | d c b
    Reflect,
    /// d c b | a b c d | c b a
    Reflect101,
}

impl Border {
    /// The place in `0..length` that stands for `index`.
    pub fn resolve(self, index: i64, length: usize) -> usize {
        let n = length as i64;
        if (0..n).contains(&index) {
            return index as usize;
        }
        let place = match self {
            Self::Nearest => index.clamp(0, n - 1),
            Self::Reflect => {
                let folded = index.rem_euclid(2 * n);
                folded.min(2 * n - 1 - folded)
            }
            Self::Reflect101 if n == 1 => 0,
            Self::Reflect101 => {
                let folded = index.rem_euclid(2 * n - 2);
                folded.min(2 * n - 2 - folded)
            }
        };
        place as usize
    }
}

/// Level / 255 for every level.
pub(crate) fn unit_levels() -> [f64; 256] {
    std::array::from_fn(|level| level as f64 / 255.0)
}

/// Clip to `[0, 1]`, times 255, truncated.
pub(crate) fn to_level(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0) as u8
}

/// An image from samples whose number is right by construction.
pub(crate) fn rebuild(width: usize, height: usize, samples: Vec<u8>) -> RgbImage {
    RgbImage::from_raw(width as u32, height as u32, samples).expect("the buffer was sized by the same width and height")
}

/// The weights at distance 0, 1, ... of a normalised Gaussian, cut at `truncate` standard deviations.
pub(crate) fn gaussian_weights(sigma: f64, truncate: f64) -> Vec<f64> {
    let radius = (truncate * sigma + 0.5) as usize;
    if radius == 0 {
        return vec![1.0];
    }
    let half: Vec<f64> = (0..=radius).map(|i| libm::exp(-0.5 / (sigma * sigma) * (i * i) as f64)).collect();
    let sum = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    half.into_iter().map(|weight| weight / sum).collect()
}

/// Gaussian blur within each channel, rows first down and then across. `sigma` in pixels; zero leaves the field alone.
pub(crate) fn gaussian(field: Field, sigma: f64, truncate: f64, border: Border) -> Field {
    let weights = gaussian_weights(sigma, truncate);
    if weights.len() == 1 {
        return field;
    }
    across(&down(&field, &weights, border), &weights, border)
}

fn down(field: &Field, weights: &[f64], border: Border) -> Field {
    let mut out = field.clone();
    let stride = field.width * field.channels;
    if stride == 0 {
        return out;
    }
    let folded = (weights.len() > field.height).then(|| fold(weights, field.height, border));
    for (y, target) in out.data.chunks_exact_mut(stride).enumerate() {
        if let Some(matrix) = &folded {
            target.fill(0.0);
            for (source, &weight) in matrix[y * field.height..][..field.height].iter().enumerate() {
                target.iter_mut().zip(field.row(source)).for_each(|(t, s)| *t += weight * s);
            }
            continue;
        }
        target.iter_mut().for_each(|t| *t *= weights[0]);
        for (distance, &weight) in weights.iter().enumerate().skip(1).rev() {
            let above = field.row(border.resolve(y as i64 - distance as i64, field.height));
            let below = field.row(border.resolve(y as i64 + distance as i64, field.height));
            for ((t, a), b) in target.iter_mut().zip(above).zip(below) {
                *t += (a + b) * weight;
            }
        }
    }
    out
}

fn across(field: &Field, weights: &[f64], border: Border) -> Field {
    let mut out = field.clone();
    let (channels, stride) = (field.channels, field.width * field.channels);
    if weights.len() > field.width {
        let matrix = fold(weights, field.width, border);
        for (y, target) in out.data.chunks_exact_mut(stride).enumerate() {
            across_folded(field.row(y), &matrix, channels, target);
        }
        return out;
    }
    let radius = weights.len() - 1;
    let mut padded = vec![0.0; stride + 2 * radius * channels];
    for (y, target) in out.data.chunks_exact_mut(stride).enumerate() {
        pad_row(field.row(y), channels, radius, border, &mut padded);
        target.iter_mut().for_each(|t| *t *= weights[0]);
        for (distance, &weight) in weights.iter().enumerate().skip(1).rev() {
            let left = &padded[(radius - distance) * channels..][..stride];
            let right = &padded[(radius + distance) * channels..][..stride];
            for ((t, l), r) in target.iter_mut().zip(left).zip(right) {
                *t += (l + r) * weight;
            }
        }
    }
    out
}

fn across_folded(row: &[f64], matrix: &[f64], channels: usize, target: &mut [f64]) {
    let width = row.len() / channels;
    for (x, pixel) in target.chunks_exact_mut(channels).enumerate() {
        let weights = &matrix[x * width..][..width];
        for (channel, sample) in pixel.iter_mut().enumerate() {
            *sample = if channels == 1 {
                dot(weights, row)
            } else {
                weights.iter().zip(row[channel..].iter().step_by(channels)).map(|(w, s)| w * s).sum()
            };
        }
    }
}

/// A dot product in eight lanes, so that it vectorises.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a.zip(b) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + tail
}

/// A kernel wider than the axis, folded at the borders into a dense matrix: row = target, column = source.
fn fold(weights: &[f64], length: usize, border: Border) -> Vec<f64> {
    let mut matrix = vec![0.0; length * length];
    for (target, row) in matrix.chunks_exact_mut(length).enumerate() {
        for (distance, weight) in weights.iter().enumerate() {
            row[border.resolve(target as i64 + distance as i64, length)] += weight;
            if distance > 0 {
                row[border.resolve(target as i64 - distance as i64, length)] += weight;
            }
        }
    }
    matrix
}

/// Copies `row` into `padded` with `margin` pixels of border on either side.
pub(crate) fn pad_row<T: Copy>(row: &[T], channels: usize, margin: usize, border: Border, padded: &mut [T]) {
    let width = row.len() / channels;
    padded[margin * channels..][..row.len()].copy_from_slice(row);
    for step in 0..margin {
        let left = border.resolve(step as i64 - margin as i64, width) * channels;
        let right = border.resolve((width + step) as i64, width) * channels;
        padded[step * channels..][..channels].copy_from_slice(&row[left..][..channels]);
        padded[(margin + width + step) * channels..][..channels].copy_from_slice(&row[right..][..channels]);
    }
}
