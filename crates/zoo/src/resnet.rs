//! Residual networks for CIFAR- and ImageNet-sized images. Source: He et al. 2016, arXiv:1512.03385; the stride of a
//! bottleneck sits on its 3x3 convolution, as in torchvision ("v1.5").
//! Fields carry torchvision's and timm's names (`conv1`, `layer1.0.bn1`, `downsample.0`, `fc`), so weights load by key alone.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::ops::{MaxPoolOptions, PadMode};
use robustify_kernels::Then;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::layers::{BATCH_NORM_MACS, BatchNorm2d, Conv2d, Init, Linear};
use crate::vit::repeat;
use crate::{Features, Pass, ZooError};

/// The kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1 convolutions, the last four times as wide.
    Bottleneck,
}

impl BlockKind {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    /// The convolutions of a block's main branch, in their order.
    fn convolutions(self, inputs: usize, planes: usize, stride: usize) -> (ConvShape, ConvShape, Option<ConvShape>) {
        let shape = |io, kernel, stride| ConvShape { io, kernel, stride };
        match self {
            Self::Basic => (shape([inputs, planes], 3, stride), shape([planes, planes], 3, 1), None),
            Self::Bottleneck => (
                shape([inputs, planes], 1, 1),
                shape([planes, planes], 3, stride),
                Some(shape([planes, planes * self.expansion()], 1, 1)),
            ),
        }
    }

    /// The convolution of a block's shortcut, where the identity does not fit.
    fn shortcut(self, inputs: usize, planes: usize, stride: usize) -> Option<ConvShape> {
        let io = [inputs, planes * self.expansion()];
        (stride != 1 || io[0] != io[1]).then_some(ConvShape { io, kernel: 1, stride })
    }
}

/// A convolution without bias, padded by half its kernel; BatchNorm follows.
#[derive(Clone, Copy)]
struct ConvShape {
    io: [usize; 2],
    kernel: usize,
    stride: usize,
}

impl ConvShape {
    fn layers(self, init: &mut Init) -> (Conv2d, BatchNorm2d) {
        let conv = Conv2d::new(init, self.io, self.kernel, self.stride, self.kernel / 2, false);
        (conv, BatchNorm2d::new(init, self.io[1]))
    }

    fn output_side(self, side: usize) -> usize {
        side.div_ceil(self.stride)
    }

    fn weights(self) -> f64 {
        let [inputs, outputs] = self.io.map(|channels| channels as f64);
        inputs * outputs * (self.kernel * self.kernel) as f64
    }

    fn macs(self, side: usize) -> usize {
        let pixels = self.output_side(side).pow(2);
        let [inputs, outputs] = self.io;
        pixels * outputs * (inputs * self.kernel * self.kernel + BATCH_NORM_MACS)
    }
}

/// A residual network's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Side of the stem's kernel: 3 for CIFAR, 7 for ImageNet.
    pub stem_kernel: usize,
    /// Stride of the stem.
    pub stem_stride: usize,
    /// Whether a 3x3 max pool of stride 2 follows the stem (ImageNet).
    #[serde(default)]
    pub max_pool: bool,
    /// Channels of the stem and of the first stage; every further stage doubles them.
    pub width: usize,
    /// Blocks a stage; three stages for CIFAR, four for ImageNet.
    pub layers: Vec<usize>,
    /// The kind of block.
    pub block: BlockKind,
    /// Number of classes; 0 for no classifier, the outputs then being the pooled features.
    pub classes: usize,
}

impl ResNetConfig {
    /// A network for 224 pixels and 1000 classes: 7x7 stem, max pool, four stages of `layers` blocks.
    pub fn imagenet(block: BlockKind, layers: [usize; 4]) -> Self {
        let layers = layers.to_vec();
        let (stem_kernel, stem_stride, max_pool) = (7, 2, true);
        Self { image_size: 224, stem_kernel, stem_stride, max_pool, width: 64, layers, block, classes: 1000 }
    }

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=ResNet::STAGES).contains(&self.layers.len()) || self.layers.contains(&0) {
            faults.push(format!("layers {:?} must be one to four numbers of at least 1", self.layers));
        }
        if [self.image_size, self.stem_stride, self.width].contains(&0) {
            faults.push("image_size, stem_stride and width are at least 1".into());
        }
        if self.stem_kernel.is_multiple_of(2) {
            faults.push(format!("stem_kernel {} is not odd", self.stem_kernel));
        }
        faults
    }

    /// Width of the pooled features, which the classifier reads.
    pub fn feature_width(&self) -> usize {
        (self.width << (self.layers.len() - 1)) * self.block.expansion()
    }

    /// Multiply-accumulates of a forward of one image, as fvcore 0.1.5 counts them: convolutions, the classifier, two for an
    /// element that BatchNorm puts out, one for an element that the mean pool reads. Other elementwise work counts nothing.
    pub fn macs(&self) -> u64 {
        self.unit_macs().iter().sum()
    }

    /// The same by units: stem, every stage, pool with classifier.
    pub(crate) fn unit_macs(&self) -> Vec<u64> {
        let stem = self.stem();
        let mut side = stem.output_side(self.image_size);
        let mut units = vec![stem.macs(self.image_size) as u64];
        if self.max_pool {
            side = side.div_ceil(2);
        }
        for (stage, &blocks) in self.layers.iter().enumerate() {
            let mut sum = 0;
            for block in 0..blocks {
                let (inputs, planes, stride) = self.block_shape(stage, block);
                sum += self.block.shortcut(inputs, planes, stride).map_or(0, |conv| conv.macs(side));
                let (first, second, third) = self.block.convolutions(inputs, planes, stride);
                for conv in [Some(first), Some(second), third].into_iter().flatten() {
                    sum += conv.macs(side);
                    side = conv.output_side(side);
                }
            }
            units.push(sum as u64);
        }
        units.push(((side * side + self.classes) * self.feature_width()) as u64);
        units
    }

    /// Scalars in kernels and in the classifier.
    pub(crate) fn weights(&self) -> f64 {
        let mut sum = self.stem().weights() + self.feature_width() as f64 * self.classes as f64;
        for (stage, &blocks) in self.layers.iter().enumerate() {
            // All blocks of a stage but the first are alike.
            for (block, count) in [(0, 1), (1, blocks - 1)] {
                let (inputs, planes, stride) = self.block_shape(stage, block);
                let (first, second, third) = self.block.convolutions(inputs, planes, stride);
                let all = [Some(first), Some(second), third, self.block.shortcut(inputs, planes, stride)];
                sum += count as f64 * all.into_iter().flatten().map(ConvShape::weights).sum::<f64>();
            }
        }
        sum
    }

    fn stem(&self) -> ConvShape {
        ConvShape { io: [3, self.width], kernel: self.stem_kernel, stride: self.stem_stride }
    }

    /// Input channels, planes and stride of a block.
    fn block_shape(&self, stage: usize, block: usize) -> (usize, usize, usize) {
        let planes = self.width << stage;
        let inputs = match (stage, block) {
            (0, 0) => self.width,
            (_, 0) => planes / 2 * self.block.expansion(),
            _ => planes * self.block.expansion(),
        };
        (inputs, planes, if stage > 0 && block == 0 { 2 } else { 1 })
    }
}

/// A residual network.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<ResidualBlock>,
    layer2: Vec<ResidualBlock>,
    layer3: Vec<ResidualBlock>,
    layer4: Vec<ResidualBlock>,
    pub(crate) fc: Option<Linear>,
    #[module(skip)]
    pub(crate) config: ResNetConfig,
}

impl ResNet {
    /// The most stages that timm's names have room for.
    const STAGES: usize = 4;

    /// A network with fresh weights.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &ResNetConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        let (conv1, bn1) = config.stem().layers(init);
        let stage = |index: usize, init: &mut Init| {
            let count = config.layers.get(index).copied().unwrap_or(0);
            let blocks = (0..count).map(|block| ResidualBlock::new(config, index, block, init));
            blocks.collect::<Vec<_>>()
        };
        let [layer1, layer2, layer3, layer4] = [0, 1, 2, 3].map(|index| stage(index, init));
        let fc = (config.classes > 0).then(|| Linear::new(init, config.feature_width(), config.classes, true));
        Ok(Self { conv1, bn1, layer1, layer2, layer3, layer4, fc, config: config.clone() })
    }

    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, config.width, height', width']`
    pub(crate) fn stem(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let x = self.conv1.forward(images);
        pass.saw(|| "conv1".into(), || Features::Map(x.clone()));
        let mut x = self.bn1.forward(x, Then::Relu, pass);
        pass.saw(|| "act1".into(), || Features::Map(x.clone()));
        if self.config.max_pool {
            // Zeros may stand for the padding, since nothing is negative after ReLU.
            x = x.pad((1, 1, 1, 1), PadMode::Constant(0.0));
            x = burn::tensor::module::max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]));
        }
        pass.saw(|| "maxpool".into(), || Features::Map(x.clone()));
        x
    }

    /// The network with a classifier for `classes` classes whose weights are those that `fresh` makes from
    /// `[classes, features]`.
    pub(crate) fn with_head(mut self, classes: usize, mut fresh: impl FnMut([usize; 2]) -> Linear) -> Self {
        self.fc = Some(fresh([classes, self.config.feature_width()]));
        self.config.classes = classes;
        self
    }

    fn stages(&self) -> [&Vec<ResidualBlock>; Self::STAGES] {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
    }

    pub(crate) fn with_statistics(mut self, layers: &mut impl Iterator<Item = (Tensor<1>, Tensor<1>)>) -> Self {
        self.bn1 = moved(self.bn1, layers);
        for stage in [&mut self.layer1, &mut self.layer2, &mut self.layer3, &mut self.layer4] {
            *stage = std::mem::take(stage)
                .into_iter()
                .map(|block| block.map_norms(&mut |norm| moved(norm, layers)))
                .collect();
        }
        self
    }
}

/// A BatchNorm moved by the next of the reported statistics.
pub(crate) fn moved(norm: BatchNorm2d, layers: &mut impl Iterator<Item = (Tensor<1>, Tensor<1>)>) -> BatchNorm2d {
    match layers.next() {
        Some((mean, variance)) => norm.moved(mean, variance),
        None => norm,
    }
}

/// A residual block of either kind; the bottleneck has a third convolution.
#[derive(Module, Debug)]
pub struct ResidualBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm2d>,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl ResidualBlock {
    fn new(config: &ResNetConfig, stage: usize, block: usize, init: &mut Init) -> Self {
        let (inputs, planes, stride) = config.block_shape(stage, block);
        let (first, second, third) = config.block.convolutions(inputs, planes, stride);
        let (conv1, bn1) = first.layers(init);
        let (conv2, bn2) = second.layers(init);
        let (conv3, bn3) = third.map(|shape| shape.layers(init)).unzip();
        let downsample = config.block.shortcut(inputs, planes, stride).map(|shape| shape.layers(init));
        Self { conv1, bn1, conv2, bn2, conv3, bn3, downsample }
    }

    /// # Shapes
    /// - x: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height', width']`
    pub fn forward(&self, x: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.forward(conv.forward(x.clone()), Then::Nothing, pass),
            None => x.clone(),
        };
        let y = self.bn1.forward(self.conv1.forward(x), Then::Relu, pass);
        let y = self.conv2.forward(y);
        match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                let y = conv3.forward(self.bn2.forward(y, Then::Relu, pass));
                bn3.forward(y, Then::AddRelu(shortcut), pass)
            }
            _ => self.bn2.forward(y, Then::AddRelu(shortcut), pass),
        }
    }

    /// Replaces every BatchNorm by its image under `f`, in the order in which a forward meets them.
    fn map_norms(self, f: &mut impl FnMut(BatchNorm2d) -> BatchNorm2d) -> Self {
        Self {
            downsample: self.downsample.map(|(conv, norm)| (conv, f(norm))),
            bn1: f(self.bn1),
            bn2: f(self.bn2),
            bn3: self.bn3.map(&mut *f),
            ..self
        }
    }
}

/// Consecutive stages of a [`ResNet`], then perhaps the classifier.
#[derive(Module, Debug)]
pub struct ResNetSegment {
    stages: Vec<Vec<ResidualBlock>>,
    fc: Option<Linear>,
    /// How many stages of the model precede the segment.
    first: usize,
    /// Whether the segment ends in the pool and the classifier.
    pub(crate) ends: bool,
}

impl ResNetSegment {
    pub(crate) fn new(model: &ResNet, from: usize, to: usize) -> Self {
        let count = model.config.layers.len();
        let end = to.min(count);
        let first = from.min(end);
        let ends = from <= count && to > count;
        Self {
            stages: model.stages()[first..end].iter().map(|&stage| stage.clone()).collect(),
            fc: model.fc.clone().filter(|_| ends),
            first,
            ends,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.ends && self.stages.iter().all(Vec::is_empty)
    }

    /// Only the classifier's dropout is stochastic, so rows are repeated after the stages.
    pub(crate) fn forward(&self, map: Tensor<4>, passes: usize, pass: &Pass<'_>) -> Features {
        let mut x = map;
        for (index, stage) in self.stages.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x, pass));
            pass.saw(|| format!("layer{}", self.first + index + 1), || Features::Map(x.clone()));
        }
        if !self.ends {
            return Features::Map(repeat(x, passes));
        }
        pass.saw(|| "forward_features".into(), || Features::Map(x.clone()));
        let [rows, channels, height, width] = x.dims();
        let pooled = x.reshape([rows, channels, height * width]).mean_dim(2).reshape([rows, channels]);
        pass.saw(|| "global_pool".into(), || Features::Rows(pooled.clone()));
        let pooled = pass.dropout(repeat(pooled, passes), "head_drop");
        pass.saw(|| "pre_logits".into(), || Features::Rows(pooled.clone()));
        Features::Rows(match &self.fc {
            Some(fc) => fc.forward(pooled),
            None => pooled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchStatistics;

    #[test]
    fn training_reports_every_norm_and_a_frozen_one_never_moves() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let config = ResNetConfig {
            image_size: 16,
            stem_kernel: 3,
            stem_stride: 1,
            max_pool: false,
            width: 4,
            layers: vec![1, 1, 1],
            block: BlockKind::Bottleneck,
            classes: 3,
        };
        let model = ResNet::new(&config, &mut Init::new(1, &device)).unwrap();
        let images = Tensor::<4>::ones([2, 3, 16, 16], &device);
        let statistics = BatchStatistics::default();
        let pass = Pass::eval().with_statistics(&statistics);
        let stem = model.stem(images, &pass);
        ResNetSegment::new(&model, 0, 5).forward(stem, 1, &pass);
        let layers = statistics.into_layers();
        assert_eq!(layers.len(), 1 + 3 * 4, "the stem's, and three and a shortcut's of every block");
        let before = model.bn1.running_mean.val().into_data();
        assert_eq!(before, model.clone().bn1.running_mean.val().into_data(), "a forward moved the statistics");
        let moved = model.with_statistics(&mut layers.into_iter());
        assert_ne!(before, moved.bn1.running_mean.val().into_data());
    }
}
