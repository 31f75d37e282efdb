use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clip::{ClipResNet, ClipResNetConfig, ClipResNetSegment};
use crate::layers::{Init, Linear};
use crate::resnet::{ResNet, ResNetConfig, ResNetSegment};
use crate::swin::{Swin, SwinConfig, SwinSegment};
use crate::vit::{PromptConfig, Vit, VitConfig, VitSegment, VitState, repeat};
use crate::{BatchStatistics, Features, Pass, ZooError, weights};

/// Which network to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "architecture", rename_all = "lowercase")]
pub enum ModelConfig {
    /// A Vision Transformer.
    Vit(VitConfig),
    /// A residual network.
    ResNet(ResNetConfig),
    /// A Swin Transformer of either version.
    Swin(SwinConfig),
    /// CLIP's residual network.
    #[serde(rename = "clip_resnet")]
    ClipResNet(ClipResNetConfig),
}

impl ModelConfig {
    /// The name for people of the network's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Vit(_) => "ViT",
            Self::ResNet(_) => "ResNet",
            Self::Swin(_) => "Swin",
            Self::ClipResNet(_) => "CLIP's ResNet",
        }
    }

    /// Faults of the shape, as sentences; empty when it can be built.
    pub fn faults(&self) -> Vec<String> {
        // Sizes beyond all reason would overflow in what the others compute.
        let oversized = self.oversized();
        if !oversized.is_empty() {
            return oversized;
        }
        let faults = match self {
            Self::Vit(config) => config.faults(),
            Self::ResNet(config) => config.faults(),
            Self::Swin(config) => config.faults(),
            Self::ClipResNet(config) => config.faults(),
        };
        if faults.is_empty() { self.overweight().into_iter().collect() } else { faults }
    }

    /// Side of the square input in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Vit(config) => config.image_size,
            Self::ResNet(config) => config.image_size,
            Self::Swin(config) => config.image_size,
            Self::ClipResNet(config) => config.image_size,
        }
    }

    /// Number of blocks (of residual networks: stages) between the stem and the head.
    pub fn blocks(&self) -> usize {
        match self {
            Self::Vit(config) => config.depth,
            Self::ResNet(config) => config.layers.len(),
            Self::Swin(config) => config.depths.iter().sum(),
            Self::ClipResNet(config) => config.layers.len(),
        }
    }

    /// Number of classes, or of texts that stand for them; 0 for a network without a classifier.
    pub fn classes(&self) -> usize {
        match self {
            _ if self.texts() > 0 => self.texts(),
            Self::Vit(config) => config.classes,
            Self::ResNet(config) => config.classes,
            Self::Swin(config) => config.classes,
            Self::ClipResNet(config) => config.classes,
        }
    }

    /// Number of classes that a classifier tells apart; 0 for a network without one, and for CLIP's image towers, whose last layer
    /// is a projection.
    pub fn classifier(&self) -> usize {
        match self {
            Self::Vit(config) if config.projects => 0,
            Self::ClipResNet(_) => 0,
            _ => self.classes(),
        }
    }

    /// Width of the pooled features, which the classifier reads.
    pub fn feature_width(&self) -> usize {
        match self {
            Self::Vit(config) => config.feature_width(),
            Self::ResNet(config) => config.feature_width(),
            Self::Swin(config) => config.features(),
            Self::ClipResNet(config) => config.embed_dim,
        }
    }

    /// Whether the network has BatchNorm layers, so that rows of a training batch depend on each other.
    pub fn has_batch_norm(&self) -> bool {
        matches!(self, Self::ResNet(_) | Self::ClipResNet(_))
    }

    /// Width of what a forward gives: the number of classes, or the width of the features when there is no classifier.
    pub fn outputs(&self) -> usize {
        match self.classes() {
            0 => self.feature_width(),
            classes => classes,
        }
    }

    /// Multiply-accumulates of a forward of one image, as fvcore 0.1.5 counts them (norms included).
    pub fn macs(&self) -> u64 {
        match self {
            Self::Vit(config) => config.macs(),
            Self::ResNet(config) => config.macs(),
            Self::Swin(config) => config.macs(),
            Self::ClipResNet(config) => config.macs(),
        }
    }

    /// The same network for square inputs of another side, in pixels.
    #[must_use]
    pub fn with_image_size(&self, image_size: usize) -> Self {
        match self {
            Self::Vit(config) => Self::Vit(VitConfig { image_size, ..config.clone() }),
            Self::ResNet(config) => Self::ResNet(ResNetConfig { image_size, ..config.clone() }),
            Self::Swin(config) => Self::Swin(config.resized(image_size)),
            Self::ClipResNet(config) => Self::ClipResNet(ClipResNetConfig { image_size, ..config.clone() }),
        }
    }

    /// The network that [`Model::with_classifier`] makes of this one: as [`Self::with_classes`], but for CLIP's image tower, whose
    /// last layer is a projection that stays.
    #[must_use]
    pub fn with_classifier(&self, classes: usize) -> Self {
        match self {
            Self::Vit(config) => Self::Vit(config.with_classifier(classes)),
            _ => self.with_classes(classes),
        }
    }

    /// The same network for another number of classes.
    #[must_use]
    pub fn with_classes(&self, classes: usize) -> Self {
        if self.texts() > 0 && classes > 0 {
            return self.with_texts(classes).unwrap_or_else(|| self.clone());
        }
        match self {
            // Another number of outputs is a classifier, whatever the name of the weights says.
            Self::Vit(config) => {
                let projects = config.projects && config.classes == classes;
                Self::Vit(VitConfig { classes, projects, texts: 0, ..config.clone() })
            }
            Self::ResNet(config) => Self::ResNet(ResNetConfig { classes, ..config.clone() }),
            Self::Swin(config) => Self::Swin(SwinConfig { classes, ..config.clone() }),
            Self::ClipResNet(config) => Self::ClipResNet(ClipResNetConfig { classes, texts: 0, ..config.clone() }),
        }
    }
}

/// A place between two units of a model: everything before it may be frozen, everything after it tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CutPoint(usize);

/// What lies between two neighbouring cuts of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// `stem`, then the blocks or stages by timm's name, then `head`.
    pub name: String,
    /// Number of scalars in its weights.
    pub parameters: usize,
}

/// An image classifier.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few of them, and a module cannot be boxed")]
pub enum Model {
    /// A Vision Transformer.
    Vit(Vit),
    /// A residual network.
    ResNet(ResNet),
    /// A Swin Transformer.
    Swin(Swin),
    /// CLIP's residual network.
    ClipResNet(ClipResNet),
}

/// Consecutive units of a model, cloned from it.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few of them, and a module cannot be boxed")]
pub enum Segment {
    /// Of a Vision Transformer.
    Vit(VitSegment),
    /// Of a residual network.
    ResNet(ResNetSegment),
    /// Of a Swin Transformer.
    Swin(SwinSegment),
    /// Of CLIP's residual network.
    ClipResNet(ClipResNetSegment),
}

impl Model {
    /// A model with fresh weights, drawn on the host from `seed`.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ZooError> {
        Self::build(config, &mut Init::new(seed, device))
    }

    /// A model to load weights into; it takes no memory for weights before that.
    ///
    /// # Errors
    /// A configuration with faults.
    pub fn blank(config: &ModelConfig, device: &Device) -> Result<Self, ZooError> {
        Self::build(config, &mut Init::blank(device))
    }

    pub(crate) fn build(config: &ModelConfig, init: &mut Init) -> Result<Self, ZooError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(ZooError::Config(faults.join("; ")));
        }
        Ok(match config {
            ModelConfig::Vit(config) => Self::Vit(Vit::new(config, init)?),
            ModelConfig::ResNet(config) => Self::ResNet(ResNet::new(config, init)?),
            ModelConfig::Swin(config) => Self::Swin(Swin::new(config, init)?),
            ModelConfig::ClipResNet(config) => Self::ClipResNet(ClipResNet::new(config, init)?),
        })
    }

    /// The configuration that describes the network as it is.
    pub fn config(&self) -> ModelConfig {
        match self {
            Self::Vit(model) => ModelConfig::Vit(model.config.clone()),
            Self::ResNet(model) => ModelConfig::ResNet(model.config.clone()),
            Self::Swin(model) => ModelConfig::Swin(model.config.clone()),
            Self::ClipResNet(model) => ModelConfig::ClipResNet(model.config.clone()),
        }
    }

    /// Number of classes, or of texts that stand for them; 0 for a network without a classifier, whose logits are the pooled
    /// features.
    pub fn classes(&self) -> usize {
        match self {
            Self::Vit(model) if model.config.texts > 0 => model.config.texts,
            Self::Vit(model) => model.config.classes,
            Self::ResNet(model) => model.config.classes,
            Self::Swin(model) => model.config.classes,
            Self::ClipResNet(model) => model.config.classes + model.config.texts,
        }
    }

    /// Side of the square input in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Vit(model) => model.config.image_size,
            Self::ResNet(model) => model.config.image_size,
            Self::Swin(model) => model.config.image_size,
            Self::ClipResNet(model) => model.config.image_size,
        }
    }

    /// The model with a fresh classifier for another number of classes, all its weights zero. It replaces the one there is; behind
    /// the projection of CLIP's image tower it is added.
    #[must_use]
    pub fn with_classifier(self, classes: usize, device: &Device) -> Self {
        let mut init = Init::new(0, device);
        let mut fresh = |shape: [usize; 2]| Linear {
            weight: init.constant(shape, 0.0),
            bias: Some(init.constant([shape[0]], 0.0)),
        };
        match self {
            Self::Vit(model) => Self::Vit(model.with_heads(classes, fresh)),
            Self::ResNet(model) => Self::ResNet(model.with_head(classes, fresh)),
            Self::Swin(model) => {
                let fc = fresh([classes, model.config.features()]);
                Self::Swin(model.with_classifier(classes, fc))
            }
            Self::ClipResNet(model) => Self::ClipResNet(model.with_head(classes, fresh)),
        }
    }

    /// The model with fresh visual prompts, drawn from `seed`, in place of those that it may have; everything else is as it was.
    ///
    /// # Errors
    /// A network that is no Vision Transformer, and prompts with faults.
    pub fn with_prompts(self, prompts: PromptConfig, seed: u64, device: &Device) -> Result<Self, ZooError> {
        match self {
            Self::Vit(model) => Ok(Self::Vit(model.with_prompts(prompts, &mut Init::new(seed, device))?)),
            _ => Err(ZooError::Config("prompts are tokens, and only a Vision Transformer has places for them".into())),
        }
    }

    /// Every place the model may be cut at, from after the stem to after the classifier.
    pub fn cut_points(&self) -> Vec<CutPoint> {
        let blocks = match self {
            Self::Vit(model) => model.blocks.len(),
            Self::ResNet(model) => model.config.layers.len(),
            Self::Swin(model) => model.blocks(),
            Self::ClipResNet(model) => model.config.layers.len(),
        };
        (0..=blocks + 1).map(CutPoint).collect()
    }

    /// The units between the cuts, in the order of a forward: the stem, blocks or stages, the classifier.
    pub fn units(&self) -> Vec<Unit> {
        let names: Vec<String> = match self {
            Self::Vit(model) => (0..model.blocks.len()).map(|block| format!("blocks.{block}")).collect(),
            Self::ResNet(model) => (1..=model.config.layers.len()).map(|stage| format!("layer{stage}")).collect(),
            Self::ClipResNet(model) => (1..=model.config.layers.len()).map(|stage| format!("layer{stage}")).collect(),
            Self::Swin(model) => {
                let layers = model.config.depths.iter().enumerate();
                layers
                    .flat_map(|(layer, &blocks)| (0..blocks).map(move |block| format!("layers.{layer}.blocks.{block}")))
                    .collect()
            }
        };
        let cuts = self.cut_points();
        let mut units = Vec::with_capacity(cuts.len());
        for (name, pair) in names.into_iter().chain(["head".to_owned()]).zip(cuts.windows(2)) {
            units.push(Unit { name, parameters: weights::parameters(&self.segment(pair[0], pair[1])) });
        }
        let rest: usize = units.iter().map(|unit| unit.parameters).sum();
        units.insert(0, Unit { name: "stem".into(), parameters: weights::parameters(self) - rest });
        units
    }

    /// The cut after the classifier.
    pub fn last_cut(&self) -> CutPoint {
        self.cut_points()[self.cut_points().len() - 1]
    }

    /// The cut that leaves the classifier and the last `blocks` blocks or stages after it.
    ///
    /// # Errors
    /// More blocks than the model has.
    pub fn cut_before_last(&self, blocks: usize) -> Result<CutPoint, ZooError> {
        let available = self.cut_points().len() - 2;
        available
            .checked_sub(blocks)
            .map(CutPoint)
            .ok_or_else(|| ZooError::Config(format!("{blocks} tunable blocks asked for, the model has {available}")))
    }

    /// Runs the model from the image to `cut`.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    pub fn features(&self, images: Tensor<4>, cut: CutPoint) -> Features {
        self.features_in(images, cut, &Pass::eval())
    }

    /// Logits of images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, normalised
    /// - output: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>, pass: &Pass<'_>) -> Tensor<2> {
        self.features_in(images, self.last_cut(), pass).logits()
    }

    pub(crate) fn features_in(&self, images: Tensor<4>, cut: CutPoint, pass: &Pass<'_>) -> Features {
        let stem = match self {
            Self::Vit(model) => Features::Tokens(model.embed(images, pass)),
            Self::ResNet(model) => Features::Map(model.stem(images, pass)),
            Self::Swin(model) => Features::Map(model.embed(images, pass)),
            Self::ClipResNet(model) => Features::Map(model.stem(images, pass)),
        };
        self.segment(CutPoint(0), cut).forward(stem, pass)
    }

    /// Clones the units between two cuts.
    pub fn segment(&self, from: CutPoint, to: CutPoint) -> Segment {
        match self {
            Self::Vit(model) => Segment::Vit(VitSegment::new(model, from.0, to.0)),
            Self::ResNet(model) => Segment::ResNet(ResNetSegment::new(model, from.0, to.0)),
            Self::Swin(model) => Segment::Swin(SwinSegment::new(model, from.0, to.0)),
            Self::ClipResNet(model) => Segment::ClipResNet(ClipResNetSegment::new(model, from.0, to.0)),
        }
    }

    /// Moves the running statistics of all BatchNorm layers towards those that one training forward reported.
    #[must_use]
    pub fn with_statistics(self, statistics: BatchStatistics) -> Self {
        let mut layers = statistics.into_layers().into_iter();
        match self {
            Self::ResNet(model) => Self::ResNet(model.with_statistics(&mut layers)),
            Self::ClipResNet(model) => Self::ClipResNet(model.with_statistics(&mut layers)),
            other => other,
        }
    }
}

impl Segment {
    /// Whether the segment has no unit, so that features pass through unchanged.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Vit(segment) => segment.blocks.is_empty() && !segment.ends,
            Self::ResNet(segment) => segment.is_empty(),
            Self::Swin(segment) => segment.is_empty(),
            Self::ClipResNet(segment) => segment.is_empty(),
        }
    }

    /// Whether a dropout mask can change what the segment gives: residual networks have dropout before the classifier alone.
    pub fn draws(&self) -> bool {
        match self {
            Self::Vit(_) | Self::Swin(_) => !self.is_empty(),
            Self::ResNet(segment) => segment.ends,
            Self::ClipResNet(segment) => segment.ends(),
        }
    }

    /// Features at the segment's start to features at its end (logits, when it ends in the classifier).
    pub fn forward(&self, features: Features, pass: &Pass<'_>) -> Features {
        self.forward_passes(features, 1, pass)
    }

    /// The same with every row `passes` times, for as many stochastic passes in one batch; the passes of a row are next to
    /// each other. What no mask can change is computed once where the architecture allows it.
    pub fn forward_passes(&self, features: Features, passes: usize, pass: &Pass<'_>) -> Features {
        match (self, features) {
            (Self::Vit(segment), Features::Tokens(tokens)) => {
                segment.forward(VitState::Tokens(tokens), passes, pass).into()
            }
            (Self::Vit(segment), Features::Rows(rows)) => segment.forward(VitState::Cls(rows), passes, pass).into(),
            (Self::ResNet(segment), Features::Map(map)) => segment.forward(map, passes, pass),
            (Self::Swin(segment), Features::Map(map)) => segment.forward(map, passes, pass),
            (Self::ClipResNet(segment), Features::Map(map)) => segment.forward(map, passes, pass),
            (Self::ResNet(_) | Self::Swin(_) | Self::ClipResNet(_), Features::Rows(rows)) if self.is_empty() => {
                Features::Rows(repeat(rows, passes))
            }
            (_, features) => unreachable!("features {:?} of another architecture", features.dims()),
        }
    }
}
