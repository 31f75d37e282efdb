//! RandConv: the image through a small convolution with random weights, mixed with the image itself.
//!
//! Sources: Xu et al. 2021, "Robust and Generalizable Visual Representation Learning via Random Convolutions",
//! arXiv:2007.13003; Noise2Net of DeepAugment, Hendrycks et al. 2021, arXiv:2006.16241. This is smaller than
//! Noise2Net: two layers instead of four residual blocks.

use image::RgbImage;
use robustify_rng::Stream;

/// A random two-layer convolution and its parameters.
///
/// It changes colours and local contrast, and it shifts brightness and contrast as a whole, so it helps most against
/// the weather and contrast corruptions. Say so wherever its results are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandConv {
    /// Channels between the two layers.
    pub hidden: usize,
    /// Standard deviation of the shift of every channel's mean, for samples in `[0, 1]`.
    pub mean_shift: f64,
    /// Range of the uniform weight of the image in the mixture with its convolution.
    pub residual: (f64, f64),
}

impl Default for RandConv {
    fn default() -> Self {
        Self { hidden: 8, mean_shift: 0.15, residual: (0.25, 0.75) }
    }
}

/// The sides of kernels that are drawn from.
const KERNELS: [usize; 3] = [1, 3, 5];

/// Slope of the non-linearity below zero.
const LEAK: f32 = 0.1;

impl RandConv {
    /// One augmented view of the image, of the same size: `w * image + (1 - w) * convolved`, where the convolved
    /// image has the mean and deviation of the image in every channel, but for a random shift of the mean.
    pub fn apply(&self, image: &RgbImage, stream: &mut Stream) -> RgbImage {
        if image.is_empty() {
            return image.clone();
        }
        let mut input = Planes::from_image(image);
        let statistics: Vec<(f32, f32)> = (0..3).map(|channel| input.standardise(channel)).collect();
        let mut hidden = input.convolve(self.hidden, stream);
        hidden.data.iter_mut().for_each(|value| *value = value.max(LEAK * *value));
        let mut output = hidden.convolve(3, stream);
        let weight = stream.uniform(self.residual.0, self.residual.1) as f32;
        let mut out = image.clone();
        for (channel, (mean, deviation)) in statistics.into_iter().enumerate() {
            output.standardise(channel);
            let mean = mean + 255.0 * (self.mean_shift * stream.normal()) as f32;
            for (level, &value) in out.iter_mut().skip(channel).step_by(3).zip(output.plane(channel)) {
                let mixed = weight * f32::from(*level) + (1.0 - weight) * (mean + deviation * value);
                *level = (mixed + 0.5) as u8;
            }
        }
        out
    }
}

/// Channels one after the other, in levels.
struct Planes {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<f32>,
}

impl Planes {
    fn from_image(image: &RgbImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let channel = |channel: usize| image.as_raw().iter().skip(channel).step_by(3).map(|&level| f32::from(level));
        Self { width, height, channels: 3, data: (0..3).flat_map(channel).collect() }
    }

    fn plane(&self, channel: usize) -> &[f32] {
        let size = self.width * self.height;
        &self.data[channel * size..][..size]
    }

    /// Brings a channel to mean 0 and deviation 1 and returns what it had. A flat channel becomes zero.
    fn standardise(&mut self, channel: usize) -> (f32, f32) {
        let size = self.width * self.height;
        let plane = &mut self.data[channel * size..][..size];
        let mean = mean_of(plane, |value| value);
        plane.iter_mut().for_each(|value| *value -= mean);
        let deviation = mean_of(plane, |value| value * value).sqrt();
        let scale = if deviation > 1e-3 { 1.0 / deviation } else { 0.0 };
        plane.iter_mut().for_each(|value| *value *= scale);
        (mean, deviation)
    }

    /// A random convolution with edges extended: side drawn from [`KERNELS`], weights normal with variance 2 / fan-in.
    fn convolve(&self, channels: usize, stream: &mut Stream) -> Self {
        let side = KERNELS[stream.below(KERNELS.len() as u32) as usize];
        let scale = (2.0 / (self.channels * side * side) as f64).sqrt();
        let padded = Padded::new(self, side);
        let taps = self.channels * side * side;
        let size = self.width * self.height;
        let mut data = vec![0.0; channels * size];
        let mut kernel = vec![[0.0; TARGETS]; taps];
        for targets in data.chunks_mut(TARGETS * size) {
            for target in 0..targets.len() / size {
                kernel.iter_mut().for_each(|weights| weights[target] = (scale * stream.normal()) as f32);
            }
            for y in 0..self.height {
                for x in (0..self.width).step_by(LANES) {
                    let sums = padded.block(x, y, &kernel);
                    let count = LANES.min(self.width - x);
                    for (target, sums) in targets.chunks_exact_mut(size).zip(&sums) {
                        target[y * self.width + x..][..count].copy_from_slice(&sums[..count]);
                    }
                }
            }
        }
        Self { channels, data, ..*self }
    }
}

/// Values that are summed in single precision. The sum of a whole plane would lose the digits of what it adds.
const BLOCK: usize = 4096;

/// The mean of a function of the values.
fn mean_of(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let block = |block: &[f32]| f64::from(block.iter().map(|&value| of(value)).sum::<f32>());
    (values.chunks(BLOCK).map(block).sum::<f64>() / values.len() as f64) as f32
}

/// Output channels and columns that are summed at a time, few enough to stay in registers.
const TARGETS: usize = 4;
const LANES: usize = 8;

/// Planes with edges extended by half a kernel, and rows that can be read in whole blocks.
struct Padded {
    width: usize,
    side: usize,
    size: usize,
    data: Vec<f32>,
}

impl Padded {
    fn new(planes: &Planes, side: usize) -> Self {
        let margin = side / 2;
        let (width, height) = (planes.width.next_multiple_of(LANES) + 2 * margin, planes.height + 2 * margin);
        let mut data = Vec::with_capacity(planes.channels * width * height);
        for channel in 0..planes.channels {
            for y in 0..height {
                let source = y.saturating_sub(margin).min(planes.height - 1);
                let row = &planes.plane(channel)[source * planes.width..][..planes.width];
                data.extend(std::iter::repeat_n(row[0], margin));
                data.extend(row);
                data.extend(std::iter::repeat_n(row[planes.width - 1], width - planes.width - margin));
            }
        }
        Self { width, side, size: width * height, data }
    }

    /// The sums of some output channels in some columns of a row.
    fn block(&self, x: usize, y: usize, kernel: &[[f32; TARGETS]]) -> [[f32; LANES]; TARGETS] {
        let mut sums = [[0.0; LANES]; TARGETS];
        for (plane, taps) in self.data.chunks_exact(self.size).zip(kernel.chunks_exact(self.side * self.side)) {
            for (dy, taps) in taps.chunks_exact(self.side).enumerate() {
                let row = &plane[(y + dy) * self.width + x..][..LANES + self.side - 1];
                for (values, weights) in row.windows(LANES).zip(taps) {
                    for (sums, weight) in sums.iter_mut().zip(weights) {
                        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
                    }
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_planes_keep_their_mean_and_deviation() {
        let (width, height) = (4000, 3000);
        for levels in [[100.0; 2], [100.0, 102.0], [254.0, 255.0]] {
            let data = (0..width * height).map(|place| levels[place % 2]).collect();
            let (mean, deviation) = Planes { width, height, channels: 1, data }.standardise(0);
            let [low, high] = levels;
            assert!((mean - (low + high) / 2.0).abs() < 1e-3, "{levels:?}: mean {mean}");
            assert!((deviation - (high - low) / 2.0).abs() < 1e-3, "{levels:?}: deviation {deviation}");
        }
    }

    #[test]
    fn small_planes_are_summed_in_order() {
        let values: Vec<f32> = (0..BLOCK).map(|place| libm::sinf(place as f32) * 255.0).collect();
        assert_eq!(mean_of(&values, |value| value * value), sequential_mean(&values));
        let twice = [&values[..], &values].concat();
        assert_ne!(mean_of(&twice, |value| value * value), sequential_mean(&twice), "the case tells them apart");
    }

    /// The mean square, summed one by one in single precision.
    fn sequential_mean(values: &[f32]) -> f32 {
        values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32
    }
}
