//! AugMix: a convex mixture of the image and of chains of simple operations.
//!
//! Source: Hendrycks et al. 2020, arXiv:1912.02781, and its authors' code. The mixture is rounded to eight bits here;
//! the reference mixes after normalisation and keeps floats, which is the same mixture but for the rounding.

use image::RgbImage;
use robustify_rng::Stream;

use crate::pillow;

/// AugMix and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AugMix {
    /// Number of chains that are mixed; without any the image stays as it is.
    pub width: usize,
    /// Operations in a chain; none draws 1, 2 or 3 for every chain.
    pub depth: Option<u32>,
    /// Upper end of the uniform strength of an operation, in `(0.1, 10]`. CIFAR uses 3, ImageNet 1.
    pub severity: f64,
    /// Parameter of the Dirichlet weights of the chains and of the Beta weight between image and mixture.
    pub alpha: f64,
    /// The operations to draw from.
    pub ops: OpSet,
}

impl Default for AugMix {
    /// The authors' settings for CIFAR.
    fn default() -> Self {
        Self { width: 3, depth: None, severity: 3.0, alpha: 1.0, ops: OpSet::Default }
    }
}

impl AugMix {
    /// One augmented view of the image, of the same size.
    pub fn apply(&self, image: &RgbImage, stream: &mut Stream) -> RgbImage {
        if image.is_empty() || self.width == 0 {
            return image.clone();
        }
        let draws: Vec<f64> = (0..self.width).map(|_| stream.gamma(self.alpha)).collect();
        let sum: f64 = draws.iter().sum();
        let share = stream.beta(self.alpha, self.alpha);
        let mut mixture: Vec<f32> =
            image.as_raw().iter().map(|&level| (1.0 - share) as f32 * f32::from(level)).collect();
        for draw in draws {
            let depth = self.depth.unwrap_or_else(|| 1 + stream.below(3));
            let mut chain = image.clone();
            for _ in 0..depth {
                chain = self.ops.draw(stream).apply(&chain, self.severity, stream);
            }
            let weight = (share * draw / sum) as f32;
            mixture.iter_mut().zip(chain.as_raw()).for_each(|(sum, &level)| *sum += weight * f32::from(level));
        }
        let mut out = image.clone();
        out.iter_mut().zip(mixture).for_each(|(level, sum)| *level = (sum + 0.5) as u8);
        out
    }
}

/// Which operations AugMix draws from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OpSet {
    /// The nine that are no corruptions of the benchmark.
    #[default]
    Default,
    /// All thirteen; `color`, `contrast`, `brightness` and `sharpness` overlap with ImageNet-C, so results are not
    /// comparable.
    All,
}

impl OpSet {
    /// The names of the operations.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.ops().iter().map(|op| op.name())
    }

    fn ops(self) -> &'static [Op] {
        match self {
            Self::Default => &Op::ALL[..9],
            Self::All => &Op::ALL,
        }
    }

    fn draw(self, stream: &mut Stream) -> Op {
        self.ops()[stream.below(self.ops().len() as u32) as usize]
    }
}

/// An operation of AugMix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Autocontrast,
    Equalize,
    Posterize,
    Rotate,
    Solarize,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Color,
    Contrast,
    Brightness,
    Sharpness,
}

impl Op {
    const ALL: [Self; 13] = [
        Self::Autocontrast,
        Self::Equalize,
        Self::Posterize,
        Self::Rotate,
        Self::Solarize,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Color,
        Self::Contrast,
        Self::Brightness,
        Self::Sharpness,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Autocontrast => "autocontrast",
            Self::Equalize => "equalize",
            Self::Posterize => "posterize",
            Self::Rotate => "rotate",
            Self::Solarize => "solarize",
            Self::ShearX => "shear_x",
            Self::ShearY => "shear_y",
            Self::TranslateX => "translate_x",
            Self::TranslateY => "translate_y",
            Self::Color => "color",
            Self::Contrast => "contrast",
            Self::Brightness => "brightness",
            Self::Sharpness => "sharpness",
        }
    }

    /// Applies the operation at a strength drawn uniformly from `[0.1, severity)`, out of ten.
    fn apply(self, image: &RgbImage, severity: f64, stream: &mut Stream) -> RgbImage {
        let strength = stream.uniform(0.1, severity.max(0.1)) / 10.0;
        let mut sign = || if stream.chance(0.5) { -1.0 } else { 1.0 };
        // Whole steps are truncated, and thirds of a side are taken before that.
        let pixels = |side: u32| (f64::from(side) / 3.0 * strength).trunc();
        match self {
            Self::Autocontrast => pillow::autocontrast(image),
            Self::Equalize => pillow::equalize(image),
            Self::Posterize => pillow::posterize(image, 4 - (4.0 * strength).min(4.0) as u32),
            Self::Rotate => pillow::rotate(image, sign() * (30.0 * strength).trunc()),
            Self::Solarize => pillow::solarize(image, 256 - (256.0 * strength).min(256.0) as u32),
            Self::ShearX => pillow::affine(image, [1.0, sign() * 0.3 * strength, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY => pillow::affine(image, [1.0, 0.0, 0.0, sign() * 0.3 * strength, 1.0, 0.0]),
            Self::TranslateX => pillow::affine(image, [1.0, 0.0, sign() * pixels(image.width()), 0.0, 1.0, 0.0]),
            Self::TranslateY => pillow::affine(image, [1.0, 0.0, 0.0, 0.0, 1.0, sign() * pixels(image.height())]),
            // These factors are neutral at strength 5 only, so a low severity darkens and fades; the authors' code
            // does the same.
            Self::Color => pillow::color(image, 1.8 * strength + 0.1),
            Self::Contrast => pillow::contrast(image, 1.8 * strength + 0.1),
            Self::Brightness => pillow::brightness(image, 1.8 * strength + 0.1),
            Self::Sharpness => pillow::sharpness(image, 1.8 * strength + 0.1),
        }
    }
}
