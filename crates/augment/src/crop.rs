//! A crop of random place, size and shape, brought to one size. Source: Szegedy et al. 2015, arXiv:1409.4842, with the
//! algorithm of torchvision.

use image::{RgbImage, imageops};
use robustify_rng::Stream;

use crate::pillow_resize::{Filter, resize};

/// Crops a random part and resizes it as Pillow does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomResizedCrop {
    /// Range of the uniform share of the image's area, in `(0, 1]`.
    pub scale: (f64, f64),
    /// Range of width by height, uniform in its logarithm.
    pub ratio: (f64, f64),
    /// How the part is resized.
    pub filter: Filter,
}

impl Default for RandomResizedCrop {
    /// The constants of torchvision.
    fn default() -> Self {
        Self { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0), filter: Filter::Bilinear }
    }
}

/// Parts that are drawn before the centre is taken.
const ATTEMPTS: usize = 10;

impl RandomResizedCrop {
    /// A random part of the image at the given size.
    pub fn apply(&self, image: &RgbImage, width: u32, height: u32, stream: &mut Stream) -> RgbImage {
        if image.is_empty() {
            return image.clone();
        }
        let [left, top, wide, high] = self.draw(image.width(), image.height(), stream);
        resize(&imageops::crop_imm(image, left, top, wide, high).to_image(), width, height, self.filter)
    }

    /// Left, top, width and height of a part.
    fn draw(&self, width: u32, height: u32, stream: &mut Stream) -> [u32; 4] {
        let bounds = (libm::log(self.ratio.0), libm::log(self.ratio.1));
        for _ in 0..ATTEMPTS {
            let area = f64::from(width) * f64::from(height) * stream.uniform(self.scale.0, self.scale.1);
            let ratio = libm::exp(stream.uniform(bounds.0, bounds.1));
            let wide = (area * ratio).sqrt().round_ties_even() as u32;
            let high = (area / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&wide) && (1..=height).contains(&high) {
                let top = stream.below(height - high + 1);
                return [stream.below(width - wide + 1), top, wide, high];
            }
        }
        // The largest centred part of an allowed shape.
        let ratio = f64::from(width) / f64::from(height);
        let wide = (f64::from(height) * self.ratio.1).round_ties_even().clamp(1.0, f64::from(width)) as u32;
        let high = (f64::from(width) / self.ratio.0).round_ties_even().clamp(1.0, f64::from(height)) as u32;
        let wide = if ratio > self.ratio.1 { wide } else { width };
        let high = if ratio < self.ratio.0 { high } else { height };
        [(width - wide) / 2, (height - high) / 2, wide, high]
    }
}

/// Mirrors the image left to right, for half of the draws.
pub fn random_flip(image: &mut RgbImage, stream: &mut Stream) {
    if stream.chance(0.5) {
        imageops::flip_horizontal_in_place(image);
    }
}
