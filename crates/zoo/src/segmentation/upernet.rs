//! UPerNet: a pyramid of features with a pooled top, read by one classifier. Source: Xiao et al. 2018, arXiv:1807.10221; sizes and
//! order as mmsegmentation's `UPerHead` and the transformers port of it have them. Dropout of whole channels before both classifiers, which
//! the former has, is drawn where masks are given.

use burn::module::Module;
use burn::tensor::Tensor;
use robustify_kernels::Then;

use super::{average_pool, resize_bilinear};
use crate::layers::{BatchNorm2d, Conv2d, Init};
use crate::resnet::moved;
use crate::{BatchStatistics, Pass};

/// A head's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UperConfig {
    /// Channels of the maps that it reads, the finest first.
    pub inputs: [usize; 4],
    /// Channels inside.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
    /// Parts along a side of the coarsest map that its means are taken over.
    pub pools: Vec<usize>,
    /// Channels of the auxiliary head, which reads the third map in training; 0 for none.
    pub auxiliary: usize,
}

impl UperConfig {
    /// Of the paper: four pools; channels of the maps are to be filled in.
    pub fn new(width: usize, classes: usize) -> Self {
        Self { inputs: [width; 4], width, classes, pools: vec![1, 2, 3, 6], auxiliary: 0 }
    }
}

/// UPerNet, and perhaps the small head that helps to train it.
#[derive(Module, Debug)]
pub struct SegmentationHead {
    /// UPerNet.
    pub decode_head: UperHead,
    /// Reads the third map.
    pub auxiliary_head: Option<FcnHead>,
}

impl SegmentationHead {
    /// With fresh weights.
    pub fn new(config: &UperConfig, init: &mut Init) -> Self {
        let decode_head = UperHead::new(config, init);
        let auxiliary = |init: &mut Init| FcnHead::new([config.inputs[2], config.auxiliary], config.classes, init);
        Self { decode_head, auxiliary_head: (config.auxiliary > 0).then(|| auxiliary(init)) }
    }

    /// Logits at the size of the finest map.
    ///
    /// # Shapes
    /// - maps: `[batch, channels, rows, columns]`, the finest first
    /// - output: `[batch, classes, rows, columns]` of the finest
    pub fn forward(&self, maps: [Tensor<4>; 4], pass: &Pass<'_>) -> Tensor<4> {
        self.decode_head.forward(maps, pass)
    }

    /// The same, and the logits of the auxiliary head at the size of the third map.
    pub fn forward_both(&self, maps: [Tensor<4>; 4], pass: &Pass<'_>) -> (Tensor<4>, Option<Tensor<4>>) {
        let third = maps[2].clone();
        let logits = self.forward(maps, pass);
        (logits, self.auxiliary_head.as_ref().map(|head| head.forward(third, pass)))
    }

    /// Moves the running statistics of all BatchNorm layers towards those that one training forward of both heads reported.
    #[must_use]
    pub fn with_statistics(self, statistics: BatchStatistics) -> Self {
        let mut layers = statistics.into_layers().into_iter();
        let mut next = |block: ConvBlock| ConvBlock { batch_norm: moved(block.batch_norm, &mut layers), ..block };
        let decode_head = self.decode_head.map_blocks(&mut next);
        let auxiliary_head =
            self.auxiliary_head.map(|head| FcnHead { convs: head.convs.into_iter().map(&mut next).collect(), ..head });
        Self { decode_head, auxiliary_head }
    }
}

/// A convolution without bias, BatchNorm, ReLU.
#[derive(Module, Debug)]
pub struct ConvBlock {
    conv: Conv2d,
    batch_norm: BatchNorm2d,
}

impl ConvBlock {
    fn new(io: [usize; 2], kernel: usize, init: &mut Init) -> Self {
        Self { conv: Conv2d::new(init, io, kernel, 1, kernel / 2, false), batch_norm: BatchNorm2d::new(init, io[1]) }
    }

    fn forward(&self, map: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        self.batch_norm.forward(self.conv.forward(map), Then::Relu, pass)
    }
}

/// Means over parts of a map, which have a number of their own in the names of [`UperHead`].
#[derive(Module, Debug)]
pub struct AveragePool {
    side: usize,
}

/// UPerNet's own head.
#[derive(Module, Debug)]
pub struct UperHead {
    psp_modules: Vec<(AveragePool, ConvBlock)>,
    bottleneck: ConvBlock,
    lateral_convs: Vec<ConvBlock>,
    fpn_convs: Vec<ConvBlock>,
    fpn_bottleneck: ConvBlock,
    classifier: Conv2d,
}

impl UperHead {
    fn new(config: &UperConfig, init: &mut Init) -> Self {
        let UperConfig { inputs, width, classes, pools, .. } = config;
        let (width, top) = (*width, inputs[3]);
        let pool = |side: &usize| (AveragePool { side: *side }, ConvBlock::new([top, width], 1, init));
        let psp_modules: Vec<_> = pools.iter().map(pool).collect();
        let bottleneck = ConvBlock::new([top + pools.len() * width, width], 3, init);
        Self {
            psp_modules,
            bottleneck,
            lateral_convs: inputs[..3].iter().map(|channels| ConvBlock::new([*channels, width], 1, init)).collect(),
            fpn_convs: (0..3).map(|_| ConvBlock::new([width, width], 3, init)).collect(),
            fpn_bottleneck: ConvBlock::new([4 * width, width], 3, init),
            classifier: Conv2d::new(init, [width, *classes], 1, 1, 0, true),
        }
    }

    /// The coarsest map beside the means over its parts, joined.
    ///
    /// # Shapes
    /// - map: `[batch, channels, rows, columns]`
    /// - output: `[batch, width, rows, columns]`
    pub fn top(&self, map: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let [_, _, rows, columns] = map.dims();
        let mut joined = vec![map.clone()];
        for (pool, block) in &self.psp_modules {
            let means = block.forward(average_pool(map.clone(), pool.side), pass);
            joined.push(resize_bilinear(means, [rows, columns]));
        }
        self.bottleneck.forward(Tensor::cat(joined, 1), pass)
    }

    fn forward(&self, maps: [Tensor<4>; 4], pass: &Pass<'_>) -> Tensor<4> {
        let [first, second, third, fourth] = maps;
        let size = |map: &Tensor<4>| [map.dims()[2], map.dims()[3]];
        let finest = size(&first);
        let top = self.top(fourth, pass);
        let lateral = self.lateral_convs.iter().zip([first, second, third]);
        let mut levels: Vec<Tensor<4>> = lateral.map(|(block, map)| block.forward(map, pass)).collect();
        levels.push(top);
        for level in (0..levels.len() - 1).rev() {
            let coarser = resize_bilinear(levels[level + 1].clone(), size(&levels[level]));
            levels[level] = levels[level].clone() + coarser;
        }
        // The top has had its convolution.
        let mut outputs: Vec<Tensor<4>> =
            self.fpn_convs.iter().zip(&levels).map(|(block, map)| block.forward(map.clone(), pass)).collect();
        outputs.extend(levels.pop());
        let joined = outputs.into_iter().map(|map| resize_bilinear(map, finest)).collect();
        let joined = self.fpn_bottleneck.forward(Tensor::cat(joined, 1), pass);
        self.classifier.forward(dropped(joined, "decode_head.dropout", pass))
    }

    /// Replaces every block by its image under `f`, in the order in which a forward meets them.
    fn map_blocks(self, f: &mut impl FnMut(ConvBlock) -> ConvBlock) -> Self {
        Self {
            psp_modules: self.psp_modules.into_iter().map(|(pool, block)| (pool, f(block))).collect(),
            bottleneck: f(self.bottleneck),
            lateral_convs: self.lateral_convs.into_iter().map(&mut *f).collect(),
            fpn_convs: self.fpn_convs.into_iter().map(&mut *f).collect(),
            fpn_bottleneck: f(self.fpn_bottleneck),
            classifier: self.classifier,
        }
    }
}

/// A convolution and a classifier. Source: Long et al. 2015, arXiv:1411.4038, as mmsegmentation has it beside UPerNet.
#[derive(Module, Debug)]
pub struct FcnHead {
    /// One.
    convs: Vec<ConvBlock>,
    classifier: Conv2d,
}

impl FcnHead {
    fn new([inputs, width]: [usize; 2], classes: usize, init: &mut Init) -> Self {
        let convs = vec![ConvBlock::new([inputs, width], 3, init)];
        Self { convs, classifier: Conv2d::new(init, [width, classes], 1, 1, 0, true) }
    }

    fn forward(&self, map: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let map = self.convs.iter().fold(map, |map, block| block.forward(map, pass));
        self.classifier.forward(dropped(map, "auxiliary_head.dropout", pass))
    }
}

/// Dropout of whole channels.
fn dropped(map: Tensor<4>, site: &str, pass: &Pass<'_>) -> Tensor<4> {
    let [rows, channels, ..] = map.dims();
    match pass.mask(site, channels, &map.device().without_autodiff()) {
        Some(mask) => map * mask.reshape([rows, channels, 1, 1]),
        None => map,
    }
}
