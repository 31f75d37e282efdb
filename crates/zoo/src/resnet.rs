//! Residual networks for CIFAR- and ImageNet-sized images. Source: He et al. 2016, arXiv:1512.03385; the stride of a
//! bottleneck sits on its 3x3 convolution, as in torchvision ("v1.5").
//! Fields carry torchvision's and timm's names (`conv1`, `layer1.0.bn1`, `downsample.0`, `fc`), so weights load by key alone.

use burn::module::Module;
use burn::tensor::ops::PadMode;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::layers::{BatchNorm2d, Conv2d, Init, Linear};
use crate::vit::repeat;
use crate::{Features, Pass, ZooError};

/// The kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A residual network's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Number of classes.
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
        if [self.image_size, self.stem_stride, self.width, self.classes].contains(&0) {
            faults.push("image_size, stem_stride, width and classes are at least 1".into());
        }
        if self.stem_kernel.is_multiple_of(2) {
            faults.push(format!("stem_kernel {} is not odd", self.stem_kernel));
        }
        faults
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
    pub(crate) fc: Linear,
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
        let (kernel, stride) = (config.stem_kernel, config.stem_stride);
        let conv1 = Conv2d::new(init, [3, config.width], kernel, stride, kernel / 2, false);
        let bn1 = BatchNorm2d::new(init, config.width);
        let mut inputs = config.width;
        let mut stage = |index: usize, init: &mut Init| {
            let count = config.layers.get(index).copied().unwrap_or(0);
            let planes = config.width << index;
            let blocks = (0..count).map(|block| {
                let stride = if index > 0 && block == 0 { 2 } else { 1 };
                let built = ResidualBlock::new(config.block, inputs, planes, stride, init);
                inputs = planes * config.block.expansion();
                built
            });
            blocks.collect::<Vec<_>>()
        };
        let [layer1, layer2, layer3, layer4] = [0, 1, 2, 3].map(|index| stage(index, init));
        let fc = Linear::new(init, inputs, config.classes, true);
        Ok(Self { conv1, bn1, layer1, layer2, layer3, layer4, fc, config: config.clone() })
    }

    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, config.width, height', width']`
    pub(crate) fn stem(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let x = activation::relu(self.bn1.forward(self.conv1.forward(images), pass));
        if !self.config.max_pool {
            return x;
        }
        // Zeros may stand for the padding, since nothing is negative after ReLU.
        let x = x.pad((1, 1, 1, 1), PadMode::Constant(0.0));
        burn::tensor::module::max_pool2d(x, burn::tensor::ops::MaxPoolOptions::new([3, 3]).with_stride([2, 2]))
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

fn moved(norm: BatchNorm2d, layers: &mut impl Iterator<Item = (Tensor<1>, Tensor<1>)>) -> BatchNorm2d {
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
    fn new(kind: BlockKind, inputs: usize, planes: usize, stride: usize, init: &mut Init) -> Self {
        let outputs = planes * kind.expansion();
        let (first, second, third) = match kind {
            BlockKind::Basic => {
                let first = Conv2d::new(init, [inputs, planes], 3, stride, 1, false);
                (first, Conv2d::new(init, [planes, planes], 3, 1, 1, false), None)
            }
            BlockKind::Bottleneck => {
                let first = Conv2d::new(init, [inputs, planes], 1, 1, 0, false);
                let second = Conv2d::new(init, [planes, planes], 3, stride, 1, false);
                (first, second, Some(Conv2d::new(init, [planes, outputs], 1, 1, 0, false)))
            }
        };
        let downsample = (stride != 1 || inputs != outputs)
            .then(|| (Conv2d::new(init, [inputs, outputs], 1, stride, 0, false), BatchNorm2d::new(init, outputs)));
        Self {
            conv1: first,
            bn1: BatchNorm2d::new(init, planes),
            conv2: second,
            bn2: BatchNorm2d::new(init, planes),
            bn3: third.as_ref().map(|_| BatchNorm2d::new(init, outputs)),
            conv3: third,
            downsample,
        }
    }

    /// # Shapes
    /// - x: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height', width']`
    pub fn forward(&self, x: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let mut y = activation::relu(self.bn1.forward(self.conv1.forward(x.clone()), pass));
        y = self.bn2.forward(self.conv2.forward(y), pass);
        if let (Some(conv3), Some(bn3)) = (&self.conv3, &self.bn3) {
            y = bn3.forward(conv3.forward(activation::relu(y)), pass);
        }
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.forward(conv.forward(x), pass),
            None => x,
        };
        activation::relu(y + shortcut)
    }

    /// Replaces every BatchNorm by its image under `f`, in the order in which a forward meets them.
    fn map_norms(self, f: &mut impl FnMut(BatchNorm2d) -> BatchNorm2d) -> Self {
        Self {
            bn1: f(self.bn1),
            bn2: f(self.bn2),
            bn3: self.bn3.map(&mut *f),
            downsample: self.downsample.map(|(conv, norm)| (conv, f(norm))),
            ..self
        }
    }
}

/// Consecutive stages of a [`ResNet`], then perhaps the classifier.
#[derive(Module, Debug)]
pub struct ResNetSegment {
    stages: Vec<Vec<ResidualBlock>>,
    fc: Option<Linear>,
}

impl ResNetSegment {
    pub(crate) fn new(model: &ResNet, from: usize, to: usize) -> Self {
        let count = model.config.layers.len();
        let end = to.min(count);
        Self {
            stages: model.stages()[from.min(end)..end].iter().map(|&stage| stage.clone()).collect(),
            fc: (from <= count && to > count).then(|| model.fc.clone()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fc.is_none() && self.stages.iter().all(Vec::is_empty)
    }

    /// Only the classifier's dropout is stochastic, so rows are repeated after the stages.
    pub(crate) fn forward(&self, map: Tensor<4>, passes: usize, pass: &Pass<'_>) -> Features {
        let x = self.stages.iter().flatten().fold(map, |x, block| block.forward(x, pass));
        let Some(fc) = &self.fc else { return Features::Map(repeat(x, passes)) };
        let [rows, channels, height, width] = x.dims();
        let pooled = x.reshape([rows, channels, height * width]).mean_dim(2).reshape([rows, channels]);
        Features::Rows(fc.forward(pass.dropout(repeat(pooled, passes), "head_drop")))
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
