//! What the file beside a checkpoint says of it: `config.json`, as timm and Hugging Face transformers write it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::place::read_text;
use crate::ZooError;
use crate::registry::{CropMode, Preprocessing};
use crate::transformers::{self, Network};

/// What `config.json` beside a checkpoint says; what it does not say is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// The file.
    pub path: PathBuf,
    /// The architecture by timm's name, with its tag if it has one.
    pub architecture: Option<String>,
    /// The classes in the order of the weights, each by all the names that it has there: `n01440764`, `tench`, `Tinca tinca`.
    pub classes: Option<Vec<Vec<String>>>,
    /// The network, if it is transformers'.
    pub network: Option<Network>,
    /// What it says of the preparation of images.
    prepared: Prepared,
}

/// Parts of timm's `pretrained_cfg`. Source: timm 1.0, `models/_pretrained.py`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Prepared {
    tag: Option<String>,
    input_size: Option<[usize; 3]>,
    crop_pct: Option<f64>,
    crop_mode: Option<String>,
    interpolation: Option<String>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    #[serde(flatten)]
    names: Names,
}

/// Names of classes, at either level of the file. Source: timm 1.0, `models/_hub.py`, `save_config_for_hf`; transformers,
/// `configuration_utils.py`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Names {
    label_names: Option<Vec<String>>,
    label_descriptions: Option<Value>,
    id2label: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    architecture: Option<String>,
    pretrained_cfg: Prepared,
    #[serde(flatten)]
    names: Names,
}

impl Beside {
    /// Reads `config.json` in the folder of a checkpoint; none if there is no such file.
    ///
    /// # Errors
    /// A file that cannot be read or is no such configuration.
    pub fn read(weights: &Path) -> Result<Option<Self>, ZooError> {
        let folder = if weights.is_dir() { weights } else { weights.parent().unwrap_or(Path::new("")) };
        let path = folder.join("config.json");
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(ZooError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let unlike = |error: serde_json::Error| ZooError::Format {
            path: path.clone(),
            reason: format!("the configuration beside the weights is not as timm or transformers write it: {error}"),
        };
        let json: Value = serde_json::from_str(&text).map_err(unlike)?;
        let network = match json.get("architecture") {
            // A network that is not among those here is no fault of a file beside weights that are named otherwise.
            None => Network::read(&json).and_then(Result::ok),
            Some(_) => None,
        };
        let config: Config = serde_json::from_value(json).map_err(unlike)?;
        let Config { architecture, pretrained_cfg: prepared, names } = config;
        if let Some(fault) = prepared.fault() {
            return Err(ZooError::Format { path, reason: format!("the configuration beside the weights: {fault}") });
        }
        let architecture = architecture.map(|name| match prepared.tag.as_deref() {
            Some(tag) if !tag.is_empty() && !name.contains('.') => format!("{name}.{tag}"),
            _ => name,
        });
        let classes = names.classes().or_else(|| prepared.names.classes());
        Ok(Some(Self { path, architecture, classes, network, prepared }))
    }

    /// How images are prepared by the `preprocessor_config.json` beside the file, for a network whose input has `side` pixels; none without
    /// one.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such configuration.
    pub fn processor(&self, side: usize) -> Result<Option<Preprocessing>, ZooError> {
        let path = self.path.with_file_name("preprocessor_config.json");
        match read_text(&path) {
            Ok(text) => {
                let unlike = |error: ZooError| ZooError::Format { path: path.clone(), reason: error.to_string() };
                transformers::preprocessing(&text, side).map(Some).map_err(unlike)
            }
            Err(ZooError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How images are prepared, if the file says all of it: size, part that is cut out, filter, mean and deviation, as timm writes them.
    pub fn whole_preprocessing(&self) -> Option<Preprocessing> {
        let said = &self.prepared;
        let crop_mode = match said.crop_mode.as_deref() {
            None | Some("center") => CropMode::Center,
            Some("squash") => CropMode::Squash,
            Some(_) => return None,
        };
        let [_, height, width] = said.input_size?;
        let name = said.interpolation.as_deref()?;
        Some(Preprocessing {
            image_size: (height == width).then_some(height)?,
            crop_fraction: said.crop_pct?,
            crop_mode,
            interpolation: FILTERS.into_iter().find(|known| *known == name)?,
            mean: said.mean?,
            std: said.std?,
        })
    }

    /// How images are prepared: what the file says over `usual`, whose interpolation stays where the file has one that is not known.
    pub fn preprocessing(&self, usual: Preprocessing) -> Preprocessing {
        let said = &self.prepared;
        let filter = said.interpolation.as_deref().and_then(|name| FILTERS.into_iter().find(|known| *known == name));
        let crop_mode = match said.crop_mode.as_deref() {
            Some("center") => CropMode::Center,
            Some("squash") => CropMode::Squash,
            _ => usual.crop_mode,
        };
        Preprocessing {
            image_size: said.input_size.map_or(usual.image_size, |[_, height, _]| height),
            crop_fraction: said.crop_pct.unwrap_or(usual.crop_fraction),
            crop_mode,
            interpolation: filter.unwrap_or(usual.interpolation),
            mean: said.mean.unwrap_or(usual.mean),
            std: said.std.unwrap_or(usual.std),
        }
    }
}

impl Prepared {
    /// A number that no preparation of images has.
    fn fault(&self) -> Option<String> {
        let std = self.std.filter(|std| !std.iter().all(|part| part.is_finite() && *part > 0.0));
        let crop = self.crop_pct.filter(|part| !(0.01..=1.0).contains(part));
        std.map(|std| format!("std {std:?}, three positive numbers are expected"))
            .or_else(|| crop.map(|part| format!("crop_pct {part}, a number above 0 and up to 1 is expected")))
    }
}

/// Pillow's filters that timm's models use.
const FILTERS: [&str; 5] = ["bicubic", "bilinear", "nearest", "lanczos", "box"];

impl Names {
    /// The classes in order, each by all its names.
    fn classes(&self) -> Option<Vec<Vec<String>>> {
        if let Some(names) = &self.label_names {
            let described = |index: usize, name: &String| match &self.label_descriptions {
                Some(Value::Object(by_name)) => by_name.get(name).and_then(Value::as_str).map(str::to_owned),
                Some(Value::Array(in_order)) => in_order.get(index).and_then(Value::as_str).map(str::to_owned),
                _ => None,
            };
            let all = |(index, name): (usize, &String)| {
                let mut all = vec![name.clone()];
                all.extend(described(index, name).iter().flat_map(|text| synonyms(text)));
                all
            };
            return Some(names.iter().enumerate().map(all).collect());
        }
        let by_index = self.id2label.as_ref()?;
        // Placeholders, which transformers writes where nobody named the classes, say nothing.
        if by_index.iter().all(|(index, name)| *name == format!("LABEL_{index}")) {
            return None;
        }
        (0..by_index.len()).map(|index| by_index.get(&index.to_string()).map(|text| synonyms(text))).collect()
    }
}

/// A text that lists names with commas, and each of them.
fn synonyms(text: &str) -> Vec<String> {
    let mut names = vec![text.trim().to_owned()];
    names.extend(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    fn read(json: &str) -> Beside {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        Beside::read(&folder.path().join("model.safetensors")).unwrap().unwrap()
    }

    #[test]
    fn timm_says_names_and_how_images_are_prepared() {
        let beside = read(
            r#"{"architecture": "vit_tiny_patch16_224", "num_classes": 2, "label_names": ["n02", "n01"],
                "label_descriptions": {"n02": "tench, Tinca tinca", "n01": "goldfish"},
                "pretrained_cfg": {"tag": "mine", "input_size": [3, 32, 32], "crop_pct": 1.0, "mean": [0.1, 0.2, 0.3],
                                   "interpolation": "bilinear", "url": "", "num_classes": 2}}"#,
        );
        assert_eq!(beside.architecture.as_deref(), Some("vit_tiny_patch16_224.mine"));
        let classes = beside.classes.clone().unwrap();
        assert_eq!(classes, [vec!["n02", "tench, Tinca tinca", "tench", "Tinca tinca"], vec!["n01", "goldfish"]]);
        let usual = registry::find("vit_tiny_patch16_224").unwrap().preprocessing;
        let prepared = beside.preprocessing(usual);
        assert_eq!((prepared.image_size, prepared.crop_fraction, prepared.interpolation), (32, 1.0, "bilinear"));
        assert_eq!((prepared.mean, prepared.std), ([0.1, 0.2, 0.3], usual.std));
        assert_eq!(beside.whole_preprocessing(), None, "it says no deviation");
    }

    #[test]
    fn transformers_says_names_by_number() {
        let beside = read(r#"{"model_type": "vit", "id2label": {"1": "b", "0": "a", "10": "k"}}"#);
        assert_eq!(beside.classes, None, "numbers with gaps are no order");
        let beside = read(r#"{"id2label": {"1": "b", "0": "a"}}"#);
        assert_eq!(beside.classes.unwrap(), [vec!["a"], vec!["b"]]);
        assert_eq!(read(r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#).classes, None);
        assert_eq!(Beside::read("/absent/model.safetensors".as_ref()).unwrap(), None);
    }
}
