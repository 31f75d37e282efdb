//! AugMix: a convex mixture of the image and of chains of simple operations.
//!
//! Source: Hendrycks et al. 2020, arXiv:1912.02781, and its authors' code. The mixture is rounded to eight bits here;
//! the reference mixes after normalisation and keeps floats, which is the same mixture but for the rounding.

use image::RgbImage;
use robustify_rng::Stream;

use crate::mixture::Mixture;
use crate::pillow::{Chain, Original, PillowOp};
use crate::scratch::Scratch;

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
        let mut out = RgbImage::new(image.width(), image.height());
        self.apply_into(image, stream, &mut Scratch::new(), &mut out);
        out
    }

    /// Writes one augmented view of the image into `out`, which gets the size of the image if it has another. Allocates
    /// nothing once `scratch` has seen an image of this size.
    pub fn apply_into(&self, image: &RgbImage, stream: &mut Stream, scratch: &mut Scratch, out: &mut RgbImage) {
        self.views_into(image, stream, scratch, std::slice::from_mut(out));
    }

    /// Writes several views of one image, drawn one after the other, which is a little cheaper than one at a time.
    ///
    /// The Jensen-Shannon loss of the authors takes triples: the image itself and two views of it.
    pub fn views_into(&self, image: &RgbImage, stream: &mut Stream, scratch: &mut Scratch, views: &mut [RgbImage]) {
        for view in &mut *views {
            if view.dimensions() != image.dimensions() {
                *view = RgbImage::new(image.width(), image.height());
            }
        }
        if image.is_empty() || self.width == 0 {
            views.iter_mut().for_each(|view| view.copy_from_slice(image));
            return;
        }
        let original = Original::new(image, scratch);
        views.iter_mut().for_each(|view| self.mix(&original, stream, scratch, view));
        original.image.give(scratch);
    }

    /// Draws one view.
    fn mix(&self, original: &Original, stream: &mut Stream, scratch: &mut Scratch, out: &mut RgbImage) {
        let mut draws = scratch.take::<f64>(self.width);
        stream.gammas(self.alpha, &mut draws);
        let sum: f64 = draws.iter().sum();
        let share = stream.beta(self.alpha, self.alpha);
        let mut mixture = Mixture::new(original, (1.0 - share) as f32, scratch);
        for draw in &draws {
            let depth = self.depth.unwrap_or_else(|| 1 + stream.below(3));
            let mut chain = Chain::new(original);
            for _ in 0..depth {
                chain.apply(self.ops.draw(original, self.severity, stream), scratch);
            }
            mixture.add(chain, (share * draw / sum) as f32);
        }
        mixture.finish(out, scratch);
        scratch.give(draws);
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

    /// An operation at a strength drawn uniformly from `[0.1, severity)`, out of ten.
    pub(crate) fn draw(self, original: &Original, severity: f64, stream: &mut Stream) -> PillowOp {
        let op = self.ops()[stream.below(self.ops().len() as u32) as usize];
        op.draw((original.image.width, original.image.height), severity, stream)
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

    fn draw(self, (width, height): (usize, usize), severity: f64, stream: &mut Stream) -> PillowOp {
        let strength = stream.uniform(0.1, severity.max(0.1)) / 10.0;
        let mut sign = || if stream.chance(0.5) { -1.0 } else { 1.0 };
        // Whole steps are truncated, and thirds of a side are taken before that.
        let pixels = |side: usize| (side as f64 / 3.0 * strength).trunc();
        // These factors are neutral at strength 5 only, so a low severity darkens and fades; the authors' code does the
        // same.
        let factor = 1.8 * strength + 0.1;
        match self {
            Self::Autocontrast => PillowOp::Autocontrast,
            Self::Equalize => PillowOp::Equalize,
            Self::Posterize => PillowOp::Posterize(4 - (4.0 * strength).min(4.0) as u32),
            Self::Rotate => PillowOp::Rotate(sign() * (30.0 * strength).trunc()),
            Self::Solarize => PillowOp::Solarize(256 - (256.0 * strength).min(256.0) as u32),
            Self::ShearX => PillowOp::ShearX(sign() * 0.3 * strength),
            Self::ShearY => PillowOp::ShearY(sign() * 0.3 * strength),
            Self::TranslateX => PillowOp::TranslateX((sign() * pixels(width)) as i64),
            Self::TranslateY => PillowOp::TranslateY((sign() * pixels(height)) as i64),
            Self::Color => PillowOp::Color(factor),
            Self::Contrast => PillowOp::Contrast(factor),
            Self::Brightness => PillowOp::Brightness(factor),
            Self::Sharpness => PillowOp::Sharpness(factor),
        }
    }
}
