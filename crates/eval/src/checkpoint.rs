//! What model a file of weights is, and how its images are prepared.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;
use robustify_predict::{Made, RobustModel, preprocess_line};
use robustify_zoo::registry::{self, CropMode, Entry, Preprocessing};
use robustify_zoo::weights::{self, Beside, Checkpoint, Fitting, LoadOptions};
use robustify_zoo::{ModelConfig, ZooError, transformers};

/// Weights, and what was said of them.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// As they were named: a path, or a name of the hub.
    pub named: String,
    /// The file or folder that the name means.
    pub path: PathBuf,
    /// The model by a name of the registry, if one was given.
    pub model: Option<String>,
    /// The network by its sizes, if they were given.
    pub network: Option<ModelConfig>,
    /// The key under which the state dict lies in the file, if one was given.
    pub from: Option<String>,
    /// Another side of the input in pixels than that of the weights.
    pub image_size: Option<usize>,
}

/// A model of the user's.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it is, and how that is known, in a sentence.
    pub about: String,
    /// What else it may be, where that would make other pixels of the images.
    pub doubt: Option<String>,
    /// The network with as many classes as the weights have.
    pub network: ModelConfig,
    /// The name in the registry, where it has one and the network is that of the name but for classes and input size.
    pub name: Option<String>,
    /// From files to its input.
    pub preprocess: String,
}

impl Model {
    /// What the weights are: a model that this program wrote says it itself; else the name that was given, else `config.json`
    /// beside the weights, else names and shapes of the tensors, and, among models that have the same ones, the name of the file.
    ///
    /// # Errors
    /// Weights that cannot be read, that do not fit the model named, or that fit none.
    pub fn of(asked: &Weights, device: &Device) -> Result<Self> {
        let file = &asked.path;
        if RobustModel::is_one(file)? {
            return own(asked, device);
        }
        let checkpoint = Checkpoint::open(file)?;
        if let Some(network) = &asked.network {
            return sized(asked, network, &checkpoint, device);
        }
        let beside = Beside::read(file)?;
        if let (None, Some(found)) = (&asked.model, beside.as_ref().and_then(of_transformers)) {
            return found.model(asked, &checkpoint, device);
        }
        let (entry, about, doubt) = entry(asked, beside.as_ref(), &checkpoint, device)?;
        let usual = beside.as_ref().map_or(entry.preprocessing, |beside| beside.preprocessing(entry.preprocessing));
        let network = fitted(entry, asked, &checkpoint, device)?;
        let preprocess = preprocess_line(&of_size(usual, network.image_size()));
        Ok(Self { about, doubt, network, name: Some(entry.name()), preprocess })
    }
}

/// A model that this program wrote.
fn own(asked: &Weights, device: &Device) -> Result<Model> {
    let read = RobustModel::read(&asked.path, device)?;
    ensure!(
        matches!(read.made, Made::Classifier),
        "the model `{}` in it has three heads, or adapts while it answers, and is robust already; `bench-robustness --model` measures \
         it. To start from the model that it was made of, give the original.safetensors beside it",
        read.method
    );
    ensure!(asked.image_size.is_none(), "the model in it says its image size itself; leave --image-size out");
    let about = format!("`{}`, a model that this program wrote: its header says what it is", read.method);
    Ok(Model { about, doubt: None, network: read.network, name: None, preprocess: read.preprocess.to_string() })
}

/// A network that `config.json` of Hugging Face transformers describes.
struct Described<'a> {
    network: &'a ModelConfig,
    beside: &'a Beside,
}

/// The image model of a configuration of transformers; of a whole CLIP the image tower.
fn of_transformers(beside: &Beside) -> Option<Described<'_>> {
    let network = match beside.network.as_ref()? {
        transformers::Network::Image(network) => network,
        transformers::Network::Clip(clip) => &clip.image,
    };
    Some(Described { network, beside })
}

impl Described<'_> {
    fn model(&self, asked: &Weights, checkpoint: &Checkpoint, device: &Device) -> Result<Model> {
        let sized = match asked.image_size {
            Some(side) => self.network.with_image_size(side),
            None => self.network.clone(),
        };
        let network = sized.as_in(checkpoint, asked.from.as_deref(), device)?;
        let side = network.image_size();
        let (path, processor) = (self.beside.path.display(), self.beside.processor(side)?);
        let doubt = match &processor {
            Some(_) => None,
            None => Some(format!(
                "no preprocessor_config.json lies beside {path}, so nothing says how its images are prepared: a mean and deviation of 0.5 \
                 are assumed"
            )),
        };
        let usual = Preprocessing {
            image_size: side,
            crop_fraction: 1.0,
            crop_mode: CropMode::Squash,
            interpolation: "bilinear",
            mean: [0.5; 3],
            std: [0.5; 3],
        };
        let preprocess = preprocess_line(&of_size(processor.unwrap_or(usual), side));
        Ok(Model {
            about: format!("the network of Hugging Face transformers that {path} describes"),
            doubt,
            network,
            name: None,
            preprocess,
        })
    }
}

/// A network whose sizes were given.
fn sized(asked: &Weights, network: &ModelConfig, checkpoint: &Checkpoint, device: &Device) -> Result<Model> {
    let network = network.as_in(checkpoint, asked.from.as_deref(), device)?;
    let side = network.image_size();
    let usual = Preprocessing {
        image_size: side,
        crop_fraction: 1.0,
        crop_mode: CropMode::Center,
        interpolation: "bicubic",
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let beside = Beside::read(&asked.path)?;
    let prepared = beside.as_ref().map_or(usual, |beside| beside.preprocessing(usual));
    let (about, doubt) = match beside {
        Some(beside) => {
            (format!("the network that was given; {} says how images are prepared", beside.path.display()), None)
        }
        None => (
            "the network that was given".to_owned(),
            Some("nothing says how its images are prepared: a mean and deviation of 0.5 are assumed".to_owned()),
        ),
    };
    Ok(Model { about, doubt, network, name: None, preprocess: preprocess_line(&of_size(prepared, side)) })
}

/// The model of the registry, a sentence on how it was found, and one on what else it may be.
fn entry(
    asked: &Weights,
    beside: Option<&Beside>,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<(&'static Entry, String, Option<String>)> {
    if let Some(name) = &asked.model {
        let entry = registry::find(name)?;
        return Ok((entry, format!("{}, as was asked for", entry.name()), None));
    }
    if let Some((name, path)) = beside.and_then(|beside| Some((beside.architecture.as_ref()?, &beside.path))) {
        // A tag of the user's own is no name of the registry; the architecture is.
        if let Ok(entry) = registry::find_architecture(name) {
            return Ok((entry, format!("{}, by {}", entry.name(), path.display()), None));
        }
    }
    let found = weights::recognise(checkpoint, asked.from.as_deref(), device)?;
    let Some(entry) = nearest(&found, asked) else { bail!(stranger(checkpoint, device)) };
    // Models with the same tensors differ in what matters as much: the numbers that pixels are made of.
    let others: Vec<String> = found
        .iter()
        .filter(|other| preprocess_line(&other.preprocessing) != preprocess_line(&entry.preprocessing))
        .map(|other| format!("{} ({})", other.name(), preprocess_line(&other.preprocessing)))
        .collect();
    let doubt = others.first().map(|first| {
        let more = match others.len() {
            1 => String::new(),
            more => format!(", and {} others", more - 1),
        };
        format!(
            "{first}{more} has the same tensors and prepares images otherwise; taken for {} ({}), --model NAME --weights FILE names the \
             right one",
            entry.name(),
            preprocess_line(&entry.preprocessing)
        )
    });
    Ok((entry, format!("{}, by the tensors of the file", entry.name()), doubt))
}

/// Of models that have the same tensors, the one whose name is in that of the file or its folder, else the first.
fn nearest(found: &[&'static Entry], asked: &Weights) -> Option<&'static Entry> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.', ' '], "_");
    let path = plain(&asked.named);
    let score = |entry: &Entry| {
        let (full, architecture) = (plain(&entry.name()), plain(entry.architecture));
        let tags = entry.tag.split('_').filter(|part| part.len() > 2 && path.contains(*part)).count();
        (path.contains(&full), path.contains(&architecture), tags)
    };
    // The first of the best: the order of the registry has each architecture's usual weights first.
    found.iter().copied().rev().max_by_key(|entry| score(entry))
}

/// The error for a file that fits no model of the registry.
fn stranger(checkpoint: &Checkpoint, device: &Device) -> String {
    // What loading into any network says of such a file.
    let tried = registry::find("vit_tiny_patch16_224").map(|entry| (entry.config)());
    let fault = tried.and_then(|config| {
        weights::load_from(robustify_zoo::Model::blank(&config, device)?, checkpoint, LoadOptions::default())
    });
    let looks = match fault {
        Err(ZooError::Mismatch { faults, .. }) => {
            let known = |fault: &&String| fault.starts_with("this looks like") || fault.starts_with("its tensors");
            faults.iter().find(known).map(|fault| format!("; {fault}")).unwrap_or_default()
        }
        _ => String::new(),
    };
    format!(
        "{}: the tensors are those of no model that `models list` shows{looks}. --model NAME --weights FILE names one (in \
         `eval` NAME=FILE); a network of other sizes is given as original.network={{...}}, see the README",
        checkpoint.path().display()
    )
}

/// The network of a model with the classes and, unless another is asked for, the input size of a file.
fn fitted(entry: &Entry, asked: &Weights, checkpoint: &Checkpoint, device: &Device) -> Result<ModelConfig> {
    let from = asked.from.as_deref();
    let usual = (entry.config)();
    let with_classes = |config: ModelConfig| -> Result<ModelConfig> { Ok(config.as_in(checkpoint, from, device)?) };
    if let Some(side) = asked.image_size {
        return with_classes(usual.with_image_size(side));
    }
    match usual.fitting(checkpoint, from, device)? {
        Fitting::Exact => return with_classes(usual),
        Fitting::Resized => {}
        Fitting::No => {
            // Loading says what does not fit.
            let model = robustify_zoo::Model::blank(&with_classes(usual.clone())?, device)?;
            let options = LoadOptions { from, ..Default::default() };
            weights::load_from(model, checkpoint, options)?;
        }
    }
    // Positions of another size than the model's: that of the file, if one size has them.
    let sides =
        (16..=1024).step_by(2).map(|side| usual.with_image_size(side)).filter(|config| config.faults().is_empty());
    for config in sides {
        if config.fitting(checkpoint, from, device)? == Fitting::Exact {
            return with_classes(config);
        }
    }
    with_classes(usual)
}

/// The same preparation for another side of the input.
fn of_size(prepared: Preprocessing, image_size: usize) -> Preprocessing {
    Preprocessing { image_size, ..prepared }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn asked(weights: &Path) -> Weights {
        Weights { named: weights.display().to_string(), path: weights.into(), ..Weights::default() }
    }

    #[test]
    fn a_file_says_which_model_it_is() {
        let device = robustify_device::open(Some("flex")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my_vit.safetensors");
        let write = |config: &ModelConfig| {
            let model = robustify_zoo::Model::new(config, 1, &device).unwrap();
            std::fs::write(&path, weights::to_bytes(&weights::state(&model))).unwrap();
        };
        let usual = (registry::find("test_vit").unwrap().config)();
        write(&usual.with_image_size(64).with_classes(7));
        let model = Model::of(&asked(&path), &device).unwrap();
        // Classes and the size of the input are those of the file.
        assert_eq!((model.network.classes(), model.network.image_size()), (7, 64));
        assert!(model.about.contains("test_vit.r160_in1k, by the tensors"), "{}", model.about);
        assert!(model.preprocess.contains("center_crop(64)"), "{}", model.preprocess);
        let larger = Model::of(&Weights { image_size: Some(96), ..asked(&path) }, &device).unwrap();
        assert_eq!(larger.network.image_size(), 96);

        // What stands beside the file is believed before its tensors are guessed at.
        let config = r#"{"architecture": "test_vit", "pretrained_cfg": {"tag": "mine", "mean": [0.1, 0.1, 0.1], "std": [1, 1, 1]}}"#;
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let model = Model::of(&asked(&path), &device).unwrap();
        assert!(model.about.contains("config.json") && model.preprocess.contains("normalize(0.1"), "{model:?}");
        std::fs::remove_file(folder.path().join("config.json")).unwrap();

        // A network that the registry does not have is described, not guessed.
        let own = r#"{"architecture": "vit", "image_size": 16, "patch_size": 4, "width": 16, "depth": 2, "heads": 2, "classes": 3}"#;
        let own: ModelConfig = serde_json::from_str(own).unwrap();
        write(&own);
        let said = format!("{:#}", Model::of(&asked(&path), &device).unwrap_err());
        assert!(said.contains("a ViT with 2 blocks, 16 channels") && said.contains("--model NAME"), "{said}");
        let given = Model::of(&Weights { network: Some(own.with_classes(99)), ..asked(&path) }, &device).unwrap();
        assert_eq!(given.network.classes(), 3);
    }
}
