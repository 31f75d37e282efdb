//! PixMix: the image and a structured picture, mixed by sums and products.
//!
//! Source: Hendrycks et al. 2022, arXiv:2112.05135, and its authors' code. Samples stay floats in `[0, 1]` until the end,
//! where they are rounded to eight bits; the reference keeps floats.

use image::RgbImage;
use robustify_rng::Stream;

use crate::OpSet;
use crate::mixing::MixingSet;
use crate::pillow::{Chain, Original};
use crate::pointwise;
use crate::scratch::Scratch;
use crate::simd::vectorised;

/// PixMix and its parameters.
///
/// The authors draw from all thirteen operations, of which `brightness` and `contrast` are corruptions of the benchmark;
/// here they take no part unless `ops` says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixMix {
    /// Largest number of rounds; 0 to `k` are drawn with equal odds.
    pub k: u32,
    /// How close the weights are to one, above 0. CIFAR uses 3, ImageNet 4.
    pub beta: f64,
    /// Upper end of the uniform strength of an operation, in `(0.1, 10]`. CIFAR uses 3, ImageNet 1.
    pub severity: f64,
    /// The operations to draw from.
    pub ops: OpSet,
}

impl Default for PixMix {
    /// The authors' settings for CIFAR, but for the operations.
    fn default() -> Self {
        Self { k: 4, beta: 3.0, severity: 3.0, ops: OpSet::Default }
    }
}

impl PixMix {
    /// One augmented view of the image, of the same size, with a picture of the set.
    pub fn apply(&self, image: &RgbImage, set: &MixingSet, stream: &mut Stream) -> RgbImage {
        let mut out = RgbImage::new(image.width(), image.height());
        self.apply_into(image, set, stream, &mut Scratch::new(), &mut out);
        out
    }

    /// Writes one augmented view of the image into `out`, which gets the size of the image if it has another. Allocates
    /// nothing once `scratch` has seen an image of this size and `set` has the picture ready.
    pub fn apply_into(
        &self,
        image: &RgbImage,
        set: &MixingSet,
        stream: &mut Stream,
        scratch: &mut Scratch,
        out: &mut RgbImage,
    ) {
        if out.dimensions() != image.dimensions() {
            *out = RgbImage::new(image.width(), image.height());
        }
        let Some(picture) = set.draw(image.dimensions(), stream) else {
            out.copy_from_slice(image);
            return;
        };
        let original = Original::new(image, scratch);
        let width = image.width() as usize * 3;
        let mut mixed = scratch.take_empty::<f32>();
        let mut levels = scratch.take_any::<u8>(width);
        let first = self.own(&original, stream, scratch);
        for y in 0..image.height() as usize {
            read(&first, y, &mut levels);
            mixed.extend(levels.iter().map(|&level| f32::from(level) / 255.0));
        }
        first.give(scratch);
        let mut terms = scratch.take_any::<f32>(width);
        for _ in 0..stream.below(self.k.saturating_add(1)) {
            let own = stream.chance(0.5).then(|| {
                let mut chain = Chain::new(&original);
                chain.apply(self.ops.draw(&original, self.severity, stream), scratch);
                chain
            });
            let mix = Mix::draw(self.beta, stream);
            let table = mix.table();
            for (y, mixed) in mixed.chunks_exact_mut(width).enumerate() {
                let other = if let Some(chain) = &own {
                    read(chain, y, &mut levels);
                    &levels
                } else {
                    picture.row(y)
                };
                terms.iter_mut().zip(other).for_each(|(term, &level)| *term = table[usize::from(level)]);
                mix.apply(mixed, &terms);
            }
            if let Some(chain) = own {
                chain.give(scratch);
            }
        }
        round(&mixed, out);
        original.image.give(scratch);
        scratch.give(mixed);
        scratch.give(levels);
        scratch.give(terms);
    }

    /// The image, or with equal odds the image after an operation.
    fn own<'a>(&self, original: &'a Original, stream: &mut Stream, scratch: &mut Scratch) -> Chain<'a> {
        let mut chain = Chain::new(original);
        if stream.chance(0.5) {
            chain.apply(self.ops.draw(original, self.severity, stream), scratch);
        }
        chain
    }
}

/// Writes a row of a chain's result as interleaved levels.
fn read(chain: &Chain<'_>, y: usize, levels: &mut [u8]) {
    for (target, &pixel) in levels.as_chunks_mut::<3>().0.iter_mut().zip(chain.image().row(y)) {
        let [red, green, blue, _] = chain.tables().map_or(pixel, |tables| pointwise::mapped(pixel, tables));
        *target = [red, green, blue];
    }
}

/// Writes samples in `[0, 1]` as levels.
fn round(samples: &[f32], levels: &mut [u8]) {
    vectorised(
        #[inline(always)]
        || {
            for (level, &sample) in levels.iter_mut().zip(samples) {
                *level = pointwise::rounded(sample * 255.0);
            }
        },
    );
}

/// How two images are mixed, and with what weights.
#[derive(Clone, Copy, Debug)]
struct Mix {
    product: bool,
    a: f32,
    b: f32,
}

/// What a factor is at least, so that it may be raised to a negative power.
const LEAST: f32 = 1e-37;

impl Mix {
    fn draw(beta: f64, stream: &mut Stream) -> Self {
        let product = stream.chance(0.5);
        let (a, b) = if stream.chance(0.5) {
            (stream.beta(beta, 1.0), stream.beta(1.0, beta))
        } else {
            (1.0 + stream.beta(1.0, beta), -stream.beta(1.0, beta))
        };
        Self { product, a: a as f32, b: b as f32 }
    }

    /// What a level of the second image adds: to the sum, or to the binary logarithm of the product.
    fn table(&self) -> [f32; 256] {
        std::array::from_fn(|level| {
            let sample = 2.0 * (level as f32 / 255.0);
            self.b * if self.product { log2(sample.max(LEAST)) } else { sample - 1.0 }
        })
    }

    /// Mixes samples in `[0, 1]` with the terms of the second image, and clips.
    fn apply(&self, samples: &mut [f32], terms: &[f32]) {
        let a = self.a;
        if self.product {
            vectorised(
                #[inline(always)]
                || {
                    for (sample, term) in samples.iter_mut().zip(terms) {
                        let product = 0.5 * exp2(a * log2((2.0 * *sample).max(LEAST)) + term);
                        *sample = if *sample == 0.0 { 0.0 } else { product.min(1.0) };
                    }
                },
            );
        } else {
            vectorised(
                #[inline(always)]
                || {
                    for (sample, term) in samples.iter_mut().zip(terms) {
                        *sample = ((a * (2.0 * *sample - 1.0) + term + 1.0) * 0.5).clamp(0.0, 1.0);
                    }
                },
            );
        }
    }
}

/// Binary logarithm of a normal positive number, to about 1e-7. Written out to be the same on every machine, and fast.
#[inline(always)]
fn log2(value: f32) -> f32 {
    // The number is m * 2^e with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh((m - 1) / (m + 1)).
    let bits = value.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square * (1.0 / 9.0))));
    exponent + s * series * (2.0 * std::f32::consts::LOG2_E)
}

/// Two to a power, to about 2e-7; powers are held to what a normal number can be.
#[inline(always)]
fn exp2(power: f32) -> f32 {
    /// 1.5 * 2^23: rounds what it is added to, to whole numbers.
    const ROUNDING: f32 = 12_582_912.0;
    let power = power.clamp(-126.0, 126.0);
    let shifted = power + ROUNDING;
    let x = (power - (shifted - ROUNDING)) * std::f32::consts::LN_2;
    let series = 1.0 + x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x / 720.0)))));
    let exponent = shifted.to_bits().wrapping_sub(ROUNDING.to_bits());
    f32::from_bits(series.to_bits().wrapping_add(exponent << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of the golden crops.
    const COUNT: usize = 8 * 8 * 3;

    #[test]
    fn mixing_matches_the_authors() {
        let bytes = include_bytes!("../goldens/pixmix.bin");
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let (images, results) = values.split_at(2 * COUNT);
        let (first, second) = images.split_at(COUNT);
        for result in results.chunks_exact(2 + 2 * COUNT) {
            let (a, b) = (result[0], result[1]);
            for (product, want) in [(false, &result[2..][..COUNT]), (true, &result[2 + COUNT..])] {
                let mix = Mix { product, a, b };
                let table = mix.table();
                let terms: Vec<f32> = second.iter().map(|sample| table[(sample * 255.0).round() as usize]).collect();
                let mut got = first.to_vec();
                mix.apply(&mut got, &terms);
                for (got, want) in got.iter().zip(want) {
                    let want = want.clamp(0.0, 1.0);
                    assert!((got - want).abs() < 2e-6, "{mix:?}: {got} instead of {want}");
                }
            }
        }
        assert_eq!(results.len() / (2 + 2 * COUNT), 8);
    }

    #[test]
    fn logarithms_and_powers_are_exact_enough() {
        for step in 0..4000 {
            let value = libm::exp2f(step as f32 * 0.06 - 120.0) * 1.003;
            assert!((log2(value) - libm::log2f(value)).abs() <= 1e-6 * libm::log2f(value).abs().max(0.2), "{value}");
            let power = step as f32 * 0.06 - 120.0;
            assert!((exp2(power) / libm::exp2f(power) - 1.0).abs() < 1e-6, "{power}");
        }
        assert_eq!((log2(1.0), log2(4.0), exp2(0.0), exp2(-3.0)), (0.0, 2.0, 1.0, 0.125));
    }
}
