//! A model that is looked at, and images as it sees them.

use anyhow::{Context as _, Result, bail};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use robustify_data::{Images, Preprocess, batch};
use robustify_predict::classes::{KnownClasses, list};
use robustify_predict::{Made, RobustModel};
use robustify_report::digest;
use robustify_select::Head;
use robustify_zoo::weights;
use robustify_zoo::{Model, ModelConfig};

/// A model that is looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name in figures and tables.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
    /// The file or name that it was opened from, as typed.
    pub source: String,
    /// The network.
    pub network: ModelConfig,
    /// With its weights.
    pub model: Model,
    /// From a picture to the network's input.
    pub preprocess: Preprocess,
    /// What its classes are called, in the order of the logits; none where nothing names them.
    pub classes: Option<KnownClasses>,
    /// What else a reader has to know.
    pub notes: Vec<String>,
}

impl Subject {
    /// One network of a model that this program wrote: of three heads the one that answers for clean images.
    ///
    /// # Errors
    /// Two networks that answer together.
    pub fn of_robust(robust: RobustModel, source: &str) -> Result<Self> {
        let RobustModel { method, network, model, preprocess, classes, cut, made, .. } = robust;
        let mut notes = Vec::new();
        let model = match (made, cut) {
            (Made::Classifier | Made::Adapting(_), _) => model,
            (Made::ThreeHeads(heads, _), Some(split)) => {
                notes.push("Of its three heads, the one that answers for clean images is looked at.".to_owned());
                if heads.is_preserving() { model } else { heads.one(Head::Clean).into_model(model, split)? }
            }
            (Made::ThreeHeads(..), None) => bail!("{source}: three heads without the place of their cut"),
            (Made::Pair(_), _) => bail!(
                "{source}: `{method}` is a pair of networks that answer together; give the files of the two models that it was made of"
            ),
        };
        let classes = Some(KnownClasses::new(&classes, "the header of the file"));
        Ok(Self {
            name: method,
            about: about(&network, &model),
            source: source.to_owned(),
            network,
            model,
            preprocess,
            classes,
            notes,
        })
    }

    /// Hash of weights, network and preprocessing.
    ///
    /// # Errors
    /// A network that has no JSON form.
    pub fn identity(&self) -> Result<String> {
        let weights = digest::of_bytes(&weights::to_bytes(&weights::state(&self.model)));
        Ok(digest::of(&(weights, &self.network, self.preprocess.to_string()))?)
    }

    /// Some images as the network's input.
    ///
    /// # Shapes
    /// - output: `[indices, 3, height, width]`
    ///
    /// # Errors
    /// Images that cannot be read, or that do not become the network's input.
    pub fn input(&self, images: &Images, indices: &[usize], device: &Device) -> Result<Tensor<4>> {
        let side = self.network.image_size() as u32;
        let pixels = |&index: &usize| -> Result<RgbImage> {
            let pixels = self.preprocess.pixels(&images.get(index)?.image).with_context(|| images.origin(index))?;
            anyhow::ensure!(
                pixels.dimensions() == (side, side),
                "{}: {} makes {}x{} pixels of it, and {} takes {side}x{side}",
                images.origin(index),
                self.preprocess,
                pixels.width(),
                pixels.height(),
                self.name
            );
            Ok(pixels)
        };
        let pixels: Vec<RgbImage> = indices.iter().map(pixels).collect::<Result<_>>()?;
        Ok(batch::normalised(&pixels, &self.preprocess, device)?)
    }

    /// Where the classes of images are among the model's outputs, or in a sentence why they cannot be found.
    pub fn places(&self, wanted: &[String]) -> std::result::Result<Vec<usize>, String> {
        let outputs = self.network.outputs();
        if self.network.classifier() == 0 && self.classes.is_none() {
            return Err("it has no classifier".to_owned());
        }
        let Some(known) = &self.classes else {
            return match outputs == wanted.len() {
                true => Ok((0..outputs).collect()),
                false => {
                    Err(format!("it has {outputs} classes, which nothing names, and the data has {}", wanted.len()))
                }
            };
        };
        if wanted.len() == outputs && are_numbers(wanted) {
            return Ok((0..outputs).collect());
        }
        known.all_places(wanted).map_err(|unknown| {
            format!(
                "the data has classes that are not among its {} by name ({}): {}",
                outputs,
                known.from,
                list(&unknown)
            )
        })
    }
}

/// Whether classes have numbers for names, which data has whose files name none.
pub(crate) fn are_numbers(names: &[String]) -> bool {
    names.iter().enumerate().all(|(index, name)| *name == index.to_string())
}

/// A network in a few words.
pub fn about(network: &ModelConfig, model: &Model) -> String {
    let millions = weights::parameters(model) as f64 / 1e6;
    let side = network.image_size();
    let shape = match network {
        ModelConfig::Vit(vit) => {
            format!("ViT, {} blocks, {} heads, patches of {} pixels", vit.depth, vit.heads, vit.patch_size)
        }
        ModelConfig::Swin(swin) => {
            let version = if swin.version == robustify_zoo::swin::Version::V1 { "" } else { " V2" };
            let blocks: usize = swin.depths.iter().sum();
            format!("Swin{version}, {blocks} blocks, windows of {}", swin.windows.iter().max().unwrap_or(&0))
        }
        ModelConfig::ResNet(_) => "ResNet".to_owned(),
        ModelConfig::ClipResNet(_) => "CLIP's ResNet".to_owned(),
    };
    format!("{shape}, input of {side} pixels, {millions:.1} M parameters")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(classes: Option<&[&str]>, count: usize) -> Subject {
        let device = robustify_device::open(Some("flex")).unwrap();
        let text = format!(
            r#"{{"architecture": "vit", "image_size": 8, "patch_size": 4, "width": 8, "depth": 1, "heads": 2, "classes": {count}}}"#
        );
        let network: ModelConfig = serde_json::from_str(&text).unwrap();
        let model = Model::new(&network, 1, &device).unwrap();
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let classes = classes.map(|names| KnownClasses::new(&owned(names), "a test"));
        let preprocess = "resize(8,8)".parse().unwrap();
        let (name, source) = ("m".to_owned(), "m.safetensors".to_owned());
        Subject { name, about: about(&network, &model), source, network, model, preprocess, classes, notes: Vec::new() }
    }

    #[test]
    fn classes_are_found_by_name_or_by_their_number() {
        let wanted = ["cat".to_owned(), "ankle_boot".to_owned()];
        assert_eq!(subject(Some(&["Ankle boot", "dog", "cat"]), 3).places(&wanted), Ok(vec![2, 0]));
        let said = subject(Some(&["dog", "cat"]), 2).places(&wanted).unwrap_err();
        assert!(said.contains("not among its 2 by name (a test): ankle_boot"), "{said}");
        let numbers = ["0".to_owned(), "1".to_owned()];
        assert_eq!(subject(Some(&["dog", "cat"]), 2).places(&numbers), Ok(vec![0, 1]));
        assert_eq!(subject(None, 2).places(&wanted), Ok(vec![0, 1]));
        assert!(subject(None, 3).places(&wanted).unwrap_err().contains("nothing names"));
        assert!(subject(None, 0).places(&wanted).unwrap_err().contains("no classifier"));
    }
}
