//! CutOut and RandomErasing: a rectangle of the image is lost.
//!
//! Sources: DeVries & Taylor 2017, arXiv:1708.04552; Zhong et al. 2017, arXiv:1708.04896, with the constants of timm.

use image::RgbImage;
use robustify_rng::Stream;

/// Erases one square at a uniform place; what lies outside the image is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOut {
    /// Side of the square in pixels. The authors use 16 for CIFAR-10 and 8 for CIFAR-100; 56 to 112 are usual for
    /// ImageNet.
    pub size: u32,
    /// Level that the square is filled with, for every channel. The authors' zero after normalisation is the mean.
    pub fill: [u8; 3],
}

impl Default for CutOut {
    /// A square for CIFAR-10 of ImageNet's mean.
    fn default() -> Self {
        Self { size: 16, fill: MEAN }
    }
}

impl CutOut {
    /// Erases in place.
    pub fn apply(&self, image: &mut RgbImage, stream: &mut Stream) {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return;
        }
        let (y, x) = (stream.below(height), stream.below(width));
        let span = |centre: u32, side: u32| {
            let start = centre.saturating_sub(self.size / 2);
            start..(u64::from(centre) + u64::from(self.size - self.size / 2)).min(u64::from(side)) as u32
        };
        for y in span(y, height) {
            for x in span(x, width) {
                image.put_pixel(x, y, image::Rgb(self.fill));
            }
        }
    }
}

/// Erases a rectangle of random area and shape from some images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// Share of the images that lose a rectangle.
    pub probability: f64,
    /// Range of the uniform share of the image's area.
    pub area: (f64, f64),
    /// The height is the width times a number between this, in `(0, 1]`, and its inverse, uniform in its logarithm.
    pub aspect: f64,
    /// What the rectangle is filled with.
    pub fill: Filling,
}

/// What takes the place of an erased rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Normal noise for every sample, of ImageNet's mean and deviation: what timm calls `pixel`.
    Noise,
    /// ImageNet's mean: what timm calls `const`.
    Mean,
}

impl Default for RandomErasing {
    /// The constants of timm.
    fn default() -> Self {
        Self { probability: 0.25, area: (0.02, 1.0 / 3.0), aspect: 0.3, fill: Filling::Noise }
    }
}

/// ImageNet's mean in levels, rounded and exact, and its deviation.
const MEAN: [u8; 3] = [124, 116, 104];
const EXACT_MEAN: [f64; 3] = [123.675, 116.28, 103.53];
const DEVIATION: [f64; 3] = [58.395, 57.12, 57.375];

/// Rectangles that are drawn before the image is left as it is.
const ATTEMPTS: usize = 10;

impl RandomErasing {
    /// Erases in place.
    pub fn apply(&self, image: &mut RgbImage, stream: &mut Stream) {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 || !stream.chance(self.probability) {
            return;
        }
        let Some([left, top, wide, high]) = self.draw(width, height, stream) else { return };
        for y in top..top + high {
            for x in left..left + wide {
                let level = |channel: usize, stream: &mut Stream| match self.fill {
                    Filling::Noise => (EXACT_MEAN[channel] + DEVIATION[channel] * stream.normal() + 0.5) as u8,
                    Filling::Mean => MEAN[channel],
                };
                image.put_pixel(x, y, image::Rgb(std::array::from_fn(|channel| level(channel, stream))));
            }
        }
    }

    /// Left, top, width and height of a rectangle that is smaller than the image both ways.
    fn draw(&self, width: u32, height: u32, stream: &mut Stream) -> Option<[u32; 4]> {
        let bound = libm::log(self.aspect).abs();
        for _ in 0..ATTEMPTS {
            let area = stream.uniform(self.area.0, self.area.1) * f64::from(width) * f64::from(height);
            let aspect = libm::exp(stream.uniform(-bound, bound));
            let high = (area * aspect).sqrt().round_ties_even() as u32;
            let wide = (area / aspect).sqrt().round_ties_even() as u32;
            if wide < width && high < height {
                let top = stream.below(height - high + 1);
                return Some([stream.below(width - wide + 1), top, wide, high]);
            }
        }
        None
    }
}
