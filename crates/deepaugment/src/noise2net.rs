//! Noise2Net: a small residual network with random weights, fresh for every image.
//!
//! Source: Hendrycks et al. 2021, arXiv:2006.16241, appendix, and the authors' training code; the block is Res2Net's, Gao et
//! al. 2019, arXiv:1904.01169. We differ in what is drawn how often: there the kernels' sizes are fixed once a training and
//! epsilon once a batch; here both are drawn for every image, like the weights, so that its neighbours change nothing.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};
use robustify_rng::{Key, Stream};

use crate::DeepAugmentError;

/// Parts that a block's hidden channels are split into; each but the last has a convolution of its own.
const SCALE: usize = 4;
/// Added to variances, as PyTorch's BatchNorm does.
const NORM_EPS: f64 = 1e-5;

/// The settings of Noise2Net; the default is the authors'.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise2Net {
    /// Residual blocks, 4.
    pub blocks: usize,
    /// Channels of each of the four parts of a block, 16.
    pub hidden: usize,
    /// Every block adds its output, of unit variance a channel, times a factor drawn uniformly between these; 0.375 and 0.75.
    pub epsilon: [f64; 2],
}

impl Default for Noise2Net {
    fn default() -> Self {
        Self { blocks: 4, hidden: 16, epsilon: [0.375, 0.75] }
    }
}

impl Noise2Net {
    /// Runs every image through its own random network. Each is computed by itself, so that its output depends on its
    /// pixels and its key alone: convolutions grouped over the batch are no faster on a CPU (measured), where each group is
    /// a matrix product of its own, and would need one shape of network for the whole batch.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised to about zero mean and unit variance
    /// - keys: one an image
    /// - output: that of `images`; about as normalised, with a variance up to `1 + epsilon^2` times larger for every block
    ///
    /// # Errors
    /// [`DeepAugmentError::Shape`] and [`DeepAugmentError::Keys`]; [`DeepAugmentError::Config`] without hidden channels.
    pub fn apply(&self, images: Tensor<4>, keys: &[Key]) -> Result<Tensor<4>, DeepAugmentError> {
        let [batch, channels, height, width] = images.dims();
        if channels != 3 || batch * height * width == 0 {
            return Err(DeepAugmentError::Shape { found: images.dims() });
        }
        if batch != keys.len() {
            return Err(DeepAugmentError::Keys { images: batch, keys: keys.len() });
        }
        if self.hidden == 0 {
            return Err(DeepAugmentError::Config { what: "Noise2Net", faults: vec!["hidden is 0".to_owned()] });
        }
        let rows = keys.iter().enumerate().map(|(row, &key)| self.one(images.clone().narrow(0, row, 1), key));
        Ok(Tensor::cat(rows.collect(), 0))
    }

    fn one(&self, image: Tensor<4>, key: Key) -> Tensor<4> {
        let device = image.device();
        let mut stream = key.with_str("noise2net").stream();
        let epsilon = stream.uniform(self.epsilon[0], self.epsilon[1]);
        (0..self.blocks).fold(image, |image, _| {
            let block = Block::random(self.hidden, &mut stream, &device);
            image.clone() + block.forward(image) * epsilon
        })
    }
}

/// Weights of one residual block. Biases have no place in it: the normalisation behind every convolution removes them.
struct Block {
    /// `[4 * hidden, 3]`.
    widen: Tensor<2>,
    parts: [Part; SCALE - 1],
    /// `[3, 4 * hidden]`.
    narrow: Tensor<2>,
}

/// The convolution of one part.
struct Part {
    /// `[hidden, hidden, kernel, kernel]`, the kernel 1 or 3.
    weight: Tensor<4>,
    /// 1 to 3.
    dilation: usize,
}

impl Block {
    /// Weights uniform within `1 / sqrt(inputs of a sum)`, PyTorch's default.
    fn random(hidden: usize, stream: &mut Stream, device: &Device) -> Self {
        let widen = Tensor::from_data(uniform([SCALE * hidden, 3], 3, stream), device);
        let parts = [(); SCALE - 1].map(|()| {
            let kernel = if stream.below(2) == 0 { 1 } else { 3 };
            let dilation = 1 + stream.below(3) as usize;
            let data = uniform([hidden, hidden, kernel, kernel], hidden * kernel * kernel, stream);
            Part { weight: Tensor::from_data(data, device), dilation }
        });
        let narrow = Tensor::from_data(uniform([3, SCALE * hidden], SCALE * hidden, stream), device);
        Self { widen, parts, narrow }
    }

    /// # Shapes
    /// - image: `[1, 3, height, width]`
    /// - output: that of `image`, every channel with zero mean and unit variance
    fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = image.dims();
        let pixels = height * width;
        let hidden = self.widen.dims()[0] / SCALE;
        let wide = self.widened(image.reshape([channels, pixels]));
        let part = |at: usize| wide.clone().narrow(0, at * hidden, hidden);
        let mut narrowed = self.narrowed(SCALE - 1, part(SCALE - 1));
        let mut previous: Option<Tensor<2>> = None;
        for (at, layer) in self.parts.iter().enumerate() {
            let input = match previous.take() {
                Some(previous) => previous + part(at),
                None => part(at),
            };
            let output = layer.forward(input, [height, width]);
            narrowed = narrowed + self.narrowed(at, output.clone());
            previous = Some(output);
        }
        let (centred, scale) = standardise(narrowed);
        (centred * scale).reshape([1, channels, height, width])
    }

    /// The first convolution, normalisation and ReLU. The variance of a linear map follows from the covariance of its three
    /// inputs, so the scale goes into the weights and the wide tensor is written once.
    fn widened(&self, image: Tensor<2>) -> Tensor<2> {
        let pixels = image.dims()[1];
        let centred = image.clone() - image.mean_dim(1);
        let covariance = centred.clone().matmul(centred.clone().transpose()) / pixels as f64;
        let variance = (self.widen.clone().matmul(covariance) * self.widen.clone()).sum_dim(1);
        let weight = self.widen.clone() / (variance + NORM_EPS).sqrt();
        let [outputs, channels] = weight.dims();
        activation::relu(pointwise(centred, weight.reshape([outputs, channels, 1, 1])))
    }

    /// The share of one part in the last convolution.
    fn narrowed(&self, part: usize, x: Tensor<2>) -> Tensor<2> {
        let hidden = x.dims()[0];
        self.narrow.clone().narrow(1, part * hidden, hidden).matmul(x)
    }
}

impl Part {
    /// # Shapes
    /// - x: `[hidden, height * width]`
    /// - output: that of `x`
    fn forward(&self, x: Tensor<2>, [height, width]: [usize; 2]) -> Tensor<2> {
        let [hidden, pixels] = x.dims();
        let kernel = self.weight.dims()[2];
        let padding = (kernel - 1) / 2 * self.dilation;
        let options = ConvOptions::new([1; 2], [padding; 2], [self.dilation; 2], 1);
        let x = x.reshape([1, hidden, height, width]);
        let y = burn::tensor::module::conv2d(x, self.weight.clone(), None, options).reshape([hidden, pixels]);
        let (centred, scale) = standardise(y);
        activation::relu(centred) * scale
    }
}

/// A 1x1 convolution, which flex computes several times faster than the equal product of so flat matrices.
///
/// # Shapes
/// - x: `[inputs, pixels]`
/// - weight: `[outputs, inputs, 1, 1]`
/// - output: `[outputs, pixels]`
fn pointwise(x: Tensor<2>, weight: Tensor<4>) -> Tensor<2> {
    let ([inputs, pixels], [outputs, ..]) = (x.dims(), weight.dims());
    let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
    burn::tensor::module::conv2d(x.reshape([1, inputs, 1, pixels]), weight, None, options).reshape([outputs, pixels])
}

/// Rows without their mean, and the reciprocal of their standard deviation: BatchNorm in training on a batch of one.
fn standardise(x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    (centred, (variance + NORM_EPS).sqrt().recip())
}

fn uniform<const D: usize>(shape: [usize; D], inputs: usize, stream: &mut Stream) -> TensorData {
    let bound = 1.0 / (inputs as f64).sqrt();
    let values = (0..shape.iter().product()).map(|_| stream.uniform(-bound, bound) as f32);
    TensorData::new(values.collect::<Vec<_>>(), shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Golden};

    #[test]
    fn a_block_matches_pytorch() {
        let device = testing::device();
        let golden = Golden::read(include_bytes!("../goldens/noise2net.safetensors"));
        let part = |at: usize, dilation: usize| Part {
            weight: golden.tensor(&format!("convs.{at}.weight"), &device),
            dilation,
        };
        let block = Block {
            widen: golden.tensor("conv1.weight", &device),
            parts: [part(0, 2), part(1, 3), part(2, 1)],
            narrow: golden.tensor("conv3.weight", &device),
        };
        golden.compare("output", block.forward(golden.tensor("input", &device)), 1e-5);
    }

    #[test]
    fn an_image_depends_on_its_own_key_alone() {
        let device = testing::device();
        let images: Tensor<4> = testing::random([3, 3, 20, 24], 1, &device);
        let keys: Vec<_> = (0..3).map(|id| Key::new(1, "test").with(id)).collect();
        let net = Noise2Net::default();
        let together = testing::values(net.apply(images.clone(), &keys).unwrap());
        let alone = testing::values(net.apply(images.clone().narrow(0, 1, 1), &keys[1..2]).unwrap());
        let pair = images.clone().select(0, Tensor::from_data([1, 0], &device));
        let swapped = testing::values(net.apply(pair, &[keys[1], keys[0]]).unwrap());
        let one = 3 * 20 * 24;
        assert_eq!(together[one..2 * one], alone[..]);
        assert_eq!(swapped[..one], alone[..]);
        let other = testing::values(net.apply(images.narrow(0, 1, 1), &keys[2..]).unwrap());
        let distance = other.iter().zip(&alone).map(|(a, b)| (a - b).abs()).sum::<f32>() / one as f32;
        assert!(distance > 0.2, "{distance}");
    }

    #[test]
    fn outputs_are_finite_and_about_as_spread_as_the_input() {
        let device = testing::device();
        for (index, size) in [[1, 1], [1, 9], [2, 3], [32, 32]].into_iter().enumerate() {
            let images = testing::random([1, 3, size[0], size[1]], index as u64, &device);
            let output = testing::values(Noise2Net::default().apply(images, &[Key::new(2, "size")]).unwrap());
            assert!(output.iter().all(|value| value.is_finite()), "{size:?}");
            if size == [32, 32] {
                let mean = output.iter().sum::<f32>() / output.len() as f32;
                let variance = output.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / output.len() as f32;
                assert!(mean.abs() < 0.1 && (1.0..6.0).contains(&variance), "mean {mean}, variance {variance}");
            }
        }
    }

    #[test]
    fn what_is_no_batch_of_images_with_keys_is_an_error() {
        let device = testing::device();
        let net = Noise2Net::default();
        let gray = net.apply(Tensor::zeros([1, 1, 4, 4], &device), &[Key::new(0, "")]).unwrap_err();
        assert!(gray.to_string().contains("[1, 1, 4, 4]"), "{gray}");
        let short = net.apply(Tensor::zeros([2, 3, 4, 4], &device), &[Key::new(0, "")]).unwrap_err();
        assert_eq!(short.to_string(), "2 images were given with 1 keys; every image needs its own");
    }
}
