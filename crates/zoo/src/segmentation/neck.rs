//! A pyramid of four sizes from four maps of one size, as plain ViTs need it. Source: Bao et al. 2022, arXiv:2106.08254 (BEiT), whose
//! names the fields carry.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::ops::MaxPoolOptions;
use robustify_kernels::Then;

use crate::Pass;
use crate::layers::{BatchNorm2d, Init};

/// The neck of a ViT with patches of 16 pixels, or of 8, whose maps are of twice the size.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few of them, and a module cannot be boxed")]
pub enum Neck {
    /// Four times, twice, once and half the size.
    Patch16(Neck16),
    /// Twice, once, half and a quarter of the size.
    Patch8(Neck8),
}

/// See [`Neck`].
#[derive(Module, Debug)]
pub struct Neck16 {
    fpn1: (Deconvolution, BatchNorm2d, Gelu, Deconvolution),
    /// One.
    fpn2: Vec<Deconvolution>,
}

/// See [`Neck`].
#[derive(Module, Debug)]
pub struct Neck8 {
    /// One.
    fpn1: Vec<Deconvolution>,
}

/// `x` times the normal's distribution function, which has a number of its own in the names of a [`Neck16`].
#[derive(Module, Debug)]
pub struct Gelu;

impl Neck {
    /// With fresh weights.
    pub fn new(patch_size: usize, width: usize, init: &mut Init) -> Self {
        let mut deconvolution = || Deconvolution::new(init, width, width);
        match patch_size {
            8 => Self::Patch8(Neck8 { fpn1: vec![deconvolution()] }),
            _ => {
                let (first, second, third) = (deconvolution(), deconvolution(), deconvolution());
                let fpn1 = (first, BatchNorm2d::new(init, width), Gelu, second);
                Self::Patch16(Neck16 { fpn1, fpn2: vec![third] })
            }
        }
    }

    /// Maps of a ViT's blocks, see [`tokens_as_map`](Neck::tokens_as_map), to a pyramid, the finest first.
    ///
    /// # Shapes
    /// - maps: each `[batch, width, rows, columns]`
    pub fn forward(&self, maps: [Tensor<4>; 4], pass: &Pass<'_>) -> [Tensor<4>; 4] {
        let [first, second, third, fourth] = maps;
        match self {
            Self::Patch16(Neck16 { fpn1: (up, norm, Gelu, again), fpn2 }) => {
                let first = robustify_kernels::gelu(norm.forward(up.forward(first), Then::Nothing, pass));
                let second = fpn2.iter().fold(second, |map, up| up.forward(map));
                [again.forward(first), second, third, max_pool(fourth, 2)]
            }
            Self::Patch8(Neck8 { fpn1 }) => {
                let first = fpn1.iter().fold(first, |map, up| up.forward(map));
                [first, second, max_pool(third, 2), max_pool(fourth, 4)]
            }
        }
    }

    /// The patches among the tokens of a block as a map. No norm comes between.
    ///
    /// # Shapes
    /// - tokens: `[batch, prefix + rows * columns, width]`
    /// - output: `[batch, width, rows, columns]`
    pub fn tokens_as_map(tokens: Tensor<3>, prefix: usize, [rows, columns]: [usize; 2]) -> Tensor<4> {
        let [batch, _, width] = tokens.dims();
        tokens.narrow(1, prefix, rows * columns).swap_dims(1, 2).reshape([batch, width, rows, columns])
    }
}

/// The largest of squares; what is left over at the edges is dropped.
fn max_pool(map: Tensor<4>, side: usize) -> Tensor<4> {
    burn::tensor::module::max_pool2d(map, MaxPoolOptions::new([side; 2]).with_stride([side; 2]))
}

/// A transposed convolution of two by two pixels with a stride of two: every pixel becomes a square of its own.
#[derive(Module, Debug)]
pub struct Deconvolution {
    /// `[inputs, outputs, 2, 2]`.
    weight: Param<Tensor<4>>,
    /// `[outputs]`.
    bias: Param<Tensor<1>>,
}

impl Deconvolution {
    fn new(init: &mut Init, inputs: usize, outputs: usize) -> Self {
        let weight = init.truncated_normal([inputs, outputs, 2, 2], 0.02);
        Self { weight, bias: init.constant([outputs], 0.0) }
    }

    /// # Shapes
    /// - map: `[batch, inputs, rows, columns]`
    /// - output: `[batch, outputs, 2 * rows, 2 * columns]`
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, inputs, rows, columns] = map.dims();
        let outputs = self.bias.dims()[0];
        let pixels = map.permute([0, 2, 3, 1]).reshape([batch * rows * columns, inputs]);
        let squares = pixels.matmul(self.weight.val().reshape([inputs, outputs * 4]));
        let squares = squares.reshape([batch, rows, columns, outputs, 2, 2]).permute([0, 3, 1, 4, 2, 5]);
        squares.reshape([batch, outputs, 2 * rows, 2 * columns]) + self.bias.val().reshape([1, outputs, 1, 1])
    }
}
