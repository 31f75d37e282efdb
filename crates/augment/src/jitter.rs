//! Colour jitter with the arithmetic of torchvision on Pillow's images.

use image::RgbImage;
use robustify_rng::Stream;

use crate::pillow::PillowOp;
use crate::scratch::Scratch;

/// Random brightness, contrast, saturation and hue, in random order.
///
/// **These are corruptions of the benchmark** (`brightness`, `contrast` and `saturate` of ImageNet-C): a model trained
/// with them is not comparable with published results, so no default uses them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourJitter {
    /// The factor is uniform in `1 +- brightness`, at least 0.
    pub brightness: f64,
    /// The factor is uniform in `1 +- contrast`, at least 0.
    pub contrast: f64,
    /// The factor is uniform in `1 +- saturation`, at least 0.
    pub saturation: f64,
    /// The shift is uniform in `+- hue`, in turns, at most 0.5.
    pub hue: f64,
}

impl Default for ColourJitter {
    /// The values of most recipes: 0.4, and no hue.
    fn default() -> Self {
        Self { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.0 }
    }
}

impl ColourJitter {
    /// One augmented view of the image, of the same size.
    pub fn apply(&self, image: &RgbImage, stream: &mut Stream, scratch: &mut Scratch) -> RgbImage {
        let mut order = [0, 1, 2, 3];
        stream.shuffle(&mut order);
        let mut factor = |reach: f64| stream.uniform((1.0 - reach).max(0.0), 1.0 + reach);
        let ops = [
            (self.brightness, PillowOp::Brightness(factor(self.brightness))),
            (self.contrast, PillowOp::Contrast(factor(self.contrast))),
            (self.saturation, PillowOp::Color(factor(self.saturation))),
        ];
        let shift = stream.uniform(-self.hue, self.hue);
        let mut out = image.clone();
        for index in order {
            match ops.get(index) {
                Some((reach, op)) if *reach > 0.0 => out = op.apply(&out, scratch),
                None if self.hue > 0.0 => shift_hue(&mut out, shift),
                _ => {}
            }
        }
        out
    }
}

/// Turns the hue by a share of the circle in `[-0.5, 0.5]`, in steps of 1/255, in eight-bit HSV.
pub(crate) fn shift_hue(image: &mut RgbImage, shift: f64) {
    let shift = (shift * 255.0) as i32 as u8;
    for pixel in image.pixels_mut() {
        let [hue, saturation, value] = to_hsv(pixel.0);
        pixel.0 = from_hsv([hue.wrapping_add(shift), saturation, value]);
    }
}

/// Eight-bit HSV as Pillow computes it.
fn to_hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let [r, g, b] = [red, green, blue].map(|level| f32::from(most - level) / range);
    let sector = if red == most {
        b - g
    } else if green == most {
        (2.0 + f64::from(r) - f64::from(b)) as f32
    } else {
        (4.0 + f64::from(g) - f64::from(r)) as f32
    };
    let hue = ((f64::from(sector) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

/// The colour of eight-bit HSV as Pillow computes it.
fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let place = f64::from(hue) * 6.0 / 255.0;
    let sector = place.floor();
    let share = f64::from((place - sector) as f32);
    let level = |loss: f64| (f64::from(value) * (1.0 - loss)).round() as u8;
    let (p, q, t) = (level(saturation), level(saturation * share), level(saturation * (1.0 - share)));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_match_pillow() {
        let stack = image::load_from_memory(include_bytes!("../goldens/pillow/hue.png")).unwrap().into_rgb8();
        let part = |index: u32| image::imageops::crop_imm(&stack, 0, 32 * index, 32, 32).to_image();
        for (shift, index) in [-0.5, -0.1, 0.03, 0.25].into_iter().zip(1..) {
            let mut got = part(0);
            shift_hue(&mut got, shift);
            assert!(got == part(index), "a shift of {shift}");
        }
    }
}
