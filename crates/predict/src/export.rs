//! A model as other programs load it: folders of timm, each head a complete network.
//!
//! Source of the configuration: timm 1.0, `models/_hub.py` (`save_for_hf`, `_parse_model_cfg`) and `models/_builder.py`.

use robustify_data::{Filter, Normalize, Preprocess, Step};
use robustify_select::Head;
use robustify_zoo::resnet::{BlockKind, ResNetConfig};
use robustify_zoo::vit::{Pool, VitConfig};
use robustify_zoo::weights;
use robustify_zoo::{Model, ModelConfig, ZooError, layers::Activation, registry};
use serde_json::{Map, Value, json};

use crate::{Made, PredictError, RobustModel};

/// A file of a folder: its name and what is in it.
pub type File = (&'static str, Vec<u8>);

impl RobustModel {
    /// The heads of a model with three of them; none of one that has a single classifier.
    pub fn heads(&self) -> Vec<Head> {
        match self.made {
            Made::ThreeHeads(..) => Head::ALL.to_vec(),
            _ => Vec::new(),
        }
    }

    /// The complete network that a head makes with all that lies before it; of a model with one classifier, the network.
    ///
    /// # Errors
    /// A model that is more than one network, and a cut that the network does not have.
    pub fn network_of(&self, head: Option<Head>) -> Result<Model, PredictError> {
        let unlike = |reason: &str| PredictError::from(ZooError::Config(format!("{}: {reason}", self.method)));
        match (&self.made, self.cut, head) {
            (Made::Classifier, ..) => Ok(self.model.clone()),
            (Made::ThreeHeads(heads, _), Some(_), Some(Head::Clean)) if heads.is_preserving() => Ok(self.model.clone()),
            (Made::ThreeHeads(heads, _), Some(split), Some(head)) => {
                Ok(heads.one(head).into_model(self.model.clone(), split)?)
            }
            (Made::ThreeHeads(..), ..) => Err(unlike("it has three heads; one of them makes a network")),
            (Made::Adapting(_), ..) => Err(unlike(
                "it goes on learning while it answers, and no file of weights does that; export the model that it starts from",
            )),
            (Made::Pair(_), ..) => Err(unlike("it is two networks that answer together; export each of them")),
        }
    }

    /// The files of a folder that timm loads by name (`timm.create_model('local-dir:DIR', pretrained=True)`): `config.json`,
    /// `model.safetensors` and `README.md`.
    ///
    /// # Errors
    /// As for [`Self::network_of`]; a network that timm does not have, and a preparation of images that it cannot say.
    pub fn timm_folder(&self, head: Option<Head>) -> Result<Vec<File>, PredictError> {
        let network = self.network_of(head)?;
        let Named { architecture, arguments } = Named::of(&self.network)?;
        let prepared = prepared(&self.preprocess)?;
        let (side, classes) = (self.network.image_size(), self.classes.len());
        let [first, last] = ends(&self.network);
        let mut pretrained = json!({
            "tag": "robustify", "custom_load": false, "input_size": [3, side, side], "fixed_input_size": true, "num_classes": classes,
            "pool_size": null, "first_conv": first, "classifier": last,
        });
        for (key, value) in prepared {
            pretrained[key] = value;
        }
        let mut config = json!({
            "architecture": architecture, "num_classes": classes, "num_features": self.network.feature_width(),
            "pretrained_cfg": pretrained, "label_names": self.classes,
        });
        if !arguments.is_empty() {
            config["model_args"] = Value::Object(arguments);
        }
        let text = serde_json::to_string_pretty(&config).expect("texts and numbers have a JSON form") + "\n";
        let card = self.card(head, &architecture);
        Ok(vec![
            ("config.json", text.into_bytes()),
            ("model.safetensors", weights::to_bytes(&weights::state(&network))),
            ("README.md", card.into_bytes()),
        ])
    }

    fn card(&self, head: Option<Head>, architecture: &str) -> String {
        let (title, about) = match head {
            None => (self.method.clone(), String::new()),
            Some(head) => (
                format!("{}, {} head", self.method, head.name()),
                match head {
                    Head::Clean => "This is the clean head of a robust model: it learnt from the original model, on clean images.\n",
                    Head::Combined => "This is the combined head of a robust model: it learnt from both teachers, on clean and augmented images.\n",
                    Head::Robust => "This is the robust head of a robust model: it learnt from a small robust teacher, on augmented images.\n",
                }
                .to_owned(),
            ),
        };
        let trained =
            self.trained_on.as_ref().map_or_else(String::new, |on| format!("Tuned on {} images.\n", on.images));
        format!(
            "---\nlibrary_name: timm\ntags:\n- image-classification\n- timm\n- robustness\n---\n# {title}\n\n{about}{trained}\
             {} classes; {architecture}; images are prepared by `{}`.\n\n\
             ```python\nimport timm\n\nmodel = timm.create_model(\"local-dir:THIS_FOLDER\", pretrained=True).eval()\n\
             transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)\n```\n\n\
             Made by Robustify, after Jain et al. 2023, *Efficiently Robustify Pre-trained Models* (arXiv:2309.07499).\n",
            self.classes.len(),
            self.preprocess
        )
    }
}

/// What timm calls a network.
struct Named {
    architecture: String,
    /// Arguments beside the name, where it is another than that of the name.
    arguments: Map<String, Value>,
}

impl Named {
    fn of(network: &ModelConfig) -> Result<Self, ZooError> {
        let side = network.image_size();
        let alike = |entry: &&registry::Entry| {
            entry.text.is_none() && (entry.config)().with_image_size(side).with_classes(0) == network.with_classes(0)
        };
        if let Some(entry) = registry::entries().find(alike) {
            let has_size = matches!(network, ModelConfig::Vit(_) | ModelConfig::Swin(_));
            let is_other = has_size && (entry.config)().image_size() != side;
            let arguments = if is_other { object(json!({"img_size": side})) } else { Map::new() };
            return Ok(Self { architecture: entry.architecture.to_owned(), arguments });
        }
        match network {
            ModelConfig::Vit(vit) => vit_by_sizes(vit),
            ModelConfig::ResNet(resnet) => resnet_by_sizes(resnet),
            other => Err(stranger(other, "it is none of the networks that `models list` shows")),
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn stranger(network: &ModelConfig, why: &str) -> ZooError {
    ZooError::Config(format!("timm has no such {}: {why}", network.kind()))
}

/// A Vision Transformer by its sizes, as arguments of the base model.
fn vit_by_sizes(vit: &VitConfig) -> Result<Named, ZooError> {
    let plain = VitConfig {
        classes: vit.classes,
        mlp_ratio: vit.mlp_ratio,
        pool: vit.pool,
        class_token: vit.class_token,
        registers: vit.registers,
        no_embed_class: vit.no_embed_class,
        pre_norm: vit.pre_norm,
        qkv_bias: vit.qkv_bias,
        layer_scale: vit.layer_scale,
        fc_norm: vit.fc_norm,
        activation: Activation::Gelu,
        ..VitConfig::plain(vit.image_size, vit.patch_size, vit.width, vit.depth, vit.heads)
    };
    if plain != *vit {
        let why =
            "a convolutional stem, prompts, texts, another activation or epsilon of the norms are no arguments there";
        return Err(stranger(&ModelConfig::Vit(vit.clone()), why));
    }
    let pool = if vit.pool == Pool::Cls { "token" } else { "avg" };
    let arguments = json!({
        "img_size": vit.image_size, "patch_size": vit.patch_size, "embed_dim": vit.width, "depth": vit.depth, "num_heads": vit.heads,
        "mlp_ratio": vit.mlp_ratio, "global_pool": pool, "class_token": vit.class_token, "reg_tokens": vit.registers,
        "no_embed_class": vit.no_embed_class, "pre_norm": vit.pre_norm, "qkv_bias": vit.qkv_bias, "init_values": vit.layer_scale,
        "fc_norm": vit.fc_norm,
    });
    Ok(Named { architecture: "vit_base_patch16_224".into(), arguments: object(arguments) })
}

/// A residual network by the number of its blocks.
fn resnet_by_sizes(resnet: &ResNetConfig) -> Result<Named, ZooError> {
    if (resnet.width, resnet.stem_kernel, resnet.stem_stride, resnet.max_pool, resnet.layers.len())
        != (64, 7, 2, true, 4)
    {
        let why = "a stem of 7x7 with stride 2 and a pool, 64 channels and four stages are expected";
        return Err(stranger(&ModelConfig::ResNet(resnet.clone()), why));
    }
    let architecture = match resnet.block {
        BlockKind::Basic => "resnet18",
        BlockKind::Bottleneck => "resnet50",
    };
    Ok(Named { architecture: architecture.into(), arguments: object(json!({"layers": resnet.layers})) })
}

/// Names of the first layer and of the classifier.
fn ends(network: &ModelConfig) -> [&'static str; 2] {
    match network {
        ModelConfig::Vit(_) => ["patch_embed.proj", "head"],
        ModelConfig::Swin(_) => ["patch_embed.proj", "head.fc"],
        ModelConfig::ResNet(_) | ModelConfig::ClipResNet(_) => ["conv1", "fc"],
    }
}

/// How images are prepared, as timm says it.
fn prepared(preprocess: &Preprocess) -> Result<Vec<(&'static str, Value)>, ZooError> {
    let Normalize { mean, std } = preprocess.normalization();
    let name = |filter: &Filter| match filter {
        Filter::Nearest => "nearest",
        Filter::Box => "box",
        Filter::Bilinear => "bilinear",
        Filter::Bicubic => "bicubic",
        Filter::Lanczos => "lanczos",
    };
    let (crop, mode, filter) = match preprocess.steps() {
        [] => (1.0, "center", "bicubic"),
        [Step::ResizeShort(side, filter), Step::CenterCrop(height, width)] if height == width => {
            (f64::from(*height) / f64::from(*side), "center", name(filter))
        }
        [Step::ResizeTo(side, also, filter)] if side == also => (1.0, "squash", name(filter)),
        [Step::ResizeTo(side, also, filter), Step::CenterCrop(height, width)] if side == also && height == width => {
            (f64::from(*height) / f64::from(*side), "squash", name(filter))
        }
        _ => {
            return Err(ZooError::Config(format!(
                "timm cannot say how its images are prepared, `{preprocess}`; it knows a resize, a square crop of the centre and a normalisation"
            )));
        }
    };
    Ok(vec![
        ("crop_pct", json!(crop)),
        ("crop_mode", json!(mode)),
        ("interpolation", json!(filter)),
        ("mean", json!(mean)),
        ("std", json!(std)),
    ])
}

#[cfg(test)]
mod tests {
    use robustify_select::{DropoutFrom, McConfig, SplitConfig, ThreeHeads};
    use robustify_zoo::weights::{Checkpoint, LoadOptions};

    use super::*;
    use crate::{Attached, Rows};

    fn robust(network: &ModelConfig, preprocess: &str) -> RobustModel {
        let device = robustify_device::open(Some("flex")).unwrap();
        let model = Model::new(network, 3, &device).unwrap();
        let split = SplitConfig { shared_blocks: 1, head_blocks: 0, dropout_from: DropoutFrom::Heads };
        let heads = ThreeHeads::new(&Model::new(network, 4, &device).unwrap(), split).unwrap();
        let mc = McConfig { passes: 1, dropout: 0.1, seed: 1, common_masks: false };
        RobustModel {
            method: "robustify".into(),
            network: network.clone(),
            model,
            preprocess: preprocess.parse().unwrap(),
            seen: preprocess.parse::<Preprocess>().unwrap().normalisation_only(),
            classes: (0..network.classes()).map(|class| format!("class {class}")).collect(),
            cut: Some(split),
            made: Made::ThreeHeads(heads, mc),
            attached: Attached::default(),
            trained_on: None,
            label_set: None,
        }
    }

    #[test]
    fn every_head_is_a_network_that_answers_as_it_does_in_the_whole() {
        let network = (registry::find("test_vit").unwrap().config)().with_image_size(32).with_classes(5);
        let model = robust(&network, "resize(36,bicubic)|center_crop(32)|normalize(imagenet)");
        let device = robustify_device::open(Some("flex")).unwrap();
        let pixels = vec![image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 77])); 2];
        let rows = Rows::new(vec![1, 2], &device, || Ok(pixels.clone()));
        let answered = model.predictor().unwrap().answer(&rows).unwrap();
        let crate::Answers::Heads(whole) = answered.answers else { panic!("no heads") };
        assert_eq!(model.heads(), Head::ALL);
        for head in Head::ALL {
            let folder = tempfile::tempdir().unwrap();
            for (name, bytes) in model.timm_folder(Some(head)).unwrap() {
                std::fs::write(folder.path().join(name), bytes).unwrap();
            }
            let config: Value =
                serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
            assert_eq!((&config["architecture"], &config["model_args"]["img_size"]), (&json!("test_vit"), &json!(32)));
            assert_eq!(config["pretrained_cfg"]["crop_pct"], json!(32.0 / 36.0));
            // The folder is read as any other of timm's.
            let blank = Model::blank(&network, &device).unwrap();
            let checkpoint = Checkpoint::open(folder.path()).unwrap();
            let (alone, _) = weights::load_from(blank, &checkpoint, LoadOptions::default()).unwrap();
            let single = RobustModel { model: alone, made: Made::Classifier, cut: None, ..model.clone() };
            let said = single.predictor().unwrap().answer(&rows).unwrap().answers.probabilities_of(0);
            let want = &whole[0].deterministic[head.index()];
            let furthest = said.iter().zip(want).map(|(said, want)| (said - want).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-6, "{}: off by {furthest}", head.name());
        }
        assert!(model.timm_folder(None).is_err());
    }

    #[test]
    fn what_timm_does_not_have_is_refused_with_the_reason() {
        let stem = serde_json::from_str::<ModelConfig>(
            r#"{"architecture": "vit", "image_size": 32, "patch_size": 4, "width": 16, "depth": 2, "heads": 2, "classes": 3,
                "stem": [{"channels": 8, "kernel": 3, "stride": 2}, {"channels": 16, "kernel": 3, "stride": 2}]}"#,
        )
        .unwrap();
        let said = |model: &RobustModel| model.timm_folder(Some(Head::Clean)).unwrap_err().to_string();
        assert!(said(&robust(&stem, "normalize(half)")).contains("a convolutional stem"));
        let plain = ModelConfig::Vit(VitConfig { classes: 3, ..VitConfig::plain(32, 8, 16, 2, 2) });
        assert!(
            said(&robust(&plain, "pad(2)|normalize(half)")).contains("timm cannot say how its images are prepared")
        );
        assert!(robust(&plain, "normalize(half)").timm_folder(Some(Head::Robust)).is_ok());
    }
}
