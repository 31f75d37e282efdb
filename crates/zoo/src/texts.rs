//! Models whose classes are texts: CLIP's image towers with a [`Readout`] behind them.

use burn::tensor::Device;

use crate::clip::{ClipResNetConfig, Readout, TextMatrix};
use crate::vit::VitConfig;
use crate::{Model, ModelConfig, Segment, ZooError};

impl ModelConfig {
    /// Number of texts that the features of CLIP's image tower are compared with; 0 for the features themselves.
    pub fn texts(&self) -> usize {
        match self {
            Self::Vit(config) => config.texts,
            Self::ClipResNet(config) => config.texts,
            Self::ResNet(_) | Self::Swin(_) => 0,
        }
    }

    /// The same image tower of CLIP, compared with so many texts, or with none; `None` for any other network.
    pub fn with_texts(&self, texts: usize) -> Option<Self> {
        match self {
            Self::Vit(config) if config.projects => Some(Self::Vit(VitConfig { texts, ..config.clone() })),
            Self::ClipResNet(config) if config.classes == 0 => {
                Some(Self::ClipResNet(ClipResNetConfig { texts, ..config.clone() }))
            }
            _ => None,
        }
    }
}

impl Model {
    /// What the features of CLIP's image tower are compared with, if they are.
    pub fn readout(&self) -> Option<&Readout> {
        match self {
            Self::Vit(model) => model.readout.as_ref(),
            Self::ClipResNet(model) => model.readout.as_ref(),
            Self::ResNet(_) | Self::Swin(_) => None,
        }
    }

    /// CLIP's image tower with these texts as its classes, in place of others if it has some; or, without any, as the tower that
    /// gives features.
    ///
    /// # Errors
    /// A network that is no image tower of CLIP's, or texts of another width than its features.
    pub fn with_texts(self, texts: Option<&TextMatrix>, device: &Device) -> Result<Self, ZooError> {
        let readout = texts.map(|texts| Readout::of(texts, device)).transpose()?;
        let count = texts.map_or(0, |texts| texts.rows.shape[0]);
        let width = texts.map(|texts| texts.rows.shape[1]);
        let fits = |features: usize| match width.filter(|&width| width != features) {
            Some(width) => {
                Err(ZooError::Config(format!("the image tower gives {features} numbers and the texts have {width}")))
            }
            None => Ok(()),
        };
        match self {
            Self::Vit(mut model) if model.config.projects => {
                fits(model.config.classes)?;
                (model.readout, model.config.texts) = (readout, count);
                Ok(Self::Vit(model))
            }
            Self::ClipResNet(mut model) if model.config.classes == 0 => {
                fits(model.config.embed_dim)?;
                (model.readout, model.config.texts) = (readout, count);
                Ok(Self::ClipResNet(model))
            }
            _ => Err(ZooError::Config(
                "texts can be the classes of CLIP's image towers alone: a ViT with projects = true, or a clip_resnet without a \
                 classifier"
                    .into(),
            )),
        }
    }
}

impl Segment {
    /// The segment with these texts as its classes, in place of the texts that it has.
    ///
    /// # Errors
    /// A segment that does not end in texts, or texts of another width.
    pub fn with_texts(self, texts: &TextMatrix, device: &Device) -> Result<Self, ZooError> {
        let other = |readout: &Readout| readout.with_texts(texts, device);
        let none = || ZooError::Config("a part of a network whose classes are no texts cannot get others".into());
        match self {
            Self::Vit(mut segment) => {
                segment.readout = Some(segment.readout.as_ref().map(other).ok_or_else(none)??);
                Ok(Self::Vit(segment))
            }
            Self::ClipResNet(mut segment) => {
                segment.readout = Some(segment.readout.as_ref().map(other).ok_or_else(none)??);
                Ok(Self::ClipResNet(segment))
            }
            Self::ResNet(_) | Self::Swin(_) => Err(none()),
        }
    }
}
