//! CLIP's residual network: a stem of three convolutions, average pools before the convolutions that would have strides, and
//! attention in place of the mean pool. Source: Radford et al. 2021, arXiv:2103.00020, section 2.4, and the authors' code.
//! Fields carry the names of open_clip's and OpenAI's `visual.*` (`conv1`, `layer1.0.bn1`, `attnpool.q_proj`).

use burn::module::{Module, Param};
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Tensor, activation};
use robustify_kernels::Then;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Readout;
use crate::layers::{BATCH_NORM_MACS, BatchNorm2d, Conv2d, Init, Linear};
use crate::resnet::moved;
use crate::vit::repeat;
use crate::{Features, Pass, ZooError};

/// The shape of CLIP's residual network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipResNetConfig {
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Channels behind the stem and inside the blocks of the first stage; every further stage doubles them.
    pub width: usize,
    /// Blocks a stage.
    pub layers: [usize; 4],
    /// Heads of the attention pool.
    pub heads: usize,
    /// Width of the features, which is that of the text tower's.
    pub embed_dim: usize,
    /// Number of classes of a linear classifier behind the features; 0 for none, the outputs then being the features.
    pub classes: usize,
    /// Number of texts that the features are compared with, which are the classes then; 0 for none.
    #[serde(default, skip_serializing_if = "is_none")]
    #[schemars(!skip_serializing_if)]
    pub texts: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl ClipResNetConfig {
    /// How many pixels become one on the way to the attention pool.
    const REDUCTION: usize = 32;

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, fault: String| {
            if !ok {
                faults.push(fault);
            }
        };
        let Self { image_size, width, layers, heads, embed_dim, .. } = self;
        check(!layers.contains(&0), format!("layers {layers:?} must be four numbers of at least 1"));
        check(![*image_size, *heads, *embed_dim].contains(&0), "image_size, heads and embed_dim are at least 1".into());
        check(
            self.texts == 0 || self.classes == 0,
            "texts stand in place of a classifier: they need classes = 0".into(),
        );
        check(*width > 0 && width.is_multiple_of(2), format!("width {width} is not an even number of at least 2"));
        let reduction = Self::REDUCTION;
        check(
            image_size.is_multiple_of(reduction),
            format!("image_size {image_size} is not a multiple of {reduction}"),
        );
        let channels = self.channels();
        check(
            channels.is_multiple_of((*heads).max(1)),
            format!("the last stage's {channels} channels are not a multiple of heads {heads}"),
        );
        faults
    }

    /// Channels of the last stage.
    pub fn channels(&self) -> usize {
        8 * self.width * Bottleneck::EXPANSION
    }

    /// Places along each side that the attention pool reads.
    pub fn grid(&self) -> usize {
        self.image_size / Self::REDUCTION
    }

    /// Scalars in kernels, in the attention pool and in the classifier.
    pub(crate) fn weights(&self) -> f64 {
        let (width, half) = (self.width as f64, self.width as f64 / 2.0);
        let mut sum = 9.0 * half * (3.0 + half + width);
        let mut inputs = width;
        for (stage, &blocks) in self.layers.iter().enumerate() {
            let planes = (self.width << stage) as f64;
            let outputs = planes * Bottleneck::EXPANSION as f64;
            let block = |inputs: f64| planes * (inputs + 9.0 * planes + outputs);
            sum += block(inputs) + inputs * outputs + (blocks - 1) as f64 * block(outputs);
            inputs = outputs;
        }
        let (places, features) = ((self.grid() * self.grid() + 1) as f64, self.embed_dim as f64);
        sum + inputs * (places + 3.0 * inputs + features) + features * self.classes as f64
    }

    /// Multiply-accumulates of a forward of one image, as fvcore 0.1.5 counts them in open_clip: convolutions, linear maps, both
    /// products of the attention with a query for every place (of which one is read, and here computed), and two for an
    /// element that BatchNorm puts out.
    pub fn macs(&self) -> u64 {
        self.unit_macs().iter().sum()
    }

    /// The same by units: stem, every stage, pool with classifier.
    pub(crate) fn unit_macs(&self) -> Vec<u64> {
        let conv = |side: usize, inputs: usize, outputs: usize, kernel: usize| {
            side * side * outputs * (inputs * kernel * kernel + BATCH_NORM_MACS)
        };
        let (half, mut side) = (self.width / 2, self.image_size / 2);
        let mut units = vec![conv(side, 3, half, 3) + conv(side, half, half, 3) + conv(side, half, self.width, 3)];
        side /= 2;
        let mut inputs = self.width;
        for (stage, &blocks) in self.layers.iter().enumerate() {
            let mut sum = 0;
            let planes = self.width << stage;
            let outputs = planes * Bottleneck::EXPANSION;
            for block in 0..blocks {
                let reduced = if stage > 0 && block == 0 { side / 2 } else { side };
                sum +=
                    conv(side, inputs, planes, 1) + conv(side, planes, planes, 3) + conv(reduced, planes, outputs, 1);
                if block == 0 {
                    sum += conv(reduced, inputs, outputs, 1);
                }
                (side, inputs) = (reduced, outputs);
            }
            units.push(sum);
        }
        let tokens = side * side + 1;
        let attention = tokens * inputs * (3 * inputs + self.embed_dim) + 2 * tokens * tokens * inputs;
        units.push(attention + self.embed_dim * (self.classes + self.texts));
        units.into_iter().map(|macs| macs as u64).collect()
    }
}

/// CLIP's residual network.
#[derive(Module, Debug)]
pub struct ClipResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    layer1: Vec<Bottleneck>,
    layer2: Vec<Bottleneck>,
    layer3: Vec<Bottleneck>,
    layer4: Vec<Bottleneck>,
    pub(crate) attnpool: AttentionPool,
    head: Option<Linear>,
    pub(crate) readout: Option<Readout>,
    #[module(skip)]
    pub(crate) config: ClipResNetConfig,
}

impl ClipResNet {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &ClipResNetConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        let (width, half) = (config.width, config.width / 2);
        let mut inputs = width;
        let mut stage = |index: usize, init: &mut Init| -> Vec<Bottleneck> {
            let planes = width << index;
            let blocks = (0..config.layers[index]).map(|block| {
                let stride = if index > 0 && block == 0 { 2 } else { 1 };
                let built = Bottleneck::new(inputs, planes, stride, init);
                inputs = planes * Bottleneck::EXPANSION;
                built
            });
            blocks.collect()
        };
        let [layer1, layer2, layer3, layer4] = [0, 1, 2, 3].map(|index| stage(index, init));
        Ok(Self {
            conv1: Conv2d::new(init, [3, half], 3, 2, 1, false),
            bn1: BatchNorm2d::new(init, half),
            conv2: Conv2d::new(init, [half, half], 3, 1, 1, false),
            bn2: BatchNorm2d::new(init, half),
            conv3: Conv2d::new(init, [half, width], 3, 1, 1, false),
            bn3: BatchNorm2d::new(init, width),
            layer1,
            layer2,
            layer3,
            layer4,
            attnpool: AttentionPool::new(config, init),
            head: (config.classes > 0).then(|| Linear::new(init, config.embed_dim, config.classes, true)),
            readout: (config.texts > 0).then(|| Readout::new(config.texts, config.embed_dim, init)),
            config: config.clone(),
        })
    }

    /// # Shapes
    /// - images: `[batch, 3, image_size, image_size]`
    /// - output: `[batch, width, image_size / 4, image_size / 4]`
    pub(crate) fn stem(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let x = self.conv1.forward(images);
        pass.saw(|| "conv1".into(), || Features::Map(x.clone()));
        let x = self.bn1.forward(x, Then::Relu, pass);
        pass.saw(|| "act1".into(), || Features::Map(x.clone()));
        let x = self.bn2.forward(self.conv2.forward(x), Then::Relu, pass);
        let x = self.bn3.forward(self.conv3.forward(x), Then::Relu, pass);
        halved(x)
    }

    fn stages(&self) -> [&Vec<Bottleneck>; 4] {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
    }

    pub(crate) fn with_statistics(self, layers: &mut impl Iterator<Item = (Tensor<1>, Tensor<1>)>) -> Self {
        let stage = |blocks: Vec<Bottleneck>, layers: &mut _| {
            blocks.into_iter().map(|block| block.with_statistics(layers)).collect()
        };
        Self {
            bn1: moved(self.bn1, layers),
            bn2: moved(self.bn2, layers),
            bn3: moved(self.bn3, layers),
            layer1: stage(self.layer1, layers),
            layer2: stage(self.layer2, layers),
            layer3: stage(self.layer3, layers),
            layer4: stage(self.layer4, layers),
            ..self
        }
    }

    /// The network with a classifier for `classes` classes whose weights are those that `fresh` makes from
    /// `[classes, embed_dim]`.
    pub(crate) fn with_head(mut self, classes: usize, fresh: impl FnOnce([usize; 2]) -> Linear) -> Self {
        self.head = Some(fresh([classes, self.config.embed_dim]));
        self.readout = None;
        (self.config.classes, self.config.texts) = (classes, 0);
        self
    }
}

/// 1x1, 3x3, 1x1 convolutions, the last four times as wide; where a stage halves the resolution, an average pool does it.
#[derive(Module, Debug)]
pub struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
    halves: bool,
}

impl Bottleneck {
    const EXPANSION: usize = 4;

    fn new(inputs: usize, planes: usize, stride: usize, init: &mut Init) -> Self {
        let outputs = planes * Self::EXPANSION;
        Self {
            conv1: Conv2d::new(init, [inputs, planes], 1, 1, 0, false),
            bn1: BatchNorm2d::new(init, planes),
            conv2: Conv2d::new(init, [planes, planes], 3, 1, 1, false),
            bn2: BatchNorm2d::new(init, planes),
            conv3: Conv2d::new(init, [planes, outputs], 1, 1, 0, false),
            bn3: BatchNorm2d::new(init, outputs),
            downsample: (stride > 1 || inputs != outputs)
                .then(|| (Conv2d::new(init, [inputs, outputs], 1, 1, 0, false), BatchNorm2d::new(init, outputs))),
            halves: stride > 1,
        }
    }

    /// # Shapes
    /// - x: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height', width']`
    pub fn forward(&self, x: Tensor<4>, pass: &Pass<'_>) -> Tensor<4> {
        let pool = |x: Tensor<4>| if self.halves { halved(x) } else { x };
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.forward(conv.forward(pool(x.clone())), Then::Nothing, pass),
            None => x.clone(),
        };
        let y = self.bn1.forward(self.conv1.forward(x), Then::Relu, pass);
        let y = self.bn2.forward(self.conv2.forward(y), Then::Relu, pass);
        self.bn3.forward(self.conv3.forward(pool(y)), Then::AddRelu(shortcut), pass)
    }

    /// Moves every BatchNorm, in the order in which a forward meets them.
    fn with_statistics(self, layers: &mut impl Iterator<Item = (Tensor<1>, Tensor<1>)>) -> Self {
        Self {
            downsample: self.downsample.map(|(conv, norm)| (conv, moved(norm, layers))),
            bn1: moved(self.bn1, layers),
            bn2: moved(self.bn2, layers),
            bn3: moved(self.bn3, layers),
            ..self
        }
    }
}

/// Half the resolution, by the mean of every two by two.
fn halved(x: Tensor<4>) -> Tensor<4> {
    burn::tensor::module::avg_pool2d(x, AvgPoolOptions::new([2, 2]))
}

/// Attention whose one query is the mean over all places.
#[derive(Module, Debug)]
pub struct AttentionPool {
    /// `[1 + places, channels]`, that of the mean first.
    positional_embedding: Param<Tensor<2>>,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    pub(crate) c_proj: Linear,
    heads: usize,
}

impl AttentionPool {
    fn new(config: &ClipResNetConfig, init: &mut Init) -> Self {
        let (channels, places) = (config.channels(), config.grid() * config.grid());
        let std = (channels as f64).powf(-0.5);
        let mut linear = |outputs: usize| Linear {
            weight: init.truncated_normal([outputs, channels], std),
            bias: Some(init.constant([outputs], 0.0)),
        };
        let (q_proj, k_proj, v_proj) = (linear(channels), linear(channels), linear(channels));
        let c_proj = linear(config.embed_dim);
        let positional_embedding = init.truncated_normal([1 + places, channels], std);
        Self { positional_embedding, q_proj, k_proj, v_proj, c_proj, heads: config.heads }
    }

    /// # Shapes
    /// - x: `[batch, channels, height, width]`, with as many places as there are positions
    /// - output: `[batch, embed_dim]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = x.dims();
        let (tokens, size) = (height * width + 1, channels / self.heads);
        let x = x.reshape([batch, channels, height * width]).swap_dims(1, 2);
        let x = Tensor::cat(vec![x.clone().mean_dim(1), x], 1) + self.positional_embedding.val().unsqueeze::<3>();
        let split = |x: Tensor<3>, count: usize| x.reshape([batch, count, self.heads, size]).swap_dims(1, 2);
        let query = self.q_proj.forward(x.clone().narrow(1, 0, 1)) * (size as f64).powf(-0.5);
        let (keys, values) = (self.k_proj.forward(x.clone()), self.v_proj.forward(x));
        let scores = split(query, 1).matmul(split(keys, tokens).transpose());
        let mixed = activation::softmax(scores, 3).matmul(split(values, tokens));
        self.c_proj.forward(mixed.reshape([batch, channels]))
    }
}

/// Consecutive stages of a [`ClipResNet`], then perhaps the attention pool and the classifier.
#[derive(Module, Debug)]
pub struct ClipResNetSegment {
    stages: Vec<Vec<Bottleneck>>,
    attnpool: Option<AttentionPool>,
    head: Option<Linear>,
    pub(crate) readout: Option<Readout>,
    /// The number of the first stage.
    first: usize,
}

impl ClipResNetSegment {
    /// Clones units `from..to` of `model`: four stages, then the attention pool and the classifier as one.
    pub(crate) fn new(model: &ClipResNet, from: usize, to: usize) -> Self {
        let stages = model.stages();
        let (count, end) = (stages.len(), to.min(stages.len()));
        let ends = from <= count && to > count;
        Self {
            stages: stages[from.min(end)..end].iter().map(|&stage| stage.clone()).collect(),
            attnpool: ends.then(|| model.attnpool.clone()),
            head: model.head.clone().filter(|_| ends),
            readout: model.readout.clone().filter(|_| ends),
            first: from + 1,
        }
    }

    /// Whether the segment ends in the pool and what follows it.
    pub(crate) fn ends(&self) -> bool {
        self.attnpool.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attnpool.is_none() && self.stages.iter().all(Vec::is_empty)
    }

    /// Only the classifier's dropout is stochastic, so rows are repeated behind the attention pool.
    pub(crate) fn forward(&self, map: Tensor<4>, passes: usize, pass: &Pass<'_>) -> Features {
        let mut x = map;
        for (number, stage) in (self.first..).zip(&self.stages) {
            x = stage.iter().fold(x, |x, block| block.forward(x, pass));
            pass.saw(|| format!("layer{number}"), || Features::Map(x.clone()));
        }
        let Some(attnpool) = &self.attnpool else { return Features::Map(repeat(x, passes)) };
        let pooled = attnpool.forward(x);
        pass.saw(|| "attnpool".into(), || Features::Rows(pooled.clone()));
        let pooled = pass.dropout(repeat(pooled, passes), "head_drop");
        if self.head.is_some() {
            pass.saw(|| "pre_logits".into(), || Features::Rows(pooled.clone()));
        }
        Features::Rows(match (&self.readout, &self.head) {
            (Some(readout), _) => readout.forward(pooled),
            (None, Some(head)) => head.forward(pooled),
            (None, None) => pooled,
        })
    }
}
